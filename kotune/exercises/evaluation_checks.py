"""What the exercises of `evaluation.ipynb` test."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import product

from kotune.exercises.answers import (
    MistakeError,
    Mistakes,
    NotDoneError,
    choice,
    function,
    near,
    number,
    numbers,
    plain,
    require_number,
    require_same,
    same,
    shown,
    text,
)

FIRST_SYLLABLE, FINALS, RIEUL = 0xAC00, 28, 8


def _final(syllable: str) -> int:
    return (ord(syllable) - FIRST_SYLLABLE) % FINALS


def object_particle(given: object) -> None:
    """을 behind a final consonant, ㄹ among them, and 를 behind a vowel."""
    draw = random.Random()
    words = ["보증금", "전세", "서울", "계약서", "교실", "월세", "등기부등본", "값"]
    for final in (0, 0, 0, 0, RIEUL, *range(1, FINALS)):
        syllables = [
            FIRST_SYLLABLE + FINALS * draw.randrange(399) + draw.choice([0, final]) for _ in range(draw.randint(0, 2))
        ]
        words.append("".join(map(chr, [*syllables, FIRST_SYLLABLE + FINALS * draw.randrange(399) + final])))

    def right(word: str) -> str:
        return "을" if _final(word[-1]) else "를"

    mistakes: Mistakes = {
        "inverted": lambda word: "를" if _final(word[-1]) else "을",
        "always": (lambda word: "을", lambda word: "를"),
        "rieul": lambda word: "을" if _final(word[-1]) not in (0, RIEUL) else "를",
        "first_syllable": lambda word: "을" if _final(word[0]) else "를",
        "with_word": lambda word: word + right(word),
    }
    require_same(function(given), [(word,) for word in words], right, mistakes, text)


Z = 1.96


def _wilson(count: float, n: float, z: float = Z) -> list[float]:
    p, below = count / n, 1 + z * z / n
    middle = (p + z * z / (2 * n)) / below
    reach = z / below * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [middle - reach, middle + reach]


def wilson(given: object) -> None:
    """Wilson's interval; rounding and a finer z make no difference."""
    draw = random.Random()
    inputs = [(30, 40), (0, 40), (40, 40)]
    inputs += [(draw.randint(1, n - 1), n) for n in (10, 25, 100, 300)]

    def about(middle: float, reach: float) -> list[float]:
        return [middle - reach, middle + reach]

    def textbook(count: int, n: int) -> list[float]:
        p = count / n
        return about(p, Z * math.sqrt(p * (1 - p) / n))

    def reach_not_divided(count: int, n: int) -> list[float]:
        low, high = _wilson(count, n)
        return about((low + high) / 2, (high - low) / 2 * (1 + Z * Z / n))

    def middle_is_p(count: int, n: int) -> list[float]:
        low, high = _wilson(count, n)
        return about(count / n, (high - low) / 2)

    mistakes: Mistakes = {
        "textbook": (textbook, lambda count, n: [min(1.0, max(0.0, one)) for one in textbook(count, n)]),
        "one_z": lambda count, n: _wilson(count, n, 1),
        "reach_not_divided": reach_not_divided,
        "middle_is_p": middle_is_p,
        "high_first": lambda count, n: _wilson(count, n)[::-1],
    }
    tried = function(given)
    said, due = numbers(tried(30, 40)), _wilson(30, 40)
    if same(said, [100 * one for one in due], 1e-3):
        raise MistakeError("percent")
    require_same(tried, inputs, _wilson, mistakes, numbers, tolerance=1e-3)


NAMED = ({"first": "A", "second": "B", "tie": "tie"}, {"first": "B", "second": "A", "tie": "tie"})


