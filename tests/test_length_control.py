"""Protects: the length-controlled win rate is scikit-learn's logistic fit with its length term at zero, and mirrors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from kotune.stats import RIDGE, length_controlled


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
def test_swapping_the_sides_mirrors_it(questions):
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
