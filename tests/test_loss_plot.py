"""Protects: the loss is plotted live in a notebook, kept as a table and a picture, and smoothed without a false start."""

import matplotlib.pyplot as plt
import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient

from kotune import plots
from utils import ROOT

LOG = [{"step": step, "loss": 4 / step, "learning_rate": 1e-3} for step in range(1, 9)]
VALIDATION = [{"step": 4, "eval_loss": 1.5}, {"step": 8, "eval_loss": 1.0}]


@given(st.floats(-1e3, 1e3), st.integers(1, 30))
def test_a_constant_series_is_its_own_smoothing(value, count):
    assert plots.smoothed([value] * count) == pytest.approx([value] * count)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_smoothing_starts_at_the_first_value_and_stays_inside(values):
    line = plots.smoothed(values)
    assert line[0] == pytest.approx(values[0])
    assert all(min(values) - 1e-9 <= point <= max(values) + 1e-9 for point in line)


def test_losses_are_kept_as_a_table_and_on_demand_as_a_picture(tmp_path):
    plots.save_losses(LOG, VALIDATION, tmp_path, "sft", plot=False)
    lines = (tmp_path / "loss.csv").read_text().splitlines()
    assert lines[4] == "4,1.0,1.5,0.001"
    assert not (tmp_path / "loss.png").exists()
    plots.save_losses(LOG, VALIDATION, tmp_path, "sft", plot=True)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ("Loss of dpo", "optimiser step", "loss (nats a pair)")),
        ("ko", ("dpo 손실", "옵티마이저 스텝", "손실 (쌍당 내트)")),
    ],
)
def test_the_figure_has_titles_units_and_glyphs_of_its_edition(recwarn, monkeypatch, language, texts):
    monkeypatch.setenv("KOTUNE_LANG", language)
    figure = plots.loss_figure(LOG, VALIDATION, "dpo")
    figure.canvas.draw()
    axes = figure.axes[0]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == texts
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


@pytest.mark.parametrize(("held_out", "shaded"), [((2.0, 1.0, 1.5), True), ((2.0, 1.5, 1.0), False)])
def test_the_curve_marks_overfitting_where_the_held_out_loss_rises_again(held_out, shaded, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "finish", lambda axes, *texts: drawn.append(axes))
    log = [{"step": step, "loss": 1 / step} for step in range(1, 7)]
    plots.loss_curve(log, [{"step": step, "eval_loss": loss} for step, loss in zip((2, 4, 6), held_out, strict=True)], 3.0)
    assert ("overfitting" in [text.get_text() for text in drawn[0].get_legend().get_texts()]) == shaded


def test_each_setting_has_a_plot_in_which_the_own_run_is_a_star(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: None)
    base = {"changed": "none", "rank": 8, "loss_mask": True, "held_out_loss": 2.5}
    runs = [
        base,
        {**base, "changed": "rank", "rank": 2, "held_out_loss": 2.75},
        {**base, "changed": "loss_mask", "loss_mask": False, "held_out_loss": 3.0},
    ]
    plots.setting_effects(runs, {"rank": 4, "loss_mask": True}, 2.25)
    rank, mask = plt.gcf().axes
    assert [each.get_title() for each in (rank, mask)] == ["rank", "loss mask"]
    assert [label.get_text() for label in rank.get_xticklabels()] == ["2", "4", "8"]
    measured, _, star = rank.lines
    assert list(measured.get_ydata()) == [2.75, 2.5]
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([1], [2.25])
    assert list(mask.lines[2].get_xdata()) == [1]
    plt.close()


def test_a_share_stands_with_its_interval(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "finish", lambda axes, *texts: drawn.append(axes))
    plots.shares_with_intervals({"base": (0.0, (0.0, 0.02)), "tuned": (0.85, (0.79, 0.89))}, "제목", "share")
    assert [text.get_text() for text in drawn[0].texts] == ["85%", "0%"]
    assert [tuple(line.get_xdata()) for line in drawn[0].lines] == [(0.79, 0.89), (0.0, 0.02)]


def test_there_is_no_live_plot_outside_a_notebook(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    assert plots.live_plot("sft") == []


CELL = """
import os
os.environ["TQDM_DISABLE"] = ""
from types import SimpleNamespace
from kotune import plots
plots.REDRAW_S = 0
(live,) = plots.live_plot("sft")
state = SimpleNamespace(log_history=[])
live.on_train_begin(None, state, None)
for step in range(1, 4):
    state.log_history.append({"step": step, "loss": 1 / step})
    live.on_log(None, state, None)
live.on_train_end(None, state, None)
"""


@pytest.mark.slow
def test_the_live_plot_is_one_picture_redrawn_in_place(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    pictures = [o for o in notebook.cells[0].outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 1
