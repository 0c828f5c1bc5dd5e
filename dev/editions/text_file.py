"""Read `ko/text/NAME.md`, in which a notebook's Korean stands cell by cell, and say what is wrong with it.

A cell begins with a comment of its own line, `<!-- cell 8ba78b4e · of 1a2b3c4d5e6f -->`: the id of the English cell, and the
first 12 digits of the SHA-256 of the text that was translated. Below it stands the Korean text of a markdown cell; of a
code cell, a block ```diff with the comments and strings that change, the English behind `-` and the Korean behind `+`.
Exercises stand in no text file: their cells come in both languages from `kotune/exercises/texts/`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.editions.code_texts import Pair, code_texts, skeleton, translated
from kotune import first_cells
from kotune.exercises.catalogue import TEXTS
from kotune.exercises.cells import TAG, cells_of
from utils import CourseError, read_json, read_text, relative

_HEAD = re.compile(r"<!-- cell (?P<id>[\w-]+) · of (?P<digest>[0-9a-f]{12}) -->\s*$")
_LIKE_A_HEAD = re.compile(r"\s*<!--\s*cell\b")
_LINE_OF_CODE = re.compile(r"(\.py#L)\d+")  # it moves with the code, and is set anew where the edition is built
_PAIR_LINE = re.compile(r"(?P<sign>[-+])(?P<occurrence>\d*)(?: (?P<text>.*))?$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HANGUL = re.compile(r"[가-힣]")
_ENGLISH_WORDS = re.compile(r"[A-Za-z]{2,} [A-Za-z]{2,}")


@dataclass(frozen=True)
class Cell:
    """A cell of the English notebook."""

    id: str
    kind: str  # markdown, code
    source: str
    is_exercise: bool = False  # put in by `kotune notebooks exercises`

    @property
    def digest(self) -> str:
        """Return the 12 digits by which a translation names the text that it is of."""
        return hashlib.sha256(_LINE_OF_CODE.sub(r"\1", self.source).encode()).hexdigest()[:12]

    @property
    def head(self) -> str:
        """Return the line with which the cell's translation begins."""
        return f"<!-- cell {self.id} · of {self.digest} -->"


@dataclass(frozen=True)
class CellText:
    """A cell of the Korean text file: its body as written, and the line of the file at which its comment stands."""

    id: str
    digest: str
    line: int
    body: str


@dataclass
class Translation:
    """What a text file makes of a notebook: the Korean source of each cell by its id, and what is wrong, a line each."""

    sources: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, list[Pair]] = field(default_factory=dict)  # of the code cells, but for exercises
    problems: list[str] = field(default_factory=list)
    in_english: list[str] = field(default_factory=list)  # texts of code cells that were left: no fault, but to be looked at


def notebook_cells(path: Path) -> list[Cell]:
    """Return the cells of a notebook."""
    return [
        Cell(cell["id"], cell["cell_type"], "".join(cell["source"]), TAG in cell["metadata"].get("tags", []))
        for cell in read_json(path)["cells"]
    ]


def cell_texts(path: Path) -> list[CellText]:
    """Return the cells of a text file in its order; what stands above the first is for the translator.

    Raises:
        CourseError: a cell's comment is not written as it has to be.
    """
    found: list[CellText] = []
    body: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        head = _HEAD.match(line)
        if not head and _LIKE_A_HEAD.match(line):
            raise CourseError(
                f"{path.name}, line {number}: a cell begins as in <!-- cell 8ba78b4e · of 1a2b3c4d5e6f -->; write it so, "
                "with 12 digits of 0-9 and a-f."
            )
        if head:
            body = []
            found.append(CellText(head["id"], head["digest"], number, ""))
        elif found:
            body.append(line)
            last = found[-1]
            found[-1] = CellText(last.id, last.digest, last.line, "\n".join(body).strip("\n"))
    return found


