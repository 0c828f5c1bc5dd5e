"""Stage two of judging: every pair judged in both orders, or every answer scored, one line each in a file.

A line holds all that the report needs and all that the judge said, raw. It is appended once it is known and never
changed: a run that was killed, or is started again, judges only what is missing. Questions that could not be compared or
asked have a line too, which a later run may follow with another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from kotune.answering.answer_files import LeftOut, Pair, Question, Source, read_answers, same_text, side_by_side
from kotune.data import readers
from kotune.judging.judges import Judge
from kotune.judging.judges import PairVerdict
from kotune.judging.judges import SingleAnswer
from kotune.judging.judges import ShownPair
from kotune.judging.judges import JudgeReply
from kotune.line_file import LineFile
from kotune.progress import bar
from utils import CourseError, relative

Winner = Literal["a", "b", "tie"]
JUDGED, UNPARSED, FAILED, LEFT_OUT = "judged", "unparsed", "failed", "left_out"
AB = {"first": "a", "second": "b", "tie": "tie", None: None}
BA = {"first": "b", "second": "a", "tie": "tie", None: None}


@dataclass(frozen=True)
class Judgment:
    """One question judged in both orders.

    status: judged; unparsed (the judge was asked, and no verdict can be read); failed (it could not be asked); left_out
    (the question cannot be compared). verdict_ab: the winner when A was shown first; verdict_ba: when B was. winner: their
    common verdict; orders that disagree are a tie; None where either is missing. problem: why there is no winner,
    or "empty_a", "empty_b", "empty_both" where an answer is blank: then the other wins, or both tie, and nobody is
    asked. raw_ab and raw_ba: the judge's replies, or its scores.
    """

    id: str
    status: str
    verdict_ab: Winner | None = None
    verdict_ba: Winner | None = None
    winner: Winner | None = None
    problem: str | None = None
    raw_ab: str | dict | None = None
    raw_ba: str | dict | None = None
    judge: str = ""
    fingerprint: str = ""
    prompt: str | None = None
    served_by: str | None = None
    question: str = ""
    reference: str | None = None
    answer_a: str = ""
    answer_b: str = ""

    @property
    def was_asked(self) -> bool:
        """Whether the judge gave the verdict, and not the rule for blank answers."""
        return self.status == JUDGED and self.problem is None

    @property
    def flipped(self) -> bool:
        """Whether the verdict changed with the order."""
        return self.status == JUDGED and self.verdict_ab != self.verdict_ba


@dataclass(frozen=True)
class ScoreLine:
    """One answer scored by itself; score is None where the status is unparsed or failed."""

    id: str
    status: str
    score: float | None = None
    problem: str | None = None
    raw: str | dict | None = None
    judge: str = ""
    fingerprint: str = ""
    prompt: str | None = None
    served_by: str | None = None
    question: str = ""
    reference: str | None = None
    answer: str = ""


class VerdictFile(LineFile):
    """Judgments or scores on disk; of an id's lines, the first final one counts, else the last."""

    def __init__(self, path: str | Path, kind: type[Judgment] | type[ScoreLine]):
        """Open or create the file and index what it holds."""
        self.kind = kind
        self.held: dict[str, Judgment | ScoreLine] = {}
        super().__init__(path)

    def _take(self, row: dict, place: str) -> None:
        line = read_line(row, place, self.kind)
        held = self.held.get(line.id)
        if held is None or held.status in (FAILED, LEFT_OUT):
            self.held[line.id] = line

    def add(self, lines: Sequence[Judgment | ScoreLine]) -> None:
        """Append the lines that say something new."""
        self.append([asdict(line) for line in lines if self.held.get(line.id) != line])

    def require_same(self, judge: Judge, wanted: dict[str, Judgment | ScoreLine], texts: Sequence[str]) -> None:
        """Raise a CourseError if the file holds another judge's lines, or lines on other texts than these."""
        for identity, held in self.held.items():
            if (held.judge, held.fingerprint) != (judge.name, judge.fingerprint):
                raise CourseError(
                    f"{relative(self.path)} holds verdicts of {held.judge} ({held.fingerprint}), not of {judge.name} "
                    f"({judge.fingerprint}); name another file."
                )
            if held.status == LEFT_OUT:
                continue
            asked = wanted.get(identity)
            if asked is None or not all(same_text(getattr(held, name), getattr(asked, name)) for name in texts):
                raise CourseError(
                    f"{relative(self.path)} holds a verdict on {'another' if asked is None else 'other texts for'} "
                    f"question {identity!r}; name another file for these answers."
                )


