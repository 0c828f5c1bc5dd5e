"""Spans of a text underlined, for a notebook: what is wrong with an answer, and where."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

STYLE = "text-decoration: underline wavy #c53030; text-underline-offset: 3px"


def underlined(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """Return HTML of a text with spans underlined; each is (start, end, why), and why is shown at the pointer.

    Where spans overlap, the later ones begin where the one before them ends. A span without characters is left out.
    """
    parts, place = [], 0
    for first, end, why in sorted(spans):
        start = max(first, place)
        if min(end, len(text)) <= start:
            continue
        parts += [escape(text[place:start]), f'<span style="{STYLE}" title="{escape(why)}">{escape(text[start:end])}</span>']
        place = end
    return f'<div style="white-space: pre-wrap">{"".join(parts)}{escape(text[place:])}</div>'
