"""Protects: the corrected win rate is Rogan and Gladen's and truescore's, its interval holds the truth as often as it says,
both mirror when the sides are swapped, and a judge that is no better than chance corrects nothing.
"""

from dataclasses import asdict

import numpy as np
import pytest
import truescore
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.correction_coverage import JUDGES, TRUTHS, coverage, coverage_by_votes
from kotune.judging.calibration import calibrate
from kotune.judging.comparison import report
from kotune.judging.correction import correct, correct_by_votes
from kotune.judging.judgments import Tally
from tests.judging.test_calibration import By, knowing
from tests.judging.test_comparison import judged

GOOD_JUDGE = Tally(150, 16, 42)  # of 208 pairs the better 150 times, a tie 16: 76.0%
TALLY = st.builds(Tally, *[st.integers(0, 60)] * 3)


def mirrored(tally):
    return Tally(tally.losses, tally.ties, tally.wins)


def test_the_lead_of_a_is_divided_by_the_lead_of_the_better_answer():
    found = correct(Tally(25, 6, 9), GOOD_JUDGE)
    assert found.sensitivity == pytest.approx(158 / 208)
    assert found.win_rate == pytest.approx((0.7 + 158 / 208 - 1) / (2 * 158 / 208 - 1))  # Rogan and Gladen, 1978
    assert found.win_rate == pytest.approx(0.5 + 0.2 / (2 * 158 / 208 - 1)) and found.n == 208
    assert found.interval[0] < 0.7 < found.win_rate < found.interval[1] == 1
    assert "errs on these pairs as on the 208 calibration pairs" in found.note and "76.0%" in found.note


@given(TALLY, TALLY, TALLY)
@settings(deadline=None)
def test_swapping_the_sides_mirrors_it_and_the_leader_stays(asked, better, by_rule):
    if asked.n + by_rule.n == 0:
        return
    one, other = correct(asked, better, by_rule), correct(mirrored(asked), better, mirrored(by_rule))
    assert one.note == other.note and (one.win_rate is None) == (other.win_rate is None)
    if one.win_rate is None:
        assert one.interval is None and one.note.startswith("cannot be corrected")
        return
    assert one.win_rate == pytest.approx(1 - other.win_rate, abs=1e-12)
    assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]), abs=1e-12)
    assert 0 <= one.interval[0] <= one.win_rate <= one.interval[1] <= 1
    assert one.sensitivity_interval[0] > 0.5
    if by_rule.n == 0:
        plain = 0.5 + asked.lead / asked.n / 2
        assert (one.win_rate - 0.5) * (plain - 0.5) >= 0 and abs(one.win_rate - 0.5) >= abs(plain - 0.5) - 1e-12


def test_a_judge_that_does_not_err_changes_nothing_and_a_wider_calibration_narrows_the_interval():
    sure = correct(Tally(25, 6, 9), Tally(10**6, 0, 0))
    assert sure.win_rate == pytest.approx(0.7)
    widths = []
    for scale in (1, 4, 1000):
        low, high = correct(Tally(100, 30, 70), Tally(30 * scale, 4 * scale, 10 * scale)).interval
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2] > 0


def test_a_judge_no_better_than_chance_corrects_nothing():
    for better in (Tally(104, 0, 104), Tally(114, 0, 94), Tally(38, 0, 57), Tally(0, 208, 0), Tally(3, 0, 0)):
        found = correct(Tally(38, 0, 2), better)
        assert found.win_rate is found.interval is None
        assert "cannot be corrected: the judge is no better than chance on the calibration pairs" in found.note
    assert correct(Tally(1, 0, 0), Tally()).note.startswith("cannot be corrected: no calibration pair has")


def test_a_lead_that_the_measured_errors_rule_out_is_no_certainty():
    """38 of 40 by a judge that is right on three pairs in four: no true rate explains that, so none is given."""
    found = correct(Tally(38, 0, 2), GOOD_JUDGE)
    assert found.win_rate is None and "more often than its errors on the calibration pairs allow" in found.note


def test_blank_answers_are_counted_as_they_are():
    lines = [judged(number, *"aa") for number in range(10)] + [judged(number, *"bb") for number in range(10, 14)]
    blank = [judged(number, *"bb", a="", problem="empty_a") for number in range(14, 20)]
    calibration = calibrate(By(lambda pair: "tie" if "14일" in pair.first + pair.second else knowing(pair), name="j"))
    corrected = report([*lines, *blank], calibration).corrected
    lead = calibration.better.lead / calibration.better.n
    assert 0.5 < lead < 1 and corrected.win_rate == pytest.approx(0.5 + (6 / lead - 6) / 20 / 2)
    assert corrected.interval[0] < 0.5 < corrected.interval[1]
    assert report(lines).corrected is None
    assert report(lines, calibration).row()["corrected"] == asdict(report(lines, calibration).corrected)


def test_the_estimate_is_truescores_and_its_interval_the_same_with_many_calibration_pairs():
    """truescore has wins and losses alone, and takes sensitivity and specificity for two numbers: with so many calibration
    pairs that both are known, what is left is the chance of the questions."""
    right, wrong, wins, losses = 30_000, 10_000, 1200, 800
    # each calibration pair once with the better answer as A, once as B
    gold = np.repeat([1, 1, 0, 0], [right, wrong, right, wrong])
    calibration = np.repeat([1, 0, 0, 1], [right, wrong, right, wrong])
    judge = np.concatenate([calibration, np.repeat([1, 0], [wins, losses])])
    theirs = truescore.rogan_gladen_estimate(judge, gold, np.arange(len(gold)))
    asked = Tally(int(judge.sum()), 0, int(len(judge) - judge.sum()))  # its rate is over all verdicts, gold ones too
    ours = correct(asked, Tally(right, 0, wrong))
    assert ours.win_rate == pytest.approx(theirs.point, abs=1e-12)
    assert ours.interval == pytest.approx((theirs.low, theirs.high), abs=0.003)
    assert theirs.high - theirs.low > ours.interval[1] - ours.interval[0]


