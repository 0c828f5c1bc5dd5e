"""A blind vote: the learner judges ten pairs without knowing whose answer is whose, and is then compared with the judge.

    ballots = blind_vote.draw(judgments)
    blind_vote.widget(ballots, "outputs/eval/votes.jsonl")                      in a notebook, or
    blind_vote.write_csv(ballots, "votes.csv", "votes_key.json")                to fill in and read back
    votes = blind_vote.read_csv("votes.csv", "votes_key.json")
    blind_vote.agreement(votes, judgments)

On a ballot the sides are A and B by the draw of a coin; which system stands behind them is in the key alone.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kotune.judging.judgments import JUDGED, Judgment, read_judgments
from kotune.line_file import LineFile
from kotune.stats import Agreement, agree
from utils import CourseError, read_json, read_text, relative, write_atomic, write_json

BALLOTS = 10
COLUMNS = ("number", "id", "question", "answer_A", "answer_B", "vote")
SPELLINGS = {"a": "A", "b": "B", "tie": "tie", "=": "tie", "무승부": "tie", "비김": "tie", "동점": "tie"}
SPREADSHEET_FORMULA = ("=", "+", "@", "\t", "\r")


@dataclass(frozen=True)
class Ballot:
    """A pair as the voter sees it; `system_of_a` says whether A here is the comparison's "a" or "b"."""

    id: str
    question: str
    answer_a: str
    answer_b: str
    system_of_a: str = field(repr=False)

    def system(self, vote: str) -> str:
        """Return the winner in terms of the comparison: "a", "b" or "tie"."""
        if vote == "tie":
            return "tie"
        other = "b" if self.system_of_a == "a" else "a"
        return self.system_of_a if vote == "A" else other


def draw(judgments: str | Path | Sequence[Judgment], count: int = BALLOTS, seed: int = 0) -> list[Ballot]:
    """Return ballots on so many pairs, drawn and shuffled by a seed; identical or blank answers are not worth a vote.

    Raises:
        CourseError: there is no pair to vote on.
    """
    worth = [
        line
        for line in read_judgments(judgments)
        if line.answer_a.strip() and line.answer_b.strip() and line.answer_a.strip() != line.answer_b.strip()
    ]
    if not worth:
        raise CourseError("There is no pair of two different answers to vote on.")
    generator = random.Random(seed)
    ballots = []
    for line in generator.sample(worth, min(count, len(worth))):
        first = generator.choice("ab")
        sides = (line.answer_a, line.answer_b) if first == "a" else (line.answer_b, line.answer_a)
        ballots.append(Ballot(line.id, line.question, *sides, first))
    return ballots


def agreement(votes: dict[str, str], judgments: str | Path | Sequence[Judgment]) -> Agreement:
    """Return how far the votes (id -> a, b or tie) agree with a judge. Ten pairs say little: read the interval.

    Raises:
        CourseError: not one pair has both a vote and a verdict.
    """
    verdicts = {line.id: line.winner for line in read_judgments(judgments) if line.status == JUDGED and line.id in votes}
    found = agree(votes, verdicts)
    if found is None:
        raise CourseError("Not one pair has both a vote and a verdict of the judge; vote on pairs that it has judged.")
    return found


# --- a CSV file ------------------------------------------------------------------------------


def write_csv(ballots: Sequence[Ballot], path: str | Path, key: str | Path) -> Path:
    """Write ballots to fill in (the column `vote`: A, B or tie), and the key, which is not to be opened before.

    Raises:
        CourseError: a file is there already, and may hold votes.
    """
    path, key = Path(path), Path(key)
    for one in (path, key):
        if one.exists():
            raise CourseError(f"{relative(one)} is there already, and may hold votes; read it, or name another file.")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for number, ballot in enumerate(ballots, start=1):
        cells = (ballot.id, ballot.question, ballot.answer_a, ballot.answer_b)
        rows.writerow([number, *map(_cell, cells), ""])
    write_json(key, {ballot.id: ballot.system_of_a for ballot in ballots})
    return write_atomic(path, "\ufeff" + text.getvalue())  # without the mark Excel takes Korean for another encoding


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula; a list's "- " is none, "-1+1" would be."""
    formula = text.startswith(SPREADSHEET_FORMULA) or (text.startswith("-") and not text.startswith("- "))
    return f"'{text}" if formula else text


