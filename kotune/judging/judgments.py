"""Stage two of judging: every pair judged in both orders, or every answer scored, one line each in a file.

A line holds all that the report needs and all that the judge said, raw. It is appended once it is known and never
changed: a run that was killed, or is started again, judges only what is missing. Questions that could not be compared or
asked have a line too, which a later run may follow with another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, asdict, dataclass, fields, replace
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar

from kotune.answering.answer_files import Pair, Question, Source, UnpairedQuestion, read_answers, side_by_side
from kotune.data import readers
from kotune.data.records import UnusedFields, data_hash, same_text
from kotune.judging.judges import AnswerScore, Judge, JudgeReply, PairVerdict, ShownPair, SingleAnswer
from kotune.line_file import KeyedLines, hold
from kotune.progress import bar
from kotune.shards import Shard, ShardCard, claim, places_in
from utils import CourseError, relative

Winner = Literal["a", "b", "tie"]
WINNERS = ("a", "b", "tie")
JUDGED = "judged"
UNPARSED = "unparsed"  # the judge was asked, and no verdict can be read
FAILED = "failed"  # the judge could not be asked
LEFT_OUT = "left_out"  # the question cannot be compared
STATUSES = (JUDGED, UNPARSED, FAILED, LEFT_OUT)
LEADS: dict[Winner | None, int] = {"a": 1, "tie": 0, "b": -1}
AB: dict[str | None, Winner | None] = {"first": "a", "second": "b", "tie": "tie", None: None}
BA: dict[str | None, Winner | None] = {"first": "b", "second": "a", "tie": "tie", None: None}


@dataclass(frozen=True)
class Tally:
    """How often one side of a pair won, tied and lost."""

    wins: int = 0
    ties: int = 0
    losses: int = 0

    @property
    def n(self) -> int:
        """How many pairs there are."""
        return self.wins + self.ties + self.losses

    @property
    def lead(self) -> int:
        """Wins less losses."""
        return self.wins - self.losses

    @property
    def decided(self) -> int:
        """Wins and losses."""
        return self.wins + self.losses

    @classmethod
    def of(cls, leads: Iterable[int]) -> Tally:
        """Return the tally of leads: 1 a win, 0 a tie, -1 a loss."""
        counts = Counter(leads)
        return cls(counts[1], counts[0], counts[-1])


@dataclass(frozen=True)
class VerdictLine:
    """What every line of a file of verdicts holds, whether it is on a pair or on one answer."""

    texts: ClassVar[tuple[str, ...]] = ("question", "reference")  # what was judged: another text is another verdict
    deed: ClassVar[str] = "judge"  # what the progress bar says
    unit: ClassVar[str] = "question"

    id: str  # of the question
    status: str  # one of STATUSES
    _: KW_ONLY
    problem: str | None = None  # why there is no verdict, or which answer is blank
    judge: str = ""
    fingerprint: str = ""  # all that the judge's verdicts depend on
    prompt: str | None = None  # the hash of the prompt
    served_by: str | None = None  # the model and its fingerprint, as the endpoint names them
    question: str = ""
    reference: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether no later line of the same id counts."""
        return self.status not in (FAILED, LEFT_OUT)


Line = TypeVar("Line", bound=VerdictLine)


@dataclass(frozen=True)
class Judgment(VerdictLine):
    """One question judged in both orders.

    A blank answer has the problem "empty_a", "empty_b" or "empty_both": the other wins, or both tie, and nobody is asked.
    """

    texts: ClassVar[tuple[str, ...]] = (*VerdictLine.texts, "answer_a", "answer_b")

    verdict_ab: Winner | None = None  # the winner when A was shown first
    verdict_ba: Winner | None = None  # the winner when B was
    winner: Winner | None = None  # their common verdict; orders that disagree are a tie; None where either is missing
    _: KW_ONLY
    raw_ab: str | dict | None = None  # the judge's reply, or its scores
    raw_ba: str | dict | None = None
    answer_a: str = ""
    answer_b: str = ""

    @property
    def was_asked(self) -> bool:
        """Whether the judge gave the verdict, and not the rule for blank answers."""
        return self.status == JUDGED and self.problem is None

    @property
    def worth_a_vote(self) -> bool:
        """Whether there are two answers that differ."""
        a, b = self.answer_a.strip(), self.answer_b.strip()
        return bool(a and b and a != b)

    @property
    def flipped(self) -> bool:
        """Whether the verdict changed with the order."""
        return self.status == JUDGED and self.verdict_ab != self.verdict_ba


