"""Excel files whose text stays text: no formula out of a model's words, no "NA" lost, nothing cut; numbers are numbers."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils import CourseError, atomic_path, relative

LONGEST_CELL = 32_767  # characters; Excel's own limit
LARGEST_NUMBER = 10**15  # from here on Excel rounds whole numbers
# What XML 1.0 cannot hold: control characters but tab, line feed and carriage return; and lone surrogates.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class CleanedCell:
    """A cell from which characters were removed that Excel cannot hold."""

    row: int
    column: str
    removed: int


def read_sheet(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (row number as Excel shows it, {column: text}) of the first sheet; the first row that is not empty names
    the columns.

    Numbers and dates come as the text that they stand for, empty cells as "". Rows without any text are left out, as
    Excel keeps many that only have a format. Of a formula the value counts that Excel stored with it.

    Raises:
        CourseError: the file is no workbook or has no rows; a column's name is missing or comes twice; cells are
            merged; a formula has no stored value.
    """
    values, formulas = _sheets(path)
    if formulas.merged_cells.ranges:
        first = sorted(str(r) for r in formulas.merged_cells.ranges)[0]
        raise CourseError(
            f"{relative(path)}: the cells {first} are merged, so that all but the first are empty; unmerge them and "
            "fill each."
        )
    header: list[str] | None = None
    for number, (cells, written) in enumerate(zip(values.iter_rows(), formulas.iter_rows(), strict=True), start=1):
        texts = [_text(cell, other, path) for cell, other in zip(cells, written, strict=True)]
        if not any(texts):
            continue
        if header is None:
            header = _header(texts, path, number)
            continue
        beyond = [text for text in texts[len(header) :] if text]
        if beyond:
            raise CourseError(f"{relative(path)}, row {number}, has text ({beyond[0]!r:.40}) in a column without a name.")
        yield number, dict(zip(header, texts, strict=False))
    if header is None:
        raise CourseError(f"{relative(path)} has an empty sheet; write the column names into its first row.")


def _sheets(path: Path):
    import warnings

    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on styles and extensions that do not matter here
            values = openpyxl.load_workbook(path, data_only=True)
            formulas = openpyxl.load_workbook(path)
    except Exception as error:  # a damaged archive fails in the zip, zlib, XML or openpyxl, each in its own way
        raise CourseError(
            f"{relative(path)} is no Excel workbook ({type(error).__name__}); open it in Excel and save it as .xlsx."
        ) from None
    name = values.sheetnames[0] if values.sheetnames else None
    if name is None or not hasattr(values[name], "iter_rows"):
        raise CourseError(f"{relative(path)}: the first sheet is missing or a chart; put the sheet with the data first.")
    if len(values.sheetnames) > 1:
        others = ", ".join(values.sheetnames[1:])
        print(f"{relative(path)}: the first sheet, {name}, was read; {others} was not.")
    return values[name], formulas[name]


def _header(texts: list[str], path: Path, number: int) -> list[str]:
    texts = [text.strip() for text in texts]
    while texts and not texts[-1]:
        texts = texts[:-1]
    for place, text in enumerate(texts, start=1):
        if not text:
            raise CourseError(f"{relative(path)}, row {number}: column {place} has no name; give it one.")
        if text in texts[: place - 1]:
            raise CourseError(f"{relative(path)}, row {number}: the column {text!r} comes twice; rename one.")
    return texts


def _text(cell, written, path: Path) -> str:
    value = cell.value
    if written.data_type == "f" and value is None:
        raise CourseError(
            f"{relative(path)}, cell {cell.coordinate}, is a formula without a stored value; open the file in Excel, save "
            "it, or write the text itself."
        )
    if value is None:
        return ""
    if cell.data_type == "e":
        raise CourseError(f"{relative(path)}, cell {cell.coordinate}, holds the error {value}; fix it or write the text.")
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return _number(value, cell.number_format)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)


def _number(value: float, shown_as: str) -> str:
    """Return a number as the sheet shows it, for the formats that change its text: 35%, 007."""
    if shown_as.endswith("%"):
        decimals = len(shown_as.partition(".")[2].rstrip("%"))
        return f"{value:.{decimals}%}"
    whole = str(int(value)) if float(value).is_integer() else str(value)
    return whole.zfill(len(shown_as)) if re.fullmatch("0{2,}", shown_as) else whole


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
                cell.value = text
                cell.data_type = "s"  # whatever it begins with: openpyxl would take "=1+1" for a formula
                cell.quotePrefix = True  # so that Excel leaves it text when a person edits the cell
    with atomic_path(path) as temporary:
        book.save(temporary)
    return cleaned
