"""Protects: each file of the course is a page of the book under the same name in both languages, and none is lost in silence."""

import pytest

from dev.book.pages import CAPTIONS, CHAPTERS, LANGUAGES, WRITTEN_HERE, chapters, korean, pages
from utils import ROOT


def test_every_page_named_in_the_contents_is_a_file_of_the_repository():
    for sources in CHAPTERS.values():
        assert [source for source in sources if source not in WRITTEN_HERE and not (ROOT / source).is_file()] == []
    assert set(CAPTIONS["en"]) == set(CAPTIONS["ko"]) == set(CHAPTERS)


def test_no_lesson_and_no_page_of_docs_is_left_out():
    listed = {source for sources in chapters(ROOT).values() for source in sources}
    there = {path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.ipynb"), *(ROOT / "docs").glob("*.md")]}
    assert {source for source in there if not source.endswith(".ko.md")} <= listed


def test_a_page_that_nobody_listed_and_a_workshop_come_into_the_contents(tmp_path):
    for name in ("docs/new.md", "docs/new.ko.md", "docs/speed.md", "assets/workshop/day.md", "assets/workshop/day.ko.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# A page\n")
    found = chapters(tmp_path)
    assert found["workshop"] == ("assets/workshop/day.md",) and found["project"] == ("docs/new.md",)
    assert found["behind"] == ("docs/speed.md",)


@pytest.mark.parametrize(
    ("english", "korean_file"),
    [("train.ipynb", "ko/train.ipynb"), ("docs/speed.md", "docs/speed.ko.md"), ("README.md", "README.ko.md")],
)
def test_the_korean_edition_of_a_file(english, korean_file):
    assert korean(english) == korean_file


def test_what_has_no_korean_file_stays_in_the_korean_edition_in_english(tmp_path):
    for name in ("basics.ipynb", "ko/basics.ipynb", "train.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    editions = {language: {page.name: page for page in pages(tmp_path, language)} for language in LANGUAGES}
    assert set(editions["en"]) == set(editions["ko"]) == {"basics", "train"}
    assert (editions["ko"]["basics"].source, editions["ko"]["basics"].language) == ("ko/basics.ipynb", "ko")
    assert (editions["ko"]["train"].source, editions["ko"]["train"].language) == ("train.ipynb", "en")
