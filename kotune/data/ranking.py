"""Which passages answer a question: ranked by their words (BM25), by their meaning (embeddings), or by both, fused."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal, get_args

import numpy as np

from kotune.data import embeddings
from similarity import Ranked, rank
from utils import CourseError

Ranking = Literal["bm25", "embeddings", "fused"]
RANKINGS: tuple[str, ...] = get_args(Ranking)
AUTO = "auto"  # fused where there are embeddings, else bm25
CHOICES = (AUTO, *RANKINGS)
RRF_K = 60  # Cormack et al. 2009, who fixed it in a pilot; from 1 to 100 it moves one question of 90 here
# The cosine of a question and a passage from which on the two fit, of multilingual-e5-small, by docs/retrieval.md: the best
# passage of each question of the course is above, and what is asked about something else is below in 39 of 40 cases.
FITS = 0.85
QUESTION_CHARACTERS = 2_000  # of a question that are embedded; the model learnt with 512 tokens, which are fewer


@dataclass(frozen=True)
class RankingChoice:
    """A ranking, and why it is this one."""

    name: Ranking
    reason: str

    def __str__(self) -> str:
        """Return the line that a command prints."""
        return f"ranked by {_CALLED[self.name]} ({self.reason})"


_CALLED: dict[str, str] = {"bm25": "BM25", "embeddings": "embeddings", "fused": "BM25 and embeddings, fused"}


def choose_ranking(asked: str = AUTO) -> RankingChoice:
    """Return the ranking that is asked for; with "auto" the fused one where the extra `embeddings` is installed, else BM25.

    Raises:
        CourseError: no such ranking.
        EmbeddingsMissing: embeddings are asked for by name, and there are none on this machine.
    """
    if asked not in CHOICES:
        raise CourseError(f"The ranking is {asked!r}; choose one of {', '.join(CHOICES)}.")
    if asked == "bm25":
        return RankingChoice("bm25", "as asked")
    missing = embeddings.missing()
    if asked == AUTO:
        if missing:
            return RankingChoice("bm25", missing)
        return RankingChoice("fused", f"{embeddings.describe()} is installed")
    if missing:
        raise embeddings.EmbeddingsMissing(missing)
    return RankingChoice("fused" if asked == "fused" else "embeddings", f"as asked, with {embeddings.describe()}")


def fuse(rankings: Iterable[Sequence[int]], k: int = RRF_K) -> list[Ranked]:
    """Fuse rankings by reciprocal rank (Cormack et al. 2009): an item's score is the sum of 1 / (k + its rank) over them.

    rankings: items, the best first; one that stands twice in a ranking counts where it stands first. An item that a
    ranking does not have gets nothing from it. Equal scores are ordered by item, so that the order of the rankings does
    not matter.

    Raises:
        CourseError: k is negative.
    """
    if k < 0:
        raise CourseError(f"k of the reciprocal rank fusion is {k}; it must be 0 or more.")
    shares: dict[int, list[float]] = {}
    for ranking in rankings:
        for place, item in enumerate(dict.fromkeys(ranking), start=1):
            shares.setdefault(item, []).append(1 / (k + place))
    fused = [Ranked(item, fsum(parts)) for item, parts in shares.items()]  # fsum: in any order the same
    return sorted(fused, key=lambda one: (-one.score, one.index))


class Ranker:
    """Ranks passages for a question; those that may be ranked by embeddings are embedded as it is made."""

    def __init__(self, passages: Sequence[str], ranking: Ranking = "bm25"):
        """Prepare the passages for a ranking, which may take a while (`embeddings.embed_passages`).

        Raises:
            CourseError: there is no such ranking.
            EmbeddingsMissing: the ranking needs embeddings, and there are none on this machine.
        """
        if ranking not in RANKINGS:
            raise CourseError(f"The ranking is {ranking!r}; choose one of {', '.join(RANKINGS)}.")
        self.ranking = ranking
        self._passages = list(passages)
        self._vectors = None if ranking == "bm25" else embeddings.embed_passages(self._passages)
        self._lock = threading.Lock()  # one index of words, built at the first search
        if ranking != "embeddings":
            self._by_words(self._passages[0])

    def rank(self, question: str) -> list[Ranked]:
        """Return every passage that the ranking has a place for, the best first.

        The score is BM25's, the cosine, or the sum of reciprocal ranks, in which BM25 counts passages that share a word with
        the question. BM25 alone has a place for all, those without such a word last.
        """
        return self._ranked(question)[0]

    def find(self, question: str, best: int) -> list[Ranked]:
        """Return at most so many passages that fit a question, the best first: they share a word with it, or a meaning.

        A meaning is shared from the cosine `FITS` on. Where none fits, none is returned.
        """
        ranked, fitting = self._ranked(question)
        return [one for one in ranked if one.index in fitting][:best]

    def _ranked(self, question: str) -> tuple[list[Ranked], set[int]]:
        """Return the ranking, and the passages that fit."""
        words = self._by_words(question) if self.ranking != "embeddings" else []
        sharing = [one for one in words if one.score > 0]
        if self._vectors is None:
            return words, {one.index for one in sharing}
        meanings = self._by_meaning(question, self._vectors)
        close = {one.index for one in meanings if one.score >= FITS}
        if self.ranking == "embeddings":
            return meanings, close
        fused = fuse([[one.index for one in ranking] for ranking in (sharing, meanings)])
        return fused, close | {one.index for one in sharing}

    def _by_words(self, question: str) -> list[Ranked]:
        with self._lock:
            return rank(question, self._passages)

    def _by_meaning(self, question: str, vectors: np.ndarray) -> list[Ranked]:
        with self._lock:
            asked = embeddings.embed_questions([question[:QUESTION_CHARACTERS]])[0]
        scores = (round(float(cosine), 6) for cosine in vectors @ asked)  # the last bits of another CPU change no order
        return sorted((Ranked(place, score) for place, score in enumerate(scores)), key=lambda one: -one.score)
