"""Four Korean classification sets, to see what a tuned model can do that it was not tuned for.

System D's choice: KorNLI, KorQuestionPair, NSMC and the bias labels of KoreaHateSpeech. `data/zero_shot/` has small
samples written for this course in the file formats of those sets; `read` reads either, and `load_full` fetches the
full sets where the Hugging Face hub can be reached.

Cost of import: the standard library; datasets is imported by `load_full`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from text_files import encoding_of
from utils import DATA, CourseError, relative


@dataclass(frozen=True)
class ZeroShotSet:
    """A set: its file, its text columns and label column, and what each label means in Korean.

    `hub` names the full set: repository, configuration and split.
    """

    name: str
    file_name: str
    delimiter: str
    texts: tuple[str, ...]
    label: str
    labels: Mapping[str, str]
    hub: tuple[str, str | None, str]
    hub_texts: tuple[str, ...]
    hub_label: str


@dataclass(frozen=True)
class Item:
    """One item: its texts in the set's order, and its label in Korean."""

    id: str
    texts: tuple[str, ...]
    label: str


SETS = {
    chosen.name: chosen
    for chosen in (
        ZeroShotSet(
            "nli", "kornli.tsv", "\t", ("sentence1", "sentence2"), "gold_label",
            {"entailment": "함의", "neutral": "중립", "contradiction": "모순"},
            ("kor_nli", "xnli", "test"), ("premise", "hypothesis"), "label",
        ),
        ZeroShotSet(
            "question_pair", "kor_pair.csv", ",", ("question1", "question2"), "is_duplicate",
            {"0": "다름", "1": "같음"},
            ("kor_qpair", None, "test"), ("question1", "question2"), "is_duplicate",
        ),
        ZeroShotSet(
            "sentiment", "ratings.txt", "\t", ("document",), "label",
            {"0": "부정", "1": "긍정"},
            ("nsmc", None, "test"), ("document",), "label",
        ),
        ZeroShotSet(
            "bias", "hate.tsv", "\t", ("comments",), "bias",
            {"none": "없음", "gender": "성별", "others": "기타"},
            ("kor_hate", None, "test"), ("comments",), "bias",
        ),
    )
}  # fmt: skip


def read(name: str, path: str | Path | None = None) -> list[Item]:
    """Return the items of a set: the course's sample, or the full set's own file at `path`.

    Raises:
        CourseError: the set is unknown, a column is missing, or a label is none of the set's.
    """
    if name not in SETS:
        raise CourseError(f"There is no zero-shot set {name!r}; choose one of {', '.join(SETS)}.")
    chosen = SETS[name]
    path = Path(path) if path else DATA / "zero_shot" / chosen.file_name
    return list(_read(chosen, path))


def _read(chosen: ZeroShotSet, path: Path) -> Iterator[Item]:
    if not path.is_file():
        raise CourseError(f"{relative(path)} does not exist; check the path.")
    # KorNLI and NSMC hold bare quotes, which quote nothing
    quoting = csv.QUOTE_NONE if chosen.delimiter == "\t" else csv.QUOTE_MINIMAL
    with path.open(encoding=encoding_of(path).name, newline="") as file:
        reader = csv.DictReader(file, delimiter=chosen.delimiter, quoting=quoting, strict=True)
        missing = {*chosen.texts, chosen.label} - set(reader.fieldnames or ())
        if missing:
            raise CourseError(
                f"{relative(path)} lacks the column {', '.join(sorted(missing))}; it has "
                f"{', '.join(reader.fieldnames or ())}."
            )
        empty, line = [], reader.line_num + 1
        for number, row in enumerate(_rows(reader, path), start=1):
            place, line = f"{relative(path)}, line {line}", reader.line_num + 1
            if None in row or None in row.values():
                raise CourseError(f"{place}: there are more or fewer fields than columns; mend the line.")
            if row[chosen.label] not in chosen.labels:
                raise CourseError(f"{place}: the label is {row[chosen.label]!r}, none of {', '.join(chosen.labels)}.")
            texts = tuple(row[column] or "" for column in chosen.texts)
            if not all(text.strip() for text in texts):
                empty.append(place)
                continue
            yield Item(row.get("id") or f"{chosen.name}-{number:05d}", texts, chosen.labels[row[chosen.label]])
    if empty:  # NSMC has a few
        print(f"{len(empty)} lines without a text were left out, the first is {empty[0]}")


def _rows(reader: csv.DictReader, path: Path) -> Iterator[dict]:
    try:
        yield from reader
    except csv.Error as error:
        raise CourseError(
            f"{relative(path)}, line {reader.line_num}, is not valid CSV ({error}); close its quotes, and write a quote "
            "inside as two."
        ) from None


def load_full(name: str) -> list[Item]:
    """Return the full test set from the Hugging Face hub.

    The hub's own Parquet copy is read: the sets came with scripts, which are not run.

    Raises:
        CourseError: the hub cannot be reached, or no longer has the set.
    """
    import datasets

    if name not in SETS:
        raise CourseError(f"There is no zero-shot set {name!r}; choose one of {', '.join(SETS)}.")
    chosen = SETS[name]
    repository, configuration, split = chosen.hub
    try:
        loaded = datasets.load_dataset(repository, configuration, split=split, revision="refs/convert/parquet")
    except (OSError, ValueError) as error:
        raise CourseError(
            f"{repository} cannot be read from the Hugging Face hub ({type(error).__name__}); download the file yourself "
            f"and pass its path to zero_shot.read({name!r}, path)."
        ) from None
    # the hub stores a label as its place in the set's own order, which is the order of `labels`
    in_order = list(chosen.labels.values())
    return [
        Item(f"{name}-{number:05d}", tuple(row[column] for column in chosen.hub_texts), in_order[row[chosen.hub_label]])
        for number, row in enumerate(loaded, start=1)
    ]
