"""What a learner has solved, a line a try, in `outputs/exercises/`; it leaves the machine only if somebody copies it."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import uuid4

from kotune.exercises.catalogue import phrases
from kotune.line_file import LineFile
from utils import OUTPUTS, CourseError, read_jsonl, read_text, relative, write_atomic

FOLDER = OUTPUTS / "exercises"
NAME_FILE = "name.txt"
LONGEST_NAME = 40  # characters
_DRAWN = re.compile("learner-[0-9a-f]{6}")
_NO_PART_OF_A_FILE_NAME = re.compile(r"[^\w -]")


def set_name(name: str) -> None:
    """Put a name on what is written down, in this notebook and the others; print where that is.

    What was written down before any name was set goes along; what stands under another name stays.
    """
    said = phrases()
    wanted = _plain_name(name) if isinstance(name, str) else ""
    if not wanted:
        print(said["name_needed"]())
        return
    try:
        earlier = _kept_name()
        write_atomic(FOLDER / NAME_FILE, wanted + "\n")
        if _DRAWN.fullmatch(earlier) and earlier != wanted and _file(earlier).exists():
            _open(_file(wanted)).append([{**row, "who": wanted} for row in read_jsonl(_file(earlier))])
            _file(earlier).unlink()
            _open.cache_clear()
    except (CourseError, OSError) as error:
        print(said["not_written"]().format(reason=error))
        return
    print(said["name_set"]().format(name=wanted, file=relative(_file(wanted))))


def learner() -> str:
    """Return the learner's name: the one that was set, or one drawn by lot, which then stays."""
    name = _kept_name()
    if not name:
        name = f"learner-{uuid4().hex[:6]}"
        write_atomic(FOLDER / NAME_FILE, name + "\n")
    return name


def _kept_name() -> str:
    path = FOLDER / NAME_FILE
    return _plain_name(read_text(path)) if path.exists() else ""


def _plain_name(name: str) -> str:
    """Return a name on one line, spelt as most systems spell it."""
    kept = "".join(" " if unicodedata.category(one).startswith("C") else one for one in name[: 10 * LONGEST_NAME])
    return unicodedata.normalize("NFC", " ".join(kept.split())[:LONGEST_NAME]).strip()


def _file(name: str) -> Path:
    return FOLDER / f"{_NO_PART_OF_A_FILE_NAME.sub('_', name)}.jsonl"


@cache
def _open(path: Path) -> LineFile:
    return LineFile(path)


def record(id: str, solved: bool, fault: str) -> str:
    """Write a try down; return a sentence where that could not be done, else nothing.

    fault: which sentence the answer deserved, or the letter that was chosen.
    """
    try:
        name = learner()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"row": uuid4().hex, "who": name, "id": id, "solved": solved, "fault": fault, "at": at}
        _open(_file(name)).append([row])
    except (CourseError, OSError) as error:
        return phrases()["not_written"]().format(reason=error)
    return ""
