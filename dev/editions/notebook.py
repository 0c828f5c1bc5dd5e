"""Build a notebook of the Korean edition: the English cells with their Korean, links that lead into the edition, outputs."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

from dev.editions.outputs import in_korean
from dev.editions.text_file import Translation
from dev.link_lines import with_right_lines
from kotune.notebooks import outputs_digest
from utils import ROOT

START_ID = "edition"
# The edition's own first cell. Jupyter starts a notebook in the folder in which it lies, and the course runs in its root.
START = """\
import os
import sys

os.environ["KOTUNE_LANG"] = "ko"  # 그림, 표, 오류 메시지를 한국어로 보여 준다
if os.path.isdir("../kotune") and not os.path.isdir("kotune"):  # ko 폴더에서 열었으면 과정의 루트로 옮긴다
    os.chdir("..")
    sys.path.insert(0, os.getcwd())"""
_TARGET = re.compile(r"(?<=\]\()(?P<path>[^)\s#]+)(?P<rest>#[^)\s]*)?(?=\))")


@dataclass(frozen=True)
class Built:
    """A notebook of the Korean edition, and the ids of its cells that still show the outputs of the English one."""

    notebook: dict
    to_run: list[str]


def build(english: dict, translation: Translation, stored: dict | None) -> Built:
    """Return the Korean edition of a notebook.

    stored: the edition as it was built and run before. A cell's outputs in there stay where its code is the same, and the
    English outputs are still those that it was run beside; else the English outputs take their place, put into Korean
    where that can be told without a run.
    """
    ran = {cell["id"]: cell for cell in stored["cells"]} if stored else {}
    beside = stored["metadata"].get("english_outputs", {}) if stored else {}
    cells = [_start_cell()]
    to_run = []
    for cell in english["cells"]:
        korean = copy.deepcopy(cell)
        source = translation.sources[cell["id"]]
        if cell["cell_type"] == "markdown":
            korean["source"] = _lines(linked(with_right_lines(source)))
        else:
            korean["source"] = _lines(source)
            earlier = ran.get(cell["id"])
            pairs = translation.pairs.get(cell["id"])  # an exercise has none: what it shows comes from the package
            fresh = earlier is not None and beside.get(cell["id"]) == outputs_digest(cell)
            if cell["outputs"] and fresh and earlier["source"] == korean["source"]:
                korean["outputs"] = copy.deepcopy(earlier["outputs"])
            elif pairs is not None and (outputs := in_korean(cell["outputs"], pairs)) is not None:
                korean["outputs"] = outputs
            elif cell["outputs"]:
                to_run.append(cell["id"])
            _count(korean, cell["execution_count"])
        cells.append(korean)
    metadata = {**english["metadata"], "english_outputs": {name: beside[name] for name in sorted(beside)}}
    if not beside:
        del metadata["english_outputs"]
    return Built({**english, "cells": cells, "metadata": metadata}, to_run)


def linked(text: str) -> str:
    """Return Markdown whose links, written from the root, lead from ko/ into the edition, or to the English file."""

    def moved(match: re.Match) -> str:
        path, rest = match["path"], match["rest"] or ""
        if "://" in path or path.startswith("mailto:"):
            return match[0]
        return _from_ko(path) + rest

    return _TARGET.sub(moved, text)


def _from_ko(path: str) -> str:
    """Return a file of the root as it is reached from ko/: its Korean edition where there is one."""
    if path.endswith(".ipynb") and (ROOT / "ko" / path).exists():
        return path
    korean = path.replace(".en.", ".ko.") if ".en." in path else re.sub(r"\.md$", ".ko.md", path)
    return f"../{korean if (ROOT / korean).exists() else path}"


def _start_cell() -> dict:
    return {
        "cell_type": "code", "execution_count": 1, "id": START_ID, "metadata": {}, "outputs": [], "source": _lines(START),
    }  # fmt: skip


def _count(cell: dict, english: int | None) -> None:
    """Number a code cell: one more than in English, because of the edition's own first cell."""
    count = None if english is None else english + 1
    cell["execution_count"] = count
    for output in cell["outputs"]:
        if "execution_count" in output:
            output["execution_count"] = count


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)
