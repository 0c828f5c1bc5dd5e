"""Votes as preference pairs: what people preferred becomes data for DPO, and for a reward model.

    kotune votes outputs/serve/votes.jsonl --to dpo --out outputs/eval/votes_dpo.jsonl
    kotune dpo --train_dataset outputs/eval/votes_dpo.jsonl --model_path outputs/sft

A pair is what was asked and two answers, whoever wrote them: it is written once, however many voted on it, and only
where nobody preferred the other side.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from kotune.data import readers
from kotune.data.records import UnusedFields, as_seen, is_blank, nfc
from kotune.data.writers import left_out_file, write
from kotune.judging.judgments import WINNERS
from kotune.judging.votes import Vote
from kotune.line_file import in_turn
from utils import OUTPUTS, CourseError, relative, require_other_files, write_jsonl

OUT = OUTPUTS / "eval" / "votes_dpo.jsonl"
Reason = Literal["tie", "no_winner", "no_question", "blank_answer", "same_answers", "conflict", "again"]
REASONS: dict[Reason, str] = {
    "tie": "the voter found both alike",
    "no_winner": "nobody has voted yet",
    "no_question": "no question and answers stand beside the vote, as notebooks wrote it before; vote again",
    "blank_answer": "an answer is blank",
    "same_answers": "both answers read the same",
    "conflict": "of those who voted on the pair, some prefer the one answer and some the other",
    "again": "an earlier vote prefers the same answer of the same pair, which is written once",
}
TEXTS = ("question", "answer_a", "answer_b")


@dataclass(frozen=True)
class LeftOutVote:
    """A vote of which no pair was made, and why."""

    vote: Vote
    reason: Reason


@dataclass(frozen=True)
class VotePairs:
    """The preference records made of votes, and the votes that made none: together as many as there are votes."""

    records: list[dict]
    left_out: list[LeftOutVote]

    @property
    def reasons(self) -> Counter[Reason]:
        """How many votes were left out for each reason."""
        return Counter(one.reason for one in self.left_out)


def preference_pairs(votes: Sequence[Vote]) -> VotePairs:
    """Return a preference record for each pair that people decided without contradiction, in the order of the votes."""
    by_pair: dict[tuple, list[Vote]] = {}
    left_out: list[LeftOutVote] = []
    for vote in votes:
        if reason := _teaches_nothing(vote):
            left_out.append(LeftOutVote(vote, reason))
        else:
            by_pair.setdefault(_pair(vote), []).append(vote)
    made: list[dict] = []
    taken: set[str] = set()
    for cast in by_pair.values():
        if len({as_seen(_sides(vote)[0]) for vote in cast}) > 1:
            left_out += [LeftOutVote(vote, "conflict") for vote in cast]
            continue
        made.append(_record(cast[0], taken))
        left_out += [LeftOutVote(vote, "again") for vote in cast[1:]]
    return VotePairs(made, left_out)


def _teaches_nothing(vote: Vote) -> Reason | None:
    if vote.winner is None:
        return "no_winner"
    if vote.winner == "tie":
        return "tie"
    if is_blank(vote.question):
        return "no_question"
    if is_blank(vote.answer_a) or is_blank(vote.answer_b):
        return "blank_answer"
    return "same_answers" if as_seen(vote.answer_a) == as_seen(vote.answer_b) else None


def _asked(vote: Vote) -> list[dict]:
    """Return the turns that the two models were given, as far as the file knows them."""
    return vote.prompt or [{"role": "user", "content": vote.question}]


def _pair(vote: Vote) -> tuple:
    """Return what tells pairs apart: the turns, and the two answers in either order."""
    turns = tuple((turn["role"], as_seen(turn["content"])) for turn in _asked(vote))
    return turns, frozenset((as_seen(vote.answer_a), as_seen(vote.answer_b)))


def _sides(vote: Vote) -> tuple[str, str]:
    """Return the preferred answer and the other one."""
    return (vote.answer_a, vote.answer_b) if vote.winner == "a" else (vote.answer_b, vote.answer_a)


def _record(vote: Vote, taken: set[str]) -> dict:
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in _sides(vote))
    return {
        "id": _own_id(nfc(vote.id), taken),
        "prompt": _asked(vote),
        "chosen": chosen,
        "rejected": rejected,
        "source": _source(vote),
    }


def _own_id(wanted: str, taken: set[str]) -> str:
    """Return an id that no record has: two notebooks may hold votes on other answers to one question."""
    identity, number = wanted, 1
    while identity in taken:
        number += 1
        identity = f"{wanted}-{number}"
    taken.add(identity)
    return identity


def _source(vote: Vote) -> str:
    if not vote.models:
        return "votes"
    winner, loser = ("a", "b") if vote.winner == "a" else ("b", "a")
    return f"votes: {vote.models[winner]} over {vote.models[loser]}"


# --- files -----------------------------------------------------------------------------------


def read_votes(path: str | Path) -> Iterator[Vote]:
    """Yield the votes of a file of the page or of a notebook, undecided ones too.

    Raises:
        CourseError: the file is missing, or a row is no vote.
    """
    names = {field.name for field in fields(Vote)}
    unused = UnusedFields("no pair is made of them")
    for place, row in readers.read(path):
        unused.add([name for name in row if name not in (*names, "vote")], place)
        yield _vote(row, place, names)
    unused.say()


def _vote(row: dict, place: str, names: set[str]) -> Vote:
    bare = set(row) == {"id", "vote", "winner"}
    if not isinstance(row.get("id"), str) or row.get("winner") not in (*WINNERS, None) or not (bare or _is_shown(row)):
        raise CourseError(
            f"{place}, is no vote of the page or of a notebook (id, question, answer_a, answer_b, winner, shown_first); "
            "name another file."
        )
    if bare:
        return Vote(row["id"], "", "", "", row["winner"], {}, "a")
    given = {name: value for name, value in row.items() if name in names}
    return Vote(**{"models": {}} | given)


def _is_shown(row: dict) -> bool:
    """Say whether a row has what a voter saw, each part of its kind; a judge's verdict has no side that stood first."""
    models, prompt = row.get("models", {}), row.get("prompt")
    return (
        all(isinstance(row.get(name), str) for name in TEXTS)
        and row.get("shown_first") in ("a", "b")
        and isinstance(models, dict)
        and (not models or all(isinstance(models.get(side), str) for side in ("a", "b")))
        and (prompt is None or (isinstance(prompt, list) and bool(prompt) and all(map(_is_turn, prompt))))
    )


