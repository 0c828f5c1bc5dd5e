"""A second place for what a run makes: copied after each checkpoint, verified there, and brought back into a fresh machine.

`COURSE_MIRROR` names the folder, as on Drive. What was made lies on the local disk first; the copy is for the day on which
that disk is gone. A mirror that fails is told in one sentence and stops nothing.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kotune.language import said
from utils import OUTPUTS, CourseError, errors_of, relative, written_setting

SETTING, NONE = "COURSE_MIRROR", "none"
INDEX = ".kotune-mirror.jsonl"  # a line for each copy; that it is there says that the mirror is
PART = ".kotune-part-"  # how the name of a copy begins that is not verified yet
LARGEST = 500 * 2**20  # bytes of a file; what is larger, as a merged model, can be made again
_CHECKPOINT = re.compile(r"checkpoint-\d+")
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_AT_ONCE = 2**20  # bytes


@dataclass(frozen=True)
class Copy:
    """A file as it was copied: its path from the outputs, its bytes, their SHA-256, and the time of the file here."""

    path: str
    size: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True)
class Restored:
    """What was brought back: the files, their bytes, and those that are not what was once copied, which stay away."""

    files: int
    size: int
    refused: tuple[str, ...]


@dataclass
class Mirror:
    """A folder that holds copies of the outputs under the same names."""

    root: Path
    source: Path = OUTPUTS
    _copies: dict[str, list[Copy]] = field(default_factory=dict)
    _index_size: int = -1  # bytes of the index that were read
    _told: set[str] = field(default_factory=set)
    _failure: str | None = None  # the sentence on the last copy, where it failed

    def open(self) -> Mirror:
        """Make the folder where there is none, and read which copies it holds.

        Raises:
            CourseError: it lies within what is to be copied.
            FileError: it can be neither made nor written.
        """
        if _inside(self.root, self.source):
            raise CourseError(f"{SETTING} is {self.root}, which lies in what is copied there; name a folder elsewhere.")
        with errors_of(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / INDEX).open("ab"):
                pass
            self._read_index()
        return self

    def keep(self, folder: Path | None = None) -> bool:
        """Copy what is new or has changed in a folder of the outputs, or in all of them; say whether all is safe.

        Each copy is written under another name, read back, compared by size and SHA-256, and renamed. Of a run's folder,
        checkpoints that are gone here go there too. A failure is told once, until a copy has succeeded again.
        """
        folder = self.source if folder is None else Path(folder)
        if not _inside(folder, self.source):
            self._tell_once(
                said(
                    f"{relative(folder)} is not copied to {self.root}, because it lies outside {relative(self.source)}.",
                    f"{relative(folder)}은(는) {relative(self.source)} 밖에 있어 {self.root}에 복사하지 않습니다.",
                )
            )
            return False
        try:
            self._require_there()
            self._read_index()
            for file in self._new_files(folder):
                self._copy(file)
            self._drop_old_checkpoints(folder)
        except OSError as error:
            self._fail(_why_not(error, self.root))
            return False
        if self._failure is not None:
            self._failure = None
            print(said(f"{self.root} takes copies again.", f"{self.root}에 다시 복사합니다."))
        return True

    def restore(self) -> Restored:
        """Bring every copy back of which there is no file here; one that is not what was copied is left away and named.

        Raises:
            FileError: the mirror cannot be read, or this disk not written.
        """
        files, size, refused = 0, 0, []
        with errors_of(self.root):
            self._require_there()
            self._read_index()
            for left in self.root.rglob(f"{PART}*"):  # of a process that was killed
                left.unlink()
            found = sorted(path for path in self.root.rglob("*") if path.is_file() and not _is_passing(path, self.root))
            for path in found:
                name = path.relative_to(self.root).as_posix()
                target = self.source / name
                if target.exists():
                    continue
                if copy := self._bring_back(path, target, name):
                    files, size = files + 1, size + copy.size
                else:
                    refused.append(name)
        return Restored(files, size, tuple(refused))

    def _read_index(self) -> None:
        """Read which copies there are, where another process has written some since."""
        if (size := (self.root / INDEX).stat().st_size) == self._index_size:
            return
        self._copies.clear()
        self._index_size = size
        for line in (self.root / INDEX).read_text(encoding="utf-8", errors="replace").split("\n"):
            with suppress(ValueError, TypeError):  # a torn line: that copy is made again
                copy = Copy(**json.loads(line))
                self._copies.setdefault(copy.path, []).append(copy)

    def _require_there(self) -> None:
        """Raise an OSError where the mirror has gone: a folder made in its place would lie on this machine's disk."""
        if not os.path.isfile(self.root / INDEX):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.root))

    def _new_files(self, folder: Path) -> Iterator[Path]:
        """Yield files in the order in which they were written: what says that others are whole comes behind them."""
        found = []
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):  # a checkpoint that goes as this looks
                if path.is_symlink() or not path.is_file() or _is_passing(path, self.source):
                    continue
                stat = path.stat()
                if not self._is_copied(path, stat):
                    found.append((stat.st_mtime_ns, stat.st_size, path))
        for _, size, path in sorted(found):
            if size <= LARGEST:
                yield path
            else:
                self._tell_once(_too_large(path, size))

    def _is_copied(self, path: Path, stat: os.stat_result) -> bool:
        copies = self._copies.get(path.relative_to(self.source).as_posix())
        if not copies:
            return False
        last = copies[-1]
        return (last.size, last.mtime_ns) == (stat.st_size, stat.st_mtime_ns) and os.path.isfile(self.root / last.path)

    def _copy(self, path: Path) -> None:
        """Copy one file under another name, verify what lies there, write it down, and give it its name."""
        name = path.relative_to(self.source).as_posix()
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{PART}{os.getpid()}-{target.name}")
        try:
            mtime = path.stat().st_mtime_ns
            size, sha256 = _copy_bytes(path, part)
            if (there := _size_and_hash(part)) != (size, sha256):
                raise OSError(errno.EIO, f"{size} bytes were written and {there[0]} others are read back", str(part))
            copy = Copy(name, size, sha256, mtime)
            self._write_down(copy)
            os.replace(part, target)
        except FileNotFoundError:
            if path.exists():
                raise
            return  # it has gone here meanwhile
        finally:
            with suppress(OSError):
                part.unlink()
        self._copies.setdefault(name, []).append(copy)

    def _write_down(self, copy: Copy) -> None:
        with (self.root / INDEX).open("ab") as index:
            index.write(f"\n{json.dumps(vars(copy), ensure_ascii=False)}".encode())  # behind a torn line it stands alone
            index.flush()
            self._index_size = index.tell()

    def _drop_old_checkpoints(self, folder: Path) -> None:
        there = self.root / folder.relative_to(self.source) / "checkpoints"
        here = folder / "checkpoints"
        for old in there.glob("*"):
            if _CHECKPOINT.fullmatch(old.name) and not (here / old.name).exists():
                shutil.rmtree(old)
        if there.is_dir() and not here.exists():
            shutil.rmtree(there)

    def _bring_back(self, path: Path, target: Path, name: str) -> Copy | None:
        """Copy one file here, and return what the index says of it; None where it says nothing of these bytes."""
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{PART}{os.getpid()}-{target.name}")
        try:
            found = _copy_bytes(path, part)
            copy = next((one for one in self._copies.get(name, []) if (one.size, one.sha256) == found), None)
            if copy is not None:
                os.utime(part, ns=(copy.mtime_ns, copy.mtime_ns))  # so that it counts as copied already
                os.replace(part, target)
            return copy
        finally:
            with suppress(OSError):
                part.unlink()

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            print(sentence)

    def _fail(self, sentence: str) -> None:
        """Tell a failure, once until a copy succeeds or fails in another way."""
        if sentence != self._failure:
            self._failure = sentence
            print(sentence)


