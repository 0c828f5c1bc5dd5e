"""A JSONL file that several processes append to, line by line, and that survives being killed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from filelock import FileLock, Timeout

from utils import CourseError, errors_of, json_line, open_private, relative, require_plain_file, write_atomic

Row = TypeVar("Row")


@contextmanager
def hold(what: str | Path, *, instead: str, lock: Path | None = None) -> Iterator[None]:
    """Keep a file or a folder for one run: two that write there at once would mix. A run that is killed lets go of it.

    instead: what the sentence says to pass. lock: the file that is locked; a hidden one beside it if not given.

    Raises:
        CourseError: another run holds it.
        FileError: it cannot be locked.
    """
    path = Path(os.path.realpath(what))  # one file, by whichever links
    lock = lock or path.parent / f".{path.name}.run"
    held = FileLock(lock, timeout=0)
    with errors_of(what):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire()
        except Timeout:
            raise CourseError(
                f"{relative(what)} is in use by a run that is going on; wait for its end, or pass {instead}."
            ) from None
    try:
        yield
    finally:
        held.release()


@contextmanager
def in_turn(what: str | Path) -> Iterator[None]:
    """Let one run at a time write the files that belong together, of which `what` is one: of two runs the later one's stay.

    Each file alone is whole without this; those of two runs that write at the same moment would be mixed. It waits, and so
    belongs around the writing alone.

    Raises:
        FileError: it cannot be locked.
    """
    path = Path(os.path.realpath(what))  # one file, by whichever links
    lock = FileLock(path.parent / f".{path.name}.turn")
    with errors_of(what):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class LineFile:
    """A JSONL file that several processes may append to, and that survives being killed in the middle of a line."""

    def __init__(self, path: str | Path, *, private: bool = False):
        """Open or create the file, repair a torn last line, and read what is there.

        private: a file that is made here can be read by its owner alone, because it holds what people have asked.

        Raises:
            FileError: the file or its lock cannot be written.
        """
        self.path = Path(path)
        self._create = open_private if private else open
        self._lock = FileLock(f"{self.path}.lock")
        self._offset, self._lines = 0, 0
        require_plain_file(self.path)
        with errors_of(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._create(self.path, "ab"):
                pass
        with self._held():
            self._repair_torn_line()
            self._read_new()

    @contextmanager
    def _held(self) -> Iterator[None]:
        with errors_of(self.path), self._lock:
            yield

    @property
    def has_news(self) -> bool:
        """Whether the file holds more than was read."""
        with errors_of(self.path):
            return self.path.stat().st_size != self._offset

    def refresh(self) -> None:
        """Read what other processes have written since; where they have written nothing, that takes no lock."""
        if not self.has_news:
            return
        with self._held():
            self._repair_torn_line()
            self._read_new()

    def append(self, rows: Sequence[dict]) -> None:
        """Write the rows that are wanted, one a line; what they say counts once they are on disk.

        Raises:
            FileError: they cannot be written, as on a full disk; the file holds nothing of them then.
        """
        with self._held():
            self._repair_torn_line()  # of a process that was killed since
            self._read_new()
            wanted = self._wanted(rows)
            data = "".join(map(json_line, wanted)).encode()
            if data:
                self._write(data)
                self._offset += len(data)
                self._lines += len(wanted)
            for row in wanted:
                self._take(row, "")

    def rewrite(self, rows: Callable[[], Iterable[dict]]) -> None:
        """Put other lines into the place of all lines, in one step.

        rows: called once everything that is in the file was read and nobody else may write.
        """
        with self._held():
            self.refresh()
            lines = [json_line(row) for row in rows()]
            write_atomic(self.path, "".join(lines))
            self._offset, self._lines = sum(len(line.encode()) for line in lines), len(lines)

    def _write(self, data: bytes) -> None:
        """Write at the file's end, all or nothing."""
        with self.path.open("ab", buffering=0) as file:  # a buffer would try again as the file is closed
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) or 0 :]
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(self._offset)
                raise

    def _wanted(self, rows: Sequence[dict]) -> Sequence[dict]:
        """Return the rows that are to be written."""
        return rows

    def _take(self, row: dict, place: str) -> None:
        """Remember a row that is on disk now; `place` names its line, and is empty for one of our own."""

    def _repair_torn_line(self) -> None:
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
            with self._create(aside, "ab") as kept:
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
                except (ValueError, RecursionError):  # the latter of a hundred thousand brackets
                    row = None
                if not isinstance(row, dict):
                    raise CourseError(f"{place}, is not a JSON object; remove that line to ask its request again.")
                self._take(row, place)
        self._offset = size


_KEEP: dict[str, Callable] = {"first": lambda held, new: held, "last": lambda held, new: new}


class KeyedLines(LineFile, Generic[Row]):
    """A `LineFile` read as a dictionary, `rows`: one row a key, whichever of its lines counts."""

    def __init__(
        self,
        path: str | Path,
        *,
        key: str = "id",
        keep: Literal["first", "last"] | Callable[[Row, Row], Row] = "first",
        check: Callable[[dict, str], Row] | None = None,
        private: bool = False,
    ):
        """Open or create the file and index what it holds.

        key: the field that tells rows apart. keep: which line of a key counts; or what to make of the row that is held
        and a later one of its key. With "first", a row whose key is held already is not written at all. check: gets a
        row and its place in the file ("" for a row that was just appended), and returns what is to be held, a dictionary
        or an object with a field `key`. private: as in `LineFile`.

        Raises:
            CourseError: the file cannot be written, a line is not a JSON object, or `check` refuses a row.
        """
        self.rows: dict[str, Row] = {}
        self.key = key
        self._check = check or self._with_key
        self._keep = _KEEP[keep] if isinstance(keep, str) else keep
        self._keeps_first = keep == "first"
        super().__init__(path, private=private)

    def _with_key(self, row: dict, place: str) -> Any:
        if not isinstance(row.get(self.key), str):
            raise CourseError(f"{place or relative(self.path)}, has no {self.key}; remove that line, or name another file.")
        return row

    def _wanted(self, rows: Sequence[dict]) -> Sequence[dict]:
        if not self._keeps_first:
            return rows
        fresh: dict[str, dict] = {}
        for row in rows:
            if row[self.key] not in self.rows:
                fresh.setdefault(row[self.key], row)
        return list(fresh.values())

    def _take(self, row: dict, place: str) -> None:
        new = self._check(row, place)
        key = new[self.key] if isinstance(new, dict) else getattr(new, self.key)
        self.rows[key] = self._keep(self.rows[key], new) if key in self.rows else new


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
