"""The cells of a spreadsheet with their texts as a person sees them: .xlsx, .xls and .ods, told by what a file holds.

An .xlsx or .ods is read cell by cell, so that a value far from the others costs nothing; an .xls is read by xlrd.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from kotune.data.shown_numbers import KOREAN_BUILTIN, shown
from utils import CourseError, relative

LARGEST_PART = 500_000_000  # bytes of a sheet, or of its texts, unpacked
MOST_REPEATS = 10_000  # of a row or cell with text that stands once in an .ods
OLE, ZIP = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK"


@dataclass(frozen=True)
class Range:
    """Merged cells: rows and columns from 1, the last ones included."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int

    @property
    def name(self) -> str:
        """The range as Excel writes it, A2:A3."""
        return f"{cell_name(self.first_row, self.first_column)}:{cell_name(self.last_row, self.last_column)}"


@dataclass
class Sheet:
    """The sheet that is read: its rows that have text, {column from 1: text}, by the numbers that a person sees."""

    name: str
    rows: list[tuple[int, dict[int, str]]]
    faults: dict[tuple[int, int], str] = field(default_factory=dict)  # what is wrong with a cell, by row and column
    merged: list[Range] = field(default_factory=list)
    hidden_rows: int = 0
    notes: list[str] = field(default_factory=list)


def cell_name(row: int, column: int) -> str:
    """Return a cell's name, B12 for row 12 and column 2."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row}"


def open_sheet(path: Path) -> Sheet:
    """Return the first sheet that is not hidden.

    Raises:
        CourseError: the file is no spreadsheet, damaged, protected by a password, or too large.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    try:
        if head.startswith(OLE):
            return _open_xls(path)
        if head.startswith(ZIP):
            with zipfile.ZipFile(path) as archive:
                return _open_ods(path, archive) if "content.xml" in archive.namelist() else _Xlsx(path, archive).sheet()
    except CourseError:
        raise
    except Exception as error:  # a damaged file fails in the zip, zlib, XML or a library, each in its own way
        raise CourseError(
            f"{relative(path)} is no Excel workbook ({type(error).__name__}); open it in Excel and save it as .xlsx."
        ) from None
    kind = "a web page" if re.search(rb"<(?:html|table|!doctype html|\?xml)", head, re.IGNORECASE) else "a text"
    raise CourseError(
        f"{relative(path)} is no Excel workbook ({kind} under its name); open it in Excel and save it as .xlsx, or name it "
        ".csv or .tsv if it is one."
    )


def _choose(sheets: list[tuple[str, bool]], path: Path) -> tuple[int, list[str]]:
    """Return which of the sheets, (name, hidden), is read, and what is to be said of the others."""
    place = next((place for place, (_, hidden) in enumerate(sheets) if not hidden), 0)
    name, hidden = sheets[place]
    others = [f"{other} (hidden)" if is_hidden else other for i, (other, is_hidden) in enumerate(sheets) if i != place]
    if not others and not hidden:
        return place, []
    which = "which is hidden" if hidden else "the first" if place == 0 else "the first that is not hidden"
    rest = f"; {', '.join(others)} {'was' if len(others) == 1 else 'were'} not" if others else ""
    return place, [f"{relative(path)}: the sheet {name}, {which}, was read{rest}."]


# --- .xlsx -----------------------------------------------------------------------------------

WITHOUT_VALUE = "is a formula without a stored value; open the file in Excel, save it, or write the text itself"
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")
_CELL = re.compile(r"([A-Za-z]{1,3})(\d{1,7})")


def unescape(text: str) -> str:
    """Return a text of OOXML (ECMA-376, ST_Xstring) with `_xHHHH_` as the character that it stands for."""
    if "_x" not in text:
        return text
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    with suppress(UnicodeError):  # an emoji is escaped in two halves
        text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    return text


def escape(text: str) -> str:
    """Return a text as OOXML holds it: what looks like an escape written so that it stays text."""
    return re.sub("_(?=x[0-9A-Fa-f]{4}_)", "_x005F_", text)


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    return {name.rpartition("}")[2]: value for name, value in element.attrib.items()}


def _is_true(value: str | None) -> bool:
    return value in ("1", "true", "on")


