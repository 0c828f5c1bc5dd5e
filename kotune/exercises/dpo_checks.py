"""What the exercises of `dpo.ipynb` test."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from kotune.exercises.answers import (
    MistakeError,
    Mistakes,
    NotDoneError,
    choice,
    function,
    number,
    plain,
    require_number,
    require_same,
    shown,
)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def bradley_terry(chance: object) -> None:
    """Rewards of 1.5 and 0.5."""
    mistakes = {
        "difference": 1.0,
        "share": 0.75,
        "only_chosen": _sigmoid(1.5),
        "inverse": _sigmoid(-1),
        "loss": -math.log(_sigmoid(1)),
    }
    require_number(chance, _sigmoid(1), mistakes)


def pair_accuracy(given: object) -> None:
    """Equal rewards count half."""
    draw = random.Random()

    def rewards(n: int) -> list[float]:
        return [draw.uniform(-2, 2) for _ in range(n)]

    inputs: list[tuple] = [([1.0, 2.0, 0.5, 3.0], [0.0, 2.0, 1.5, 1.0])]
    for n in (3, 5, 6, 9):
        chosen, rejected = rewards(n), rewards(n)
        rejected[draw.randrange(n)] = chosen[0] = rejected[0]  # a tie at the first place
        inputs.append((chosen, rejected))

    def points(chosen: Sequence[float], rejected: Sequence[float], tie: float = 0.5) -> list[float]:
        return [1.0 if c > r else tie if c == r else 0.0 for c, r in zip(chosen, rejected, strict=True)]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    mistakes: Mistakes = {
        "ties_lost": lambda c, r: mean(points(c, r, 0)),
        "ties_won": lambda c, r: mean(points(c, r, 1)),
        "ties_left_out": lambda c, r: mean([one for one in points(c, r) if one != 0.5]),
        "inverted": (lambda c, r: mean(points(r, c)), lambda c, r: mean(points(r, c, 0))),
        "counted": (lambda c, r: sum(points(c, r)), lambda c, r: sum(points(c, r, 0))),
        "percent": (lambda c, r: 100 * mean(points(c, r)), lambda c, r: 100 * mean(points(c, r, 0))),
    }
    require_same(function(given), inputs, lambda c, r: mean(points(c, r)), mistakes, number)


def dpo_loss(given: object) -> None:
    """From the log-probabilities of tokens; the answers of a pair differ in length."""
    draw = random.Random()

    def tokens(n: int) -> list[float]:
        return [-draw.uniform(0.1, 3) for _ in range(n)]

    inputs = []
    for chosen, rejected in ((3, 5), (4, 2), (6, 3), (2, 7)):
        inputs.append((tokens(chosen), tokens(rejected), tokens(chosen), tokens(rejected), draw.choice([0.1, 0.3])))

    def margin(pc, pr, rc, rr, beta) -> float:
        return beta * ((sum(pc) - sum(rc)) - (sum(pr) - sum(rr)))

    def loss(value: float) -> float:
        return math.log(1 + math.exp(-value))

    def mean(one: list[float]) -> list[float]:
        return [sum(one) / len(one)]

    mistakes: Mistakes = {
        "mean": lambda pc, pr, rc, rr, beta: loss(margin(mean(pc), mean(pr), mean(rc), mean(rr), beta)),
        "no_reference": lambda pc, pr, rc, rr, beta: loss(beta * (sum(pc) - sum(pr))),
        "no_beta": lambda pc, pr, rc, rr, beta: loss(margin(pc, pr, rc, rr, 1)),
        "sign": lambda pc, pr, rc, rr, beta: loss(-margin(pc, pr, rc, rr, beta)),
        "margin": (margin, lambda *given: -margin(*given)),
        "no_log": (lambda *given: _sigmoid(margin(*given)), lambda *given: -_sigmoid(margin(*given))),
    }
    require_same(function(given), inputs, lambda *given: loss(margin(*given)), mistakes, number)


def ten_nats(times: object) -> None:
    """Twenty tokens that lost half a nat each."""
    said = number(times)
    mistakes = {
        "one_token": math.exp(-0.5),
        "halved": 0.5,
        "nats": -10.0,
        "inverse": math.exp(10),
    }
    if math.isclose(said, 0.5**20, rel_tol=0.05):
        raise MistakeError("halved")
    if said in (10, 0.5 * 20):
        raise MistakeError("nats")
    # both sides enlarged, so that what is near 0 is told apart by its share
    require_number(1e5 * said, 1e5 * math.exp(-10), {key: 1e5 * one for key, one in mistakes.items()}, tolerance=0.12)


def lower_loss(chosen: object, rejected: object, because: object) -> None:
    """A loss below 0.1 with a chosen answer that became less likely."""
    up, down = number(chosen), number(rejected)
    if (up, down) == (5, -5):
        raise NotDoneError
    if not up < 0:
        raise MistakeError("chosen_gained")
    margin = 0.1 * (up - down)
    loss = math.log1p(math.exp(-margin)) if margin > -500 else -margin
    if not loss < 0.1:
        raise MistakeError("loss_high", loss=loss)
    if (letter := choice(because, "abc")) != "b":
        raise MistakeError("because_beta" if letter == "a" else "because_reference")


def pair_of_samples(given: object) -> None:
    """The best and the worst of a few replies; no pair where all are alike."""
    draw = random.Random()
    inputs: list[tuple] = []
    for n in (2, 4, 4, 5):
        scores = draw.sample(range(14), n)
        while scores[0] == max(scores):  # else the first reply would be right by chance
            draw.shuffle(scores)
        inputs.append(([f"reply {place} of {n}" for place in range(n)], scores))
    inputs += [(["one", "another", "a third"], [7, 7, 7]), (["one", "another"], [0, 0])]

    def pair(replies, scores):
        return replies[scores.index(max(scores))], replies[scores.index(min(scores))]

    def or_none(replies, scores):
        return None if max(scores) == min(scores) else pair(replies, scores)

    mistakes: Mistakes = {
        "pair_of_equals": (pair, lambda r, s: or_none(r, s) or (r[0], r[1]), lambda r, s: or_none(r, s) or (r[0], r[-1])),
        "swapped": (lambda r, s: or_none(r, s) and or_none(r, s)[::-1], lambda r, s: pair(r, s)[::-1]),
        "scores": (lambda r, s: or_none(s, s), lambda r, s: pair(s, s)),
        "first_two": (
            lambda r, s: (r[0], r[1]),
            lambda r, s: (r[0], r[-1]),
            lambda r, s: or_none(r, s) and (r[0], r[1]),
            lambda r, s: or_none(r, s) and (r[0], r[-1]),
        ),
        "always_none": lambda r, s: None,
    }
    require_same(function(given, may_be_none=True), inputs, or_none, mistakes, _pair_or_none)


def _pair_or_none(value: object) -> object:
    value = plain(value)
    if value is not None and (isinstance(value, str) or not isinstance(value, Sequence)):
        raise MistakeError("not_a_list", said=shown(value))
    return value


CHECKS = {
    "dpo-1": bradley_terry,
    "dpo-2": pair_accuracy,
    "dpo-3": dpo_loss,
    "dpo-4": ten_nats,
    "dpo-5": lower_loss,
    "dpo-6": pair_of_samples,
}
