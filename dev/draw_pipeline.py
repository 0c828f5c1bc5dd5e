"""Draw assets/pipeline.png, the picture of the README: `python dev/draw_pipeline.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib.pyplot as plt

from kotune import plots
from utils import ASSETS

BOXES = {  # name: (x, y, colour, text)
    "seeds": (0.0, 1.0, plots.GREY, "seed words\n시드 단어"),
    "documents": (0.0, 0.0, plots.GREY, "documents\n문서"),
    "questions": (1.0, 1.0, plots.BLUE, "questions\nnear duplicates out"),
    "answers": (1.0, 0.0, plots.BLUE, "grounded answers\ntrain / validation"),
    "sft": (2.0, 0.5, plots.GREEN, "SFT\nLoRA adapter"),
    "dpo": (3.0, 0.5, plots.GREEN, "DPO\non preference pairs"),
    "judge": (4.0, 0.5, plots.ORANGE, "judge\nboth orders, interval"),
}
ARROWS = [
    ("seeds", "questions", "teacher"),
    ("documents", "answers", "BM25"),
    ("questions", "answers", "teacher"),
    ("answers", "sft", ""),
    ("sft", "dpo", ""),
    ("dpo", "judge", ""),
]
NOTEBOOKS = [(0.5, "preprocess.ipynb"), (2.0, "train.ipynb"), (3.0, "dpo.ipynb"), (4.0, "evaluation.ipynb")]
WIDTH, HEIGHT = 0.76, 0.46


def draw() -> None:
    """Draw boxes, arrows and the notebooks below them."""
    plots.use_korean_font()
    figure, axes = plt.subplots(figsize=(11, 3.6), dpi=110)
    for x, y, colour, text in BOXES.values():
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        axes.add_patch(plt.Rectangle(corner, WIDTH, HEIGHT, facecolor=colour, alpha=0.18, edgecolor=colour))
        axes.text(x, y, text, ha="center", va="center", fontsize=9.5)
    for start, end, label in ARROWS:
        (x0, y0, *_), (x1, y1, *_) = BOXES[start], BOXES[end]
        across = x1 > x0
        tail = (x0 + WIDTH / 2, y0) if across else (x0, y0 - HEIGHT / 2)
        head = (x1 - WIDTH / 2, y1) if across else (x1, y1 + HEIGHT / 2)
        axes.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": "#4a5568"})
        shift = (0, 0.06) if across else (0.16, 0)
        middle = ((tail[0] + head[0]) / 2 + shift[0], (tail[1] + head[1]) / 2 + shift[1])
        axes.text(*middle, label, ha="center", fontsize=8)
    for x, name in NOTEBOOKS:
        axes.text(x, -0.5, name, ha="center", fontsize=10, family="monospace", color="#4a5568")
    axes.set(xlim=(-0.5, 4.5), ylim=(-0.65, 1.35))
    axes.axis("off")
    figure.savefig(ASSETS / "pipeline.png", bbox_inches="tight")


if __name__ == "__main__":
    draw()
