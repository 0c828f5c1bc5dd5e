"""Protects: each term of the glossary is defined where a learner meets it first, and in no later lesson before that."""

import json
import re

import pytest

from utils import ROOT

LESSONS = ("basics.ipynb", "preprocess.ipynb", "train.ipynb", "dpo.ipynb", "evaluation.ipynb")


def texts():
    """Yield the text cells of the lessons in their order; the opening of the first, which promises the terms, left out."""
    for lesson in LESSONS:
        cells = json.loads((ROOT / lesson).read_text(encoding="utf-8"))["cells"]
        said = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        yield from said[1:] if lesson == LESSONS[0] else said


def glossary():
    """Return (term, Korean, meaning) of each row of the glossary."""
    (table,) = (text for text in texts() if "## Glossary" in text)
    rows = [
        tuple(part.strip() for part in line.strip("| ").split("|")) for line in table.splitlines() if line.startswith("|")
    ]
    return rows[2:]  # below the head and its rule


def test_every_row_has_a_term_its_korean_and_a_meaning():
    rows = glossary()
    assert len(rows) >= 20
    assert len({term for term, _, _ in rows}) == len(rows)
    for term, korean, meaning in rows:
        assert term and re.search("[가-힣]", korean) and len(meaning) > 10, term


@pytest.mark.parametrize("term", [term for term, _, _ in glossary()])
def test_a_term_is_defined_where_it_is_met_first(term):
    word = re.compile(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", re.IGNORECASE)
    first = next(text for text in texts() if word.search(text))
    assert "## Glossary" not in first, "it is listed before it is explained"
    assert re.search(rf"\*\*{re.escape(term)}s?\*\*", first, re.IGNORECASE), first