@dataclass(frozen=True)
class ScoreLine(VerdictLine):
    """One answer scored by itself."""

    texts: ClassVar[tuple[str, ...]] = (*VerdictLine.texts, "answer")
    deed: ClassVar[str] = "score"
    unit: ClassVar[str] = "answer"

    score: float | None = None  # None where the status is unparsed or failed
    _: KW_ONLY
    raw: str | dict | None = None
    answer: str = ""


def read_line(row: dict, place: str, kind: type[Line]) -> Line:
    """Return the judgment or score that a row of a file holds; fields of other programs are left out.

    Raises:
        CourseError: the row has no id or status, or a verdict that is not known.
    """
    if not isinstance(row.get("id"), str) or row.get("status") not in STATUSES:
        what = "judgment" if kind is Judgment else "scored"
        raise CourseError(f"{place}, is no line of {what} answers (no id or status); name another file.")
    if kind is Judgment and row["status"] == JUDGED:
        for name in ("verdict_ab", "verdict_ba", "winner"):
            if row.get(name) not in WINNERS:
                raise CourseError(f"{place}, field {name}: holds {row.get(name)!r}, not a, b or tie; fix the line.")
    if kind is ScoreLine and row["status"] == JUDGED and not isinstance(row.get("score"), int | float):
        raise CourseError(f"{place}, field score: holds {row.get('score')!r}, not a number; fix the line.")
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in row.items() if name in names})


def _that_counts(held: Line, new: Line) -> Line:
    """Of an id's lines, the first final one counts, else the last."""
    return held if held.is_final else new


def read_judgments(source: str | Path | Sequence[Judgment]) -> list[Judgment]:
    """Return judgments out of a file, or as they are; of an id's lines the one that counts."""
    return _read_lines(source, Judgment)


def read_scores(source: str | Path | Sequence[ScoreLine]) -> list[ScoreLine]:
    """Return scores out of a file, or as they are; of an id's lines the one that counts."""
    return _read_lines(source, ScoreLine)


def _read_lines(source: str | Path | Sequence[Line], kind: type[Line]) -> list[Line]:
    if not isinstance(source, str | Path):
        return list(source)
    held: dict[str, Line] = {}
    names = {one.name for one in fields(kind)}
    unused = UnusedFields("they are of another program")
    for place, row in readers.read(source):
        unused.add([name for name in row if name not in names], place)
        line = read_line(row, place, kind)
        held[line.id] = _that_counts(held.get(line.id, line), line)
    unused.say()
    return list(held.values())


# --- one loop for both -----------------------------------------------------------------------


def _judge_all(
    judge: Judge,
    kind: type[Line],
    drafts: Sequence[Line],
    decide: Callable[[Judge, Sequence[Line]], list[Line]],
    *,
    out: str | Path | None,
    rest: Sequence[Line] = (),
    shard: Shard | None = None,
) -> list[Line]:
    """Return the drafts with verdicts by `decide`, then the rest; with `out`, only what its file lacks is decided.

    shard: decide those of this shard alone, into its own file beside `out`.
    """
    with nullcontext() if out is None else hold(shard.file(out) if shard else out, instead="another file"):
        if shard is not None:
            if out is None:
                raise CourseError("A shard's verdicts need a file; pass out.")
            out, everything = shard.file(out), [*drafts, *rest]
            card = _shard_card(judge, kind, everything, shard)
            claim(out, card)
            drafts, rest = ([line for line in lines if line.id in card.places] for lines in (drafts, rest))
        file = _VerdictFile(out, kind, judge) if out is not None else None
        made = file.final_lines(drafts) if file else {}
        waiting = [draft for draft in drafts if draft.id not in made]
        with bar(len(waiting), f"{kind.deed}: {judge.name}", kind.unit) as shown:
            for start in range(0, len(waiting), judge.batch_size):
                lines = decide(judge, waiting[start : start + judge.batch_size])
                made |= {line.id: line for line in lines}
                if file:
                    file.add(lines)
                shown.update(len(lines))
        if file:
            file.add(rest)
    lines = [made[draft.id] for draft in drafts] + list(rest)
    failed = sum(line.status == FAILED for line in lines)
    if failed:
        print(f"{failed} of {len(lines)} questions could not be put to the judge; run again to ask these alone.")
    return lines


