"""Files, settings and seeding: what every other module needs and nothing else."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, ClassVar, Literal
from urllib.parse import urlsplit
from uuid import uuid4

ROOT = Path(__file__).resolve().parent
DATA = ROOT / "data"
ASSETS = ROOT / "assets"
OUTPUTS = Path(os.environ.get("COURSE_OUTPUTS") or ROOT / "outputs")  # tests and `make notebooks` set another


class CourseError(Exception):
    """A mistake that the user can fix; its one sentence says what is wrong, where, and what to do.

    The sentence is English; where it is shown, `in_edition` puts it into the language of the edition. The package `kotune`
    sets that, and without it the sentence stays as it is.
    """

    in_edition: ClassVar[Callable[[str], str]] = str

    def _render_traceback_(self) -> list[str]:
        """Return what Jupyter shows: the sentence alone, without thirty lines of traceback above it."""
        return [f"CourseError: {CourseError.in_edition(str(self))}"]


class FileError(CourseError, OSError):
    """A CourseError on what the system says of a file; it is that OSError too, with its errno."""

    def __init__(self, sentence: str, error: OSError):
        super().__init__(error.errno, error.strerror)
        self.sentence = sentence

    def __str__(self) -> str:
        """Return the sentence."""
        return self.sentence


def relative(path: str | Path) -> str:
    """Return a path as the course prints it: relative to the repository where it lies inside."""
    path = Path(os.path.realpath(path))  # Path.resolve raises where links lead in a circle
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


# --- texts -----------------------------------------------------------------------------------

UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]
_AT_ONCE = 256  # characters


def normalized(form: UnicodeForm, text: str) -> str:
    """Return a text in a form of Unicode, in a time that grows with its length, whatever it holds.

    Marks that stand over one letter are put in order one past the other, so that `unicodedata.normalize` takes minutes for
    a megabyte of them. Here they are put in order 256 at a time; a letter in writing has five or six.
    """
    if text.isascii():
        return text
    if len(text) <= _AT_ONCE:
        return unicodedata.normalize(form, text)
    pieces, start = [], 0
    while start < len(text):
        end = _end_of_piece(text, start)
        pieces.append(unicodedata.normalize(form, text[start:end]))
        start = end
    return "".join(pieces)


def _end_of_piece(text: str, start: int) -> int:
    """Return a place at most `_AT_ONCE` behind the start that no letter stands across, where there is one."""
    last = min(start + _AT_ONCE, len(text))
    if last == len(text):
        return last
    return next((end for end in range(last, start, -1) if _begins_a_letter(text[end])), last)


def _begins_a_letter(character: str) -> bool:
    """Say whether a character never joins the one before it, as marks and the vowels and finals of Hangul do."""
    first = unicodedata.normalize("NFKD", character)[0]
    is_late_jamo = "\u1160" <= first <= "\u11ff" or "\ud7b0" <= first <= "\ud7ff"
    return not (is_late_jamo or unicodedata.category(first).startswith("M"))


# --- what a system can say of a file ---------------------------------------------------------

_TOO_LONG = "has a name that is too long for this system; shorten it (most take 255 bytes, and a Korean letter is three)."
_FULL = "cannot be written, because the disk is full; make room, or name another place."
_DENIED = "may not be opened or changed by this user; change its permissions, or name another."
_NO_FOLDER = "needs a folder where a file lies; name another path."
_WHAT_TO_DO = {
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: "lies where nothing can be written (a read-only disk); name another place.",
    errno.ENOENT: "does not exist; check the path.",
    errno.EISDIR: "is a folder; name a file.",
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.ENAMETOOLONG: _TOO_LONG,
    errno.ELOOP: "is a link that leads back to itself; name the file itself.",
    errno.ENOSPC: _FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): _FULL,  # Windows has none
    errno.EFBIG: "would grow larger than a file may be here; raise that limit (`ulimit -f`), or name another place.",
    errno.EMFILE: "cannot be opened, because too many files are open already; raise that limit (`ulimit -n`).",
}


def error_sentence(error: OSError, path: str | Path | None = None) -> str:
    """Return one sentence on what the system says of a file, a folder, a disk or an address, and what to do.

    path: the file that a user knows, where the error names another one or none.
    """
    name = path if path is not None else error.filename2 or error.filename
    if isinstance(error, FileError):
        return str(error)
    if error.errno is None:  # made by a library, with words alone
        return " ".join(str(error).split()) or f"A file or an address failed ({type(error).__name__})."
    subject = relative(os.fsdecode(name)) if isinstance(name, str | bytes | Path) else "A file, or what this command prints,"
    reason = str(error.strerror or error)
    if isinstance(error, ConnectionError | TimeoutError) and name is None:
        return f"A connection failed ({reason}); check the address, and whether its server runs."
    return f"{subject} {_WHAT_TO_DO.get(error.errno, f'cannot be read or written ({reason}); name another.')}"


_MEMORY_RAN_OUT = (
    "can't allocate memory", "Cannot allocate memory", "not enough memory", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory", "could not create a primitive", "can't start new thread",
)  # fmt: skip
_NOT_WRITTEN = ("PytorchStreamWriter failed", "file write failed")


def machine_error(error: BaseException) -> OSError | MemoryError | None:
    """Return what an error says of a disk or of memory, as the system itself would say it; None where it says neither.

    Libraries have errors of their own for both: safetensors for a full disk, torch for a checkpoint that cannot be written.
    """
    if isinstance(error, OSError | MemoryError):
        return error
    said = str(error)
    if type(error).__name__ == "OutOfMemoryError" or any(sign in said for sign in _MEMORY_RAN_OUT):
        return MemoryError(said)
    if found := re.search(r"\(os error (\d+)\)", said):  # what is written in Rust
        return OSError(int(found[1]), os.strerror(int(found[1])))
    if any(sign in said for sign in _NOT_WRITTEN):
        return OSError(errno.EIO, "not all was written, as on a full disk")
    if isinstance(error, RuntimeError) and said.startswith("Parent directory ") and said.endswith(" does not exist."):
        return OSError(errno.ENOENT, os.strerror(errno.ENOENT))  # torch, where the folder of a checkpoint has vanished
    return None


@contextmanager
def errors_of(path: str | Path) -> Iterator[None]:
    """Turn what the system says of a file into a FileError that names it."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(error_sentence(error, path), error) from None


