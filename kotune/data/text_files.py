"""Text files of any size as lines: the encoding found out and said, memory that does not grow with the file."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from utils import CourseError, relative

CHUNK = 1 << 20
PACKED: dict[str, Callable[[Path], IO[bytes]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}  # type: ignore[dict-item]
MARK = "\ufeff"
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
    """Return the encoding that decodes a whole text file: that of its byte order mark, UTF-8, UTF-16, CP949, or JOHAB.

    Raises:
        CourseError: none of them does; the message names the line.
    """
    with open_binary(path) as file:
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
    if _first_bad_line(path, "cp949") is None and _reads_as_korean(path, "cp949"):
        return Encoding("cp949", _said(path, "CP949 (EUC-KR)"))
    if _first_bad_line(path, "johab") is None and _reads_as_korean(path, "johab"):
        return Encoding("johab", _said(path, "JOHAB"))
    if _first_bad_line(path, "cp949") is None:
        raise CourseError(
            f"{relative(path)} is not UTF-8, and as CP949 it is no Korean (is it GB18030, Big5 or Shift-JIS?); save it as "
            "UTF-8 and try again."
        )
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


# the syllables that stand most often in Korean; they make up a third of any text, and by chance a fiftieth
_FREQUENT = frozenset("이다는을의가에고를은로하한지도아나기사대시해서인리일자어니정으있게라보과들수것거여요전세주")
_SHARE_OF_FREQUENT = 0.1
_ENOUGH_TO_TELL = 20  # syllables and other letters of East Asia


def _reads_as_korean(path: Path, encoding: str) -> bool:
    """Return whether a file's beginning is Korean in an encoding that decodes much else too; a few words are believed."""
    with open_binary(path) as file:
        text = file.read(1 << 16).decode(encoding, errors="ignore")
    letters = [letter for letter in text if letter > "\u2e7f"]
    frequent = sum(letter in _FREQUENT for letter in letters)
    return len(letters) < _ENOUGH_TO_TELL or frequent >= _SHARE_OF_FREQUENT * len(letters)


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
    with open_binary(path) as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].decode(error.encoding, errors="ignore").count("\n")
            if not chunk:
                return None


def open_binary(path: Path) -> IO[bytes]:
    """Open a file to read its bytes, unpacked where it is packed."""
    opener = PACKED.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def open_text(path: Path, encoding: str, newline: str | None = None) -> IO[str]:
    """Open a text file to read it, unpacked where it is packed."""
    return io.TextIOWrapper(open_binary(path), encoding=encoding, newline=newline)


def _without_marks(text: Iterable[str]) -> Iterator[str]:
    """Yield lines without the byte order marks that begin them, as where two files were put together."""
    for line in text:
        yield line.lstrip(MARK) if line.startswith(MARK) else line


def lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end); a line feed, with or without a carriage return, ends one.

    In a file that has no line feeds (of an old Macintosh) a carriage return does. Other marks that Python's splitlines
    takes for line ends (U+2028, form feed) are part of Korean text as pasted.
    """
    with open_text(path, encoding, newline=_line_end(path, encoding)) as file:
        for number, line in enumerate(_without_marks(file), start=1):
            yield number, line.rstrip("\r\n")


def _line_end(path: Path, encoding: str) -> str:
    """Return what ends the lines of a file: a carriage return where its first megabyte has no line feed."""
    with open_text(path, encoding, newline="\n") as file:
        head = file.read(CHUNK)
    return "\r" if "\r" in head and "\n" not in head else "\n"


def first_character(path: Path, encoding: str) -> str:
    """Return the first character that is no white space, or an empty string."""
    with open_text(path, encoding, newline="\n") as file:
        while chunk := file.read(4096):
            if stripped := chunk.lstrip().lstrip(MARK).lstrip():
                return stripped[0]
    return ""
