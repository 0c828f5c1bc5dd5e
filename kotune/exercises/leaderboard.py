"""Who reads hidden advertisements best: a line of JSON a team, from a folder with the predictions that teams handed in.

    python dev/data/generate_listings.py --hidden 60 --seed N --out outputs/hidden    texts for teams, and a key
    kotune class leaderboard handed_in --key outputs/hidden/key.jsonl

A team hands in JSONL with `id` and `answer`, as `kotune infer` writes it; the file's name is the team's. A prediction that
is missing is wrong. What needs no training stands beside them: regular expressions, without a place of their own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from kotune.data import readers
from kotune.korean.listing_rules import listing_by_rules
from kotune.korean.listings import ListingScore, UnreadableReply, parse_record, render_record, score
from kotune.stats import Interval, sign_test
from utils import OUTPUTS, CourseError, relative, require_other_files, same_file, write_jsonl

OUT = OUTPUTS / "leaderboard.jsonl"
RULES = "regular expressions"  # what the line of the baseline is called
LONGEST_NAME = 40  # characters of a team's name


@dataclass(frozen=True)
class HiddenListing:
    """An advertisement that no team has the record of."""

    text: str
    record: str


@dataclass(frozen=True)
class Place:
    """A team's line: records right in all fields, of n, with the 95% interval of that share, and what else was counted."""

    rank: int | None  # None for a baseline
    team: str
    exact: int
    n: int
    exact_interval: Interval
    valid: int  # replies that are records at all
    field_share: float
    missing: int  # listings without a prediction, which count as wrong
    unknown: int  # predictions for no listing of the key


@dataclass
class Board:
    """The places of all teams, the first first; the baseline; and the files that were not counted, each with the reason."""

    places: list[Place] = field(default_factory=list)
    baseline: Place | None = None
    refused: list[str] = field(default_factory=list)
    right: dict[str, tuple[bool, ...]] = field(default_factory=dict)  # by team: which listings, in the order of the key


def read_key(path: str | Path) -> dict[str, HiddenListing]:
    """Return the listings of a key by their ids.

    Raises:
        CourseError: a row is no listing with its record, or an id comes twice.
    """
    key: dict[str, HiddenListing] = {}
    for place, row in readers.read(path):
        texts = [row.get(name) for name in ("id", "input", "output")]
        if not all(isinstance(text, str) for text in texts) or isinstance(parse_record(row["output"]), UnreadableReply):
            raise CourseError(
                f"{place}, is no listing with its record (id, input, output); name the key of hidden listings."
            )
        if row["id"] in key:
            raise CourseError(f"{place}, field id: {row['id']!r} was used before; make the key again.")
        key[row["id"]] = HiddenListing(row["input"], row["output"])
    return key


def read_predictions(path: str | Path) -> dict[str, str]:
    """Return a team's predictions by id.

    Raises:
        CourseError: a row has no id and answer, or an id comes twice.
    """
    predicted: dict[str, str] = {}
    for place, row in readers.read(path):
        if not isinstance(row.get("id"), str) or not isinstance(row.get("answer"), str):
            raise CourseError(f"{place}, has no id and answer as texts; hand in what kotune infer writes.")
        if row["id"] in predicted:
            raise CourseError(f"{place}, field id: {row['id']!r} was predicted before; leave one prediction a listing.")
        predicted[row["id"]] = row["answer"]
    return predicted


