"""How sure a figure is: intervals and tests of rates, agreement of two judges, and the win rate at equal length.

Every interval is at 95%. A win rate counts a tie as half a win, so each question gives 0, 0.5 or 1. What swaps the two
systems, or the two judges, mirrors each figure exactly: where numbers are drawn or fitted, that is done in one
orientation, and the other is given its mirror image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from statistics import NormalDist, fmean
from typing import Any

import numpy as np

from kotune.language import said

BOOTSTRAP_DRAWS = 10_000
Z95 = NormalDist().inv_cdf(0.975)
Z_POWER = NormalDist().inv_cdf(0.8)  # the chance to find a difference that is there
Interval = tuple[float, float]  # its low and its high end
WINNERS = ("a", "tie", "b")
# A weak normal prior on phi (standard deviation 5), as AlpacaEval regularises: without it, verdicts that length
# explains without exception would drive phi to infinity.
RIDGE = 1 / 25
ITERATIONS = 100  # of Newton's method, at most
FEW = 0.1  # with a smaller share of A's answers longer (or shorter) than B's, equal length lies at the edge of the data


# --- rates -----------------------------------------------------------------------------------


def share(part: float, whole: float) -> float:
    """Return a part over its whole; NaN where the whole is 0."""
    return part / whole if whole else nan


def wilson(right: float, n: int) -> Interval:
    """Return Wilson's 95% interval of a share (Wilson, 1927): it stays inside [0, 1] and holds for small n.

    `right` of `n`; halves (ties) may be among them. With n = 0 nothing is known: (0, 1).
    """
    if n == 0:
        return 0.0, 1.0
    rate, z2 = right / n, Z95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
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
    where Student's is due; the "expanded percentile" interval corrects both (Hesterberg, arXiv 1411.5279, section 4.3).
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
    if wins == losses:  # the sample is its own mirror image, which random draws only come near
        half = float(high - low) / 2
        return 0.5 - half, 0.5 + half
    return float(low), float(high)


def fieller(numerator: tuple[float, float], denominator: tuple[float, float]) -> Interval | None:
    """Return Fieller's 95% interval of the ratio of two independent means, each given as (mean, variance of the mean).

    It holds the ratios for which `numerator - ratio * denominator` may be zero (Fieller, 1954), and widens without bound as
    the denominator comes near zero. None where the denominator is not above zero at this level.
    """
    (above, above_variance), (below, below_variance) = numerator, denominator
    surplus = below**2 - Z95**2 * below_variance
    if below <= 0 or surplus <= 0:
        return None
    root = Z95 * math.sqrt(above_variance * surplus + above**2 * below_variance)
    return (above * below - root) / surplus, (above * below + root) / surplus


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


# --- agreement of two judges -----------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree on the same items.

    Cohen's kappa falls towards zero where one verdict is much the commonest, however often both agree; Gwet's AC1 does
    not (Gwet, 2008). Both stand beside the plain share of agreement.
    """

    n: int  # items that both have a verdict on
    left_out: int  # items that only one of the two, or neither, has a verdict on
    categories: tuple[str, ...]  # what a verdict may be
    table: tuple[tuple[int, ...], ...]  # rows: the first judge's verdicts, columns: the second's, in that order
    share: float  # of the items on which both say the same
    share_interval: Interval
    kappa: float | None  # None where chance alone would give full agreement (both always say the same thing)
    kappa_interval: Interval | None
    ac1: float
    ac1_interval: Interval

    def row(self) -> dict:
        """Return the agreement as one row for a table or JSON."""
        return asdict(self)


