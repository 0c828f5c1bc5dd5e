"""How often the 95% interval of a corrected win rate holds the true one, by simulation, over sizes, judges and true rates.

    python dev/correction_coverage.py [--trials 4000]

A trial draws the compared pairs and the calibration pairs anew. Each line gives, for one judge and each true rate, the
share of trials whose interval holds the true rate; in brackets, where it is not 0, the share of those without an interval
("cannot be corrected"), which count as trials that do not hold it. The second table is of the correction by
votes, with people who are always right on pairs drawn by lot.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kotune.judging.correction import correct, correct_by_votes
from kotune.judging.judgments import Tally

Chances = tuple[float, float, float]  # of a win, a tie and a loss
# what becomes of the better answer; the last but one never ties, the last hardly errs
JUDGES: tuple[Chances, ...] = ((0.6, 0.2, 0.2), (0.7, 0.1, 0.2), (0.85, 0.1, 0.05), (0.75, 0.0, 0.25), (0.96, 0.02, 0.02))
# what is true: A is better, neither is, B is
TRUTHS: tuple[Chances, ...] = ((0.4, 0.2, 0.4), (0.55, 0.2, 0.25), (0.8, 0.05, 0.15), (0.9, 0.0, 0.1), (0.93, 0.04, 0.03))
SIZES = ((20, 208), (40, 40), (40, 100), (40, 208), (90, 208), (400, 40), (400, 208))  # compared, calibration pairs
EVEN: Chances = (0.3, 0.4, 0.3)  # what a judge says where neither answer is better
VOTED = ((40, 20), (100, 20), (100, 40), (400, 40), (400, 100))  # compared pairs, and how many of them have a vote
LEADS = np.array([1, 0, -1])
SEED = 20240101


class Coverage(NamedTuple):
    """Shares of trials."""

    held: float  # the interval holds the true win rate
    without: float  # there is no interval


def coverage(sizes: tuple[int, int], judge: Chances, truth: Chances, trials: int, seed: int = SEED) -> Coverage:
    """Return how often the corrected interval holds the true rate, with so many compared and so many calibration pairs."""
    generator = np.random.default_rng(seed)
    says = np.array(truth) @ np.array([judge, EVEN, judge[::-1]])
    compared, calibrated = sizes
    draws = zip(
        generator.multinomial(compared, says, size=trials).tolist(),
        generator.multinomial(calibrated, judge, size=trials).tolist(),
        strict=True,
    )
    found = [correct(Tally(*asked), Tally(*better)).interval for asked, better in draws]
    return _covered(found, truth)


def coverage_by_votes(sizes: tuple[int, int], judge: Chances, truth: Chances, trials: int, seed: int = SEED) -> Coverage:
    """Return how often the interval by votes holds the true rate, with so many compared pairs and votes on some of them."""
    generator = np.random.default_rng(seed)
    compared, voted = sizes
    chances = np.array(truth)[:, None] * np.array([judge, EVEN, judge[::-1]])  # of each truth and verdict
    drawn = generator.choice(9, p=chances.ravel() / chances.sum(), size=(trials, compared))
    true, said = LEADS[drawn // 3], LEADS[drawn % 3]
    found = [
        correct_by_votes(people[:voted], verdicts[:voted], verdicts[voted:]).interval
        for people, verdicts in zip(true, said, strict=True)
    ]
    return _covered(found, truth)


def _covered(found: list, truth: Chances) -> Coverage:
    rate = truth[0] + truth[1] / 2
    held = [one is not None and one[0] - 1e-9 <= rate <= one[1] + 1e-9 for one in found]
    return Coverage(float(np.mean(held)), float(np.mean([one is None for one in found])))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    for what, measure, all_sizes in (("calibration pairs", coverage, SIZES), ("votes", coverage_by_votes, VOTED)):
        print(f"compared pairs, {what}; judge (better, tie, worse)", *(f"{a + even / 2:6.1%}" for a, even, _ in TRUTHS))
        for sizes in all_sizes:
            for judge in JUDGES:
                found = [measure(sizes, judge, truth, trials) for truth in TRUTHS]
                cells = [f"{one.held:6.1%}" + (f" ({one.without:.1%})" if one.without else "") for one in found]
                print(f"{sizes[0]:4} {sizes[1]:4}  {judge!s:20}", *cells, flush=True)


if __name__ == "__main__":
    main()
