"""Protects: kappa and AC1 are those of published tables and of scikit-learn, and nothing without a verdict is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from kotune.stats import agree, cohen_kappa, gwet_ac1

VERDICT = st.sampled_from(["a", "tie", "b"])


def test_published_tables():
    # two readers of 50 proposals: observed 0.70, by chance 0.50
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    # Gwet (2002), 125 subjects: 94% agreement, and yet kappa is below zero; chance by Gwet is 2 * 0.972 * 0.028
    skewed = np.array([[118, 5], [2, 0]])
    assert cohen_kappa(skewed) == pytest.approx(-0.0234, abs=1e-4)
    assert gwet_ac1(skewed) == pytest.approx((0.944 - 0.054432) / (1 - 0.054432))


def test_three_categories_by_hand():
    table = np.array([[4, 1, 0], [1, 2, 1], [0, 0, 1]])
    # observed 0.7; prevalence 0.5, 0.35, 0.15 -> chance of AC1 (0.25 + 0.2275 + 0.1275) / 2
    assert gwet_ac1(table) == pytest.approx((0.7 - 0.3025) / (1 - 0.3025))


@given(st.lists(st.tuples(VERDICT, VERDICT), min_size=2, max_size=40))
def test_kappa_is_scikit_learns(pairs):
    first, second = ({i: pair[side] for i, pair in enumerate(pairs)} for side in (0, 1))
    found = agree(first, second)
    used = set(first.values()) | set(second.values())
    if found.kappa is None:
        assert len(used) == 1
    else:
        expected = cohen_kappa_score(list(first.values()), list(second.values()), labels=["a", "tie", "b"])
        assert found.kappa == pytest.approx(expected)
        low, high = found.kappa_interval
        assert low <= high
    assert found.ac1_interval[0] <= found.ac1 + 1e-9 and found.ac1 <= found.ac1_interval[1] + 1e-9


SWAP = {"a": "b", "b": "a", "tie": "tie"}


@given(st.lists(st.tuples(VERDICT, VERDICT), min_size=2, max_size=40))
def test_swapping_the_judges_or_the_sides_leaves_every_figure_as_it_is(pairs):
    first, second = ({i: pair[side] for i, pair in enumerate(pairs)} for side in (0, 1))
    found = agree(first, second)
    swapped = [{key: SWAP[verdict] for key, verdict in one.items()} for one in (first, second)]
    for mirrored in (agree(second, first), agree(*swapped)):
        assert (mirrored.n, mirrored.share_interval) == (found.n, found.share_interval)
        for figure in ("kappa", "kappa_interval", "ac1", "ac1_interval"):
            assert getattr(mirrored, figure) == pytest.approx(getattr(found, figure), abs=1e-12)


def test_items_without_a_verdict_are_left_out_and_counted():
    found = agree({"1": "a", "2": None, "3": "b"}, {"1": "a", "2": "b", "4": "tie"})
    assert (found.n, found.left_out, found.share) == (1, 3, 1.0)
    assert agree({"1": "a"}, {"2": "a"}) is None
