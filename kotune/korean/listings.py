"""Records of real-estate advertisements: read from a model's reply, written, and compared with the right one.

A record is a `prompts.ListingRecord`; docs/listings.md has the rules of its fields. `parse_record` takes a reply that is
exactly one record, white space aside, and nothing else. `check_reply` says which fields of a reply are wrong, how, and
where they stand; `score` sums that up over a set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from kotune.language import said
from kotune.stats import Interval, mean_interval, wilson
from prompts import ListingRecord
from utils import CourseError, require_same_length

FIELDS = tuple(ListingRecord.model_fields)
SQUARE_METRES_OF_A_PYEONG = 400 / 121
Value = str | int | float | bool | None


# --- read and write --------------------------------------------------------------------------


@dataclass(frozen=True)
class UnreadableReply:
    """Why a reply is no record, and the field that spoils it where one does."""

    message: str
    field: str | None = None


def render_record(record: ListingRecord) -> str:
    """Return a record as the one line of compact JSON that a model is to write."""
    return json.dumps(record.model_dump(), ensure_ascii=False, separators=(",", ":"))


def parse_record(text: str) -> ListingRecord | UnreadableReply:
    """Return the record that a reply consists of, or why it is none.

    White space around and between the parts of the JSON is allowed, and nothing else: no word beside it, no field
    missing, twice, unknown or out of order, no number in quotes.
    """
    try:
        pairs = json.loads(text, object_pairs_hook=list, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # the latter where a model repeats "[" to its limit
        return UnreadableReply(f"The reply is not JSON ({error}).")
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        return UnreadableReply("The reply is JSON, and not an object of the thirteen fields.")
    fault = _fault_of_names([name for name, _ in pairs])
    if fault:
        return fault
    try:
        return ListingRecord.model_validate(dict(pairs))
    except ValidationError as error:
        first = error.errors()[0]
        return UnreadableReply(f"{first['loc'][0]} is {first['input']!r}: {first['msg']}.", str(first["loc"][0]))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _fault_of_names(names: Sequence[str]) -> UnreadableReply | None:
    """Return the first name that is not the one due at its place, or None."""
    for due, given in zip(FIELDS, names, strict=False):
        if due != given:
            return UnreadableReply(f"The field {given!r} stands where {due} is due.", due)
    if len(names) < len(FIELDS):
        return UnreadableReply(f"The field {FIELDS[len(names)]} is missing.", FIELDS[len(names)])
    if len(names) > len(FIELDS):
        return UnreadableReply(f"The field {names[len(FIELDS)]!r} is one too many.")
    return None


def area_m2(record: ListingRecord) -> float | None:
    """Return the area in square metres, to a decimal where the text has 평, which the model copies and does not convert."""
    if record.area is None:
        return None
    number = float(record.area.rstrip("평㎡"))
    return round(number * SQUARE_METRES_OF_A_PYEONG, 1) if record.area.endswith("평") else number


# --- compare ---------------------------------------------------------------------------------

Fault = Literal["missing", "invented", "wrong"]
FAULTS_IN_KOREAN: dict[Fault, str] = {"missing": "빠뜨림", "invented": "지어냄", "wrong": "틀림"}


@dataclass(frozen=True)
class FieldFault:
    """A field that a reply has wrong: what it is, what is due, and where its value stands in the reply."""

    field: str
    fault: Fault  # null for a value, a value for null, another value
    due: Value
    given: Value
    start: int
    end: int

    def __str__(self) -> str:
        due, given = (json.dumps(value, ensure_ascii=False) for value in (self.due, self.given))
        return said(
            f"{self.field} is {given} and should be {due} ({self.fault})",
            f"{self.field}: 응답은 {given}, 정답은 {due}({FAULTS_IN_KOREAN[self.fault]})",
        )


@dataclass(frozen=True)
class ReplyCheck:
    """A reply beside the right record: its faults by field, or why it is no record at all."""

    faults: tuple[FieldFault, ...]
    unreadable: UnreadableReply | None = None

    @property
    def valid(self) -> bool:
        """Whether the reply is a record."""
        return self.unreadable is None

    @property
    def exact(self) -> bool:
        """Whether the reply is the right record in every field."""
        return self.valid and not self.faults

    @property
    def right_fields(self) -> tuple[str, ...]:
        """The fields that are right; none of an unreadable reply. Samples can be ranked by their number."""
        wrong = {fault.field for fault in self.faults}
        return tuple(name for name in FIELDS if self.valid and name not in wrong)


def check_reply(reply: str, due: ListingRecord) -> ReplyCheck:
    """Compare a reply with the right record, field by field."""
    given = parse_record(reply)
    if isinstance(given, UnreadableReply):
        return ReplyCheck((), given)
    different = [name for name in FIELDS if getattr(given, name) != getattr(due, name)]
    return ReplyCheck(tuple(_field_fault(reply, name, getattr(due, name), getattr(given, name)) for name in different))


def _field_fault(reply: str, name: str, due: Value, given: Value) -> FieldFault:
    fault: Fault = "missing" if given is None else "invented" if due is None else "wrong"
    start = next(re.finditer(rf'"{name}"\s*:\s*', reply)).end()  # quotes inside of a text are escaped: only a key looks so
    _, end = json.JSONDecoder().raw_decode(reply, start)
    return FieldFault(name, fault, due, given, start, end)


# --- score -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ListingScore:
    """How many of `n` replies are exactly right, how many are records at all, and how often each field is right."""

    n: int
    exact: int
    valid: int
    right_fields: dict[str, int]  # of n; a field of an unreadable reply is wrong
    checks: tuple[ReplyCheck, ...]

    @property
    def exact_interval(self) -> Interval:
        """The 95% interval of the share of exact replies (Wilson)."""
        return wilson(self.exact, self.n)

    @property
    def valid_interval(self) -> Interval:
        """The 95% interval of the share of records (Wilson)."""
        return wilson(self.valid, self.n)

    @property
    def field_share(self) -> float:
        """The share of right fields, of all fields of all replies."""
        return sum(self.right_fields.values()) / (self.n * len(FIELDS))

    @property
    def field_share_interval(self) -> Interval:
        """The 95% interval of that share, a reply being one unit: the faults of one reply hang together."""
        return mean_interval([len(check.right_fields) / len(FIELDS) for check in self.checks])

    def field_interval(self, name: str) -> Interval:
        """Return the 95% interval of one field's share (Wilson)."""
        return wilson(self.right_fields[name], self.n)

    def row(self) -> dict:
        """Return the score as one row for a table or JSON."""
        return {
            "n": self.n,
            "exact": self.exact,
            "exact_interval": self.exact_interval,
            "valid": self.valid,
            "field_share": self.field_share,
            "field_share_interval": self.field_share_interval,
            **self.right_fields,
        }


def score(replies: Sequence[str], references: Sequence[str]) -> ListingScore:
    """Compare each reply with its right record, and sum up.

    Raises:
        CourseError: there are no replies, more or fewer than references, or a reference is no record.
    """
    require_same_length(replies, references, "replies", "references")
    checks = tuple(
        check_reply(reply, _reference(text, number))
        for number, (reply, text) in enumerate(zip(replies, references, strict=True), start=1)
    )
    return ListingScore(
        n=len(checks),
        exact=sum(check.exact for check in checks),
        valid=sum(check.valid for check in checks),
        right_fields={name: sum(name in check.right_fields for check in checks) for name in FIELDS},
        checks=checks,
    )


def _reference(text: str, number: int) -> ListingRecord:
    record = parse_record(text)
    if isinstance(record, UnreadableReply):
        raise CourseError(f"Reference {number} is no record: {record.message} Write it as docs/listings.md says.")
    return record