def _is_turn(turn: object) -> bool:
    return isinstance(turn, dict) and all(isinstance(turn.get(name), str) for name in ("role", "content"))


# --- command line ----------------------------------------------------------------------------


def pairs_command(chosen: argparse.Namespace) -> None:
    """Write the preference pairs of the votes that the command line names, and say which votes made none."""
    out = chosen.out or OUT
    require_other_files(chosen.votes, [out, left_out_file(out)])
    votes = [vote for path in chosen.votes for vote in read_votes(path)]
    made = preference_pairs(votes)
    if not made.records:
        why = ", ".join(f"{reason} {count}" for reason, count in made.reasons.most_common())
        raise CourseError(f"None of {len(votes)} votes makes a pair to learn from ({why}); cast some for one answer.")
    with in_turn(left_out_file(out)):  # `write` has a turn of its own
        write(made.records, out, "dpo")
        left_out = [asdict(one.vote) | {"reason": one.reason} for one in made.left_out]
        aside = write_jsonl(left_out_file(out), left_out) if left_out else None
    print(f"written: {relative(out)}, {len(made.records)} pairs of {len(votes)} votes; kotune dpo and kotune reward take it")
    for reason, count in made.reasons.most_common():
        print(f"left out, {reason}: {count} ({REASONS[reason]})")
    if aside:
        print(f"what was left out is in {relative(aside)}")
