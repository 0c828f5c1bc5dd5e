"""The exercises and questions of each lesson, read from `texts/` and held to their form."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kotune.language import Language, language
from utils import CourseError, read_text, relative

TEXTS = Path(__file__).parent / "texts"
LESSONS = ("basics", "preprocess", "train", "dpo", "evaluation")
LETTERS = "abcdef"
Level = Literal["predict", "write", "change"]
F = TypeVar("F", bound="Form")


class Form(BaseModel):
    """What holds for every part of the catalogue: nothing unknown, nothing changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Said(Form):
    """One thing in both languages."""

    en: str = Field(min_length=1)
    ko: str = Field(min_length=1)

    def __call__(self, which: Language | None = None) -> str:
        """Return it in a language, that of this run if none is named."""
        return (self.ko if (which or language()) == "ko" else self.en).strip()


class Item(Form):
    """What an exercise and a question have in common."""

    id: str
    after: str  # the cell behind which it stands
    then: Said | None = None  # leads back to the lesson, where code stands behind it
    title: Said
    text: Said


class Exercise(Item):
    """Something to predict, to write, or to change and explain."""

    level: Level
    starter: Said  # runs without an error; the two differ in their comments alone
    answers: tuple[str, ...]  # the names that the starter leaves to the check
    hints: tuple[Said, Said]  # the second says more
    right: Said
    sentences: dict[str, Said]  # by what went wrong

    @property
    def check_line(self) -> str:
        """Return the call that closes its cell."""
        return f'check("{self.id}", {", ".join(self.answers)})'


class Option(Form):
    """An answer to choose, and what is said of it."""

    text: Said
    feedback: Said
    right: bool = False


class Question(Item):
    """A question with answers to choose from, one of them right."""

    options: tuple[Option, ...] = Field(min_length=3, max_length=len(LETTERS))

    @model_validator(mode="after")
    def _has_one_right_answer(self) -> Question:
        if sum(option.right for option in self.options) != 1:
            raise ValueError("a question has exactly one right answer")
        return self

    @property
    def letters(self) -> str:
        """Return the letters of its answers."""
        return LETTERS[: len(self.options)]


class Lesson(Form):
    """What stands in one notebook; `imports_after` is the cell behind which the exercises are introduced."""

    imports_after: str
    exercises: tuple[Exercise, ...]
    questions: tuple[Question, ...]

    @property
    def items(self) -> tuple[Exercise | Question, ...]:
        """Return both, the exercises first."""
        return (*self.exercises, *self.questions)


class Phrases(Form):
    """What is said of any exercise or question, by its key."""

    sentences: dict[str, Said]


@cache
def lesson(name: str) -> Lesson:
    """Return the exercises and questions of a lesson.

    Raises:
        CourseError: its file is missing, is not YAML, or has not the form.
    """
    return _read(name, Lesson)


@cache
def phrases() -> dict[str, Said]:
    """Return the sentences that all exercises share."""
    return _read("sentences", Phrases).sentences


def _read(name: str, form: type[F]) -> F:
    import yaml

    path = TEXTS / f"{name}.yaml"
    try:
        return form.model_validate(yaml.load(read_text(path), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise CourseError(
            f"{relative(path)} is not YAML ({' '.join(str(error).split())}); fix it or fetch it again."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CourseError(f"{relative(path)}, {where}: {first['msg']}; fix it or fetch the file again.") from None


def ids() -> list[str]:
    """Return the ids of all exercises and questions, in the order of the lessons."""
    return [one.id for name in LESSONS for one in lesson(name).items]


def find(id: object) -> Exercise | Question | None:
    """Return the exercise or question of an id; None where there is none."""
    name = id.rpartition("-")[0] if isinstance(id, str) else ""
    if name not in LESSONS:
        return None
    return next((one for one in lesson(name).items if one.id == id), None)


def nearest(id: object) -> str:
    """Return the id that is most like one which does not exist."""
    return (difflib.get_close_matches(str(id)[:100], ids(), n=1, cutoff=0) or ids())[0]
