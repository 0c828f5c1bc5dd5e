"""Protects: whatever a learner gives to a check, it answers in one sentence, in time, and stops nothing."""

import json
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kotune.exercises import check, checking, hint
from kotune.exercises.bounded import TimeUp, bounded
from tests.exercises.support import BY_ID, EXERCISES


def loop(*given):
    while True:
        pass


def stubborn(*given):
    for _ in range(2):
        try:
            while True:
                pass
        except BaseException:
            continue


def leave(*given):
    sys.exit(3)


def interrupt(*given):
    raise KeyboardInterrupt


class Odd:
    """Fails wherever it is looked at."""

    def __repr__(self):
        raise ValueError("no text of me")

    def __eq__(self, other):
        raise ValueError("no comparison with me")

    __hash__ = None


FUNCTIONS = [exercise for exercise in EXERCISES if exercise.level == "write"]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=5), st.just(Odd()),
    st.just(float("nan")), st.just({}), st.just(list), st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=4),
)  # fmt: skip


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_value_and_no_function_of_any_kind_raises(exercise, data):
    values = [data.draw(VALUES) for _ in exercise.answers]
    for answers in (values, [lambda *given, value=value: value for value in values]):
        verdict = checking.judge(exercise.id, *answers)
        assert verdict.status in ("wrong", "open", "right")
        assert checking.sentence(exercise.id, verdict)


@pytest.mark.parametrize(
    ("function", "key"), [(loop, "too_slow"), (stubborn, "too_slow"), (leave, "raised"), (interrupt, "raised")]
)
def test_a_function_that_does_not_come_back_is_a_mistake_like_another(function, key, monkeypatch):
    monkeypatch.setattr(checking, "LIMIT_S", 0.2)
    assert checking.judge("basics-3", function).key == key


def test_a_function_that_sleeps_is_left_behind():
    with pytest.raises(TimeUp):
        bounded(lambda: time.sleep(600), 0.05)


def test_the_time_for_a_check_begins_behind_its_imports_and_ends_before_two_seconds(monkeypatch):
    monkeypatch.undo()
    assert checking.LIMIT_S < 2


@pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda exercise: exercise.id)
def test_each_function_is_tried_and_its_own_errors_are_named(exercise):
    def broken(*given):
        raise RuntimeError("a mistake\nof two lines")

    verdict = checking.judge(exercise.id, broken)
    assert verdict.key == "raised"
    assert "RuntimeError: a mistake of two lines" in checking.sentence(exercise.id, verdict)


def test_what_a_function_prints_and_changes_does_not_disturb_the_check(capsys):
    def noisy(given):
        print("noise")
        mean = sum(map(float, given)) / len(given)
        given.clear()
        return mean

    check("basics-3", noisy)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_starter_prints_the_same_line_each_time(capsys):
    for exercise in EXERCISES:
        cell = {"check": check}
        for _ in range(2):
            exec(f"{exercise.starter('en')}\n{exercise.check_line}", cell)
        first, second = capsys.readouterr().out.splitlines()
        assert first == second
        assert first.startswith(f"{exercise.id} · not done yet: ")


def test_a_wrong_call_is_a_sentence_too(capsys):
    check("basics-33", 1)
    check(2.718, "basics-1")
    check("basics-5", 1.1)
    check("basics-q1", "a")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("; did you mean")[0] for line in lines[:2]] == [
        "There is no exercise 'basics-33'",
        "There is no exercise 2.718",
    ]
    assert '`check("basics-5", weight_rate, rate_because)`' in lines[2]
    assert "no exercise 'basics-q1'" in lines[3]


def test_hints_rise_and_need_no_answer(capsys):
    hint()
    for _ in range(3):
        hint("basics-1")
    hint("nothing")
    hint(7)
    lines = capsys.readouterr().out.splitlines()
    hints = [hint.en for hint in BY_ID["basics-1"].hints]
    assert [line.partition(": ")[2] for line in lines[1:4]] == [hints[0], hints[1], hints[1]]
    assert all("There is no exercise" in line for line in lines[4:])


def test_korean_is_spoken_where_it_is_asked_for(monkeypatch, capsys):
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    check("basics-1", ...)
    check("basics-1", 2)
    assert capsys.readouterr().out.splitlines() == [
        'basics-1 · 풀기 전: 점 세 개(`...`)가 있는 자리에 답을 쓰고 셀을 다시 실행해 주세요. 막히면 `hint("basics-1")`를 불러 보세요.',
        "basics-1 · 아직: 로짓끼리 바로 나눈 값입니다. 소프트맥스는 먼저 로짓을 지수 자리에 올립니다.",
    ]


def test_tries_are_written_down_and_starters_are_not(own_folder, capsys):
    check("basics-1", ...)
    check("basics-1", 2)
    check("basics-1", 2.718)
    (file,) = own_folder.glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["solved"], row["fault"]) for row in rows] == [
        ("basics-1", False, "ratio"),
        ("basics-1", True, "right"),
    ]
    assert len({row["row"] for row in rows}) == 2