def read_line(row: dict, place: str, kind: type[Judgment] | type[ScoreLine]):
    """Return the judgment or score that a line holds.

    Raises:
        CourseError: the line is none.
    """
    names = {field.name for field in fields(kind)}
    values = {name: value for name, value in row.items() if name in names}
    known = (JUDGED, UNPARSED, FAILED, LEFT_OUT)
    if not isinstance(row.get("id"), str) or row.get("status") not in known:
        raise CourseError(f"{place}, is no line of {kind.__name__.lower()} answers (no id or status); name another file.")
    if kind is Judgment and row["status"] == JUDGED:
        for name in ("verdict_ab", "verdict_ba", "winner"):
            if row.get(name) not in ("a", "b", "tie"):
                raise CourseError(f"{place}, field {name}: holds {row.get(name)!r}, not a, b or tie; mend the line.")
    if kind is ScoreLine and row["status"] == JUDGED and not isinstance(row.get("score"), int | float):
        raise CourseError(f"{place}, field score: holds {row.get('score')!r}, not a number; mend the line.")
    return kind(**values)


def read_judgments(source: str | Path | Sequence[Judgment], kind: type = Judgment) -> list:
    """Return judgments (or, with `kind`, scores) out of a file, or as they are; of an id's lines the one that counts."""
    if not isinstance(source, str | Path):
        return list(source)
    held: dict[str, Judgment] = {}
    for place, row in readers.read(source):
        line = read_line(row, place, kind)
        if line.id not in held or held[line.id].status in (FAILED, LEFT_OUT):
            held[line.id] = line
    return list(held.values())


# --- pairs -----------------------------------------------------------------------------------


def compare(judge: Judge, answers_a: Source, answers_b: Source, out: str | Path | None = None) -> list[Judgment]:
    """Judge the answers of A and B to the same questions, each pair in both orders; return a judgment for every id.

    A verdict is read in its order before it is mapped back to A and B. With `out`, judgments go into that file as they
    are made (`judge.batch_size` pairs at a time), and those that it holds are not made again.

    Raises:
        CourseError: the answers cannot be paired (see `answers.side_by_side`), the file holds other judgments, or the judge
            could not be asked at all.
    """
    paired = side_by_side(answers_a, answers_b)
    return judge_pairs(judge, paired.pairs, paired.left_out, out)


def judge_pairs(
    judge: Judge, pairs: Sequence[Pair], left_out: Sequence[LeftOut] = (), out: str | Path | None = None
) -> list[Judgment]:
    """Do what `compare` does, on pairs that are put together already."""
    drafts = {pair.question.id: _draft(judge, pair) for pair in pairs}
    file = VerdictFile(out, Judgment) if out is not None else None
    made: dict[str, Judgment] = {}
    if file:
        file.require_same(judge, drafts, ("question", "reference", "answer_a", "answer_b"))
        made = {identity: line for identity, line in file.held.items() if line.status in (JUDGED, UNPARSED)}
    waiting = [pair for pair in pairs if pair.question.id not in made]
    with bar(len(waiting), f"judge: {judge.name}", "question") as shown:
        for start in range(0, len(waiting), judge.batch_size):
            some = waiting[start : start + judge.batch_size]
            lines = _judge_some(judge, some, drafts)
            made |= {line.id: line for line in lines}
            if file:
                file.add(lines)
            shown.update(len(some))
    by = {"judge": judge.name, "fingerprint": judge.fingerprint}
    rest = [Judgment(one.id, LEFT_OUT, problem=one.reason, question=one.question, **by) for one in left_out]
    if file:
        file.add(rest)
    judgments = [made[pair.question.id] for pair in pairs] + rest
    _say_failed(judgments)
    return judgments


def _draft(judge: Judge, pair: Pair) -> Judgment:
    question = pair.question
    return Judgment(
        question.id,
        FAILED,
        judge=judge.name,
        fingerprint=judge.fingerprint,
        question=question.question,
        reference=question.reference,
        answer_a=pair.answer_a,
        answer_b=pair.answer_b,
    )


def _judge_some(judge: Judge, pairs: Sequence[Pair], drafts: dict[str, Judgment]) -> list[Judgment]:
    asked = [pair for pair in pairs if pair.answer_a.strip() and pair.answer_b.strip()]
    ab = [ShownPair(pair.question, pair.answer_a, pair.answer_b) for pair in asked]
    ba = [ShownPair(pair.question, pair.answer_b, pair.answer_a) for pair in asked]
    # both orders in one call: a judge by scores scores each answer once, an LLM is kept busy
    opinions = judge.verdicts([*ab, *ba]) if asked else []
    both = dict(
        zip(
            (pair.question.id for pair in asked),
            zip(opinions[: len(ab)], opinions[len(ab) :], strict=True),
            strict=True,
        )
    )
    return [
        _judged(drafts[pair.question.id], *both[pair.question.id])
        if pair.question.id in both
        else _blank(drafts[pair.question.id])
        for pair in pairs
    ]


