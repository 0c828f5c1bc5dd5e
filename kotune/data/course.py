"""The data that the lessons run on: the course's own pairs on housing, or yours.

`COURSE_DATA`, in the environment or in `.env`, names another set: one that is registered, by its name or by what its parts
begin with (`korean_tasks`; `radiology`, for radiology_train, radiology_test and radiology_preference), or a file
(`my.jsonl`, and `my_preference.jsonl` beside it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from kotune.data import registry
from utils import DATA, OUTPUTS, CourseError, read_jsonl, relative, setting

HOUSING = "real_estate"
SUFFIXES = {
    "train": ("_train", ""),
    "validation": ("_validation",),
    "evaluation": ("_evaluation", "_test"),
    "preference": ("_preference", "_ranked"),
}
HELD_BACK = 10  # one row in so many, where a set has no part of its own
FEWEST = 30  # rows to train on


@dataclass(frozen=True)
class CourseSet:
    """What the lessons train on and ask: canonical records of each part, and the documents that they rest on, if any."""

    name: str
    train: list[dict]
    validation: list[dict]
    evaluation: list[dict]  # questions with their reference answers, which no training sees
    pairs: list[dict]  # preferences
    documents: dict[str, dict]  # by the `source` of a record; empty where the records name none
    origin: str  # in words: where each part comes from

    @property
    def label(self) -> str:
        """The name as a part of a file's name."""
        return Path(self.name).stem

    def longest_answer(self, tokenizer) -> int:
        """Return the tokens of the longest answer that is learnt or asked for, its end included."""
        answers = [record["completion"][-1]["content"] for record in (*self.train, *self.evaluation)]
        return 1 + max(len(ids) for ids in tokenizer(answers, add_special_tokens=False)["input_ids"])

    def questions(self, most: int) -> list[dict]:
        """Return the first held-out questions, each {"id", "question", "reference", "prompt", "document_id"}."""
        return [
            {
                "id": record["id"],
                "question": record["prompt"][-1]["content"],
                "reference": record["completion"][-1]["content"],
                "prompt": record["prompt"],
                "document_id": record["source"],
            }
            for record in self.evaluation[:most]
        ]


def course_set(name: str | None = None) -> CourseSet:
    """Return the data set of this name, else of `COURSE_DATA`, else the course's own on housing.

    Of a set without such parts one row in ten is held back to watch over training, and one in ten to be asked. Where
    there are no preference pairs, each answer stands against that to another question.

    Raises:
        CourseError: there is no such set, or it has too few rows.
    """
    name = name or setting("COURSE_DATA") or HOUSING
    files = {part: _find(name, part) for part in SUFFIXES}
    if name == HOUSING:
        files |= {part: own for part in ("train", "validation") if (own := OUTPUTS / "data" / f"{part}.jsonl").exists()}
    if files["train"] is None:
        raise CourseError(
            f"COURSE_DATA is {name!r}, neither a file nor a registered data set with training rows; name another."
        )
    train = registry.load(files["train"])
    if len(train) < FEWEST:
        raise CourseError(f"{name} has {len(train)} rows to train on, and the lessons need {FEWEST}; add some.")
    without = next((number for number, record in enumerate(train, 1) if "completion" not in record), None)
    if without is not None:
        raise CourseError(f"{files['train']}, row {without}, has no completion to train on; name questions with answers.")
    parts: dict[str, list[dict]] = {}
    for rest, part in enumerate(("validation", "evaluation")):
        file = files[part]
        if file is None:
            parts[part], train = _hold_back(train, rest)
        else:
            parts[part] = registry.load(file)
    pairs = registry.load(files["preference"]) if files["preference"] is not None else _pairs_of_other_answers(train)
    documents = _documents_of([*train, *parts["evaluation"]])
    return CourseSet(name, train, parts["validation"], parts["evaluation"], pairs, documents, _origin(files, len(train)))


def _find(name: str, part: str) -> str | Path | None:
    """Return the registered name or the file of a part, or None."""
    for suffix in SUFFIXES[part]:
        if name + suffix in registry.registry():
            return name + suffix
        path = Path(name)
        if path.suffix and (file := path.with_name(f"{path.stem}{suffix}{path.suffix}")).exists():
            return file
    return None


def _hold_back(records: Sequence[dict], rest: int) -> tuple[list[dict], list[dict]]:
    """Return (one record in ten, the others), chosen by a hash of the prompt, so that it is the same ones each time."""
    held_back: list[dict] = []
    kept: list[dict] = []
    for record in records:
        chosen = crc32(record["prompt"][-1]["content"].encode("utf-8", "surrogatepass")) % HELD_BACK == rest
        (held_back if chosen else kept).append(record)
    return held_back, kept


def _pairs_of_other_answers(records: Sequence[dict]) -> list[dict]:
    """Return a preference record for each row: its own answer over that to the question half the set away."""
    shift = len(records) // 2
    return [
        {
            "id": record["id"],
            "source": record["source"],
            "prompt": record["prompt"],
            "chosen": record["completion"],
            "rejected": records[(number + shift) % len(records)]["completion"],
            "kind": "off_topic",
        }
        for number, record in enumerate(records)
        if record["completion"] != records[(number + shift) % len(records)]["completion"]
    ]


def _documents_of(records: Sequence[dict]) -> dict[str, dict]:
    """Return the shipped documents by id where every record names one of them, else none."""
    shipped = {document["id"]: document for document in read_jsonl(DATA / "documents.jsonl")}
    return shipped if all(record["source"] in shipped for record in records) else {}


def _origin(files: dict[str, str | Path | None], trained_on: int) -> str:
    made = {
        "validation": "one row in ten",
        "evaluation": "one row in ten",
        "preference": "each answer against that to another question",
    }
    said = [f"{part}: {relative(file) if isinstance(file, Path) else file or made[part]}" for part, file in files.items()]
    return f"{trained_on} rows to train on ({'; '.join(said)})"
