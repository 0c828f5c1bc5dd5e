"""The exercises and questions as cells of the notebooks: made, and put behind the cells that they belong to.

Cells of exercises carry the tag `exercise` and an id made of the exercise's, so that they are found again: inserted twice,
they stand there once, and a cell whose code has not changed keeps its outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kotune.exercises.catalogue import LESSONS, TEXTS, Exercise, Question, lesson, phrases
from kotune.language import Language
from utils import ROOT, CourseError, read_text, relative, write_atomic

if TYPE_CHECKING:
    from nbformat import NotebookNode

TAG = "exercise"


@dataclass(frozen=True)
class Cell:
    """A cell to insert: its id, the cell behind which it stands, and what it holds."""

    id: str
    after: str
    kind: str  # markdown or code
    source: str


def cells_of(name: str, which: Language) -> list[Cell]:
    """Return the cells of a lesson in a language, in their order: the introduction, then what stands behind each cell.

    Raises:
        CourseError: the lesson's file has not the form.
    """
    found, said = lesson(name), phrases()
    start = f"ex-{name}"
    cells = [
        Cell(f"{start}-introduction", found.imports_after, "markdown", said["introduction"](which)),
        Cell(f"{start}-import", found.imports_after, "code", "from kotune.exercises import check, hint, question\n\nhint()"),
    ]
    for exercise in found.exercises:
        cells += [
            Cell(f"ex-{exercise.id}-text", exercise.after, "markdown", _exercise_text(exercise, which)),
            Cell(f"ex-{exercise.id}", exercise.after, "code", _with_check(exercise)),
        ]
    for question in found.questions:
        cells += [
            Cell(f"ex-{question.id}-text", question.after, "markdown", _question_text(question, which)),
            Cell(f"ex-{question.id}", question.after, "code", f'question("{question.id}")'),
        ]
    return cells


def _exercise_text(exercise: Exercise, which: Language) -> str:
    said = phrases()
    level = said[exercise.level](which)
    head = said["exercise"](which).format(id=exercise.id, level=level, title=exercise.title(which))
    return f"#### {head}\n\n{exercise.text(which)}"


def _question_text(question: Question, which: Language) -> str:
    head = phrases()["question"](which).format(id=question.id, title=question.title(which))
    return f"#### {head}\n\n{question.text(which)}"


def _with_check(exercise: Exercise) -> str:
    """Return the starter with the check below it, two lines apart where the starter ends in a function."""
    starter = exercise.starter.rstrip()
    apart = "\n\n\n" if starter.splitlines()[-1].startswith(" ") else "\n"
    return starter + apart + exercise.check_line


def insert(notebook: NotebookNode, name: str, which: Language) -> list[Cell]:
    """Put a lesson's exercises and questions into its notebook, instead of those that stand there; return them in its order.

    Raises:
        CourseError: the notebook has not the cell behind which one is to stand; nothing was changed then.
    """
    held = {cell.id: cell for cell in notebook.cells if is_exercise(cell)}
    others = [cell for cell in notebook.cells if not is_exercise(cell)]
    wanted = cells_of(name, which)
    _require_places(wanted, {cell.id for cell in others}, name)
    order = [new for cell in others for new in wanted if new.after == cell.id]
    notebook.cells = [
        one for cell in others for one in (cell, *(_made(new, held.get(new.id)) for new in order if new.after == cell.id))
    ]
    return order


def is_exercise(cell: NotebookNode) -> bool:
    """Say whether a cell was put into the notebook by `insert`."""
    return TAG in cell.metadata.get("tags", [])


def _require_places(wanted: list[Cell], there: set[str], name: str) -> None:
    for cell in wanted:
        if cell.after not in there:
            file = relative(TEXTS / f"{name}.yaml")
            raise CourseError(
                f"{file}: {name}.ipynb has no cell {cell.after!r} for {cell.id} to stand behind; name another."
            )
        if cell.id in there:
            raise CourseError(f"{name}.ipynb has a cell {cell.id!r} without the tag {TAG!r}; give it the tag or another id.")


def _made(cell: Cell, held: NotebookNode | None) -> NotebookNode:
    from nbformat.v4 import new_code_cell, new_markdown_cell

    if held is not None and held.cell_type == cell.kind and held.source == cell.source:
        return held
    make = new_markdown_cell if cell.kind == "markdown" else new_code_cell
    return make(cell.source, id=cell.id, metadata={"tags": [TAG]})


def insert_into(folder: Path = ROOT, which: Language = "en", *, dry_run: bool = False) -> Iterator[str]:
    """Put the exercises into the notebooks of a folder; yield a line for each cell: which stands behind which.

    dry_run: nothing is written.

    Raises:
        CourseError: a notebook is missing or is none, or lacks a cell that is named; what came before it is written.
    """
    import nbformat

    for name in LESSONS:
        path = folder / f"{name}.ipynb"
        notebook = _read(path)
        before = nbformat.writes(notebook)
        inserted = insert(notebook, name, which)
        nbformat.validate(notebook)
        yield f"{relative(path)}: {len(inserted)} cells, {'as they were' if nbformat.writes(notebook) == before else 'new'}"
        yield from (f"  behind {cell.after:22} {cell.id:32} {cell.kind:9} {_first_words(cell)}" for cell in inserted)
        if not dry_run:
            write_atomic(path, nbformat.writes(notebook) + "\n")


def _read(path: Path) -> NotebookNode:
    import nbformat

    try:
        return nbformat.reads(read_text(path), as_version=4)
    except (ValueError, KeyError, AttributeError) as error:
        raise CourseError(f"{relative(path)} is not a notebook ({error}); fetch it again.") from None


def _first_words(cell: Cell) -> str:
    return cell.source.splitlines()[0][:60]
