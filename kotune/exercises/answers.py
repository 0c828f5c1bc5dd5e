"""What a learner gave is read here, and held against what is right and against the mistakes that are often made.

A check raises `NotDoneError`, or a `MistakeError` that names a sentence of the exercise; where it raises nothing, the answer
is right.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from numbers import Real
from typing import Any

from kotune.exercises.bounded import TimeUp

# by the sentence that each deserves, what computes the wrong result; several forms of one mistake in a tuple
Mistakes = Mapping[str, Callable | tuple[Callable, ...]]
TOLERANCE = 1e-6  # relative, for what a function returns
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlist = _SHORT.maxtuple = 6


class MistakeError(Exception):
    """An answer is wrong; `key` names the sentence that it deserves, and `details` fill it."""

    def __init__(self, key: str, **details: object):
        super().__init__(key)
        self.key = key
        self.details = details


class NotDoneError(Exception):
    """The starter is as it was."""


def shown(value: object) -> str:
    """Return a value as a short piece of one line, whatever it is."""
    try:
        return " ".join(_SHORT.repr(value).split())[:120]
    except Exception:
        return f"<{type(value).__name__}>"


def is_open(value: object) -> bool:
    """Say whether a value is what a starter leaves open."""
    return value is ... or value is None or (isinstance(value, str) and not value.strip())


# --- values ----------------------------------------------------------------------------------


def plain(value: object) -> object:
    """Return numbers and rows of torch, numpy and pandas as Python's own."""
    listed = getattr(value, "tolist", None)
    return listed() if callable(listed) and not isinstance(value, type) else value


def number(value: object) -> float:
    """Return an answer as a number."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise MistakeError("not_a_number", said=shown(value))
    return float(value)


def numbers(value: object) -> list[float]:
    """Return an answer as a row of numbers."""
    value = plain(value)
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise MistakeError("not_a_list", said=shown(value))
    return [number(one) for one in value]


def text(value: object) -> str:
    """Return an answer as a text."""
    if not isinstance(value, str):
        raise MistakeError("not_a_text", said=shown(value))
    return value


def choice(value: object, letters: str) -> str:
    """Return an answer as one of the letters that a text offers."""
    said = text(value).strip().strip("().").lower()
    if said not in [*letters]:
        raise MistakeError("not_a_letter", said=shown(value), letters=", ".join(letters))
    return said


def near(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    """Say whether two numbers are one but for rounding."""
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)


def same(one: object, other: object, tolerance: float = TOLERANCE) -> bool:
    """Say whether two results are one: numbers but for rounding, rows place by place, else equal."""
    one, other = plain(one), plain(other)
    if isinstance(one, Real) and isinstance(other, Real) and not isinstance(one, bool) and not isinstance(other, bool):
        return near(float(one), float(other), tolerance)
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str) and not isinstance(other, str):
        return len(one) == len(other) and all(same(a, b, tolerance) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def require_number(value: object, right: float, mistakes: Mapping[str, float], tolerance: float = 0.01) -> None:
    """Hold a number that was predicted against the right one, and against what is often said instead.

    tolerance: relative; a prediction is rounded.

    Raises:
        MistakeError: it is another number; `other` where it is none of the mistakes.
    """
    said = number(value)
    if near(said, right, tolerance):
        return
    for key, wrong in mistakes.items():
        if near(said, wrong, tolerance):
            raise MistakeError(key)
    raise MistakeError("other")


# --- functions -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """A learner's function: what it raises or does not return is a mistake with a sentence of its own."""

    function: Callable
    may_be_none: bool = False

    def __call__(self, *arguments: Any) -> Any:
        """Return what it returns for arguments of its own, which it may change as it likes."""
        try:
            said = self.function(*deepcopy(arguments))
        except TimeUp:
            raise
        except NotImplementedError:
            raise NotDoneError from None
        except BaseException as error:
            what = f"{type(error).__name__}: {shown_message(error)}".rstrip(": ")
            raise MistakeError("raised", error=what, given=_given(arguments)) from None
        if said is ...:
            raise NotDoneError
        if said is None and not self.may_be_none:
            raise MistakeError("returned_nothing", given=_given(arguments))
        return said


def _given(arguments: Sequence) -> str:
    return ", ".join(map(shown, map(plain, arguments)))


def shown_message(error: BaseException) -> str:
    """Return what an error says, on one short line."""
    try:
        return " ".join(str(error).split())[:100]
    except Exception:
        return ""


def function(value: object, *, may_be_none: bool = False) -> Tried:
    """Return an answer as a function that can be tried."""
    if not callable(value) or isinstance(value, type):
        raise MistakeError("not_a_function", said=shown(value))
    return Tried(value, may_be_none)


def require_same(
    tried: Callable,
    inputs: Sequence[tuple],
    right: Callable,
    mistakes: Mistakes,
    read: Callable[[Any], object] = plain,
    *,
    tolerance: float = TOLERANCE,
) -> None:
    """Hold a function against the right one on hidden inputs, and against functions that make a mistake.

    mistakes: the first that explains every result is named.
    read: turns a result into what is compared, and refuses another kind.

    Raises:
        MistakeError: a result differs; `other`, with an input and both results, where no mistake explains them all.
    """
    said = [read(tried(*given)) for given in inputs]
    due = [right(*given) for given in inputs]
    wrong = next(
        (place for place, (one, other) in enumerate(zip(said, due, strict=True)) if not same(one, other, tolerance)), None
    )
    if wrong is None:
        return
    for key, forms in mistakes.items():
        for mistaken in forms if isinstance(forms, tuple) else (forms,):
            if all(_explains(mistaken, given, one, tolerance) for given, one in zip(inputs, said, strict=True)):
                raise MistakeError(key)
    raise MistakeError("other", given=_given(inputs[wrong]), said=shown(said[wrong]))


def _explains(mistaken: Callable, given: tuple, said: object, tolerance: float) -> bool:
    try:
        return same(said, mistaken(*deepcopy(given)), tolerance)
    except (ArithmeticError, ValueError, IndexError, TypeError):
        return False
