"""Four Korean classification sets, to see what a tuned model can do that it was not tuned for.

System D's choice: KorNLI, KorQuestionPair, NSMC and the bias labels of KoreaHateSpeech. `data/zero_shot/` has small
samples written for this course in the file formats of those sets; `read` reads either, and `load_full` fetches the
full sets where the Hugging Face hub can be reached. `messages` is what a model is asked: the task, the texts under their
names, and the labels of which it is to write one. `task_metrics.py` reads the labels back and scores them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kotune.data.text_files import encoding_of
from utils import DATA, CourseError, relative


@dataclass(frozen=True)
class ZeroShotSet:
    """A set: its file, its text columns and label column, what each label means in Korean, and how a model is asked.

    task: what is to be decided, and when each label is right. headings: what stands before each text.
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
    task: str
    headings: tuple[str, ...]


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
            "전제를 읽고 가설이 전제와 어떤 관계인지 고르세요. 전제가 참일 때 가설도 반드시 참이면 함의, "
            "반드시 거짓이면 모순, 참인지 거짓인지 알 수 없으면 중립입니다.",
            ("전제", "가설"),
        ),
        ZeroShotSet(
            "question_pair", "kor_pair.csv", ",", ("question1", "question2"), "is_duplicate",
            {"0": "다름", "1": "같음"},
            ("kor_qpair", None, "test"), ("question1", "question2"), "is_duplicate",
            "두 질문이 같은 것을 묻는지 고르세요. 같은 답을 하면 되는 질문이면 같음, 서로 다른 답이 필요하면 다름입니다.",
            ("질문 1", "질문 2"),
        ),
        ZeroShotSet(
            "sentiment", "ratings.txt", "\t", ("document",), "label",
            {"0": "부정", "1": "긍정"},
            ("nsmc", None, "test"), ("document",), "label",
            "감상평을 쓴 사람이 작품을 좋게 보았는지 고르세요. 좋게 보았으면 긍정, 나쁘게 보았으면 부정입니다.",
            ("감상평",),
        ),
        ZeroShotSet(
            "bias", "hate.tsv", "\t", ("comments",), "bias",
            {"none": "없음", "gender": "성별", "others": "기타"},
            ("kor_hate", None, "test"), ("comments",), "bias",
            "댓글에 어떤 편견이 담겨 있는지 고르세요. 성별에 대한 편견이면 성별, 나이나 지역, 직업 같은 다른 편견이면 기타, "
            "편견이 없으면 없음입니다.",
            ("댓글",),
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


def messages(name: str, item: Item) -> list[dict]:
    """Return the messages that ask a model for an item's label: one turn of the user, without an example.

    Raises:
        CourseError: the set is unknown.
    """
    if name not in SETS:
        raise CourseError(f"There is no zero-shot set {name!r}; choose one of {', '.join(SETS)}.")
    chosen = SETS[name]
    texts = "\n".join(f"{heading}: {text}" for heading, text in zip(chosen.headings, item.texts, strict=True))
    labels = ", ".join(chosen.labels.values())
    return [{"role": "user", "content": f"{chosen.task}\n\n{texts}\n\n설명 없이 다음 가운데 하나만 쓰세요: {labels}"}]


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
