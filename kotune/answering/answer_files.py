"""Answers, made once and kept in a file that resumes; and two such files put side by side, for judging.

An answers file is JSONL (or whatever else `readers` reads) with `id`, `question`, `answer` and, where known, `reference`;
`ended`, `tokens`, `model` and `sources` are kept where they are there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from kotune.data import readers
from kotune.data.records import SHOWN, UnusedFields, known_names, nfc, of_a_table, same_text
from kotune.line_file import KeyedLines, hold
from kotune.models.chat_template import render
from kotune.models.decoding import Answer, decode
from kotune.models.machine import Recipe
from kotune.models.sampling import Sampling
from kotune.progress import bar
from kotune.teacher.client import Teacher
from kotune.teacher.replies import Reply
from prompts import Message
from utils import CourseError, read_json, relative, write_json

CHUNK = 20  # questions answered before their lines are written
Source = str | Path | Sequence["AnswerRow | dict"]
Item = TypeVar("Item")
FIELDS = ("id", "question", "answer", "reference", "ended", "tokens", "model", "sources")


@dataclass(frozen=True)
class Question:
    """What was asked, and the reference answer where there is one."""

    id: str
    question: str
    reference: str | None = None


@dataclass(frozen=True)
class AnswerRow:
    """One answer: the line of an answers file."""

    id: str
    question: str
    answer: str
    reference: str | None = None
    ended: bool | None = None  # by itself, not cut at the limit
    tokens: int | None = None  # its length
    model: str | None = None  # who wrote it
    sources: list[dict] | None = None  # the passages that stood in the prompt: number, id, title, score

    def row(self) -> dict:
        """Return the line as it stands in the file: what is not known is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


# --- made ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalModel:
    """Answers with a model in memory, greedily, as many at once as the recipe says."""

    model: object
    tokenizer: object
    recipe: Recipe
    name: str

    def __call__(self, prompts: Sequence[Sequence[Message]]) -> list[Answer]:
        """Return an answer a prompt."""
        found = dict(one for ended in self.as_they_end(prompts) for one in ended)
        return [found[place] for place in range(len(prompts))]

    def as_they_end(self, prompts: Sequence[Sequence[Message]]) -> Iterator[list[tuple[int, Answer]]]:
        """Yield (index, Answer)s as replies end, so that none waits for the longest of a chunk."""
        rendered = [render(self.tokenizer, prompt).ids for prompt in prompts]
        sampling = Sampling(max_tokens=self.recipe.max_new_tokens)
        return decode(self.model, self.tokenizer, rendered, sampling, self.recipe.generation_batch)


@dataclass(frozen=True)
class TeacherModel:
    """Answers with an OpenAI-compatible endpoint; None where a request failed, so that it is asked again next time."""

    teacher: Teacher

    @property
    def name(self) -> str:
        """The model's name."""
        return self.teacher.model

    def __call__(self, prompts: Sequence[Sequence[Message]]) -> list[str | None]:
        """Return an answer a prompt."""
        replies: list[Reply] = self.teacher.ask(prompts, step="answers")
        return [reply.text if reply.error is None else None for reply in replies]


def card_file(path: Path) -> Path:
    """Return the file beside an answers file that says what made them."""
    return path.with_suffix(".run.json")


class AnswerFile(KeyedLines[AnswerRow]):
    """An answers file that grows line by line and survives being killed; `rows` holds the answers by id."""

    def __init__(self, path: str | Path, card: dict | None = None):
        """Open the file, or make it, and index what it holds.

        card: what made the answers, kept beside the file as NAME.run.json, so that two runs are not mixed.

        Raises:
            CourseError: the file holds the answers of another run, or a line that is not an answer.
        """
        path = Path(path)
        if card is not None:
            card_path = card_file(path)
            held = read_json(card_path) if card_path.exists() else None
            if path.exists() and path.stat().st_size > 0 and held != json.loads(json.dumps(card)):
                raise CourseError(
                    f"{relative(path)} holds the answers of another run ({_difference(held or {}, card)}); pass another "
                    "--save_name, or delete that file."
                )
        super().__init__(path, check=_read)
        if card is not None:
            write_json(card_path, card)

    def sort(self, ids: Sequence[str]) -> None:
        """Put the lines into the order of the questions, once all are answered."""
        self.rewrite(lambda: [self.rows[one].row() for one in dict.fromkeys([*ids, *self.rows])])


def _difference(held: dict, wanted: dict) -> str:
    wanted = json.loads(json.dumps(wanted))
    if not held:
        return "nothing beside it says which"
    name = next((name for name in {**wanted, **held} if held.get(name) != wanted.get(name)), None)
    if name is None or name.endswith("sha256"):
        return f"other {(name or 'settings').removesuffix('_sha256').replace('_', ' ')}"
    return f"{name} is {json.dumps(wanted.get(name), ensure_ascii=False)} here and {json.dumps(held.get(name))} there"


