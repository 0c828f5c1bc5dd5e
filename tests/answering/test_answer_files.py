"""Protects: answers survive a kill, files that differ are counted by name, and what is malformed is one sentence."""

import json
import os
import signal
import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.answering import answer_files
from kotune.answering.answer_files import Question, answer, read_answers, side_by_side
from kotune.line_file import hold
from kotune.models.decoding import Answer
from kotune.teacher import client
from tests.support.endpoint import chat_completion
from utils import ROOT, CourseError, read_jsonl, write_jsonl

QUESTIONS = [Question(f"q{i}", f"질문 {i}: 전입신고는 언제 하나요?", "14일 이내입니다.") for i in range(7)]


def rows(count=3, **extra):
    return [{"id": f"q{i}", "question": f"질문 {i}", "answer": f"답 {i}"} | extra for i in range(count)]


# --- made ---


def test_a_callable_answers_and_what_is_there_is_not_asked_again(tmp_path):
    asked = []

    def polite(prompts):
        asked.extend(prompt[-1]["content"] for prompt in prompts)
        return [Answer("네, 14일 이내입니다.", 9, True) for _ in prompts]

    path = tmp_path / "a.jsonl"
    first = answer(polite, QUESTIONS[:3], path, chunk=2)
    again = answer(polite, QUESTIONS, path, chunk=2)
    assert asked == [question.question for question in QUESTIONS]
    assert again[:3] == first and [one.id for one in again] == [q.id for q in QUESTIONS]
    line = read_jsonl(path)[0]
    assert line == {"id": "q0", "question": QUESTIONS[0].question, "answer": "네, 14일 이내입니다.", "reference": "14일 이내입니다.",
                    "ended": True, "tokens": 9, "model": "polite"}  # fmt: skip
    assert read_answers(path) == again


def test_a_question_whose_answer_failed_stays_open(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    some = answer(lambda prompts: [None if "질문 1" in p[0]["content"] else "답" for p in prompts], QUESTIONS[:3], path)
    assert [one.id for one in some] == ["q0", "q2"]
    assert "1 of 3 questions were not answered" in capsys.readouterr().out
    whole = answer(lambda prompts: ["답" for _ in prompts], QUESTIONS[:3], path)
    assert [one.id for one in whole] == ["q0", "q1", "q2"]
    with pytest.raises(CourseError, match="answered none of 7"):
        answer(lambda prompts: [None for _ in prompts], QUESTIONS, tmp_path / "b.jsonl")


def test_another_models_file_is_refused_before_anything_is_asked(tmp_path):
    def one(prompts):
        return ["답"] * len(prompts)

    def other(prompts):
        raise AssertionError("it was asked")

    answer(one, QUESTIONS[:2], tmp_path / "a.jsonl")
    with pytest.raises(CourseError, match=r"holds an answer of one .* name another file for other"):
        answer(other, QUESTIONS[:2], tmp_path / "a.jsonl")
    with pytest.raises(CourseError, match="name another file"):
        answer(one, [Question("q0", "다른 질문")], tmp_path / "a.jsonl")


@pytest.mark.slow
def test_a_model_in_memory_and_an_endpoint_answer_alike(tmp_path, tiny_model, tokenizer, tiny_recipe, endpoint):
    local = answer_files.LocalModel(tiny_model, tokenizer, tiny_recipe, "tiny")
    made = answer(local, QUESTIONS[:3], tmp_path / "local.jsonl")
    assert [one.tokens <= tiny_recipe.max_new_tokens for one in made] == [True] * 3 and made[0].model == "tiny"
    endpoint(lambda body: (200, chat_completion(body["messages"][-1]["content"][:4])))
    remote = answer_files.TeacherModel(client.connect("m", journal=tmp_path / "journal.jsonl"))
    assert [one.answer for one in answer(remote, QUESTIONS[:2], tmp_path / "remote.jsonl")] == ["질문 0", "질문 1"]


def test_a_file_that_another_run_writes_is_refused_to_a_second(tmp_path):
    in_use = pytest.raises(
        CourseError, match=r"a\.jsonl is in use by a run that is going on; wait for its end, or pass another"
    )
    with hold(tmp_path / "a.jsonl", instead="another"), in_use:
        answer(lambda prompts: ["가" for _ in prompts], QUESTIONS, tmp_path / "a.jsonl")
    assert answer(lambda prompts: ["가" for _ in prompts], QUESTIONS, tmp_path / "a.jsonl")


KILLED = """
import sys, time
from kotune.answering import answer_files as answers
def slow(prompts):
    with open(sys.argv[2], "a") as log:
        log.write("".join(p[0]["content"] + "\\n" for p in prompts))
    time.sleep(0.05)
    return [p[0]["content"][::-1] for p in prompts]
answers.answer(slow, [answers.Question(str(i), f"질문 {i}") for i in range(40)], sys.argv[1], chunk=2)
"""


@pytest.mark.slow
def test_killed_half_way_only_what_is_missing_is_asked(tmp_path):
    path, log = tmp_path / "a.jsonl", tmp_path / "log"
    command = [sys.executable, "-c", KILLED, str(path), str(log)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (log.exists() and len(log.read_text(encoding="utf-8").split("\n")) > 10):
        assert process.poll() is None  # it ended without having written
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = path.read_bytes()
    assert 0 < kept.count(b"\n") < 40
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert path.read_bytes().startswith(kept)
    assert sorted(int(one.id) for one in read_answers(path)) == list(range(40))
    asked = log.read_text(encoding="utf-8").split("\n")[:-1]
    assert len(asked) <= 42  # the two that were in flight


# --- read ---


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"question": "가", "answer": "나"}, r"a.jsonl, line 2, field id: missing"),
        ({"id": "x", "question": "가"}, r"line 2, field answer: missing"),
        ({"id": "x", "question": " ", "answer": "나"}, r"line 2, field question: is empty"),
        ({"id": "x", "question": "가", "answer": 3}, r"line 2, field answer: holds a int, not a text"),
        ({"id": "x", "question": "가", "answer": "나", "ended": "yes"}, r"line 2, field ended: holds a str, not a bool"),
        ({"id": "q0", "question": "가", "answer": "나"}, r"line 2, field id: 'q0' is the id of line 1 too"),
    ],
)
def test_a_malformed_row_is_one_sentence_with_its_line(tmp_path, line, said):
    path = write_jsonl(tmp_path / "a.jsonl", [rows(1)[0], line])
    with pytest.raises(CourseError, match=said):
        read_answers(path)


