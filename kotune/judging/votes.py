"""Blind votes: two answers, which one a person preferred, and, hidden until the vote is cast, where they came from.

On the chat page, two models answer a question; `kotune votes` counts these votes and hands them to `kotune judge`:

    kotune votes outputs/serve/votes.jsonl --out outputs/eval/votes
    kotune votes outputs/serve/votes.jsonl --to dpo                    preference pairs of them: see `vote_pairs`

In the notebook a person votes on pairs that a judge has judged, and is compared with the judge:

    drawn = votes.draw(judgments)
    votes.widget(drawn, "outputs/eval/votes.jsonl")                    in the notebook, or
    votes.write_csv(drawn, "votes.csv", "votes_key.json")              to fill in and read back
    winners = votes.read_winners("outputs/eval/votes.jsonl")           or votes.read_csv("votes.csv", "votes_key.json")
    votes.agreement(winners, judgments)
    judging.report(judgments, votes=winners).corrected                 the win rate, corrected by twenty votes or more

Which side is shown first, as A on a ballot, is drawn by lot; `a` and `b` name the same systems in every row.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

from kotune.answering.answer_files import AnswerRow
from kotune.judging.comparison import report
from kotune.judging.judges import Side
from kotune.judging.judgments import JUDGED, WINNERS, Judgment, Winner, read_judgments
from kotune.line_file import KeyedLines, LineFile, in_turn
from kotune.stats import Agreement, agree
from prompts import Message
from utils import (
    OUTPUTS,
    CourseError,
    read_json,
    read_jsonl,
    read_text,
    relative,
    require_other_files,
    write_atomic,
    write_json,
    write_jsonl,
)

OUT = OUTPUTS / "eval" / "votes"
BALLOTS = 10
COLUMNS = ("number", "id", "question", "answer_A", "answer_B", "vote")
LABELS: dict[str, Side] = {"A": "first", "B": "second", "tie": "tie"}  # what a ballot calls what it shows
SPELLINGS = {"a": "A", "b": "B", "tie": "tie", "=": "tie", "무승부": "tie", "비김": "tie", "동점": "tie"}
LONGEST_IN_A_NAME = 40  # characters of a model in a folder's name; two of Hangul and what is between them fit into 255 bytes
SPREADSHEET_FORMULA = ("=", "+", "@", "\t", "\r")


@dataclass(frozen=True, repr=False)
class Vote:
    """A pair of answers and a person's verdict on it; it is printed as the voter sees it, without the systems."""

    id: str
    question: str
    answer_a: str  # the answer of the system that is called "a" wherever votes are counted
    answer_b: str
    winner: Winner | None  # None until somebody voted
    models: dict[str, str]  # {"a": name, "b": name}; empty where the judgments voted on do not name them
    shown_first: Literal["a", "b"]  # the side that stood first (left, or above on a phone), A on a ballot
    time: str | None = None  # when the vote was cast, ISO 8601 in UTC
    prompt: list[Message] | None = None  # what the models were given; None where the question alone is known

    @property
    def first(self) -> str:
        """The answer that is shown first."""
        return self.answer_a if self.shown_first == "a" else self.answer_b

    @property
    def second(self) -> str:
        """The other answer."""
        return self.answer_b if self.shown_first == "a" else self.answer_a

    def __repr__(self) -> str:
        """Return what the voter sees."""
        return f"Vote(id={self.id!r}, question={self.question!r}, first={self.first!r}, second={self.second!r})"

    def decided(self, shown: Side) -> Vote:
        """Return the vote with a verdict on what was shown, mapped back to a and b, and the time."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(self, winner=_winner(shown, self.shown_first), time=time)


def _winner(shown: Side, shown_first: Literal["a", "b"]) -> Winner:
    if shown == "tie":
        return "tie"
    second: Winner = "b" if shown_first == "a" else "a"
    return shown_first if shown == "first" else second


def pair(question: str, models: tuple[str, str]) -> Vote:
    """Return an undecided vote on two models' answers to come, the one to be shown first drawn by lot."""
    first: Literal["a", "b"] = random.SystemRandom().choice(("a", "b"))
    return Vote(str(uuid4()), question, "", "", None, {"a": models[0], "b": models[1]}, first)


