"""Protects: the exercises go into the notebooks once, at their cells, and disturb nothing that stands there."""

import ast
import copy
import itertools
import re
import symtable

import nbformat
import pytest

from dev.editions.code_texts import code_texts
from dev.editions.text_file import is_prose
from kotune import cli
from kotune.exercises import cells
from kotune.exercises.catalogue import LESSONS, lesson
from kotune.notebooks import joined_streams
from tests.course import test_glossary, test_notebooks
from utils import ROOT, CourseError


def notebook_of(name):
    """Return a notebook of the course without its exercises, whether they stand there already or not."""
    notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not cells.is_exercise(cell)]
    return notebook


@pytest.fixture(params=LESSONS)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return notebook_of(name)


def test_inserted_twice_is_once_and_the_rest_is_as_it_was(name, notebook):
    before = copy.deepcopy(notebook)
    cells.insert(notebook, name, "en")
    nbformat.validate(notebook)
    once = nbformat.writes(notebook)
    cells.insert(notebook, name, "en")
    assert nbformat.writes(notebook) == once
    others = [cell for cell in notebook.cells if not cells.is_exercise(cell)]
    assert others == before.cells
    ids = [cell.id for cell in notebook.cells]
    assert len({*ids}) == len(ids)
    items = lesson(name).items
    leading_back = sum(item.then is not None for item in items)
    assert len(notebook.cells) - len(others) == 2 * (1 + len(items)) + leading_back


def test_the_notebook_holds_the_exercises_as_the_catalogue_has_them(name):
    """Where this fails, `kotune notebooks exercises` inserts them anew."""
    stored = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    before = [(cell.id, cell.source) for cell in stored.cells]
    cells.insert(stored, name, "en")
    assert [(cell.id, cell.source) for cell in stored.cells] == before


def test_each_code_cell_follows_a_text_and_no_sentence_leads_back_in_vain(name, notebook):
    cells.insert(notebook, name, "en")
    for before, cell in itertools.pairwise(notebook.cells):
        assert "markdown" in (before.cell_type, cell.cell_type), f"no text between {before.id} and {cell.id}"
        if before.id.endswith("-then"):
            assert cell.cell_type == "code" and not cells.is_exercise(cell), before.id


def test_what_a_notebook_must_hold_holds_with_its_exercises(name, notebook):
    cells.insert(notebook, name, "en")
    for cell in notebook.cells:
        cell.source = [cell.source]  # as the file has it
    test_notebooks.test_cells_parse_and_hold_at_most_twenty_five_lines(notebook)
    test_notebooks.test_what_differs_by_machine_is_followed_by_what_must_hold(notebook)


def test_outputs_of_what_has_not_changed_are_kept(name, notebook):
    cells.insert(notebook, name, "en")
    run = [cell for cell in notebook.cells if cells.is_exercise(cell) and cell.cell_type == "code"]
    for cell in run:
        cell.outputs = [nbformat.v4.new_output("stream", text="said")]
    run[1].source += "\n# changed"
    cells.insert(notebook, name, "en")
    kept = {cell.id: bool(cell.outputs) for cell in notebook.cells if cells.is_exercise(cell) and cell.cell_type == "code"}
    assert [id for id, outputs in kept.items() if not outputs] == [run[1].id]


def test_cells_are_short_parse_and_stand_behind_a_sentence(name):
    made = [cell for cell in cells.cells_of(name, "en") if not cell.id.endswith("-then")]
    assert [cell.kind for cell in made] == ["markdown", "code"] * (len(made) // 2)
    for text, code in zip(made[::2], made[1::2], strict=True):
        assert text.after == code.after and code.id in (text.id.removesuffix("-text"), f"ex-{name}-import")
        ast.parse(code.source)
        assert len([line for line in code.source.splitlines() if line.strip()]) <= 15
        assert max(map(len, code.source.splitlines())) <= 110
        assert not re.search(r"^#", text.source, re.M), "a heading would take in what follows of the lesson"


def test_both_languages_have_the_same_code_but_for_its_comments(name):
    english, korean = (cells.cells_of(name, language) for language in ("en", "ko"))
    assert [(cell.id, cell.after, cell.kind) for cell in english] == [(cell.id, cell.after, cell.kind) for cell in korean]
    for one, other in zip(english, korean, strict=True):
        if one.kind == "markdown":
            assert one.source != other.source
            continue
        assert ast.dump(ast.parse(one.source)) == ast.dump(ast.parse(other.source)), one.id
        (said, said_in_korean) = (
            [text.text for text in code_texts(cell.source) if text.is_comment] for cell in (one, other)
        )
        assert len(said) == len(said_in_korean), one.id
        assert not [text for text in said if is_prose(text) and text in said_in_korean], one.id


def names_in(source, contexts):
    return {
        node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name) and isinstance(node.ctx, contexts)
    } | {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}