def test_numbers_are_ids_and_an_empty_answer_is_an_answer():
    (one,) = read_answers([{"id": 7, "question": "가", "answer": ""}])
    assert (one.id, one.answer) == ("7", "")
    with pytest.raises(CourseError, match="no answers"):
        read_answers([])


# --- side by side ---


def test_what_cannot_be_paired_is_named_with_its_reason():
    a = [*rows(3), {"id": "only a", "question": "가", "answer": "나"}]
    b = [*rows(2), {"id": "q2", "question": "다른 질문", "answer": "나"}, {"id": "only b", "question": "가", "answer": "나"}]
    a[1]["reference"], b[1]["reference"] = "14일", "30일"
    paired = side_by_side(a, b)
    assert [pair.question.id for pair in paired.pairs] == ["q0"]
    assert {(one.id, one.reason) for one in paired.left_out} == {
        ("q1", "different_reference"), ("q2", "different_question"), ("only a", "only_in_a"), ("only b", "only_in_b"),
    }  # fmt: skip
    with pytest.raises(CourseError, match="answer no question in common"):
        side_by_side(rows(2), [row | {"id": f"z{i}"} for i, row in enumerate(rows(2))])


def test_a_question_in_decomposed_hangul_is_the_same_question():
    decomposed = [row | {"question": unicodedata.normalize("NFD", row["question"])} for row in rows(2)]
    assert len(side_by_side(rows(2), decomposed).pairs) == 2


def test_the_reference_may_stand_in_either_file():
    assert [pair.question.reference for pair in side_by_side(rows(2), rows(2, reference="모범")).pairs] == ["모범"] * 2


@given(st.sets(st.integers(0, 12), min_size=1), st.sets(st.integers(0, 12), min_size=1))
def test_nothing_is_lost_between_two_files(ids_a, ids_b):
    a, b = ([{"id": i, "question": "질문", "answer": json.dumps(i)} for i in ids] for ids in (ids_a, ids_b))
    if not ids_a & ids_b:
        return
    paired = side_by_side(a, b)
    assert {int(pair.question.id) for pair in paired.pairs} == ids_a & ids_b
    assert {int(one.id) for one in paired.left_out} == ids_a ^ ids_b


def test_a_sorted_file_keeps_every_line_and_goes_on(tmp_path):
    path = tmp_path / "answers.jsonl"
    file, other = answer_files.AnswerFile(path), answer_files.AnswerFile(path)
    lines = {key: answer_files.AnswerRow(key, f"질문 {key}", "답", sources=[{"number": 1}]).row() for key in "abcd"}
    file.append([lines["c"], lines["a"]])
    other.append([lines["b"]])
    file.sort(["a", "c"])
    assert read_jsonl(path) == [lines["a"], lines["c"], lines["b"]]
    file.append([lines["d"], lines["a"]])  # an answer that is there is not written twice
    file.refresh()
    assert [row.id for row in read_answers(path)] == ["a", "c", "b", "d"] == [row["id"] for row in read_jsonl(path)]


def test_the_questions_of_answers_can_be_asked_again(tmp_path):
    given = read_answers(rows(2, reference="정답"))
    made = answer(lambda prompts: ["새 답"] * len(prompts), given, tmp_path / "b.jsonl")
    assert [(one.id, one.answer, one.reference) for one in made] == [("q0", "새 답", "정답"), ("q1", "새 답", "정답")]
