"""A judge of preference pairs that does not read: logistic regression on the form of the two answers.

It knows length, end mark, speech level, scripts and lists, and no word of either answer. What it finds in a data set, a
reward model can find too and have learnt nothing of content: so its accuracy stands beside a reward model's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kotune.korean.script_checks import scripts
from kotune.korean.sentences import has_final_mark, hide_quotations, split_sentences
from kotune.korean.speech_levels import HAE, HAERA, HAEYO, HAPSYO, POLITE_LEVELS, levels_of
from kotune.stats import Interval, logistic_coefficients, wilson

TYPICAL_LENGTH = 80  # characters; the square about it lets an answer be too short as well as too long
RIDGE = 3.0  # on features of unit size: a handful of pairs decides nothing
FOLDS = 10
_SIDES = ("chosen", "rejected")
_FOREIGN = ("latin", "hanja", "kana")
_QUOTES_AND_BRACKETS = re.compile(r"[“”‘’\"'()\[\]「」『』]")


def features(text: str) -> dict[str, float]:
    """Return the form of an answer as numbers by name; no word of it counts."""
    text = text.strip()
    hidden = hide_quotations(text)
    sentences = split_sentences(text, hidden)
    levels = levels_of(hidden, sentences)
    length, lines, words = math.log(max(1, len(text))), text.splitlines() or [""], text.split() or [""]
    count, script = max(1, len(sentences)), scripts(text)
    foreign = {f"has {name}": float(script[name] > 0) for name in _FOREIGN} | {name: script[name] for name in _FOREIGN}
    last = {f"ends in {level}": float(bool(levels) and levels[-1] == level) for level in (HAPSYO, HAEYO, HAERA, HAE)}
    return {
        "length": length,
        "length from typical, squared": (length - math.log(TYPICAL_LENGTH)) ** 2,
        "sentences": math.log(count),
        "characters a sentence": length - math.log(count),
        "lines": math.log(len(lines)),
        "items of lists": sum(sentence.is_item for sentence in sentences) / count,
        "final mark": float(has_final_mark(text)),
        "polite sentences": sum(level in POLITE_LEVELS for level in levels) / count,
        "digits": sum(map(str.isdigit, text)) / max(1, len(text)),
        "commas": text.count(",") / count,
        "questions": text.count("?") / count,
        "quotation marks and brackets": len(_QUOTES_AND_BRACKETS.findall(text)) / count,
        "different words": len(set(words)) / len(words),
        "characters a word": sum(map(len, words)) / len(words),
        **foreign,
        **last,
    }


def pair_differences(records: Sequence[dict]) -> np.ndarray:
    """Return the chosen answer's features less the rejected one's, one row a preference record."""
    sides = [[list(features(record[side][0]["content"]).values()) for record in records] for side in _SIDES]
    return np.asarray(sides[0], dtype=float) - np.asarray(sides[1], dtype=float)


@dataclass(frozen=True)
class SurfaceBaseline:
    """A fitted judge: the answer with the higher weighted sum of features is preferred."""

    weights: np.ndarray  # one a feature, in the order of `features`

    def points(self, records: Sequence[dict]) -> list[float]:
        """Return 1 where the chosen answer is preferred, 0 where the rejected one is, 0.5 where both have one form."""
        margins = np.round(pair_differences(records) @ self.weights, 9)  # equal forms must not differ by rounding
        return (0.5 + np.sign(margins) / 2).tolist()


def fit_surface_baseline(records: Sequence[dict]) -> SurfaceBaseline:
    """Return the judge that logistic regression fits to pairs: P(chosen preferred) = sigmoid(weights · difference).

    It has no intercept: a pair the other way round gets the other verdict.
    """
    differences = pair_differences(records)
    size = np.sqrt((differences**2).mean(axis=0))
    size[size == 0] = 1
    weights = logistic_coefficients(differences / size, np.ones(len(records)), RIDGE * np.eye(len(size)))
    return SurfaceBaseline(weights / size)


@dataclass(frozen=True)
class SurfaceAccuracy:
    """How often form alone finds the chosen answer, over all pairs and by kind of rejected answer; equal forms are half.

    `cross_validated` is the same over the pairs it is fitted to, each judged by a fit to the others.
    """

    pairs: int
    accuracy: float
    interval: Interval  # 95%, Wilson's
    by_kind: dict[str, tuple[int, float]]  # kind -> pairs, accuracy
    fitted_pairs: int
    cross_validated: float
    cross_validated_interval: Interval
    cross_validated_by_kind: dict[str, tuple[int, float]]


def surface_accuracy(train: Sequence[dict], held_out: Sequence[dict]) -> SurfaceAccuracy:
    """Return the accuracy of a judge of form, fitted to one list of preference records, on another that it has not seen."""
    points, crossed = fit_surface_baseline(train).points(held_out), cross_validate(train)
    return SurfaceAccuracy(
        pairs=len(points),
        accuracy=sum(points) / len(points),
        interval=wilson(sum(points), len(points)),
        by_kind=_by_kind(held_out, points),
        fitted_pairs=len(crossed),
        cross_validated=sum(crossed) / len(crossed),
        cross_validated_interval=wilson(sum(crossed), len(crossed)),
        cross_validated_by_kind=_by_kind(train, crossed),
    )


def cross_validate(records: Sequence[dict], folds: int = FOLDS) -> list[float]:
    """Return each pair's points (as `SurfaceBaseline.points`) from a fit to the other folds.

    Pairs of the same two answers, where each is the chosen one once, stay in one fold: else the one would unteach the other.
    With less than two folds' worth of pairs nothing is known: half a point each.
    """
    places: dict[frozenset[str], int] = {}
    groups = [places.setdefault(frozenset(record[side][0]["content"] for side in _SIDES), len(places)) for record in records]
    fold_of = [group % folds for group in groups]
    points = [0.5] * len(records)
    for fold in sorted(set(fold_of)):
        judged = [place for place, one in enumerate(fold_of) if one == fold]
        others = [record for record, one in zip(records, fold_of, strict=True) if one != fold]
        if others:
            found = fit_surface_baseline(others).points([records[place] for place in judged])
            for place, point in zip(judged, found, strict=True):
                points[place] = point
    return points


def _by_kind(records: Sequence[dict], points: Iterable[float]) -> dict[str, tuple[int, float]]:
    kinds: dict[str, list[float]] = {}
    for record, point in zip(records, points, strict=True):
        kinds.setdefault(record.get("kind", "all"), []).append(point)
    return {kind: (len(found), sum(found) / len(found)) for kind, found in sorted(kinds.items())}
