"""Numbers as a sheet shows them: Excel's number formats by xlfmt, and what Korean Excel makes of them."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal

# What a file may name by number alone, in Korean Excel (ECMA-376, 18.8.30); the others mean the same everywhere.
KOREAN_BUILTIN = {
    5: '"₩"#,##0', 6: '"₩"#,##0', 7: '"₩"#,##0.00', 8: '"₩"#,##0.00', 14: "yyyy-mm-dd", 15: "dd-mmm-yy", 16: "dd-mmm",
    22: "yyyy-mm-dd h:mm", 27: 'yyyy"年" mm"月" dd"日"', 28: "mm-dd", 29: "mm-dd", 30: "mm-dd-yy",
    31: 'yyyy"년" mm"월" dd"일"', 32: 'h"시" mm"분"', 33: 'h"시" mm"분" ss"초"', 34: "yyyy-mm-dd", 35: "yyyy-mm-dd",
    36: 'yyyy"年" mm"月" dd"日"', 50: 'yyyy"年" mm"月" dd"日"', 51: "mm-dd", 52: "yyyy-mm-dd", 53: "yyyy-mm-dd",
    54: "mm-dd", 55: "yyyy-mm-dd", 56: "yyyy-mm-dd", 57: 'yyyy"年" mm"月" dd"日"', 58: "mm-dd",
}  # fmt: skip
WEEKDAYS = "월화수목금토일"
LONGEST_CODE = 255  # characters of a number format, in Excel's own specification
SYSTEM_DATE, SYSTEM_TIME = 'yyyy"년" m"월" d"일" dddd', "AM/PM h:mm:ss"  # [$-F800] and [$-F400] on a Korean machine
# what stands for itself in a format comes first, so that nothing inside it is taken for a code
_PIECE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]|G/표준|aaaa?|dddd?|mmmm?|AM/PM', re.IGNORECASE | re.DOTALL)
_KOREAN = re.compile(r"\[\$[^\]]*-(?:[0-9A-F]*412|F[48]00|ko(?:-KR)?)\b[^\]]*\]", re.IGNORECASE)
_MIDNIGHT = re.compile(r" 0?0:00(?::00(?:\.0+)?)?$")


def shown(value: float, code: str, since_1904: bool = False) -> str:
    """Return a number as a cell of a number format shows it, without the blanks that only align it.

    A number that the format cannot show (#### for a date before 1900) comes as under General, and so does midnight
    after a date: as the date alone. A format that is longer than Excel's may be counts as General.
    """
    from xlfmt import format_value

    if code.strip().lower() in ("", "general", "@", "g/표준") or len(code) > LONGEST_CODE:
        return plain(value)
    code = re.sub(r"^\[\$-F800\].*", "[$-412]" + SYSTEM_DATE, code, flags=re.IGNORECASE | re.DOTALL)
    code = re.sub(r"^\[\$-F400\].*", "[$-412]" + SYSTEM_TIME, code, flags=re.IGNORECASE | re.DOTALL)
    korean = _KOREAN.search(code) is not None
    try:
        spelt = _PIECE.sub(lambda piece: _in_korean(piece[0], value, since_1904, korean), code)
        text = str(format_value(value, spelt, since_1904))
    except (ValueError, OverflowError, ArithmeticError, IndexError, TypeError):
        return plain(value)
    if text and not text.strip("#"):
        return plain(value)
    if korean and re.search("AM/PM", code, re.IGNORECASE):
        text = re.sub(r"\b(AM|PM)\b", lambda half: "오전" if half[0] == "AM" else "오후", text)
    if float(value).is_integer() and "y" in code.lower():
        text = _MIDNIGHT.sub("", text)
    return text.strip()


def plain(value: float) -> str:
    """Return a number as General holds it: with 15 digits at most, and without an exponent where it is no giant."""
    if not -1e21 < value < 1e21 or 0 < abs(value) < 1e-9:
        return f"{value:.15G}"
    text = format(Decimal(f"{value:.15g}"), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _in_korean(piece: str, value: float, since_1904: bool, korean: bool) -> str:
    """Return a piece of a format, with what xlfmt writes in English spelt as Korean Excel shows it."""
    code = piece.lower()
    if code == "g/표준":
        return "General"
    if code.startswith("[$-"):  # a language, and no sign of a currency
        return ""
    if code in ("aaa", "aaaa") or (korean and code in ("ddd", "dddd")):
        return f'"{_weekday(value, since_1904)}{"요일" if len(code) == 4 else ""}"'
    if korean and code in ("mmm", "mmmm"):
        return 'm"월"' if len(code) == 4 else "m"
    return piece


def _weekday(value: float, since_1904: bool) -> str:
    epoch = datetime.date(1904, 1, 1) if since_1904 else datetime.date(1899, 12, 30)
    return WEEKDAYS[(epoch + datetime.timedelta(days=int(value))).weekday()]