def require_plain_file(path: str | Path) -> None:
    """Raise a FileError if a path is there and is a folder, a pipe or a device; opening a pipe would wait for ever."""
    path = Path(path)
    with errors_of(path):
        missing = not os.path.lexists(path)
        if missing or path.is_file():
            return
        if path.is_symlink() and not path.exists():  # False for a circle of links too, which stat names
            with suppress(FileNotFoundError):
                path.stat()
            return
    number, kind = (errno.EISDIR, "a folder") if path.is_dir() else (errno.ESPIPE, "no plain file (a pipe or a device)")
    raise FileError(f"{relative(path)} is {kind}; name a file.", OSError(number, os.strerror(number)))


def same_file(one: str | Path, other: str | Path) -> bool:
    """Say whether two paths are one file, by whichever links and spellings; a file to come may be named twice too."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        spelt = (unicodedata.normalize("NFC", os.path.normcase(os.path.realpath(path))) for path in (one, other))
        return len(set(spelt)) == 1


def require_other_files(
    inputs: Iterable[str | Path | None],
    outputs: Iterable[str | Path | None],
    *,
    called: str = "the input",
    instead: str = "another output",
) -> None:
    """Raise a CourseError if an output is a file that a command reads, or that it writes something else to.

    inputs: files, and folders that are read whole. None stands for what was not asked for. called, instead: what the
    sentence says of the input, and what to name.
    """
    read = [file for given in inputs if given is not None for file in _files_in(Path(given))]
    written: list[str | Path] = []
    for output in outputs:
        if output is None:
            continue
        if any(same_file(output, one) for one in read):
            raise CourseError(f"{relative(output)} is {called}; name {instead}.")
        if any(same_file(output, one) for one in written):
            raise CourseError(f"{relative(output)} is to hold two things at once; name {instead}.")
        written.append(output)


def _files_in(path: Path) -> list[Path]:
    return [path, *(file for file in path.iterdir() if file.is_file())] if path.is_dir() else [path]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Lend a temporary path with the same suffix; what was written there takes the file's place at the end of the block.

    A reader sees the old file or the new one, never half of one; when the block raises, the old one stays. Each writer has
    a temporary file of its own, so that of two at once the later wins whole. A link stays, and what it names is written.

    Raises:
        FileError: the file cannot be written.
    """
    shown = Path(path)
    require_plain_file(shown)
    path = Path(os.path.realpath(shown))
    with errors_of(shown):
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else None
        if mode is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        temporary = path.with_name(_temporary_name(path.name))
        try:
            # made as `open` would, for its owner or for all as the user has set; a second of this name is impossible
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode))
            yield temporary
            with temporary.open("rb+") as file:  # Windows syncs only what is open for writing
                os.fsync(file.fileno())
            if mode is not None:
                with suppress(OSError):  # not every file system has modes
                    temporary.chmod(mode)
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _temporary_name(name: str) -> str:
    """Return a hidden name with the same suffix that no other writer takes; names have 255 bytes at most."""
    stem, own, suffix = name, f".{uuid4().hex[:12]}", Path(name).suffix
    while len(os.fsencode(f".{stem}{own}{suffix}")) > 255 and stem:
        stem = stem[:-1]
    return f".{stem}{own}{suffix}"


