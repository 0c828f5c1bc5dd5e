"""What is wrong, or looks wrong, with a data set: each finding with its file, line, field, and what to do.

Errors are what would stop a run; warnings what a person should look at. Rows are streamed, and of each kind of finding
the first are kept and all are counted.

Cost of import: the standard library; numpy and rapidfuzz where overlap is looked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pii
from records import EXTRA_FIELDS, canonical, shape_of
from rows import Row, read_with_errors
from utils import CourseError

KEPT_OF_EACH = 20
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u2060\ufeff]")
# UTF-8 read as Latin-1 or Windows-1252, CP949 read as Latin-1, and the well-known remains of a failed round trip
MOJIBAKE = re.compile(
    "\ufffd|占쏙옙|占쎌|(?:[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u0192\u2013-\u2122]{1,3}){2}|[\u00a1-\u00fe]{6,}"
)


@dataclass(frozen=True)
class Finding:
    """One finding: error or warning, its kind, and one sentence that names the place and what to do."""

    severity: str
    kind: str
    message: str


@dataclass
class Report:
    """What a check found: rows read, the first findings of each kind, and the count of all."""

    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)

    def add(self, severity: str, kind: str, message: str) -> None:
        """Count a finding, and keep it if it is among the first of its kind."""
        self.count(severity, kind)
        if self.counts[severity, kind] <= KEPT_OF_EACH:
            self.findings.append(Finding(severity, kind, message))

    def count(self, severity: str, kind: str) -> None:
        """Count a finding whose sentence is written later."""
        self.counts[severity, kind] += 1

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
        return "\n".join([*lines, total])


def check(
    path: str | Path,
    rename: Callable[[dict], dict] = dict,
    token_count: Callable[[dict], int] | None = None,
    longest: int = 0,
    held_out: Sequence[str] = (),
) -> Report:
    """Return the findings on a file or folder.

    `rename` maps a registration's columns. With `token_count`, records of more than `longest` tokens are found. With
    `held_out`, questions near one of these texts are (ROUGE-L above 0.7 on eojeol).
    """
    report = Report()
    seen: set[int] = set()  # hashes alone: a file of a gigabyte has millions of ids
    repeated: dict[str, str] = {}
    unknown: dict[str, str] = {}
    questions: list[tuple[str, str]] = []
    for row in _rows(path, report):
        report.rows += 1
        renamed = rename(row.value)
        try:
            records = canonical(renamed, row.place, default_id=f"row {report.rows}")
        except CourseError as error:
            report.add("error", _kind_of(str(error)), str(error))
            continue
        for name in _unknown_fields(renamed):
            unknown.setdefault(name, row.place)
        if renamed.get("id") not in (None, ""):
            identity = str(row.value["id"])
            if hash(identity) in seen:
                report.count("error", "duplicate id")
                if len(repeated) < KEPT_OF_EACH:
                    repeated[identity] = row.place
            seen.add(hash(identity))
        for record in records:
            _check_texts(record, row, report)
            if token_count and (tokens := token_count(record)) > longest:
                said = f"{row.place}: {tokens:,} tokens, and the recipe cuts or drops beyond {longest:,}; shorten it."
                report.add("warning", "over-long", said)
            if held_out and "prompt" in record:
                questions.append((row.place, record["prompt"][-1]["content"]))
    for place, said in _first_uses(path, repeated):
        report.findings.append(Finding("error", "duplicate id", f"{place}, {said}"))
    for name, place in unknown.items():
        said = f"{place}, field {name}: no format of the course has it, and it will be ignored; rename or remove it."
        report.add("warning", "unknown field", said)
    _check_overlap(questions, held_out, report)
    return report


def _rows(path: str | Path, report: Report) -> Iterator[Row]:
    try:
        for row in read_with_errors(path):
            if isinstance(row, CourseError):
                report.rows += 1
                report.add("error", "unreadable", str(row))
            else:
                yield row
    except CourseError as error:
        report.add("error", "unreadable", str(error))


def _first_uses(path: str | Path, repeated: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the place of each repeated id with a sentence on its first use, which a second reading finds."""
    waiting = dict(repeated)
    for row in _rows(path, Report()) if waiting else ():
        identity = str(row.value.get("id"))
        if identity in waiting:
            first = row.place.rpartition(", ")[2]
            yield waiting.pop(identity), f"field id: {identity!r} was used by {first}; give each row its own."
        if not waiting:
            return


def _kind_of(message: str) -> str:
    for words, kind in (
        ("has the fields", "unknown shape"),
        ("the roles are", "role order"),
        ("last turn", "role order"),
        ("one assistant turn", "role order"),
        ("same text", "same sides"),
        ("is empty", "empty"),
        ("none empty", "empty or wrong type"),
    ):
        if words in message:
            return kind
    return "wrong type"


def _unknown_fields(row: dict) -> list[str]:
    shape = shape_of(row)
    return [name for name in row if name not in shape.fields and name not in EXTRA_FIELDS]


def _texts(record: dict) -> Iterator[tuple[str, str]]:
    if "text" in record:
        yield "text", record["text"]
    for name in ("prompt", "completion", "chosen", "rejected"):
        for turn in record.get(name, ()):
            yield name, turn["content"]


def _check_texts(record: dict, row: Row, report: Report) -> None:
    for name, text in _texts(record):
        if text.isascii() and text.isprintable():
            suspects = ()
        else:
            suspects = (
                ("mojibake", MOJIBAKE, "was read in a wrong encoding"),
                ("control characters", CONTROL, "holds invisible characters"),
            )
        for kind, pattern, what in suspects:
            if found := pattern.search(text):
                shown = found[0][:12].encode("unicode_escape").decode()
                report.add("warning", kind, f"{row.place}, field {name}: the text {what} ({shown}); mend it.")
        for finding in pii.find(text):
            said = f"{row.place}, field {name}: a likely {finding.kind} ({finding.covered}); remove it if it is a person's."
            report.add("warning", "personal data", said)


def _check_overlap(questions: Sequence[tuple[str, str]], held_out: Sequence[str], report: Report) -> None:
    if not questions or not held_out:
        return
    from similarity import find_overlap

    for overlap in find_overlap([text for _, text in questions], held_out, 0.7, "eojeol"):
        place, _ = questions[overlap.index]
        near = held_out[overlap.twin]
        said = f"{place}: the question is near the held-out {near!r:.60} (ROUGE-L {overlap.f1:.2f}); leave it out."
        report.add("error", "train/eval overlap", said)
