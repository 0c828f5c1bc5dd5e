"""What the exercises of `preprocess.ipynb` test."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations

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
    text,
)
from kotune.korean.contrasts import difference
from similarity import rouge_l

WORDS = ("전세", "월세", "보증금", "계약", "임대인", "임차인", "확정일자", "등기", "갱신", "해지")


def cost(dollars: object) -> None:
    """18 requests of 400 and 750 tokens, at 0.15 and 0.60 dollars for a million."""
    prompts, replies = 18 * 400 * 0.15e-6, 18 * 750 * 0.6e-6
    mistakes = {
        "swapped": 18 * 400 * 0.6e-6 + 18 * 750 * 0.15e-6,
        "one_request": (prompts + replies) / 18,
        "replies_only": replies,
        "prompts_only": prompts,
        "cents": 100 * (prompts + replies),
        "per_thousand": 1000 * (prompts + replies),
    }
    require_number(1e4 * number(dollars), 1e4 * (prompts + replies), {key: 1e4 * one for key, one in mistakes.items()})


def rouge_of_lengths(score: object) -> None:
    """Six of six words inside nine."""
    require_number(score, 0.8, {"over_longer": 6 / 9, "over_shorter": 1.0, "no_two": 0.4})


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        above = row[:]
        for place, other in enumerate(second, start=1):
            row[place] = above[place - 1] + 1 if word == other else max(above[place], row[place - 1])
    return row[-1]


def _in_one_piece(first: Sequence[str], second: Sequence[str]) -> int:
    pieces = [first[start:end] for start, end in combinations(range(len(first) + 1), 2)]
    inside = {tuple(second[start:end]) for start, end in combinations(range(len(second) + 1), 2)}
    return max((len(piece) for piece in pieces if tuple(piece) in inside), default=0)


def _f1(common: Callable[[Sequence[str], Sequence[str]], int]) -> Callable[[Sequence[str], Sequence[str]], float]:
    return lambda first, second: 2 * common(first, second) / (len(first) + len(second))


def rouge(given: object) -> None:
    """F1 of the longest common subsequence of two lists of words."""
    tried = function(given)
    draw = random.Random()
    inputs: list[tuple] = [
        (["전세와", "월세의", "차이는"], ["월세의", "전세와", "차이는"]),
        (["가", "나", "다", "라"], ["가", "다", "라", "마", "나"]),
        (["가", "나"], ["다"]),
    ]
    inputs += [
        ([*draw.choices(WORDS, k=draw.randint(2, 7))], [*draw.choices(WORDS, k=draw.randint(2, 7))]) for _ in range(8)
    ]
    mistakes: Mistakes = {
        "any_order": (
            _f1(lambda one, other: (Counter(one) & Counter(other)).total()),
            _f1(lambda one, other: len({*one} & {*other})),
        ),
        "in_one_piece": _f1(_in_one_piece),
        "length_only": _common,
        "over_first": (
            lambda one, other: _common(one, other) / len(one),
            lambda one, other: _common(one, other) / len(other),
        ),
    }
    require_same(tried, inputs, _f1(_common), mistakes, number)
    try:
        empty = number(tried([], []))
    except MistakeError:
        raise MistakeError("empty") from None
    if empty != 0:
        raise MistakeError("empty")


def trap(second: object, because: object) -> None:
    """Another question which the filter takes for a repeat."""
    first, said = "전세 계약을 연장하려면 언제까지 집주인에게 알려야 하나요?", text(second)
    if said == first:
        raise NotDoneError
    score = rouge_l(said, first, "eojeol").f1
    if re.sub(r"[\W_]", "", said) == re.sub(r"[\W_]", "", first):
        raise MistakeError("only_marks")
    if score <= 0.7:
        raise MistakeError("too_far", f1=score)
    if found := difference(first, said):
        raise MistakeError("spared", found=found)
    if (letter := choice(because, "abc")) != "b":
        raise MistakeError("because_threshold" if letter == "a" else "because_unit")


def _texts(value: object) -> list[str]:
    value = plain(value)
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
        raise MistakeError("not_a_list", said=shown(value))
    return [str(one) for one in value]


def unsupported_numbers(given: object) -> None:
    """The numbers of an answer that are no numbers of the passage."""
    draw = random.Random()
    inputs = [
        ("14일 안에 5%를 냅니다.", "2014년부터 기한은 30일이고 세율은 5%이다."),
        ("숫자가 없습니다.", "기한은 30일이다."),
        ("31일 안에 냅니다.", "13일 안에 낸다."),
    ]
    for _ in range(4):
        first, second, third = draw.sample(range(100, 1000), 3)
        inputs.append(
            (f"{first}만 원을 {second}일 안에 냅니다.", f"{third}만 원을 1{first}일 안에, 또는 {second}일 안에 낸다.")
        )

    def numbers_of(said: str) -> list[str]:
        return re.findall(r"\d+", said)

    mistakes: Mistakes = {
        "substring": lambda answer, passage: [one for one in numbers_of(answer) if one not in passage],
        "digit_by_digit": lambda answer, passage: [one for one in answer if one.isdigit() and one not in passage],
        "swapped": lambda answer, passage: [one for one in numbers_of(passage) if one not in numbers_of(answer)],
        "supported": lambda answer, passage: [one for one in numbers_of(answer) if one in numbers_of(passage)],
        "every": lambda answer, passage: numbers_of(answer),
    }

    def right(answer: str, passage: str) -> list[str]:
        return [one for one in numbers_of(answer) if one not in numbers_of(passage)]

    require_same(function(given), inputs, right, mistakes, _texts)


def split(given: object) -> None:
    """One question at a time, by something that stays the same."""
    tried = function(given)
    draw = random.Random()
    questions = [f"{draw.choice(WORDS)} {draw.choice(WORDS)} {draw.randrange(10**8):08}?" for _ in range(600)]
    first = [_side(tried(question, 0.1)) for question in questions]
    if first[:100] != [_side(tried(question, 0.1)) for question in questions[:100]]:
        raise MistakeError("by_lot")
    if "hash" in getattr(getattr(tried.function, "__code__", None), "co_names", ()):
        raise MistakeError("builtin_hash")
    if len({*first}) == 1:
        raise MistakeError("one_side")
    found = sum(first) / len(first)
    if 0.85 < found < 0.95:
        raise MistakeError("inverted")
    if not 0.05 < found < 0.16:
        raise MistakeError("uneven", share=0.1, found=found)
    second = [_side(tried(question, 0.3)) for question in questions]
    if second == first:
        raise MistakeError("no_share")
    found = sum(second) / len(second)
    if not 0.22 < found < 0.38:
        raise MistakeError("uneven", share=0.3, found=found)


def _side(said: object) -> bool:
    said = plain(said)
    if not isinstance(said, bool):
        raise MistakeError("not_a_bool", said=shown(said))
    return said


CHECKS = {
    "preprocess-1": cost,
    "preprocess-2": rouge_of_lengths,
    "preprocess-3": rouge,
    "preprocess-4": trap,
    "preprocess-5": unsupported_numbers,
    "preprocess-6": split,
}
