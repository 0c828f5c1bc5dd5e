"""Pages of HTML out of templates: every text that is put in is escaped, and a value that is missing is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils import write_atomic


def render(template: Path, filters: Mapping[str, Any] | None = None, **values: object) -> str:
    """Return a template as one page of HTML, with values by their names and filters of its own."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters or {}
    return environment.from_string(template.read_text(encoding="utf-8")).render(values)


def write_page(path: str | Path, html: str) -> Path:
    """Write a page to a file."""
    return write_atomic(path, html.encode(errors="replace").decode())  # half of an emoji is no UTF-8