class _Xlsx:
    """An open .xlsx: its sheets, texts and number formats."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self.path, self.archive = path, archive
        self.parts = {name.lower().lstrip("/"): name for name in archive.namelist()}
        start = next((t for _, kind, t in self._relations("") if kind.endswith("officeDocument")), "xl/workbook.xml")
        self.folder = posixpath.dirname(start)
        self.sheets: list[tuple[str, str, str]] = []  # name, state, relation
        self.since_1904 = False
        for element in self._elements(start):
            if _local(element) == "sheet":
                given = _attributes(element)
                self.sheets.append((given["name"], given.get("state", "visible"), given["id"]))
            elif _local(element) == "workbookPr":
                self.since_1904 = _is_true(element.get("date1904"))
        self.targets = {identity: (kind, target) for identity, kind, target in self._relations(start)}

    def sheet(self) -> Sheet:
        """Return the first sheet of cells that is not hidden."""
        of_cells = [one for one in self.sheets if self.targets.get(one[2], ("", ""))[0].endswith("/worksheet")]
        if not of_cells:
            raise CourseError(f"{relative(self.path)}: its sheets are missing or charts; put the data into one of cells.")
        place, notes = _choose([(name, state != "visible") for name, state, _ in of_cells], self.path)
        charts = [name for name, *_ in self.sheets if name not in {one[0] for one in of_cells}]
        if charts:
            notes.append(f"{relative(self.path)}: {', '.join(charts)} holds no cells and was not read.")
        name, _, relation = of_cells[place]
        formats, texts = self._formats(), self._texts()
        sheet = Sheet(name, [], notes=notes)
        row, column = 0, 0
        cells: dict[int, str] = {}
        for element in self._elements(self.targets[relation][1], keep=("is",)):
            tag = _local(element)
            if tag == "row-begins":
                row, column, cells = int(element.get("r") or row + 1), 0, {}
                sheet.hidden_rows += _is_true(element.get("hidden"))
            elif tag == "c":
                place_named = _CELL.fullmatch(element.get("r") or "")
                column = _column(place_named[1]) if place_named else column + 1
                text, fault = self._text(element, formats, texts)
                if fault:
                    sheet.faults[row, column] = fault
                if text or fault:
                    cells[column] = text
            elif tag == "row" and cells:
                sheet.rows.append((row, cells))
            elif tag == "mergeCell":
                ends = [_CELL.fullmatch(end) for end in (element.get("ref") or "").replace("$", "").split(":")]
                if len(ends) == 2 and all(ends):
                    (left, top), (right, bottom) = ((_column(end[1]), int(end[2])) for end in ends if end)
                    sheet.merged.append(Range(top, bottom, left, right))
        return sheet

    def _text(self, cell: ElementTree.Element, formats: list[str], texts: list[str]) -> tuple[str, str | None]:
        """Return a cell's text, and what is wrong with it."""
        parts = {_local(part): part for part in cell}
        kind, given = cell.get("t", "n"), parts["v"].text if "v" in parts else None
        if kind == "inlineStr":
            return (_rich_text(parts["is"]) if "is" in parts else ""), None
        if not given:
            lacking = "f" in parts and kind != "str"
            return "", WITHOUT_VALUE if lacking else None
        if kind == "e":
            return given, f"holds the error {given}; fix it or write the text"
        style = int(cell.get("s") or 0)
        return self._stored(kind, given, formats[style] if style < len(formats) else "General", texts), None

    def _stored(self, kind: str, given: str, code: str, texts: list[str]) -> str:
        """Return the text of a stored value."""
        if kind == "s":
            return texts[int(given)]
        if kind == "str":
            return unescape(given)
        if kind == "b":
            return "TRUE" if _is_true(given.strip()) else "FALSE"
        if kind == "d":
            return given.removesuffix("T00:00:00").replace("T", " ")
        return shown(float(given), code, self.since_1904)

    def _formats(self) -> list[str]:
        """Return the number format of each style of a cell."""
        from openpyxl.styles.numbers import BUILTIN_FORMATS

        part = self._target_of("styles")
        codes: dict[int, str] = {**BUILTIN_FORMATS, **KOREAN_BUILTIN}
        formats: list[str] = []
        for element in self._elements(part, keep=("cellXfs",)) if part else ():
            if _local(element) == "numFmt":
                codes[int(element.get("numFmtId") or 0)] = element.get("formatCode") or "General"
            elif _local(element) == "cellXfs":
                styles = [int(style.get("numFmtId") or 0) for style in element if _local(style) == "xf"]
                formats = [codes.get(style, "General") for style in styles]
        return formats

    def _texts(self) -> list[str]:
        part = self._target_of("sharedStrings")
        elements = self._elements(part, keep=("si",)) if part else ()
        return [_rich_text(element) for element in elements if _local(element) == "si"]

    def _target_of(self, kind: str) -> str | None:
        return next((target for found, target in self.targets.values() if found.endswith(f"/{kind}")), None)

    def _relations(self, part: str) -> Iterator[tuple[str, str, str]]:
        """Yield (id, kind, part) of what a part refers to."""
        folder, name = posixpath.split(part)
        listed = posixpath.join(folder, "_rels", f"{name}.rels")
        if listed.lower() not in self.parts:
            return
        for element in self._elements(listed):
            given = _attributes(element)
            if _local(element) == "Relationship" and given.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, given["Target"])).lstrip("/")
                yield given["Id"], given["Type"], target

    def _elements(self, part: str, keep: tuple[str, ...] = ()) -> Iterator[ElementTree.Element]:
        """Yield the elements of a part as they end, each forgotten after it unless it stands in one of `keep`.

        A row is told when it begins too, by an element of the name row-begins.
        """
        info = self.archive.getinfo(self.parts[part.lower()])
        _require_size(self.path, info)
        kept, open_elements = 0, []
        with self.archive.open(info) as file:
            for event, element in ElementTree.iterparse(file, events=("start", "end")):
                tag = _local(element)
                if event == "start":
                    open_elements.append(element)
                    kept += tag in (*keep, "c")
                    if tag == "row":
                        yield ElementTree.Element("row-begins", element.attrib)
                    continue
                open_elements.pop()
                kept -= tag in (*keep, "c")
                if not kept:
                    yield element
                    element.clear()
                    if open_elements:
                        open_elements[-1].remove(element)


