"""Whether an answer says that the documents do not hold what was asked, and how often it says so rightly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kotune.korean.sentences import sentence_texts
from utils import require_same_length

_SHOWN = r"(?:문서|자료|지문|본문|글)(?:들)?"  # what the answer was to be found in
_PLACE = r"(?:에|에서|에는|에서는|으로는|로는|만으로는|만으로|은|는|을|를| 모두|[가-힣 ]{0,4}개를)(?![가-힣])"
_LACK = (
    r"(?:없(?:습니다|어|으므로|었습니다|네요|다|는 내용)|찾을 수 없|찾지 못|나와 있지 않|나오지 않|다루지 않|확인되지 않|"
    r"확인할 수 없|알 수 없|답할 수 없|적혀 있지 않|들어 있지 않|포함되어 있지 않|언급되지 않)"
)
# both stand in one sentence: "문서에는 ... 내용이 없어", "이 자료로는 ... 알 수 없습니다"
_ABSTAINS = re.compile(rf"{_SHOWN}{_PLACE}[^.!?]{{0,60}}?{_LACK}")
_APOLOGY = re.compile(r"^(?:죄송|안타깝|미안|유감)")


def abstains(answer: str) -> bool:
    """Say whether an answer declines because the documents shown do not hold the answer.

    An answer that gives the rule and only adds what its document leaves open does not count: the first sentence must
    decline, or the second where the first says sorry.
    """
    opening = sentence_texts(answer)[:2]
    if len(opening) == 2 and not _APOLOGY.match(opening[0]):
        opening = opening[:1]
    return any(_ABSTAINS.search(sentence) for sentence in opening)


@dataclass(frozen=True)
class AbstentionCounts:
    """How answers deal with questions whose documents hold no answer, and with the others."""

    answerable: int  # questions whose documents hold the answer
    refused: int  # of these, how many were declined all the same
    unanswerable: int  # questions whose documents do not hold it
    answered_from_nothing: int  # of these, how many were answered all the same

    def row(self) -> dict[str, str]:
        """Return the counts as one row for a table."""
        return {
            "answered from nothing": f"{self.answered_from_nothing} of {self.unanswerable}",
            "declined what was there": f"{self.refused} of {self.answerable}",
        }


def count_abstentions(answers: Sequence[str], answerable: Sequence[bool]) -> AbstentionCounts:
    """Count the two faults of open-book answers: from nothing, and declined though the answer was shown.

    Raises:
        CourseError: there is no answer, or the lists differ in length.
    """
    require_same_length(answers, answerable, "answers", "answerable")
    declined = [abstains(answer) for answer in answers]
    return AbstentionCounts(
        answerable=sum(answerable),
        refused=sum(said and there for said, there in zip(declined, answerable, strict=True)),
        unanswerable=len(answerable) - sum(answerable),
        answered_from_nothing=sum(not said and not there for said, there in zip(declined, answerable, strict=True)),
    )
