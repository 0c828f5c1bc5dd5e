"""Protects: intervals and tests are those of scipy and of brute force and cover the truth as often as they say; agreement
and the length-controlled win rate are those of published tables and of scikit-learn; swapped sides mirror every figure.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score

from kotune.stats import (
    RIDGE,
    agree,
    cohen_kappa,
    expanded_tail,
    fieller,
    gwet_ac1,
    length_controlled,
    mean_interval,
    questions_needed,
    sign_test,
    student_t,
    wilson,
    win_rate_interval,
)  # fmt: skip

COUNT = st.integers(0, 60)
VERDICT = st.sampled_from(["a", "tie", "b"])
SWAP = {"a": "b", "b": "a", "tie": "tie"}


# --- rates ---


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


def test_fiellers_interval_holds_the_ratios_that_a_test_does_not_reject():
    numerator, denominator = (0.4, 0.01), (0.5, 0.004)
    ratios = np.linspace(-10, 10, 2_000_001)
    distance = numerator[0] - ratios * denominator[0]
    kept = ratios[distance**2 <= 1.959964**2 * (numerator[1] + ratios**2 * denominator[1])]
    assert fieller(numerator, denominator) == pytest.approx((kept[0], kept[-1]), abs=2e-5)
    assert fieller(numerator, (0.1, 0.004)) is None and fieller(numerator, (-0.5, 0.004)) is None
    assert fieller(numerator, (0.5, 0.0)) == pytest.approx((0.8 - 2 * 1.959964 * 0.1, 0.8 + 2 * 1.959964 * 0.1))


def test_so_many_questions_find_the_difference_four_times_in_five():
    for wins, ties, losses in ((10, 2, 3), (24, 5, 11)):
        total = wins + ties + losses
        n = questions_needed(wins, ties, losses)
        drawn = np.random.default_rng(0).multinomial(n, [wins / total, ties / total, losses / total], size=4000)
        found = np.mean([sign_test(int(w), int(lost)) < 0.05 for w, _, lost in drawn])
        assert 0.75 <= found <= 0.85
    assert questions_needed(5, 3, 5) is None


# --- agreement ---


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


@pytest.mark.slow
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


@pytest.mark.slow
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


# --- at equal length ---


def drawn(seed, n, theta, phi):
    generator = np.random.default_rng(seed)
    differences = generator.normal(10, 40, n).round()
    logits = theta + phi * np.tanh(differences / np.std(differences))
    return (generator.random(n) < 1 / (1 + np.exp(-logits))).astype(float), differences


@pytest.mark.parametrize("seed", range(5))
def test_it_is_scikit_learns_fit(seed):
    points, differences = drawn(seed, 80, 0.3, 1.5)
    points[:10] = 0.5
    x = np.tanh(differences / np.std(differences))[:, None]
    # a tie is half a win and half a loss
    model = LogisticRegression(C=1 / RIDGE, tol=1e-10, max_iter=1000)
    model.fit(np.vstack([x, x]), np.repeat([1, 0], len(x)), np.concatenate([points, 1 - points]))
    found = length_controlled(points, differences)
    assert found.win_rate == pytest.approx(1 / (1 + np.exp(-model.intercept_[0])), abs=1e-5)
    assert found.length_effect == pytest.approx(model.coef_[0, 0], abs=1e-4)
    assert found.note == ""


def test_a_lead_that_is_all_length_goes_and_its_interval_covers():
    covered = 0
    for seed in range(200):
        points, differences = drawn(seed, 300, 0.0, 2.0)
        found = length_controlled(points, differences + 0)
        covered += found.interval[0] <= 0.5 <= found.interval[1]
    assert 0.9 <= covered / 200 <= 0.99


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-300, 300)), min_size=3, max_size=40))
@settings(max_examples=80)
def test_swapping_the_sides_mirrors_the_rate_at_equal_length(questions):
    points, differences = np.array(questions, dtype=float).T
    one, other = length_controlled(points, differences), length_controlled(1 - points, -differences)
    assert (one.win_rate is None) == (other.win_rate is None)
    if one.win_rate is not None:
        assert one.win_rate == pytest.approx(1 - other.win_rate, abs=1e-12)
        assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]), abs=1e-12)
        assert one.length_effect == other.length_effect


def test_where_nothing_can_be_fitted_or_only_guessed_it_says_so():
    assert "same verdict" in length_controlled([1, 1, 1], [3, -2, 8]).note
    assert "differ by the same" in length_controlled([1, 0, 1], [0, 0, 0]).note
    found = length_controlled([1, 0] * 10, range(5, 25))
    assert found.win_rate is not None and "a guess: A is longer 20 and shorter 0 times of 20" in found.note


def test_verdicts_that_length_explains_without_exception_stay_finite():
    found = length_controlled([1.0] * 10 + [0.0] * 10, [50] * 10 + [-50] * 10)
    assert found.win_rate == pytest.approx(0.5)
    assert 1 < found.length_effect < 30
