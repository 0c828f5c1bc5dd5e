"""Blind votes of the chat page: two answers, which one a person preferred, and which models they came from.

One JSON object a line. `a` and `b` name the same models in every row, whichever was shown first, so that the winners of
a file can be counted as a judge's are (`judging.py`).

Cost of import: the standard library only.
"""

from __future__ import annotations

import os
import random
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from utils import CourseError, json_line, read_jsonl, relative

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
        try:
            votes.append(Vote(**row))
        except TypeError:
            raise CourseError(f"{relative(path)}, row {number}, is no vote of the chat page; remove that line.") from None
    return votes
