"""Rows out of files as they stand there: JSONL, JSON, CSV, TSV, Parquet, spreadsheets, plain text, and folders of shards.

Each row comes with its place, "file, line 12", for the message of whatever is wrong with it. JSONL, CSV, Parquet and
text are streamed; a JSON list and a workbook are read whole. Text may be packed with gzip, bzip2 or xz.
"""

from __future__ import annotations

import csv
import itertools
import json
import lzma
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kotune.data.excel import read_sheet
from kotune.data.text_files import MARK, PACKED, encoding_of, first_character, lines, open_text
from utils import CourseError, relative

LARGEST_JSON = 500_000_000  # bytes; a list must be read whole
LONGEST_TALL = 1_000_000  # characters of one object over several lines, the first of its file


class Row(NamedTuple):
    """A row and where it stands."""

    place: str
    value: dict


class Doubt(NamedTuple):
    """A row that was read, and looks as if it were not what was meant: its place, and what of it."""

    place: str
    what: str


Found = Row | Doubt | CourseError  # what a reader yields


def seen_from(place: str, other: str) -> str:
    """Return another place as it is named beside the first: without its file where both stand in the same."""
    file, _, line = other.rpartition(", ")
    return line if file == place.rpartition(", ")[0] else other


def read(path: str | Path) -> Iterator[Row]:
    """Yield the rows of a file, or of every file of a folder in order of their names.

    Raises:
        CourseError: the file is missing, empty, of no known kind, or broken; the message names the line.
    """
    yield from only_rows(read_with_errors(path))


def only_rows(found: Iterable[Found]) -> Iterator[Row]:
    """Yield the rows of what a reader finds, raise what is broken, and say at the end what is doubtful, with its count."""
    doubts: dict[str, list[str]] = {}
    for one in found:
        if isinstance(one, CourseError):
            raise one
        if isinstance(one, Doubt):
            doubts.setdefault(one.what, []).append(one.place)
        else:
            yield one
    for what, places in doubts.items():
        print(f"{places[0]}{f' and {len(places) - 1} more' if len(places) > 1 else ''}: {what}")


def read_with_errors(path: str | Path) -> Iterator[Found]:
    """Yield the rows of a file or folder, what is doubtful after its row, and in the place of a broken line what is wrong.

    Raises:
        CourseError: nothing more can be read: the file is missing, empty, of no known kind, or broken as a whole.
    """
    path = Path(path)
    if path.is_dir():
        yield from _read_folder(path)
        return
    path = existing(path)
    reader = READERS.get(kind_of(path))
    if reader is None:
        raise CourseError(
            f"{relative(path)} is of no kind that the course reads ({', '.join(READERS)}); convert it, or rename it."
        )
    empty = True
    try:
        for row in reader(path):
            empty = False
            yield row
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CourseError(f"{relative(path)} cannot be read ({said}); fetch it again, or check who may read it.") from None
    if empty:
        raise CourseError(f"{relative(path)} holds no rows; fill it or leave it out.")


def existing(path: Path) -> Path:
    """Return a file's path as it is on disk: macOS and Windows write one Korean name in different Unicode forms.

    Raises:
        CourseError: there is no such file, or what is there is no file.
    """
    if path.is_file():
        return path
    if path.exists():
        raise CourseError(f"{relative(path)} is no file that can be read; name a file.")
    wanted = unicodedata.normalize("NFC", path.name)
    folder = path.parent
    same = [one for one in folder.iterdir() if unicodedata.normalize("NFC", one.name) == wanted] if folder.is_dir() else []
    if same and same[0].is_file():
        return same[0]
    raise CourseError(f"{relative(path)} does not exist; check the path.")


