"""A class votes blind on the same pairs: a ballot a phone and pair, the room's verdict, and how far a judge agrees with it.

    kotune serve --class                                   pairs whose better answer is known, beside the reference judge
    kotune serve --class outputs/eval/judgments.jsonl      pairs that a judge has judged

Which answer stands first is drawn by lot for each phone, so that a room's liking for the first place shows and decides
nothing. A phone is known by a word of its own that it keeps; the file holds a hash of that word.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from kotune.judging.calibration import CALIBRATION, load_calibration
from kotune.judging.judges import ReferenceJudge, Side
from kotune.judging.judgments import JUDGED, WINNERS, Judgment, Winner, judge_pairs, read_judgments
from kotune.judging.votes import BALLOTS, Vote, agreement, draw
from kotune.line_file import KeyedLines
from kotune.stats import Agreement
from utils import OUTPUTS, CourseError, relative, write_jsonl

OUT = OUTPUTS / "class" / "votes.jsonl"
MOST_PHONES = 500  # a room; whoever forgets a phone's word becomes another, and a script could go on for ever


@dataclass(frozen=True)
class ClassPairs:
    """What a class votes on: undecided votes, the judge's lines on the same pairs, and what a and b are called."""

    votes: list[Vote]
    judgments: list[Judgment]
    names: tuple[str, str] | None  # None: a is the good answer and b the one that was spoilt

    @property
    def judge(self) -> str:
        """The judge's name."""
        return self.judgments[0].judge


def judged_pairs(path: str | Path, count: int, seed: int, names: tuple[str, str]) -> ClassPairs:
    """Return pairs out of a file of judgments.

    Raises:
        CourseError: the file is missing, holds no judgments, or no pair to vote on.
    """
    judged = [line for line in read_judgments(path) if line.status == JUDGED]
    return ClassPairs(draw(judged, count, seed), judged, names)


def known_pairs(count: int = BALLOTS, seed: int = 0, path: str | Path = CALIBRATION) -> ClassPairs:
    """Return pairs of a good answer (a) and a spoilt one (b), with the verdicts of the judge by references."""
    known = [one for one in load_calibration(path) if one.right != "tie"]
    chosen = random.Random(seed).sample(known, min(count, len(known)))
    pairs = [
        one.pair if one.right == "a" else replace(one.pair, answer_a=one.pair.answer_b, answer_b=one.pair.answer_a)
        for one in chosen
    ]
    judged = judge_pairs(ReferenceJudge(), pairs)
    return ClassPairs(draw(judged, count, seed), judged, None)


# --- the box ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassVote:
    """The line of one phone on one pair."""

    vote: str  # voter and pair: of equal ones the first counts
    voter: str
    id: str  # of the pair
    winner: Winner
    shown_first: str  # the side that stood first for this phone
    texts: str  # stands for the texts that were voted on
    time: str


class TooManyPhones(CourseError):
    """More phones vote than a room has."""


class BallotBox:
    """The votes of a class, on disk before they count; a second one of a phone on a pair is not taken."""

    def __init__(self, pairs: ClassPairs, path: str | Path):
        """Open the file, or go on with it.

        Raises:
            CourseError: the file cannot be written, or holds votes on other pairs.
        """
        self.pairs = pairs
        self._drawn = {vote.id: vote for vote in pairs.votes}
        self._texts = {vote.id: _digest(vote) for vote in pairs.votes}
        self.is_closed = False
        self.file: KeyedLines[ClassVote] = KeyedLines(path, key="vote", check=self._read, private=True)

    def _read(self, row: dict, place: str) -> ClassVote:
        try:
            vote = ClassVote(**row)
        except TypeError:
            vote = None
        if vote is None or not all(isinstance(value, str) for value in row.values()) or vote.winner not in WINNERS:
            raise CourseError(f"{place or relative(self.file.path)}, is no vote of a class; name another file.")
        if self._texts.get(vote.id) != vote.texts:
            raise CourseError(f"{place}, is a vote on another pair than this class has; name another file with --votes.")
        return vote

    @property
    def votes(self) -> list[ClassVote]:
        """Every vote, in the order in which they came."""
        return list(self.file.rows.values())

    def pair(self, phone: str, id: str) -> Vote | None:
        """Return a pair as a phone sees it, or None where there is no such pair."""
        drawn = self._drawn.get(id)
        return None if drawn is None else replace(drawn, shown_first=_first_by_lot(phone, id))

    def waiting(self, phone: str) -> list[Vote]:
        """Return the pairs that a phone has not voted on, as it sees them."""
        voter = voter_of(phone)
        seen = [self.pair(phone, id) for id in self._drawn if _key(voter, id) not in self.file.rows]
        return [vote for vote in seen if vote is not None]

    def cast(self, phone: str, id: str, shown: Side) -> bool:
        """Store a vote; return False where the vote is closed, the phone has voted on the pair, or there is no such pair.

        Raises:
            TooManyPhones: it would be one phone more than there may be.
            FileError: it cannot be stored, and does not count.
        """
        pair, voter = self.pair(phone, id), voter_of(phone)
        if pair is None or self.is_closed or _key(voter, id) in self.file.rows:
            return False
        voters = {vote.voter for vote in self.votes}
        if voter not in voters and len(voters) >= MOST_PHONES:
            raise TooManyPhones(
                f"{MOST_PHONES} phones have voted, as many as may; start the class again with other --votes."
            )
        decided = pair.decided(shown)
        row = ClassVote(
            _key(voter, id), voter, id, decided.winner or "tie", pair.shown_first, self._texts[id], decided.time or ""
        )
        self.file.append([asdict(row)])
        return True

    def close(self) -> Path:
        """Take no further vote, and write the room's verdicts beside the file, as `kotune judge --votes` takes them."""
        self.is_closed = True
        rows = [{"id": id, "winner": winner} for id, winner in tally(self).winners.items()]
        return write_jsonl(self.room_file, rows)

    @property
    def room_file(self) -> Path:
        """Where the room's verdicts go."""
        return self.file.path.with_suffix(".room.jsonl")


