"""Protects: the three modules at the top stand alone, and an import is light and changes nothing.

Which folder may import which is a contract in pyproject.toml, which `lint-imports` checks in `make lint`.
"""

import ast
import json
import subprocess
import sys

import pytest

from utils import ROOT

FOLDERS = sorted(path.parent.name for path in (ROOT / "kotune").glob("*/__init__.py"))
# subclasses of torch's and fastapi's own classes: these cannot be defined without them
HEAVY = {
    "kotune.training.losses", "kotune.training.trainers", "kotune.models.rounds", "kotune.serving.engine", "kotune.serving.app",
}  # fmt: skip
LIBRARIES = (
    "torch", "transformers", "trl", "peft", "datasets", "openai", "kiwipiepy", "matplotlib", "pandas", "openpyxl", "fastapi",
    "chainlit",
)  # fmt: skip

PROBE = """
import csv, importlib, json, logging, os, sys
before = dict(os.environ), csv.field_size_limit(), logging.getLogger("bitsandbytes").level
loaded = {}
for name in sys.argv[1:]:
    importlib.import_module(name)
    for library in LIBRARIES:
        if library in sys.modules:
            loaded.setdefault(library, name)
after = dict(os.environ), csv.field_size_limit(), logging.getLogger("bitsandbytes").level
print(json.dumps({"loaded": loaded, "changed": before != after}))
"""


def modules_of(folder: str) -> list[str]:
    """Return the modules of a folder of the package, or those on its ground floor for an empty name."""
    paths = (ROOT / "kotune" / folder).glob("*.py")
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)
    return sorted(set(names) - HEAVY - {"kotune.__main__"})


def imported(*names: str) -> dict:
    """Return which heavy libraries importing these modules brings, each with the first module that does, and side effects."""
    code = f"LIBRARIES = {LIBRARIES!r}\n{PROBE}"
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_importing_a_folder_brings_no_heavy_library_and_changes_nothing(folder):
    assert imported(*modules_of(folder)) == {"loaded": {}, "changed": False}


def test_the_probe_sees_a_heavy_import():
    assert imported("openpyxl")["loaded"] == {"openpyxl": "openpyxl"}


@pytest.mark.parametrize("module", ["utils", "prompts", "similarity"])
def test_the_modules_at_the_top_import_nothing_of_the_package(module):
    tree = ast.parse((ROOT / f"{module}.py").read_text(encoding="utf-8"))
    named = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not [name for name in named if name.split(".")[0] == "kotune"]
    assert imported(module) == {"loaded": {}, "changed": False}


def test_no_other_python_file_lies_at_the_top():
    assert {path.stem for path in ROOT.glob("*.py")} == {"utils", "prompts", "similarity"}
