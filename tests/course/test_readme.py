"""Protects: the READMEs say the same in two languages; what they and the pages in docs/ link to or call is there."""

import re
import shlex
from collections import Counter

import pytest

from kotune.cli import COMMANDS, parse
from utils import ROOT, read_text

ENGLISH, KOREAN = "README.md", "README.ko.md"
FENCED = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)]+)\)")
# a command in a block or between backticks: its name, and the word that follows where it is no flag or file
CALL = re.compile(r"(?:^|[`!/]|-m )kotune ([a-z]+)(?: ([a-z]+)(?=[ `\n]))?", re.M)
GUIDES = ("colab_guide.md", "colab_guide.ko.md")
PAGES = [ROOT / name for name in (ENGLISH, KOREAN, "CONTRIBUTING.md", *GUIDES, "data/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "assets" / "workshop").glob("*.md"))


def split(name: str) -> tuple[list[str], str]:
    """Return the fenced blocks of an edition, and the text around them without its link to the other edition."""
    text = read_text(ROOT / name)
    prose = re.sub(r"^\[[^\]]+\]\(README[.\w]*\.md\)$|^<!-- .* -->$", "", FENCED.sub("", text), flags=re.M)
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
    # each edition shows its own drawing of a figure, and a link to a notebook or a guide may lead to its Korean edition
    links = Counter(
        re.sub(r"^ko/(\w+\.ipynb)$", r"\1", link.replace(".ko.svg", ".en.svg").replace(".ko.md", ".md"))
        for link in LINK.findall(korean_prose)
    )
    assert links == Counter(LINK.findall(prose))
    assert code(korean_prose) == code(prose)


def test_both_editions_have_the_same_figures_and_tables():
    (_, prose), (_, korean_prose) = split(ENGLISH), split(KOREAN)
    assert figures(korean_prose) == figures(prose)
    columns = [[line.count("|") for line in text.splitlines() if line.startswith("|")] for text in (prose, korean_prose)]
    assert columns[0] == columns[1]


def test_both_guides_to_colab_have_the_same_sections_links_tables_and_figures():
    (blocks, prose), (korean_blocks, korean_prose) = map(split, GUIDES)
    assert [block.splitlines()[0] for block in korean_blocks] == [block.splitlines()[0] for block in blocks]
    assert Counter(link.replace(".ko.md", ".md") for link in LINK.findall(korean_prose)) == Counter(LINK.findall(prose))
    assert figures(korean_prose) == figures(prose)
    for line_starts in ("#", "|"):
        lines = [[line for line in text.splitlines() if line.startswith(line_starts)] for text in (prose, korean_prose)]
        assert [line.count("|") for line in lines[0]] == [line.count("|") for line in lines[1]]


@pytest.mark.parametrize("name", [ENGLISH, KOREAN])
def test_a_readme_is_short(name):
    assert len(read_text(ROOT / name).splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page):
    links = [link for link in LINK.findall(read_text(page)) if "://" not in link]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_is_one(page):
    unknown = []
    for command, following in CALL.findall(read_text(page)):
        if command not in COMMANDS or (
            COMMANDS[command].subcommands and following not in ("", *COMMANDS[command].subcommands)
        ):
            unknown.append(f"{command} {following}")
    assert unknown == []


def test_the_page_of_commands_names_every_command():
    named = set(CALL.findall(read_text(ROOT / "docs" / "commands.md")))
    assert {command for command, _ in named} >= set(COMMANDS)
    for command, what in COMMANDS.items():
        assert {following for name, following in named if name == command} >= set(what.subcommands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_of_a_page_is_one_that_kotune_takes(page):
    lines = [line for block in FENCED.findall(read_text(page)) for line in block.splitlines() if CALL.search(line)]
    for line in lines:
        if "..." not in line:
            words = shlex.split(line.replace("!kotune", "kotune"), comments=True)
            parse(words[words.index("kotune") + 1 :])  # argparse ends the process over an option that is none
