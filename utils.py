"""Files, settings and seeding: what every other module needs and nothing else."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent
DATA = ROOT / "data"
ASSETS = ROOT / "assets"
OUTPUTS = Path(os.environ.get("COURSE_OUTPUTS") or ROOT / "outputs")  # tests and `make notebooks` set another


class CourseError(Exception):
    """A mistake that the user can fix; its one sentence says what is wrong, where, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Return what Jupyter shows: the sentence alone, without thirty lines of traceback above it."""
        return [f"CourseError: {self}"]


def relative(path: str | Path) -> str:
    """Return a path as the course prints it: relative to the repository where it lies inside."""
    path = Path(path).resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Lend a temporary path with the same suffix; what was written there takes the file's place at the end of the block.

    A reader sees the old file or the new one, never half of one; when the block raises, the old one stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:  # Windows syncs only what is open for writing
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: str | Path, content: str) -> Path:
    """Write UTF-8 text so that a reader sees the old file or the new one, never half of one."""
    with atomic_path(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="\n")
    return Path(path)


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        CourseError: the file is missing or is not UTF-8.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CourseError(f"{relative(path)} does not exist; check the path.") from None
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
    if (ROOT / ".env").exists():
        from dotenv import dotenv_values

        value = dotenv_values(ROOT / ".env").get(name)
        if value:
            return value
    if "google.colab" in sys.modules:
        from google.colab import userdata

        try:
            return userdata.get(name)
        except Exception:  # its errors (not found, no access, time-out) share no base class
            return None
    return None


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
