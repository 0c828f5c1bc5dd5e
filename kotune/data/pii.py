"""Personal data in Korean text, found by its form: resident numbers, phones, e-mails, accounts and cards.

A scan by form finds what is written in the usual way, and now and then a number that only looks so. It is a net for
mistakes, no proof that a text holds no personal data: names and addresses are not looked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import write_jsonl

# (?<!...) and (?!...): not within a longer number
_PATTERNS = {
    # 생년월일 6 digits, then 1 to 8 for century, sex and citizenship (주민등록번호, 외국인등록번호)
    "resident number": r"(?<!\d)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\s?-\s?)?[1-8]\d{6}(?!\d)",
    "e-mail": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
    "card number": r"(?<![\d-])\d{4}[- ]\d{4}[- ]\d{4}[- ]\d{4}(?![\d-])",
    "mobile phone": r"(?<![\d-])(?:\+82[- ]?0?|0)1[016789][-. ]?\d{3,4}[-. ]?\d{4}(?![\d-])",
    "phone": r"(?<![\d-])0(?:2|[3-6][1-5]|70|50\d)[-. )]?\s?\d{3,4}[-. ]?\d{4}(?![\d-])",
    # account numbers have no form of their own: digits in groups, near a word that says what they are
    "account number": (
        r"(?:은행|계좌|뱅크|농협|수협|신협|새마을금고)[^\d\n]{0,15}(\d{2,6}(?:-\d{2,8}){1,3}|\d{10,14})(?![\d-])"
    ),
}
PATTERNS = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}


@dataclass(frozen=True)
class Finding:
    """One find: its kind, where it stands in the text, and the text with all but its ends covered."""

    kind: str
    start: int
    end: int
    covered: str


def find(text: str) -> list[Finding]:
    """Return what looks like personal data in a text, in order, each place counted once."""
    found: list[Finding] = []
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            start, end = match.span(match.lastindex or 0)
            if all(end <= other.start or start >= other.end for other in found):
                found.append(Finding(kind, start, end, _covered(text[start:end])))
    return sorted(found, key=lambda finding: finding.start)


def _covered(value: str) -> str:
    return value[:2] + re.sub(r"[^\W_]", "*", value[2:-2]) + value[-2:]


def redact(text: str) -> str:
    """Return a text with each find replaced by its kind in brackets."""
    for finding in reversed(find(text)):
        text = f"{text[: finding.start]}[{finding.kind}]{text[finding.end :]}"
    return text


def scan(rows: Sequence[dict], fields: Iterable[str]) -> list[dict]:
    """Return a row a find: {"row", "field", "kind", "covered"}; `row` counts from 1."""
    return [
        {"row": number, "field": field, "kind": finding.kind, "covered": finding.covered}
        for number, row in enumerate(rows, start=1)
        for field in fields
        for finding in find(str(row.get(field) or ""))
    ]


def count(findings: Sequence[dict]) -> dict[str, int]:
    """Return how many finds of each kind there are, kinds without any included."""
    counts = Counter(finding["kind"] for finding in findings)
    return {kind: counts[kind] for kind in PATTERNS}


def text_fields(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (field, text) for every text in a row, those in lists and objects as `messages[0].content`."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from text_fields(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from text_fields(inner, f"{name}[{place}]")


def scan_rows(rows: Iterable[dict]) -> Iterator[dict]:
    """Yield a line a find in all texts of rows: `row` from 1, `field`, `kind`, and `start` and `end` in the field's text."""
    for number, row in enumerate(rows, start=1):
        for field, text in text_fields(row):
            for finding in find(text):
                yield {"row": number, "field": field, "kind": finding.kind, "start": finding.start, "end": finding.end}


def scan_file(name_or_path: str | Path, out: str | Path | None = None) -> dict[str, int]:
    """Scan every text of a data set for personal data; return the finds of each kind, and write a line a find to `out`.

    The lines name places and hold no personal data themselves.

    Raises:
        CourseError: the data set cannot be read, or the output is the input.
    """
    from kotune.data import registry

    if out is not None:
        registry.require_other_file(name_or_path, out)
    lines = list(scan_rows(row.value for row in registry.read(name_or_path)))
    if out is not None:
        write_jsonl(out, lines)
    return count(lines)
