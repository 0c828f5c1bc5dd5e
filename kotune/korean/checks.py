"""Checks of a Korean answer that need no model: script, speech level, particles, repetition, ending, echo, numbers.

    kotune korean answers.jsonl --out findings.jsonl

`check` returns what is wrong with one answer, each finding with the span of the text that shows it; `summary` counts over
many answers; `highlight` and `highlight_html` show the spans. The checks name what is surely wrong and leave out what is in
doubt: a text without findings is not proved right. They are made for answers that should be Korean prose; an English report
is rightly named as not Korean. What they find and miss is measured on `tests/korean/korean_checks.jsonl`.
"""

from __future__ import annotations

import argparse
import html
import itertools
import re
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from kotune.data.readers import read
from kotune.data.records import UnusedFields, known_names, of_a_table
from kotune.korean.answer import CheckedAnswer, Finding, Spans
from kotune.korean.ending_checks import check_no_end_token, check_unfinished
from kotune.korean.error_sentences import FINDINGS, in_korean
from kotune.korean.grounding import misplaced, unsupported
from kotune.korean.leftover_checks import check_leftover, check_template_marker
from kotune.korean.numbers import Quantity
from kotune.korean.particles import particle_errors
from kotune.korean.repetition_checks import (
    check_echo,
    check_repeated_characters,
    check_repeated_ngram,
    check_repeated_sentence,
)
from kotune.korean.script_checks import (
    check_cyrillic,
    check_empty,
    check_hanja,
    check_kana,
    check_latin_run,
    check_loose_jamo,
    check_low_hangul,
    check_other_script,
)
from kotune.korean.sentences import Sentence
from kotune.korean.spacing_checks import check_spacing
from kotune.korean.speech_levels import HAE, HAEYO, HAPSYO, PLAIN_LEVELS, POLITE_LEVELS, is_banmal, is_of_either_polite_level
from kotune.language import language
from utils import CourseError, normalized, require_other_files, write_jsonl

# --- speech level and particles --------------------------------------------------------------


def check_mixed_speech(answer: CheckedAnswer) -> Spans:
    if set(POLITE_LEVELS).isdisjoint(answer.levels) or set(PLAIN_LEVELS).isdisjoint(answer.levels):
        return
    polite, plain = _spoken_in(answer, POLITE_LEVELS), _spoken_in(answer, PLAIN_LEVELS)
    fewer, most = (polite, plain) if len(polite) < len(plain) else (plain, polite)
    for sentence, level in fewer:
        yield sentence.start, sentence.end, f"This sentence is {level}, and others are {most[0][1]}."


def check_mixed_polite(answer: CheckedAnswer) -> Spans:
    if HAPSYO not in answer.levels or HAEYO not in answer.levels:
        return
    formal, informal = (
        [s for s, _ in _spoken_in(answer, (level,)) if not is_of_either_polite_level(answer.hidden[s.start : s.end])]
        for level in (HAPSYO, HAEYO)
    )
    if formal and informal:
        fewer, level, most = (formal, HAPSYO, HAEYO) if len(formal) < len(informal) else (informal, HAEYO, HAPSYO)
        for sentence in fewer:
            yield sentence.start, sentence.end, f"This sentence is {level}, and others are {most}."


def check_banmal(answer: CheckedAnswer) -> Spans:
    if set(PLAIN_LEVELS).isdisjoint(answer.levels):
        return
    plain = _spoken_in(answer, PLAIN_LEVELS)
    informal = [(one, level) for one, level in plain if is_banmal(answer.hidden[one.start : one.end], level)]
    is_a_book = len(informal) < len(plain)  # 한다 beside 살펴보자 is the style of books
    for sentence, level in informal:
        if level == HAE or not is_a_book:
            yield sentence.start, sentence.end, f"This sentence is 반말 ({level})."


