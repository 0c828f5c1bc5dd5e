"""A check of spaces that are missing where the letters together are no word: 할수 있다, 하는것이, 오기때문에, 못받는.

Dictionaries and writers settle many cases of Korean spacing differently; only those are named in which nothing else can
be meant. A space too many is never named.
"""

from __future__ import annotations

import re

from kotune.korean.answer import CheckedAnswer, Spans
from kotune.korean.banmal import WITH_L

_DEPENDENT_NOUN = re.compile(
    rf"{WITH_L}(수)(?=(?:[는도가]|밖에)? ?[있없])|[는을할될](것)(?=[이은을도으과만입]|\s)|[가-힣]기(때문)"
)
_NOUNS_IN_SU = frozenset(f"{syllable}수" for syllable in "실필별철밀탈절출발홀골불몰률율")
_NEGATION = re.compile(
    r"(?<![가-힣])(?:못(?:받|갚|돌려|찾|먹|믿|팔|참|얻|견디|알아)|안(?:받|갚|돌려|찾|먹|믿|팔|지키|냈|했|썼))[가-힣]*"
)
_LONGEST_WORD = 12


def check_spacing(answer: CheckedAnswer) -> Spans:
    text = answer.hidden
    for match in _DEPENDENT_NOUN.finditer(text):
        if match[0] not in _NOUNS_IN_SU:
            start = text.rfind(" ", max(0, match.start() - _LONGEST_WORD), match.start()) + 1 or match.start()
            yield start, match.end(), f"A space is missing before {match[match.lastindex or 0]}."
    for match in _NEGATION.finditer(text):
        yield *match.span(), f"A space is missing behind {match[0][0]}."
