"""Shards of a command's rows, so that several processes or machines share one input: `--shard 2/8` is the second of eight.

A row belongs to a shard by the hash of its id, so that adding rows moves no other. Each shard has a JSONL file of its own,
and beside it a card, NAME.shard-2-of-8.card.json, which says what was asked; `kotune.data.shard_files` puts them together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from utils import CourseError, read_json, relative, write_json

_NUMBERS = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")  # not \d, which takes digits of every script
_OF_A_SHARD = re.compile(r"\.shard-([0-9]{1,9})-of-([0-9]{1,9})\.jsonl$")


@dataclass(frozen=True)
class Shard:
    """One of several equal parts, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that a command line names.

        Raises:
            CourseError: the text is not i/n with 1 <= i <= n.
        """
        found = _NUMBERS.fullmatch(text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise CourseError(
                f"--shard is {text!r}; write i/n with 1 <= i <= n, such as 2/8 for the second of eight shards."
            )
        return cls(int(found[1]), int(found[2]))

    def holds(self, identity: str) -> bool:
        """Whether a row with this id belongs to the shard."""
        return shard_of(identity, self.of) == self.number

    def file(self, whole: str | Path) -> Path:
        """Return the file of this shard, beside the one that it is a part of."""
        whole = Path(whole)
        return whole.with_name(f"{whole.stem}.shard-{self.number}-of-{self.of}.jsonl")


def shard_of(identity: str, count: int) -> int:
    """Return the number, from 1, of the shard that a row belongs to by the SHA-256 of its id."""
    digest = sha256(identity.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


def identity_of(row: Mapping, number: int) -> str:
    """Return what tells a row from others: its id, a whole number as a text; without one, its number in the input."""
    value = row.get("id")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else f"row {number}"


def whole_file(shard_file: str | Path) -> Path:
    """Return the file that a shard's file is a part of.

    Raises:
        CourseError: it is not named as a shard's file is.
    """
    path = Path(shard_file)
    stem, parts = _OF_A_SHARD.subn("", path.name)
    if not parts:
        raise CourseError(f"{path.name} is no shard's file (NAME.shard-1-of-4.jsonl); name what --shard wrote.")
    return path.with_name(f"{stem}.jsonl")


# --- the card --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShardCard:
    """What a shard's file holds, and of what run: all that has to be the same in every shard, and which rows are its own."""

    command: str  # infer, judge, score or dedup
    shard: int
    of: int
    settings: dict  # what the lines depend on
    input_sha256: str  # of all rows, in their order
    rows: int  # of all shards together
    places: dict[str, int] = field(default_factory=dict)  # the shard's own lines: id -> place in the whole, from 0
    open_statuses: tuple[str, ...] = ()  # a line whose field `status` is one of them gives way to a later one of its id
    input: str | None = None  # where the rows lie, where they are needed again to put the shards together

    @property
    def run(self) -> dict:
        """What has to be the same in every shard."""
        return {
            "command": self.command,
            "of": self.of,
            **self.settings,
            "input_sha256": self.input_sha256,
            "rows": self.rows,
        }


def card_file(shard_file: str | Path) -> Path:
    """Return the file with a shard's card."""
    return Path(shard_file).with_suffix(".card.json")


def read_card(shard_file: str | Path) -> ShardCard:
    """Return the card beside a shard's file.

    Raises:
        CourseError: there is none, or it is no card.
    """
    path = card_file(shard_file)
    if not path.exists():
        raise CourseError(f"{relative(shard_file)} has no {path.name} beside it, which --shard writes; bring it along too.")
    held = read_json(path)
    try:
        card = ShardCard(**held)
        plain = all(isinstance(n, int) for n in (card.shard, card.of, card.rows, *card.places.values()))
        if not plain or not isinstance(card.settings, dict) or not 1 <= card.shard <= card.of:
            raise TypeError
    except (TypeError, AttributeError):
        raise CourseError(f"{relative(path)} is not a shard's card; run that shard again with another output.") from None
    return card


def claim(shard_file: str | Path, card: ShardCard) -> None:
    """Write a shard's card, before its first line.

    Raises:
        CourseError: the file holds a shard of another run.
    """
    path = Path(shard_file)
    if path.exists() and path.stat().st_size > 0:
        held = read_card(path)
        if _plain(held) != _plain(card):
            raise CourseError(
                f"{relative(path)} holds a shard of another run ({difference(held, card) or 'other rows'}); name another "
                f"output, or delete that file and {card_file(path).name}."
            )
    write_json(card_file(path), asdict(card))


def _plain(card: ShardCard) -> dict:
    return json.loads(json.dumps({**asdict(card), "input": None}))  # the input may be spelt in several ways


def difference(one: ShardCard, other: ShardCard) -> str | None:
    """Return in what the runs of two shards differ, in words; None where they are of one run."""
    ours, theirs = (json.loads(json.dumps(card.run)) for card in (one, other))
    for name in dict.fromkeys([*ours, *theirs]):
        if ours.get(name) != theirs.get(name):
            if name.endswith("sha256"):
                return f"other {name.removesuffix('_sha256').replace('_', ' ')}"
            return f"{name} is {_shown(ours.get(name))} in one and {_shown(theirs.get(name))} in the other"
    return None


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def places_in(shard: Shard, ids: Iterable[str]) -> dict[str, int]:
    """Return the ids that belong to a shard, each with its place among all."""
    return {identity: place for place, identity in enumerate(ids) if shard.holds(identity)}
