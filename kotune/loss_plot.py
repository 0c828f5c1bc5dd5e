"""The loss of a run: a live plot in Jupyter, and a CSV and a PNG beside the adapter."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kotune.korean_font import use_korean_font
from utils import write_atomic

REDRAW_S = 5.0
UNITS = {"pretrain": "nats per token", "sft": "nats per completion token"}


def save_losses(log: Sequence[dict], validation: Sequence[dict], folder: Path, stage: str, plot: bool) -> None:
    """Write the losses by step to loss.csv, and with `plot` to loss.png."""
    at_step = {row["step"]: row["eval_loss"] for row in validation}
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["step", "loss", "validation_loss", "learning_rate"])
    for row in log:
        step = row["step"]
        writer.writerow([step, row["loss"], at_step.get(step, ""), row.get("learning_rate", "")])
    write_atomic(folder / "loss.csv", table.getvalue())
    if plot:
        figure = loss_figure(log, validation, stage)
        figure.savefig(folder / "loss.png", dpi=120)


def loss_figure(log: Sequence[dict], validation: Sequence[dict], stage: str):
    """Return a matplotlib figure of the training loss by step, smoothed besides, with the validations as points."""
    from matplotlib.figure import Figure

    use_korean_font()
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    steps, losses = [row["step"] for row in log], [row["loss"] for row in log]
    axes.plot(steps, losses, color="#a0aec0", linewidth=1, label="training batch")
    axes.plot(steps, smoothed(losses), color="#2b6cb0", label="smoothed")
    if validation:
        points = [row["step"] for row in validation], [row["eval_loss"] for row in validation]
        axes.plot(*points, "o-", color="#2f855a", label="validation")
    axes.set(title=f"{stage} 손실", xlabel="optimiser step", ylabel=UNITS.get(stage, "loss (nats a pair)"))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def smoothed(values: Sequence[float], keep: float = 0.8) -> list[float]:
    """Return the exponential moving average of a series, corrected for its start."""
    average, weight, line = 0.0, 0.0, []
    for value in values:
        average, weight = keep * average + (1 - keep) * value, keep * weight + (1 - keep)
        line.append(average / weight)
    return line


def live_plot(stage: str) -> list:
    """Return the callback that redraws the loss while training runs, where there is a notebook to draw into."""
    quiet = os.environ.get("TQDM_DISABLE", "") not in ("", "0")
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if quiet or shell is None or not hasattr(shell, "kernel"):
        return []
    from transformers import TrainerCallback

    class LivePlot(TrainerCallback):
        """Redraws one figure in place, every few seconds; it stays as the last picture of the run."""

        def on_train_begin(self, args, state, control, **kwargs):
            self.shown, self.drawn = None, time.monotonic()

        def on_log(self, args, state, control, **kwargs):
            if time.monotonic() - self.drawn > REDRAW_S:
                self._draw(state)

        def on_train_end(self, args, state, control, **kwargs):
            self._draw(state)

        def _draw(self, state):
            from IPython.display import Image, display

            log = [row for row in state.log_history if "loss" in row]
            if log:
                picture = io.BytesIO()
                validation = [row for row in state.log_history if "eval_loss" in row]
                loss_figure(log, validation, stage).savefig(picture, format="png", dpi=80)
                image = Image(picture.getvalue())
                if self.shown is None:
                    self.shown = display(image, display_id=True)
                else:
                    self.shown.update(image)
            self.drawn = time.monotonic()

    return [LivePlot()]
