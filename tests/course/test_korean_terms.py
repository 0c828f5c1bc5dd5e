"""Protects: the Korean edition has one word for each thing, in all of its texts (ko/terms.md)."""

import re

import pytest

from utils import ROOT, read_text

TERMS = ROOT / "ko" / "terms.md"
TEXTS = [
    ROOT / "README.ko.md",
    ROOT / "colab_guide.ko.md",
    *((ROOT / "kotune" / "korean" / f"{name}_sentences.yaml") for name in ("error", "finding")),
    *sorted((ROOT / "ko" / "text").glob("*.md")),
    *sorted((ROOT / "kotune" / "exercises" / "texts").glob("*.yaml")),
]


def rows():
    """Return (what is written, its English, the words that are not) of each row of the table."""
    lines = [line for line in read_text(TERMS).splitlines() if line.startswith("|")]
    return [tuple(part.strip() for part in line.strip("|").split("|")) for line in lines[2:]]  # below the head and its rule


UNWANTED = {word.strip(): written for written, _, words in rows() for word in words.split(",") if word.strip()}


def found(text):
    """Return a line `number: word, write ...` for each unwanted word of a text."""
    return [
        f"{number}: {word}, write {UNWANTED[word]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for word in UNWANTED
        if word in line
    ]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_thing_is_called_by_the_word_of_the_table(path):
    """Where this fails, write the word that the line names, or change the table for all texts."""
    assert found(read_text(path)) == []


def test_the_table_is_read_and_does_not_forbid_what_it_asks_for():
    assert len(rows()) >= 30 and all(len(row) == 3 for row in rows())
    assert found("이 과정의 레이어는 파인튜닝하지 않습니다.") != []
    written = [re.sub(r"\(.*?\)", "", row[0]) for row in rows()]
    assert [(word, text) for word in UNWANTED for text in written if word in text] == []
