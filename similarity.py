"""Korean-aware ROUGE-L, exact near-duplicate removal at speed, contamination and relevance.

Google's `rouge_score` keeps `[a-z0-9]` alone: two identical Korean sentences score 0 there, and two unrelated ones
that share "2024" score 1. Here a text is compared in a unit that you choose, and the decisions of the Alpaca loop
are made exactly, thousands of times faster.
"""

from __future__ import annotations

import hashlib
import html
import logging
import numbers
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from statistics import fmean
from typing import NamedTuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from utils import CourseError, normalized, require_same_length

UNITS = ("eojeol", "morpheme", "syllable", "jamo", "ascii")
CONTENT_TAGS = ("NN", "NR", "VV", "VA", "MM", "MAG", "XR", "SL", "SN", "SH")  # words that carry meaning
DEFAULT_EMBEDDING = "intfloat/multilingual-e5-small"

# A number with its separators is one word ("약3.5%" holds 약3.5, not 3 and 5); an emoji or symbol is a word of its own.
_SYMBOLS = "\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\u3200-\u33ff\U0001f000-\U0001faff"
_WORD = re.compile(rf"[^\W\d_]*\d+(?:[.,:]\d+)+[^\W_]*|[^\W_]+|[{_SYMBOLS}]")
_LONGEST_FOR_KIWI = 1_000  # characters of one word; the analyser's time grows with its length


class RougeL(NamedTuple):
    """ROUGE-L (Lin, 2004): longest common subsequence over candidate, reference, and their F1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Duplicate:
    """A text that repeats another: its index, its twin, and their F1.

    twin is the index of the kept text that it repeats, or -1-i for `against[i]`; of several the one with the
    highest F1, then the earliest.
    """

    index: int
    twin: int
    f1: float


@dataclass(frozen=True)
class Spared:
    """A text that was kept although its F1 with another exceeds the threshold, because the two differ in what matters."""

    index: int
    twin: int  # as in Duplicate
    f1: float
    difference: str  # in what they differ


@dataclass(frozen=True)
class Deduplication:
    """What was kept, dropped and spared; `spared` and `wordless` are among the kept."""

    kept: list[int]  # indices in the order of the input
    dropped: list[Duplicate]
    texts: Sequence[str] = field(default=(), repr=False)
    against: Sequence[str] = field(default=(), repr=False)
    spared: list[Spared] = field(default_factory=list)
    wordless: list[int] = field(default_factory=list)  # without a token to compare, such as "===="

    def text_of(self, twin: int) -> str:
        """Return the text that an index or a negative number names."""
        return self.texts[twin] if twin >= 0 else self.against[-1 - twin]

    def clusters(self) -> dict[int, list[int]]:
        """Return each twin with the texts that repeat it: {twin: [index, ...]}, the largest cluster first."""
        groups: dict[int, list[int]] = defaultdict(list)
        for duplicate in self.dropped:
            groups[duplicate.twin].append(duplicate.index)
        return dict(sorted(groups.items(), key=lambda item: -len(item[1])))

    def to_frame(self):
        """Return a pandas table of the dropped texts: index, text, twin, twin_text, f1, and the cluster's size."""
        import pandas as pd

        clusters = self.clusters()
        rows = [
            (d.index, self.texts[d.index], d.twin, self.text_of(d.twin), d.f1, 1 + len(clusters[d.twin]))
            for d in self.dropped
        ]
        return pd.DataFrame(rows, columns=["index", "text", "twin", "twin_text", "f1", "cluster_size"])

    def spared_frame(self):
        """Return a pandas table of the spared texts: index, text, twin, twin_text, f1, and in what the two differ."""
        import pandas as pd

        rows = [(s.index, self.texts[s.index], s.twin, self.text_of(s.twin), s.f1, s.difference) for s in self.spared]
        return pd.DataFrame(rows, columns=["index", "text", "twin", "twin_text", "f1", "difference"])


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document's index and its relevance score."""

    index: int
    score: float


# --- units -----------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _kiwi_of(process: int):
    from kiwipiepy import Kiwi

    return Kiwi(num_workers=-1)  # -1: a batch is analysed on all cores


def _kiwi():
    # one a process: in a forked worker the parent's analyser has no threads left and waits for them for ever
    return _kiwi_of(os.getpid())


