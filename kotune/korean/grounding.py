"""Whether a text keeps to its source: numbers whose value the source does not have, and quotations that are none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from similarity import content_words

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# "1." at the start of a line; in a line "가) 집 2) 땅", but no number at the end of a bracket: (총 14)
_LIST_NUMBER = re.compile(r"(?m:^)\s*\d{1,3}[.)](?=\s)|(?<=\s)(?<!\()\d{1,2}\)(?=\s)")
_BRACKETS = re.compile(r"\([^()\n]*\)")
_SEPARATE = re.compile(r",(?!\d{3}(?!\d))")  # 3,5 is two numbers, 3,500 one
_FIGURE, _UNIT = r"(?<![\d,])\d[\d,]*(?:\.\d+)?", "[십백천]?[만억조]|[백천]"
_IN_UNITS = re.compile(rf"({_FIGURE}) ?({_UNIT})")
_AMOUNT = re.compile(rf"(?:{_FIGURE} ?(?:{_UNIT}) ?)+(?:{_FIGURE})?")
_TENS = {"십": 10, "백": 100, "천": 1_000, "만": 10**4, "억": 10**8, "조": 10**12}
# “ ” may hold other marks: “오보에가 ‘라’ 음을 낸다”
QUOTATION = re.compile(r"“([^“”]+)”|[“‘\"']([^“”‘’\"']+)[”’\"']")


def numbers_in(text: str) -> Iterator[re.Match]:
    """Yield the numbers of a text with their places, but for those that count the points of a list."""
    bracketed = [match.span() for match in _BRACKETS.finditer(text)]
    counted = [match.span() for match in _LIST_NUMBER.finditer(text) if not _within(match, bracketed)]
    for match in NUMBER.finditer(text):
        if not _within(match, counted):
            yield match


def unsupported(text: str, source: str) -> Iterator[re.Match]:
    """Yield the numbers of a text whose value the source does not have: 3억 5,000만, 35,000만 and 350,000,000 are one."""
    known = _known_values(source)
    same = [match.span() for match in _AMOUNT.finditer(text) if _amount(match[0]) in known]
    for match in numbers_in(text):
        if not known.issuperset(_values(match[0])) and not _within(match, same):
            yield match


def unsupported_numbers(text: str, source: str) -> list[str]:
    """Return the numbers of a text whose value the source does not have, in order, as `unsupported` finds them."""
    return [match[0] for match in unsupported(text, source)]


def _values(number: str) -> list[Decimal]:
    """Return the numbers that digits with points and commas stand for: 3.50 is 3.5, and 2024.03.05 a date of three."""
    parts = number.split(".") if number.count(".") > 1 else [number]
    return [Decimal(one.replace(",", "")) for part in parts for one in _SEPARATE.split(part)]


def _amount(text: str) -> Decimal:
    """Return an amount in 만, 억 and 조 as one number: 3억 5,000만 is 350000000."""
    total, rest = Decimal(0), text
    for match in _IN_UNITS.finditer(text):
        factor = 1
        for unit in match[2]:
            factor *= _TENS[unit]
        total += Decimal(match[1].replace(",", "")) * factor
        rest = text[match.end() :]
    return total + Decimal(rest.strip().replace(",", "") or 0)


def _known_values(text: str) -> set[Decimal]:
    known = {value for number in NUMBER.findall(text) for value in _values(number)}
    return known | {_amount(match[0]) for match in _AMOUNT.finditer(text)}


def _within(match: re.Match, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start <= match.start() and match.end() <= end for start, end in spans)


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
        found = {match[0] for match in numbers_in(answer)}  # an answer that loops on one number has said one number
        numbers += len(found)
        supported_numbers += len(found - set(unsupported_numbers(answer, document)))
        new = {word for word in set(said) - set(asked) if not word.isdigit()}
        terms += len(new)
        supported_terms += len(new & set(known))
    return Support(len(answers), numbers, supported_numbers, terms, supported_terms)