def draw(judgments: str | Path | Sequence[Judgment], count: int = BALLOTS, seed: int = 0) -> list[Vote]:
    """Return undecided votes on so many judged pairs, drawn and shuffled by a seed.

    Identical or blank answers are not worth a vote.

    Raises:
        CourseError: there is no pair to vote on.
    """
    worth = [line for line in read_judgments(judgments) if line.worth_a_vote]
    if not worth:
        raise CourseError("There is no pair of two different answers to vote on.")
    generator = random.Random(seed)
    return [
        Vote(line.id, line.question, line.answer_a, line.answer_b, None, {}, generator.choice(("a", "b")))
        for line in generator.sample(worth, min(count, len(worth)))
    ]


# --- files -----------------------------------------------------------------------------------


def store(path: str | Path, vote: Vote) -> None:
    """Append a decided vote to the page's file, on disk when this returns; two processes do not mix their lines.

    Raises:
        FileError: the file cannot be written, as on a full disk; nothing of the vote is in it then.
    """
    LineFile(path, private=True).append([asdict(vote)])


def read(path: str | Path) -> list[Vote]:
    """Return the votes of a file.

    Raises:
        CourseError: the file is missing, or a row is no vote.
    """
    votes = []
    for number, row in enumerate(read_jsonl(path), start=1):
        if not _is_vote(row):
            raise CourseError(f"{relative(path)}, row {number}, is no vote of the chat page; remove that line.")
        votes.append(Vote(**row))
    return votes


def _is_vote(row: dict) -> bool:
    """Say whether a row has every field of a decided vote on two named models, and each of its kind."""
    if {"prompt"} | set(row) != {field.name for field in fields(Vote)}:  # the page's votes had no prompt before
        return False
    models = row["models"]
    return (
        all(isinstance(row[name], str) for name in ("id", "question", "answer_a", "answer_b", "time"))
        and row["winner"] in WINNERS
        and row["shown_first"] in ("a", "b")
        and isinstance(models, dict)
        and all(isinstance(models.get(side), str) and models[side].strip() for side in ("a", "b"))
    )


def _winners(path: str | Path) -> KeyedLines[dict]:
    return KeyedLines(path, check=_with_winner, private=True)


def _with_winner(row: dict, place: str) -> dict:
    if not isinstance(row.get("id"), str) or row.get("winner") not in WINNERS:
        raise CourseError(f"{place}, is no vote (id, and winner: a, b or tie); name another file.")
    return row


def read_winners(path: str | Path) -> dict[str, Winner]:
    """Return the votes of a notebook's or the page's file: id -> a, b or tie; the first on a pair counts.

    Raises:
        CourseError: the file is missing, or a row is no vote.
    """
    if not Path(path).exists():
        raise CourseError(f"{relative(path)} holds no votes; cast some first.")
    return {identity: row["winner"] for identity, row in _winners(path).rows.items()}


# --- beside a judge --------------------------------------------------------------------------


def agreement(winners: dict[str, Winner], judgments: str | Path | Sequence[Judgment]) -> Agreement:
    """Return how far votes (id -> a, b or tie) agree with a judge. Ten pairs say little: read the interval.

    Raises:
        CourseError: not one pair has both a vote and a verdict.
    """
    verdicts = {line.id: line.winner for line in read_judgments(judgments) if line.status == JUDGED and line.id in winners}
    found = agree(winners, verdicts)
    if found is None:
        raise CourseError("Not one pair has both a vote and a verdict of the judge; vote on pairs that it has judged.")
    return found


def by_models(votes: Sequence[Vote]) -> dict[tuple[str, str], list[Vote]]:
    """Return votes under the models that they compare, (a, b)."""
    pairs: dict[tuple[str, str], list[Vote]] = {}
    for vote in votes:
        pairs.setdefault((vote.models["a"], vote.models["b"]), []).append(vote)
    return pairs


def judgments(votes: Sequence[Vote]) -> list[Judgment]:
    """Return votes as the judgments of a judge, for `report`.

    A person saw one order alone; problem says so, and keeps these pairs out of the flip rate.
    """
    return [
        Judgment(
            vote.id, JUDGED, vote.winner, vote.winner, vote.winner, problem="seen_in_one_order",
            judge=f"people ({vote.models['a']} against {vote.models['b']})",
            question=vote.question, answer_a=vote.answer_a, answer_b=vote.answer_b,
        )
        for vote in votes
    ]  # fmt: skip


