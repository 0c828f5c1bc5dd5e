"""The words of the figures in both languages, and where the figures stand in the lessons, out of `texts.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from kotune.language import LANGUAGES
from utils import read_text


class Words:
    """The words of one figure in one language, by name; remembers which were used."""

    def __init__(self, figure: str, language: str):
        """Take the figure's words out of the table."""
        self.language = language
        self._entry = table()[figure]
        self.used: set[str] = set()

    def __call__(self, name: str, **values: object) -> str:
        """Return a line, with values put in where it has their names in braces."""
        self.used.add(name)
        return self._entry["words"][name][self.language].format(**values)

    def lines(self, name: str, **values: object) -> list[str]:
        """Return the lines of a longer text."""
        return [line.strip() for line in self(name, **values).strip().split("\n")]

    @property
    def title(self) -> str:
        """What stands at the head of the figure."""
        return self._entry["title"][self.language]

    @property
    def description(self) -> str:
        """What the figure shows, for those who do not see it."""
        return " ".join(self._entry["description"][self.language].split())


@cache
def table() -> dict[str, dict]:
    """Return the table of all figures."""
    return yaml.safe_load(read_text(Path(__file__).parent / "texts.yaml"))


def of(figure: str, language: str) -> Words:
    """Return a figure's words."""
    return Words(figure, language)


def places() -> str:
    """Return the table of places: for each figure the text in its stead, and the cells at which it stands."""
    head = (
        "# Written by dev/draw_figures.py. `cell` is the markdown cell that takes the figure, behind its paragraph number\n"
        "# `paragraph` (blocks between empty lines, from 1) or, with null, at its end, before the code cell `before`.\n"
    )
    rows = [
        {
            "figure": name,
            "alt": {language: entry["alt"][language] for language in LANGUAGES},
            "files": {language: f"assets/figures/{name}.{language}.svg" for language in LANGUAGES},
            "places": entry["places"],
        }
        for name, entry in table().items()
    ]
    return head + yaml.safe_dump(rows, allow_unicode=True, sort_keys=False, width=120)
