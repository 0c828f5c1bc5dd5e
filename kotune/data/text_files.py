"""Text files of any size as lines: the encoding found out and said, memory that does not grow with the file."""

from __future__ import annotations

import codecs
import re
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
PLAUSIBLE = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ\x20-\x7e\r\n\t]")
PLAUSIBLE_SHARE = 0.9  # of the characters of a text in Korean or English


@dataclass(frozen=True)
class Encoding:
    """A file's encoding, and a sentence on it where it is not plain UTF-8."""

    name: str
    note: str | None = None


def encoding_of(path: Path) -> Encoding:
    """Return the encoding that decodes a whole text file: that of its byte order mark, UTF-8, UTF-16, or CP949.

    Raises:
        CourseError: none of them does; the message names the line.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    marked = next((name for mark, name in _BOMS if head.startswith(mark)), None)
    if marked:
        bad_line = _first_bad_line(path, marked)
        if bad_line is not None:
            name = marked.removesuffix("-sig").upper()
            raise CourseError(
                f"{relative(path)}, line {bad_line}, is no {name}, which the file's byte order mark says it is; it may be "
                "cut: save it as UTF-8 and try again."
            )
        return Encoding(marked, None if marked == "utf-8-sig" else _said(path, marked))
    unmarked = _unmarked_utf16(head)
    if unmarked and _first_bad_line(path, unmarked) is None:
        return Encoding(unmarked, _said(path, f"{unmarked} without a byte order mark"))
    bad_line = _first_bad_line(path, "utf-8")
    if bad_line is None:
        return Encoding("utf-8")
    if _first_bad_line(path, "cp949") is None:
        return Encoding("cp949", _said(path, "CP949 (EUC-KR)"))
    raise CourseError(
        f"{relative(path)}, line {bad_line}, is neither UTF-8 nor CP949; save the file as UTF-8 and try again."
    )


def _said(path: Path, name: str) -> str:
    return f"{relative(path)} is {name.upper()}; it was read as such. Save it as UTF-8."


def _unmarked_utf16(head: bytes) -> str | None:
    """Return the byte order in which a file's beginning reads as Korean or English, where UTF-8 would not."""
    if len(head) < 16 or (b"\x00" not in head and _decodes(head, "utf-8")):
        return None
    for name in ("utf-16-le", "utf-16-be"):
        text = head[: len(head) // 2 * 2].decode(name, errors="replace")
        if len(PLAUSIBLE.findall(text)) >= PLAUSIBLE_SHARE * len(text):
            return name
    return None


def _decodes(head: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(head)  # not final: a character may go on beyond the head
    except UnicodeDecodeError:
        return False
    return True


def _first_bad_line(path: Path, encoding: str) -> int | None:
    """Return the line on which an encoding fails, or None where it decodes the whole file."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].decode(error.encoding, errors="ignore").count("\n")
            if not chunk:
                return None


def lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end); only a line feed, with or without a carriage return, ends one.

    Other marks that Python's splitlines takes for line ends (U+2028, form feed) are part of Korean text as pasted.
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
