"""How often the 95% interval of a corrected win rate holds the true one, by simulation, over sizes, judges and true rates.

    python dev/correction_coverage.py [--trials 4000]

A trial draws the compared pairs and the calibration pairs anew. Each line gives, for one judge and each true rate, the
share of trials whose interval holds the true rate; in brackets, where it is not 0, the share of those without an interval
("cannot be corrected"), which count as trials that do not hold it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kotune.judging.correction import correct
from kotune.judging.judgments import Tally

Chances = tuple[float, float, float]  # of a win, a tie and a loss
# what becomes of the better answer; the last but one never ties, the last hardly errs
JUDGES: tuple[Chances, ...] = ((0.6, 0.2, 0.2), (0.7, 0.1, 0.2), (0.85, 0.1, 0.05), (0.75, 0.0, 0.25), (0.96, 0.02, 0.02))
# what is true: A is better, neither is, B is
TRUTHS: tuple[Chances, ...] = ((0.4, 0.2, 0.4), (0.55, 0.2, 0.25), (0.8, 0.05, 0.15), (0.9, 0.0, 0.1), (0.93, 0.04, 0.03))
SIZES = ((20, 208), (40, 40), (40, 100), (40, 208), (90, 208), (400, 40), (400, 208))  # compared, calibration pairs
EVEN: Chances = (0.3, 0.4, 0.3)  # what a judge says where neither answer is better
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
    rate = truth[0] + truth[1] / 2
    held = [one is not None and one[0] - 1e-9 <= rate <= one[1] + 1e-9 for one in found]
    return Coverage(float(np.mean(held)), float(np.mean([one is None for one in found])))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    print("compared, calibration pairs; judge (better, tie, worse)", *(f"{a + even / 2:6.1%}" for a, even, _ in TRUTHS))
    for sizes in SIZES:
        for judge in JUDGES:
            found = [coverage(sizes, judge, truth, trials) for truth in TRUTHS]
            cells = [f"{one.held:6.1%}" + (f" ({one.without:.1%})" if one.without else "") for one in found]
            print(f"{sizes[0]:4} {sizes[1]:4}  {judge!s:20}", *cells, flush=True)


if __name__ == "__main__":
    main()
