"""Protects: each page of docs/ has a Korean one that says the same, and is told when its English text has changed since."""

import re
from collections import Counter
from hashlib import sha256

import pytest

from utils import ROOT, read_text

DOCS = ROOT / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md") if not path.name.endswith(".ko.md"))
FENCED = re.compile(r"^(?P<mark>```|~~~).*?^(?P=mark)", re.M | re.S)
OTHERS = [ROOT / "README.md", ROOT / "colab_guide.md", *sorted((ROOT / "assets" / "workshop").glob("*[a-z].md"))]
TRANSLATED = [DOCS / f"{page}.md" for page in PAGES] + [page for page in OTHERS if not page.name.endswith(".ko.md")]
HEAD = re.compile(r"\A<!-- of (?P<digest>[0-9a-f]{12}) -->\n")
IN_WORDS = {" million": 1_000_000, "만": 10_000}
LINK = re.compile(r"\]\(([^)#\s]*)(?:#[^)]*)?\)")


def both(page: str) -> tuple[str, str]:
    return read_text(DOCS / f"{page}.md"), read_text(DOCS / f"{page}.ko.md")


def prose(text: str) -> str:
    """Return a page without its blocks and without the line that says of which English text it is."""
    return FENCED.sub("", HEAD.sub("", text))


def shape(text: str) -> dict:
    """Return how many headings of each level, rows of tables with their columns, items of lists and blocks a page has."""
    lines = prose(text).splitlines()
    return {
        "headings": Counter(found[1] for line in lines if (found := re.match(r"(#+) ", line))),
        "columns": [len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")],
        "items": sum(bool(re.match(r"\s*(?:[-*]|\d+\.) ", line)) for line in lines),
        "blocks": [found[0].splitlines()[0] for found in FENCED.finditer(text)],
    }


def targets(text: str) -> Counter:
    """Return what a page links to, each Korean page under the name of the English one."""
    links = (re.sub(r"(?:^|(?<=/))ko/(?=\w+\.ipynb)", "", link) for link in LINK.findall(prose(text)))
    return Counter(link.replace(".ko.", ".").replace(".en.", ".") for link in links if link)


def figures(text: str) -> set[str]:
    """Return the figures with a point or a comma in them, and those of three digits and more: no words in any language."""
    text = re.sub(r"`[^`]+`|\]\([^)]+\)", "", prose(text))
    text = re.sub(r"([\d.]+)( million|만)", lambda match: f"{float(match[1]) * IN_WORDS[match[2]]:,.0f}", text)
    numbers = re.findall(r"\d[\d.,]*\d", text)
    return {number for number in numbers if re.search(r"[.,]|\d{3}", number)}


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_korean_page_is_of_the_present_english_text(page):
    head = HEAD.match(read_text(page.with_suffix(".ko.md")))
    digest = sha256(read_text(page).encode()).hexdigest()[:12]
    assert head and head["digest"] == digest, f"read {page.name} again; when the Korean says the same, write {digest}"


@pytest.mark.parametrize("page", PAGES)
def test_each_edition_of_a_page_leads_to_the_other(page):
    english, korean = both(page)
    assert re.match(rf"# .+\n\n\[한국어\]\({page}\.ko\.md\)\n\n", english)
    assert re.match(rf"<!-- .+ -->\n# .+\n\n\[English\]\({page}\.md\)\n\n", korean)


@pytest.mark.parametrize("page", PAGES)
def test_both_editions_of_a_page_have_the_same_parts_links_and_figures(page):
    english, korean = both(page)
    assert shape(korean) == shape(english)
    assert targets(korean) == targets(english)
    assert figures(korean) == figures(english)


def test_a_page_that_differs_is_told():
    page = "# A\n\n- 1.5 of `x`\n\n| a | b |\n|---|---|\n\n[b](b.md)\n"
    assert shape(page) != shape(page + "\n## B\n") and shape(page) != shape(page.replace("| b |", "|"))
    assert figures(page) != figures(page.replace("1.5", "1.6"))
    assert targets(page) == targets(page.replace("b.md", "b.ko.md")) != targets(page.replace("b.md", "c.md"))
