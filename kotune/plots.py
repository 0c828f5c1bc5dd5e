"""The course's plots: titles, units, and Korean glyphs that render on any machine."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt

from kotune.judging.comparison import Report
from kotune.korean_font import use_korean_font

BLUE, ORANGE, GREY, GREEN = "#2b6cb0", "#c05621", "#a0aec0", "#2f855a"


use_korean_font()
plt.rcParams.update(
    {
        "figure.figsize": (7, 3.2),
        "figure.dpi": 80,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
    }
)


def _finish(axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.figure.tight_layout()
    plt.show()


def nearest_scores(scores: Sequence[float], threshold: float, unit: str) -> None:
    """Histogram of each question's ROUGE-L F1 with its nearest earlier question."""
    _, axes = plt.subplots()
    axes.hist(scores, bins=40, range=(0, 1), color=BLUE)
    axes.axvline(threshold, color=ORANGE, linestyle="--", label=f"threshold {threshold}")
    axes.legend()
    _finish(axes, "질문마다 가장 비슷한 앞 질문과의 ROUGE-L", f"ROUGE-L F1 ({unit})", "questions")


def kept_shares(thresholds: Sequence[float], shares: dict[str, Sequence[float]], chosen: float) -> None:
    """Share of texts kept by deduplication against the threshold, one line a unit."""
    _, axes = plt.subplots()
    for unit, colour in zip(shares, (BLUE, GREEN, ORANGE, "#6b46c1"), strict=False):
        axes.plot(thresholds, shares[unit], color=colour, label=unit)
    axes.axvline(chosen, color=GREY, linestyle="--")
    axes.set_ylim(0, 1.03)
    axes.legend()
    _finish(axes, "단위와 기준값에 따라 남는 질문의 비율", "ROUGE-L F1 threshold", "share kept")


def answer_lengths(lengths: Sequence[int]) -> None:
    """Histogram of answer lengths in characters."""
    _, axes = plt.subplots()
    axes.hist(lengths, bins=30, color=BLUE)
    _finish(axes, "답변 길이", "characters", "answers")


def loss_curve(log: Sequence[dict], before: float, after: float) -> None:
    """Training loss by step, with the held-out loss before and after as levels."""
    _, axes = plt.subplots()
    axes.plot(range(1, len(log) + 1), [row["loss"] for row in log], color=BLUE, label="training batch")
    axes.axhline(before, color=GREY, linestyle="--", label=f"held-out before: {before:.2f}")
    axes.axhline(after, color=GREEN, linestyle="--", label=f"held-out after: {after:.2f}")
    axes.legend()
    _finish(axes, "SFT 손실", "optimiser step", "nats per completion token")


def reward_margins(log: Sequence[dict]) -> None:
    """Implicit rewards of chosen and rejected answers, and their margin, by step."""
    _, axes = plt.subplots()
    steps = range(1, len(log) + 1)
    for name, korean, colour in (
        ("chosen", "선택 보상 (chosen)", GREEN),
        ("rejected", "거절 보상 (rejected)", ORANGE),
        ("margins", "마진 (margin)", BLUE),
    ):
        axes.plot(steps, [row[f"rewards/{name}"] for row in log], color=colour, label=korean)
    axes.legend()
    _finish(axes, "DPO 보상과 마진", "optimiser step", "β × log-probability ratio (nats)")


def win_rates(reports: Sequence[tuple[str, Report]]) -> None:
    """Win rate of A with its 95% interval, one row a comparison; 0.5 is no difference.

    A judge that is below the bar of its calibration, or was not calibrated, is marked.
    """
    _, axes = plt.subplots(figsize=(7, 0.9 + 0.7 * len(reports)))
    for place, (_, report) in enumerate(reports):
        low, high = report.interval
        axes.plot([low, high], [place, place], color=BLUE, linewidth=3)
        axes.plot(report.win_rate, place, "o", color=BLUE, markersize=9)
    axes.axvline(0.5, color=GREY, linestyle="--")
    marked = [f"{name}\n(주의: 심사자 검증 미달)" if report.warning else name for name, report in reports]
    axes.set_yticks(range(len(reports)), marked)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(reports) - 0.4))
    _finish(axes, "승률과 95% 구간 (무승부는 0.5승)", "win rate", "")