def both_orders(given: object) -> None:
    """All nine pairs of verdicts."""
    inputs = list(product(NAMED[0], repeat=2))

    def right(one: str, other: str) -> str:
        return NAMED[0][one] if NAMED[0][one] == NAMED[1][other] else "tie"

    def with_ties_ignored(one: str, other: str) -> str:
        winners = {NAMED[0][one], NAMED[1][other]} - {"tie"}
        return winners.pop() if len(winners) == 1 else "tie"

    mistakes: Mistakes = {
        "words_compared": (
            lambda one, other: NAMED[0][one] if one == other else "tie",
            lambda one, other: NAMED[1][one] if one == other else "tie",
        ),
        "one_order": (lambda one, other: NAMED[0][one], lambda one, other: NAMED[1][other]),
        "tie_ignored": with_ties_ignored,
        "swapped": lambda one, other: {"A": "B", "B": "A", "tie": "tie"}[right(one, other)],
    }
    require_same(function(given), inputs, right, mistakes, text)


def win_rate(rate: object) -> None:
    """12 wins, 19 ties and 9 losses."""
    mistakes = {"ties_lost": 12 / 40, "ties_left_out": 12 / 21, "ties_won": 31 / 40, "points": 21.5}
    require_number(rate, 21.5 / 40, mistakes)


def blind_judge(lead: object, because: object) -> None:
    """A corrected win rate above 1."""
    chosen = number(lead)
    if near(chosen, 0.688):
        raise NotDoneError
    if chosen == 0:
        raise MistakeError("coin")
    if chosen < 0:
        raise MistakeError("negative")
    rate = (1 + 0.325 / chosen) / 2
    if not rate > 1:
        raise MistakeError("possible", rate=rate)
    if (letter := choice(because, "abc")) != "b":
        raise MistakeError("because_wins" if letter == "a" else "because_few")


def strict_and_dropped(given: object) -> None:
    """What cannot be read counts as wrong, or is dropped."""
    tried = function(given)
    draw = random.Random()
    allowed = ["긍정", "부정"]
    unreadable = ["판단하기 어렵습니다.", "긍정적인 감상평입니다.", "부정"[:1]]
    inputs: list[tuple] = [(["긍정", "부정", "부정"], ["긍정", "긍정적인 감상평입니다.", "부정"], allowed)]
    inputs.append((["긍정", "부정"], ["긍정적인 감상평입니다.", "긍정"], allowed))
    for n in (5, 8, 12):
        gold = [draw.choice(allowed) for _ in range(n)]
        replies = [draw.choice([label, draw.choice(allowed), draw.choice(unreadable)]) for label in gold]
        inputs.append((gold, [gold[0], draw.choice(unreadable), *replies[2:]], allowed))

    def counts(gold: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> tuple[int, int]:
        right = sum(one == other for one, other in zip(gold, said, strict=True))
        return right, sum(one in labels for one in said)

    def right(gold, said, labels) -> list:
        hits, readable = counts(gold, said, labels)
        return [hits / len(gold), hits / readable if readable else None]

    def lenient(gold, said, labels) -> list:
        return right(gold, [next((label for label in labels if label in one), one) for one in said], labels)

    mistakes: Mistakes = {
        "both_strict": lambda gold, said, labels: [right(gold, said, labels)[0]] * 2,
        "both_dropped": lambda gold, said, labels: [right(gold, said, labels)[1]] * 2,
        "swapped": lambda gold, said, labels: right(gold, said, labels)[::-1],
        "lenient": (lenient, lambda gold, said, labels: [lenient(gold, said, labels)[0], right(gold, said, labels)[1]]),
    }
    require_same(tried, inputs, right, mistakes, _two)
    nothing = (["긍정"] * 2, [unreadable[0]] * 2, allowed)
    try:
        left = _two(tried(*nothing))
    except MistakeError:
        left = []
    if not same(left, right(*nothing)):
        raise MistakeError("nothing_left")


def _two(value: object) -> list:
    value = plain(value)
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise MistakeError("not_a_list", said=shown(value))
    return [one if one is None else number(one) for one in value]


CHECKS = {
    "evaluation-1": object_particle,
    "evaluation-2": wilson,
    "evaluation-3": both_orders,
    "evaluation-4": win_rate,
    "evaluation-5": blind_judge,
    "evaluation-6": strict_and_dropped,
}