def _require_size(path: Path, info: zipfile.ZipInfo) -> None:
    if info.file_size > LARGEST_PART:
        raise CourseError(
            f"{relative(path)} unpacks to {info.file_size / 1e9:.1f} GB ({info.filename}), and the course reads up to "
            f"{LARGEST_PART / 1e9:.1f} GB; save the rows as CSV or JSONL."
        )


def _column(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number


def _rich_text(element: ElementTree.Element) -> str:
    """Return the text of a string item: its runs, without the phonetic ones."""
    runs = []
    for part in element:
        if _local(part) == "t":
            runs.append(part.text or "")
        elif _local(part) == "r":
            runs += [inner.text or "" for inner in part if _local(inner) == "t"]
    return "".join(unescape(run) for run in runs)


# --- .xls and .ods ---------------------------------------------------------------------------


def _open_xls(path: Path) -> Sheet:
    import xlrd

    try:
        book = xlrd.open_workbook(str(path), formatting_info=True, logfile=_Silent(), ragged_rows=True)
    except xlrd.XLRDError as error:
        if "encrypt" in str(error).lower() or "workbook" in str(error).lower():
            raise CourseError(
                f"{relative(path)} is protected by a password, or no workbook; open it in Excel, and save it as .xlsx "
                "without one."
            ) from None
        raise
    of_cells = list(book.sheets())
    place, notes = _choose([(sheet.name, bool(sheet.visibility)) for sheet in of_cells], path)
    cells = of_cells[place]
    sheet = Sheet(cells.name, [], notes=notes)
    sheet.hidden_rows = sum(bool(info.hidden) for number, info in cells.rowinfo_map.items() if number < cells.nrows)
    sheet.merged = [Range(top + 1, bottom, left + 1, right) for top, bottom, left, right in cells.merged_cells]
    for row in range(cells.nrows):
        texts = {}
        for column, cell in enumerate(cells.row(row)):
            if cell.ctype == xlrd.XL_CELL_ERROR:
                name = xlrd.error_text_from_code.get(cell.value, "#ERROR")
                sheet.faults[row + 1, column + 1] = f"holds the error {name}; fix it or write the text"
                texts[column + 1] = name
            elif text := _xls_text(book, cell, xlrd):
                texts[column + 1] = text
        if texts:
            sheet.rows.append((row + 1, texts))
    return sheet


class _Silent:
    """Takes what xlrd tells of records that do not matter here."""

    def write(self, text: str) -> None:
        """Forget it."""

    def flush(self) -> None:
        """Do nothing."""


def _xls_text(book: Any, cell: Any, xlrd: Any) -> str:
    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return ""
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return "TRUE" if cell.value else "FALSE"
    if cell.ctype == xlrd.XL_CELL_TEXT:
        return str(cell.value)
    key = book.xf_list[cell.xf_index].format_key
    code = KOREAN_BUILTIN.get(key) or book.format_map[key].format_str
    return shown(float(cell.value), code, bool(book.datemode))


def _open_ods(path: Path, archive: zipfile.ZipFile) -> Sheet:
    """Return the sheet of an OpenDocument file, which stores the text that each cell shows."""
    info = archive.getinfo("content.xml")
    _require_size(path, info)
    with archive.open(info) as file:
        root = ElementTree.parse(file).getroot()
    invisible = {
        _attributes(style).get("name")
        for style in root.iter()
        if _local(style) == "style" and any(_attributes(one).get("display") == "false" for one in style)
    }
    tables = [element for element in root.iter() if _local(element) == "table"]
    if not tables:
        raise CourseError(f"{relative(path)} has no sheet; put the data into one.")
    named = [(_attributes(one).get("name", ""), _attributes(one).get("style-name") in invisible) for one in tables]
    place, notes = _choose(named, path)
    sheet, number = Sheet(named[place][0], [], notes=notes), 0
    for row in (element for element in tables[place].iter() if _local(element) == "table-row"):
        given = _attributes(row)
        repeated = int(given.get("number-rows-repeated", 1))
        texts = _ods_texts(row, number + 1, sheet)
        if texts and repeated > MOST_REPEATS:
            raise CourseError(
                f"{relative(path)}, row {number + 1}, is repeated {repeated:,} times; delete what is too much."
            )
        if texts:
            sheet.rows += [(number + again, texts) for again in range(1, repeated + 1)]
            sheet.hidden_rows += repeated if given.get("visibility", "visible") != "visible" else 0
        number += repeated
    return sheet


_ODS_ERROR = re.compile(r"Err:\d{3}$|#(?:N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!)$")


def _ods_texts(row: ElementTree.Element, number: int, sheet: Sheet) -> dict[int, str]:
    """Return the texts of a row by column, and put its merged cells and errors into the sheet."""
    texts: dict[int, str] = {}
    column = 1
    for cell in row:
        if _local(cell) not in ("table-cell", "covered-table-cell"):
            continue
        given = _attributes(cell)
        repeated = int(given.get("number-columns-repeated", 1))
        down, right = int(given.get("number-rows-spanned", 1)), int(given.get("number-columns-spanned", 1))
        if down > 1 or right > 1:
            sheet.merged.append(Range(number, number + down - 1, column, column + right - 1))
        text = "\n".join(_ods_text(part) for part in cell if _local(part) == "p")
        if text:
            texts |= dict.fromkeys(range(column, column + min(repeated, MOST_REPEATS)), text)
        if given.get("formula") and _ODS_ERROR.match(text):
            sheet.faults[number, column] = f"holds the error {text}; fix it or write the text"
        column += repeated
    return texts


def _ods_text(element: ElementTree.Element) -> str:
    """Return the text of a paragraph, in which blanks, tabs and line breaks are elements."""
    text = element.text or ""
    for part in element:
        tag = _local(part)
        if tag == "s":
            text += " " * int(_attributes(part).get("c", 1))
        elif tag in ("tab", "line-break"):
            text += "\t" if tag == "tab" else "\n"
        elif tag not in ("annotation", "ruby-text"):
            text += _ods_text(part)
        text += part.tail or ""
    return text
