"""What the exercises of `train.ipynb` test."""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Sequence

import numpy as np

from kotune.exercises.answers import (
    MistakeError,
    Mistakes,
    NotDoneError,
    choice,
    function,
    number,
    numbers,
    plain,
    require_number,
    require_same,
    shown,
)

SKIPPED = -100


def steps(count: object) -> None:
    """475 rows in batches of 8, three times."""
    said = number(count)
    if 178 <= said <= 179:
        raise MistakeError("rounded_late")
    require_number(count, 180, {"dropped_last": 177, "one_epoch": 60, "rows": 475 * 3}, tolerance=0)


def labels(given: object) -> None:
    """The prompt is skipped, the completion learnt to its last token."""
    draw = random.Random()

    def ids(n: int) -> list[int]:
        return [draw.randrange(1, 1000) for _ in range(n)]

    inputs = [(ids(draw.randint(2, 6)), ids(draw.randint(2, 6))) for _ in range(6)]
    mistakes: Mistakes = {
        "zeros": lambda prompt, completion: [0] * len(prompt) + completion,
        "nothing_masked": lambda prompt, completion: prompt + completion,
        "wrong_side": lambda prompt, completion: prompt + [SKIPPED] * len(completion),
        "too_short": lambda prompt, completion: completion,
        "no_end": (
            lambda prompt, completion: [SKIPPED] * len(prompt) + completion[:-1] + [SKIPPED],
            lambda prompt, completion: [SKIPPED] * len(prompt) + completion[:-1],
        ),
        "shifted": (
            lambda prompt, completion: [SKIPPED] * (len(prompt) - 1) + completion + [SKIPPED],
            lambda prompt, completion: [SKIPPED] * (len(prompt) - 1) + completion,
        ),
    }
    require_same(function(given), inputs, lambda prompt, completion: [SKIPPED] * len(prompt) + completion, mistakes, numbers)


def one_in(chances: object) -> None:
    """2.5 nats are a probability of 1 in e ** 2.5."""
    said = number(chances)
    if said in (2.5, 0.4) or math.isclose(said, 42 * 2.5 / 3.73, rel_tol=0.02):
        raise MistakeError("linear")
    mistakes = {"bits": 2**2.5, "ten": 10**2.5, "probability": math.exp(-2.5)}
    require_number(chances, math.exp(2.5), mistakes, tolerance=0.02)


def lora(given: object) -> None:
    """W and the scaled adapter beside it, on matrices of torch where a lesson has loaded it."""
    tried = function(given)
    torch = sys.modules.get("torch")
    draw = np.random.default_rng()

    def matrix(*shape: int):
        values = draw.normal(size=shape)
        return torch.tensor(values) if torch else values

    inputs = [(matrix(3, 6), matrix(5, 6), matrix(2, 6), matrix(5, 2), alpha) for alpha in (16, 3)]
    mistakes: Mistakes = {
        "no_scale": lambda x, w, a, b, alpha: x @ w.T + x @ a.T @ b.T,
        "inverse_scale": lambda x, w, a, b, alpha: x @ w.T + len(a) / alpha * (x @ a.T @ b.T),
        "product_scale": lambda x, w, a, b, alpha: x @ w.T + len(a) * alpha * (x @ a.T @ b.T),
        "adapter_only": (
            lambda x, w, a, b, alpha: alpha / len(a) * (x @ a.T @ b.T),
            lambda x, w, a, b, alpha: x @ a.T @ b.T,
        ),
        "frozen_only": lambda x, w, a, b, alpha: x @ w.T,
        "all_scaled": lambda x, w, a, b, alpha: alpha / len(a) * (x @ w.T + x @ a.T @ b.T),
        "weights": lambda x, w, a, b, alpha: w + alpha / len(a) * b @ a,
    }

    def right(x, w, a, b, alpha):
        return x @ w.T + alpha / len(a) * (x @ a.T) @ b.T

    require_same(tried, inputs, right, mistakes, _matrix)


