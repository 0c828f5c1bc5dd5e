"""The course's plots: titles and units in the language of the edition, and Korean glyphs that render on any machine."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from kotune.language import said
from utils import atomic_path, write_atomic

BLUE, ORANGE, GREY, GREEN, RED = "#2b6cb0", "#c05621", "#a0aec0", "#2f855a", "#9b2c2c"
STYLE = {
    "figure.dpi": 80,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
# in English and in Korean
NATS_A_TOKEN = "nats per token", "토큰당 내트"
UNITS = {"pretrain": NATS_A_TOKEN, "sft": ("nats per completion token", "답변 토큰당 내트")}
NATS_A_PAIR = "loss (nats a pair)", "손실 (쌍당 내트)"
OPTIMISER_STEP = "optimiser step", "옵티마이저 스텝"
BATCH = "training batch", "학습 배치"


def use_korean_font() -> None:
    """Register NanumGothic from its package and make it matplotlib's font."""
    import matplotlib.pyplot as plt
    from matplotlib import font_manager

    # found without importing: the package's own code needs distutils, which Python 3.12 no longer has
    package = find_spec("koreanize_matplotlib")
    if package is None or package.origin is None:
        return
    for file in ("NanumGothic.ttf", "NanumGothicBold.ttf"):
        font_manager.fontManager.addfont(Path(package.origin).parent / "fonts" / file)
    plt.rcParams.update({"font.family": "NanumGothic", "axes.unicode_minus": False})


def new_axes(width: float = 7, height: float = 3.2):
    """Return the axes of a new figure in the course's style."""
    import matplotlib.pyplot as plt

    use_korean_font()
    plt.style.use(STYLE)
    return plt.subplots(figsize=(width, height))[1]


def finish(axes, title: str, x: str, y: str) -> None:
    """Give axes their title and the names of their units, and show the figure."""
    import matplotlib.pyplot as plt

    axes.set(title=title, xlabel=x, ylabel=y)
    axes.figure.tight_layout()
    plt.show()


def nearest_scores(scores: Sequence[float], threshold: float, unit: str) -> None:
    """Histogram of each question's ROUGE-L F1 with its nearest earlier question."""
    axes = new_axes()
    axes.hist(scores, bins=40, range=(0, 1), color=BLUE)
    axes.axvline(threshold, color=ORANGE, linestyle="--", label=f"{said('threshold', '기준값')} {threshold}")
    axes.legend()
    title = said("ROUGE-L of each question with its nearest earlier one", "각 질문과 가장 비슷한 이전 질문의 ROUGE-L")
    finish(axes, title, f"ROUGE-L F1 ({unit})", said("questions", "질문 수"))


def kept_shares(thresholds: Sequence[float], shares: dict[str, Sequence[float]], chosen: float) -> None:
    """Share of texts kept by deduplication against the threshold, one line a unit."""
    axes = new_axes()
    for unit, colour in zip(shares, (BLUE, GREEN, ORANGE, "#6b46c1"), strict=False):
        axes.plot(thresholds, shares[unit], color=colour, label=unit)
    axes.axvline(chosen, color=GREY, linestyle="--")
    axes.set_ylim(0, 1.03)
    axes.legend()
    title = said("Share of questions kept, by unit and threshold", "단위와 기준값에 따라 남는 질문의 비율")
    finish(axes, title, said("ROUGE-L F1 threshold", "ROUGE-L F1 기준값"), said("share kept", "남는 비율"))


def answer_lengths(lengths: Sequence[int]) -> None:
    """Histogram of answer lengths in characters."""
    axes = new_axes()
    axes.hist(lengths, bins=30, color=BLUE)
    finish(axes, said("Length of answers", "답변 길이"), said("characters", "글자 수"), said("answers", "답변 수"))


def next_tokens(tokens: Sequence[str], probabilities: Sequence[float], text: str) -> None:
    """Bars of the likeliest next tokens of a text, the likeliest at the top."""
    axes = new_axes()
    names = [f"{place}. '{token}'" for place, token in enumerate(tokens, start=1)]  # two tokens may look the same
    axes.barh(names[::-1], probabilities[::-1], color=BLUE)
    title = said(f"Probability of the next token: {text} …", f"다음 토큰의 확률: {text} …")
    finish(axes, title, said("probability", "확률"), said("token", "토큰"))


def two_losses(history: Sequence[tuple[float, float]], trained: str, unseen: str) -> None:
    """Loss by step of what is trained on, beside that of what is not."""
    axes = new_axes()
    steps = range(1, len(history) + 1)
    axes.plot(steps, [row[0] for row in history], color=BLUE, marker="o", label=trained)
    axes.plot(steps, [row[1] for row in history], color=ORANGE, marker="o", label=unseen)
    axes.legend()
    title = said("Loss of a sentence learnt by heart, and of one not seen", "외운 문장과 처음 보는 문장의 손실")
    finish(axes, title, said("step", "스텝"), said(*NATS_A_TOKEN))


def losses_by_learning_rate(runs: Mapping[float, Sequence[float]]) -> None:
    """Loss by step, a line a learning rate."""
    axes = new_axes()
    for (rate, losses), colour in zip(runs.items(), (GREY, GREEN, RED, BLUE), strict=False):
        axes.plot(
            range(1, len(losses) + 1), losses, color=colour, marker="o", label=f"{said('learning rate', '학습률')} {rate:g}"
        )
    axes.set_yscale("log")
    axes.legend()
    finish(axes, said("Loss by learning rate", "학습률에 따른 손실"), said("step", "스텝"), said(*NATS_A_TOKEN))


