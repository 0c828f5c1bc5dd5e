"""A notebook as the book shows it: its links lead somewhere, solutions are folded, widgets are told in a sentence."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Cell = dict[str, Any]
_WORDS = {
    "en": {
        "solution": "A solution",
        "setup": "Set-up",
        "widget": "*Where the notebook runs, something to click appears here.*",
    },
    "ko": {
        "solution": "풀이 예시",
        "setup": "준비",
        "widget": "*노트북을 실행하면 이 자리에 클릭할 수 있는 화면이 나타납니다.*",
    },
}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_HEAD = re.compile(r"^# %% ([\w-]+)\n", re.MULTILINE)
_SETUP = re.compile(r"""["'](?:google\.colab|KOTUNE_LANG)["']""")
_CHECK = re.compile(r"""\bcheck\(\s*["']([\w-]+)["']""")


def read_solutions(folder: Path) -> dict[str, str]:
    """Return the code of each exercise's solution; `# %% NAME` heads it in a file of the folder, which need not be there."""
    solutions = {}
    for path in sorted(folder.glob("*.py")):
        _, *parts = _HEAD.split(path.read_text(encoding="utf-8"))
        solutions |= {name: code.strip() for name, code in zip(parts[::2], parts[1::2], strict=True)}
    return solutions


def shown(
    notebook: Mapping[str, Any], language: str, rewrite: Callable[[str], str], solutions: Mapping[str, str]
) -> dict[str, Any]:
    """Return a notebook as the book shows it; its code and outputs stay as they are stored.

    Its title comes first. The set-up of Colab and of the language is folded, and so are cells tagged `solution`. Behind a
    cell that calls `check("NAME", ...)` comes the solution of that name, folded as well. `rewrite` makes a text's links.
    """
    words = _WORDS[language]
    cells: list[Cell] = []
    for cell in _title_first(notebook["cells"]):
        joined = {**cell, "source": "".join(cell["source"])}
        cells += [_shown_cell(joined, words, rewrite), *_shipped(joined, words, solutions)]
    return {**notebook, "cells": cells}


def _title_first(cells: list[Cell]) -> list[Cell]:
    """Return the cells with a set-up that stands above the title, as in the Korean edition, below it."""
    above = list(
        itertools.takewhile(lambda cell: cell["cell_type"] == "code" and _SETUP.search("".join(cell["source"])), cells)
    )
    return [*cells[len(above) : len(above) + 1], *above, *cells[len(above) + 1 :]]


def _shown_cell(cell: Cell, words: Mapping[str, str], rewrite: Callable[[str], str]) -> Cell:
    is_solution = "solution" in cell["metadata"].get("tags", [])
    if cell["cell_type"] == "markdown":
        text = rewrite(cell["source"])
        return {**cell, "source": _details(words["solution"], text) if is_solution else text}
    if cell["cell_type"] != "code":
        return cell
    cell = {**cell, "outputs": [_without_widget(output, words["widget"]) for output in cell["outputs"]]}
    if is_solution:
        return _folded(cell, words["solution"], "hide-cell")
    return _folded(cell, words["setup"], "hide-input") if _SETUP.search(cell["source"]) else cell


def _details(summary: str, text: str) -> str:
    return f'<details class="solution"><summary>{summary}</summary>\n\n{text}\n\n</details>'


def _folded(cell: Cell, prompt: str, tag: str) -> Cell:
    """Return a code cell with what MyST-NB folds it by."""
    tags = [*cell["metadata"].get("tags", []), tag]
    prompts = {"code_prompt_show": prompt, "code_prompt_hide": prompt}
    return {**cell, "metadata": {**cell["metadata"], "tags": tags, "mystnb": prompts}}


def _without_widget(output: Mapping[str, Any], instead: str) -> Mapping[str, Any]:
    """Return an output; a sentence in the place of a widget, which lives in a running notebook alone."""
    if _WIDGET not in output.get("data", {}):
        return output
    return {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": instead, "text/plain": instead}}


def _shipped(cell: Cell, words: Mapping[str, str], solutions: Mapping[str, str]) -> Iterator[Cell]:
    """Yield the shipped solution of each exercise that a cell checks."""
    names = _CHECK.findall(cell["source"]) if cell["cell_type"] == "code" else []
    for name in names:
        if name in solutions:
            text = _details(words["solution"], f"```python\n{solutions[name]}\n```")
            yield {"cell_type": "markdown", "id": f"solution-{name}", "metadata": {}, "source": text}