def _matrix(value: object) -> object:
    value = plain(value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise MistakeError("not_a_list", said=shown(value))
    return value


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def masked_loss(given: object) -> None:
    """The label of place t + 1 belongs to what was said at place t; -100 is skipped."""
    draw = random.Random()

    def row(masked: int, length: int) -> tuple[list[list[float]], list[int]]:
        powers = [[draw.uniform(0.1, 1) for _ in range(4)] for _ in range(length)]
        predictions = [[one / sum(place) for one in place] for place in powers]
        return predictions, [SKIPPED] * masked + [draw.randrange(4) for _ in range(length - masked)]

    inputs = [row(masked, length) for masked, length in ((1, 3), (2, 5), (3, 6), (2, 7), (1, 4))]

    def costs(places, labels) -> list[float]:
        return [-math.log(place[label]) for place, label in zip(places, labels, strict=False) if label != SKIPPED]

    mistakes: Mistakes = {
        "no_shift": lambda places, labels: _mean(costs(places, labels)),
        "wrong_way": lambda places, labels: _mean(costs(places[1:], labels)),
        "over_all": (
            lambda places, labels: sum(costs(places, labels[1:])) / len(labels),
            lambda places, labels: sum(costs(places, labels[1:])) / (len(labels) - 1),
        ),
        "summed": lambda places, labels: sum(costs(places, labels[1:])),
    }
    require_same(function(given), inputs, lambda places, labels: _mean(costs(places, labels[1:])), mistakes, number)


_AMOUNT = re.compile(r"(?:(\d+)억)?\s*(?:(\d+)(천)?)?")


def _manwon(amount: str, eok: int = 10_000, cheon: int = 1_000) -> int:
    found = _AMOUNT.fullmatch(amount)
    assert found
    return int(found[1] or 0) * eok + int(found[2] or 0) * (cheon if found[3] else 1)


def amount(given: object) -> None:
    """2억, 2억5천, 1억 500, 7천 and 850, in units of 10,000 won."""
    draw = random.Random()
    inputs: list[tuple] = [("1억 500",), ("2억5천",), ("2억",), ("7천",), ("850",)]
    for _ in range(3):
        eok, rest = draw.randint(1, 20), draw.randint(1, 9)
        space = draw.choice(["", " "])
        inputs += [(f"{eok}억{space}{rest}천",), (f"{eok}억{space}{rest}50",), (f"{eok}억",), (f"{rest}천",), (f"{rest}30",)]
    mistakes: Mistakes = {
        "glued": (
            lambda said: int("".join(re.findall(r"\d", said))),
            lambda said: int("".join(re.findall(r"\d", said.replace("천", "000")))),
        ),
        "eok_wrong": (
            lambda said: _manwon(said, eok=1_000),
            lambda said: _manwon(said, eok=100_000),
            lambda said: _manwon(said, eok=100_000_000),
        ),
        "cheon_wrong": lambda said: _manwon(said, cheon=1),
        "rest_lost": lambda said: _manwon(said.partition("억")[0] + "억") if "억" in said else _manwon(said),
        "in_won": lambda said: 10_000 * _manwon(said),
    }
    require_same(function(given), inputs, _manwon, mistakes, number)


def epochs(picked: object, because: object) -> None:
    """The lowest held-out loss of the runs with 240 pairs."""
    said = number(picked)
    if said == 4:
        raise NotDoneError
    if said == 1:
        raise MistakeError("too_few")
    if said != 2:
        raise MistakeError("no_epochs")
    if (letter := choice(because, "abc")) != "a":
        raise MistakeError("because_tokens" if letter == "b" else "because_higher")


CHECKS = {
    "train-1": steps,
    "train-2": labels,
    "train-3": one_in,
    "train-4": lora,
    "train-5": masked_loss,
    "train-6": amount,
    "train-7": epochs,
}
