"""Vectors of texts in a file of the user's cache, so that a text is embedded once; damaged ones are made anew."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from kotune.line_file import KeyedLines
from utils import CourseError, errors_of, relative, write_atomic


@dataclass(frozen=True)
class KeptVector:
    """The vector of a text, under the SHA-256 of the text, in hexadecimal digits."""

    text: str
    vector: np.ndarray  # float32

    def row(self) -> dict:
        """Return the line as it stands in the file: the numbers as bytes in base64, and a sum over both fields."""
        numbers = base64.b64encode(self.vector.astype("<f4").tobytes()).decode()
        return {"text": self.text, "vector": numbers, "sum": _sum(self.text, numbers)}


class VectorCache:
    """Vectors by the hash of their text, in a JSONL file that several processes may add to and that survives being killed.

    The file holds vectors of one model alone: its name says which. Its owner alone can read it, since a vector tells much
    of its text. A file that cannot be read or written costs time and nothing else: that is said once, and vectors are
    made anew.
    """

    def __init__(self, path: Path, say: Callable[[str], None] = print):
        """Open the file, or make it; take out the lines of it that are damaged, and say how many."""
        self.path, self._say = path, say
        self._lines: KeyedLines[KeptVector] | None = None
        try:
            if damaged := self._take_out_damaged():
                say(f"{relative(path)}: {damaged} of its lines are damaged; their vectors are made anew.")
            self._lines = KeyedLines(path, key="text", check=_read, private=True)
        except CourseError as error:
            self._give_up(error)

    def get(self, key: str) -> np.ndarray | None:
        """Return the vector of the text with this hash, None where it is not there."""
        held = self._lines.rows.get(key) if self._lines else None
        return held.vector if held else None

    def add(self, vectors: Sequence[KeptVector]) -> None:
        """Write vectors to the file; where that fails it is said, and no more are written."""
        if self._lines is None:
            return
        try:
            self._lines.append([one.row() for one in vectors])
        except CourseError as error:
            self._give_up(error)

    def _give_up(self, error: CourseError) -> None:
        self._lines = None
        self._say(f"Vectors are not kept for the next time: {error}")

    def _take_out_damaged(self) -> int:
        """Write the file anew without its damaged lines, where there are any; return their number."""
        if not self.path.is_file():
            return 0
        with errors_of(self.path), FileLock(f"{self.path}.lock"):  # the lock of `LineFile`
            lines = [line for line in self.path.read_bytes().splitlines() if line.strip()]
            sound = [line for line in lines if _is_sound(line)]
            if len(sound) < len(lines):
                write_atomic(self.path, "".join(line.decode() + "\n" for line in sound))
        return len(lines) - len(sound)


def _sum(text: str, numbers: str) -> str:
    return hashlib.sha256(f"{text} {numbers}".encode()).hexdigest()[:16]


def _is_sound(line: bytes) -> bool:
    try:
        _read(json.loads(line), "")
    except (ValueError, RecursionError, CourseError):
        return False
    return True


def _read(row: dict, place: str) -> KeptVector:
    """Return the vector of a line.

    Raises:
        CourseError: the line is not as it was written.
    """
    fields = [row.get(name) if isinstance(row, dict) else None for name in ("text", "vector", "sum")]
    text, numbers, stated = (field if isinstance(field, str) else "" for field in fields)
    if not numbers or _sum(text, numbers) != stated:
        raise CourseError(f"{place}, holds a damaged vector; remove that line.")
    return KeptVector(text, np.frombuffer(base64.b64decode(numbers), "<f4"))
