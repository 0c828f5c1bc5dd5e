"""Excel files whose text stays text: no formula out of a model's words, no "NA" lost, nothing cut; numbers are numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kotune.data.records import EXTRA_FIELDS, SHAPES
from kotune.data.spreadsheets import Sheet, cell_name, escape, open_sheet
from utils import CourseError, atomic_path, relative

LONGEST_CELL = 32_767  # characters; Excel's own limit
LARGEST_NUMBER = 10**15  # from here on Excel rounds whole numbers
FAR = 3  # columns; what stands farther from the names of the columns is no part of the table
KNOWN_NAMES = {*EXTRA_FIELDS, *(name for shape in SHAPES.values() for name in shape.fields)}
# What XML 1.0 cannot hold: control characters but tab, line feed and carriage return; and lone surrogates.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class CleanedCell:
    """A cell from which characters were removed that Excel cannot hold."""

    row: int
    column: str
    removed: int


def read_sheet(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number as Excel shows it, {column: text}) of the first sheet that is not hidden; its first row that is
    not empty names the columns, a title above it aside.

    Numbers and dates come as the sheet shows them, empty cells as "". Rows without any text are left out, as
    Excel keeps many that only have a format. Of a formula the value counts that Excel stored with it. What is
    not read (other sheets, a title, cells beside the table) is said.

    Raises:
        CourseError: the file is no workbook or has no rows; a column's name is missing or comes twice; cells are
            merged; a formula has no stored value, or a cell an error.
    """
    sheet = open_sheet(path)
    for note in sheet.notes:
        print(note)
    titles = _titles(sheet)
    if titles:
        print(f"{relative(path)}: the {len(titles)} rows above the names of the columns were not read ({titles[0]!r:.40}).")
    table = sheet.rows[len(titles) :]
    if not table:
        raise CourseError(f"{relative(path)} has an empty sheet; write the column names into its first row.")
    top, names = table[0]
    _require_sound(sheet, path, top, names)
    header = _header(names, path, top)
    last = max(header)
    _require_unmerged(sheet, path, top, last)
    aside = 0
    for number, texts in table[1:]:
        faults = [column for column in texts if column in header and (number, column) in sheet.faults]
        if faults:
            said = sheet.faults[number, faults[0]]
            raise CourseError(f"{relative(path)}, cell {cell_name(number, faults[0])}, {said}.")
        if texts.get(last + 1):
            raise CourseError(
                f"{relative(path)}, row {number}, has text ({texts[last + 1]!r:.40}) in a column without a name; name it."
            )
        if any(texts.get(column) for column in header):
            yield number, {name: texts.get(column, "") for column, name in header.items()}
        aside += sum(column > last for column in texts)
    if aside:
        print(f"{relative(path)}: {aside} cells beside the table were not read; give their columns names to have them read.")
    if sheet.hidden_rows:
        print(f"{relative(path)}: {sheet.hidden_rows} rows are hidden (a filter?) and were read as well.")


def _titles(sheet: Sheet) -> list[str]:
    """Return the texts of the rows above the column names: one text each, where the names are several."""
    alone: list[str] = []
    for _, texts in sheet.rows:
        full = [text for text in texts.values() if text.strip()]
        if len(full) > 1:
            known = {name.casefold() for name in alone} & {name.casefold() for name in KNOWN_NAMES}
            return [] if known else alone
        alone += full
    return []


def _require_sound(sheet: Sheet, path: Path, row: int, texts: dict[int, str]) -> None:
    for column in texts:
        if (row, column) in sheet.faults:
            raise CourseError(f"{relative(path)}, cell {cell_name(row, column)}, {sheet.faults[row, column]}.")


def _require_unmerged(sheet: Sheet, path: Path, top: int, last: int) -> None:
    bottom = sheet.rows[-1][0]
    inside = [one for one in sheet.merged if one.last_row >= top and one.first_row <= bottom and one.first_column <= last]
    if inside:
        first = min(inside, key=lambda one: (one.first_row, one.first_column))
        raise CourseError(
            f"{relative(path)}: the cells {first.name} are merged, so that all but the first are empty; unmerge them and "
            "fill each."
        )


def _header(texts: dict[int, str], path: Path, number: int) -> dict[int, str]:
    """Return the columns' names by their places; beyond an empty column nothing belongs to the table."""
    named = {column: text.strip() for column, text in texts.items() if text.strip()}
    first = min(named)
    header: dict[int, str] = {}
    for column in range(first, max(named) + 1):
        name = named.get(column)
        if name is None:
            if max(named) - column > FAR:  # a note far to the right is no column
                break
            raise CourseError(f"{relative(path)}, row {number}: column {column} has no name; give it one.")
        if name in header.values():
            raise CourseError(f"{relative(path)}, row {number}: the column {name!r} comes twice; rename one.")
        header[column] = name
    return header


def _is_number(value: object) -> bool:
    """Return whether a value is a number that Excel holds as it is: finite, and of at most 15 digits where it is whole."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST_NUMBER < value < LARGEST_NUMBER


def _length_in_cell(text: str) -> int:
    """Return a text's length as Excel counts it: in UTF-16 units, of which an emoji takes two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def write_sheet(
    path: str | Path, columns: Sequence[str], rows: Sequence[dict], shown_name: str | Path | None = None
) -> list[CleanedCell]:
    """Write rows as one sheet, numbers as numbers and all else as text; return the cells from which characters were removed.

    `shown_name` is the file's name in messages, where `path` is a temporary one.

    Raises:
        CourseError: a text is longer than a cell can hold; nothing is written then.
    """
    from openpyxl import Workbook

    path = Path(path)
    too_long = [
        (number, column, length)
        for number, row in enumerate(rows, start=2)
        for column in columns
        if (length := _length_in_cell(str(row.get(column, "")))) > LONGEST_CELL
    ]
    if too_long:
        number, column, length = too_long[0]
        raise CourseError(
            f"{relative(shown_name or path)}, row {number}, column {column}: the text has {length:,} characters, and an "
            f"Excel cell holds {LONGEST_CELL:,} ({len(too_long)} such cells); shorten it, or write JSONL."
        )
    book = Workbook()
    sheet = book.worksheets[0]
    cleaned = []
    for number, row in enumerate([dict(zip(columns, columns, strict=True)), *rows], start=1):
        for place, column in enumerate(columns, start=1):
            value = row.get(column)
            if _is_number(value):
                sheet.cell(number, place).value = value
                continue
            text, removed = UNWRITABLE.subn("", "" if value is None else str(value))
            if removed:
                cleaned.append(CleanedCell(number, column, removed))
            if text:
                cell = sheet.cell(number, place)
                cell.value = escape(text)
                cell.data_type = "s"  # whatever it begins with: openpyxl would take "=1+1" for a formula
                cell.quotePrefix = True  # so that Excel leaves it text when a person edits the cell
    with atomic_path(path) as temporary:
        book.save(temporary)
    return cleaned
