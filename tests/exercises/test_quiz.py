"""Protects: a question can be read as HTML without script or network and as text, and an answer gets its own feedback."""

import json
import re

import pytest

from kotune.exercises import question
from kotune.exercises.catalogue import LESSONS, lesson
from tests.exercises.support import QUESTIONS


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked.id)
@pytest.mark.parametrize("language", ["en", "ko"])
def test_all_answers_are_shown_with_what_is_said_of_them(asked, language, monkeypatch):
    monkeypatch.setenv("KOTUNE_LANG", language)
    shown = question(asked.id)
    html = shown._repr_html_()
    assert not re.search(r"<script|<img|https?:|javascript:|\son\w+=", html)
    assert html.count("<details>") == html.count("</details>") == len(asked.options)
    for letter, option in zip(asked.letters, asked.options, strict=True):
        assert f"  {letter}) {option.text(language)}" in repr(shown)
        assert option.feedback(language) not in repr(shown)  # a text cannot be folded
    assert repr(shown).startswith(asked.text(language))


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked.id)
def test_each_answer_has_feedback_of_its_own_and_is_written_down(asked, own_folder, capsys):
    for letter, option in zip(asked.letters, asked.options, strict=True):
        assert question(asked.id, f" ({letter.upper()}) ") is None
        said = capsys.readouterr().out
        assert said == f"{asked.id} · {'Right.' if option.right else 'Not this one.'} {option.feedback.en}\n"
    (file,) = own_folder.glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [row["fault"] for row in rows] == [*asked.letters]
    assert sum(row["solved"] for row in rows) == 1


def test_feedback_is_not_said_twice():
    for name in LESSONS:
        said = [option.feedback.en for question in lesson(name).questions for option in question.options]
        assert len({*said}) == len(said)


@pytest.mark.parametrize("choice", ["z", "", 3, "ab", ["a"]])
def test_a_letter_that_is_not_there_is_told(choice, capsys):
    question("basics-q1", choice)
    assert capsys.readouterr().out == "basics-q1 · the answers of this question are a, b, c, d.\n"


def test_a_question_that_is_not_there_is_told(capsys):
    assert question("basics-q9") is None
    assert question("basics-1") is None
    assert capsys.readouterr().out.count("There is no question") == 2
