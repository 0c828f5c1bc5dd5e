"""How much of an answer stands in its document: its numbers, and its content words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kotune.korean.grounding import numbers as numbers_of
from kotune.korean.grounding import unsupported_numbers
from similarity import content_words


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
        found = {match[0] for match in numbers_of(answer)}  # an answer that loops on one number has said one number
        numbers += len(found)
        supported_numbers += len(found - set(unsupported_numbers(answer, document)))
        new = {word for word in set(said) - set(asked) if not word.isdigit()}
        terms += len(new)
        supported_terms += len(new & set(known))
    return Support(len(answers), numbers, supported_numbers, terms, supported_terms)
