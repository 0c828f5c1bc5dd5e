"""Blind votes of the chat page: two answers, which one a person preferred, and which models they came from.

One JSON object a line. `a` and `b` name the same models in every row, whichever was shown first.

    kotune votes outputs/serve/votes.jsonl --out outputs/eval/votes

counts the votes as a judge's verdicts are counted, and writes for each pair of models what `judging.py` takes: a.jsonl and
b.jsonl (answers, so that a judge may decide on the same pairs) and judgments.jsonl (the votes). How far a judge agrees:
`blind_vote.agreement(blind_vote.read_votes(votes), its_judgments)`.
"""

from __future__ import annotations

import argparse
import os
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from kotune.answering.answer_files import Answered
from kotune.judging.comparison import report
from kotune.judging.judgments import JUDGED, Judgment
from utils import CourseError, json_line, read_jsonl, relative, write_jsonl

Winner = Literal["a", "b", "tie"]


@dataclass(frozen=True)
class Vote:
    """A pair of answers and the verdict on it; winner is None until somebody voted.

    models: {"a": name, "b": name}. shown_first: the side that stood first (left, or above on a phone).
    """

    id: str
    question: str
    answer_a: str
    answer_b: str
    winner: Winner | None
    models: dict[str, str]
    shown_first: Literal["a", "b"]
    time: str | None

    def decided(self, shown: Literal["first", "second", "tie"]) -> Vote:
        """Return the vote with a verdict on what was shown, mapped back to a and b, and the time."""
        second = "b" if self.shown_first == "a" else "a"
        winner = {"first": self.shown_first, "second": second, "tie": "tie"}[shown]
        return replace(self, winner=winner, time=datetime.now(UTC).isoformat(timespec="seconds"))


def pair(question: str, models: tuple[str, str]) -> Vote:
    """Return an undecided vote on two models' answers to come, the one to be shown first drawn by lot."""
    first = random.SystemRandom().choice(("a", "b"))
    return Vote(str(uuid4()), question, "", "", None, {"a": models[0], "b": models[1]}, first, None)


def store(path: str | Path, vote: Vote) -> None:
    """Append a vote to a file as one line, on disk when this returns; two processes do not mix their lines."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json_line(asdict(vote)).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: str | Path) -> list[Vote]:
    """Return the votes of a file.

    Raises:
        CourseError: the file is missing, or a row is no vote.
    """
    votes = []
    for number, row in enumerate(read_jsonl(path), start=1):
        if set(row) != {field.name for field in fields(Vote)} or row["winner"] not in ("a", "b", "tie"):
            raise CourseError(f"{relative(path)}, row {number}, is no vote of the chat page; remove that line.")
        votes.append(Vote(**row))
    return votes


# --- for judging.py --------------------------------------------------------------------------


def by_models(votes: Sequence[Vote]) -> dict[tuple[str, str], list[Vote]]:
    """Return votes under the models that they compare, (a, b)."""
    pairs: dict[tuple[str, str], list[Vote]] = {}
    for vote in votes:
        pairs.setdefault((vote.models["a"], vote.models["b"]), []).append(vote)
    return pairs


def judgments(votes: Sequence[Vote]) -> list[Judgment]:
    """Return votes as the judgments of a judge, for `judging.report`.

    A person saw one order alone; problem says so, and keeps these pairs out of the flip rate.
    """
    return [
        Judgment(
            vote.id, JUDGED, vote.winner, vote.winner, vote.winner, problem="seen_in_one_order",
            judge=f"people ({vote.models['a']} against {vote.models['b']})",
            question=vote.question, answer_a=vote.answer_a, answer_b=vote.answer_b,
        )
        for vote in votes
    ]  # fmt: skip


def answers(votes: Sequence[Vote]) -> tuple[list[Answered], list[Answered]]:
    """Return the answers of a and of b that were voted on, each as an answers file has them."""
    return (
        [Answered(vote.id, vote.question, vote.answer_a, model=vote.models["a"]) for vote in votes],
        [Answered(vote.id, vote.question, vote.answer_b, model=vote.models["b"]) for vote in votes],
    )


def write(votes: Sequence[Vote], folder: Path) -> list[Path]:
    """Write the votes on one pair of models as a.jsonl, b.jsonl and judgments.jsonl."""
    sides = zip(("a.jsonl", "b.jsonl"), answers(votes), strict=True)
    written = [write_jsonl(folder / name, [answered.row() for answered in side]) for name, side in sides]
    return [*written, write_jsonl(folder / "judgments.jsonl", map(asdict, judgments(votes)))]


def votes_command(chosen: argparse.Namespace) -> None:
    """Count the votes of a file as the command line asks, and write them for `kotune judge`."""
    for (a, b), cast in by_models(read(chosen.votes)).items():
        counted = report(judgments(cast))
        low, high = counted.interval
        print(
            f"{a} against {b}: {counted.wins} better, {counted.ties} alike, {counted.losses} worse, of {counted.n_judged}; "
            f"win rate {counted.win_rate:.0%} [{low:.0%}, {high:.0%}], p = {counted.p_value:.2g}"
        )
        written = write(cast, chosen.out / "_against_".join(re.sub(r"[^\w.-]+", "_", name) for name in (a, b)))
        print(f"written: {', '.join(map(relative, written))}")
