"""The win rate of A with the judge's measured errors taken out of it, and an interval that holds both uncertainties.

A judge that is right three times in four reports a true win rate of 90% as 70%: its errors draw every rate towards one half.
How often it errs is known from pairs whose better answer is known (`calibration`), or from people's votes on some of the
compared pairs (`votes`), and can be undone. Both samples are finite, and the interval carries the chance in both.

**By calibration pairs.** Every pair is shown in both orders, so a judge cannot know which system is called A. What it gives
the better answer (1 for a win, a half for a tie) is therefore one number, its sensitivity and its specificity at once; and
where neither answer is better, its errors for A and for B cancel out. With that the correction of Rogan and Gladen (1978),
which arXiv 2511.21140 brings to LLM judges, needs no split of three verdicts into two classes:

    lead of A, corrected = lead of A by the judge / lead of the better answer by the judge on the calibration pairs

where a lead is the share of wins less that of losses, and the win rate is (1 + lead) / 2. The ratio's interval is Fieller's
over counts with a few made-up pairs in balance added, as Lang and Reiczigel (2014) do for this correction: without them a
judge that erred on none of forty pairs would pass for one that never errs.

Assumed: that the judge errs on the compared pairs as often as on the calibration pairs, whichever system is the better one;
and that the pairs of either sample are independent. A judge with a taste for the manner of one of the systems breaks the
first, and calibration cannot show it. Pairs on which the judge cannot be read are in neither lead. Dividing moves the
judge's lead away from zero and never across it: who leads stays as it was, by how much does not.

**By votes.** The judge's rate on the pairs without a vote is moved by what people and judge differed on those with one: a
prediction-powered estimate, with the weight for the judge that makes it surest (PPI++, Angelopoulos et al., arXiv
2311.01453). It assumes nothing of the judge's errors, a taste for one system included. It takes votes for the truth, and the
pairs voted on for drawn by lot, as `votes.draw` draws them.

How often the intervals hold the truth: `dev/correction_coverage.py`, and a test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kotune.judging.calibration import Calibration
from kotune.judging.judgments import LEADS, Judgment, Tally, Winner
from kotune.language import said
from kotune.stats import Z95, Interval, fieller

MADE_UP_VERDICTS = Z95**2  # half of them wins, half losses: Agresti and Coull (1998)
MADE_UP_PAIRS = 2  # one that the judge got right and one wrong: Lang and Reiczigel (2014)
MADE_UP_VOTES = np.array([1.0, -1.0])  # one for each side, on which the judge said tie
FEWEST_VOTES = 20  # over fewer, the interval is so wide that it says next to nothing
Mean = tuple[float, float]  # a mean and its variance


@dataclass(frozen=True)
class Corrected:
    """The win rate of A corrected for the judge's errors, or why there is none."""

    win_rate: float | None  # None where it cannot be corrected
    interval: Interval | None  # 95%, over the compared pairs and those that the errors were measured on
    by: Literal["calibration", "votes"]  # what its errors were measured by
    n: int  # how many pairs that is: calibration pairs with a better answer and a verdict, or votes
    note: str  # what the correction assumes, or why there is none
    # what the judge gave the better answer of a calibration pair, a tie as half: its sensitivity, and its specificity
    sensitivity: float | None = None
    sensitivity_interval: Interval | None = None
    judge_weight: float | None = None  # beside votes: from 0, the votes alone, to 1


# --- calibration pairs -----------------------------------------------------------------------


def by_calibration(judged: Sequence[Judgment], calibration: Calibration) -> Corrected:
    """Return the win rate of judged pairs corrected by what the judge's calibration measured.

    Blank answers lose by rule, not by a verdict of the judge: these pairs are counted as they are.
    """
    asked = Tally.of(LEADS[line.winner] for line in judged if line.was_asked)
    by_rule = Tally.of(LEADS[line.winner] for line in judged if not line.was_asked)
    return correct(asked, calibration.better, by_rule)


