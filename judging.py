"""Compare answers in pairs, in both orders, and report wins with an interval.

Answers, judgments and the report are three stages; `evaluation.ipynb` writes each to a file before the next.

Cost of import: numpy, rapidfuzz and pydantic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import numpy as np

from prompts import REFERENCE_JUDGE
from similarity import rouge_l
from teacher import Teacher, answered

Winner = Literal["a", "b", "tie"]
BOOTSTRAP_DRAWS = 10_000


@dataclass(frozen=True)
class Question:
    """What both sides were asked, and the reference answer."""

    id: str
    question: str
    reference: str


@dataclass(frozen=True)
class Shown:
    """A pair as one judge call sees it."""

    question: Question
    first: str
    second: str


class Judge(Protocol):
    """Says of each pair which answer is better: "first", "second", "tie", or None for an unreadable verdict."""

    name: str

    def verdicts(self, pairs: Sequence[Shown]) -> list[str | None]: ...


@dataclass(frozen=True)
class ReferenceJudge:
    """Prefers the answer that shares more with the reference: ROUGE-L F1 on Korean morphemes.

    Real and free, but blind to meaning: a fluent answer with a wrong number scores almost as well as a right one.
    Two scores closer than `tie_below` are a tie.
    """

    tie_below: float = 0.02
    name: str = "reference (ROUGE-L on morphemes)"

    def verdicts(self, pairs: Sequence[Shown]) -> list[str | None]:
        verdicts = []
        for pair in pairs:
            first = rouge_l(pair.first, pair.question.reference).f1
            second = rouge_l(pair.second, pair.question.reference).f1
            if abs(first - second) < self.tie_below:
                verdicts.append("tie")
            else:
                verdicts.append("first" if first > second else "second")
        return verdicts


@dataclass(frozen=True)
class LLMJudge:
    """Asks a teacher model for a verdict through a schema; an unreadable reply is None, never a default.

    What failed is counted and printed; a CourseError says why where not one request was answered.
    """

    teacher: Teacher

    @property
    def name(self) -> str:
        return f"LLM ({self.teacher.model})"

    def verdicts(self, pairs: Sequence[Shown]) -> list[str | None]:
        requests = [
            REFERENCE_JUDGE.messages(
                question=pair.question.question,
                reference=pair.question.reference,
                first=pair.first,
                second=pair.second,
            )
            for pair in pairs
        ]
        replies = self.teacher.ask(requests, schema=REFERENCE_JUDGE.schema)
        answered(replies)
        return [reply.parsed.winner if reply.parsed else None for reply in replies]


@dataclass(frozen=True)
class Judgment:
    """One question judged in both orders.

    verdict_ab: the winner when A was shown first; verdict_ba: when B was; None where a verdict was unreadable.
    winner: their common verdict; orders that disagree are a tie; None where either is unreadable.
    """

    id: str
    verdict_ab: Winner | None
    verdict_ba: Winner | None
    winner: Winner | None


AB = {"first": "a", "second": "b", "tie": "tie", None: None}
BA = {"first": "b", "second": "a", "tie": "tie", None: None}


def compare(
    judge: Judge, questions: Sequence[Question], answers_a: Sequence[str], answers_b: Sequence[str]
) -> list[Judgment]:
    """Judge every pair in both orders; the verdict is read in its order before it is mapped back to A and B."""
    pairs = list(zip(questions, answers_a, answers_b, strict=True))
    shown_ab = judge.verdicts([Shown(question, a, b) for question, a, b in pairs])
    shown_ba = judge.verdicts([Shown(question, b, a) for question, a, b in pairs])
    judgments = []
    for (question, _, _), raw_ab, raw_ba in zip(pairs, shown_ab, shown_ba, strict=True):
        ab, ba = AB[raw_ab], BA[raw_ba]
        winner = None if ab is None or ba is None else ab if ab == ba else "tie"
        judgments.append(Judgment(question.id, ab, ba, winner))
    return judgments


@dataclass(frozen=True)
class Report:
    """Wins of A over B. win_rate counts a tie as half; interval: 95%, bootstrap over questions."""

    judge: str
    n_asked: int
    n_judged: int
    unparsed: int
    wins: int
    ties: int
    losses: int
    win_rate: float
    interval: tuple[float, float]
    flip_rate: float

    def row(self) -> dict:
        """Return the report as one flat row for a table or JSON."""
        return asdict(self)


def report(judge_name: str, judgments: Sequence[Judgment], seed: int = 0) -> Report:
    """Count wins, ties and losses of A, with a percentile bootstrap interval over questions.

    Unreadable judgments are counted in `unparsed` and in no rate. Raises ValueError where none is readable.
    """
    judged = [j for j in judgments if j.winner is not None]
    if not judged:
        raise ValueError(f"None of {len(judgments)} judgments could be read; look at the judge's raw replies.")
    points = np.array([{"a": 1.0, "tie": 0.5, "b": 0.0}[j.winner] for j in judged])
    draws = np.random.default_rng(seed).choice(points, size=(BOOTSTRAP_DRAWS, len(points)))
    low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
    winners = [j.winner for j in judged]
    return Report(
        judge=judge_name,
        n_asked=len(judgments),
        n_judged=len(judged),
        unparsed=len(judgments) - len(judged),
        wins=winners.count("a"),
        ties=winners.count("tie"),
        losses=winners.count("b"),
        win_rate=float(points.mean()),
        interval=(float(low), float(high)),
        flip_rate=sum(j.verdict_ab != j.verdict_ba for j in judged) / len(judged),
    )
