"""The form of a radiology report, beside its facts: a copy of the conclusion has every fact right, and is no report.

Findings are written in whole sentences, with abbreviations written out, and end by themselves; `score_reports` counts
reports whose facts and form are both right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kotune.korean.radiology import compare_facts
from kotune.language import said
from utils import require_same_length

_LIST_NUMBER = re.compile(r"(?m)^[^\S\n]*+(?:\d++[.)]|[-•*])\s++")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])|\n+")
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|shows?|demonstrates?|appears?|remains?|measures?|contains?|reveals?|suggests?|involves?|"
    r"extends?|persists?|seems?|fills?|occupies|obscures?|compresses|displaces?|opacifies|exhibits?|lies|lie|arises?|"
    r"exceeds?|outlines?|surrounds?|causes?|indicates?|represents?|displays?|noted|seen|identified|observed|found|present|visible)\b",
    re.IGNORECASE,
)
# as conclusions abbreviate; CT, MRI, T2 and the like are words of their own
_ABBREVIATION = re.compile(
    r"\b(?:[RL][UML]L(?:F|Z)?|[RL]t|R/O|S/P|c/w|w/|GB|CBD|IHD|GGOs?|LNs?|PTX|Fx|Bx|S[1-8]|UVJ|HCC|SDH|EDH|SAH|ICH|PNS|UO|DM)\b"
    r"|\b(?:[RL]t|Bilat)\."
)
FORMS = ("whole_sentences", "written_out", "ended", "own_words")


@dataclass(frozen=True)
class ReportForm:
    """What is right about the form of one report."""

    whole_sentences: bool  # no list; each sentence begins with a capital or a number, has a verb and a full stop
    written_out: bool  # no abbreviation of the kind that conclusions use
    ended: bool  # by itself, not at the limit of tokens
    own_words: bool  # no line of the conclusion stands in it as a sentence

    @property
    def right(self) -> bool:
        """Whether all of it is."""
        return all(getattr(self, name) for name in FORMS)


def report_form(report: str, conclusion: str, ended: bool) -> ReportForm:
    """Return what is right about the form of a report; `conclusion` is what it was written from."""
    sentences = [part.strip() for part in _SENTENCE.split(report.strip()) if part.strip()]
    lines = {_bare(line) for line in conclusion.splitlines() if line.strip()}
    return ReportForm(
        whole_sentences=bool(sentences) and not _LIST_NUMBER.search(report) and all(map(_is_whole, sentences)),
        written_out=not _ABBREVIATION.search(report),
        ended=ended,
        own_words=not lines & {_bare(sentence) for sentence in sentences},
    )


def _is_whole(sentence: str) -> bool:
    return sentence.endswith(".") and (sentence[0].isupper() or sentence[0].isdigit()) and bool(_VERB.search(sentence))


def _bare(line: str) -> str:
    """Return a line without its list number, its final mark and its case."""
    return _LIST_NUMBER.sub("", line).strip().rstrip(".").casefold()


@dataclass(frozen=True)
class ReportScores:
    """How many of n reports have the facts of their reference, the form of a report, and both."""

    n: int
    facts: int
    form: int
    both: int
    faults: dict[str, int]  # how often each part of the form is wrong

    def row(self) -> dict[str, str]:
        """Return the counts as one row for a table, in the language of the edition at hand."""
        counts = {said("facts", "사실"): self.facts, said("form", "형식"): self.form, said("both", "둘 다"): self.both}
        return {name: said(f"{count} of {self.n}", f"{count}/{self.n}") for name, count in counts.items()}


def score_reports(
    reports: Sequence[str], references: Sequence[str], conclusions: Sequence[str], ended: Sequence[bool]
) -> ReportScores:
    """Score reports by facts, against their references, and by form, beside the conclusions that they were written from.

    Raises:
        CourseError: there are no reports, or the lists differ in length.
    """
    for name, other in (("references", references), ("conclusions", conclusions), ("ended", ended)):
        require_same_length(reports, other, "reports", name)
    facts = [compare_facts(report, reference).exact for report, reference in zip(reports, references, strict=True)]
    forms = [report_form(*row) for row in zip(reports, conclusions, ended, strict=True)]
    wrong = Counter(name for form in forms for name in FORMS if not getattr(form, name))
    return ReportScores(
        n=len(reports),
        facts=sum(facts),
        form=sum(form.right for form in forms),
        both=sum(exact and form.right for exact, form in zip(facts, forms, strict=True)),
        faults={name: wrong[name] for name in FORMS},
    )
