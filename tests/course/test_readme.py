"""Protects: both editions of the README name files that exist, and have the same commands, links, code and figures."""

import re
from collections import Counter

import pytest

from utils import ROOT, read_text

ENGLISH, KOREAN = "README.md", "README.ko.md"
FENCED = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)]+)\)")


def split(name: str) -> tuple[list[str], str]:
    """Return the fenced blocks of an edition, and the text around them without its link to the other edition."""
    text = read_text(ROOT / name)
    prose = re.sub(r"^\[[^\]]+\]\(README[.\w]*\.md\)$", "", FENCED.sub("", text), flags=re.M)
    return FENCED.findall(text), prose


def code(prose: str) -> Counter:
    return Counter(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))


def figures(prose: str) -> set[str]:
    """Return the figures with a point or a comma in them, and those of three digits and more: no words in any language."""
    numbers = re.findall(r"\d[\d.,]*\d", re.sub(r"`[^`]+`|\]\([^)]+\)", "", prose))
    return {number for number in numbers if re.search(r"[.,]|\d{3}", number)}


def test_both_editions_have_the_same_blocks_links_and_code():
    (blocks, prose), (korean_blocks, korean_prose) = split(ENGLISH), split(KOREAN)
    assert korean_blocks == blocks
    assert Counter(LINK.findall(korean_prose)) == Counter(LINK.findall(prose))
    assert code(korean_prose) == code(prose)


def test_both_editions_have_the_same_figures_and_tables():
    (_, prose), (_, korean_prose) = split(ENGLISH), split(KOREAN)
    assert figures(korean_prose) == figures(prose)
    columns = [[line.count("|") for line in text.splitlines() if line.startswith("|")] for text in (prose, korean_prose)]
    assert columns[0] == columns[1]


@pytest.mark.parametrize("name", [ENGLISH, KOREAN])
def test_what_a_readme_links_to_and_each_module_it_lists_is_there(name):
    text = read_text(ROOT / name)
    assert all((ROOT / link).exists() for link in LINK.findall(text) if "://" not in link)
    listed = {module for line in text.splitlines() if line.startswith("| `") for module in re.findall(r"`(\w+)\.py`", line)}
    assert listed == {path.stem for path in ROOT.glob("*.py")} - {"conftest"}
