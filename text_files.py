"""Text files of any size as lines: the encoding found out and said, memory that does not grow with the file.

Cost of import: the standard library only.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from utils import CourseError, relative

CHUNK = 1 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Encoding:
    """A file's encoding, and a sentence on it where it is not plain UTF-8."""

    name: str
    note: str | None = None


def encoding_of(path: Path) -> Encoding:
    """Return the encoding of a text file: by its byte order mark, else UTF-8, UTF-16 or CP949, whichever decodes it.

    Raises:
        CourseError: none of them does; the message names the line.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    for mark, name in _BOMS:
        if head.startswith(mark):
            note = None if name == "utf-8-sig" else f"{relative(path)} is {name.upper()}; it was read as such."
            return Encoding(name, note)
    if head and head.count(0) > len(head) // 4:  # half of the bytes of ASCII in UTF-16 are zero
        name = "utf-16-le" if head[1::2].count(0) >= head[::2].count(0) else "utf-16-be"
        return Encoding(name, f"{relative(path)} is {name.upper()} without a byte order mark; it was read as such.")
    bad_line = _first_bad_line(path, "utf-8")
    if bad_line is None:
        return Encoding("utf-8")
    if _first_bad_line(path, "cp949") is None:
        return Encoding("cp949", f"{relative(path)} is CP949 (EUC-KR); it was read as such. Save it as UTF-8.")
    raise CourseError(
        f"{relative(path)}, line {bad_line}, is neither UTF-8 nor CP949; save the file as UTF-8 and try again."
    )


def _first_bad_line(path: Path, encoding: str) -> int | None:
    """Return the line on which an encoding fails, or None where it decodes the whole file."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            if not chunk:
                return None
            line += chunk.count(b"\n")


def lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end); only a line feed, with or without a carriage return, ends one.

    Other marks that Python's splitlines takes for line ends (U+2028, form feed) are part of Korean text as it is pasted.
    """
    with path.open(encoding=encoding, newline="\n") as file:
        for number, line in enumerate(file, start=1):
            yield number, line.rstrip("\r\n")


def first_character(path: Path, encoding: str) -> str:
    """Return the first character that is no white space, or an empty string."""
    with path.open(encoding=encoding, newline="\n") as file:
        while chunk := file.read(4096):
            if stripped := chunk.lstrip():
                return stripped[0]
    return ""
