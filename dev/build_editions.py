"""Build the Korean edition of the notebooks, ko/NAME.ipynb, from the English ones and ko/text/NAME.md.

    python dev/build_editions.py start NAME                begins ko/text/NAME.md: every cell with its English, but exercises
    python dev/build_editions.py check [ko/text/NAME.md]   says what is wrong with it, or that nothing is
    python dev/build_editions.py build [NAME]              builds it, or all that have a text, and names the cells to be run

How the text is written stands in CONTRIBUTING.md.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dev.editions.code_texts import code_texts
from dev.editions.notebook import Built, build
from dev.editions.text_file import Cell, head_in_korean, is_prose, notebook_cells, translate
from kotune.notebooks import write_notebook
from utils import ROOT, CourseError, read_json, relative, write_atomic

TEXTS = ROOT / "ko" / "text"


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    parser = ArgumentParser(description="Build the Korean edition of the notebooks.")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", help="write ko/text/NAME.md with the English of every cell, to be translated")
    starting.add_argument("name", help="of a notebook, such as train")
    checking = commands.add_parser("check", help="say what is wrong with a text")
    checking.add_argument("texts", nargs="*", type=Path, help="ko/text/NAME.md (default: all)")
    checking.add_argument("--all", action="store_true", help="name the strings and comments of code too that stay English")
    building = commands.add_parser("build", help="write ko/NAME.ipynb, and name the cells that want a run")
    building.add_argument("names", nargs="*", help="of notebooks, such as train (default: all that have a text)")
    chosen = parser.parse_args(arguments)
    try:
        return {"start": start, "check": check, "build": build_all}[chosen.command](chosen)
    except CourseError as error:
        print(f"error: {error}")
        return 1


def start(chosen: Namespace) -> int:
    """Write a text file with the English of each cell, in the form in which the Korean is to stand."""
    name = Path(chosen.name).stem
    target = TEXTS / f"{name}.md"
    if target.exists():
        raise CourseError(f"{relative(target)} is there already; go on with it, or move it away.")
    blocks = [f"<!-- {name}.ipynb 한국어판. 형식: CONTRIBUTING.md -->"]
    cells = notebook_cells(ROOT / f"{name}.ipynb")
    heads = head_in_korean(cells, name)
    own = [cell for cell in cells if not cell.is_exercise and cell.id not in heads]
    blocks += [f"{cell.head}\n{to_translate(cell)}".rstrip() for cell in own]
    write_atomic(target, "\n\n".join(blocks) + "\n")
    print(f"{relative(target)}: {len(blocks) - 1} cells to be translated")
    return 0


def to_translate(cell: Cell) -> str:
    """Return a cell's English in the form of a text file: comments and sentences of code as pairs of equal sides."""
    if cell.kind == "markdown":
        return cell.source
    lines = []
    for text in dict.fromkeys(found.text for found in code_texts(cell.source) if is_prose(found.text)):
        lines += [f"{sign} {line}" for sign in "-+" for line in text.split("\n")]
    return "\n".join(["```diff", *lines, "```"]) if lines else ""


def check(chosen: Namespace) -> int:
    """Print what is wrong with texts; the exit code is 1 where anything is."""
    texts = chosen.texts or sorted(TEXTS.glob("*.md"))
    wrong = 0
    for path in texts:
        cells = notebook_cells(ROOT / f"{path.stem}.ipynb")
        done = translate(cells, path)
        wrong += len(done.problems)
        exercises = sum(cell.is_exercise for cell in cells)
        told = f"{path.name}: all {len(cells) - exercises} cells are translated, and {exercises} of exercises besides"
        print("\n".join(done.problems) or told)
        if chosen.all and done.in_english:
            print("\n".join(["left in English:", *done.in_english]))
    return 1 if wrong else 0


def build_all(chosen: Namespace) -> int:
    """Write the Korean edition of notebooks, and print what is left to be done; 1 where a text is not right yet."""
    names = [Path(name).stem for name in chosen.names] or sorted(path.stem for path in TEXTS.glob("*.md"))
    wrong = 0
    for name in names:
        done = edition(name)
        wrong += isinstance(done, list)
        if isinstance(done, list):
            print("\n".join(done))
            continue
        write_notebook(ROOT / "ko" / f"{name}.ipynb", done.notebook)
        print(f"ko/{name}.ipynb: {len(done.notebook['cells'])} cells")
        if done.to_run:
            print(
                f"  {len(done.to_run)} show the outputs of the English edition ({', '.join(done.to_run)}): "
                f"kotune notebooks store --language ko {name}.ipynb"
            )
    return 1 if wrong else 0


def edition(name: str) -> Built | list[str]:
    """Return the Korean edition of a notebook as it is to be built, or what is wrong with its text."""
    path = ROOT / f"{name}.ipynb"
    translation = translate(notebook_cells(path), TEXTS / f"{name}.md")
    if translation.problems:
        return translation.problems
    stored = ROOT / "ko" / f"{name}.ipynb"
    return build(read_json(path), translation, read_json(stored) if stored.exists() else None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