def correct(asked: Tally, better: Tally, by_rule: Tally | None = None) -> Corrected:
    """Return the win rate corrected by counts: the judge's verdicts on A, and those on better answers of calibration pairs.

    `by_rule` are pairs whose verdict is sure. There must be one compared pair. Swapping A and B mirrors the estimate.
    """
    sure = by_rule or Tally()
    if better.n == 0:
        why = said(
            "no calibration pair has both a better answer and a verdict", "정답을 아는 쌍 가운데 판정이 나온 것이 없습니다"
        )
        return _without(why, better)
    measured = _lead(better)
    n = asked.n + sure.n + MADE_UP_VERDICTS
    # a pair with a sure verdict is worth what a judge would give it on average, so that one ratio serves them all
    mean = (asked.lead + measured[0] * sure.lead) / n
    square = (asked.decided + measured[0] ** 2 * sure.decided + MADE_UP_VERDICTS) / n
    ratio = fieller((asked.lead / n, (square - mean**2) / n), measured)
    if ratio is None:
        share = f"{_sensitivity(better):.1%}"
        why = said(
            f"the judge is no better than chance on the calibration pairs (it preferred the better answer of {share} of "
            f"{better.n}, a tie as half)",
            f"정답을 아는 쌍에서 심사자가 우연보다 나을 것이 없습니다({better.n}쌍의 {share}에서 더 나은 답변을 골랐고 "
            "무승부는 반으로 셉니다)",
        )
        return _without(why, better)
    low, high = (_win_rate(sure.lead / n + end) for end in ratio)
    if low > 1 or high < 0:
        why = said(
            "the judge prefers one system more often than its errors on the calibration pairs allow, and so errs otherwise "
            "on these pairs",
            "정답을 아는 쌍에서 잰 오류로는 나올 수 없을 만큼 자주 한쪽을 고르므로, 이 쌍들에서는 다르게 틀립니다",
        )
        return _without(why, better)
    rate = _clipped(_win_rate((sure.lead + asked.lead * better.n / better.lead) / (asked.n + sure.n)))
    share = f"{_sensitivity(better):.1%}"
    note = said(
        f"it assumes that the judge errs on these pairs as on the {better.n} calibration pairs with a better answer, which "
        f"it preferred on {share} of them (a tie as half), and alike for both systems",
        f"더 나은 답변을 아는 {better.n}쌍에서 심사자는 {share}를 맞혔습니다(무승부는 반으로 셉니다). 비교한 쌍에서도 "
        "똑같이 틀리고, 어느 시스템에나 똑같이 틀린다고 전제합니다",
    )
    return _measured(rate, (min(rate, _clipped(low)), max(rate, _clipped(high))), note, better)


def _lead(better: Tally) -> Mean:
    """Return the lead of the better answer with its variance, the made-up pairs among them."""
    n = better.n + MADE_UP_PAIRS
    mean = better.lead / n
    return mean, ((better.decided + MADE_UP_PAIRS) / n - mean**2) / n


def _sensitivity(better: Tally) -> float:
    return _win_rate(better.lead / better.n)


def _measured(rate: float | None, interval: Interval | None, note: str, better: Tally) -> Corrected:
    if better.n == 0:
        return Corrected(rate, interval, "calibration", 0, note)
    mean, variance = _lead(better)
    low, high = (_clipped(_win_rate(mean + side * Z95 * math.sqrt(variance))) for side in (-1, 1))
    return Corrected(rate, interval, "calibration", better.n, note, _sensitivity(better), (low, high))


def _without(why: str, better: Tally) -> Corrected:
    return _measured(None, None, said(f"cannot be corrected: {why}", f"보정할 수 없습니다. {why}"), better)


# --- votes -----------------------------------------------------------------------------------


def by_votes(judged: Sequence[Judgment], winners: Mapping[str, Winner]) -> Corrected:
    """Return the win rate of judged pairs corrected by people's votes on some of them (id -> a, b or tie).

    Pairs that are not worth a vote, blank or equal answers, are counted as they are. Votes on other pairs are counted in
    the note.
    """
    worth = [line for line in judged if line.was_asked and line.worth_a_vote]
    voted = [line for line in worth if line.id in winners]
    found = correct_by_votes(
        people=[LEADS[winners[line.id]] for line in voted],
        judge=[LEADS[line.winner] for line in voted],
        others=[LEADS[line.winner] for line in worth if line.id not in winners],
        by_rule=Tally.of(LEADS[line.winner] for line in judged if not (line.was_asked and line.worth_a_vote)),
    )
    unused = len(winners) - len(voted)
    if not unused:
        return found
    more = said(f"; {unused} votes are on pairs without a verdict", f". 투표 {unused}개는 판정이 없는 쌍에 대한 것입니다")
    return replace(found, note=found.note + more)


