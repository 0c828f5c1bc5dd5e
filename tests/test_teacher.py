"""Protects: the recording and a real endpoint run the same lines; failures are replies; keys never leak."""

import pytest

import teacher
from prompts import SEED_WORDS
from teacher import answered
from tests.conftest import chat_completion
from utils import CourseError

MESSAGES = [{"role": "user", "content": "전세란?"}]
GOOD = '{"items": [{"seed_word": "전세", "questions": ["전세란 무엇인가요?"]}]}'


def test_a_recorded_request_is_answered_through_the_openai_client(tmp_path):
    key = teacher.request_key(MESSAGES, SEED_WORDS.schema.__name__)
    path = teacher.write_recording([{"key": key, "about": "전세", "content": GOOD}], tmp_path / "r.jsonl")
    (reply,) = teacher.connect(recording=path).ask([MESSAGES], schema=SEED_WORDS.schema)
    assert reply.error is None
    assert reply.parsed.items[0].questions == ["전세란 무엇인가요?"]


def test_a_request_that_is_not_recorded_says_how_to_connect_a_teacher():
    (reply,) = teacher.connect().ask([MESSAGES])
    assert "OPENAI_API_KEY" in reply.error
    with pytest.raises(CourseError, match="OPENAI_BASE_URL"):
        answered([reply])


def test_a_server_on_loopback_answers_in_order(endpoint):
    server = endpoint(lambda body: (200, chat_completion(body["messages"][0]["content"][::-1])))
    asked = [[{"role": "user", "content": f"질문 {i}"}] for i in range(30)]
    who = teacher.connect(model="local")
    assert [r.text for r in who.ask(asked)] == [m[0]["content"][::-1] for m in asked]
    assert len(server.requests) == 30
    assert server.url in who.endpoint
    assert server.requests[0]["body"]["model"] == "local"


def test_a_refused_key_stops_the_run_and_stays_secret(endpoint, capsys):
    refusal = {"error": {"message": "bad key sk-secret-of-the-test", "code": "invalid_api_key"}}
    server = endpoint(lambda body: (401, refusal))
    replies = teacher.connect(concurrency=1).ask([MESSAGES] * 20)
    assert len(server.requests) == 1
    assert all(reply.text is None and reply.error for reply in replies)
    with pytest.raises(CourseError, match="refused the key") as error:
        answered(replies)
    assert "sk-secret" not in str(error.value) + repr(replies) + str(capsys.readouterr())


@pytest.mark.parametrize(
    ("answer", "words", "sent"),
    [
        ((404, {"error": {"message": "no model", "code": "model_not_found"}}), "does not know the model", 1),
        ((429, {"error": {"message": "pay", "code": "insufficient_quota"}}), "no credit", None),
        ((400, {"error": {"message": "odd sk-abc"}}), r"status 400 \(.*odd sk-\.\.\.", 3),
        ((403, {"error": {"message": "no"}}), "403", 1),
        ((200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": []}), "no choices", 3),
        ((200, chat_completion("이것은 JSON이 아닙니다")), "schema", 3),
        ((200, chat_completion('{"items": [{"seed_word": "전세"}]}')), "schema", 3),
        ((200, chat_completion(GOOD[:20], finish_reason="length")), "length limit", 3),
        ((200, chat_completion(None, refusal="못 합니다")), "refused: 못 합니다", 3),
        ((200, chat_completion("")), "schema|empty", 3),
    ],
)
def test_each_failure_is_a_reply_that_says_what_happened(endpoint, monkeypatch, answer, words, sent):
    import re

    monkeypatch.setattr(teacher, "MAX_RETRIES", 0)
    server = endpoint(lambda body: answer)
    replies = teacher.connect(concurrency=1).ask([MESSAGES] * 3, schema=SEED_WORDS.schema)
    assert re.search(words, replies[0].error)
    assert all(reply.parsed is None and reply.error for reply in replies)
    if sent:
        assert len(server.requests) == sent


def test_a_fault_that_passes_is_retried_by_the_client_alone(endpoint):
    tries = iter([(503, {"error": {"message": "busy"}}), (200, chat_completion("예"))])
    server = endpoint(lambda body: next(tries))
    (reply,) = teacher.connect().ask([MESSAGES])
    assert reply.text == "예"
    assert len(server.requests) == 2


def test_one_time_out_does_not_stop_the_others(endpoint, monkeypatch):
    import time

    monkeypatch.setattr(teacher, "MAX_RETRIES", 0)
    monkeypatch.setattr(teacher, "TIMEOUT_S", 0.5)

    def answer(body):
        if body["messages"][0]["content"] == "느림":
            time.sleep(1.5)
        return 200, chat_completion("예")

    endpoint(answer)
    asked = [[{"role": "user", "content": text}] for text in ("느림", "빠름", "빠름")]
    replies = teacher.connect(concurrency=1).ask(asked)
    assert "no reply came" in replies[0].error
    assert [reply.text for reply in replies[1:]] == ["예", "예"]


def test_an_endpoint_that_is_down_is_named(monkeypatch):
    monkeypatch.setattr(teacher, "MAX_RETRIES", 0)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    (reply,) = teacher.connect().ask([MESSAGES])
    assert "OPENAI_BASE_URL" in reply.error


def test_some_failures_are_counted_and_the_rest_is_used(capsys):
    good = answered([teacher.Reply("예", None, None), teacher.Reply(None, None, "the reply was empty")])
    assert [reply.text for reply in good] == ["예"]
    assert "1 of 2 requests failed: the reply was empty" in capsys.readouterr().out