def read_csv(path: str | Path, key: str | Path) -> dict[str, str]:
    """Return the votes of a filled-in file: id -> a, b or tie. Pairs without a vote are counted and said.

    Raises:
        CourseError: a vote is none of A, B and tie, a pair is not in the key, or there is no vote at all.
    """
    systems = read_json(key)
    wrong = not isinstance(systems, dict) or any(value not in ("a", "b") for value in systems.values())
    if wrong:
        raise CourseError(f"{relative(key)} is no key of a vote; name the file that write_csv wrote.")
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if not {"id", "vote"} <= set(reader.fieldnames or ()):
        raise CourseError(f"{relative(path)} has no columns id and vote; name the file that write_csv wrote.")
    known = {name.removeprefix("'"): system for name, system in systems.items()}
    votes, blank = {}, 0
    for row in reader:
        place = f"{relative(path)}, line {reader.line_num}"
        identity, said = (row["id"] or "").removeprefix("'").strip(), (row["vote"] or "").strip()
        if identity not in known:
            raise CourseError(f"{place}, field id: {identity!r} is not in {relative(key)}; give the key of this file.")
        if identity in votes:
            raise CourseError(f"{place}, field id: {identity!r} was voted on before; leave one vote a pair.")
        if not said:
            blank += 1
            continue
        if said.lower() not in SPELLINGS:
            raise CourseError(f"{place}, field vote: {said!r} is not A, B or tie; write one of these.")
        votes[identity] = Ballot(identity, "", "", "", known[identity]).system(SPELLINGS[said.lower()])
    if not votes:
        raise CourseError(f"{relative(path)} holds no vote yet; write A, B or tie into its column vote.")
    if blank:
        print(f"{blank} of {blank + len(votes)} pairs have no vote, and are left out.")
    return votes


# --- in a notebook ---------------------------------------------------------------------------


class VoteFile(LineFile):
    """Votes as they are cast, one a line; the first on a pair counts."""

    def __init__(self, path: str | Path):
        """Open or create the file and read the votes in it."""
        self.votes: dict[str, str] = {}
        super().__init__(path)

    def _wanted(self, rows: Sequence[dict]) -> Sequence[dict]:
        return [row for row in rows if row["id"] not in self.votes]

    def _take(self, row: dict, place: str) -> None:
        if not isinstance(row.get("id"), str) or row.get("winner") not in ("a", "b", "tie"):
            raise CourseError(f"{place}, is no vote (id, and winner: a, b or tie); name another file.")
        self.votes.setdefault(row["id"], row["winner"])


def read_votes(path: str | Path) -> dict[str, str]:
    """Return the votes that were cast in a notebook: id -> a, b or tie."""
    if not Path(path).exists():
        raise CourseError(f"{relative(path)} holds no votes; cast some first.")
    return VoteFile(path).votes


def widget(ballots: Sequence[Ballot], out: str | Path):
    """Return an ipywidgets box that shows a pair at a time with three buttons; each vote is on disk before the next pair.

    A vote that is cast counts: a pair with one is not shown again, in this session or a later one.
    """
    import ipywidgets as widgets

    file = VoteFile(out)
    shown, where = widgets.HTML(), widgets.Label()
    buttons = [widgets.Button(description=name) for name in ("A", "B", "tie")]

    def waiting() -> list[Ballot]:
        return [ballot for ballot in ballots if ballot.id not in file.votes]

    def show() -> None:
        left = waiting()
        where.value = f"{len(ballots) - len(left)} / {len(ballots)}"
        for button in buttons:
            button.disabled = not left
        shown.value = _pair_html(left[0]) if left else "<p>모두 마쳤습니다. 고맙습니다.</p>"

    def cast(button) -> None:
        ballot = waiting()[0]
        file.append([{"id": ballot.id, "vote": button.description, "winner": ballot.system(button.description)}])
        show()

    for button in buttons:
        button.on_click(cast)
    show()
    return widgets.VBox([where, shown, widgets.HBox(buttons)])


def _pair_html(ballot: Ballot) -> str:
    from html import escape

    column = '<div style="flex:1;white-space:pre-wrap;padding:0 1em"><b>{}</b><br>{}</div>'
    sides = (("A", ballot.answer_a), ("B", ballot.answer_b))
    columns = "".join(column.format(name, escape(text)) for name, text in sides)
    return f"<p><b>{escape(ballot.question)}</b></p><div style='display:flex'>{columns}</div>"
