"""How much a drill tries, short or full, and what came of it: tried, lost, crashed."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

Thing = TypeVar("Thing")
ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("kind", "tried", "lost", "crashed")


@dataclass(frozen=True)
class Size:
    """How much each drill tries; `DRILL=full` chooses the full one."""

    kills: int  # of each command without a model
    model_kills: int  # of each command with one
    rooms: tuple[int, ...]  # KiB of a disk that is too small
    model_rooms: tuple[int, ...]
    memories: tuple[int, ...]  # MiB more than a command has when it starts
    vanishings: int  # folders that go while a command works, for each command
    patience_s: int  # TEACHER_TIMEOUT
    stall_s: int  # how long an endpoint says nothing
    notebooks: int  # on one endpoint
    questions: int  # of each notebook
    pairs: int  # of the same command on one output
    cases: int  # of hypothesis, for each thing that reads
    fuzzed: int  # requests for each operation of the server; 0: the tests of the server have the short form
    suites: int  # runs of `make test`; 0: a few tests in their place


SHORT = Size(
    kills=2, model_kills=1, rooms=(8,), model_rooms=(64,), memories=(8,), vanishings=1, patience_s=1, stall_s=4,
    notebooks=6, questions=8, pairs=1, cases=30, fuzzed=0, suites=0,
)  # fmt: skip
FULL = Size(
    kills=25, model_kills=25, rooms=(4, 8, 16, 32, 64, 128, 256), model_rooms=(4, 16, 64, 128, 256, 512, 1024),
    memories=(0, 1, 2, 4, 8, 16, 32, 64, 128), vanishings=10, patience_s=600, stall_s=620,
    notebooks=30, questions=40, pairs=10, cases=10_000, fuzzed=2_000, suites=10,
)  # fmt: skip

SIZE = FULL if os.environ.get("DRILL") == "full" else SHORT
TABLE = ROOT / "outputs" / "drills.csv" if SIZE is FULL else ROOT / "outputs" / "test" / "drills.csv"


def some(things: Sequence[Thing], turn: int, few: int = 1) -> Sequence[Thing]:
    """Return all in the full form, and a few of them by turns in the short one."""
    return things if SIZE is FULL else [things[(turn + place) % len(things)] for place in range(few)]


@dataclass
class Tally:
    """What came of a kind of trouble."""

    kind: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)  # what was there, or was said to be, and is not, twice or half
    crashed: list[str] = field(default_factory=list)  # what ended otherwise than well or with one sentence, or never

    def row(self) -> list:
        """Return the line of the table."""
        return [self.kind, self.tried, len(self.lost), len(self.crashed)]


@contextmanager
def drill(kind: str) -> Iterator[Tally]:
    """Count what a drill tries, enter it in the table of its form, and fail where anything was lost or crashed."""
    tally = Tally(kind)
    try:
        yield tally
    except BaseException as error:
        tally.crashed.append(f"the drill broke off: {error!r:.300}")
        raise
    finally:
        _enter(tally)
    assert tally.tried > 0
    assert not tally.lost and not tally.crashed, "\n".join(
        [
            f"{kind}: {tally.tried} tried",
            *(f"lost: {what}" for what in tally.lost),
            *(f"crashed: {what}" for what in tally.crashed),
        ]
    )


def _enter(tally: Tally) -> None:
    """Put a drill's line into the table, in the place of an earlier one of its kind."""
    rows = {}
    if TABLE.exists():
        with TABLE.open(encoding="utf-8", newline="") as file:
            rows = {row["kind"]: [row[name] for name in COLUMNS] for row in csv.DictReader(file)}
    rows[tally.kind] = tally.row()
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows.values())