def answers(votes: Sequence[Vote]) -> tuple[list[AnswerRow], list[AnswerRow]]:
    """Return the answers of a and of b that were voted on, each as an answers file has them."""
    return (
        [AnswerRow(vote.id, vote.question, vote.answer_a, model=vote.models["a"]) for vote in votes],
        [AnswerRow(vote.id, vote.question, vote.answer_b, model=vote.models["b"]) for vote in votes],
    )


WRITTEN = ("a.jsonl", "b.jsonl", "judgments.jsonl")  # of two models, in a folder of their own


def write(votes: Sequence[Vote], folder: Path) -> list[Path]:
    """Write the votes on one pair of models as a.jsonl, b.jsonl and judgments.jsonl."""
    sides = zip(("a.jsonl", "b.jsonl"), answers(votes), strict=True)
    with in_turn(folder / "judgments.jsonl"):
        written = [write_jsonl(folder / name, [answered.row() for answered in side]) for name, side in sides]
        return [*written, write_jsonl(folder / "judgments.jsonl", map(asdict, judgments(votes)))]


# --- a CSV file ------------------------------------------------------------------------------


def write_csv(votes: Sequence[Vote], path: str | Path, key: str | Path) -> Path:
    """Write votes to fill in (the column `vote`: A, B or tie), and the key, which is not to be opened before.

    Raises:
        CourseError: a file is there already, and may hold votes.
    """
    path, key = Path(path), Path(key)
    for one in (path, key):
        if one.exists():
            raise CourseError(f"{relative(one)} is there already, and may hold votes; read it, or name another file.")
    text = io.StringIO()
    require_other_files([], [path, key])
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for number, vote in enumerate(votes, start=1):
        cells = (vote.id, vote.question, vote.first, vote.second)
        rows.writerow([number, *map(_cell, cells), ""])
    write_json(key, {vote.id: vote.shown_first for vote in votes})
    return write_atomic(path, "\ufeff" + text.getvalue())  # without the mark Excel takes Korean for another encoding


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula, as it would "-1+1"; the "- " of a list stays."""
    formula = text.startswith(SPREADSHEET_FORMULA) or (text.startswith("-") and not text.startswith("- "))
    return f"'{text}" if formula else text


def read_csv(path: str | Path, key: str | Path) -> dict[str, Winner]:
    """Return the votes of a filled-in file: id -> a, b or tie. Pairs without a vote are counted and said.

    Raises:
        CourseError: a vote is not A, B or tie, a pair is not in the key, or there is no vote at all.
    """
    systems = read_json(key)
    wrong = not isinstance(systems, dict) or any(value not in ("a", "b") for value in systems.values())
    if wrong:
        raise CourseError(f"{relative(key)} is no key of a vote; name the file that write_csv wrote.")
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    if not {"id", "vote"} <= set(_header(reader)):
        raise CourseError(f"{relative(path)} has no columns id and vote; name the file that write_csv wrote.")
    known = {name.removeprefix("'"): system for name, system in systems.items()}
    winners, blank = {}, 0
    for row in _csv_rows(reader, relative(path)):
        place = f"{relative(path)}, line {reader.line_num}"
        identity, said = (row["id"] or "").removeprefix("'").strip(), (row["vote"] or "").strip()
        if identity not in known:
            raise CourseError(f"{place}, field id: {identity!r} is not in {relative(key)}; give the key of this file.")
        if identity in winners:
            raise CourseError(f"{place}, field id: {identity!r} was voted on before; leave one vote a pair.")
        if not said:
            blank += 1
            continue
        if said.lower() not in SPELLINGS:
            raise CourseError(f"{place}, field vote: {said!r} is not A, B or tie; write one of these.")
        winners[identity] = _winner(LABELS[SPELLINGS[said.lower()]], known[identity])
    if not winners:
        raise CourseError(f"{relative(path)} holds no vote yet; write A, B or tie into its column vote.")
    if blank:
        print(f"{blank} of {blank + len(winners)} pairs have no vote, and are left out.")
    return winners


def _header(reader: csv.DictReader) -> Sequence[str]:
    try:
        return reader.fieldnames or ()
    except csv.Error:
        return ()


def _csv_rows(reader: csv.DictReader, name: str) -> Iterator[dict]:
    try:
        yield from reader
    except csv.Error as error:
        raise CourseError(f"{name}, line {reader.line_num}, is not valid CSV ({error}); fix that line.") from None


# --- in a notebook ---------------------------------------------------------------------------


def widget(votes: Sequence[Vote], out: str | Path):
    """Return an ipywidgets box that shows a pair at a time with three buttons; each vote is on disk before the next pair.

    A vote that is cast counts: a pair with one is not shown again, in this session or a later one.
    """
    import ipywidgets as widgets

    file = _winners(out)
    shown, where = widgets.HTML(), widgets.Label()
    buttons = [widgets.Button(description=name) for name in LABELS]

    def waiting() -> list[Vote]:
        return [vote for vote in votes if vote.id not in file.rows]

    def show() -> None:
        left = waiting()
        where.value = f"{len(votes) - len(left)} / {len(votes)}"
        for button in buttons:
            button.disabled = not left
        shown.value = _pair_html(left[0]) if left else "<p>모두 마쳤습니다. 고맙습니다.</p>"

    def cast(button) -> None:
        vote, said = waiting()[0], button.description
        try:
            file.append([{"vote": said, **asdict(vote.decided(LABELS[said]))}])
        except CourseError as error:  # raised in a button, it would go unseen, and the pair would seem to wait
            where.value = f"이 투표는 저장되지 않았습니다. {error}"
            return
        show()

    for button in buttons:
        button.on_click(cast)
    show()
    return widgets.VBox([where, shown, widgets.HBox(buttons)])


def _pair_html(vote: Vote) -> str:
    from html import escape

    column = '<div style="flex:1;white-space:pre-wrap;padding:0 1em"><b>{}</b><br>{}</div>'
    sides = (("A", vote.first), ("B", vote.second))
    columns = "".join(column.format(name, escape(text)) for name, text in sides)
    return f"<p><b>{escape(vote.question)}</b></p><div style='display:flex'>{columns}</div>"


# --- command line ----------------------------------------------------------------------------


def votes_command(chosen: argparse.Namespace) -> None:
    """Count the votes of files as the command line asks, and write them for `kotune judge`."""
    pairs = by_models(_read_once(chosen.votes))
    out = chosen.out or OUT
    folders = {models: out / _folder_name(*models) for models in pairs}
    require_other_files(chosen.votes, [folder / name for folder in folders.values() for name in WRITTEN])
    for (a, b), cast in pairs.items():
        counted = report(judgments(cast))
        low, high = counted.interval
        print(
            f"{a} against {b}: {counted.wins} better, {counted.ties} alike, {counted.losses} worse, of {counted.n_judged}; "
            f"win rate {counted.win_rate:.0%} [{low:.0%}, {high:.0%}], p = {counted.p_value:.2g}"
        )
        written = write(cast, folders[a, b])
        print(f"written: {', '.join(map(relative, written))}")


def _read_once(paths: Sequence[str | Path]) -> list[Vote]:
    held = [vote for path in paths for vote in read(path)]
    times = Counter(vote.id for vote in held)
    if len(times) < len(held):
        identity, files = times.most_common(1)[0][0], ", ".join(map(relative, paths))
        raise CourseError(f"The vote {identity!r} stands twice in {files}; give each vote once.")
    return held


def _folder_name(a: str, b: str) -> str:
    """Return the folder's name for two models: a path's slashes have no place in it, and a name has 255 bytes at most."""
    return "_against_".join(map(_in_a_name, (a, b)))


def _in_a_name(model: str) -> str:
    plain = re.sub(r"[^\w.-]+", "_", model)
    if len(plain) <= LONGEST_IN_A_NAME:
        return plain
    digest = hashlib.sha256(model.encode(errors="surrogatepass")).hexdigest()[:8]  # long names begin alike
    return f"{plain[: LONGEST_IN_A_NAME - 9]}-{digest}"