def tokenize(text: str, unit: str = "morpheme") -> list[str]:
    """Split a text into the units that ROUGE-L compares.

    eojeol: words between spaces and punctuation. morpheme: kiwipiepy's, particles and endings apart. syllable:
    characters. jamo: consonants and vowels, the finest. NFC first, so that the same word typed on macOS matches; case
    is ignored. ascii: what `rouge_score` 0.1.2 keeps without stemming, score for score, for comparison with published
    figures.

    Raises:
        CourseError: an unknown unit, or a text that is no string.
    """
    return _tokenize_all([text], unit, "text")[0]


def _tokenize_all(texts: Sequence[str], unit: str, name: str) -> list[list[str]]:
    """Tokenise many texts; `name[i]` opens the message about a text that is no string."""
    _check_unit(unit)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(name, i, f"is {type(text).__name__}, not a string; convert or drop it first.")
    if unit == "ascii":
        return [re.findall(r"[a-z0-9]+", text.lower()) for text in texts]
    normal = [normalized("NFC", text).lower() for text in texts]
    words = [_WORD.findall(text) for text in normal]
    if unit == "eojeol":
        return words
    if unit == "morpheme":
        return [[token.form for token in tokens] for tokens in _analyse(words)]
    if unit == "syllable":
        return [list("".join(part)) for part in words]
    return [list(normalized("NFD", "".join(part))) for part in words]


class TextError(CourseError):
    """A text that cannot be compared: which list it is in, its place there, and what is wrong with it."""

    def __init__(self, name: str, index: int, reason: str):
        """Make the sentence of the error of its parts, which a caller may put together anew for another list."""
        super().__init__(f"{name}[{index}] {reason}")
        self.index, self.reason = index, reason


def _check_unit(unit: str) -> None:
    if unit not in UNITS:
        raise CourseError(f"Unknown unit {unit!r}; choose one of {', '.join(UNITS)}.")


def _as_list(texts: Sequence[str], name: str) -> list[str]:
    """Return texts as a list: whatever can be iterated, but no single string and not nothing."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise CourseError(f"{name} is {type(texts).__name__}; pass a list of strings.")
    listed = list(texts)
    if not listed:
        raise CourseError(f"{name} is empty; pass at least one text.")
    return listed


def _analyse(words: Sequence[list[str]]) -> Iterable[list]:
    """Return kiwipiepy's tokens of each text, given its words."""
    joined = (" ".join(_short(part)) for part in words)
    return _kiwi().tokenize(joined)


def _short(words: list[str]) -> Iterable[str]:
    for word in words:
        for start in range(0, len(word), _LONGEST_FOR_KIWI):
            yield word[start : start + _LONGEST_FOR_KIWI]


def _tokens_of(texts: Sequence[str], unit: str, name: str) -> list[list[str]]:
    """Tokenise, and refuse texts of which none has a token: nothing could be compared."""
    tokens = _tokenize_all(texts, unit, name)
    if texts and not any(tokens):
        raise CourseError(f"None of the {len(texts)} {name} has a token of the unit {unit}; choose another unit.")
    return tokens


# --- ROUGE-L ---------------------------------------------------------------------------------


def _f1(common: int, candidate_length: int, reference_length: int) -> float:
    """Return F1 in `rouge_score`'s own order of operations, so that a score at the threshold rounds as there."""
    if not common:
        return 0.0
    precision, recall = common / candidate_length, common / reference_length
    return 2 * precision * recall / (precision + recall)


def rouge_l(candidate: str, reference: str, unit: str = "morpheme") -> RougeL:
    """Return ROUGE-L of a candidate against a reference; 0 where either has no token."""
    ours, theirs = tokenize(candidate, unit), tokenize(reference, unit)
    if not ours or not theirs:
        return RougeL(0.0, 0.0, 0.0)
    common = LCSseq.similarity(ours, theirs)
    return RougeL(common / len(ours), common / len(theirs), _f1(common, len(ours), len(theirs)))