def _spoken_in(answer: CheckedAnswer, levels: Sequence[str]) -> list[tuple[Sentence, str]]:
    """Return the sentences of some levels, each with its own."""
    spoken = zip(answer.sentences, answer.levels, strict=True)
    return [(sentence, level) for sentence, level in spoken if level is not None and level in levels]


def check_particle(answer: CheckedAnswer) -> Spans:
    for error in particle_errors(answer.text):
        yield error.start, error.end, f"{error.found} should be {error.right}."


# --- what does not belong --------------------------------------------------------------------


def _numbers_against_the_source(answer: CheckedAnswer, find: Callable[..., Iterator[Quantity]], message: str) -> Spans:
    if answer.source is None:
        return
    for number in find(answer.text, *answer.sources, found=answer.quantities):
        yield number.start, number.end, message.format(written=answer.text[number.start : number.end])


def check_unsupported_number(answer: CheckedAnswer) -> Spans:
    message = "The number {written} stands neither in the source nor in the question."
    return _numbers_against_the_source(answer, unsupported, message)


def check_misplaced_number(answer: CheckedAnswer) -> Spans:
    return _numbers_against_the_source(answer, misplaced, "In doubt: the source has {written} of another thing.")


# --- all of them -----------------------------------------------------------------------------

_CHECKS: dict[str, tuple[Callable[[CheckedAnswer], Spans], str]] = {
    "empty": (check_empty, "no word at all"),
    "low_hangul": (check_low_hangul, "less than 40% of the letters are Hangul, each jamo a letter"),
    "hanja": (check_hanja, "Hanja or Chinese, unless it stands in brackets after its reading"),
    "kana": (check_kana, "Japanese"),
    "cyrillic": (check_cyrillic, "Cyrillic"),
    "other_script": (check_other_script, "letters of other scripts: Thai, Arabic, Devanagari, words in Greek"),
    "latin_run": (check_latin_run, "three or more words of English prose"),
    "loose_jamo": (check_loose_jamo, "consonants or vowels that form no syllable: ㅋㅋ, 하ㄴ다"),
    "mixed_speech": (check_mixed_speech, "존댓말 and 해라체 or 반말 in one answer: the sentences of the rarer kind"),
    "mixed_polite": (check_mixed_polite, "해요체 among 합니다체, or the other way round; requests and questions fit both"),
    "banmal": (check_banmal, "a sentence in 반말: 해체, or an order, a proposal or a question in 해라체"),
    "particle": (check_particle, "은/는, 이/가, (으)로, (이)나 and the like that do not fit the sound before them"),
    "spacing": (
        check_spacing,
        "a space that is missing before 수, 것 or 때문, or behind 못 or 안, where nothing else is meant",
    ),
    "repeated_sentence": (check_repeated_sentence, "a sentence that stands in the answer before"),
    "repeated_ngram": (
        check_repeated_ngram,
        "words three times in a row, a longer phrase twice, or the same five words thrice",
    ),
    "repeated_characters": (check_repeated_characters, "the same syllables or marks four times and more"),
    "unfinished": (check_unfinished, "the last sentence, bracket, item or block of code breaks off"),
    "no_end_token": (check_no_end_token, "the model was cut at the limit of tokens (needs `ended`)"),
    "template_marker": (check_template_marker, "special tokens, template headings, broken bytes"),
    "leftover": (check_leftover, "another turn (질문:, Human:), markup or reasoning tags, outside code and quotations"),
    "echo": (check_echo, "the question again (needs `question`)"),
    "misplaced_number": (check_misplaced_number, "in doubt: a number that the source has of another thing (needs `source`)"),
    "unsupported_number": (check_unsupported_number, "a number that source and question do not have (needs `source`)"),
}
CHECKS = {name: description for name, (_, description) in _CHECKS.items()}
NEEDS = {"no_end_token": "ended", "echo": "question", "misplaced_number": "source", "unsupported_number": "source"}


