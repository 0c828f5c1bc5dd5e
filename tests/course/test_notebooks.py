"""Protects: the stored notebooks are one clean run, short of cell, and free of what belongs to one machine."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ["basics.ipynb", "preprocess.ipynb", "train.ipynb", "dpo.ipynb", "evaluation.ipynb"]


@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    return json.loads((ROOT / request.param).read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def test_cells_parse_and_hold_at_most_twenty_five_lines(notebook):
    for cell in code_cells(notebook):
        ast.parse(source(cell))
        lines = [line for line in source(cell).split("\n") if line.strip() and not line.lstrip().startswith("#")]
        imports = sum(line.startswith(("import ", "from ")) for line in lines)
        assert len(lines) - imports <= 25, source(cell)


def test_stored_outputs_are_those_of_one_run_from_top_to_bottom(notebook):
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert not any(o["output_type"] == "error" for cell in code_cells(notebook) for o in cell["outputs"])


def test_outputs_are_small_and_name_no_machine(notebook):
    outputs = json.dumps([cell["outputs"] for cell in code_cells(notebook)], ensure_ascii=False)
    assert len(outputs) < 300_000
    assert not re.search(r"/root/|/home/|/Users/|/tmp/|sk-[A-Za-z0-9]{16}|hf_[A-Za-z0-9]{16}", outputs)
    assert not any(o.get("name") == "stderr" for cell in code_cells(notebook) for o in cell["outputs"])


def test_the_first_code_cell_does_nothing_outside_colab_and_kaggle(notebook, monkeypatch):
    """What it does there: tests/test_hosted.py."""
    first = source(code_cells(notebook)[0])
    assert "COURSE_REPOSITORY" in first
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.setattr(subprocess, "call", lambda *arguments, **settings: pytest.fail("nothing is to be run here"))
    before = os.getcwd(), list(sys.path)
    exec(first, {})
    assert (os.getcwd(), sys.path) == before


def test_what_differs_by_machine_is_followed_by_what_must_hold(notebook):
    cells = [
        cell for cell in code_cells(notebook) if "exercise" not in cell["metadata"].get("tags", [])
    ]  # the same anywhere
    ignored = [i for i, cell in enumerate(cells) if "nbval-ignore-output" in cell["metadata"].get("tags", [])]
    if not ignored:
        return
    asserted = [i for i, cell in enumerate(cells) if re.search(r"^\s*(?:assert |expect\()", source(cell), re.M)]
    assert asserted
    # runs of ignored cells (a figure and its plot) share the assert that closes them
    unguarded = [i for i in ignored if not any(i < j <= i + 6 for j in asserted)]
    last = {len(cells) - k for k in range(1, 5)}
    assert not set(unguarded) - last, [source(cells[i]) for i in unguarded]