def board(folder: str | Path, key: dict[str, HiddenListing]) -> Board:
    """Score every file of predictions below a folder.

    Raises:
        CourseError: there is no such folder, or no file in it that can be scored.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(f"{relative(folder)} is no folder; name the one that holds the teams' predictions.")
    found = Board(baseline=_place(RULES, {id: render_record(listing_by_rules(one.text)) for id, one in key.items()}, key)[0])
    for path in sorted(folder.rglob("*.jsonl")):
        team = team_name(path.stem)
        try:
            if team in found.right:
                raise CourseError(f"{relative(path)} carries the name of another team's file ({team}); rename one.")
            place, right = _place(team, read_predictions(path), key)
        except CourseError as error:
            found.refused.append(str(error))
            continue
        found.places.append(place)
        found.right[team] = right
    if not found.places:
        reason = f" ({found.refused[0]})" if found.refused else ""
        raise CourseError(
            f"{relative(folder)} holds no predictions{reason}; collect the teams' files of kotune infer there."
        )
    found.places = _ranked(found.places)
    return found


def team_name(stem: str) -> str:
    """Return a file's name as a team's: on one line, and spelt as most systems spell it."""
    shown = "".join(" " if unicodedata.category(one).startswith("C") else one for one in stem[: 10 * LONGEST_NAME])
    return unicodedata.normalize("NFC", " ".join(shown.split()))[:LONGEST_NAME].strip() or "?"


def _place(team: str, predicted: dict[str, str], key: dict[str, HiddenListing]) -> tuple[Place, tuple[bool, ...]]:
    """Return a team's line, without a rank, and which listings it has right."""
    scored: ListingScore = score([predicted.get(id, "") for id in key], [listing.record for listing in key.values()])
    place = Place(
        rank=None,
        team=team,
        exact=scored.exact,
        n=scored.n,
        exact_interval=scored.exact_interval,
        valid=scored.valid,
        field_share=scored.field_share,
        missing=len(key.keys() - predicted.keys()),
        unknown=len(predicted.keys() - key.keys()),
    )
    return place, tuple(check.exact for check in scored.checks)


def _ranked(places: Sequence[Place]) -> list[Place]:
    """Return places with their ranks: by exact records, then by fields; who has as much of both shares a rank."""
    ordered = sorted(places, key=lambda place: (-place.exact, -place.field_share, place.team))
    ranks: list[int] = []
    for number, place in enumerate(ordered):
        before = ordered[number - 1]
        shared = number > 0 and (before.exact, before.field_share) == (place.exact, place.field_share)
        ranks.append(ranks[-1] if shared else number + 1)
    return [replace(place, rank=rank) for place, rank in zip(ordered, ranks, strict=True)]


# --- shown -----------------------------------------------------------------------------------


def table(found: Board) -> list[str]:
    """Return the board as lines for a projector, the baseline last."""
    lines = [f"{'':>4} {'right in all fields':>20} {'95% interval':>14} {'fields':>7} {'records':>8}  team"]
    for place in (*found.places, *([found.baseline] if found.baseline else [])):
        low, high = place.exact_interval
        lines.append(
            f"{place.rank or '':>4} {f'{place.exact} of {place.n}':>20} {f'{low:.2f} to {high:.2f}':>14} "
            f"{place.field_share:>7.1%} {place.valid:>8}  {place.team}"
        )
    return lines


def notes(found: Board) -> list[str]:
    """Return a sentence on each thing that a teacher should say beside the board."""
    said = []
    for better, worse in pairwise(found.places[:3]):
        pairs = list(zip(found.right[better.team], found.right[worse.team], strict=True))
        wins, losses = pairs.count((True, False)), pairs.count((False, True))
        told = "told apart" if wins + losses and sign_test(wins, losses) < 0.05 else "not told apart"
        said.append(
            f"{better.team} and {worse.team} are {told}: {wins} right where the other is wrong, {losses} the other way."
        )
    said += [f"{place.team}: {place.missing} listings have no prediction." for place in found.places if place.missing]
    said += [
        f"{place.team}: {place.unknown} predictions are for no listing of the key."
        for place in found.places
        if place.unknown
    ]
    return said + [f"Not counted: {reason}" for reason in found.refused]


def leaderboard_command(folder: Path, key: Path, out: Path | None) -> None:
    """Write the board, and print it."""
    out = out or OUT
    handed_in = [*Path(folder).rglob("*.jsonl")]
    if any(same_file(key, file) for file in handed_in):
        raise CourseError(f"{relative(key)} lies among the teams' files; move the key to a folder of its own.")
    require_other_files([key, *handed_in], [out])
    found = board(folder, read_key(key))
    lines = [asdict(place) for place in found.places]
    if found.baseline is not None:
        lines.append(asdict(found.baseline))
    write_jsonl(out, lines)
    print("\n".join([*table(found), *notes(found), f"{len(found.places)} teams: {relative(out)}"]))
