"""Four Korean classification sets, to see what a tuned model can do that it was not tuned for.

The suite's choice: KorNLI, KorQuestionPair, NSMC and the bias labels of KoreaHateSpeech. `data/zero_shot/` has small
samples written for this course in the file formats of those sets; `read` reads either, and `load_full` fetches the
full sets where the Hugging Face hub can be reached. `messages` is what a model is asked: the task, the texts under their
names, and the labels of which it is to write one. `zero_shot_report` reads the labels back and scores them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kotune.data.text_files import encoding_of
from kotune.language import said
from kotune.stats import Interval, macro_f1, macro_f1_interval, share
from utils import DATA, CourseError, normalized, relative, require_same_length


@dataclass(frozen=True)
class ZeroShotSet:
    """A classification set: where its texts and labels stand in its file, and how a model is asked for a label."""

    name: str
    file_name: str  # of the sample in data/zero_shot/
    delimiter: str
    texts: tuple[str, ...]  # columns of the file
    label: str  # column of the file
    labels: Mapping[str, str]  # as the file writes a label: the same in Korean; in the hub's order
    hub: tuple[str, str | None, str]  # of the full set: repository, configuration, split
    hub_texts: tuple[str, ...]  # columns there
    hub_label: str
    task: str  # what is to be decided, and when each label is right
    headings: tuple[str, ...]  # one before each text


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
            # against the column's name, 0 is the same question and 1 another: the authors' README, the hub's card and
            # Korpora agree
            {"0": "같음", "1": "다름"},
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
    with path.open(encoding=encoding_of(path).name, newline="") as file:
        reader = csv.DictReader(
            file,
            delimiter=chosen.delimiter,
            # KorNLI and NSMC hold bare quotes, which quote nothing
            quoting=csv.QUOTE_NONE if chosen.delimiter == "\t" else csv.QUOTE_MINIMAL,
            strict=True,
        )
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
                raise CourseError(f"{place}: there are more or fewer fields than columns; fix the line.")
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


_ENDINGS = (
    r"(?:적)?(?:입니다|입니다만|이다|이에요|예요|이요|요|이며|이고|이라고|라고|이라는|이라|임|이지만|이므로|이라서|이어서|인|"
    r"은|는|이|가|을|를|과|와|로|으로|에|도|만|의|으로만)?"
)


# possessive, so that spaces which nothing follows are not shared out between the two runs in every way
_DENIED = re.compile(r"\s*+(?:관계|경우|것)?(?:이|가|은|는)?\s*+(?:아니|아닙|아님|않|없)")


@lru_cache(maxsize=16)
def _label_pattern(labels: tuple[str, ...]) -> re.Pattern:
    longest_first = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    return re.compile(rf"(?<![가-힣A-Za-z0-9])({longest_first}){_ENDINGS}(?![가-힣A-Za-z0-9])")


def parse_strict(answer: str, labels: Sequence[str]) -> str | None:
    """Return the label that an answer is, white space around it aside; None for anything else, as the suite has it."""
    text = normalized("NFC", answer).strip()
    return text if text in labels else None


def parse_lenient(answer: str, labels: Sequence[str]) -> str | None:
    """Return the one label that an answer names: bare, with marks, with a particle, or inside a sentence; else None.

    A label counts as a word of its own (부정 in "부정적입니다", not in "부정확"), the longest where one begins another. A
    label that is denied ("모순이 아니라 중립") is not named. None, not a guess, where no label is named or more than one.
    """
    text = normalized("NFC", answer)
    found = _label_pattern(tuple(labels)).finditer(text)
    named = {match[1] for match in found if not _DENIED.match(text, match.end(1))}
    return named.pop() if len(named) == 1 else None


@dataclass(frozen=True)
class LabelRow:
    """One item: its label, what the model wrote, and the label that each way of reading sees in it."""

    id: str
    gold: str
    answer: str
    strict: str | None
    lenient: str | None


@dataclass(frozen=True)
class LabelScore:
    """Macro F1 with its 95% interval, and accuracy, over n rows."""

    n: int
    macro_f1: float
    interval: Interval
    accuracy: float


@dataclass(frozen=True)
class ZeroShotReport:
    """The answers to a zero-shot set, scored in three ways."""

    name: str
    n: int  # answers
    coverage: float  # share of the answers that are an exact label
    lenient_coverage: float  # share of the answers that name one label
    strict: LabelScore  # an exact label counts, and all else is wrong
    lenient: LabelScore  # a label inside a sentence counts too
    dropped: LabelScore  # what is no exact label is left out and the rest scored, as the suite did
    rows: list[LabelRow]

    @property
    def inflation(self) -> float:
        """Return by how much leaving unread answers out raises the macro F1; NaN where nothing is left."""
        return self.dropped.macro_f1 - self.strict.macro_f1

    def row(self) -> dict:
        """Return the report as one flat row for a table, its names in the language of the edition at hand.

        low and high bound the strict macro F1 (95%).
        """
        low, high = self.strict.interval
        return {
            said("set", "세트"): self.name,
            "n": self.n,
            said("coverage", "읽힌 비율"): self.coverage,
            said("lenient coverage", "너그럽게 읽힌 비율"): self.lenient_coverage,
            said("strict", "엄격"): self.strict.macro_f1,
            said("low", "하한"): low,
            said("high", "상한"): high,
            said("lenient", "너그럽게"): self.lenient.macro_f1,
            said("dropped", "버림"): self.dropped.macro_f1,
            said("n dropped", "버린 수"): self.n - self.dropped.n,
            said("inflation", "부풀린 폭"): self.inflation,
        }


def zero_shot_report(
    name: str, items: Sequence[Item], answers: Sequence[str], labels: Mapping[str, str] | None = None
) -> ZeroShotReport:
    """Read the answers to a set's items in three ways, and score each.

    labels: those of the set, where it is none of `zero_shot.SETS`.

    Raises:
        CourseError: the set is unknown, or there are no items, or more or fewer than answers.
    """
    require_same_length(items, answers, "items", "answers")
    if labels is None and name not in SETS:
        raise CourseError(f"There is no zero-shot set {name!r}; choose one of {', '.join(SETS)}, or pass its labels.")
    known = list((labels or SETS[name].labels).values())
    rows = [
        LabelRow(item.id, item.label, answer, parse_strict(answer, known), parse_lenient(answer, known))
        for item, answer in zip(items, answers, strict=True)
    ]
    read = [row for row in rows if row.strict is not None]
    return ZeroShotReport(
        name=name,
        n=len(rows),
        coverage=len(read) / len(rows),
        lenient_coverage=sum(row.lenient is not None for row in rows) / len(rows),
        strict=_score([(row.gold, row.strict) for row in rows]),
        lenient=_score([(row.gold, row.lenient) for row in rows]),
        dropped=_score([(row.gold, row.strict) for row in read]),
        rows=rows,
    )


def _score(pairs: Sequence[tuple[str, str | None]]) -> LabelScore:
    gold, predicted = [one for one, _ in pairs], [other for _, other in pairs]
    right = sum(one == other for one, other in pairs)
    interval = macro_f1_interval(gold, predicted)
    return LabelScore(len(pairs), macro_f1(gold, predicted), interval, share(right, len(pairs)))
