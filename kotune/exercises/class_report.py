"""Who of a class has solved what, from a folder with the files that learners handed in.

    kotune class report handed_in --out class.csv

Each learner hands in the file of `outputs/exercises/` that carries the name. Files may lie in folders of their own, and a
file that was handed in twice counts once.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kotune.exercises.catalogue import Exercise, find, ids
from utils import OUTPUTS, CourseError, read_text, relative, require_other_files, write_atomic

OUT = OUTPUTS / "class_report.csv"
COLUMNS = ("who", "id", "kind", "tries", "solved_at")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the begin of a formula


@dataclass(frozen=True)
class Try:
    """One line that `results.record` wrote."""

    row: str
    who: str
    id: str
    solved: bool
    fault: str
    at: datetime
    file: str


@dataclass
class HandedIn:
    """What was read of a folder, and what was not."""

    tries: list[Try] = field(default_factory=list)
    files: int = 0
    repeated: int = 0  # lines that stood in another file as well
    refused: list[str] = field(default_factory=list)  # each with its place and the reason


@dataclass(frozen=True)
class Standing:
    """What one learner did with one exercise or question: tries up to the first right one, and when that was."""

    who: str
    id: str
    tries: int
    solved_at: datetime | None


def read(folder: str | Path) -> HandedIn:
    """Read every file of results below a folder.

    Raises:
        CourseError: there is no such folder, or not one file of results in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(f"{relative(folder)} is no folder; name the one that holds the learners' files.")
    found = HandedIn()
    seen: set[str] = set()
    for path in sorted(folder.rglob("*.jsonl")):
        found.files += 1
        for one in _tries_of(path, found.refused):
            if one.row in seen:
                found.repeated += 1
                continue
            seen.add(one.row)
            found.tries.append(one)
    if not found.tries:
        reason = f" ({found.refused[0]})" if found.refused else ""
        raise CourseError(
            f"{relative(folder)} holds no result of an exercise{reason}; collect the files of outputs/exercises/."
        )
    return found


def _tries_of(path: Path, refused: list[str]) -> Iterator[Try]:
    try:
        lines = read_text(path).split("\n")
    except CourseError as error:
        refused.append(str(error))
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield _try_of(json.loads(line), relative(path))
        except (ValueError, TypeError, KeyError, RecursionError):
            refused.append(f"{relative(path)}, line {number}, is no result of an exercise")


def _try_of(row: Any, file: str) -> Try:
    texts = [row[name] for name in ("row", "who", "id", "fault", "at")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(row["solved"], bool) or not row["who"].strip():
        raise TypeError
    at = datetime.fromisoformat(row["at"])
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return Try(row["row"], row["who"], row["id"], row["solved"], row["fault"], at, file)


def standings(tries: Sequence[Try]) -> list[Standing]:
    """Return what each learner did with each exercise that was tried, by learner and in the order of the lessons."""
    place = {id: number for number, id in enumerate(ids())}
    by_both: dict[tuple[str, str], list[Try]] = {}
    for one in sorted(tries, key=lambda one: one.at):
        by_both.setdefault((one.who, one.id), []).append(one)
    found = [_standing(who, id, made) for (who, id), made in by_both.items()]
    return sorted(found, key=lambda one: (one.who, place.get(one.id, len(place)), one.id))


def _standing(who: str, id: str, made: Sequence[Try]) -> Standing:
    first = next((number for number, one in enumerate(made) if one.solved), None)
    if first is None:
        return Standing(who, id, len(made), None)
    return Standing(who, id, first + 1, made[first].at)


def write_csv(found: Sequence[Standing], path: str | Path) -> Path:
    """Write a line for each learner and exercise, as Excel reads Korean; times are in UTC, and empty where it is not solved.

    Raises:
        FileError: it cannot be written.
    """
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for one in found:
        solved_at = one.solved_at.isoformat(timespec="seconds") if one.solved_at else ""
        rows.writerow([_cell(one.who), _cell(one.id), _kind(one.id), one.tries, solved_at])
    return write_atomic(path, "\ufeff" + table.getvalue())


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _kind(id: str) -> str:
    known = find(id)
    return "unknown" if known is None else "exercise" if isinstance(known, Exercise) else "question"


def summary(handed_in: HandedIn, found: Sequence[Standing]) -> list[str]:
    """Return the lines that a teacher looks at first: for each exercise how many solved it, and what most got wrong."""
    wrong: dict[str, Counter[str]] = {}
    for one in handed_in.tries:
        if not one.solved:
            wrong.setdefault(one.id, Counter())[one.fault] += 1
    lines = [f"{'id':16} {'tried':>5} {'solved':>6} {'tries each':>10}  most frequent mistake"]
    for id in dict.fromkeys([*ids(), *(one.id for one in found)]):
        of_this = [one for one in found if one.id == id]
        if of_this:
            solved, tries = sum(one.solved_at is not None for one in of_this), sum(one.tries for one in of_this)
            often = ", ".join(f"{fault} ({count})" for fault, count in wrong.get(id, Counter()).most_common(1))
            lines.append(f"{id:16} {len(of_this):5} {solved:6} {tries / len(of_this):10.1f}  {often}".rstrip())
    return lines


def notes(handed_in: HandedIn) -> list[str]:
    """Return a sentence on each thing that a teacher should know of the files."""
    said = []
    files: dict[str, set[str]] = {}
    for one in handed_in.tries:
        files.setdefault(one.who, set()).add(one.file)
    for who, where in files.items():
        if len(where) > 1:
            said.append(f"{len(where)} files carry the name {who}: one learner with several, or several of one name?")
    if handed_in.repeated:
        said.append(f"{handed_in.repeated} lines stood in more than one file and were counted once.")
    unknown = sorted({one.id for one in handed_in.tries if find(one.id) is None})
    if unknown:
        said.append(f"Not in this version of the course, but in the table: {', '.join(unknown[:10])}.")
    if handed_in.refused:
        said.append(f"{len(handed_in.refused)} lines or files were left out; the first: {handed_in.refused[0]}.")
    return said


def report_command(folder: Path, out: Path | None) -> None:
    """Write the table of a class, and print what a teacher looks at first."""
    out = out or OUT
    require_other_files([*Path(folder).rglob("*.jsonl")], [out])
    handed_in = read(folder)
    found = standings(handed_in.tries)
    write_csv(found, out)
    learners = len({one.who for one in found})
    print("\n".join(summary(handed_in, found)))
    print("\n".join([*notes(handed_in), f"{learners} learners, {handed_in.files} files: {relative(out)}"]))
