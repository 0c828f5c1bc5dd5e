"""Whether a text keeps to its source: quantities that the source does not have or has of another thing, and quotations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kotune.korean.numbers import (
    COUNTS,
    DURATION,
    MONEY,
    MONTHS,
    RATIO,
    Key,
    Quantity,
    Way,
    different,
    exact_key,
    loose_keys,
    quantities,
    way_of_writing,
)
from kotune.korean.particles import is_noun
from similarity import content_words

# “ ” may hold other marks: “오보에가 ‘라’ 음을 낸다”
QUOTATION = re.compile(r"“([^“”]+)”|[“‘\"']([^“”‘’\"']+)[”’\"']")


# 보증금은 5,000만 원, 보증금 최대 5,000만 원, 보증금(5,000만 원): the word before a number is what it is a number of
_THING_BEFORE = re.compile(
    r"([가-힣]{2,12}?)(?:은|는|이|가|을|를|의|으로|로)?[ :(]{0,2}(?:(?:약|최대|최소|총|월|연|매월|각각) ){0,2}$"
)
_THING_BEHIND = re.compile(r"(?:의)? ([가-힣]{2,12}?)(?:은|는|이|가|을|를|의|으로|로)?(?![가-힣])")
_REACH = 30


def _thing_before(text: str, quantity: Quantity) -> str:
    return _last_noun(text[max(0, quantity.start - _REACH) : quantity.start])


@lru_cache(4096)
def _last_noun(words: str) -> str:
    match = _THING_BEFORE.search(words[max(words.rfind("."), words.rfind("\n")) + 1 :])
    return match[1] if match and is_noun(match[1]) else ""


def _things_around(text: str, quantity: Quantity) -> set[str]:
    behind = _THING_BEHIND.match(text, quantity.end)
    return {_thing_before(text, quantity), behind[1] if behind else ""} - {""}


# --- numbers that the source does not have ---------------------------------------------------


_STATED = frozenset({MONEY, RATIO, DURATION, MONTHS})
_LONGEST_REMEMBERED = 50_000  # characters


@dataclass(frozen=True)
class _Known:
    """What a source says in quantities, to be asked of many answers."""

    exact: frozenset[Key]
    loose: frozenset[Key]
    dimensions: frozenset[str]
    counted: frozenset[tuple[str, str]]  # dimension and thing: 3명 of 임차인
    stated: tuple[tuple[str, str, Key], ...]  # thing ("" where none is named), dimension and value of amounts and times

    def has(self, quantity: Quantity) -> bool:
        return exact_key(quantity) in self.loose or not self.exact.isdisjoint(loose_keys(quantity))


def _known(sources: Iterable[str]) -> list[_Known]:
    return [_remembered(source) if len(source) <= _LONGEST_REMEMBERED else _read(source) for source in sources if source]


def _read(source: str) -> _Known:
    found = quantities(source)
    different_ones = different(found, source).values()
    return _Known(
        exact=frozenset(exact_key(quantity) for quantity in different_ones),
        loose=frozenset(key for quantity in different_ones for key in loose_keys(quantity)),
        dimensions=frozenset(quantity.dimension for quantity in different_ones),
        counted=frozenset(
            (quantity.dimension, thing)
            for quantity in found
            if quantity.dimension in COUNTS
            for thing in _things_around(source, quantity)
        ),
        stated=tuple(
            {
                (_thing_before(source, quantity), quantity.dimension, exact_key(quantity))
                for quantity in found
                if quantity.dimension in _STATED
            }
        ),
    )


_remembered = lru_cache(256)(_read)  # many answers have one source


def _is_lacking(quantity: Quantity, text: str, known: Sequence[_Known]) -> bool:
    """Return whether a quantity of a text that no source has should be in one.

    An answer may count for itself what the source lists, and 한 번 더 counts nothing: a number in words is lacking only
    where the source has another one of its kind, and where things are counted, another one of these things.
    """
    if not quantity.in_words:
        return True
    if quantity.numeral == 1 or quantity.unit in ("하루", "해"):
        return False
    if quantity.dimension in COUNTS:
        counted = {(quantity.dimension, thing) for thing in _things_around(text, quantity)}
        return any(not counted.isdisjoint(one.counted) for one in known)
    return any(quantity.dimension in one.dimensions for one in known)


def unsupported(text: str, *sources: str, found: Sequence[Quantity] | None = None) -> Iterator[Quantity]:
    """Yield the quantities of a text that no source has: 3억 5,000만 원 and 350,000,000원 are one.

    found: `quantities(text)`, where it is already known.
    """
    found = quantities(text) if found is None else found
    if not found:
        return
    known = _known(sources)
    supported: dict[Way, bool] = {}  # many are said again
    for one in found:
        way = way_of_writing(one, text)
        if way not in supported:
            supported[way] = any(source.has(one) for source in known)
        if not supported[way] and _is_lacking(one, text, known):
            yield one


def unsupported_numbers(text: str, source: str) -> list[str]:
    """Return the quantities of a text that the source does not have, as written, in order, as `unsupported` finds them."""
    return [text[quantity.start : quantity.end] for quantity in unsupported(text, source)]


# --- numbers of another thing ----------------------------------------------------------------


def misplaced(text: str, *sources: str, found: Sequence[Quantity] | None = None) -> Iterator[Quantity]:
    """Yield the quantities of a text that the sources state of another thing, as where deposit and rent are exchanged.

    Only where the sources have one value beside the word for this thing, and the quantity beside another word alone.
    found: `quantities(text)`, where it is already known.
    """
    amounts = [one for one in (quantities(text) if found is None else found) if one.dimension in _STATED]
    if not amounts:
        return
    stated = [one for source in _known(sources) for one in source.stated]
    values: dict[tuple[str, str], set[Key]] = defaultdict(set)
    things: dict[Key, set[str]] = defaultdict(set)
    for thing, dimension, key in stated:
        values[thing, dimension].add(key)
        things[key].add(thing)
    for quantity in amounts:
        thing = _thing_before(text, quantity)
        beside = values.get((thing, quantity.dimension), set())
        key = exact_key(quantity)
        if thing and len(beside) == 1 and key not in beside and key in things and "" not in things[key]:
            yield quantity


def quotations(text: str, source: str, minimum: int = 6) -> list[str]:
    """Return the quoted parts of a text, of at least `minimum` characters, that stand word for word in the source."""
    quoted = (match[1] or match[2] for match in QUOTATION.finditer(text))
    return [part for part in quoted if len(part) >= minimum and part in source]


@dataclass(frozen=True)
class Support:
    """Numbers and terms of answers, and how many of them stand in the answers' documents.

    Each counts once an answer. Terms are the content words of an answer (nouns, stems of verbs and adjectives) that the
    question does not have already: handing the question back supports nothing.
    """

    answers: int
    numbers: int
    supported_numbers: int
    terms: int
    supported_terms: int

    def row(self) -> dict[str, str]:
        """Return the counts as one row for a table."""
        return {
            "numbers": f"{self.supported_numbers} of {self.numbers}",
            "terms": f"{self.supported_terms} of {self.terms}",
        }

    @property
    def number_share(self) -> float | None:
        """Share of the numbers that a document has; None where no answer has a number."""
        return self.supported_numbers / self.numbers if self.numbers else None

    @property
    def term_share(self) -> float | None:
        """Share of the terms that a document has; None where no answer has a term."""
        return self.supported_terms / self.terms if self.terms else None


def support(answers: Sequence[str], documents: Sequence[str], questions: Sequence[str]) -> Support:
    """Count what each answer's own document supports; raises ValueError where the lists differ in length."""
    numbers = supported_numbers = terms = supported_terms = 0
    stems = zip(*(content_words(texts) for texts in (answers, documents, questions)), strict=True)
    for answer, document, (said, known, asked) in zip(answers, documents, stems, strict=True):
        found = {
            answer[number.start : number.end] for number in quantities(answer)
        }  # an answer that loops on one number has said one number
        numbers += len(found)
        supported_numbers += len(found - set(unsupported_numbers(answer, document)))
        new = {word for word in set(said) - set(asked) if not word.isdigit()}
        terms += len(new)
        supported_terms += len(new & set(known))
    return Support(len(answers), numbers, supported_numbers, terms, supported_terms)