def _judged(draft: Judgment, shown_ab: PairVerdict, shown_ba: PairVerdict) -> Judgment:
    ab, ba = AB[shown_ab.verdict], BA[shown_ba.verdict]
    readable = ab is not None and ba is not None
    said = [shown_ab.reply, shown_ba.reply]
    failed = any(one.failed for one in said)
    values = vars(draft) | {
        "status": JUDGED if readable else FAILED if failed else UNPARSED,
        "verdict_ab": ab,
        "verdict_ba": ba,
        "winner": (ab if ab == ba else "tie") if readable else None,
        "problem": None if readable else _first(said, "problem") or "no_verdict",
        "raw_ab": shown_ab.reply.raw,
        "raw_ba": shown_ba.reply.raw,
        "prompt": _first(said, "prompt"),
        "served_by": _first(said, "served_by"),
    }
    return Judgment(**values)


def _blank(draft: Judgment) -> Judgment:
    a, b = draft.answer_a.strip(), draft.answer_b.strip()
    winner, problem = ("a", "empty_b") if a else ("b", "empty_a") if b else ("tie", "empty_both")
    verdicts = {"verdict_ab": winner, "verdict_ba": winner, "winner": winner}
    return Judgment(**vars(draft) | verdicts | {"status": JUDGED, "problem": problem})


def _first(said: Sequence[JudgeReply], name: str):
    # what failed says more than what could not be read
    values = [getattr(one, name) for one in sorted(said, key=lambda one: not one.failed)]
    return next((value for value in values if value is not None), None)


def _say_failed(lines: Sequence[Judgment | ScoreLine]) -> None:
    failed = sum(line.status == FAILED for line in lines)
    if failed:
        print(f"{failed} of {len(lines)} questions could not be put to the judge; run again to ask these alone.")


# --- single answers --------------------------------------------------------------------------


def score(judge: Judge, answers: Source, out: str | Path | None = None) -> list[ScoreLine]:
    """Score each answer by itself: 1 to 10 by an LLM, a reward by a reward model, ROUGE-L by the reference judge.

    An empty answer is not shown to the judge: it has no score, and its problem is "empty". With `out`, as for `compare`.

    Raises:
        CourseError: the answers are malformed, the file holds other scores, or the judge could not be asked at all.
    """
    given = read_answers(answers)
    drafts = {
        one.id: ScoreLine(
            one.id,
            FAILED,
            judge=judge.name,
            fingerprint=judge.fingerprint,
            question=one.question,
            reference=one.reference,
            answer=one.answer,
        )
        for one in given
    }
    file = VerdictFile(out, ScoreLine) if out is not None else None
    made: dict[str, ScoreLine] = {}
    if file:
        file.require_same(judge, drafts, ("question", "reference", "answer"))
        made = {identity: line for identity, line in file.held.items() if line.status in (JUDGED, UNPARSED)}
    waiting = [draft for draft in drafts.values() if draft.id not in made]
    with bar(len(waiting), f"score: {judge.name}", "answer") as shown:
        for start in range(0, len(waiting), judge.batch_size):
            lines = list(_score_some(judge, waiting[start : start + judge.batch_size]))
            made |= {line.id: line for line in lines}
            if file:
                file.add(lines)
            shown.update(len(lines))
    scored = [made[one.id] for one in given]
    _say_failed(scored)
    return scored


def _score_some(judge: Judge, drafts: Sequence[ScoreLine]) -> Iterator[ScoreLine]:
    asked = [draft for draft in drafts if draft.answer.strip()]
    singles = [SingleAnswer(Question(d.id, d.question, d.reference), d.answer) for d in asked]
    marks = {draft.id: mark for draft, mark in zip(asked, judge.scores(singles) if asked else [], strict=True)}
    for draft in drafts:
        mark = marks.get(draft.id)
        if mark is None:
            yield ScoreLine(**vars(draft) | {"status": UNPARSED, "problem": "empty"})
            continue
        said = mark.reply
        status = JUDGED if mark.score is not None else FAILED if said.failed else UNPARSED
        values = {"status": status, "score": mark.score, "problem": said.problem, "raw": said.raw}
        yield ScoreLine(**vars(draft) | values | {"prompt": said.prompt, "served_by": said.served_by})
