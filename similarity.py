"""Korean-aware ROUGE-L, near-duplicate removal, contamination and relevance ranking.

Cost of import: rapidfuzz; kiwipiepy (1 s) and bm25s are imported at first use.

Google's `rouge_score` keeps `[a-z0-9]` alone, so two identical Korean sentences score 0 there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import Indel, LCSseq

from utils import CourseError

UNITS = ("eojeol", "morpheme", "syllable", "ascii")
CONTENT_TAGS = ("NN", "NR", "VV", "VA", "MM", "MAG", "XR", "SL", "SN", "SH")  # words that carry meaning


class RougeL(NamedTuple):
    """ROUGE-L (Lin, 2004): longest common subsequence over candidate, reference, and their F1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Duplicate:
    """A dropped text: its index, the kept text that it repeats, and their F1.

    twin is an index into the texts, or -1-i for `against[i]`.
    """

    index: int
    twin: int
    f1: float


@dataclass(frozen=True)
class Deduplication:
    """What was kept and what was dropped; kept: indices in the order of the input."""

    kept: list[int]
    dropped: list[Duplicate]


class Ranked(NamedTuple):
    """A document's index and its relevance score."""

    index: int
    score: float


@lru_cache(maxsize=1)
def _kiwi():
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=1)


def tokenize(text: str, unit: str = "morpheme") -> list[str]:
    """Split a text into the units that ROUGE-L compares.

    eojeol: words between spaces, punctuation off. morpheme: kiwipiepy's, particles and endings apart.
    syllable: characters. ascii: what `rouge_score` 0.1.2 keeps without stemming, for published figures.
    NFC first, so that text typed on macOS matches.

    Raises:
        CourseError: an unknown unit, or a text that is no string.
    """
    if not isinstance(text, str):
        raise CourseError(f"A text is expected, not {type(text).__name__}; convert or drop it first.")
    text = unicodedata.normalize("NFC", text)
    if unit == "ascii":
        return re.findall(r"[a-z0-9]+", text.lower())
    words = re.findall(r"\w+", text.lower())
    if unit == "eojeol":
        return words
    if unit == "syllable":
        return list("".join(words))
    if unit == "morpheme":
        return [token.form for token in _kiwi().tokenize(" ".join(words))]
    raise CourseError(f"Unknown unit {unit!r}; choose one of {', '.join(UNITS)}.")


def rouge_l(candidate: str, reference: str, unit: str = "morpheme") -> RougeL:
    """Return ROUGE-L of a candidate against a reference; 0 where either has no token."""
    ours, theirs = tokenize(candidate, unit), tokenize(reference, unit)
    if not ours or not theirs:
        return RougeL(0.0, 0.0, 0.0)
    common = LCSseq.similarity(ours, theirs)
    return RougeL(common / len(ours), common / len(theirs), 2 * common / (len(ours) + len(theirs)))


def deduplicate(
    texts: Sequence[str], threshold: float = 0.7, unit: str = "eojeol", against: Sequence[str] = ()
) -> Deduplication:
    """Keep each text unless its ROUGE-L F1 with a text of `against` or a text kept before exceeds the threshold.

    Makes the decisions of the sequential Alpaca loop. rapidfuzz's `Indel.normalized_similarity` over tokens is
    2 LCS / (m + n), which is ROUGE-L F1; its cutoff skips pairs whose lengths alone rule them out.

    Raises:
        CourseError: the threshold is outside (0, 1], or a text has no token in this unit.
    """
    if not 0 < threshold <= 1:
        raise CourseError(f"The threshold is {threshold}; it must lie above 0 and at most at 1.")
    pool = [(-1 - i, _tokens_or_error(text, unit, f"against[{i}]")) for i, text in enumerate(against)]
    kept, dropped = [], []
    for index, text in enumerate(texts):
        tokens = _tokens_or_error(text, unit, f"texts[{index}]")
        best = max(
            ((Indel.normalized_similarity(tokens, other, score_cutoff=threshold), twin) for twin, other in pool),
            default=(0.0, 0),
            key=lambda scored: scored[0],
        )
        if best[0] > threshold:
            dropped.append(Duplicate(index, best[1], best[0]))
        else:
            kept.append(index)
            pool.append((index, tokens))
    return Deduplication(kept, dropped)


def nearest_earlier(texts: Sequence[str], unit: str = "eojeol") -> list[float]:
    """Return, for each text but the first, its highest ROUGE-L F1 with any text before it."""
    tokens = [_tokens_or_error(text, unit, f"texts[{i}]") for i, text in enumerate(texts)]
    return [
        max(Indel.normalized_similarity(tokens[i], tokens[j]) for j in range(i)) for i in range(1, len(tokens))
    ]


def find_overlap(
    train: Sequence[str], evaluation: Sequence[str], threshold: float = 0.7, unit: str = "eojeol"
) -> list[Duplicate]:
    """Return each training text that repeats an evaluation text; twin = index into `evaluation`."""
    if not 0 < threshold <= 1:
        raise CourseError(f"The threshold is {threshold}; it must lie above 0 and at most at 1.")
    held_out = [_tokens_or_error(text, unit, f"evaluation[{i}]") for i, text in enumerate(evaluation)]
    found = []
    for index, text in enumerate(train):
        tokens = _tokens_or_error(text, unit, f"train[{index}]")
        scores = [Indel.normalized_similarity(tokens, other) for other in held_out]
        best = max(range(len(scores)), key=scores.__getitem__, default=None)
        if best is not None and scores[best] > threshold:
            found.append(Duplicate(index, best, scores[best]))
    return found


def _tokens_or_error(text: str, unit: str, place: str) -> list[str]:
    tokens = tokenize(text, unit)
    if not tokens:
        raise CourseError(f"{place} ({text[:30]!r}) has no {unit} token and cannot be compared; drop it first.")
    return tokens


def _content_words(text: str) -> list[str]:
    words = " ".join(re.findall(r"\w+", unicodedata.normalize("NFC", text).lower()))
    return [t.form for t in _kiwi().tokenize(words) if t.tag.startswith(CONTENT_TAGS)]


@lru_cache(maxsize=4)
def _bm25(documents: tuple[str, ...]):
    import bm25s

    index = bm25s.BM25()
    index.index([_content_words(text) for text in documents], show_progress=False)
    return index


def rank(
    query: str, documents: Sequence[str], top_k: int | None = None, threshold: float | None = None
) -> list[Ranked]:
    """Rank documents by BM25 over the query's content morphemes, best first; ties keep the input order.

    Scores are rounded to six decimals, so that the last bits of another CPU change no order.
    """
    if not documents:
        raise CourseError("There is no document to rank; pass at least one.")
    index = _bm25(tuple(documents))
    words = [word for word in _content_words(query) if word in index.vocab_dict]
    scores = index.get_scores(words) if words else [0.0] * len(documents)
    ranked = sorted(
        (Ranked(i, round(float(score), 6)) for i, score in enumerate(scores)), key=lambda r: -r.score
    )
    if threshold is not None:
        ranked = [r for r in ranked if r.score >= threshold]
    return ranked[:top_k]