def shares_with_intervals(shares: Mapping[str, tuple[float, tuple[float, float]]], title: str, what: str) -> None:
    """A bar for each share, of (share, its 95% interval), with the interval as a line."""
    axes = new_axes(height=0.6 + 0.5 * len(shares))
    for place, (name, (share, (low, high))) in enumerate(reversed(list(shares.items()))):
        axes.barh(place, share, color=BLUE if name.startswith("tuned") else GREY)
        axes.plot([low, high], [place, place], color=ORANGE, linewidth=2)
        axes.annotate(f"{share:.0%}", (high, place), xytext=(5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(shares)), list(shares)[::-1])
    axes.set_xlim(0, 1.12)
    finish(axes, title, what, "")


def loss_curve(log: Sequence[dict], validation: Sequence[dict], before: float) -> None:
    """Loss of the training batches by step, and of the held-out data, which starts at `before`.

    The lowest held-out loss is marked, and shaded what comes after it: the model learns its rows by heart there.
    """
    axes = new_axes()
    axes.plot([row["step"] for row in log], [row["loss"] for row in log], color=BLUE, alpha=0.5, label=said(*BATCH))
    steps = [0, *(row["step"] for row in validation)]
    held_out = [before, *(row["eval_loss"] for row in validation)]
    axes.plot(steps, held_out, color=ORANGE, marker="o", label=said("held-out data", "검증 데이터"))
    best = min(range(len(steps)), key=held_out.__getitem__)
    axes.annotate(f"{held_out[best]:.2f}", (steps[best], held_out[best]), textcoords="offset points", xytext=(0, 8))
    if best < len(steps) - 1:
        axes.axvspan(steps[best], steps[-1], color=RED, alpha=0.08, label=said("overfitting", "과적합"))
    axes.legend()
    finish(axes, said("Training and held-out loss", "학습 손실과 검증 손실"), said("step", "스텝"), said(*UNITS["sft"]))


def setting_effects(runs: Sequence[Mapping], own: Mapping[str, float], own_loss: float) -> None:
    """Held-out loss against each setting that was changed by itself, a small plot a setting; your own run is a star.

    A run names what it `changed` ("none" in the run that the others start from), and has every setting and its
    `held_out_loss`; `own` has the settings of the run whose loss is `own_loss`.
    """
    import matplotlib.pyplot as plt

    use_korean_font()
    plt.style.use(STYLE)
    start = next(run for run in runs if run["changed"] == "none")
    names = [name for name in dict.fromkeys(run["changed"] for run in runs) if name != "none"]
    rows = -(-len(names) // EFFECTS_A_ROW)
    figure, axes = plt.subplots(rows, EFFECTS_A_ROW, figsize=(8.4, 2.3 * rows), sharey=True, squeeze=False)
    for name, each in zip(names, axes.flat, strict=False):
        losses = {run[name]: run["held_out_loss"] for run in runs if run["changed"] in (name, "none")}
        values = sorted({*losses, own[name]})
        measured = [value for value in values if value in losses]
        each.plot([values.index(value) for value in measured], [losses[value] for value in measured], color=BLUE, marker="o")
        each.plot(values.index(start[name]), start["held_out_loss"], color=GREEN, marker="s")
        each.plot(values.index(own[name]), own_loss, color=ORANGE, marker="*", markersize=14)
        each.set_xticks(
            range(len(values)), [f"{value:g}" if not isinstance(value, bool) else str(value) for value in values]
        )
        each.set_title(name.replace("_", " "))
    for each in axes.flat[len(names) :]:
        each.remove()
    axes[0, 0].set_ylabel(said(*NATS_A_TOKEN))
    title = "Held-out loss, one setting changed at a time (star: this run)"
    figure.suptitle(said(title, "설정을 하나씩 바꾸었을 때의 검증 손실 (별: 이번 실행)"))
    figure.tight_layout()
    plt.show()


EFFECTS_A_ROW = 3


def reward_margins(log: Sequence[dict]) -> None:
    """Implicit rewards of chosen and rejected answers, and their margin, by step."""
    axes = new_axes()
    steps = range(1, len(log) + 1)
    for name, label, colour in (
        ("chosen", said("reward of chosen", "선택된 답변의 보상 (chosen)"), GREEN),
        ("rejected", said("reward of rejected", "거부된 답변의 보상 (rejected)"), ORANGE),
        ("margins", said("margin", "마진 (margin)"), BLUE),
    ):
        axes.plot(steps, [row[f"rewards/{name}"] for row in log], color=colour, label=label)
    axes.legend()
    title = said("DPO rewards and their margin", "DPO 보상과 마진")
    finish(axes, title, said(*OPTIMISER_STEP), said("β × log-probability ratio (nats)", "β × 로그 확률 비 (내트)"))


REDRAW_S = 5.0


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
        with atomic_path(folder / "loss.png") as temporary:
            figure.savefig(temporary, dpi=120)


def loss_figure(log: Sequence[dict], validation: Sequence[dict], stage: str):
    """Return a matplotlib figure of the training loss by step, smoothed besides, with the validations as points."""
    from matplotlib.figure import Figure

    use_korean_font()
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    steps, losses = [row["step"] for row in log], [row["loss"] for row in log]
    axes.plot(steps, losses, color=GREY, linewidth=1, label=said(*BATCH))
    axes.plot(steps, smoothed(losses), color=BLUE, label=said("smoothed", "평활"))
    if validation:
        points = [row["step"] for row in validation], [row["eval_loss"] for row in validation]
        axes.plot(*points, "o-", color=GREEN, label=said("validation", "검증"))
    title = said(f"Loss of {stage}", f"{stage} 손실")
    axes.set(title=title, xlabel=said(*OPTIMISER_STEP), ylabel=said(*UNITS.get(stage, NATS_A_PAIR)))
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
