"""A JSONL file that several processes append to, line by line, and that survives being killed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from utils import CourseError, json_line, relative


class LineFile:
    """A JSONL file that several processes may append to, and that survives being killed in the middle of a line."""

    def __init__(self, path: str | Path):
        """Open or create the file, mend a torn last line, and read what is there."""
        self.path = Path(path)
        self._lock = FileLock(f"{self.path}.lock")
        self._offset, self._lines = 0, 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab"):
                pass
        except OSError as error:
            raise CourseError(f"{relative(self.path)} cannot be written ({error.strerror}); name another file.") from None
        with self._lock:
            self._mend_torn_line()
            self._read_new()

    def refresh(self) -> None:
        """Read what other processes have written since."""
        with self._lock:
            self._mend_torn_line()
            self._read_new()

    def append(self, rows: Sequence[dict]) -> None:
        """Write the rows that are wanted, one a line; what they say counts once they are on disk."""
        with self._lock:
            self._mend_torn_line()  # of a process that was killed since
            self._read_new()
            wanted = self._wanted(rows)
            data = "".join(map(json_line, wanted)).encode()
            if data:
                with self.path.open("ab") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self._offset += len(data)
                self._lines += len(wanted)
            for row in wanted:
                self._take(row, "")

    def _wanted(self, rows: Sequence[dict]) -> Sequence[dict]:
        """Return the rows that are to be written."""
        return rows

    def _take(self, row: dict, place: str) -> None:
        """Remember a row that is on disk now; `place` names its line, and is empty for one of our own."""

    def _mend_torn_line(self) -> None:
        size = self.path.stat().st_size
        if size <= self._offset:
            return
        with self.path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) == b"\n":
                return
            file.seek(self._offset)
            tail = file.read()
            torn = tail[tail.rfind(b"\n") + 1 :]
            if _is_json(torn):  # whole but for its line end
                file.write(b"\n")
                return
            aside = self.path.with_name(f"{self.path.name}.torn")
            with aside.open("ab") as kept:
                kept.write(torn + b"\n")
            file.truncate(size - len(torn))
        print(
            f"{relative(self.path)}: the last line was torn (a run ended while writing it); its {len(torn)} bytes were "
            f"moved to {aside.name}, and its request will be asked again."
        )

    def _read_new(self) -> None:
        size = self.path.stat().st_size
        if size < self._offset:
            raise CourseError(f"{relative(self.path)} was cut short while in use; run this again to read it anew.")
        if size == self._offset:
            return
        name = relative(self.path)
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                self._lines += 1
                place = f"{name}, line {self._lines}"
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise CourseError(f"{place}, is not a JSON object; remove that line to ask its request again.")
                self._take(row, place)
        self._offset = size


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