def cohen_kappa(tables: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa (1960) of tables of counts, shape (..., k, k); nan where chance alone gives 1."""
    shares = tables / tables.sum(axis=(-2, -1), keepdims=True)
    observed = np.trace(shares, axis1=-2, axis2=-1)
    expected = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isclose(expected, 1), np.nan, (observed - expected) / (1 - expected))


def gwet_ac1(tables: np.ndarray) -> np.ndarray:
    """Return Gwet's AC1 (2008) of tables of counts, shape (..., k, k) with k of at least 2."""
    shares = tables / tables.sum(axis=(-2, -1), keepdims=True)
    observed = np.trace(shares, axis1=-2, axis2=-1)
    prevalence = (shares.sum(axis=-1) + shares.sum(axis=-2)) / 2
    expected = (prevalence * (1 - prevalence)).sum(axis=-1) / (tables.shape[-1] - 1)
    return (observed - expected) / (1 - expected)


def agree(
    first: Mapping[Any, str | None],
    second: Mapping[Any, str | None],
    categories: Sequence[str] = WINNERS,
    seed: int = 0,
) -> Agreement | None:
    """Return how far two judges' verdicts (item -> category, None for no verdict) agree; None where they share no item.

    Intervals are 95% percentile bootstraps over items; draws in which kappa is undefined are left out of its own. Swapping
    the judges, or the two ends of `categories` (A and B), leaves every figure as it is.
    """
    said = [(one, second.get(key)) for key, one in first.items()]
    both = [(one, other) for one, other in said if one is not None and other is not None]
    if not both:
        return None
    place = {category: number for number, category in enumerate(categories)}
    table = np.zeros((len(categories), len(categories)), dtype=int)
    for one, other in both:
        table[place[one], place[other]] += 1
    n = len(both)
    # one form of the table and its mirror images, so that all of them are given the same draws
    drawn_from = np.array(min(form.tolist() for side in (table, table.T) for form in (side, side[::-1, ::-1])))
    drawn = np.random.default_rng(seed).multinomial(n, drawn_from.ravel() / n, size=BOOTSTRAP_DRAWS)
    drawn = drawn.reshape(-1, *table.shape)
    kappa = float(cohen_kappa(table))
    agreed = int(np.trace(table))
    return Agreement(
        n=n,
        left_out=len(first.keys() | second.keys()) - n,
        categories=tuple(categories),
        table=tuple(map(tuple, table.tolist())),
        share=agreed / n,
        share_interval=wilson(agreed, n),
        kappa=None if np.isnan(kappa) else kappa,
        kappa_interval=None if np.isnan(kappa) else _middle(cohen_kappa(drawn)),
        ac1=float(gwet_ac1(table)),
        ac1_interval=_middle(gwet_ac1(drawn)),
    )


def _middle(values: np.ndarray) -> Interval:
    low, high = np.quantile(values[~np.isnan(values)], [0.025, 0.975])
    return float(low), float(high)


# --- the win rate at equal length ------------------------------------------------------------


@dataclass(frozen=True)
class LengthControlled:
    """The length-controlled win rate of A: what is left of a lead once longer answers earn nothing for their length."""

    win_rate: float | None
    interval: Interval | None  # from a robust (sandwich) standard error, since a tie enters as half a win
    length_effect: float | None  # phi: above zero, longer answers win more
    length_effect_interval: Interval | None
    note: str = ""  # why there is no rate, or why it is a guess beyond the data


def length_controlled(points: Sequence[float], differences: Sequence[float]) -> LengthControlled:
    """Return the win rate at equal length, from points (1 a win of A, 0.5 a tie, 0 a loss) and differences of length.

    AlpacaEval's length-controlled win rate (Dubois et al., arXiv 2404.04475) fits a logistic model of the verdict and
    sets its length term to zero. Here, with one pair of systems,

        logit P(A wins) = theta + phi * tanh(d / sd(d)),   d = length of A's answer - length of B's, in characters,

    and the length-controlled win rate is sigmoid(theta). Simplified: AlpacaEval's third term, the difficulty of each
    instruction, needs many systems and is left out; and lengths are characters, not the output tokens of one tokenizer.
    """
    y, d = np.asarray(points, dtype=float), np.asarray(differences, dtype=float)
    if np.ptp(y) == 0:
        why = said("every question has the same verdict: there is nothing to fit", "모든 질문의 판정이 같아 맞출 것이 없음")
        return LengthControlled(None, None, None, None, why)
    if np.std(d) == 0:
        why = said(
            "the lengths differ by the same everywhere: no effect to tell",
            "길이의 차이가 어디서나 같아 길이의 영향을 알 수 없음",
        )
        return LengthControlled(None, None, None, None, why)
    longer, shorter = int((d > 0).sum()), int((d < 0).sum())
    # fitted from one side, whichever of the two is called A: the other's figures are then its exact mirror image
    turned = (y.sum(), d.tolist()) < (len(y) - y.sum(), (-d).tolist())
    if turned:
        y, d = 1 - y, -d
    x = np.column_stack([np.ones_like(d), np.tanh(d / np.std(d))])
    penalty = np.diag([0.0, RIDGE])
    beta = logistic_coefficients(x, y, penalty)
    p = _sigmoid(x @ beta)
    hessian = x.T @ (x * (p * (1 - p))[:, None]) + penalty
    bread = np.linalg.inv(hessian)
    scores = x * (y - p)[:, None]
    covariance = bread @ (scores.T @ scores) @ bread * len(y) / (len(y) - 1)
    error = np.sqrt(np.diag(covariance))
    theta, phi = float(-beta[0] if turned else beta[0]), float(beta[1])
    extrapolated = min(longer, shorter) < FEW * len(d)
    guess = said(
        f"a guess: A is longer {longer} and shorter {shorter} times of {len(d)}",
        f"짐작: {len(d)}번 가운데 A가 더 긴 것이 {longer}번, 더 짧은 것이 {shorter}번",
    )
    return LengthControlled(
        win_rate=float(_sigmoid(theta)),
        interval=(float(_sigmoid(theta - Z95 * error[0])), float(_sigmoid(theta + Z95 * error[0]))),
        length_effect=phi,
        length_effect_interval=(phi - Z95 * float(error[1]), phi + Z95 * float(error[1])),
        note=guess if extrapolated else "",
    )


def logistic_coefficients(x: np.ndarray, y: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Return the coefficients of a logistic regression by Newton's method, halving a step that does not lead downhill.

    x: a row a case, a column a feature; y: what happened, from 0 to 1; penalty: a quadratic form, square, of the features.
    """
    beta = np.zeros(x.shape[1])
    loss = _loss(x, y, beta, penalty)
    for _ in range(ITERATIONS):
        p = _sigmoid(x @ beta)
        gradient = x.T @ (p - y) + penalty @ beta
        hessian = x.T @ (x * (p * (1 - p))[:, None]) + penalty
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (new := _loss(x, y, beta - scale * step, penalty)) > loss and scale > 1e-8:
            scale /= 2
        beta, change, loss = beta - scale * step, float(np.abs(scale * step).max()), new
        if change < 1e-10:
            break
    return beta


def _loss(x: np.ndarray, y: np.ndarray, beta: np.ndarray, penalty: np.ndarray) -> float:
    logits = x @ beta
    return float(np.sum(np.logaddexp(0, logits) - y * logits) + beta @ penalty @ beta / 2)


def _sigmoid(value):
    return np.exp(-np.logaddexp(0, -value))  # overflows at neither end


def macro_f1(gold: Sequence[str], predicted: Sequence[str | None]) -> float:
    """Return the mean F1 over the labels that occur in either list; NaN for no rows.

    None predicts no label: it is a miss for the gold label and a false alarm for none. The same labels as scikit-learn's
    `f1_score(average="macro")` has without its `labels`.
    """
    if not gold:
        return nan
    right = Counter(one for one, other in zip(gold, predicted, strict=True) if one == other)
    due, said = Counter(gold), Counter(label for label in predicted if label is not None)
    return fmean(2 * right[label] / (due[label] + said[label]) for label in due | said)


def macro_f1_interval(gold: Sequence[str], predicted: Sequence[str | None], seed: int = 0) -> Interval:
    """Return the 95% bootstrap interval of `macro_f1` over rows; with less than two rows nothing is known: (0, 1).

    Drawing rows with replacement gives multinomial counts of each (label, prediction), which are drawn at once. Where all
    are right, or all wrong, a bootstrap has no spread to go by: there it is Wilson's.
    """
    n = len(gold)
    if n < 2:
        return 0.0, 1.0
    counts = Counter(zip(gold, predicted, strict=True))
    labels = sorted({label for pair in counts for label in pair if label is not None})
    drawn = np.random.default_rng(seed).multinomial(n, [count / n for count in counts.values()], size=BOOTSTRAP_DRAWS)
    cells = list(counts)
    right, due, said = (
        np.column_stack([drawn[:, [belongs(cell, label) for cell in cells]].sum(axis=1) for label in labels])
        for belongs in (
            lambda cell, label: cell == (label, label),
            lambda cell, label: cell[0] == label,
            lambda cell, label: cell[1] == label,
        )
    )
    with np.errstate(invalid="ignore"):  # a label that a draw lacks has no F1 in it
        means = np.nanmean(2 * right / (due + said), axis=1)
    if np.ptp(means) == 0:
        return wilson(n * means[0], n)
    tail = expanded_tail(n)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