def correct_by_votes(
    people: Sequence[int], judge: Sequence[int], others: Sequence[int], by_rule: Tally | None = None
) -> Corrected:
    """Return the win rate corrected by people's leads on the pairs voted on, with the judge's on these and on the others.

    A lead is 1 for A, 0 for a tie and -1 for B; `people` and `judge` are of the same pairs, in the same order.
    """
    if len(people) < FEWEST_VOTES:
        few = said(
            f"cannot be corrected: {len(people)} votes on these pairs say too little, {FEWEST_VOTES} are needed",
            f"보정할 수 없습니다. 이 쌍들에 대한 투표가 {len(people)}개뿐입니다. {FEWEST_VOTES}개는 있어야 합니다",
        )
        return Corrected(None, None, "votes", len(people), few)
    sure = by_rule or Tally()
    voted, judged, rest = (np.asarray(leads, dtype=float) for leads in (people, judge, others))
    weight = _judge_weight(voted, judged, rest)
    rate, _ = _with_sure(_prediction_powered(voted, judged, rest, weight), len(voted) + len(rest), sure)
    made_up = np.append(voted, MADE_UP_VOTES), np.append(judged, [0, 0]), np.append(rest, MADE_UP_VOTES)
    mean, variance = _with_sure(_prediction_powered(*made_up, weight), len(voted) + len(rest), sure)
    low, high = (_clipped(_win_rate(mean + side * Z95 * math.sqrt(variance))) for side in (-1, 1))
    rate = _clipped(_win_rate(rate))
    note = said(
        f"it takes {len(people)} votes of people for the truth, and the pairs voted on for drawn by lot; what the judge "
        f"says of the other pairs weighs {weight:.0%}",
        f"사람의 투표 {len(people)}개를 옳은 것으로 보고, 투표한 쌍은 제비로 뽑았다고 전제합니다. 나머지 쌍에 대한 "
        f"심사자의 판정은 {weight:.0%}만큼 반영합니다",
    )
    return Corrected(rate, (min(rate, low), max(rate, high)), "votes", len(people), note, judge_weight=weight)


def _judge_weight(people: np.ndarray, judge: np.ndarray, others: np.ndarray) -> float:
    """Return the weight of the judge's leads, from 0 to 1, that leaves the least variance (PPI++, section 6)."""
    spread = np.append(judge, others).var(ddof=1)
    if not len(others) or spread == 0:
        return 0.0
    shared = np.mean(people * judge) - people.mean() * judge.mean()
    return _clipped(float(shared / (spread * (1 + len(people) / len(others)))))


def _prediction_powered(people: np.ndarray, judge: np.ndarray, others: np.ndarray, weight: float) -> Mean:
    difference = people - weight * judge
    mean, variance = difference.mean(), difference.var(ddof=1) / len(difference)
    if weight:
        mean += weight * others.mean()
        variance += weight**2 * (others.var(ddof=1) / len(others) if len(others) > 1 else 0)
    return float(mean), float(variance)


def _with_sure(estimate: Mean, n: int, sure: Tally) -> Mean:
    """Return the mean over all pairs, those of the estimate and those whose verdict is sure, as a mixture of two groups."""
    if not sure.n:
        return estimate
    share, mean = n / (n + sure.n), sure.lead / sure.n
    within = (1 - share) * (sure.decided / sure.n - mean**2)
    between = share * (1 - share) * (mean - estimate[0]) ** 2
    return share * estimate[0] + (1 - share) * mean, share**2 * estimate[1] + (within + between) / (n + sure.n)


# --- both ------------------------------------------------------------------------------------


def _win_rate(lead: float) -> float:
    return (1 + lead) / 2


def _clipped(rate: float) -> float:
    return min(1.0, max(0.0, rate))
