"""How far two judges agree beyond chance: Cohen's kappa and Gwet's AC1, with intervals.

Kappa falls towards zero where one verdict is much the commonest, however often both agree; AC1 does not (Gwet, 2008).
Both are shown with the plain share of agreement, so that a reader sees which is which.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kotune.stats import BOOTSTRAP_DRAWS, Interval, wilson

WINNERS = ("a", "tie", "b")


@dataclass(frozen=True)
class Agreement:
    """Two judges on the same n items.

    table: rows are the first judge's verdicts, columns the second's, in the order of `categories`. kappa is None where
    chance alone would give full agreement (both always say the same thing). left_out: items that only one of the two, or
    neither, has a verdict on.
    """

    n: int
    left_out: int
    categories: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    share: float
    share_interval: Interval
    kappa: float | None
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
    first: Mapping[Hashable, str | None],
    second: Mapping[Hashable, str | None],
    categories: Sequence[str] = WINNERS,
    seed: int = 0,
) -> Agreement | None:
    """Return how far two judges' verdicts (item -> category, None for no verdict) agree; None where they share no item.

    Intervals are 95% percentile bootstraps over items; draws in which kappa is undefined are left out of its own. Swapping
    the judges, or the two ends of `categories` (A and B), leaves every figure as it is.
    """
    items = [key for key in first if first[key] is not None and second.get(key) is not None]
    if not items:
        return None
    place = {category: number for number, category in enumerate(categories)}
    table = np.zeros((len(categories), len(categories)), dtype=int)
    for key in items:
        table[place[first[key]], place[second[key]]] += 1
    n = len(items)
    # one form of the table and its mirror images, so that all of them are given the same draws
    drawn_from = np.array(min(form.tolist() for one in (table, table.T) for form in (one, one[::-1, ::-1])))
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
