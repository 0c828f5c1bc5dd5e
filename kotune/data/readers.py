"""Rows out of files as they stand there: JSONL, JSON, CSV, Parquet, Excel, plain text, and folders of shards.

Each row comes with its place, "file, line 12", for the message of whatever is wrong with it. JSONL, CSV, Parquet and
text are streamed; a JSON list and a workbook are read whole.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from kotune.data.excel import read_sheet
from kotune.data.text_files import encoding_of, first_character, lines
from utils import CourseError, relative

LARGEST_JSON = 500_000_000  # bytes; a list must be read whole


class Row(NamedTuple):
    """A row and where it stands."""

    place: str
    value: dict


def seen_from(place: str, other: str) -> str:
    """Return another place as it is named beside the first: without its file where both stand in the same."""
    file, _, line = other.rpartition(", ")
    return line if file == place.rpartition(", ")[0] else other


def read(path: str | Path) -> Iterator[Row]:
    """Yield the rows of a file, or of every file of a folder in order of their names.

    Raises:
        CourseError: the file is missing, empty, of no known kind, or broken; the message names the line.
    """
    for row in read_with_errors(path):
        if isinstance(row, CourseError):
            raise row
        yield row


def read_with_errors(path: str | Path) -> Iterator[Row | CourseError]:
    """Yield the rows of a file or folder, and in the place of each line that is broken what is wrong with it.

    Raises:
        CourseError: nothing more can be read: the file is missing, empty, of no known kind, or broken as a whole.
    """
    path = Path(path)
    if path.is_dir():
        yield from _read_folder(path)
        return
    if not path.is_file():
        raise CourseError(f"{relative(path)} does not exist; check the path.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise CourseError(
            f"{relative(path)} is of no kind that the course reads ({', '.join(READERS)}); convert it, or rename it."
        )
    empty = True
    for row in reader(path):
        empty = False
        yield row
    if empty:
        raise CourseError(f"{relative(path)} holds no rows; fill it or leave it out.")


def _read_folder(folder: Path) -> Iterator[Row | CourseError]:
    # hidden files, and the lock files that Excel keeps while a workbook is open, are no data
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "~$")))
    shards = [p for p in inside if p.is_file() and p.suffix.lower() in READERS]
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


def _read_jsonl(path: Path) -> Iterator[Row | CourseError]:
    encoding = _said_encoding(path)
    if first_character(path, encoding) == "[":
        print(f"{relative(path)} is one JSON list, not an object a line; it was read as such.")
        yield from _read_list(path, encoding)
        return
    name = relative(path)
    for number, line in lines(path, encoding):
        if line and not line.isspace():
            try:
                yield Row(f"{name}, line {number}", _parse_object(line, f"{name}, line {number}"))
            except CourseError as error:
                yield error


def _read_json(path: Path) -> Iterator[Row | CourseError]:
    encoding = _said_encoding(path)
    if first_character(path, encoding) == "{" and _is_json_lines(path, encoding):
        print(f"{relative(path)} has an object a line, not one list; it was read as such.")
        yield from _read_jsonl(path)
        return
    yield from _read_list(path, encoding)


def _is_json_lines(path: Path, encoding: str) -> bool:
    full = (line for _, line in lines(path, encoding) if line.strip())
    try:
        return isinstance(json.loads(next(full)), dict) and next(full, "").lstrip().startswith("{")
    except (ValueError, RecursionError):
        return False


def _read_list(path: Path, encoding: str) -> Iterator[Row | CourseError]:
    if path.stat().st_size > LARGEST_JSON:
        raise CourseError(
            f"{relative(path)} is one JSON value of {path.stat().st_size / 1e9:.1f} GB, which must be read whole; "
            "write it as JSONL, an object a line."
        )
    text = path.read_text(encoding=encoding)
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


def _read_csv(path: Path) -> Iterator[Row | CourseError]:
    encoding, name = _said_encoding(path), relative(path)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding=encoding, newline="") as file:
        csv.field_size_limit(1 << 30)  # the module's own limit is 128 KiB, less than one long document
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        start = 1
        try:
            for cells in reader:
                line, start = start, reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if header is None:
                    header = _csv_header(cells, f"{name}, line {line}")
                    continue
                while len(cells) > len(header) and not cells[-1]:  # Excel writes empty columns at the end
                    cells.pop()
                if len(cells) == len(header):
                    yield Row(f"{name}, line {line}", dict(zip(header, cells, strict=True)))
                    continue
                yield CourseError(
                    f"{name}, line {line}, has {len(cells)} fields where the header has {len(header)}; put a text that "
                    "holds a comma or a line break into double quotes."
                )
        except csv.Error as error:
            raise CourseError(
                f"{name}, line {start}, is not valid CSV ({error}); close its quotes, and write a quote inside as two."
            ) from None


def _csv_header(cells: list[str], place: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    while not header[-1]:
        header.pop()
    for number, column in enumerate(header, start=1):
        if not column:
            raise CourseError(f"{place}: column {number} has no name; give it one.")
        if column in header[: number - 1]:
            raise CourseError(f"{place}: the column {column!r} comes twice; rename one.")
    return header


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    name, number = relative(path), 0
    broken = (pyarrow.ArrowException, OSError, ValueError, OverflowError)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns, batches = file.schema_arrow.names, file.iter_batches(batch_size=1024)
    except broken as error:
        raise _no_parquet(name, error) from None
    twins = [column for column in columns if columns.count(column) > 1]
    if twins:
        raise CourseError(f"{name}: the column {twins[0]!r} comes twice; rename one.")
    while True:
        try:
            values = next(batches).to_pylist()
        except StopIteration:
            return
        except broken as error:
            raise _no_parquet(name, error) from None
        for value in values:
            number += 1
            yield Row(f"{name}, row {number}", value)


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


READERS: dict[str, Callable[[Path], Iterator[Row | CourseError]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".xlsx": _read_excel,
    ".txt": _read_text,
}
