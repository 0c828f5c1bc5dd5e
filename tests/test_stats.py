"""Protects: intervals and tests of a win rate are those of scipy and of brute force, and cover the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kotune.stats import (
    expanded_tail,
    mean_interval,
    questions_needed,
    sign_test,
    student_t,
    wilson,
    win_rate_interval,
)

COUNT = st.integers(0, 60)


def test_the_reference_courses_fifteen_questions():
    """10 wins, 2 disagreements and 3 losses were published as "73.33% wins"."""
    assert sign_test(10, 3) == pytest.approx(0.0923, abs=1e-4)
    low, high = win_rate_interval(10, 2, 3)
    assert 0.45 <= low <= 0.52 and 0.88 <= high <= 0.97
    assert 25 <= questions_needed(10, 2, 3) <= 35


@given(COUNT, COUNT)
def test_the_sign_test_is_scipys_exact_binomial_test(wins, losses):
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)
    assert sign_test(wins, losses) == sign_test(losses, wins)


def test_the_sign_test_holds_for_ten_thousand_questions():
    assert sign_test(5100, 4900) == pytest.approx(stats.binomtest(5100, 10_000).pvalue)


@given(st.integers(0, 50), st.integers(1, 50))
def test_wilson_is_scipys(right, more):
    n = right + more - 1
    if n == 0:
        assert wilson(0, 0) == (0, 1)
        return
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_students_quantile_is_scipys():
    for degrees in (1, 2, 3, 4, 9, 14, 39, 500):
        assert student_t(0.975, degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.01)


@given(COUNT, COUNT, COUNT)
@settings(max_examples=60)
def test_swapping_the_sides_mirrors_the_interval(wins, ties, losses):
    if wins + ties + losses == 0:
        return
    low, high = win_rate_interval(wins, ties, losses, draws=500)
    assert win_rate_interval(losses, ties, wins, draws=500) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    assert 0 <= low <= (wins + ties / 2) / (wins + ties + losses) <= high <= 1


@pytest.mark.parametrize("counts", [(10, 2, 3), (24, 5, 11), (40, 40, 10)])
def test_drawing_counts_is_drawing_questions(counts):
    wins, ties, losses = counts
    points = np.repeat([1.0, 0.5, 0.0], counts)
    generator, n = np.random.default_rng(5), len(points)
    means = [points[generator.integers(n, size=n)].mean() for _ in range(20_000)]
    tail = expanded_tail(n)
    assert win_rate_interval(wins, ties, losses) == pytest.approx(np.quantile(means, [tail, 1 - tail]), abs=0.6 / n)
    assert mean_interval(points) == pytest.approx(np.quantile(means, [tail, 1 - tail]), abs=0.6 / n)


@pytest.mark.parametrize("n", [20, 40, 90])
@pytest.mark.parametrize("chances", [(0.5, 0.2, 0.3), (0.4, 0.3, 0.3)])
def test_a_95_percent_interval_covers_the_truth_in_93_to_97_of_100(n, chances):
    generator, covered, trials = np.random.default_rng(n), 0, 1500
    for trial in range(trials):
        counts = (int(count) for count in generator.multinomial(n, chances))
        low, high = win_rate_interval(*counts, seed=trial, draws=1000)
        covered += low - 1e-9 <= chances[0] + chances[1] / 2 <= high + 1e-9
    assert 0.93 <= covered / trials <= 0.975


def test_without_any_spread_the_interval_is_wilsons_and_not_a_point():
    assert win_rate_interval(5, 0, 0) == wilson(5, 5)
    low, high = win_rate_interval(0, 8, 0)
    assert low < 0.3 and high > 0.7
    assert mean_interval([7.0]) == mean_interval([7.0] * 4) == (7.0, 7.0)


def test_so_many_questions_find_the_difference_four_times_in_five():
    for wins, ties, losses in ((10, 2, 3), (24, 5, 11)):
        total = wins + ties + losses
        n = questions_needed(wins, ties, losses)
        drawn = np.random.default_rng(0).multinomial(n, [wins / total, ties / total, losses / total], size=4000)
        found = np.mean([sign_test(int(w), int(lost)) < 0.05 for w, _, lost in drawn])
        assert 0.75 <= found <= 0.85
    assert questions_needed(5, 3, 5) is None
