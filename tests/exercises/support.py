"""Solutions and wrong answers, read from their files and run as a learner's cell is."""

import re
from dataclasses import dataclass
from pathlib import Path

from kotune.exercises import checking
from kotune.exercises.catalogue import LESSONS, Exercise, find, lesson
from utils import ASSETS

SOLUTIONS = ASSETS / "solutions"
WRONG = Path(__file__).parent / "wrong_answers"
EXERCISES = [exercise for name in LESSONS for exercise in lesson(name).exercises]
QUESTIONS = [question for name in LESSONS for question in lesson(name).questions]


@dataclass(frozen=True)
class Block:
    """What follows a line `# %% ID KEY` of a file; the key is empty in a file of solutions."""

    id: str
    key: str
    code: str

    def __str__(self):
        return f"{self.id} {self.key}".strip()


def blocks(path):
    """Return the blocks of a file."""
    parts = re.split(r"^# %% (\S+)(?: (\S+))?\n", path.read_text(encoding="utf-8"), flags=re.M)
    return [Block(id, key or "", code) for id, key, code in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)]


def answer(exercise: Exercise, code: str = ""):
    """Return the verdict on a cell: the starter, then what a learner has written, then the check."""
    cell: dict = {"check": checking.judge}
    exec(exercise.starter("en"), cell)
    exec(code, cell)
    return eval(exercise.check_line, cell)


ALL_SOLUTIONS = [block for name in LESSONS for block in blocks(SOLUTIONS / f"{name}.py")]
WRONG_ANSWERS = [block for name in LESSONS for block in blocks(WRONG / f"{name}.py")]
BY_ID = {exercise.id: exercise for exercise in EXERCISES}
__all__ = ["ALL_SOLUTIONS", "BY_ID", "EXERCISES", "QUESTIONS", "WRONG_ANSWERS", "answer", "find"]