def voter_of(phone: str) -> str:
    """Return what stands for a phone in the file: nobody who reads it can vote as that phone."""
    return hashlib.sha256(f"voter {phone}".encode(errors="surrogatepass")).hexdigest()[:16]


def _key(voter: str, id: str) -> str:
    return f"{voter} {id}"


def _first_by_lot(phone: str, id: str) -> Literal["a", "b"]:
    """Return the side that stands first for a phone: by lot, and the same each time it looks."""
    digest = hashlib.sha256(f"first {phone} {id}".encode(errors="surrogatepass")).digest()
    return "a" if digest[0] % 2 else "b"


def _digest(vote: Vote) -> str:
    texts = "\0".join((vote.question, vote.answer_a, vote.answer_b))
    return hashlib.sha256(texts.encode(errors="surrogatepass")).hexdigest()[:12]


# --- the tally -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairTally:
    """How a room voted on one pair, and what the judge said."""

    pair: Vote
    counts: Counter[Winner]
    judged: Winner | None

    @property
    def winner(self) -> Winner | None:
        """The verdict of most; a tie where two have as many, None before anybody voted."""
        leaders = [verdict for verdict, count in self.counts.items() if count == max(self.counts.values())]
        return None if not leaders else leaders[0] if len(leaders) == 1 else "tie"


@dataclass(frozen=True)
class ClassTally:
    """What came of a vote."""

    phones: int
    votes: int
    pairs: tuple[PairTally, ...]
    first_chosen: int  # how often the answer that stood first was preferred
    decided: int  # how often either was
    agreement: Agreement | None  # of the room with the judge, over pairs; None where there is nothing to compare

    @property
    def winners(self) -> dict[str, Winner]:
        """The room's verdict on each pair that has a vote."""
        return {one.pair.id: one.winner for one in self.pairs if one.winner is not None}


def tally(box: BallotBox) -> ClassTally:
    """Count the votes of a class, and compare the room with the judge."""
    votes, verdicts = box.votes, {line.id: line.winner for line in box.pairs.judgments}
    counted = {vote.id: Counter[Winner]() for vote in box.pairs.votes}
    for vote in votes:
        counted[vote.id][vote.winner] += 1
    pairs = tuple(PairTally(vote, counted[vote.id], verdicts.get(vote.id)) for vote in box.pairs.votes)
    decided = [vote for vote in votes if vote.winner != "tie"]
    found = ClassTally(
        phones=len({vote.voter for vote in votes}),
        votes=len(votes),
        pairs=pairs,
        first_chosen=sum(vote.winner == vote.shown_first for vote in decided),
        decided=len(decided),
        agreement=None,
    )
    return replace(found, agreement=_agreement(found.winners, box.pairs.judgments))


def _agreement(winners: dict[str, Winner], judgments: Sequence[Judgment]) -> Agreement | None:
    judged = {line.id for line in judgments if line.status == JUDGED}
    return agreement(winners, judgments) if judged & winners.keys() else None
