"""Protects: one place writes the head of every notebook, in both editions, and the address of a public copy into all of it."""

import ast
import re
import shutil

import nbformat
import pytest

from dev.editions.code_texts import skeleton
from dev.editions.notebook import build
from dev.editions.text_file import notebook_cells, translate
from kotune.first_cells import (
    BADGES_ID,
    NOTEBOOKS,
    Repository,
    badges_cell,
    fetches,
    fetching_cell,
    repository_of,
    write_heads,
)
from utils import ROOT, CourseError, read_json

KOREAN = sorted(path.stem for path in (ROOT / "ko").glob("*.ipynb"))
EDITIONS = [*((name, "en", ROOT / f"{name}.ipynb") for name in NOTEBOOKS), *((name, "ko", ROOT / "ko" / f"{name}.ipynb") for name in KOREAN)]  # fmt: skip
COPY = Repository("somebody/korean-tuning")


@pytest.fixture
def notebooks(tmp_path):
    """A copy of all notebooks."""
    (tmp_path / "ko").mkdir()
    for _, which, path in EDITIONS:
        shutil.copy(path, tmp_path / ("ko" if which == "ko" else "."))
    return tmp_path


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize(("name", "which", "path"), EDITIONS, ids=lambda value: value if isinstance(value, str) else "")
def test_the_head_of_a_notebook_is_what_is_written_here(name, which, path):
    """Where this fails, `kotune notebooks badges` writes it anew."""
    cells = read(path).cells
    repository = repository_of({cell.id: cell.source for cell in cells})
    place = next(number for number, cell in enumerate(cells) if cell.id == BADGES_ID)
    assert cells[place].source == badges_cell(name, repository, which)
    assert cells[place + 1].source == fetching_cell(repository, which)
    assert place == (2 if which == "ko" else 1)  # behind the title
    assert [cell.id for cell in cells if cell.cell_type == "code" and fetches(cell.source)] == [cells[place + 1].id]


def test_the_cell_is_short_and_the_same_code_in_both_languages():
    english, korean = (fetching_cell(COPY, which) for which in ("en", "ko"))
    assert skeleton(english) == skeleton(korean)
    assert len([line for line in english.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("which", ["en", "ko"])
def test_without_an_address_a_notebook_says_what_to_set_and_has_no_badge(which):
    text = badges_cell("train", None, which)
    assert "](" not in text
    assert "`COURSE_REPOSITORY`" in text
    assert "`kotune notebooks badges --repository" in text.replace("\n", " ")


@pytest.mark.parametrize("which", ["en", "ko"])
def test_badges_open_the_notebook_of_their_edition(which):
    path = {"en": "blob/main/train.ipynb", "ko": "blob/main/ko/train.ipynb"}[which]
    links = re.findall(r"\]\((https://[^)]+)\)", badges_cell("train", COPY, which))
    assert f"https://colab.research.google.com/github/somebody/korean-tuning/{path}" in links
    assert f"https://kaggle.com/kernels/welcome?src=https://github.com/somebody/korean-tuning/{path}" in links
    assert any(re.search(r"/blob/main/colab_guide(\.ko)?\.md$", link) for link in links)


def test_the_command_writes_the_address_everywhere_once_and_leaves_all_else(notebooks):
    before = {path: read(notebooks / path.relative_to(ROOT)) for _, _, path in EDITIONS}
    assert {line.split(": ")[1] for line in write_heads(notebooks, COPY)} == {"new"}
    written = {path: (notebooks / path.relative_to(ROOT)).read_bytes() for _, _, path in EDITIONS}
    assert {line.split(": ")[1] for line in write_heads(notebooks, COPY)} == {"as it was"}
    assert {line.split(": ")[1] for line in write_heads(notebooks)} == {"as it was"}  # keeps the address that it has
    for _, _, path in EDITIONS:
        target = notebooks / path.relative_to(ROOT)
        assert target.read_bytes() == written[path]
        cells = read(target).cells
        assert sum(COPY.address in cell.source for cell in cells) == 2
        others = [cell for cell in cells if cell.id != BADGES_ID and not fetches(cell.source)]
        assert others == [cell for cell in before[path].cells if cell.id != BADGES_ID and not fetches(cell.source)]
        outputs = [(cell.id, cell.outputs, cell.execution_count) for cell in cells if cell.cell_type == "code"]
        assert outputs == [(c.id, c.outputs, c.execution_count) for c in before[path].cells if c.cell_type == "code"]


def test_another_address_takes_the_place_of_the_first(notebooks):
    list(write_heads(notebooks, COPY))
    other = Repository("school/class-3", "spring")
    list(write_heads(notebooks, other))
    text = (notebooks / "train.ipynb").read_text(encoding="utf-8")
    assert "somebody" not in text
    assert "school/class-3/blob/spring/train.ipynb" in text
    assert repository_of({cell.id: cell.source for cell in read(notebooks / "train.ipynb").cells}) == other


def test_the_korean_edition_is_built_as_the_command_writes_it(notebooks):
    list(write_heads(notebooks, COPY))
    done = translate(notebook_cells(notebooks / "basics.ipynb"), ROOT / "ko" / "text" / "basics.md")
    assert done.problems == []
    stored = read_json(notebooks / "ko" / "basics.ipynb")
    assert build(read_json(notebooks / "basics.ipynb"), done, stored).notebook == stored


def test_a_dry_run_writes_nothing(notebooks):
    before = (notebooks / "train.ipynb").read_bytes()
    assert "train.ipynb: new" in " ".join(write_heads(notebooks, COPY, dry_run=True))
    assert (notebooks / "train.ipynb").read_bytes() == before


def test_a_notebook_without_the_cell_is_refused_before_any_is_written(notebooks):
    path = notebooks / "evaluation.ipynb"
    notebook = read(path)
    notebook.cells = [cell for cell in notebook.cells if not fetches(cell.source)]
    nbformat.write(notebook, path)
    before = (notebooks / "basics.ipynb").read_bytes()
    with pytest.raises(CourseError, match=r"evaluation\.ipynb has no cell that reads COURSE_REPOSITORY"):
        list(write_heads(notebooks, COPY))
    assert (notebooks / "basics.ipynb").read_bytes() == before


@pytest.mark.parametrize("text", ["somebody/korean-tuning", "https://github.com/somebody/korean-tuning.git", "https://github.com/somebody/korean-tuning/"])  # fmt: skip
def test_a_repository_is_named_in_any_of_its_forms(text):
    assert Repository.parse(text) == COPY


@pytest.mark.parametrize("text", ["", "somebody", "a/b/c", "https://example.org/a/b", 'a/b"); import os; ("', "a b/c"])
def test_what_names_no_repository_is_refused(text):
    with pytest.raises(CourseError, match="names no repository"):
        Repository.parse(text)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_the_cell_is_python_of_every_version_that_a_host_may_have(version):
    ast.parse(fetching_cell(COPY, "en"), feature_version=version)
