"""How sure a rate is: Wilson and bootstrap intervals, the exact sign test, and how many questions a difference needs.

Every interval is at 95%. A win rate counts a tie as half a win, so each question gives 0, 0.5 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

BOOTSTRAP_DRAWS = 10_000
Z95 = NormalDist().inv_cdf(0.975)
Z_POWER = NormalDist().inv_cdf(0.8)  # the chance to find a difference that is there
Interval = tuple[float, float]


def wilson(right: float, n: int) -> Interval:
    """Return Wilson's 95% interval of a share (Wilson, 1927): it stays inside [0, 1] and holds for small n.

    `right` of `n`; halves (ties) may be among them. With n = 0 nothing is known: (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = right / n, Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # at the ends the formula is exactly 0 or 1, and rounding must not leave it a hair inside
    return 0.0 if right == 0 else max(0.0, centre - half), 1.0 if right == n else min(1.0, centre + half)


def student_t(probability: float, degrees: int) -> float:
    """Return a quantile of Student's t for a probability above one half.

    Exact for one and two degrees of freedom; above, the Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5),
    good to 1% at 0.975.
    """
    if degrees == 1:
        return math.tan(math.pi * (probability - 0.5))
    if degrees == 2:
        return (2 * probability - 1) * math.sqrt(2 / (4 * probability * (1 - probability)))
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))


def expanded_tail(n: int) -> float:
    """Return the share of bootstrap draws to cut off at each side of a 95% interval over n questions.

    A plain percentile interval (0.025) is too narrow by the factor sqrt((n - 1) / n) and by the normal's quantile
    where Student's is due; the "expanded percentile" interval mends both (Hesterberg, arXiv 1411.5279, section 4.3).
    """
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_t(0.975, n - 1))


def win_rate_interval(wins: int, ties: int, losses: int, seed: int = 0, draws: int = BOOTSTRAP_DRAWS) -> Interval:
    """Return the 95% bootstrap interval of a win rate over questions, a tie counting as half.

    A question with both its orders is one unit. Drawing n of them with replacement gives multinomial counts of wins, ties
    and losses, which are drawn at once. A sample without any spread tells a bootstrap nothing: there it is Wilson's.
    Swapping wins and losses mirrors the interval exactly.

    Raises:
        ValueError: there is not one question.
    """
    n = wins + ties + losses
    if n == 0:
        raise ValueError("A win rate needs at least one judged question.")
    if max(wins, ties, losses) == n:
        return wilson(wins + ties / 2, n)
    if wins < losses:
        low, high = win_rate_interval(losses, ties, wins, seed, draws)
        return 1 - high, 1 - low
    counts = np.random.default_rng(seed).multinomial(n, [wins / n, ties / n, losses / n], size=draws)
    rates = (counts[:, 0] + counts[:, 1] / 2) / n
    tail = expanded_tail(n)
    low, high = np.quantile(rates, [tail, 1 - tail])
    if wins == losses:  # its own mirror image, which random draws only come near
        half = float(high - low) / 2
        return 0.5 - half, 0.5 + half
    return float(low), float(high)


def mean_interval(values: Sequence[float], seed: int = 0, draws: int = BOOTSTRAP_DRAWS) -> Interval:
    """Return the 95% bootstrap interval of a mean, as `win_rate_interval` does for win rates.

    Equal values have no spread, and one value none that could be seen: their interval is that value alone.
    """
    points = np.asarray(values, dtype=float)
    if len(points) < 2 or np.ptp(points) == 0:
        return float(points[0]), float(points[0])
    generator, means = np.random.default_rng(seed), np.empty(draws)
    at_once = max(1, 2_000_000 // len(points))  # 16 MB of draws at a time
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        means[start : start + size] = points[generator.integers(len(points), size=(size, len(points)))].mean(axis=1)
    tail = expanded_tail(len(points))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def sign_test(wins: int, losses: int) -> float:
    """Return the exact two-sided p-value of wins against losses, were both equally likely; ties say nothing.

    With p = 1/2 the binomial is symmetric: twice the smaller tail, at most 1. Exact in whole numbers.
    """
    n, fewer = wins + losses, min(wins, losses)
    tail = term = 1
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / 2**n)


def questions_needed(wins: int, ties: int, losses: int) -> int | None:
    """Return how many questions would show a difference of this size with 80% power at the 5% level, two-sided.

    For the sign test with ties (McNemar's): Connor (1987), with the correction for the exact test by Fleiss, Levin and
    Paik (2003, section 13.4). None where wins and losses are equal: there is no difference to show.
    """
    n = wins + ties + losses
    if wins == losses:
        return None
    decided, difference = (wins + losses) / n, abs(wins - losses) / n
    root = Z95 * math.sqrt(decided) + Z_POWER * math.sqrt(decided - difference**2)
    uncorrected = (root / difference) ** 2
    return math.ceil(uncorrected / 4 * (1 + math.sqrt(1 + 2 / (uncorrected * difference))) ** 2)
