"""`check` and `hint`: what a lesson's exercise cells call. Neither raises anything for what a learner did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from kotune.exercises import results
from kotune.exercises.answers import MistakeError, NotDoneError, is_open
from kotune.exercises.bounded import TimeUp, bounded
from kotune.exercises.catalogue import Exercise, find, nearest, phrases

LIMIT_S = 1.8  # for a check as a whole, which promises two seconds
_hints_given: Counter[str] = Counter()


@dataclass(frozen=True)
class Verdict:
    """What a check found: `key` names the sentence, `details` fill it."""

    status: Literal["right", "wrong", "open", "unknown"]
    key: str
    details: dict[str, object] = field(default_factory=dict)


def check(id: str, *answers: Any) -> None:
    """Print in one sentence whether an answer is right, or what is likely wrong with it, and write the try down."""
    verdict = judge(id, *answers)
    print(sentence(id, verdict))
    if verdict.status in ("right", "wrong") and (failed := results.record(id, verdict.status == "right", verdict.key)):
        print(failed)


def judge(id: str, *answers: Any) -> Verdict:
    """Return what there is to say of an answer; it takes two seconds at most, and raises nothing."""
    exercise = find(id)
    if not isinstance(exercise, Exercise):
        return Verdict("unknown", "unknown_exercise", {"id": id, "nearest": nearest(id)})
    if len(answers) != len(exercise.answers):
        return Verdict("wrong", "answers_missing", {"call": exercise.check_line})
    if any(map(is_open, answers)):
        return Verdict("open", "not_done")
    run = checker(exercise.id)  # what it imports takes no part of the time
    return _outcome(lambda: run(*answers))


def _outcome(run: Callable[[], None]) -> Verdict:
    try:
        bounded(run, LIMIT_S)
    except NotDoneError:
        return Verdict("open", "not_done")
    except MistakeError as mistake:
        return Verdict("wrong", mistake.key, mistake.details)
    except TimeUp:
        return Verdict("wrong", "too_slow")
    except Exception as error:  # an answer that is of no kind that was thought of
        return Verdict("wrong", "unreadable", {"error": type(error).__name__})
    return Verdict("right", "right")


def checker(id: str) -> Callable[..., None]:
    """Return the function that checks an exercise."""
    lesson = id.rpartition("-")[0]
    return import_module(f"kotune.exercises.{lesson}_checks").CHECKS[id]


def sentence(id: str, verdict: Verdict) -> str:
    """Return what is printed of a verdict, in the language of this run."""
    exercise, shared = find(id), phrases()
    if not isinstance(exercise, Exercise):
        return shared["unknown_exercise"]().format(**verdict.details)
    own = {**exercise.sentences, "right": exercise.right}
    said = own.get(verdict.key) or shared[verdict.key]
    return f"{exercise.id} · {shared[verdict.status]()}: {said().format(id=exercise.id, **verdict.details)}"


def hint(id: str | None = None) -> None:
    """Print a hint to an exercise, a second call one that says more; without an id, how that works."""
    shared = phrases()
    if id is None:
        print(shared["how_hints_work"]())
        return
    exercise = find(id)
    if not isinstance(exercise, Exercise):
        print(shared["unknown_exercise"]().format(id=id, nearest=nearest(id)))
        return
    given = min(_hints_given[exercise.id], len(exercise.hints) - 1)
    _hints_given[exercise.id] += 1
    print(f"{exercise.id} · {shared['hint']().format(number=given + 1, of=len(exercise.hints))}: {exercise.hints[given]()}")
