"""Protects: a run of everything leaves out the notebooks that train where that takes hours, says so, and nowhere else."""

from types import SimpleNamespace

import pytest

from kotune.models import machine
from tests import plugin
from utils import ROOT


class Item(SimpleNamespace):
    def __init__(self, name):
        super().__init__(path=ROOT / name, marks=[])

    def add_marker(self, mark):
        self.marks.append(mark.kwargs["reason"])


def left_out(names):
    items = [Item(name) for name in names]
    plugin.pytest_collection_modifyitems(items)
    return [item.path.name for item in items if item.marks]


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setattr(machine, "bf16_speed", lambda: (0.3, 77.0))
    monkeypatch.delenv("EVERY_NOTEBOOK", raising=False)


def test_notebooks_that_train_are_left_out_where_bfloat16_is_emulated(emulated, monkeypatch):
    assert left_out(plugin.NOTEBOOKS) == plugin.TRAINING
    assert left_out(["train.ipynb"]) == []  # asked for alone
    monkeypatch.setenv("EVERY_NOTEBOOK", "1")
    assert left_out(plugin.NOTEBOOKS) == []


def test_every_notebook_runs_where_bfloat16_is_fast(emulated, monkeypatch):
    monkeypatch.setattr(machine, "bf16_speed", lambda: (1584.0, 282.0))
    assert left_out(plugin.NOTEBOOKS) == []


def test_the_reason_names_speed_and_way_out(emulated):
    assert plugin.too_slow() == (
        "this CPU emulates bfloat16 (0 GFLOP/s; float32: 77): set EVERY_NOTEBOOK=1 to run it in an hour or two"
    )