def write_answers(
    file: AnswerFile,
    waiting: Sequence[AnswerRow],
    batches: Iterable[Sequence[tuple[int, Answer | str | None]]],
    label: str,
) -> None:
    """Write answers to a file, batch by batch, each on disk before more are made.

    waiting: the lines without their answers. batches: (index in `waiting`, its answer)s; None where a request failed.
    """
    with bar(len(waiting), label, "answer") as progress:
        for batch in batches:
            file.append([_with_answer(waiting[place], given).row() for place, given in batch if given is not None])
            progress.update(len(batch))


def _with_answer(line: AnswerRow, given: Answer | str) -> AnswerRow:
    if isinstance(given, str):
        return replace(line, answer=given)
    return replace(line, answer=given.text, ended=given.ended, tokens=given.tokens)


def answer(
    answerer: Callable[[Sequence[Sequence[Message]]], Sequence[Answer | str | None]],
    questions: Source | Sequence[Question],
    path: str | Path,
    *,
    prompts: Sequence[Sequence[Message]] | None = None,
    chunk: int = CHUNK,
) -> list[AnswerRow]:
    """Answer the questions that the file does not answer yet, and return all their answers in the questions' order.

    `answerer` takes prompts and returns their answers: a text, an `decoding.Answer`, or None where it failed (that
    question stays open for the next run). `prompts` are what is shown to it; the question as one user turn if not given.
    Every `chunk` answers are synced to disk before the next are made, and those of a LocalModel as they end.

    Raises:
        CourseError: the file holds answers of another model or to other questions, or another run writes into it;
            nothing was answered.
    """
    asked = _questions(questions, alone=prompts is None)
    shown = prompts or [[{"role": "user", "content": question.question}] for question in asked]
    if len(shown) != len(asked):
        raise CourseError(f"There are {len(shown)} prompts for {len(asked)} questions; give one each.")
    model = getattr(answerer, "name", getattr(answerer, "__name__", type(answerer).__name__))
    with hold(path, instead="another file"):
        file = AnswerFile(path)
        for question in asked:
            held = file.rows.get(question.id)
            if held and (not same_text(held.question, question.question) or (held.model or model) != model):
                raise CourseError(
                    f"{relative(path)} holds an answer of {held.model or 'an unnamed model'} to {held.question!r:.60} under "
                    f"the id {question.id!r}; name another file for {model}."
                )
        waiting = [place for place, question in enumerate(asked) if question.id not in file.rows]
        lines = [AnswerRow(asked[i].id, asked[i].question, "", asked[i].reference, model=model) for i in waiting]
        write_answers(file, lines, _in_chunks(answerer, [shown[i] for i in waiting], chunk), f"answers: {model}")
    answered = [file.rows[question.id] for question in asked if question.id in file.rows]
    if not answered:
        raise CourseError(f"{model} answered none of {len(asked)} questions; fix that and run again.")
    if len(answered) < len(asked):
        print(f"{len(asked) - len(answered)} of {len(asked)} questions were not answered; run again to ask these alone.")
    return answered


def _questions(source: Source | Sequence[Question], alone: bool) -> list[Question]:
    return [row if isinstance(row, Question) else _question(row, place, alone) for place, row in _rows(source)]


def _question(row: AnswerRow | dict, place: str, alone: bool) -> Question:
    """Return the question of a row; `alone` says that nothing but it is shown to who answers."""
    row = row.row() if isinstance(row, AnswerRow) else known_names(row)
    beside = [name for name in SHOWN if name != "question" and row.get(name)]
    if alone and beside:
        raise CourseError(
            f"{place}, field {beside[0]}: the question would be asked without it; pass prompts that hold it, or take it out."
        )
    return Question(_identity(row, place), _text(row, "question", place), _optional(row, "reference", str, place))


def _in_chunks(answerer: Callable, prompts: Sequence[Sequence[Message]], chunk: int) -> Iterator[list[tuple]]:
    if isinstance(answerer, LocalModel):
        yield from answerer.as_they_end(prompts)
        return
    for start in range(0, len(prompts), chunk):
        some = prompts[start : start + chunk]
        yield list(zip(range(start, start + len(some)), answerer(some), strict=True))


# --- read ------------------------------------------------------------------------------------


