"""The glossary: the table in `basics.ipynb`, as a page of the book and as what finds its terms in a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HANGUL = re.compile("[가-힣]")
_NO_TERMS = ("ranks",)  # the verb
_HEADS = {"en": "Glossary", "ko": "용어집"}
_OPENINGS = {
    "en": "Each term is explained in the lessons where it is met first. On every page, its meaning appears when the pointer"
    " rests on a term with a dotted line.",
    "ko": "각 용어는 강의에서 처음 나올 때 설명합니다. 어느 페이지에서든 점선이 그어진 용어에 마우스를 올리면 뜻이"
    " 나타납니다.",
}


@dataclass(frozen=True)
class Term:
    """A row of the glossary: the English term, the Korean one, and what it is, in the edition's language."""

    english: str
    korean: str
    meaning: str

    def named(self, language: str) -> str:
        """Return the term as the edition names it."""
        return self.korean if language == "ko" else self.english

    def other(self, language: str) -> str:
        """Return the term in the other language."""
        return self.english if language == "ko" else self.korean


def read(notebook: Path) -> list[Term]:
    """Return the rows of the only table whose cell has a heading on the glossary; either language may stand first.

    Raises:
        ValueError: no text cell of the notebook has such a table.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    for text in texts:
        _, heading, table = text.partition("## Glossary") if "## Glossary" in text else text.partition("## 용어")
        rows = [
            tuple(part.strip() for part in line.strip().strip("|").split("|"))
            for line in table.splitlines()
            if line.startswith("|")
        ]
        if heading and len(rows) > 2:
            return [_term(row) for row in rows[2:]]  # below the head and its rule
    raise ValueError(f"{notebook.name} has no table below a heading 'Glossary' or '용어'; put it back")


def _term(row: tuple[str, ...]) -> Term:
    first, second, meaning = row
    return Term(second, first, meaning) if HANGUL.search(first) else Term(first, second, meaning)


def page(terms: Sequence[Term], language: str) -> str:
    """Return the page of the glossary as MyST Markdown, in the order of the table."""
    entries = "\n\n".join(f"{term.named(language)}\n  {term.other(language)}: {term.meaning}" for term in terms)
    return f"# {_HEADS[language]}\n\n{_OPENINGS[language]}\n\n```{{glossary}}\n{entries}\n```\n"


def pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Return what finds a term in running text: an English one with its plural, a Korean one in front of any particle.

    The group `term` is the name as given, whatever its case; `shown` is what of the text belongs to it.
    """
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    others = "|".join(_NO_TERMS)
    shown = rf"(?P<shown>(?P<term>{either})(?:(?<=[a-z])s)?)"
    return re.compile(rf"(?<![\w-])(?!(?:{others})\b){shown}(?![A-Za-z0-9_-])", re.IGNORECASE)