@pytest.mark.slow
@pytest.mark.parametrize("judge", JUDGES[:4])
@pytest.mark.parametrize("sizes", [(40, 100), (40, 208), (90, 208), (400, 208)])
def test_a_95_percent_interval_covers_the_truth_in_93_to_97_of_100(sizes, judge):
    for truth in TRUTHS[:4]:
        assert 0.93 <= coverage(sizes, judge, truth, trials=3000).held <= 0.97, truth


@pytest.mark.slow
def test_a_judge_that_hardly_errs_on_few_pairs_has_too_wide_an_interval_and_never_too_narrow():
    for truth in TRUTHS:
        assert coverage((40, 40), JUDGES[4], truth, trials=3000).held >= 0.94


# --- votes ---


def leads(counts):
    """(what people said, what the judge said) as often as counted; leads of A."""
    return [np.repeat(side, list(counts.values())) for side in zip(*counts, strict=True)]


VOTED = leads({(1, 1): 25, (1, 0): 6, (1, -1): 4, (0, 1): 5, (0, 0): 8, (-1, 1): 7, (-1, -1): 15})
OTHERS = np.repeat([1, 0, -1], [120, 40, 40])


@pytest.mark.parametrize("scale", [1, 200])
def test_the_estimate_by_votes_is_truescores_and_its_interval_the_same_with_many_votes(scale):
    people, judge, others = (np.tile(side, scale) for side in (*VOTED, OTHERS))
    rates = [(1 + side) / 2 for side in (people, np.concatenate([judge, others]))]
    theirs = truescore.ppi_estimate(rates[1], rates[0], np.arange(len(people)))
    ours = correct_by_votes(people, judge, others)
    assert ours.win_rate == pytest.approx(theirs.point, abs=1e-12) and ours.n == 70 * scale
    assert ours.judge_weight == pytest.approx(theirs.lambda_, abs=1e-12) and 0 < ours.judge_weight < 1
    assert ours.interval == pytest.approx((theirs.low, theirs.high), abs=0.02 if scale == 1 else 1e-4)


def test_votes_see_a_taste_for_one_system_that_calibration_cannot():
    """A judge that says A wherever B is better: the better its calibration, the surer it is of a lead that is not there."""
    people, judge = leads({(1, 1): 20, (-1, 1): 20})
    found = correct_by_votes(people, judge, np.ones(160))
    assert found.win_rate == pytest.approx(0.5) and found.interval[0] < 0.5 < found.interval[1]
    assert correct(Tally(200, 0, 0), Tally(208, 0, 0)).win_rate == 1


@given(st.lists(st.tuples(*[st.sampled_from([1, 0, -1])] * 2), min_size=20, max_size=60),
       st.lists(st.sampled_from([1, 0, -1]), max_size=60), TALLY)  # fmt: skip
@settings(deadline=None)
def test_swapping_the_sides_mirrors_the_estimate_by_votes(pairs, others, by_rule):
    people, judge = np.array(pairs).T
    one = correct_by_votes(people, judge, others, by_rule)
    other = correct_by_votes(-people, -judge, [-lead for lead in others], mirrored(by_rule))
    assert one.win_rate == pytest.approx(1 - other.win_rate, abs=1e-9)
    assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]), abs=1e-9)
    assert 0 <= one.interval[0] <= one.win_rate <= one.interval[1] <= 1


def test_votes_on_judged_pairs_correct_the_report_and_those_on_others_are_counted():
    lines = [judged(number, *("aa" if number % 4 else "bb")) for number in range(40)]
    lines += [judged("same", "tie", "tie", a="가", b=" 가 "), judged("blank", *"aa", b=" ", problem="empty_b")]
    votes = {f"q{number}": "a" if number % 2 else "b" for number in range(30)}
    found = report(lines, votes=votes | {"elsewhere": "a", "qsame": "b"}).corrected
    people, judge = leads({(1, 1): 15, (-1, 1): 7, (-1, -1): 8})
    plain = correct_by_votes(people, judge, np.repeat([1, -1], [8, 2]))
    assert found.by == "votes" and found.n == 30 and found.note.endswith("; 2 votes are on pairs without a verdict")
    assert found.win_rate == pytest.approx((40 * plain.win_rate + 0.5 + 1) / 42)
    few = report(lines, votes={name: votes[name] for name in list(votes)[:10]}).corrected
    assert few.win_rate is None and "10 votes on these pairs say too little, 20 are needed" in few.note


@pytest.mark.slow
@pytest.mark.parametrize("judge", JUDGES[:4])
@pytest.mark.parametrize("sizes", [(100, 40), (400, 100)])
def test_an_interval_by_votes_covers_the_truth_in_93_to_97_of_100(sizes, judge):
    for truth in TRUTHS[:3]:
        assert 0.93 <= coverage_by_votes(sizes, judge, truth, trials=2000).held <= 0.97, truth
