"""What the exercises of `basics.ipynb` test."""

from __future__ import annotations

import math
import random

from kotune.exercises.answers import (
    MistakeError,
    Mistakes,
    NotDoneError,
    choice,
    function,
    near,
    number,
    numbers,
    require_number,
    require_same,
    same,
)


def softmax_ratio(times: object) -> None:
    """The first of the logits 2, 1, 0 beside the second: e times as likely."""
    share = math.exp(2) / (math.exp(2) + math.e + 1)
    require_number(times, math.e, {"ratio": 2, "difference": 1, "inverse": 1 / math.e, "share": share})


def _softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp((one - max(logits)) / temperature) for one in logits]
    return [power / sum(powers) for power in powers]


def softmax(given: object) -> None:
    """Softmax with a temperature, which does not overflow."""
    tried = function(given)
    draw = random.Random()
    inputs = [([2.0, 1.0, 0.0], 0.5), ([0.3, -1.2], 2.0)]
    inputs += [([draw.uniform(-3, 3) for _ in range(5)], draw.uniform(0.3, 3)) for _ in range(5)]
    mistakes: Mistakes = {
        "no_temperature": lambda logits, temperature: _softmax(logits, 1),
        "times_temperature": lambda logits, temperature: _softmax(logits, 1 / temperature),
        "not_normalised": lambda logits, temperature: [math.exp(one / temperature) for one in logits],
        "divided_after": lambda logits, temperature: [one / temperature for one in _softmax(logits, 1)],
    }
    require_same(tried, inputs, _softmax, mistakes, numbers)
    large = [1000.0, 999.0, -1000.0]
    try:
        survived = same(numbers(tried(large, 1.0)), _softmax(large, 1))
    except MistakeError:
        survived = False
    if not survived:
        raise MistakeError("too_large")


def loss(given: object) -> None:
    """The mean of minus the natural logarithm."""
    draw = random.Random()
    inputs = [([1.0, 0.5],), *(([draw.uniform(0.01, 1) for _ in range(draw.randint(2, 6))],) for _ in range(6))]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    mistakes: Mistakes = {
        "summed": lambda row: -sum(map(math.log, row)),
        "base_two": lambda row: -mean([math.log2(one) for one in row]),
        "base_ten": lambda row: -mean([math.log10(one) for one in row]),
        "sign": lambda row: mean([math.log(one) for one in row]),
        "log_of_mean": lambda row: -math.log(mean(row)),
    }
    require_same(function(given), inputs, lambda row: -mean([math.log(one) for one in row]), mistakes, number)


def one_step(parameter: object) -> None:
    """0.5, a gradient of 2.0, a learning rate of 0.1."""
    require_number(parameter, 0.3, {"uphill": 0.7, "no_rate": -1.5, "step_only": 0.2, "rate_only": 0.4})


def too_large_a_rate(rate: object, because: object) -> None:
    """(weight - 3) ** 2: a step multiplies the distance by 1 - 2 * rate."""
    chosen = number(rate)
    if near(chosen, 0.1):
        raise NotDoneError
    if chosen <= 0:
        raise MistakeError("negative")
    if near(chosen, 1):
        raise MistakeError("bounces")
    if not chosen > 1:
        raise MistakeError("still_arrives")
    if (letter := choice(because, "abc")) != "b":
        raise MistakeError("because_gradient" if letter == "a" else "because_steps")


def adapter_size(count: object) -> None:
    """Rank 16 beside a matrix of 2048 x 640."""
    said = number(count)
    if said in (2048 * 16, 16 * 640):
        raise MistakeError("one_only")
    mistakes = {"full": 2048 * 640, "product": 16 * 2048 * 640, "no_rank": 2048 + 640}
    require_number(count, 16 * (2048 + 640), mistakes, tolerance=0)


CHECKS = {
    "basics-1": softmax_ratio,
    "basics-2": softmax,
    "basics-3": loss,
    "basics-4": one_step,
    "basics-5": too_large_a_rate,
    "basics-6": adapter_size,
}