def _sync_folder(folder: Path) -> None:
    """Bring a new name to the disk; where a folder cannot be opened (Windows), the system does so by itself."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_private(path: str | Path, mode: str) -> IO:
    """Open a file which, where it is made by this, nobody but its owner can read; one that exists keeps its mode."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return open(path, mode, opener=opener)


def write_atomic(path: str | Path, content: str) -> Path:
    """Write UTF-8 text so that a reader sees the old file or the new one, never half of one."""
    with atomic_path(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="\n")
    return Path(path)


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        CourseError: the file is missing, cannot be read, or is not UTF-8.
    """
    path = Path(path)
    require_plain_file(path)
    try:
        with errors_of(path):
            return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CourseError(f"{relative(path)} is not UTF-8 (byte {error.start}); save it as UTF-8 and try again.") from None


def read_json(path: str | Path):
    """Read one JSON value.

    Raises:
        CourseError: the file is missing, not UTF-8, or not valid JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise CourseError(
            f"{relative(path)}, line {error.lineno}, is not valid JSON ({error.msg}); fix that line or fetch the file again."
        ) from None
    except (RecursionError, ValueError) as error:  # a hundred thousand brackets; a number of ten thousand digits
        raise CourseError(f"{relative(path)} is not valid JSON ({error}); fix it or fetch the file again.") from None


def write_json(path: str | Path, value) -> Path:
    """Write one JSON value, indented, with Korean as it is."""
    return write_atomic(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_jsonl(path: str | Path) -> list[dict]:
    """Read a file of one JSON object a line; blank lines are allowed.

    Raises:
        CourseError: the file is missing or empty, or a line is not a JSON object (as in a truncated file).
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CourseError(
                f"{relative(path)}, line {number}, is not valid JSON ({error.msg}); the file may be "
                "truncated: fix or remove that line, or fetch the file again."
            ) from None
        except (RecursionError, ValueError) as error:
            raise CourseError(f"{relative(path)}, line {number}, is not valid JSON ({error}); fix or remove it.") from None
        if not isinstance(row, dict):
            raise CourseError(
                f"{relative(path)}, line {number}, holds a {type(row).__name__}, not an object; write one {{...}} a line."
            )
        rows.append(row)
    if not rows:
        raise CourseError(f"{relative(path)} holds no rows; write one JSON object a line.")
    return rows


def json_line(row: dict) -> str:
    """Return a row as one line of JSON, with Korean as it is.

    Half of a surrogate pair (an emoji that was cut) cannot be UTF-8; such a row is written in escapes throughout.
    """
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(row)
    return line + "\n"


def write_jsonl(path: str | Path, rows: Iterable[dict]) -> Path:
    """Write one JSON object a line, with Korean as it is."""
    return write_atomic(path, "".join(map(json_line, rows)))


def setting(name: str) -> str | None:
    """Return a setting or secret from the environment, `.env`, or Colab's secrets, in this order.

    A variable that is set to nothing counts as not set, and `.env` is not asked for it. A secret is returned and
    never printed. Outside Colab's own page its secrets cannot be asked for
    (the request times out), which counts as not set.
    """
    if name in os.environ:
        return os.environ[name] or None
    if value := written_setting(name):
        return value
    if "google.colab" in sys.modules:
        from google.colab import userdata

        try:
            return userdata.get(name)
        except Exception:  # its errors (not found, no access, time-out) share no base class
            return None
    return None


def written_setting(name: str) -> str | None:
    """Return a setting from the environment or `.env`, in this order; Colab's secrets, which take time, are not asked."""
    if name in os.environ:
        return os.environ[name] or None
    if not (ROOT / ".env").exists():
        return None
    from dotenv import dotenv_values

    return dotenv_values(ROOT / ".env").get(name) or None


def http_address(text: str, name: str) -> str:
    """Return an http address without a slash at its end; `name` is what a message calls it.

    Raises:
        CourseError: it is no http address.
    """
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise CourseError(f"{name} is no http address; write it as in http://127.0.0.1:11434/v1.")
    return text.strip().rstrip("/")


def seed_everything(seed: int) -> None:
    """Seed Python, and NumPy and PyTorch where they are already imported."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def require_same_length(ours: Sequence, theirs: Sequence, ours_name: str, theirs_name: str) -> None:
    if len(ours) != len(theirs):
        raise CourseError(f"There are {len(ours)} {ours_name} and {len(theirs)} {theirs_name}; pass one for each, in order.")
    if not ours:
        raise CourseError(f"There are no {ours_name}; pass at least one.")


def cache_dir() -> Path:
    """Return the user cache folder of the course; `COURSE_CACHE` moves it."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "korean-instruction-tuning"
    return Path(setting("COURSE_CACHE") or default)