def check(
    answer: str, *, question: str | None = None, source: str | None = None, ended: bool | None = None
) -> list[Finding]:
    """Return what is wrong with an answer, in the order of the checks; an empty list where nothing is.

    question and source serve the checks `echo` and `unsupported_number`, `ended` (whether the model wrote its end token)
    serves `no_end_token`; each is left out where what it needs is None. Starts and ends count characters of the answer
    as it was given: an answer in NFD (as macOS names files) has the findings of its NFC. Messages are in the language of
    the edition at hand.

    Raises:
        CourseError: the answer is no string.
    """
    if not isinstance(answer, str):
        raise CourseError(f"An answer is {type(answer).__name__}, not a string; write an empty string where there is none.")
    if normalized("NFC", answer) == answer:
        return _findings(CheckedAnswer(answer, question, source, ended))
    composed, starts, ends = _composed(answer)
    found = _findings(CheckedAnswer(composed, question, source, ended))
    return [_moved(finding, answer, starts, ends) for finding in found]


def _findings(answer: CheckedAnswer) -> list[Finding]:
    tell = _in_korean if language() == "ko" else str  # asked once an answer: the setting may stand in a file
    if not re.search(r"\w", answer.text):  # nothing else can be said of it
        return [Finding("empty", start, end, answer.text, tell(message)) for start, end, message in check_empty(answer)]
    return [
        Finding(name, start, end, answer.text[start:end], tell(message))
        for name, (function, _) in _CHECKS.items()
        for start, end, message in function(answer)
    ]


def _in_korean(message: str) -> str:
    return in_korean(message, FINDINGS) or message


_CLUSTER = re.compile(r".[\u0300-\u036f\u1160-\u11ff\u302a-\u302f\u3099\u309a]*", re.DOTALL)


def _composed(text: str) -> tuple[str, list[int], list[int]]:
    """Return a text in NFC, and for each of its characters where it starts and ends in the text as given."""
    pieces, starts, ends = [], [], []
    for match in _CLUSTER.finditer(text):
        piece = normalized("NFC", match[0])
        pieces.append(piece)
        starts += [match.start()] * len(piece)
        ends += [match.end()] * len(piece)
    return "".join(pieces), starts, ends


def _moved(finding: Finding, text: str, starts: list[int], ends: list[int]) -> Finding:
    start = starts[finding.start] if finding.start < len(starts) else len(text)
    end = ends[finding.end - 1] if finding.end > finding.start else start
    return Finding(finding.check, start, end, text[start:end], finding.message)


# --- many answers ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """How often one check found something: in `answers` of `n` answers that it applied to, `findings` times in all."""

    check: str
    n: int
    answers: int
    share: float
    findings: int


def summary(found: Sequence[Sequence[Finding]], applied: dict[str, int] | None = None) -> list[Count]:
    """Return a count a check over the findings of many answers, checks that found nothing included.

    applied: for the checks of NEEDS, to how many answers they applied (those with a question, a source, a known end); all
    where it says nothing. A share is NaN where a check applied to none.
    """
    answers = Counter(name for findings in found for name in {finding.check for finding in findings})
    totals = Counter(finding.check for findings in found for finding in findings)
    counts = []
    for name in CHECKS:
        n = (applied or {}).get(name, len(found))
        counts.append(Count(name, n, answers[name], answers[name] / n if n else float("nan"), totals[name]))
    return counts


def applied_to(rows: Sequence[dict]) -> dict[str, int]:
    """Return to how many rows each check of NEEDS applies: those whose field is there."""
    return {name: sum(row.get(field) is not None for row in rows) for name, field in NEEDS.items()}


# --- to read ---------------------------------------------------------------------------------