def shared_tokens(candidate: str, reference: str, unit: str = "eojeol") -> list[str]:
    """Return the tokens of one longest common subsequence: what ROUGE-L counts as shared."""
    ours, theirs = tokenize(candidate, unit), tokenize(reference, unit)
    blocks = LCSseq.opcodes(ours, theirs)
    return [token for op in blocks if op.tag == "equal" for token in ours[op.src_start : op.src_end]]


def highlight(text: str, other: str) -> str:
    """Return a text as HTML whose words shared with another stand in <mark>; everything else is escaped."""
    shared = iter(shared_tokens(text, other, "eojeol"))
    wanted = next(shared, None)
    text = normalized("NFC", text)
    pieces, end = [], 0
    for match in _WORD.finditer(text):
        pieces.append(html.escape(text[end : match.start()]))
        word = html.escape(match.group())
        if match.group().lower() == wanted:
            word, wanted = f"<mark>{word}</mark>", next(shared, None)
        pieces.append(word)
        end = match.end()
    return "".join([*pieces, html.escape(text[end:])])


# --- the index -------------------------------------------------------------------------------

_SURROGATES = 0xD800, 0x800  # first, count: code points that no string may hold
_MOST_CODE_POINTS = 0x110000 - _SURROGATES[1]
_SCAN_SHARE = 8  # gather candidates from the postings only if they are fewer than an eighth of all


@dataclass(frozen=True)
class _Encoded:
    """Token lists as numbers, rare tokens small.

    sequences: one string (or tuple) a text, a character a token, for the LCS. lengths: tokens a text, (texts,).
    prefixes: the rarest elements of each text, as many as the prefix filter needs. signatures: (words, texts) of
    64 bits, one bit set for each element.
    """

    sequences: list
    lengths: np.ndarray
    prefixes: list[list[int]]
    signatures: np.ndarray


def _encode(tokens: Sequence[list[str]], threshold: float) -> _Encoded:
    """Number the tokens by rarity, and prepare what the filters need.

    The k-th occurrence of a token in a text is an element of its own, so that a text is a *set* of elements and the
    set filters hold for repeated tokens too.
    """
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    vocabulary: dict[str, int] = {}
    flat = np.fromiter(
        (vocabulary.setdefault(token, len(vocabulary)) for token in chain.from_iterable(tokens)),
        np.int64,
        int(lengths.sum()),
    )
    size = len(vocabulary)
    rarity = np.empty(size, np.int64)
    rarity[np.argsort(np.bincount(flat, minlength=size), kind="stable")] = np.arange(size)
    flat = rarity[flat]
    text = np.repeat(np.arange(len(tokens)), lengths)

    order = np.argsort(text * size + flat, kind="stable")
    ranks, owners = flat[order], text[order]
    new_run = np.ones(len(order), bool)
    new_run[1:] = (ranks[1:] != ranks[:-1]) | (owners[1:] != owners[:-1])
    run_start = np.maximum.accumulate(np.where(new_run, np.arange(len(order)), 0))
    elements = ranks + size * (np.arange(len(order)) - run_start)  # further occurrences come last in the order
    elements = elements[np.lexsort((elements, owners))]

    ends = np.cumsum(lengths)
    starts = ends - lengths
    # overlap >= t m / (2 - t) is needed with any text that can match at all, so two matching texts share one of
    # their first m - that + 1 elements in any common order (Chaudhuri et al. 2006)
    needed = np.maximum(1, np.ceil(threshold * lengths / (2 - threshold) - 1e-9)).astype(np.int64)
    listed = elements.tolist()
    prefixes = [
        listed[start : start + count] for start, count in zip(starts.tolist(), (lengths - needed + 1).tolist(), strict=True)
    ]
    return _Encoded(_sequences(flat, starts, ends, size), lengths, prefixes, _signatures(elements, owners, lengths))