def test_no_exercise_takes_a_name_of_the_lesson(name, notebook):
    used = {"check", "hint", "question"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            used |= names_in(cell.source, (ast.Load, ast.Store))
            used |= {
                alias.asname or alias.name
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
    for exercise in lesson(name).exercises:
        tree = ast.parse(exercise.starter("en"))
        given = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        given |= {
            node.id
            for part in tree.body
            if isinstance(part, ast.Assign)
            for node in ast.walk(part)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        assert {*exercise.answers} <= given
        assert not given & used, exercise.id


def test_the_lesson_does_not_take_the_names_check_hint_and_question_for_itself(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            table = symtable.symtable(cell.source, cell.id, "exec")  # of the cell itself, not of the functions in it
            taken = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
            assert not taken & {"check", "hint", "question"}, cell.id


def test_terms_of_the_glossary_are_still_defined_where_they_are_met_first(tmp_path, monkeypatch):
    for lesson_name in LESSONS:
        notebook = notebook_of(lesson_name)
        cells.insert(notebook, lesson_name, "en")
        nbformat.write(notebook, tmp_path / f"{lesson_name}.ipynb")
    monkeypatch.setattr(test_glossary, "ROOT", tmp_path)
    for term, _, _ in test_glossary.glossary():
        test_glossary.test_a_term_is_defined_where_it_is_met_first(term)


def test_the_command_writes_into_a_folder_and_a_dry_run_does_not(tmp_path, capsys):
    for lesson_name in LESSONS:
        nbformat.write(notebook_of(lesson_name), tmp_path / f"{lesson_name}.ipynb")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    cli.run(["notebooks", "exercises", "--folder", str(tmp_path), "--dry-run"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert "behind train-017" in capsys.readouterr().out
    cli.run(["notebooks", "exercises", "--folder", str(tmp_path), "--language", "ko"])
    assert "연습 train-2" in (tmp_path / "train.ipynb").read_text(encoding="utf-8")
    capsys.readouterr()
    cli.run(["notebooks", "exercises", "--folder", str(tmp_path), "--language", "ko"])
    assert capsys.readouterr().out.count("cells, as they were") == len(LESSONS)


def test_a_cell_that_is_gone_is_one_sentence(notebook, name):
    notebook.cells = [cell for cell in notebook.cells if cell.id != lesson(name).exercises[0].after]
    before = copy.deepcopy(notebook)
    with pytest.raises(CourseError, match=rf"texts/{name}.yaml: {name}.ipynb has no cell '"):
        cells.insert(notebook, name, "en")
    assert notebook == before


@pytest.mark.slow
def test_all_starters_run_in_one_kernel_without_an_error(tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("COURSE_OUTPUTS", str(tmp_path))
    made = [cell for lesson_name in LESSONS for cell in cells.cells_of(lesson_name, "en") if cell.kind == "code"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.source, id=cell.id) for cell in made])
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    for cell in notebook.cells:
        outputs = joined_streams(cell.outputs)  # a line may come in two pieces
        assert len(outputs) == 1, (cell.id, outputs)
        if outputs[0].output_type == "stream":
            assert "not done yet" in outputs[0].text or "hint(" in outputs[0].text
        else:
            assert {"text/html", "text/plain"} <= outputs[0].data.keys()
    assert not [*tmp_path.rglob("*.jsonl")]
