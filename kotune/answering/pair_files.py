"""Files in which each row is a question with two answers, as the real-estate course keeps its evaluation.

A row has `input1`, `completion1`, `input2` and `completion2`, the two inputs one question, and where known `id` and
`reference`; the file is of any kind that `readers` reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kotune.answering.answer_files import AnswerRow, Pair, Question
from kotune.data import readers, records, registry
from kotune.data.records import PAIR_FIELDS, UnusedFields
from kotune.data.writers import stage_of
from utils import CourseError


@dataclass(frozen=True)
class PairFile:
    """The pairs of a file, and where in it each stands, by id."""

    pairs: list[Pair]
    places: dict[str, str]

    def answers(self) -> tuple[list[AnswerRow], list[AnswerRow]]:
        """Return the first answers and the second ones, each as an answers file has them."""
        asked = [(pair, (pair.question.id, pair.question.question)) for pair in self.pairs]
        return (
            [AnswerRow(*question, pair.answer_a, pair.question.reference) for pair, question in asked],
            [AnswerRow(*question, pair.answer_b, pair.question.reference) for pair, question in asked],
        )


def read_pairs(name_or_path: str | Path) -> PairFile:
    """Return the pairs of a file or of a registered data set; a blank answer is an answer.

    Raises:
        CourseError: a row has other fields, its two inputs are not one question, or an id comes twice.
    """
    stem = Path(str(name_or_path)).stem
    pairs: list[Pair] = []
    places: dict[str, str] = {}
    unused = UnusedFields("a judge sees the question, its two answers and the reference")
    for number, (place, row) in enumerate(registry.read(name_or_path), start=1):
        record = records.canonical(row, place, default_id=f"{stem}-{number:05d}")[0]
        if stage_of(record) != "judge":
            raise CourseError(f"{place}, has no two answers to compare; a row has {PAIR_FIELDS}.")
        identity = record["id"]
        if identity in places:
            first = readers.seen_from(place, places[identity])
            raise CourseError(f"{place}, field id: {identity!r} is the id of {first} too; give each pair its own.")
        unused.add(records.unknown_fields(row), place)
        question = Question(identity, record["prompt"][0]["content"], record.get("reference"))
        pairs.append(Pair(question, record["first"][0]["content"], record["second"][0]["content"]))
        places[identity] = place
    unused.say()
    if not pairs:
        raise CourseError(f"{name_or_path} has no pairs; give at least one.")
    return PairFile(pairs, places)