def _shard_card(judge: Judge, kind: type[Line], lines: Sequence[Line], shard: Shard) -> ShardCard:
    return ShardCard(
        "judge" if kind is Judgment else "score",
        shard.number,
        shard.of,
        {"judge": judge.name, "fingerprint": judge.fingerprint},
        data_hash([{name: getattr(line, name) for name in ("id", *kind.texts)} for line in lines]),
        len(lines),
        places_in(shard, [line.id for line in lines]),
        (FAILED, LEFT_OUT),
    )


class _VerdictFile(Generic[Line]):
    """The lines of one judge on disk."""

    def __init__(self, path: str | Path, kind: type[Line], judge: Judge):
        self.judge = judge
        self.lines: KeyedLines[Line] = KeyedLines(
            path, keep=_that_counts, check=lambda row, place: read_line(row, place, kind)
        )

    def add(self, lines: Sequence[Line]) -> None:
        """Append the lines that say something new."""
        self.lines.append([asdict(line) for line in lines if self.lines.rows.get(line.id) != line])

    def final_lines(self, drafts: Sequence[Line]) -> dict[str, Line]:
        """Return what needs no judging again.

        Raises:
            CourseError: the file holds another judge's lines, or lines on other texts than these.
        """
        drafted, judge, path = {draft.id: draft for draft in drafts}, self.judge, relative(self.lines.path)
        for identity, held in self.lines.rows.items():
            if (held.judge, held.fingerprint) != (judge.name, judge.fingerprint):
                raise CourseError(
                    f"{path} holds verdicts of {held.judge} ({held.fingerprint}), not of {judge.name} "
                    f"({judge.fingerprint}); name another file."
                )
            draft = drafted.get(identity)
            if held.status != LEFT_OUT and (draft is None or not _same_texts(held, draft)):
                raise CourseError(
                    f"{path} holds a verdict on {'another' if draft is None else 'other texts for'} question "
                    f"{identity!r}; name another file for these answers."
                )
        return {identity: line for identity, line in self.lines.rows.items() if line.is_final}


def _same_texts(one: VerdictLine, other: VerdictLine) -> bool:
    return all(same_text(getattr(one, name), getattr(other, name)) for name in one.texts)


# --- pairs -----------------------------------------------------------------------------------


def compare(judge: Judge, answers_a: Source, answers_b: Source, out: str | Path | None = None) -> list[Judgment]:
    """Judge the answers of A and B to the same questions, each pair in both orders; return a judgment for every id.

    A verdict is read in its order before it is mapped back to A and B. With `out`, judgments go into that file as they
    are made (`judge.batch_size` pairs at a time), and those that it holds are not made again.

    Raises:
        CourseError: the answers cannot be paired (see `side_by_side`), the file holds other judgments, or the judge
            could not be asked at all.
    """
    paired = side_by_side(answers_a, answers_b)
    return judge_pairs(judge, paired.pairs, paired.left_out, out)


def judge_pairs(
    judge: Judge,
    pairs: Sequence[Pair],
    left_out: Sequence[UnpairedQuestion] = (),
    out: str | Path | None = None,
    shard: Shard | None = None,
) -> list[Judgment]:
    """Do what `compare` does, on pairs that are put together already.

    shard: judge that shard's alone, into `shard.file(out)`.
    """
    drafts = [
        Judgment(
            pair.question.id,
            FAILED,
            question=pair.question.question,
            reference=pair.question.reference,
            answer_a=pair.answer_a,
            answer_b=pair.answer_b,
            judge=judge.name,
            fingerprint=judge.fingerprint,
        )
        for pair in pairs
    ]
    rest = [
        Judgment(
            one.id,
            LEFT_OUT,
            problem=one.reason,
            question=one.question,
            judge=judge.name,
            fingerprint=judge.fingerprint,
        )
        for one in left_out
    ]
    return _judge_all(judge, Judgment, drafts, _judge_some, out=out, rest=rest, shard=shard)