def read_answers(source: Source) -> list[AnswerRow]:
    """Return the answers of a file, or of a list of rows; an empty answer is an answer.

    Raises:
        CourseError: a row has no id, question or answer, a field is of another type, or an id comes twice.
    """
    answers: dict[str, AnswerRow] = {}
    places: dict[str, str] = {}
    twice = []
    unused = UnusedFields("an answers file has id, question, answer, reference, ended, tokens, model and sources")
    for place, row in _rows(source):
        if isinstance(row, dict):
            unused.add([name for name in known_names(row) if name not in FIELDS], place)
        answered = row if isinstance(row, AnswerRow) else _read(row, place)
        if answered.id in answers:
            twice.append((place, answered.id))
        answers.setdefault(answered.id, answered)
        places.setdefault(answered.id, place)
    unused.say()
    if twice:
        place, identity = twice[0]
        more = f" ({len(twice) - 1} more ids come twice)" if len(twice) > 1 else ""
        raise CourseError(
            f"{place}, field id: {identity!r} is the id of {readers.seen_from(place, places[identity])} too{more}; give "
            "each answer its own."
        )
    if not answers:
        raise CourseError("There are no answers; give at least one.")
    return list(answers.values())


def _rows(source: str | Path | Sequence[Item]) -> Iterable[tuple[str, Item | dict]]:
    if isinstance(source, str | Path):
        return readers.read(source)
    return ((f"answer {number}", row) for number, row in enumerate(source, start=1))


def _read(row: dict, place: str) -> AnswerRow:
    row = known_names(row)
    return AnswerRow(
        id=_identity(row, place),
        question=_text(row, "question", place),
        answer=_text(row, "answer", place, may_be_empty=("answer",)),
        reference=_optional(row, "reference", str, place) or None,
        ended=_optional(row, "ended", bool, place),
        tokens=_optional(row, "tokens", int, place),
        model=_optional(row, "model", str, place),
        sources=row["sources"] if isinstance(row.get("sources"), list) else None,  # other tables have such a column too
    )


def _identity(row: dict, place: str) -> str:
    value = row.get("id")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return nfc(_text(row, "id", place))


def _text(row: dict, name: str, place: str, may_be_empty: Sequence[str] = ()) -> str:
    value = row.get(name)
    if value is None:
        raise CourseError(f"{place}, field {name}: missing; an answers file has id, question and answer in every row.")
    if not isinstance(value, str):
        raise CourseError(f"{place}, field {name}: holds a {type(value).__name__}, not a text; write a text.")
    if not value.strip() and name not in may_be_empty:
        raise CourseError(f"{place}, field {name}: is empty; fill it in.")
    return value


def _optional(row: dict, name: str, kind: type, place: str):
    value = row.get(name)
    if isinstance(value, str) and kind is not str:
        value = of_a_table(value, kind)
    if value is not None and type(value) is not kind:
        raise CourseError(
            f"{place}, field {name}: holds a {type(value).__name__}, not a {kind.__name__}; fix it or leave it out."
        )
    return value


# --- side by side ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Two answers to one question."""

    question: Question
    answer_a: str
    answer_b: str


@dataclass(frozen=True)
class UnpairedQuestion:
    """A question that cannot be compared, and why: only_in_a, only_in_b, different_question, different_reference."""

    id: str
    question: str
    reason: str


@dataclass(frozen=True)
class SideBySide:
    """Two answers files: the pairs of answers to the same questions, and what could not be paired."""

    pairs: list[Pair]
    left_out: list[UnpairedQuestion]


def side_by_side(source_a: Source, source_b: Source) -> SideBySide:
    """Put two answers files side by side by id; the reference may stand in either.

    Raises:
        CourseError: a file is malformed (see `read_answers`), or no question is answered in both.
    """
    answers_a = {answered.id: answered for answered in read_answers(source_a)}
    answers_b = {answered.id: answered for answered in read_answers(source_b)}
    pairs, left_out = [], []
    for identity, a in answers_a.items():
        b = answers_b.get(identity)
        if b is None:
            left_out.append(UnpairedQuestion(identity, a.question, "only_in_a"))
        elif reason := _why_not(a, b):
            left_out.append(UnpairedQuestion(identity, a.question, reason))
        else:
            reference = a.reference if a.reference is not None else b.reference
            pairs.append(Pair(Question(identity, a.question, reference), a.answer, b.answer))
    only_in_b = [b for identity, b in answers_b.items() if identity not in answers_a]
    left_out += [UnpairedQuestion(b.id, b.question, "only_in_b") for b in only_in_b]
    if not pairs:
        name_a, name_b = (_name(source, side) for source, side in ((source_a, "A"), (source_b, "B")))
        raise CourseError(
            f"{name_a} and {name_b} answer no question in common ({left_out[0].reason} for id {left_out[0].id!r}, the "
            "first); compare answers to the same questions under the same ids."
        )
    return SideBySide(pairs, left_out)


def _why_not(a: AnswerRow, b: AnswerRow) -> str:
    if not same_text(a.question, b.question):
        return "different_question"
    if a.reference is not None and b.reference is not None and not same_text(a.reference, b.reference):
        return "different_reference"
    return ""


def _name(source: Source, side: str) -> str:
    return relative(source) if isinstance(source, str | Path) else f"the answers of {side}"
