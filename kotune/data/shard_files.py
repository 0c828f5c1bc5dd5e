"""`kotune data merge`: the files of all shards of a run as the one file that one process would have written.

    kotune data merge outputs/inference/test.shard-*-of-4.jsonl --out outputs/inference/test.jsonl

The lines come in the order of the input, as they stand. A shard that is missing, twice there, unfinished or of another run
is refused. Shards of `data dedup` hold what matches; their merge makes the decisions (`dedup_shards`).
"""

from __future__ import annotations

import filecmp
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from kotune.data.dedup import DedupResult
from kotune.data.dedup_shards import merge_matches
from kotune.shards import ShardCard, difference, read_card, whole_file
from similarity import Differ
from utils import CourseError, atomic_path, errors_of, relative, require_other_files, write_json

ANSWERS = "infer"  # the command whose files have a card of the run beside them
DEDUP = "dedup"


@dataclass(frozen=True)
class Merged:
    """The file that was made of shards: how many lines it has, and how many of them wait for another run, by status."""

    file: Path
    lines: int
    open: Counter[str]
    settings: dict  # of the run
    dedup: DedupResult | None = None


class _Line(NamedTuple):
    """Where a line stands."""

    file: Path
    offset: int
    length: int
    open_as: str | None  # its status, where a later line would take its place


def merge(
    shard_files: Sequence[str | Path], target: str | Path | None, differ: Differ | None = None, source: str | None = None
) -> Merged:
    """Put the shards of one run together.

    target: the file they go to; the one whose shards they are if not given. differ: for shards of `data dedup` without
    --alpaca, what must not be taken for a repeat. source: their input, where it is not where it was.

    Raises:
        CourseError: a shard is missing, twice there, unfinished, torn or of another run; or the output is there already,
            with something else in it.
    """
    files = [Path(file) for file in shard_files]
    cards = check(files)
    target = Path(target) if target is not None else whole_file(files[0])
    require_other_files(files, [target], called="a shard", instead="another --out")
    if cards[0].command == DEDUP:
        for file, card in zip(files, cards, strict=True):
            _places_of_lines(file, card)
        done = merge_matches(files, target, None if cards[0].settings["alpaca"] else differ, source)
        return Merged(done.kept_file, done.kept, Counter(), cards[0].settings, done)
    lines = _in_order(files, cards)
    with atomic_path(target) as temporary:
        with temporary.open("wb") as out:
            _copy(lines, out)
        _refuse_other(target, temporary)
        if cards[0].command == ANSWERS:
            write_json(target.with_suffix(".run.json"), cards[0].settings)
    return Merged(target, len(lines), Counter(line.open_as for line in lines if line.open_as), cards[0].settings)


def check(files: Sequence[Path]) -> list[ShardCard]:
    """Return the cards of shards that are one whole run.

    Raises:
        CourseError: they are of several runs, or one is missing or twice there.
    """
    if not files:
        raise CourseError("There are no shards to merge; name the files that --shard wrote.")
    cards = [_card(file) for file in files]
    held: dict[int, Path] = {}
    for file, card in zip(files, cards, strict=True):
        if other := difference(cards[0], card):
            raise CourseError(
                f"{relative(files[0])} and {relative(file)} are shards of two runs ({other}); merge those of one."
            )
        if card.shard in held:
            raise CourseError(
                f"{relative(held[card.shard])} and {relative(file)} are both shard {card.shard} of {card.of}; name one of "
                "them."
            )
        held[card.shard] = file
    missing = [number for number in range(1, cards[0].of + 1) if number not in held]
    if missing:
        shown = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise CourseError(
            f"Of {cards[0].of} shards {len(missing)} are missing ({shown}); run --shard {missing[0]}/{cards[0].of}, or name "
            "its file too."
        )
    return cards


def _card(file: Path) -> ShardCard:
    if not file.is_file():
        raise CourseError(f"{relative(file)} does not exist; name the files that --shard wrote.")
    return read_card(file)


def _in_order(files: Sequence[Path], cards: Sequence[ShardCard]) -> list[_Line]:
    """Return the lines that count, in the order of the input; all are there, each once."""
    placed: dict[int, _Line] = {}
    for file, card in zip(files, cards, strict=True):
        for place, line in _places_of_lines(file, card).items():
            if place in placed or not 0 <= place < card.rows:
                raise CourseError(f"{relative(file)} and another shard both hold row {place + 1}; run one of them again.")
            placed[place] = line
    if len(placed) < cards[0].rows:
        gap = next(place for place in range(cards[0].rows) if place not in placed)
        raise CourseError(f"No shard holds row {gap + 1} of {cards[0].rows}; run the shards again, all with one input.")
    return [placed[place] for place in range(cards[0].rows)]


def _places_of_lines(file: Path, card: ShardCard) -> dict[int, _Line]:
    """Return the line that counts of each row that a shard has to hold, by the row's place in the whole."""
    found: dict[int, _Line] = {}
    offset = 0
    again = f"run --shard {card.shard}/{card.of} again"
    with errors_of(file), file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            start, offset = offset, offset + len(line)
            if not line.strip():
                continue
            row = _row(line)
            if row is None:
                raise CourseError(f"{relative(file)}, line {number}, is torn or no JSON object; {again}.")
            identity = row.get("id")
            place = card.places.get(identity) if isinstance(identity, str) else None
            if place is None:
                raise CourseError(
                    f"{relative(file)}, line {number}: the id {identity!r} is not of this shard; {again} with another "
                    "output."
                )
            held, status = found.get(place), row.get("status")
            if held is None or held.open_as:
                found[place] = _Line(file, start, len(line), status if status in card.open_statuses else None)
    lacking = [identity for identity, place in card.places.items() if place not in found]
    if lacking:
        raise CourseError(
            f"{relative(file)} lacks {len(lacking)} of its {len(card.places)} lines (the first of id {lacking[0]!r}); "
            f"{again}."
        )
    return found


def _row(line: bytes) -> dict | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and line.endswith(b"\n") else None


def _copy(lines: Sequence[_Line], out: IO[bytes]) -> None:
    with ExitStack() as stack:
        opened = {file: stack.enter_context(file.open("rb")) for file in {line.file for line in lines}}
        for line in lines:
            opened[line.file].seek(line.offset)
            out.write(opened[line.file].read(line.length))


def _refuse_other(target: Path, new: Path) -> None:
    """Raise a CourseError if the output holds something else already: paid answers are not written over."""
    if target.exists() and target.stat().st_size > 0 and not filecmp.cmp(target, new, shallow=False):
        raise CourseError(f"{relative(target)} is there already, with other lines; name another --out, or delete it.")
