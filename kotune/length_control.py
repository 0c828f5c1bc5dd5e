"""The win rate at equal length: what is left of a lead once longer answers earn nothing for their length.

AlpacaEval's length-controlled win rate (Dubois et al., arXiv 2404.04475) fits a logistic model of the verdict and sets its
length term to zero. Here, with one pair of systems,

    logit P(A wins) = theta + phi * tanh(d / sd(d)),   d = length of A's answer - length of B's, in characters,

and the length-controlled win rate is sigmoid(theta). Simplified: AlpacaEval's third term, the difficulty of each
instruction, needs many systems and is left out; and lengths are characters, not the output tokens of one tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kotune.stats import Z95, Interval

# A weak normal prior on phi (standard deviation 5), as AlpacaEval regularises: without it, verdicts that length
# explains without exception would drive phi to infinity.
RIDGE = 1 / 25
ITERATIONS = 100
FEW = 0.1  # with a smaller share of A's answers longer (or shorter) than B's, equal length lies at the edge of the data


@dataclass(frozen=True)
class LengthControlled:
    """The length-controlled win rate of A; `note` says why there is none, or why it is a guess beyond the data.

    length_effect is phi: above zero, longer answers win more. interval: 95%, from a robust (sandwich) standard error, since
    a tie enters as half a win.
    """

    win_rate: float | None
    interval: Interval | None
    length_effect: float | None
    length_effect_interval: Interval | None
    note: str = ""


def length_controlled(points: Sequence[float], differences: Sequence[float]) -> LengthControlled:
    """Fit the model to points (1 a win of A, 0.5 a tie, 0 a loss) and differences of length (A - B), one a question."""
    y, d = np.asarray(points, dtype=float), np.asarray(differences, dtype=float)
    if np.ptp(y) == 0:
        return LengthControlled(None, None, None, None, "every question has the same verdict: there is nothing to fit")
    if np.std(d) == 0:
        return LengthControlled(None, None, None, None, "the lengths differ by the same everywhere: no effect to tell")
    longer, shorter = int((d > 0).sum()), int((d < 0).sum())
    # fitted from one side, whichever of the two is called A: the other's figures are then its exact mirror image
    turned = (y.sum(), d.tolist()) < (len(y) - y.sum(), (-d).tolist())
    if turned:
        y, d = 1 - y, -d
    x = np.column_stack([np.ones_like(d), np.tanh(d / np.std(d))])
    penalty = np.diag([0.0, RIDGE])
    beta = _fit(x, y, penalty)
    p = _sigmoid(x @ beta)
    hessian = x.T @ (x * (p * (1 - p))[:, None]) + penalty
    bread = np.linalg.inv(hessian)
    scores = x * (y - p)[:, None]
    covariance = bread @ (scores.T @ scores) @ bread * len(y) / (len(y) - 1)
    error = np.sqrt(np.diag(covariance))
    theta, phi = float(-beta[0] if turned else beta[0]), float(beta[1])
    extrapolated = min(longer, shorter) < FEW * len(d)
    return LengthControlled(
        win_rate=float(_sigmoid(theta)),
        interval=(float(_sigmoid(theta - Z95 * error[0])), float(_sigmoid(theta + Z95 * error[0]))),
        length_effect=phi,
        length_effect_interval=(phi - Z95 * float(error[1]), phi + Z95 * float(error[1])),
        note=f"a guess: A is longer {longer} and shorter {shorter} times of {len(d)}" if extrapolated else "",
    )


def _fit(x: np.ndarray, y: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Return the coefficients by Newton's method, halving a step that does not lead downhill."""
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