def pairs_of(text: CellText) -> list[Pair]:
    """Return the pairs of a code cell's text.

    Raises:
        CourseError: something stands there that is no pair.
    """
    lines = [(number, line) for number, line in enumerate(text.body.splitlines(), start=text.line + 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    if not lines:
        return []
    if len(lines) < 2 or lines[0][1].strip() != "```diff" or lines[-1][1].strip() != "```":
        raise CourseError(
            f"line {text.line}: a code cell has one block ```diff of pairs, or nothing; put its pairs into one."
        )
    return list(_pairs(lines[1:-1]))


def _pairs(lines: Sequence[tuple[int, str]]) -> Iterator[Pair]:
    english: list[str] = []
    korean: list[str] = []
    first, occurrence = 0, None
    for number, line in [*lines, (0, "- ")]:
        match = _PAIR_LINE.match(line)
        if not match or (match["sign"] == "+" and not english):
            raise CourseError(f"line {number}: a pair is a line '- English' and a line '+ Korean'; write it so.")
        if match["sign"] == "+":
            korean.append(match["text"] or "")
            continue
        if korean:
            yield Pair("\n".join(english), "\n".join(korean), occurrence, first)
            english, korean = [], []
        elif english and number == 0:
            raise CourseError(f"line {first}: {english[0]} has no line '+ Korean' below it; add it.")
        if not english:
            first, occurrence = number, int(match["occurrence"]) if match["occurrence"] else None
        english.append(match["text"] or "")


def translate(cells: Sequence[Cell], path: Path) -> Translation:
    """Hold a text file to its notebook's cells: the Korean sources, and every problem that keeps them from being right."""
    done = Translation()
    texts = cell_texts(path)
    by_id = {text.id: text for text in texts}
    heads = head_in_korean(cells, path.stem)
    own = [cell for cell in cells if not cell.is_exercise and cell.id not in heads]
    exercises = {cell.id: cell for cell in cells if cell.is_exercise}
    known = [cell.id for cell in own]
    say = done.problems.append
    for text in texts:
        if text.id in heads:
            say(
                f"{path.name}, line {text.line}: cell {text.id} is written in both languages by kotune/first_cells.py; take "
                "its text out of here."
            )
        elif text.id in exercises:
            say(
                f"{path.name}, line {text.line}: cell {text.id} is an exercise, whose Korean stands in "
                f"{relative(TEXTS / f'{path.stem}.yaml')}; take its text out of here."
            )
        elif text.id not in known:
            say(f"{path.name}, line {text.line}: the notebook has no cell {text.id}; take its text out, or mend the id.")
        elif by_id[text.id] is not text:
            say(f"{path.name}, line {text.line}: cell {text.id} stands here twice; keep one.")
    order = [text.id for text in texts if text.id in known]
    wanted = sorted(order, key=known.index)
    if misplaced := next((one for one, other in zip(order, wanted, strict=True) if one != other), None):
        say(f"{path.name}, line {by_id[misplaced].line}: cell {misplaced} is out of the notebook's order; move it.")
    for cell in own:
        if cell.id not in by_id:
            say(f"{path.name}: cell {cell.id} has no translation; put {cell.head} and its Korean there.")
            continue
        text = by_id[cell.id]
        if text.digest != cell.digest:
            say(
                f"{path.name}, line {text.line}: cell {cell.id} has changed since it was translated; read it again, and "
                f"write {cell.head} when the Korean says the same."
            )
        try:
            _translate_cell(cell, text, done)
        except CourseError as error:
            say(f"{path.name}, cell {cell.id}, {error}")
    done.sources |= heads
    if exercises:
        _take_exercises(exercises, path.stem, done)
    return done


def head_in_korean(cells: Sequence[Cell], name: str) -> dict[str, str]:
    """Return the Korean of the cells at a notebook's head, by their ids: the package writes them in both languages."""
    repository = first_cells.repository_of({cell.id: cell.source for cell in cells})
    texts = {cell.id: first_cells.in_korean(name, cell.id, cell.source, repository) for cell in cells}
    return {identity: text for identity, text in texts.items() if text is not None}


def _take_exercises(exercises: Mapping[str, Cell], name: str, done: Translation) -> None:
    """Give each exercise its Korean, from where its English comes from; an English cell that is another now is a problem."""
    english, korean = ({made.id: made.source for made in cells_of(name, language)} for language in ("en", "ko"))
    for cell in exercises.values():
        if cell.source != english.get(cell.id):
            done.problems.append(
                f"{name}.ipynb: cell {cell.id} is not as {relative(TEXTS / f'{name}.yaml')} has it; run `kotune notebooks "
                "exercises`."
            )
        else:
            done.sources[cell.id] = korean[cell.id]


def _translate_cell(cell: Cell, text: CellText, done: Translation) -> None:
    if cell.kind == "markdown":
        _require_translated(cell, text)
        done.sources[cell.id] = text.body
        return
    pairs = pairs_of(text)
    if same := next((pair for pair in pairs if pair.english == pair.korean), None):
        raise CourseError(f"line {same.line}: {same.english} is as in English; translate it, or take the pair out.")
    code = translated(cell.source, pairs)
    try:
        differs = skeleton(code) != skeleton(cell.source)
    except SyntaxError as error:
        raise CourseError(f"line {text.line}: with its pairs the code can no longer be read ({error}); mend them.") from None
    if differs:
        raise CourseError(f"line {text.line}: with its pairs the code is another; let them change words alone.")
    done.sources[cell.id], done.pairs[cell.id] = code, pairs
    named = {pair.english for pair in pairs}
    done.in_english += [
        f"{cell.id}: {found.text}" for found in code_texts(cell.source) if found.text not in named and is_prose(found.text)
    ]


def is_prose(text: str) -> bool:
    """Say whether a comment or string of code reads as English, so that a learner may want it translated."""
    return bool(_ENGLISH_WORDS.search(text))


def _require_translated(cell: Cell, text: CellText) -> None:
    if not text.body.strip():
        raise CourseError(f"line {text.line}: it has no Korean text; write it below the comment.")
    if is_prose(cell.source) and (text.body == cell.source.strip("\n") or not _HANGUL.search(text.body)):
        raise CourseError(f"line {text.line}: its text is still the English one; translate it.")
    kept, given = (
        sorted(_LINE_OF_CODE.sub(r"\1", link).replace(".ko.", ".en.") for link in _LINK.findall(source))
        for source in (cell.source, text.body)
    )
    if lost := [link for link in kept if link not in given]:
        raise CourseError(f"line {text.line}: the link to {lost[0]} of the English text is missing; put it in.")
    if new := [link for link in given if link not in kept]:
        raise CourseError(f"line {text.line}: the English text has no link to {new[0]}; take it out, or put it there too.")