def kind_of(path: Path) -> str:
    """Return the suffix that says what a file holds, without that of its packing: .jsonl of a.jsonl.gz."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix in PACKED and READERS.get(inner) in _OF_TEXT else suffix


def _read_folder(folder: Path) -> Iterator[Found]:
    # hidden files, and the lock files that Excel keeps while a workbook is open, are no data
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "~$")))
    shards = [p for p in inside if p.is_file() and kind_of(p) in READERS]
    others = [p.name + "/" * p.is_dir() for p in inside if p not in shards]
    if others:
        print(f"{relative(folder)}: not read, because folders or of no known kind: {', '.join(others)}")
    if not shards:
        raise CourseError(f"{relative(folder)} holds no file that the course reads ({', '.join(READERS)}).")
    for shard in shards:
        try:
            yield from read_with_errors(shard)
        except CourseError as error:  # what is wrong with one shard does not hide the next
            yield error


# --- JSON ------------------------------------------------------------------------------------


def _object_without_twins(pairs: list[tuple[str, object]]) -> dict:
    made = dict(pairs)
    if len(made) < len(pairs):
        twin, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twin!r} stands twice in one object")
    return made


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


_decoder = json.JSONDecoder(object_pairs_hook=_object_without_twins, parse_constant=_no_constant)


def _parse_object(text: str, place: str) -> dict:
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise CourseError(
            f"{place}, column {error.colno}, is not valid JSON ({error.msg}); the file may be truncated: fix that line, "
            "or fetch the file again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise CourseError(f"{place}, is not valid JSON ({error}); fix that line.") from None
    if not isinstance(value, dict):
        raise CourseError(f"{place}, holds a {_kind(value)}, not an object; write one {{...}} a line.")
    return value


def _said_encoding(path: Path) -> str:
    encoding = encoding_of(path)
    if encoding.note:
        print(encoding.note)
    return encoding.name


def _read_jsonl(path: Path) -> Iterator[Found]:
    encoding = _said_encoding(path)
    if first_character(path, encoding) == "[":
        print(f"{relative(path)} is one JSON list, not an object a line; it was read as such.")
        yield from _read_list(path, encoding)
        return
    if _has_tall_objects(path, encoding):
        print(f"{relative(path)} has objects of several lines, one after another; it was read as such.")
        yield from _read_tall(path, encoding)
        return
    name = relative(path)
    for number, line in lines(path, encoding):
        try:
            for text in _objects_of(line):
                yield Row(f"{name}, line {number}", _parse_object(text, f"{name}, line {number}"))
        except CourseError as error:
            yield error


# what ends a line elsewhere, and between two objects can be nothing else (the last is that of JSON text sequences)
_MARKS = "\u2028\u2029\x85\x0b\x0c\x1e"
_BETWEEN = re.compile(f"(?<=}})[{_MARKS}]+(?={{)")
_AROUND = f"{MARK}\u200b\x1e"


def _objects_of(line: str) -> list[str]:
    """Return the texts of the objects of a line: several where a mark stands between them that ends lines elsewhere."""
    line = line.rstrip().rstrip(_AROUND).rstrip()
    line = line.lstrip(_AROUND) if line[:1] in _AROUND else line
    if not line or line.isspace():
        return []
    parts = _BETWEEN.split(line) if any(mark in line for mark in _MARKS) else [line]
    # inside a text such a mark is a letter: then a part is no object by itself
    return parts if len(parts) > 1 and all(_decodes(part) for part in parts) else [line]


def _decodes(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _has_tall_objects(path: Path, encoding: str) -> bool:
    """Return whether a file begins with an object of several lines, which is whole."""
    text: list[str] = []
    length = 0
    for _, line in lines(path, encoding):
        if not text:
            if not line.strip():
                continue
            if line.lstrip(_AROUND + " \t")[:1] != "{" or _decodes(line) or not _goes_on(line):
                return False
        text.append(line if text else line.lstrip(_AROUND + " \t"))
        length += len(line) + 1
        if length > LONGEST_TALL:
            break
    return _ends_a_line("\n".join(text))


def _goes_on(line: str) -> bool:
    return line.strip().strip(_AROUND) in ("{", "{ ") or line.rstrip().endswith((",", "{", "["))


def _ends_a_line(text: str) -> bool:
    """Return whether the object that a text begins with ends in a line that begins with its last bracket, and ends that."""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    behind = text[end:].partition("\n")[0]
    return text[text.rfind("\n", 0, end) + 1] == "}" and not behind.strip().strip(_AROUND).rstrip(",").strip()


def _read_tall(path: Path, encoding: str) -> Iterator[Found]:
    """Yield objects that follow one another, each over several lines."""
    text, name = _whole(path, encoding), relative(path)
    at, line, counted = 0, 1, 0
    while True:
        while at < len(text) and (text[at].isspace() or text[at] in _AROUND):
            at += 1
        line, counted = line + text.count("\n", counted, at), at
        if at >= len(text):
            return
        try:
            value, end = _decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            yield CourseError(
                f"{name}, line {error.lineno}, column {error.colno}, is not valid JSON ({error.msg}); fix that line. (What "
                "comes after it was not read.)"
            )
            return
        except (ValueError, RecursionError) as error:
            yield CourseError(f"{name}, line {line}, is not valid JSON ({error}); fix it.")
            return
        place = f"{name}, line {line}"
        yield (
            Row(place, value)
            if isinstance(value, dict)
            else CourseError(f"{place}, holds a {_kind(value)}, not an object; write one {{...}} after another.")
        )
        at = end


def _read_json(path: Path) -> Iterator[Found]:
    encoding = _said_encoding(path)
    if first_character(path, encoding) == "{":
        if _is_json_lines(path, encoding):
            print(f"{relative(path)} has an object a line, not one list; it was read as such.")
            yield from _read_jsonl(path)
            return
        if _has_tall_objects(path, encoding) and not _decodes(_whole(path, encoding)):
            yield from _read_jsonl(path)
            return
    yield from _read_list(path, encoding)


def _is_json_lines(path: Path, encoding: str) -> bool:
    full = (line for _, line in lines(path, encoding) if line.strip())
    try:
        return isinstance(json.loads(next(full)), dict) and next(full, "").lstrip().startswith("{")
    except (ValueError, RecursionError):
        return False


def _whole(path: Path, encoding: str) -> str:
    """Return the whole text of a file; the course reads no more at once than LARGEST_JSON."""
    with open_text(path, encoding) as file:
        text = file.read(LARGEST_JSON + 1)
    if len(text) > LARGEST_JSON or path.stat().st_size > LARGEST_JSON:
        raise CourseError(
            f"{relative(path)} is one JSON value of more than {LARGEST_JSON / 1e9:.1f} GB, which must be read whole; write "
            "it as JSONL, an object a line."
        )
    return text


def _read_list(path: Path, encoding: str) -> Iterator[Found]:
    text = _whole(path, encoding)
    if not text.strip():
        return
    try:
        values = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise CourseError(
            f"{relative(path)}, line {error.lineno}, column {error.colno}, is not valid JSON ({error.msg}); the file may "
            "be truncated: fix that line, or fetch it again."
        ) from None
    except (ValueError, RecursionError) as error:
        raise CourseError(f"{relative(path)} is not valid JSON ({error}); fix it.") from None
    if not isinstance(values, list):
        raise CourseError(f"{relative(path)} holds one {_kind(values)}, not a list of objects; put the rows into [...].")
    for number, value in enumerate(values, start=1):
        place = f"{relative(path)}, row {number}"
        if isinstance(value, dict):
            yield Row(place, value)
        else:
            yield CourseError(f"{place}, is a {_kind(value)}, not an object; each row is one {{...}}.")


def _kind(value: object) -> str:
    names = {list: "list", dict: "object", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "number")


# --- tables and text -------------------------------------------------------------------------


SWALLOWED = (
    "a text that holds both a comma and a line break; if a quotation mark has lost its partner, the rows up to the next one "
    "have become one text: look at it."
)
QUOTED = (
    "in a .tsv a quotation mark is a letter, and so it was read; these texts begin and end with one: if a program put them "
    "there, save the file as .csv."
)
REPEATED_HEADER = "the names of the columns again (of a second file?), which were not read as a row."


def _read_csv(path: Path) -> Iterator[Found]:
    encoding, name = _said_encoding(path), relative(path)
    with open_text(path, encoding, newline="") as file:
        csv.field_size_limit(1 << 30)  # the module's own limit is 128 KiB, less than one long document
        text = _without_marks_between(file)
        before, first, delimiter = _said_delimiter(text)
        reader = csv.reader(itertools.chain(first, text), delimiter=delimiter, strict=True, skipinitialspace=True)
        start = before + 1

        def cells_by_line() -> Iterator[tuple[int, list[str]]]:
            nonlocal start
            for cells in reader:
                line, start = start, before + reader.line_num + 1
                yield line, cells

        try:
            what_to_do = "put a text that holds a comma or a line break into double quotes"
            for found in _rows_of_cells(cells_by_line(), name, what_to_do):
                yield found
                if isinstance(found, Row) and any(delimiter in one and "\n" in one for one in found.value.values()):
                    yield Doubt(found.place, SWALLOWED)
        except csv.Error as error:
            raise CourseError(
                f"{name}, line {start}, is not valid CSV ({error}); close its quotes, and write a quote inside as two."
            ) from None


def _without_marks_between(text: Iterable[str]) -> Iterator[str]:
    """Yield lines without the byte order marks that begin them, but for those inside quotation marks."""
    inside = False
    for line in text:
        yield line if inside else line.lstrip(MARK)
        inside ^= line.count('"') % 2 == 1


def _said_delimiter(text: Iterator[str]) -> tuple[int, list[str], str]:
    """Return how many lines say what separates the fields, the first line of the table, and the delimiter.

    Excel reads and writes such a line, `sep=;`, before the names of the columns.
    """
    first = next(text, "")
    said = re.fullmatch(r'"?sep=(.)"?', first.rstrip("\r\n"), re.IGNORECASE)
    return (1, [], said[1]) if said else (0, [first] if first else [], ",")


def _read_tsv(path: Path) -> Iterator[Found]:
    """Yield the rows of a file of tabs, where a quotation mark is a letter (KorNLI, NSMC and the like)."""
    encoding, name = _said_encoding(path), relative(path)
    cells = ((number, line.split("\t")) for number, line in lines(path, encoding))
    what_to_do = "a text in a .tsv holds neither a tab nor a line break: save the file as .csv"
    for found in _rows_of_cells(cells, name, what_to_do):
        yield found
        if isinstance(found, Row) and any(len(one) > 1 and one[0] == one[-1] == '"' for one in found.value.values()):
            yield Doubt(found.place, QUOTED)


def _rows_of_cells(table: Iterable[tuple[int, list[str]]], name: str, what_to_do: str) -> Iterator[Found]:
    """Yield the rows of a table of (line, cells), whose first full line names the columns."""
    header: list[str] | None = None
    for line, cells in table:
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _csv_header(cells, f"{name}, line {line}")
            continue
        while len(cells) > len(header) and not cells[-1]:  # Excel writes empty columns at the end
            cells.pop()
        if [cell.strip() for cell in cells] == header:
            yield Doubt(f"{name}, line {line}", REPEATED_HEADER)
        elif len(cells) == len(header):
            yield Row(f"{name}, line {line}", dict(zip(header, cells, strict=True)))
        else:
            yield CourseError(
                f"{name}, line {line}, has {len(cells)} fields where the header has {len(header)}; {what_to_do}."
            )


def _csv_header(cells: list[str], place: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    while not header[-1]:
        header.pop()
    seen: set[str] = set()
    for number, column in enumerate(header, start=1):
        if not column:
            raise CourseError(f"{place}: column {number} has no name; give it one.")
        if column in seen:
            raise CourseError(f"{place}: the column {column!r} comes twice; rename one.")
        seen.add(column)
    return header


def _read_parquet(path: Path) -> Iterator[Found]:
    import pyarrow
    import pyarrow.parquet

    name, number = relative(path), 0
    broken = (pyarrow.ArrowException, OSError, ValueError, OverflowError)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns, batches = file.schema_arrow.names, file.iter_batches(batch_size=1024)
    except broken as error:
        raise _no_parquet(name, error) from None
    twin, count = next(iter(Counter(columns).most_common(1)), ("", 0))
    if count > 1:
        raise CourseError(f"{name}: the column {twin!r} comes twice; rename one.")
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except broken as error:
            raise _no_parquet(name, error) from None
        values = {}
        for column in columns:
            try:
                values[column] = batch.column(column).to_pylist()
            except broken as error:  # a date that Python's calendar does not have
                said = f"the column {column!r} holds what cannot be read ({error}) and was left out; rewrite it as text."
                yield Doubt(f"{name}, row {number + 1}", said)
        for row in range(batch.num_rows):
            number += 1
            yield Row(f"{name}, row {number}", {column: cells[row] for column, cells in values.items()})


def _no_parquet(name: str, error: Exception) -> CourseError:
    return CourseError(f"{name} is not a whole Parquet file ({str(error).splitlines()[0]:.80}); fetch it again.")


def _read_excel(path: Path) -> Iterator[Row]:
    for number, value in read_sheet(path):
        yield Row(f"{relative(path)}, row {number}", value)


def _read_text(path: Path) -> Iterator[Row]:
    encoding, name = _said_encoding(path), relative(path)
    for number, line in lines(path, encoding):
        if line.strip():
            yield Row(f"{name}, line {number}", {"text": line})


READERS: dict[str, Callable[[Path], Iterator[Found]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
    ".xlsx": _read_excel,
    ".xlsm": _read_excel,
    ".xls": _read_excel,
    ".ods": _read_excel,
    ".txt": _read_text,
}
_OF_TEXT = (_read_jsonl, _read_json, _read_csv, _read_tsv, _read_text)
