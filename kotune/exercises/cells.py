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
    """Return the cells of a lesson in a language: the introduction, then those of each question and of each exercise.

    Of two that stand behind one cell of the lesson, the one that comes first here comes first there.

    Raises:
        CourseError: the lesson's file has not the form.
    """
    found, said = lesson(name), phrases()
    start = f"ex-{name}"
    cells = [
        Cell(f"{start}-introduction", found.imports_after, "markdown", said["introduction"](which)),
        Cell(f"{start}-import", found.imports_after, "code", "from kotune.exercises import check, hint, question\n\nhint()"),
    ]
    # of those at one place the questions come first: they take less
    items: tuple[Exercise | Question, ...] = (*found.questions, *found.exercises)
    for item in items:
        cells += _cells_of_item(item, which)
    return cells


def _cells_of_item(item: Exercise | Question, which: Language) -> Iterator[Cell]:
    code = f'question("{item.id}")' if isinstance(item, Question) else _with_check(item, which)
    yield Cell(f"ex-{item.id}-text", item.after, "markdown", f"**{_head(item, which)}**\n\n{item.text(which)}")
    yield Cell(f"ex-{item.id}", item.after, "code", code)
    if item.then is not None:
        yield Cell(f"ex-{item.id}-then", item.after, "markdown", item.then(which))


def _head(item: Exercise | Question, which: Language) -> str:
    """Return the line above an item: no heading of Markdown, which would take in what follows of the lesson."""
    said = phrases()
    if isinstance(item, Question):
        return said["question"](which).format(id=item.id, title=item.title(which))
    return said["exercise"](which).format(id=item.id, level=said[item.level](which), title=item.title(which))


def _with_check(exercise: Exercise, which: Language) -> str:
    """Return the starter with the check below it, two lines apart where the starter ends in a function."""
    starter = exercise.starter(which)
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
