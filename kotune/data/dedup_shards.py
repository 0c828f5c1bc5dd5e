"""Near duplicates found by pairs of shards, on as many processes or machines as there are shards, and decided in one place.

Whether a row stays depends on every row before it, so that no shard can decide. Each finds the pairs of rows that match, its
own with those of about half of the other shards, so that every two shards meet once; `similarity.decide` then makes the
decisions of the Alpaca loop over the pairs, in the order of the input. They are those of `similarity.deduplicate`.

Every shard reads the whole input and keeps about 170 bytes of a row (measured); of the texts it holds two shards at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kotune.data import registry
from kotune.data.dedup import DedupResult, output_files, text_to_compare, write_result
from kotune.line_file import KeyedLines, hold
from kotune.progress import track
from kotune.shards import Shard, ShardCard, claim, identity_of, read_card, shard_of
from similarity import Differ, Match, check_settings, decide, matching_pairs, wordless_among
from utils import CourseError, json_line, relative


@dataclass(frozen=True)
class _Scanned:
    """What one reading of the input says of its rows, by place."""

    same_as: list[int]  # the first row with the same text
    shards: Mapping[int, int]  # of each first row, its shard
    sha256: str  # of the rows and of what is compared


def _scan(source: str | Path, field: str | None, count: int) -> _Scanned:
    same_as: list[int] = []
    shards: dict[int, int] = {}
    first: dict[bytes, int] = {}
    whole = sha256()
    for place, row in enumerate(registry.read(source)):
        line = json_line(row.value).encode()
        text = text_to_compare(row.value, row.place, field)
        whole.update(line)
        original = first.setdefault(sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], place)
        same_as.append(original)
        if original == place:
            shards[place] = shard_of(identity_of(row.value, place + 1), count)
    return _Scanned(same_as, shards, whole.hexdigest())


def shards_to_meet(shard: Shard) -> list[int]:
    """Return the shards whose rows this one compares with its own, itself first; every two shards meet in one of them."""
    steps = range(shard.of // 2 + 1)
    met = [(shard.number - 1 + step) % shard.of + 1 for step in steps]
    if shard.of > 1 and shard.of % 2 == 0 and shard.number > shard.of // 2:
        met.pop()  # the one opposite: of the two, the lower number compares
    return met


def find_matches(
    source: str | Path,
    target: str | Path,
    shard: Shard,
    threshold: float = 0.7,
    unit: str = "eojeol",
    *,
    field: str | None = None,
    alpaca: bool = False,
) -> Path:
    """Find the pairs of rows that match in one shard's share of all pairs, and return its file, `shard.file(target)`.

    A line holds what one pair of shards has; a run that was killed goes on with the next pair.

    Raises:
        CourseError: as `deduplicate_file`; or the file holds a shard of another run.
    """
    check_settings(threshold, unit)
    files = output_files(target)
    path = shard.file(files.kept)
    registry.require_other_outputs(source, *files, path)
    scanned = _scan(source, field, shard.of)
    met = shards_to_meet(shard)
    settings = {"threshold": threshold, "unit": unit, "field": field, "alpaca": alpaca}
    places = {_pair(shard.number, other): step for step, other in enumerate(met)}
    named = str(source) if str(source) in registry.registry() else str(Path(source).absolute())
    with hold(path, instead="another output"):
        card = ShardCard(
            "dedup", shard.number, shard.of, settings, scanned.sha256, len(scanned.same_as), places, input=named
        )  # fmt: skip
        claim(path, card)
        lines: KeyedLines[dict] = KeyedLines(path)
        waiting = [other for other in met if _pair(shard.number, other) not in lines.rows]
        if len(waiting) < len(met):
            print(f"{relative(path)}: {len(met) - len(waiting)} of {len(met)} pairs of shards are compared already")
        own = _texts(source, field, scanned, shard.number) if waiting else {}
        for other in track(waiting, len(waiting), f"dedup: shard {shard}", "pair of shards"):
            theirs = None if other == shard.number else _texts(source, field, scanned, other)
            found: dict = {"id": _pair(shard.number, other), "matches": _matches(own, theirs, threshold, unit)}
            if theirs is None:
                found["wordless"] = _wordless(own, unit)
            lines.append([found])
    return path


def _pair(one: int, other: int) -> str:
    return f"{one}-{other}"


def _texts(source: str | Path, field: str | None, scanned: _Scanned, number: int) -> dict[int, str]:
    """Return the texts of a shard by place, equal ones once."""
    return {
        place: text_to_compare(row.value, row.place, field)
        for place, row in enumerate(registry.read(source))
        if scanned.shards.get(place) == number
    }


def _matches(own: dict[int, str], theirs: dict[int, str] | None, threshold: float, unit: str) -> list[list]:
    """Return [place, place, F1] for each pair of a shard's texts that matches, or of one shard's with another's."""
    ours = [*own]
    others = ours if theirs is None else [*theirs]
    found = matching_pairs([*own.values()], None if theirs is None else [*theirs.values()], threshold, unit)
    return [[ours[one], others[other], f1] for one, other, f1 in found]


def _wordless(own: dict[int, str], unit: str) -> list[int]:
    places = [*own]
    return [places[index] for index in wordless_among([*own.values()], unit)]


# --- put together ----------------------------------------------------------------------------


def merge_matches(
    shard_files: list[Path], target: str | Path, differ: Differ | None, source: str | Path | None = None
) -> DedupResult:
    """Make the decisions over the pairs that all shards found, and write what `deduplicate_file` writes, byte for byte.

    shard_files: those of one run, complete (`shard_files.check`). source: the input, where it lies elsewhere by now.

    Raises:
        CourseError: the input is not there, or was changed.
    """
    card = read_card(shard_files[0])
    source = source or card.input or ""
    if str(source) not in registry.registry() and not Path(source).exists():
        raise CourseError(f"{source}, which the shards compared, is not here; pass --input with its place.")
    files = output_files(target)
    registry.require_other_outputs(source, *files, *shard_files)
    field, threshold = card.settings["field"], card.settings["threshold"]
    scanned = _scan(source, field, card.of)
    if scanned.sha256 != card.input_sha256:
        raise CourseError(f"{source} is not the file that the shards compared; bring that one back, or run them again.")
    matches: list[Match] = []
    wordless: set[int] = set()
    for file in shard_files:
        for line in _lines(file):
            matches += [Match(*found) for found in line["matches"]]
            wordless |= {*line.get("wordless", [])}
    every_wordless = [place for place, first in enumerate(scanned.same_as) if first in wordless]
    same_as = [place if first in wordless else first for place, first in enumerate(scanned.same_as)]  # they repeat none
    wanted = {place for match in matches for place in match[:2]}
    repeated = {first for place, first in enumerate(same_as) if place != first} | wanted
    texts = {
        place: text_to_compare(row.value, row.place, field)
        for place, row in enumerate(registry.read(source))
        if same_as[place] in repeated
    }
    found = decide(same_as, matches, texts, threshold, differ=differ, wordless=every_wordless)
    if len(every_wordless) == len(same_as):
        raise CourseError(
            f"None of the {len(same_as)} texts has a token of the unit {card.settings['unit']}; choose another unit."
        )
    return write_result(found, registry.read(source), texts, files)


def _lines(file: Path) -> Iterator[dict]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
