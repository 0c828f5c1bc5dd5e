"""What is wrong, or looks wrong, with a data set: each finding with its file, line, field, and what to do.

Errors are what would stop a run; warnings what a person should look at. Rows are streamed, and of each kind of finding
the first are kept and all are counted.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from kotune.data import pii
from kotune.data.readers import Doubt, Found, Row, seen_from
from kotune.data.records import UnusedFields, canonical, unknown_fields
from kotune.data.writers import stage_of
from utils import CourseError

KEPT_OF_EACH = 20
OVERLAP_BATCH = 20_000  # questions compared at a time, so that memory does not grow with the file
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u2060\ufeff]")
SURROGATE = re.compile("[\ud800-\udfff]")
_ENDINGS = ("습니다", "입니다", "하는", "있는", "에서", "으로")
# UTF-8 read as Latin-1 or Windows-1252, CP949 read as Latin-1, and the well-known remains of a failed round trip
MOJIBAKE = re.compile(
    "\ufffd|占쏙옙|占쎌|(?:[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u0192\u2013-\u2122]{1,3}){2}|[\u00a1-\u00b6\u00b8-\u00fe]{6,}"
    # common endings whose UTF-8 was read as CP949
    + "".join("|" + re.escape(word.encode().decode("cp949", "replace").replace("\ufffd", "?")) for word in _ENDINGS)
)

# a text that is nothing but one of these was most likely no text
MISSING = frozenset(("nan", "NaN", "NAN", "None", "null", "NULL", "NaT", "<NA>", "#N/A", "N/A", "undefined"))
# the stage that a set is registered for, and those of the records that it may hold
HELD_BY_STAGE = {"sft": ("sft",), "pt": ("pt",), "dpo": ("dpo",), "rw": ("dpo",), "evaluation": ("sft", "judge")}
# records that no stage trains on: what they are, and what takes them
PURPOSES = {"judge": "two answers to one question, with no verdict on them: `kotune judge --pairs` compares them"}
# what a text of printable ASCII cannot be: the kind of finding, its pattern, and what it says of the text
SUSPECTS = (
    ("mojibake", MOJIBAKE, "was read in a wrong encoding"),
    ("control characters", CONTROL, "holds invisible characters"),
)


@dataclass(frozen=True)
class RowFinding:
    """One finding: error or warning, its kind, and one sentence that names the place and what to do."""

    severity: str
    kind: str
    message: str


@dataclass
class ValidationReport:
    """What a check found: rows read, the first findings of each kind, and the count of all."""

    rows: int = 0
    findings: list[RowFinding] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    stages: Counter = field(default_factory=Counter)  # of the records

    def add(self, severity: str, kind: str, message: str) -> None:
        """Count a finding, and keep it if it is among the first of its kind."""
        self.counts[severity, kind] += 1
        if self.counts[severity, kind] <= KEPT_OF_EACH:
            self.findings.append(RowFinding(severity, kind, message))

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(count for (severity, _), count in self.counts.items() if severity == "error")

    def __str__(self) -> str:
        """Return the table of findings and their counts."""
        lines = [f"{f.severity:7}  {f.kind:18}  {f.message}" for f in self.findings]
        hidden = [(k, n - KEPT_OF_EACH) for (_, k), n in self.counts.items() if n > KEPT_OF_EACH]
        lines += [f"         {kind:18}  and {count:,} more" for kind, count in hidden]
        kinds = ", ".join(f"{kind} {count:,}" for (_, kind), count in self.counts.most_common())
        warnings = sum(self.counts.values()) - self.errors
        total = f"{self.rows:,} rows: {self.errors:,} errors, {warnings:,} warnings" + (f" ({kinds})" if kinds else "")
        purposes = [f"{self.stages[stage]:,} records hold {what}." for stage, what in PURPOSES.items() if self.stages[stage]]
        return "\n".join([*lines, total, *purposes])


def check(
    read: Callable[[], Iterable[Found]],
    name: str,
    *,
    stage: str | None = None,
    token_count: Callable[[dict], int] | None = None,
    longest: int = 0,
    held_out: Sequence[str] = (),
) -> ValidationReport:
    """Return the findings on a data set.

    `read` starts a reading of its rows, with what is wrong in the place of a line that is broken; it is called again
    where ids repeat. `name` is the stem of ids that rows do not have. With `stage`, records for another are errors.
    With `token_count`, records of more than `longest` tokens are found. With `held_out`, questions near one of these
    texts are (ROUGE-L above 0.7 on eojeol).
    """
    report = ValidationReport()
    ids = array("q")  # hashes alone: a file of a gigabyte has millions of ids
    unknown = UnusedFields("")
    questions: list[tuple[str, str]] = []
    for row, records in _records(read, name, report):
        unknown.add(unknown_fields(row.value), row.place)
        for record in records:
            if "id" in record:
                ids.append(hash(record["id"]))
            report.stages[stage_of(record)] += 1
            _check_texts(record, row, report)
            _check_stage(record, row, stage, report)
            if token_count:
                _check_length(record, row, token_count, longest, report)
            if held_out and "prompt" in record:
                questions.append((row.place, record["prompt"][-1]["content"]))
        if len(questions) >= OVERLAP_BATCH:
            _check_overlap(questions, held_out, report)
            questions.clear()
    _check_overlap(questions, held_out, report)
    _check_ids(ids, read, name, report)
    for field_name, place in unknown.first.items():
        count = f"{unknown.counts[field_name]:,} row{'s' if unknown.counts[field_name] > 1 else ''}"
        said = f"{place}, field {field_name}: no format of the course has it, and it will be ignored ({count}); remove it."
        report.add("warning", "unknown field", said)
    return report


def _records(read: Callable[[], Iterable[Found]], name: str, report: ValidationReport) -> Iterator[tuple[Row, list[dict]]]:
    """Yield each good row with its records, and put the bad ones into the report."""
    try:
        for row in read():
            if isinstance(row, Doubt):
                report.add("warning", "doubtful", f"{row.place}: {row.what}")
                continue
            report.rows += 1
            if isinstance(row, CourseError):
                report.add("error", "unreadable", str(row))
                continue
            try:
                yield row, canonical(row.value, row.place, default_id=f"{name}-{report.rows:05d}")
            except CourseError as error:
                report.add("error", _kind_of(str(error)), str(error))
    except CourseError as error:
        rest = " (What comes after it was not checked.)" if report.rows else ""
        report.add("error", "unreadable", f"{error}{rest}")


def _check_ids(ids: array, read: Callable, name: str, report: ValidationReport) -> None:
    """Find ids that come twice by their hashes, and in a second reading the places."""
    import numpy as np

    hashes = np.sort(np.frombuffer(ids, dtype=np.int64))
    repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not repeated:
        return
    first: dict[str, str] = {}
    for row, records in _records(read, name, ValidationReport()):
        for record in records:
            if hash(record.get("id")) not in repeated:
                continue
            identity = record["id"]
            if identity in first:
                earlier = seen_from(row.place, first[identity])
                said = f"{row.place}, field id: {identity!r} was used by {earlier}; give each row its own."
                report.add("error", "duplicate id", said)
            first.setdefault(identity, row.place)


def _check_length(
    record: dict, row: Row, token_count: Callable[[dict], int], longest: int, report: ValidationReport
) -> None:
    try:
        tokens = token_count(record)
    except CourseError as error:  # a token of the template in its text, say
        report.add("error", "template", f"{row.place}: {error}")
        return
    if tokens > longest:
        said = f"{row.place}: {tokens:,} tokens, and the recipe leaves out what is beyond {longest:,}; shorten it."
        report.add("warning", "over-long", said)


def _check_stage(record: dict, row: Row, stage: str | None, report: ValidationReport) -> None:
    holds = HELD_BY_STAGE.get(stage or "")
    if holds and stage_of(record) not in holds:
        said = f"{row.place}: registered for {stage}, and this record is for {stage_of(record)}; register it as what it is."
        report.add("error", "stage", said)


def _kind_of(message: str) -> str:
    for words, kind in (
        ("has the fields", "unknown shape"),
        ("the roles are", "role order"),
        ("last turn", "role order"),
        ("one assistant turn", "role order"),
        ("same text", "same sides"),
        ("another question", "two questions"),
        ("is empty", "empty"),
        ("none empty", "empty or wrong type"),
    ):
        if words in message:
            return kind
    return "wrong type"


def _texts(record: dict) -> Iterator[tuple[str, str]]:
    if "text" in record:
        yield "text", record["text"]
    for name in ("prompt", "completion", "chosen", "rejected", "first", "second"):
        for turn in record.get(name, ()):
            yield name, turn["content"]


def _check_texts(record: dict, row: Row, report: ValidationReport) -> None:
    for name, text in _texts(record):
        if SURROGATE.search(text):
            said = f"{row.place}, field {name}: the text holds half of a surrogate pair; fix it."
            report.add("error", "half a character", said)
        if text.strip() in MISSING:
            said = f"{row.place}, field {name}: the text is {text.strip()!r}, as programs write what is missing; fill it in."
            report.add("warning", "missing value", said)
        suspects = () if text.isascii() and text.isprintable() else SUSPECTS
        for kind, pattern, what in suspects:
            if found := pattern.search(text):
                shown = found[0][:12].encode("unicode_escape").decode()
                report.add("warning", kind, f"{row.place}, field {name}: the text {what} ({shown}); fix it.")
        for finding in pii.find(text):
            said = f"{row.place}, field {name}: a likely {finding.kind} ({finding.covered}); remove it if it is a person's."
            report.add("warning", "personal data", said)


def _check_overlap(questions: Sequence[tuple[str, str]], held_out: Sequence[str], report: ValidationReport) -> None:
    if not questions or not held_out:
        return
    from similarity import find_overlap

    for overlap in find_overlap([text for _, text in questions], held_out, 0.7, "eojeol"):
        place, _ = questions[overlap.index]
        near = held_out[overlap.twin]
        said = f"{place}: the question is near the held-out {near!r:.60} (ROUGE-L {overlap.f1:.2f}); leave it out."
        report.add("error", "train/eval overlap", said)
