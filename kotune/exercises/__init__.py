"""Exercises and questions of the lessons: checked here, hinted at, and written down on this machine alone.

A lesson says `from kotune.exercises import check, hint, question`. The texts stand in `texts/`, a file a lesson, read by
`catalogue`; `basics_checks` to `evaluation_checks` hold what each exercise tests, by means of `answers` (what a learner
gave) and `bounded` (no longer than two seconds). `checking` and `quiz` print the verdicts, `results` writes them down,
`class_report` reads those of a whole class, `leaderboard` the predictions of its teams, and `cells` puts all of it into the
notebooks. Solutions: `assets/solutions/`.
"""

from kotune.exercises.checking import check, hint
from kotune.exercises.quiz import question
from kotune.exercises.results import set_name

__all__ = ["check", "hint", "question", "set_name"]