_mirrors: dict[Path, Mirror | None] = {}


def mirror() -> Mirror | None:
    """Return the mirror that `COURSE_MIRROR` names, or None; one that cannot be opened is told once and is None too."""
    named = written_setting(SETTING)
    if not named or named.lower() == NONE:
        return None
    root = Path(named).expanduser()
    if root not in _mirrors:
        _mirrors[root] = _opened(root)
    return _mirrors[root]


def open_again() -> Mirror | None:
    """Return the mirror, tried anew where it could not be opened before."""
    _mirrors.clear()
    return mirror()


def _opened(root: Path) -> Mirror | None:
    try:
        return Mirror(root).open()
    except CourseError as error:
        alone = said(f"The results lie in {relative(OUTPUTS)} alone.", f"결과는 {relative(OUTPUTS)}에만 있습니다.")
        print(f"{CourseError.in_edition(str(error))} {alone}")
        return None


def keep(folder: Path | None = None) -> None:
    """Copy what is new in a folder of the outputs, or in all of them, to the mirror; without one, do nothing."""
    if (there := mirror()) is not None:
        there.keep(folder)


# --- bytes -----------------------------------------------------------------------------------


def _copy_bytes(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file down to the disk; return the size and the SHA-256 of what was read."""
    size, digest = 0, hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(_AT_ONCE):
            written.write(block)
            digest.update(block)
            size += len(block)
        written.flush()
        os.fsync(written.fileno())
    return size, digest.hexdigest()


def _size_and_hash(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _inside(path: Path, folder: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))


def _is_passing(path: Path, top: Path) -> bool:
    """Say whether a file is a lock, or one that is being written."""
    parts = path.relative_to(top).parts
    return path.suffix == ".lock" or any(part.startswith((".", "saving-")) for part in parts)


# --- what is said ----------------------------------------------------------------------------


def _too_large(path: Path, size: int) -> str:
    here, limit = f"{size / 2**20:,.0f} MB", f"{LARGEST / 2**20:,.0f} MB"
    return said(
        f"Not copied: {relative(path)} has {here}, more than {limit}; copy it yourself if it cannot be made again.",
        f"복사하지 않음: {relative(path)}은(는) {here}로 {limit}를 넘습니다. 다시 만들 수 없는 파일이면 직접 복사하세요.",
    )


def _why_not(error: OSError, root: Path) -> str:
    """Return one sentence on a mirror that cannot be written: why, that the work goes on, and what to do."""
    here = relative(OUTPUTS)
    if error.errno in _FULL:
        return said(
            f"{root} is full, so the newest results lie in {here} alone; the run goes on. Make room there: the next copy "
            "catches up.",
            f"{root}이(가) 가득 차서 최근 결과는 {here}에만 있습니다. 실행은 계속됩니다. 공간을 비우면 다음에 밀린 것까지 "
            "복사합니다.",
        )
    if not os.path.isfile(root / INDEX):
        return said(
            f"{root} is gone, so the newest results lie in {here} alone; the run goes on. Mount it again: the next copy "
            "catches up.",
            f"{root}이(가) 없어져 최근 결과는 {here}에만 있습니다. 실행은 계속됩니다. 다시 연결하면 다음에 밀린 것까지 "
            "복사합니다.",
        )
    reason = error.strerror or str(error)
    if error.filename is not None:
        reason = f"{relative(os.fsdecode(error.filename))}: {reason}"
    return said(
        f"{root} cannot be written ({reason}), so the newest results lie in {here} alone; the run goes on, and the next "
        "copy tries again.",
        f"{root}에 쓸 수 없어({reason}) 최근 결과는 {here}에만 있습니다. 실행은 계속되고, 다음에 다시 복사해 봅니다.",
    )