def _segments(answer: str, findings: Sequence[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Yield the answer in pieces, each with the findings that cover it; overlaps become pieces of their own."""
    cuts = sorted({0, len(answer)} | {place for finding in findings for place in (finding.start, finding.end)})
    to_come = deque(sorted(range(len(findings)), key=lambda number: findings[number].start))
    covering: list[int] = []  # numbers of the findings that reach here
    for start, end in itertools.pairwise(cuts):
        while to_come and findings[to_come[0]].start <= start:
            insort(covering, to_come.popleft())
        covering = [number for number in covering if findings[number].end > start]
        yield answer[start:end], [findings[number] for number in covering]


def highlight(answer: str, findings: Sequence[Finding]) -> str:
    """Return an answer as text with each finding's span in 【】 and the names of its checks behind it."""
    pieces = []
    for piece, covering in _segments(answer, findings):
        names = ", ".join(dict.fromkeys(finding.check for finding in covering))
        pieces.append(f"【{piece}】({names})" if covering else piece)
    return "".join(pieces) or "【】(" + ", ".join(finding.check for finding in findings) + ")" * bool(findings)


def highlight_html(answer: str, findings: Sequence[Finding]) -> str:
    """Return an answer as HTML with each finding's span in <mark>, its message as the title; everything is escaped."""
    pieces = []
    for piece, covering in _segments(answer, findings):
        text = html.escape(piece).replace("\n", "<br>")
        if covering:
            title = html.escape(" ".join(f"{finding.check}: {finding.message}" for finding in covering))
            text = f'<mark title="{title}">{text}</mark>'
        pieces.append(text)
    if not answer and findings:
        pieces.append(f"<mark>{html.escape(', '.join(finding.check for finding in findings))}</mark>")
    return "".join(pieces)


# --- command line ----------------------------------------------------------------------------

_FIELDS = {"answer": str, "question": str, "source": str, "ended": bool}


def check_rows(path: str) -> tuple[list[dict], list[list[Finding]]]:
    """Return the rows of a file of answers, and each row's findings.

    A row has `answer` and, where known, `question`, `source` and `ended`.

    Raises:
        CourseError: a row has no answer, or a field is of another kind; the message names the line.
    """
    rows, found = [], []
    unused = UnusedFields("the checks look at answer, question, source and ended")
    for place, given in read(path):
        row = known_names(given)
        unused.add([name for name in row if name not in ("id", "answer", *_FIELDS)], place)
        if isinstance(row.get("ended"), str):  # in a CSV all is text
            row["ended"] = of_a_table(row["ended"], bool)
        if row.get("answer") is None:
            raise CourseError(f"{place}, has no answer; every row needs the field answer, if only as an empty string.")
        for field, kind in _FIELDS.items():
            value = row.get(field)
            if value is not None and not isinstance(value, kind):
                wanted = "true or false" if kind is bool else "a string"
                raise CourseError(f"{place}, field {field}, is {type(value).__name__}; write {wanted}.")
        rows.append(row)
        found.append(check(row["answer"], **{field: row.get(field) for field in ("question", "source", "ended")}))
    unused.say()
    return rows, found


def table(counts: Sequence[Count]) -> str:
    """Return the counts as lines of text, one a check."""
    lines = [f"{'check':<20}{'answers':>8}{'of':>7}{'share':>8}  finds"]
    for count in counts:
        share = f"{count.share:.1%}" if count.n else "-"
        lines.append(f"{count.check:<20}{count.answers:>8}{count.n:>7}{share:>8}  {CHECKS[count.check]}")
    return "\n".join(lines)


def check_command(chosen: argparse.Namespace) -> None:
    """Check a file of answers as the command line asks: print the counts and, where asked, write a line a finding."""
    require_other_files([chosen.answers], [chosen.out])
    rows, found = check_rows(chosen.answers)
    if chosen.out:
        lines = [
            {"row": number, **({"id": row["id"]} if "id" in row else {}), **asdict(finding)}
            for number, (row, findings) in enumerate(zip(rows, found, strict=True), start=1)
            for finding in findings
        ]
        write_jsonl(chosen.out, lines)
    clean = sum(not findings for findings in found)
    print(f"{len(found)} answers, {clean} without findings\n{table(summary(found, applied_to(rows)))}")
