"""An answer as the checks of its Korean see it, and what a check finds in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from kotune.korean.numbers import Quantity, quantities
from kotune.korean.sentences import HIDDEN, QUOTATION, Sentence, hide_quotations, split_sentences
from kotune.korean.speech_levels import levels_of


@dataclass(frozen=True)
class Finding:
    """What one check found: `span` is answer[start:end], and `message` says in a sentence what is wrong with it."""

    check: str
    start: int
    end: int
    span: str
    message: str


class CheckedAnswer:
    """An answer in NFC with what several checks need, each worked out once."""

    def __init__(self, text: str, question: str | None = None, source: str | None = None, ended: bool | None = None):
        self.text = text
        self.question = question
        self.source = source
        self.ended = ended

    @cached_property
    def quantities(self) -> list[Quantity]:
        """The numbers with their units."""
        return quantities(self.text)

    @property
    def sources(self) -> tuple[str, ...]:
        """The texts that may state the answer's numbers, apart: a source serves many questions. The first ends a line."""
        return f"{self.source or ''}\n", self.question or ""

    @cached_property
    def hidden(self) -> str:
        """The text with quotations and brackets hidden."""
        return hide_quotations(self.text)

    @cached_property
    def prose(self) -> str:
        """The text with code and quotations hidden, and brackets as they are."""
        if not _MAY_HIDE.search(self.text):
            return self.text
        return _CODE_OR_QUOTATION.sub(lambda match: HIDDEN * len(match[0]), self.text)

    @cached_property
    def sentences(self) -> list[Sentence]:
        """The sentences with their places."""
        return split_sentences(self.text, self.hidden)

    @cached_property
    def levels(self) -> list[str | None]:
        """The speech level of each sentence."""
        return levels_of(self.hidden, self.sentences)


Spans = Iterator[tuple[int, int, str]]  # start, end, message


CODE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]++`|(?:https?://|www\.)[!-~]+|(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w.]+", re.DOTALL | re.ASCII
)
_MAY_HIDE = re.compile("[`“‘「『\"'@:]|www")
_CODE_OR_QUOTATION = re.compile(rf"{CODE.pattern}|{QUOTATION}", re.DOTALL | re.ASCII)


LETTER = re.compile(r"[^\W\d_]")


HANGUL = re.compile(r"[\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb]")


HANGUL_RUN = re.compile(f"{HANGUL.pattern}+")


LETTERS = re.compile(r"[^\W_]+")


def bare_letters(text: str) -> str:
    return "".join(LETTERS.findall(text))
