"""Repeats in other words: questions whose sentence embeddings are nearly parallel, found by products of matrices.

An embedding holds the topic before it holds the question, so a threshold that finds every repeat drops far more that is
none: docs/korean_checks.md has the figures. A `differ` beside it (`kotune.korean.contrasts.difference`) is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kotune.data.embeddings import embed_questions
from similarity import Differ
from utils import CourseError

THRESHOLD = 0.95  # of multilingual-e5-small, measured on pairs
_BLOCK = 512  # texts compared with all before them at once: 100 MB of cosines at 50,000 texts

Embed = Callable[[Sequence[str]], np.ndarray]  # texts -> (texts, dimensions), rows of length 1


@dataclass(frozen=True)
class SemanticTwin:
    """A text, the kept text that it is nearest to, and their cosine; where they differ, in what, and both are kept."""

    index: int
    twin: int
    cosine: float
    difference: str | None = None


@dataclass(frozen=True)
class SemanticRepeats:
    """What was kept, what was dropped, and what of the kept was spared because it differs from its twin."""

    kept: list[int]
    dropped: list[SemanticTwin]
    spared: list[SemanticTwin]


def find_semantic_repeats(
    texts: Sequence[str], threshold: float = THRESHOLD, differ: Differ | None = None, embed: Embed = embed_questions
) -> SemanticRepeats:
    """Keep each text unless the cosine of its embedding with that of one kept before it exceeds the threshold.

    differ: where it names a difference, the two are no repeats, as in `similarity.deduplicate`.

    Raises:
        CourseError: the threshold is outside (0, 1), or the embedding model is not installed.
    """
    if isinstance(threshold, bool) or not 0 < threshold < 1:
        raise CourseError(f"The semantic threshold is {threshold!r}; it must be a number between 0 and 1.")
    kept: list[int] = []
    dropped: list[SemanticTwin] = []
    spared: list[SemanticTwin] = []
    is_kept = np.zeros(len(texts), bool)
    for index, near in _near(embed(texts) if texts else np.empty((0, 1), np.float32), threshold):
        twins = [
            SemanticTwin(index, twin, cosine, differ(texts[index], texts[twin]) if differ else None)
            for cosine, twin in near
            if is_kept[twin]
        ]
        repeated = next((twin for twin in twins if twin.difference is None), None)
        if repeated:
            dropped.append(repeated)
            continue
        kept.append(index)
        is_kept[index] = True
        spared += twins[:1]
    return SemanticRepeats(kept, dropped, spared)


def _near(vectors: np.ndarray, threshold: float) -> Iterator[tuple[int, list[tuple[float, int]]]]:
    """Yield each text with (cosine, index) of the earlier ones above the threshold, the nearest first."""
    for start in range(0, len(vectors), _BLOCK):
        stop = min(start + _BLOCK, len(vectors))
        cosines = vectors[start:stop] @ vectors[:stop].T
        for row in range(start, stop):
            earlier = cosines[row - start, :row]
            places = np.flatnonzero(earlier > threshold)
            yield row, sorted(((float(earlier[place]), int(place)) for place in places), key=lambda one: (-one[0], one[1]))
