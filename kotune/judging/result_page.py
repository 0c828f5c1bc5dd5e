"""One page to show: a job, texts before and after the training for it, how often it comes out right, and the loss curve.

The page is a single HTML file without a script or an address of another host, in Korean or English, to be sent to a friend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from kotune.judging.html_pages import render, write_page
from kotune.models.adapters import read_run_card
from kotune.stats import Interval, wilson
from utils import CourseError

TEMPLATE = Path(__file__).with_name("result_page.html.jinja")
CURVE_POINTS = 200  # a longer curve is drawn from the means of its stretches
TEXTS = {
    "ko": {
        "before": "학습 전", "after": "학습 후", "given": "입력", "score": "얼마나 자주 맞나요", "of": "{n}개 중 {right}개",
        "interval": "가는 선은 95% 신뢰구간(윌슨)입니다.", "curve": "학습 곡선", "step": "스텝", "loss": "손실(토큰당 내트)",
        "facts": "어떻게 학습했나요", "made": "이 페이지는 한국어 지시 튜닝 강의의 마지막 셀이 만들었습니다.",
        "limits": "같은 종류의 자료에서 잰 값입니다. 다른 자료에서 어떤지는 이 표가 말해 주지 않습니다.",
        "model": "베이스 모델", "rows": "학습 자료", "rows_value": "{rows:,}개", "epochs": "에포크", "rank": "LoRA 랭크",
        "rate": "학습률", "minutes": "걸린 시간", "minutes_value": "{minutes:.0f}분", "device": "컴퓨터",
        "sha256": "어댑터 SHA-256",
    },
    "en": {
        "before": "before training", "after": "after training", "given": "input", "score": "How often it is right",
        "of": "{right} of {n}", "interval": "The thin line is the 95% interval (Wilson).", "curve": "Loss of the training",
        "step": "step", "loss": "loss (nats a token)", "facts": "How it was trained",
        "made": "This page was made by the last cell of a course on instruction tuning for Korean.",
        "limits": "Measured on data of the same kind; of other data the table says nothing.",
        "model": "base model", "rows": "rows of data", "rows_value": "{rows:,}", "epochs": "epochs", "rank": "LoRA rank",
        "rate": "learning rate", "minutes": "time taken", "minutes_value": "{minutes:.0f} minutes", "device": "machine",
        "sha256": "SHA-256 of the adapter",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """An input with what the model wrote before and after the training."""

    given: str
    before: str
    after: str


@dataclass(frozen=True)
class Score:
    """How many of n texts one way of doing the job has right; a way without training is a baseline."""

    name: str
    right: int
    n: int
    is_trained: bool = False

    @property
    def share(self) -> float:
        """The share of right texts, from 0 to 1."""
        return self.right / self.n

    @property
    def interval(self) -> Interval:
        """Wilson's interval of the share, at 95%."""
        return wilson(self.right, self.n)


@dataclass(frozen=True)
class LossCurve:
    """The loss of a run by step, and what the run was, in words."""

    of: str
    steps: Sequence[float]
    losses: Sequence[float]

    @classmethod
    def from_log(cls, of: str, log: Sequence[dict]) -> LossCurve:
        """Return the curve of a training's log, of its rows that have a step and a loss; a validation's have no loss."""
        rows = [row for row in log if "step" in row and math.isfinite(row.get("loss", math.nan))]
        return cls(of, [row["step"] for row in rows], [row["loss"] for row in rows])

    def points(self, width: float, height: float) -> str:
        """Return the curve as the points of an SVG polyline in a box, the highest loss at the top and 0 at the bottom."""
        stretch = -(-len(self.steps) // CURVE_POINTS)
        means = [fmean(self.losses[start : start + stretch]) for start in range(0, len(self.losses), stretch)]
        steps = [fmean(self.steps[start : start + stretch]) for start in range(0, len(self.steps), stretch)]
        first, last, top = min(steps), max(steps), max(means)
        return " ".join(
            f"{(step - first) / ((last - first) or 1) * width:.1f},{height - loss / (top or 1) * height:.1f}"
            for step, loss in zip(steps, means, strict=True)
        )


@dataclass(frozen=True)
class ResultPage:
    """All that the page shows."""

    title: str
    job: str
    examples: Sequence[Example]
    scores: Sequence[Score]
    curve: LossCurve | None = None
    facts: Sequence[tuple[str, str]] = ()  # of the training: what, and its value


def training_facts(adapter: str | Path, language: str = "ko") -> list[tuple[str, str]]:
    """Return what an adapter's run card says of its training, as the page tells it.

    Raises:
        CourseError: the folder has no run card, or the language is not known.
    """
    card, texts = read_run_card(adapter), _texts(language)
    recipe, figures = card["recipe"], card["figures"]
    return [
        (texts["model"], card["base"]),
        (texts["rows"], texts["rows_value"].format(rows=card["data_rows"])),
        (texts["epochs"], f"{recipe['epochs']:g}"),
        (texts["rank"], str(recipe["lora_r"])),
        (texts["rate"], f"{recipe['learning_rate']:g}"),
        (texts["minutes"], texts["minutes_value"].format(minutes=figures["minutes"])),
        (texts["device"], card["device"]),
        (texts["sha256"], card["adapter_sha256"][:16]),
    ]


def html(page: ResultPage, language: str = "ko") -> str:
    """Return the page as HTML; every text in it is escaped.

    Raises:
        CourseError: the page has no example or no score, or the language is not known.
    """
    if not page.examples or not page.scores:
        raise CourseError("A page needs an example and a score at least; give Example(...) and Score(...) each one.")
    return render(TEMPLATE, page=page, t=_texts(language), language=language)


def write_html(page: ResultPage, path: str | Path, language: str = "ko") -> Path:
    """Write the page to a file."""
    return write_page(path, html(page, language))


def _texts(language: str) -> dict[str, str]:
    if language not in TEXTS:
        raise CourseError(f"There is no page in {language!r}; its languages are {', '.join(TEXTS)}.")
    return TEXTS[language]
