"""Whether a text keeps to its source: numbers that the source does not have, and quotations that are none.

Cost of import: the standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
QUOTATION = re.compile(r"[“‘\"']([^“”‘’\"']+)[”’\"']")


def unsupported_numbers(text: str, source: str) -> list[str]:
    """Return the numbers of a text that do not stand in its source, in order; 1,000 and 1000 are the same."""
    known = {number.replace(",", "") for number in NUMBER.findall(source)}
    return [number for number in NUMBER.findall(text) if number.replace(",", "") not in known]


def quotations(text: str, source: str, minimum: int = 6) -> list[str]:
    """Return the quoted parts of a text, of at least `minimum` characters, that stand word for word in the source."""
    return [quoted for quoted in QUOTATION.findall(text) if len(quoted) >= minimum and quoted in source]


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a Korean text: up to a final mark, or to the end of its line."""
    for line in text.splitlines():
        for sentence in re.split(r"(?<=[.!?])\s+", line.strip()):
            if sentence:
                yield sentence