def _judge_some(judge: Judge, drafts: Sequence[Judgment]) -> list[Judgment]:
    asked = [draft for draft in drafts if draft.answer_a.strip() and draft.answer_b.strip()]
    questions = [Question(draft.id, draft.question, draft.reference) for draft in asked]
    ab = [ShownPair(question, draft.answer_a, draft.answer_b) for question, draft in zip(questions, asked, strict=True)]
    ba = [ShownPair(pair.question, pair.second, pair.first) for pair in ab]
    # both orders in one call: a judge by scores scores each answer once, an LLM is kept busy
    verdicts = judge.verdicts([*ab, *ba]) if asked else []
    orders = zip(verdicts[: len(ab)], verdicts[len(ab) :], strict=True)
    both = {draft.id: pair for draft, pair in zip(asked, orders, strict=True)}
    return [_judged(draft, *both[draft.id]) if draft.id in both else _blank(draft) for draft in drafts]


def _judged(draft: Judgment, shown_ab: PairVerdict, shown_ba: PairVerdict) -> Judgment:
    ab, ba = AB[shown_ab.verdict], BA[shown_ba.verdict]
    readable = ab is not None and ba is not None
    replies = [shown_ab.reply, shown_ba.reply]
    failed = any(reply.failed for reply in replies)
    return replace(
        draft,
        status=JUDGED if readable else FAILED if failed else UNPARSED,
        verdict_ab=ab,
        verdict_ba=ba,
        winner=(ab if ab == ba else "tie") if readable else None,
        problem=None if readable else _first(replies, "problem") or "no_verdict",
        raw_ab=shown_ab.reply.raw,
        raw_ba=shown_ba.reply.raw,
        prompt=_first(replies, "prompt"),
        served_by=_first(replies, "served_by"),
    )


def _blank(draft: Judgment) -> Judgment:
    a, b = draft.answer_a.strip(), draft.answer_b.strip()
    winner: Winner
    winner, problem = ("a", "empty_b") if a else ("b", "empty_a") if b else ("tie", "empty_both")
    return replace(draft, status=JUDGED, verdict_ab=winner, verdict_ba=winner, winner=winner, problem=problem)


def _first(replies: Sequence[JudgeReply], name: str):
    # what failed says more than what could not be read
    values = [getattr(one, name) for one in sorted(replies, key=lambda one: not one.failed)]
    return next((value for value in values if value is not None), None)


# --- single answers --------------------------------------------------------------------------


def score(judge: Judge, answers: Source, out: str | Path | None = None, shard: Shard | None = None) -> list[ScoreLine]:
    """Score each answer by itself: 1 to 10 by an LLM, a reward by a reward model, ROUGE-L by the reference judge.

    An empty answer is not shown to the judge: it has no score, and its problem is "empty". With `out`, as for `compare`;
    with `shard`, as for `judge_pairs`.

    Raises:
        CourseError: the answers are malformed, the file holds other scores, or the judge could not be asked at all.
    """
    drafts = [
        ScoreLine(
            one.id,
            FAILED,
            question=one.question,
            reference=one.reference,
            answer=one.answer,
            judge=judge.name,
            fingerprint=judge.fingerprint,
        )
        for one in read_answers(answers)
    ]
    return _judge_all(judge, ScoreLine, drafts, _score_some, out=out, shard=shard)


def _score_some(judge: Judge, drafts: Sequence[ScoreLine]) -> list[ScoreLine]:
    asked = [draft for draft in drafts if draft.answer.strip()]
    singles = [SingleAnswer(Question(draft.id, draft.question, draft.reference), draft.answer) for draft in asked]
    scores = {draft.id: one for draft, one in zip(asked, judge.scores(singles) if asked else [], strict=True)}
    return [_scored(draft, scores.get(draft.id)) for draft in drafts]


def _scored(draft: ScoreLine, given: AnswerScore | None) -> ScoreLine:
    if given is None:
        return replace(draft, status=UNPARSED, problem="empty")
    reply = given.reply
    return replace(
        draft,
        status=JUDGED if given.score is not None else FAILED if reply.failed else UNPARSED,
        score=given.score,
        problem=reply.problem,
        raw=reply.raw,
        prompt=reply.prompt,
        served_by=reply.served_by,
    )
