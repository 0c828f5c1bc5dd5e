"""Protects: each solution passes, each typical mistake gets its own sentence in both languages, and a starter is not done yet."""

import csv
import re
from string import Formatter

import pytest

from kotune.exercises import checking
from kotune.exercises.catalogue import LESSONS, find, lesson, phrases
from kotune.language import LANGUAGES
from tests.exercises.support import ALL_SOLUTIONS, BY_ID, EXERCISES, QUESTIONS, WRONG_ANSWERS, answer
from utils import DATA


def of_id(one):
    return str(one) if not hasattr(one, "starter") else one.id


@pytest.mark.parametrize("solution", ALL_SOLUTIONS, ids=of_id)
def test_a_solution_is_right(solution):
    verdict = answer(BY_ID[solution.id], solution.code)
    assert (verdict.status, verdict.key) == ("right", "right"), verdict


@pytest.mark.parametrize("wrong", WRONG_ANSWERS, ids=of_id)
def test_a_typical_mistake_gets_the_sentence_that_it_deserves(wrong, monkeypatch):
    verdict = answer(BY_ID[wrong.id], wrong.code)
    assert (verdict.status, verdict.key) == ("wrong", wrong.key), verdict
    for language in LANGUAGES:
        monkeypatch.setenv("KOTUNE_LANG", language)
        said = checking.sentence(wrong.id, verdict)
        assert "{" not in said.replace("{'", "") and "\n" not in said
        assert bool(re.search("[가-힣]{2,}.*니다|세요|요", said)) == (language == "ko") or language == "en"


@pytest.mark.parametrize("exercise", EXERCISES, ids=of_id)
def test_a_starter_runs_and_is_not_done_yet(exercise):
    assert answer(exercise).status == "open"


def test_every_exercise_has_a_solution_and_every_sentence_an_answer_that_earns_it():
    assert [block.id for block in ALL_SOLUTIONS] == [exercise.id for exercise in EXERCISES]
    earned = {(block.id, block.key) for block in WRONG_ANSWERS}
    assert not {(exercise.id, key) for exercise in EXERCISES for key in exercise.sentences} - earned


def test_each_lesson_has_five_exercises_of_three_levels_and_five_questions():
    for name in LESSONS:
        found = lesson(name)
        assert len(found.exercises) >= 5 and len(found.questions) >= 5
        assert {exercise.level for exercise in found.exercises} == {"predict", "write", "change"}
        for kind, rows in (("", found.exercises), ("q", found.questions)):
            assert [row.id for row in rows] == [f"{name}-{kind}{number}" for number in range(1, len(rows) + 1)]


def said_of_exercises():
    for exercise in EXERCISES:
        yield from ((f"{exercise.id} {name}", getattr(exercise, name)) for name in ("title", "text", "right"))
        yield from ((f"{exercise.id} hint {number}", hint) for number, hint in enumerate(exercise.hints, start=1))
        yield from ((f"{exercise.id} {key}", said) for key, said in exercise.sentences.items())
    for item in (*EXERCISES, *QUESTIONS):
        if item.then is not None:
            yield f"{item.id} then", item.then
    yield from phrases().items()


def test_both_languages_say_the_same_fields():
    for where, said in said_of_exercises():
        if where.split()[-1] in ("text", "1", "2"):
            continue  # shown as they are: their brackets are code
        fields = [{field for _, field, _, _ in Formatter().parse(text) if field} for text in (said.en, said.ko)]
        assert fields[0] == fields[1], where


def korean_texts():
    for where, said in said_of_exercises():
        if not where.endswith("title") and (" " in where or where.startswith(("not_", "no_"))):
            yield where, said.ko
    for question in QUESTIONS:
        yield question.id, question.text.ko
        yield from ((f"{question.id} {place}", option.feedback.ko) for place, option in enumerate(question.options))


def test_korean_is_polite_and_english_has_no_korean_prose():
    for where, text in korean_texts():
        # where choices follow, what stands above them is looked at
        above = re.sub(r"\s*\n- .*", "", text, flags=re.S).strip()
        prose = re.sub(r"(?<=.)\([^()]*\)", "", above).replace("{reason}", "").strip("() ")
        assert re.search(r"(니다|니까|세요|나요|까요|가요|요)[.?]$", prose), (where, text)
        assert re.search("[가-힣]", text), where
    for where, said in said_of_exercises():
        assert not re.search(r"(니다|세요)[.?]", said.en), where


def test_a_hint_does_not_give_a_number_away_that_is_to_be_predicted():
    for exercise in EXERCISES:
        if exercise.level == "predict":
            cell = {}
            exec(next(block.code for block in ALL_SOLUTIONS if block.id == exercise.id), cell)
            number = f"{cell[exercise.answers[0]]:.4g}"
            for said in (*exercise.hints, *exercise.sentences.values()):
                assert not re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", said.en + said.ko), exercise.id


def test_the_place_and_the_length_of_a_right_answer_give_nothing_away():
    places = [next(place for place, option in enumerate(question.options) if option.right) for question in QUESTIONS]
    assert all(2 <= places.count(place) < 0.5 * len(places) for place in range(4))
    for language in LANGUAGES:
        longest = [max(question.options, key=lambda option: len(option.text(language))).right for question in QUESTIONS]
        assert sum(longest) <= 0.4 * len(longest), language


def test_the_losses_of_the_epochs_are_those_that_were_measured():
    with (DATA / "ablations.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["job"] == "housing" and row["changed"] in ("none", "epochs")]
    cell = {}
    exec(find("train-7").starter("en"), cell)
    measured = {int(row["epochs"]): (float(row["training_loss"]), float(row["held_out_loss"])) for row in rows}
    assert cell["losses_by_epochs"].keys() == measured.keys()
    for epochs, losses in cell["losses_by_epochs"].items():
        assert losses == pytest.approx(measured[epochs], abs=5e-4)
