"""How fast a report of 10,000 judgments is made, with 10,000 bootstrap draws.

    python dev/bench/judging.py        (part of `make bench`)

Writes dev/bench/results/judging.json. The judgments are drawn at random over the shipped calibration pairs. Beside it, the
same bootstrap as a loop that draws the questions one by one, on a sample of its draws, multiplied out.
"""

import json
import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about
from kotune.judging import comparison, report_card
from kotune.judging.calibration import load_calibration
from kotune.judging.judgments import Judgment, read_judgments
from kotune.stats import BOOTSTRAP_DRAWS, agree
from utils import ROOT, write_json, write_jsonl

JUDGMENTS = 10_000
LOOP_DRAWS = 100


def drawn_judgments(seed: int) -> list[Judgment]:
    """Return judgments with the shipped texts and verdicts drawn at random."""
    generator, labelled = random.Random(seed), load_calibration()
    lines = []
    for number in range(JUDGMENTS):
        pair = labelled[number % len(labelled)].pair
        ab, ba = generator.choices(["a", "tie", "b"], [5, 2, 3], k=2) if generator.random() < 0.2 else ["a", "a"]
        winner, question = ab if ab == ba else "tie", pair.question
        lines.append(
            Judgment(
                f"q{number}", "judged", ab, ba, winner, judge="drawn", question=question.question,
                reference=question.reference, answer_a=pair.answer_a, answer_b=pair.answer_b,
            )
        )  # fmt: skip
    return lines


def seconds_of(action) -> float:
    """Return the wall-clock seconds of an action."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def loop_seconds(lines: list[Judgment]) -> float:
    """Return the seconds of all draws as a plain loop over questions, from a sample of them."""
    points, generator = [comparison.POINTS[line.winner] for line in lines], random.Random(0)
    sample = seconds_of(lambda: [sum(generator.choices(points, k=len(points))) for _ in range(LOOP_DRAWS)])
    return sample * BOOTSTRAP_DRAWS / LOOP_DRAWS


def main() -> None:
    """Measure, print and store."""
    lines, others = drawn_judgments(0), drawn_judgments(1)
    with tempfile.TemporaryDirectory() as name:
        path = write_jsonl(Path(name) / "judgments.jsonl", map(asdict, lines))
        reporting = seconds_of(lambda: comparison.report(path))
        reading = seconds_of(lambda: read_judgments(path))
        report = comparison.report(lines)
        card = report_card.make_card("A", "B", report, lines)
        html = seconds_of(lambda: report_card.write_html(card, Path(name) / "card.html"))
        png = seconds_of(lambda: report_card.write_png(card, Path(name) / "card.png"))
    kappa = seconds_of(lambda: agree({one.id: one.winner for one in lines}, {one.id: one.winner for one in others}))
    results = {
        **about(),
        "judgments": len(lines),
        "bootstrap_draws": BOOTSTRAP_DRAWS,
        "report_seconds": round(reporting, 2),
        "of_which_reading_seconds": round(reading, 2),
        "loop_bootstrap_seconds": round(loop_seconds(lines)),
        "kappa_and_ac1_seconds": round(kappa, 3),
        "html_seconds": round(html, 2),
        "png_seconds": round(png, 2),
    }
    print(json.dumps(results, indent=2))
    write_json(ROOT / "dev" / "bench" / "results" / "judging.json", results)


if __name__ == "__main__":
    main()