def _sequences(flat: np.ndarray, starts: np.ndarray, ends: np.ndarray, vocabulary_size: int) -> list:
    """Return each text as a string of one character a token: the LCS of strings is the fastest there is."""
    if vocabulary_size < _MOST_CODE_POINTS:
        first, count = _SURROGATES
        points = (flat + np.where(flat >= first, count, 0)).astype("<u4")
        whole = points.tobytes().decode("utf-32-le")
        return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    listed = flat.tolist()
    return [tuple(listed[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _signatures(elements: np.ndarray, owners: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return bit signatures, (words, texts): differing bits never exceed differing elements."""
    words = int(np.clip(np.ceil(4 * lengths.mean() / 64), 1, 16)) if len(lengths) else 1
    spread = elements.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
    position = (spread >> np.uint64(40)) % np.uint64(64 * words)
    signatures = np.zeros((words, len(lengths)), np.uint64)
    bit = np.uint64(1) << (position & np.uint64(63))
    np.bitwise_or.at(signatures, ((position >> np.uint64(6)).astype(np.int64), owners), bit)
    return signatures


class _Index:
    """Texts to be found by ROUGE-L F1 above a threshold; exact.

    Candidates come from the prefix filter's postings, or, where those would list much of the index anyway (few
    distinct tokens), from a scan. The signature filter thins them out, and the LCS decides.
    """

    def __init__(self, encoded: _Encoded, threshold: float):
        self.encoded = encoded
        self.threshold = threshold
        self.postings: dict[int, list[int]] = defaultdict(list)
        total = len(encoded.lengths)
        self.members: list[int] = []  # numbers of the encoded texts, in the order added
        self.signatures = np.empty((len(encoded.signatures), total), np.uint64)
        self.slack = np.empty(total, np.float32)  # differing elements that the threshold allows, a text's share

    def _slack_of(self, number: int) -> float:
        # F1 > t needs LCS > t (m + n) / 2, so at most (1 - t)(m + n) elements differ
        return (1 - self.threshold) * int(self.encoded.lengths[number]) + 1e-3

    def add(self, number: int) -> None:
        place = len(self.members)
        self.members.append(number)
        self.signatures[:, place] = self.encoded.signatures[:, number]
        self.slack[place] = self._slack_of(number)
        for element in self.encoded.prefixes[number]:
            self.postings[element].append(place)

    def matches(self, number: int) -> list[tuple[float, int]]:
        """Return (f1, number) of every member whose F1 with this text exceeds the threshold, in the order added."""
        count = len(self.members)
        lists = [self.postings[e] for e in self.encoded.prefixes[number] if e in self.postings]
        listed = sum(map(len, lists))
        if not listed:
            return []
        if listed * _SCAN_SHARE > count:
            places = np.flatnonzero(self._near(slice(count), number))
        else:
            gathered = np.fromiter(chain.from_iterable(lists), np.int64, listed)
            places = np.unique(gathered[self._near(gathered, number)])
        return self._verify(places.tolist(), number)

    def _near(self, places, number: int) -> np.ndarray:
        """Return which members differ in few enough signature bits."""
        own = self.encoded.signatures[:, number]
        differing = np.bitwise_count(self.signatures[0, places] ^ own[0])
        if len(own) > 1:
            differing = differing.astype(np.uint16)
            for word in range(1, len(own)):
                differing += np.bitwise_count(self.signatures[word, places] ^ own[word])
        return differing <= self.slack[places] + self._slack_of(number)

    def _verify(self, places: list[int], number: int) -> list[tuple[float, int]]:
        if not places:
            return []
        sequence, length = self.encoded.sequences[number], int(self.encoded.lengths[number])
        numbers = [self.members[place] for place in places]
        if len(numbers) == 1:
            commons = [LCSseq.similarity(sequence, self.encoded.sequences[numbers[0]])]
        else:
            others = [self.encoded.sequences[n] for n in numbers]
            commons = process.cdist([sequence], others, scorer=LCSseq.similarity, dtype=np.int32)[0].tolist()
        scored = ((_f1(common, length, int(self.encoded.lengths[n])), n) for common, n in zip(commons, numbers, strict=True))
        return [(f1, n) for f1, n in scored if f1 > self.threshold]


def _check_threshold(threshold: float) -> None:
    if isinstance(threshold, bool) or not isinstance(threshold, numbers.Real) or not 0 < threshold <= 1:
        raise CourseError(f"The threshold is {threshold!r}; it must be a number above 0 and at most 1.")


def _best(matches: list[tuple[float, int]]) -> tuple[float, int] | None:
    """Return the match with the highest F1, the earliest of equals."""
    return max(matches, key=lambda match: match[0], default=None)


# --- deduplication ---------------------------------------------------------------------------


Differ = Callable[[str, str], str | None]  # in what two texts differ that must not be taken for repeats, or None


def deduplicate(
    texts: Sequence[str],
    threshold: float = 0.7,
    unit: str = "eojeol",
    against: Sequence[str] = (),
    differ: Differ | None = None,
) -> Deduplication:
    """Keep each text unless its ROUGE-L F1 with a text of `against`, or with one kept before it, exceeds the threshold.

    Makes exactly the decisions of the sequential Alpaca loop (Taori et al. 2023), for every unit and threshold. Two
    matching texts must share a rare token (prefix filter) and most bits of a signature; only such pairs reach the LCS.
    Takes about 7 KB of memory a text of 12 words (dev/bench/similarity.py: 0.7 to 0.8 GB at 100,000), so beyond a million
    texts use `deduplicate_dataset`.

    differ: asked before a text is dropped; where it names a difference, the other text is no twin. A text that would have
    been dropped without it is kept and listed in `spared` with its nearest such twin. Without it, the Alpaca loop exactly.
    A text without a token ("====") repeats none; it is kept and listed in `wordless`.

    Raises:
        CourseError: the threshold is outside (0, 1], the unit is unknown, there is no text, no text has a token, or a text
            is no string.
    """
    _check_threshold(threshold)
    texts, against = _as_list(texts, "texts"), _as_list(against, "against") if len(against) else []
    tokens = _tokens_of(against, unit, "against") + _tokens_of(texts, unit, "texts")
    encoded = _encode(tokens, threshold)
    index = _Index(encoded, threshold)
    for number in range(len(against)):
        index.add(number)
    everything = [*against, *texts]
    kept: list[int] = []
    dropped: list[Duplicate] = []
    spared: list[Spared] = []
    wordless: list[int] = []
    first: dict = {}  # sequence -> number of the kept text that equals it
    for number in range(len(against), len(tokens)):
        place = number - len(against)
        if not tokens[number]:
            kept.append(place)
            wordless.append(place)
            continue
        same = first.get(encoded.sequences[number])
        if same is None or threshold == 1 or (differ and differ(everything[number], everything[same])):
            best, unlike = _best_alike(index.matches(number), everything, number, differ)
        else:
            best, unlike = (1.0, same), None  # where an equal text was kept, nothing can be closer
        if best is None:
            kept.append(place)
            index.add(number)
            first.setdefault(encoded.sequences[number], number)
            if unlike is not None:
                f1, twin, difference = unlike
                spared.append(Spared(place, _named(twin, against), f1, difference))
        else:
            f1, twin = best
            dropped.append(Duplicate(place, _named(twin, against), f1))
    return Deduplication(kept, dropped, texts, against, spared, wordless)


def _named(number: int, against: Sequence[str]) -> int:
    """Return the index of a text, or -1-i for `against[i]`."""
    return number - len(against) if number >= len(against) else -1 - number


def _best_alike(
    matches: list[tuple[float, int]], texts: Sequence[str] | Mapping[int, str], number: int, differ: Differ | None
) -> tuple[tuple[float, int] | None, tuple[float, int, str] | None]:
    """Return the best match that does not differ, and the best that does with its difference; None where there is none."""
    if differ is None:
        return _best(matches), None
    nearest = None
    for f1, other in sorted(matches, key=lambda match: -match[0]):
        difference = differ(texts[number], texts[other])
        if not difference:
            return (f1, other), nearest
        nearest = nearest or (f1, other, difference)
    return None, nearest


def find_overlap(
    train: Sequence[str], evaluation: Sequence[str], threshold: float = 0.7, unit: str = "eojeol"
) -> list[Duplicate]:
    """Return each training text that repeats an evaluation text (contamination); twin = index into `evaluation`.

    Raises:
        CourseError: as `deduplicate`; a text without a token overlaps with none.
    """
    _check_threshold(threshold)
    train, evaluation = _as_list(train, "train"), _as_list(evaluation, "evaluation")
    tokens = _tokens_of(evaluation, unit, "evaluation") + _tokens_of(train, unit, "train")
    encoded = _encode(tokens, threshold)
    index = _Index(encoded, threshold)
    for number in range(len(evaluation)):
        index.add(number)
    found = ((place, _best(index.matches(len(evaluation) + place))) for place in range(len(train)))
    return [Duplicate(place, best[1], best[0]) for place, best in found if best is not None]


def nearest_earlier(texts: Sequence[str], unit: str = "eojeol") -> list[float]:
    """Return, for each text but the first, its highest ROUGE-L F1 with any text before it; for histograms.

    Compares all pairs: a second for 1,000 texts of a sentence each.
    """
    tokens = _tokens_of(_as_list(texts, "texts"), unit, "texts")
    encoded = _encode(tokens, 0.5)
    nearest = []
    for number in range(1, len(tokens)):
        commons = process.cdist(
            [encoded.sequences[number]], encoded.sequences[:number], scorer=LCSseq.similarity, dtype=np.int32
        )[0]
        sizes = np.maximum(1, len(tokens[number]) + encoded.lengths[:number])  # 0 for two texts without a token
        nearest.append(float((2 * commons / sizes).max()))
    return nearest


# --- more texts than fit into memory ---------------------------------------------------------


def deduplicate_dataset(
    dataset,
    column: str,
    threshold: float = 0.7,
    unit: str = "eojeol",
    *,
    num_proc: int | None = None,
    shard_rows: int = 200_000,
) -> Deduplication:
    """Deduplicate a column of a `datasets.Dataset` shard by shard, with the result of `deduplicate` without `differ`.

    Every pair of shards is searched for matching pairs, `num_proc` pairs of shards at a time, each holding two shards
    in memory; the sequential decisions are then made over the pairs found. Equal texts are searched once. What grows
    with the data in the end is a digest a text (some 100 bytes) and the matching pairs.

    Raises:
        CourseError: as `deduplicate`, and for a column that the data set does not have.
    """
    from datasets import Dataset

    check_settings(threshold, unit)
    if column not in dataset.column_names:
        raise CourseError(f"The data set has no column {column!r}; it has {', '.join(dataset.column_names)}.")
    if not len(dataset):
        raise CourseError("The data set is empty; pass at least one row.")
    dataset = dataset.select_columns([column])
    digests = dataset.map(
        _digests,
        with_indices=True,
        batched=True,
        num_proc=num_proc,
        fn_kwargs={"column": column, "unit": unit},
        remove_columns=[column],
        desc="tokenising",
    )["digest"]
    first: dict[bytes, int] = {}
    wordless = [row for row, digest in enumerate(digests) if not digest]
    if len(wordless) == len(digests):
        raise CourseError(f"No text of the column {column!r} has a token of the unit {unit}; choose another unit.")
    same_as = [first.setdefault(digest, row) if digest else row for row, digest in enumerate(digests)]
    distinct = list(first.values())

    bounds = list(range(0, len(distinct), shard_rows))
    tasks = [{"left": left, "right": right} for right in bounds for left in bounds if left <= right]
    settings = {"column": column, "threshold": threshold, "unit": unit, "shard_rows": shard_rows}
    found = Dataset.from_list(tasks).map(
        _matching_pairs,
        num_proc=min(num_proc, len(tasks)) if num_proc else None,
        fn_kwargs={**settings, "dataset": dataset.select(distinct)},
        remove_columns=["left", "right"],
        desc="comparing shards",
    )
    matches = (
        Match(distinct[one], distinct[other], f1)
        for task in found
        for one, other, f1 in zip(task["one"], task["other"], task["f1"], strict=True)
    )
    return decide(same_as, matches, dataset[column], threshold, wordless=wordless)


def _digests(batch: dict, rows: list[int], column: str, unit: str) -> dict:
    """Return a digest of each row's tokens, equal exactly for rows that no ROUGE-L can tell apart; empty without a token."""
    try:
        tokens = _tokenize_all(batch[column], unit, "batch")
    except TextError as error:
        raise TextError(column, rows[error.index], error.reason) from None
    return {"digest": [hashlib.blake2b("\0".join(t).encode(), digest_size=16).digest() if t else b"" for t in tokens]}


def _matching_pairs(task: dict, *, dataset, column: str, threshold: float, unit: str, shard_rows: int) -> dict:
    """Return every matching pair of one shard's rows with another's (or of one shard's own rows)."""
    left = range(task["left"], min(task["left"] + shard_rows, len(dataset)))
    right = range(task["right"], min(task["right"] + shard_rows, len(dataset)))
    texts = dataset.select([*left])[column]
    others = dataset.select([*right])[column] if left != right else None
    pairs = list(matching_pairs(texts, others, threshold, unit))
    second = right if others is not None else left
    return {
        "one": [second[pair.other] for pair in pairs],
        "other": [left[pair.one] for pair in pairs],
        "f1": [pair.f1 for pair in pairs],
    }


def check_settings(threshold: float, unit: str) -> None:
    """Raise a CourseError if the threshold is outside (0, 1] or the unit is unknown."""
    _check_threshold(threshold)
    _check_unit(unit)


def wordless_among(texts: Sequence[str], unit: str = "eojeol") -> list[int]:
    """Return the indices of texts without a token of the unit: they repeat none."""
    return [place for place, tokens in enumerate(_tokenize_all(texts, unit, "texts")) if not tokens]


class Match(NamedTuple):
    """Two texts whose ROUGE-L F1 exceeds a threshold: the place of each, and the F1."""

    one: int
    other: int
    f1: float


def matching_pairs(
    texts: Sequence[str], others: Sequence[str] | None = None, threshold: float = 0.7, unit: str = "eojeol"
) -> Iterator[Match]:
    """Yield every pair of a text and another whose ROUGE-L F1 exceeds the threshold; without `others`, of two of the texts.

    `Match.one` is a place in `texts`, and `Match.other` one in `others`, or in `texts` behind `one`. What `decide` needs:
    pairs of parts of a set can be searched on different machines.

    Raises:
        CourseError: as `deduplicate`; texts without a token match nothing.
    """
    _check_threshold(threshold)
    tokens = _tokenize_all(texts, unit, "texts") + _tokenize_all(others or [], unit, "others")
    encoded = _encode(tokens, threshold)
    index = _Index(encoded, threshold)
    count = len(texts)
    for number in range(count):
        if others is None:
            yield from (Match(one, number, f1) for f1, one in index.matches(number))
        index.add(number)
    for number in range(count, len(tokens)):
        yield from (Match(one, number - count, f1) for f1, one in index.matches(number))


def decide(
    same_as: Sequence[int],
    matches: Iterable[Match],
    texts: Sequence[str] | Mapping[int, str],
    threshold: float = 0.7,
    *,
    differ: Differ | None = None,
    wordless: Sequence[int] = (),
) -> Deduplication:
    """Return what `deduplicate` decides, given all pairs that match, in the order of the input.

    same_as: for each text, the first that equals it; with `differ`, character by character. matches: every pair of such
    first texts whose F1 exceeds the threshold, in any order. texts: by place; asked of texts that have a match or an equal.
    Grows with the texts and the pairs: n near repeats of one text are n (n - 1) / 2 pairs.
    """
    near: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for one, other, f1 in matches:
        near[one].append((f1, other))
        near[other].append((f1, one))
    found = Deduplication([], [], () if isinstance(texts, Mapping) else texts, wordless=[*wordless])
    kept_equals: dict[int, list[int]] = defaultdict(list)  # first text -> those of its equals that were kept
    for row, first in enumerate(same_as):
        kept = [(f1, place) for f1, other in near.get(first, ()) for place in kept_equals.get(other, ())]
        if threshold < 1:
            kept += [(1.0, place) for place in kept_equals.get(first, ())]
        kept.sort(key=lambda match: match[1])  # as an index yields them: in the order in which they were kept
        best, unlike = _best_alike(kept, texts, row, differ)
        if best is not None:
            found.dropped.append(Duplicate(row, best[1], best[0]))
            continue
        found.kept.append(row)
        kept_equals[first].append(row)
        if unlike is not None:
            found.spared.append(Spared(row, unlike[1], unlike[0], unlike[2]))
    return found


# --- relevance -------------------------------------------------------------------------------


def rank(
    query: str,
    documents: Sequence[str],
    method: str = "bm25",
    top_k: int | None = None,
    threshold: float | None = None,
) -> list[Ranked]:
    """Rank documents by relevance to a query, best first; ties keep the input order.

    method: "bm25" (over content morphemes, the `bm25s` library) or the name or folder of a sentence-transformers model,
    such as "intfloat/multilingual-e5-small" ("embedding" means that one), scored by cosine. top_k and threshold cut
    the ranked list, so that an index never parts from its score. Scores are rounded to six decimals: the last bits of
    another CPU change no order.

    Raises:
        CourseError: there is no document, a text is no string, or the embedding model cannot be loaded.
    """
    documents = _as_list(documents, "documents")
    if top_k is not None and top_k < 1:
        raise CourseError(f"top_k is {top_k}; it must be at least 1, or None for all.")
    for name, text in chain([("query", query)], ((f"documents[{i}]", d) for i, d in enumerate(documents))):
        if not isinstance(text, str):
            raise CourseError(f"{name} is {type(text).__name__}, not a string; convert or drop it first.")
    scores: Sequence[float] | np.ndarray
    if method.lower() == "bm25":
        scores = _bm25_scores(query, tuple(documents))
    else:
        scores = _cosine_scores(query, tuple(documents), DEFAULT_EMBEDDING if method == "embedding" else method)
    ranked = sorted((Ranked(i, round(float(s), 6)) for i, s in enumerate(scores)), key=lambda r: -r.score)
    if threshold is not None:
        ranked = [r for r in ranked if r.score >= threshold]
    return ranked[:top_k]


def content_words(texts: Sequence[str]) -> list[list[str]]:
    """Return the content morphemes of each text (nouns, stems of verbs and adjectives, Latin words), lower-cased."""
    words = [_WORD.findall(normalized("NFC", text).lower()) for text in texts]
    return [[t.form for t in tokens if t.tag.startswith(CONTENT_TAGS)] for tokens in _analyse(words)]


@lru_cache(maxsize=4)
def _bm25_index(documents: tuple[str, ...]):
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it reports each step as soon as any handler listens
    words = content_words(documents)
    if not any(words):
        return None
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    return index


def _bm25_scores(query: str, documents: tuple[str, ...]) -> np.ndarray:
    index = _bm25_index(documents)
    if index is None:
        return np.zeros(len(documents))
    words = [word for word in content_words([query])[0] if word in index.vocab_dict]
    return index.get_scores(words) if words else np.zeros(len(documents))


@lru_cache(maxsize=2)
def _embedding_model(name: str):
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise CourseError(
            "Ranking by embeddings needs sentence-transformers; run `pip install sentence-transformers`, or use "
            'method="bm25".'
        ) from None
    try:
        return SentenceTransformer(name)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(
            f"The embedding model {name} cannot be loaded ({reason}); check the name and the connection to the hub, "
            'pass a folder, or use method="bm25".'
        ) from None


@lru_cache(maxsize=4)
def _document_vectors(documents: tuple[str, ...], name: str) -> np.ndarray:
    return _vectors(documents, name, "passage: ")


def _vectors(texts: Sequence[str], name: str, prefix: str) -> np.ndarray:
    # E5 was trained with these prefixes and ranks poorly without them (Wang et al. 2022)
    prefix = prefix if "e5" in name.lower() else ""
    encoded = [prefix + normalized("NFC", text) for text in texts]
    return _embedding_model(name).encode(encoded, normalize_embeddings=True, show_progress_bar=False)


def _cosine_scores(query: str, documents: tuple[str, ...], name: str) -> np.ndarray:
    return _document_vectors(documents, name) @ _vectors([query], name, "query: ")[0]


@dataclass(frozen=True)
class RougeScores:
    """ROUGE-L over a set: the mean of precision, recall and F1 over rows, and each row's own."""

    mean: RougeL
    rows: list[RougeL]


def rouge_scores(candidates: Sequence[str], references: Sequence[str], unit: str = "morpheme") -> RougeScores:
    """Return ROUGE-L (Lin, 2004) of each candidate against its reference, and the means; an empty candidate scores 0.

    Raises:
        CourseError: there are no candidates, or more or fewer than references.
    """
    require_same_length(candidates, references, "candidates", "references")
    rows = [rouge_l(ours, theirs, unit) for ours, theirs in zip(candidates, references, strict=True)]
    return RougeScores(RougeL(*(fmean(values) for values in zip(*rows, strict=True))), rows)
