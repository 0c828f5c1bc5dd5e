"""Protects: what a lesson links to is there, a link to code leads to its definition, and each lesson names its sources."""

import json
import re

import pytest

from dev.link_lines import defined_at, line_links, with_right_lines
from utils import ROOT, CourseError, read_text

LESSONS = ["basics", "preprocess", "train", "dpo", "evaluation"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
ARXIV = re.compile(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}$")


def prose(name: str) -> str:
    cells = json.loads(read_text(ROOT / f"{name}.ipynb"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("name", LESSONS)
def test_what_a_lesson_links_to_is_there(name):
    links = [link.partition("#")[0] for link in LINK.findall(prose(name)) if "://" not in link]
    assert [link for link in links if link and not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", LESSONS)
def test_a_link_to_code_leads_to_its_definition(name):
    """Where this fails because code has moved, `python dev/link_lines.py` mends it."""
    links = list(line_links(prose(name)))
    assert len(links) >= 2
    assert [
        (link, defined_at(link.file, link.name)) for link in links if defined_at(link.file, link.name) != link.line
    ] == []
    assert prose(name).count(".py#L") == len(links)  # none is written in another form


@pytest.mark.parametrize("name", LESSONS)
def test_papers_are_linked_by_their_number(name):
    papers = [link for link in LINK.findall(prose(name)) if "arxiv" in link]
    assert len(papers) >= 4
    assert [link for link in papers if not ARXIV.match(link)] == []


def test_the_lessons_have_forty_links_and_more():
    assert sum(len(LINK.findall(prose(name))) for name in LESSONS) >= 40


def test_a_link_to_a_line_that_is_old_is_mended_and_one_to_nothing_is_told():
    right = defined_at("similarity.py", "deduplicate")
    assert with_right_lines("[`deduplicate`](similarity.py#L1)") == f"[`deduplicate`](similarity.py#L{right})"
    with pytest.raises(CourseError, match="defines no remove_duplicates"):
        with_right_lines("[`remove_duplicates`](similarity.py#L1)")
