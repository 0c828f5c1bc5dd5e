"""Protects: nothing is asked twice, nothing is lost, a budget holds, failures are replies, keys never leak."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from pydantic import BaseModel

from kotune.teacher import client
from kotune.teacher import endpoint as endpoint_module
from kotune.teacher.client import answered
from kotune.teacher.costs import price_table
from kotune.teacher.recording import recording_key, write_recording
from kotune.teacher.replies import Reply, Request
from prompts import SEED_WORDS
from tests.support.endpoint import Endpoint, chat_completion
from utils import ROOT, CourseError, read_jsonl

MESSAGES = [{"role": "user", "content": "전세란?"}]
GOOD = '{"items": [{"seed_word": "전세", "questions": ["전세란 무엇인가요?"]}]}'
SECRET = "sk-secret-of-the-test"


@pytest.fixture
def connect(tmp_path):
    """Connect with a journal of this test's own."""

    def connected(**options):
        return client.connect(**{"journal": tmp_path / "journal.jsonl"} | options)

    return connected


@pytest.fixture
def no_retries(monkeypatch):
    """Switch the SDK's retries off, where a test is not about them."""
    monkeypatch.setattr(endpoint_module, "MAX_RETRIES", 0)


def echo(body):
    """Answer with the question reversed, at a usage of 100 and 10 tokens."""
    return 200, chat_completion(body["messages"][-1]["content"][::-1], usage=(100, 10))


# --- asking ---


def test_a_server_on_loopback_answers_in_order_whatever_the_form_of_the_request(endpoint, connect):
    server = endpoint(echo)
    asked = [f"질문 {i}" for i in range(30)] + [MESSAGES, Request(MESSAGES, id="내 것", temperature=0.3)]
    replies = connect(model="local").ask(asked)
    assert [r.text for r in replies] == [f"질문 {i}"[::-1] for i in range(30)] + ["?란세전"] * 2
    assert replies[-1].id == "내 것"
    assert len({r.id for r in replies}) == len(asked) == len(server.requests)
    assert {r["body"]["model"] for r in server.requests} == {"local"}
    assert [r["body"].get("temperature") for r in server.requests].count(0.3) == 1
    assert all(reply.usage.prompt_tokens == 100 and not reply.from_journal for reply in replies)


def test_it_works_inside_a_running_event_loop_as_in_jupyter(endpoint, connect):
    endpoint(echo)

    async def cell():
        return connect().ask(["가나다"])

    assert asyncio.run(cell())[0].text == "다나가"


def test_no_more_than_the_concurrency_is_in_flight(endpoint, connect):
    flying, most, lock = 0, 0, threading.Lock()

    def answer(body):
        nonlocal flying, most
        with lock:
            flying += 1
            most = max(most, flying)
        time.sleep(0.03)
        with lock:
            flying -= 1
        return echo(body)

    endpoint(answer)
    connect(concurrency=5).ask([f"{i}" for i in range(40)])
    assert most == 5


@pytest.mark.parametrize("given", [[], [{"role": "user"}], [{"role": "사용자", "content": "가"}], [{"content": "가"}]])
def test_a_malformed_request_is_refused_before_anything_is_sent(endpoint, connect, given):
    server = endpoint(echo)
    with pytest.raises(CourseError, match=r"Message 0|no messages"):
        connect().ask(["좋은 질문", given])
    assert server.requests == []


# --- the recording ---


def test_a_recorded_request_is_answered_through_the_openai_client(tmp_path, connect):
    key = recording_key(MESSAGES, SEED_WORDS.schema.__name__)
    path = write_recording([{"key": key, "about": "전세", "content": GOOD}], tmp_path / "r.jsonl")
    (reply,) = connect(recording=path).ask([MESSAGES], schema=SEED_WORDS.schema)
    assert reply.error is None
    assert reply.parsed.items[0].questions == ["전세란 무엇인가요?"]
    assert reply.usd == 0.0


def test_a_request_that_is_not_recorded_says_how_to_connect_a_teacher(connect):
    (reply,) = connect().ask([MESSAGES])
    assert "OPENAI_API_KEY" in reply.error
    with pytest.raises(CourseError, match="OPENAI_BASE_URL"):
        answered([reply])


def test_recorded_replies_never_pass_for_a_model_once_a_key_is_set(tmp_path, connect, endpoint):
    row = {"key": recording_key(MESSAGES, None), "about": "", "content": "쓴 것"}
    path = write_recording([row], tmp_path / "r.jsonl")
    assert connect(recording=path).ask([MESSAGES])[0].text == "쓴 것"
    server = endpoint(lambda body: (200, chat_completion("모델의 것")))
    assert connect(recording=path).ask([MESSAGES])[0].text == "모델의 것"
    assert len(server.requests) == 1


def test_record_puts_a_real_teachers_replies_into_the_recording_with_their_source(tmp_path, connect, endpoint, monkeypatch):
    path = write_recording([{"key": "old", "about": "", "content": "먼저", "source": "author"}], tmp_path / "r.jsonl")
    endpoint(lambda body: (200, chat_completion(GOOD, usage=(7, 9))))
    monkeypatch.setenv("RECORD", "1")
    connect(model="m-1", recording=path).ask([MESSAGES], schema=SEED_WORDS.schema)
    rows = {row["key"]: row for row in read_jsonl(path)}
    assert rows["old"]["source"] == "author"
    new = rows[recording_key(MESSAGES, SEED_WORDS.schema.__name__)]
    assert new["content"] == GOOD
    assert re.fullmatch(r"m-1, \d{4}-\d\d-\d\d", new["source"])
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "RECORD"):
        monkeypatch.delenv(name)
    (reply,) = connect(recording=path).ask([MESSAGES], schema=SEED_WORDS.schema)
    assert reply.text == GOOD
    assert reply.usage.completion_tokens == 9


# --- the journal at work ---


def test_a_second_run_asks_nothing_and_a_changed_prompt_only_what_it_changes(endpoint, connect):
    server = endpoint(echo)
    first = connect().ask([f"질문 {i}" for i in range(6)])
    again = connect().ask([f"질문 {i}" for i in range(6)])
    assert [(r.id, r.text, r.usage, r.usd) for r in again] == [(r.id, r.text, r.usage, r.usd) for r in first]
    assert all(r.from_journal for r in again)
    changed = connect().ask(["질문 0", "질문 1!", *[f"질문 {i}" for i in range(2, 6)]])
    assert [r.from_journal for r in changed] == [True, False, True, True, True, True]
    assert len(server.requests) == 7


def test_model_schema_and_parameters_are_part_of_the_key(endpoint, connect):
    server = endpoint(lambda body: (200, chat_completion(GOOD)))
    connect().ask([MESSAGES])
    connect(model="another").ask([MESSAGES])
    connect().ask([MESSAGES], schema=SEED_WORDS.schema)
    connect().ask([Request(MESSAGES, temperature=0.0)])
    connect().ask([Request(MESSAGES, id="an id is no part of it")])
    assert len(server.requests) == 4


def test_equal_requests_are_paid_for_once(endpoint, connect):
    server = endpoint(echo)
    replies = connect().ask(["같은 것"] * 5 + ["다른 것"])
    assert len(server.requests) == 2
    assert [r.text for r in replies] == ["것 은같"] * 5 + ["것 른다"]


def test_a_schema_that_gained_a_validator_is_no_traceback(endpoint, connect):
    class Answer(BaseModel):
        text: str

    class Stricter(Answer):
        def model_post_init(self, context):
            raise ValueError("no")

    Stricter.__name__ = "Answer"
    endpoint(lambda body: (200, chat_completion('{"text": "예"}')))
    who = connect()
    (reply,) = who.ask([MESSAGES], schema=Answer)
    key = who.connection.key_of(Request(MESSAGES), Answer)
    who.journal.rows[who.connection.key_of(Request(MESSAGES), Stricter)] = who.journal.rows[key]
    (again,) = who.ask([MESSAGES], schema=Stricter)
    assert reply.parsed.text == "예"
    assert "no longer fits" in again.error


CHILD = """
import sys
from kotune import teacher
from utils import write_jsonl
who = teacher.connect(journal=sys.argv[1] + "/journal.jsonl", concurrency=8)
replies = who.ask([f"질문 {i}번" for i in range(int(sys.argv[2]))])
rows = [{"id": r.id, "text": r.text, "error": r.error, "tokens": r.usage.completion_tokens} for r in replies]
write_jsonl(sys.argv[1] + "/final.jsonl", rows)
"""


@pytest.mark.slow
def test_killed_twenty_times_every_request_is_answered_exactly_once(tmp_path):
    """The promise of the journal, with kill -9 at random moments over 500 requests."""
    count, dice = 500, random.Random(20)

    def answer(body):
        time.sleep(0.01)
        return echo(body)

    server = Endpoint(answer)
    environment = {**os.environ, "OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": SECRET, "TQDM_DISABLE": "1"}

    def start(folder):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", CHILD, str(folder), str(count)]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    def texts_in_journal():
        path = tmp_path / "killed" / "journal.jsonl"
        whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [json.loads(line)["text"][::-1] for line in whole]

    try:
        kills = 0
        while kills < 20:
            written = set(texts_in_journal())
            sent_before = len(server.requests)
            target = sent_before + dice.randint(1, 24)
            child = start(tmp_path / "killed")
            while len(server.requests) < target and child.poll() is None:
                time.sleep(dice.random() * 0.004)
            assert child.poll() is None, "the run ended before it could be killed twenty times"
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
            time.sleep(0.02)
            asked_now = {r["body"]["messages"][0]["content"] for r in server.requests[sent_before:]}
            assert not asked_now & written
        written, sent_before = set(texts_in_journal()), len(server.requests)
        assert start(tmp_path / "killed").wait() == 0
        assert not {r["body"]["messages"][0]["content"] for r in server.requests[sent_before:]} & written
        assert start(tmp_path / "undisturbed").wait() == 0
    finally:
        server.server.shutdown()
    assert sorted(texts_in_journal()) == sorted(f"질문 {i}번" for i in range(count))
    assert (tmp_path / "killed" / "final.jsonl").read_bytes() == (tmp_path / "undisturbed" / "final.jsonl").read_bytes()


@pytest.mark.slow
def test_two_processes_share_a_journal(tmp_path, endpoint):
    endpoint(echo)
    command = [sys.executable, "-c", CHILD, str(tmp_path), "300"]
    children = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    rows = read_jsonl(tmp_path / "journal.jsonl")
    assert len(rows) == len({row["key"] for row in rows}) == 300


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_finished(tmp_path, endpoint):
    def answer(body):
        time.sleep(0.05)
        return echo(body)

    server = endpoint(answer)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), "5000"], cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while len(server.requests) < 50:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=600)
    assert "KeyboardInterrupt" in said
    assert 40 <= len(read_jsonl(tmp_path / "journal.jsonl")) < 5000


# --- money ---


def test_the_estimate_is_the_price_of_what_is_missing(endpoint, connect):
    endpoint(echo)
    who = connect(model="gpt-4o-mini", concurrency=2, max_completion_tokens=1000)
    who.ask(["하나"])
    estimate = who.estimate(["하나", "둘", "셋"], likely_tokens=50)
    assert (estimate.requests, estimate.from_journal) == (2, 1)
    assert estimate.completion_tokens_likely == 20  # measured: the mean of the journal, not the 50 given
    assert estimate.completion_tokens_highest == 2000
    assert estimate.usd_high == pytest.approx((estimate.prompt_tokens * 0.15 + 2000 * 0.60) / 1e6)
    assert estimate.usd_low == pytest.approx((estimate.prompt_tokens * 0.15 + 20 * 0.60) / 1e6)
    assert "USD" in str(estimate)


def test_the_estimate_says_in_the_language_of_the_edition_what_it_rests_on(endpoint, connect, monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    endpoint(echo)
    who, other = connect(model="gpt-4o-mini"), connect(model="llama3:8b")
    english = who.estimate(["가"], likely_tokens=50).basis, other.estimate(["가"]).basis
    counted = "prompt tokens by an approximation for Korean prose, within about 10%; likely length"
    as_of = price_table()["as_of"]
    assert english == (f"{counted} as given; prices of {as_of}", f"{counted} a quarter of the longest")
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    korean = who.estimate(["가"], likely_tokens=50).basis, other.estimate(["가"]).basis
    counted = "프롬프트 토큰은 한국어 글에 맞춘 어림셈(오차 약 10%), 응답의 예상 길이는"
    assert korean == (f"{counted} 알려 준 값, 가격은 {as_of} 기준", f"{counted} 최대 길이의 4분의 1")
    who.ask(["가"])
    assert "응답의 예상 길이는 저널에서 잰 평균" in who.estimate(["나"]).basis


def test_a_model_without_a_price_is_unpriced_until_one_is_given(endpoint, connect, monkeypatch, capsys):
    endpoint(echo)
    (reply,) = connect(model="llama3:8b").ask(["가"])
    assert reply.usd is None
    assert "unpriced" in capsys.readouterr().out
    with pytest.raises(CourseError, match="TEACHER_PRICE"):
        connect(model="llama3:8b", budget_usd=1.0).ask(["나"])
    monkeypatch.setenv("TEACHER_PRICE", "1,10")
    (reply,) = connect(model="llama3:8b", budget_usd=1.0).ask(["다"])
    assert reply.usd == pytest.approx((100 * 1 + 10 * 10) / 1e6)
    monkeypatch.setenv("TEACHER_PRICE", "cheap")
    with pytest.raises(CourseError, match="two numbers"):
        connect(model="llama3:8b")


@pytest.mark.slow
def test_a_budget_stops_before_it_is_passed_and_keeps_what_is_finished(endpoint, connect, capsys):
    server = endpoint(echo)
    each = (100 * 0.15 + 10 * 0.60) / 1e6
    who = connect(model="gpt-4o-mini", budget_usd=each * 20, concurrency=4, max_completion_tokens=100)
    replies = who.ask([f"질문 {i}" for i in range(100)])
    done = [r for r in replies if r.error is None]
    stopped = [r for r in replies if r.error]
    assert 5 < len(done) < 21
    assert who.spent_usd == pytest.approx(each * len(done))
    assert who.spent_usd <= each * 20
    assert len(server.requests) == len(done) == len(read_jsonl(who.journal.path))
    assert all("not sent" in r.error and "left" in r.error for r in stopped)
    assert "stopped" in capsys.readouterr().out
    more = connect(model="gpt-4o-mini", budget_usd=each * 200, concurrency=4, max_completion_tokens=100)
    assert all(r.error is None for r in more.ask([f"질문 {i}" for i in range(100)]))
    assert len(server.requests) == 100  # what was finished under the first budget was not asked again


def test_failures_that_were_billed_count_against_the_budget(endpoint, connect):
    endpoint(lambda body: (200, chat_completion("중간에", finish_reason="length", usage=(1000, 1000))))
    who = connect(model="gpt-4o-mini")
    who.ask(["가"])
    assert who.spent_usd == pytest.approx((1000 * 0.15 + 1000 * 0.6) / 1e6)
    assert connect(model="gpt-4o-mini").spent_usd == who.spent_usd


def test_the_ledger_has_actual_beside_estimated_for_every_step(endpoint, connect):
    endpoint(echo)
    who = connect(model="gpt-4o-mini")
    who.ask(["가", "나"], step="첫째", likely_tokens=30)
    who.ask(["가", "다"], step="둘째")
    table = who.ledger()
    assert table["step"].tolist() == ["첫째", "둘째"]
    assert table["from_journal"].tolist() == [0, 1]
    assert table["completion_tokens_estimated"].tolist() == [60, 10]
    assert table["completion_tokens"].tolist() == [20, 10]
    assert table["usd"].sum() == pytest.approx(3 * (100 * 0.15 + 10 * 0.6) / 1e6)


def test_a_reply_that_does_not_say_its_usage_counts_as_what_it_could_have_cost(endpoint, connect):
    server = endpoint(lambda body: (200, chat_completion("예")))
    who = connect(model="gpt-4o-mini", budget_usd=0.003, max_completion_tokens=2000)
    replies = who.ask([f"질문 {i}" for i in range(50)])
    assert 1 <= len(server.requests) <= 3
    assert 0 < who.spent_usd <= 0.003
    assert replies[0].usd > 0.001
    assert connect(model="gpt-4o-mini").spent_usd == pytest.approx(who.spent_usd)


@pytest.mark.slow
def test_a_budget_is_that_of_the_journal_whoever_spends_it(endpoint, connect):
    endpoint(lambda body: (time.sleep(0.01), echo(body))[1])
    each = (100 * 0.15 + 10 * 0.60) / 1e6
    options = {"model": "gpt-4o-mini", "budget_usd": each * 30, "concurrency": 1, "max_completion_tokens": 20}
    both = [connect(**options), connect(**options)]
    threads = [threading.Thread(target=who.ask, args=([f"{n} {i}" for i in range(40)],)) for n, who in enumerate(both)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # each learns of the other's spending when it writes its own: a few requests may be in flight meanwhile
    assert 20 <= round(connect(**options).spent_usd / each) <= 34


def test_one_journal_does_not_pay_for_anothers_failures(endpoint, connect, tmp_path):
    endpoint(lambda body: (200, chat_completion("반", finish_reason="length", usage=(1000, 1000))))
    connect(model="gpt-4o-mini").ask(["가"])
    assert connect(model="gpt-4o-mini", journal=tmp_path / "other.jsonl").spent_usd == 0
    assert (tmp_path / "other.failures.jsonl").exists()


def test_the_ledger_counts_what_was_sent_and_not_what_was_asked_for(endpoint, connect):
    endpoint(lambda body: (401, {"error": {"message": "no"}}))
    who = connect(concurrency=1)
    who.ask([f"질문 {i}" for i in range(20)])
    assert who.ledger()["sent"].tolist() == [1]
    assert who.ledger()["failed"].tolist() == [20]


# --- failures ---


def with_field(path, value):
    """Return a completion in which one field is not what it should be."""
    completion = chat_completion("예", usage=(3, 4))
    *before, last = path
    place = completion
    for key in before:
        place = place[key]
    place[last] = value
    return completion


@pytest.mark.parametrize(
    "odd",
    [
        with_field(["choices"], [None]),
        with_field(["choices"], {"a": 1}),
        with_field(["choices", 0, "message"], "x"),
        with_field(["choices", 0, "message", "content"], [{"type": "text", "text": "예"}]),
        with_field(["choices", 0, "message", "refusal"], {"why": "no"}),
        with_field(["usage", "prompt_tokens_details"], [1]),
        with_field(["usage", "completion_tokens"], "3"),
        ["a list"],
    ],
)
def test_an_odd_reply_does_not_take_the_others_with_it(endpoint, connect, odd):
    endpoint(lambda body: (200, odd) if body["messages"][0]["content"] == "이상한 것" else echo(body))
    replies = connect(concurrency=4).ask(["가", "이상한 것", "나", "다"])
    assert [reply.text for reply in (replies[0], *replies[2:])] == ["가", "나", "다"]
    assert (
        len(read_jsonl(connect().journal.path)) + len(read_jsonl(connect().store.failures.path) if replies[1].error else [])
        == 4
    )


def test_half_an_emoji_in_a_reply_or_a_prompt_is_kept_or_named(endpoint, connect):
    endpoint(lambda body: (200, chat_completion("반쪽 \ud83d")))
    replies = connect().ask(["가", "나"])
    assert [reply.text for reply in replies] == ["반쪽 \ud83d"] * 2
    assert all(reply.from_journal and reply.text == "반쪽 \ud83d" for reply in connect().ask(["가", "나"]))
    (bad,) = connect().ask(["질문 \ud83d"])
    assert bad.error or bad.text


def test_a_write_that_fails_is_not_remembered_as_done(endpoint, connect, monkeypatch):
    endpoint(echo)
    who = connect()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(CourseError, match="No space left on device"):
        who.ask(["가"])
    assert who.journal.rows == {}


def test_a_validator_that_raises_anything_is_a_failure(endpoint, connect):
    class Odd(BaseModel):
        text: str

        def model_post_init(self, context):
            raise KeyError("odd")

    endpoint(lambda body: (200, chat_completion('{"text": "예"}')))
    (reply,) = connect().ask(["가"], schema=Odd)
    assert "validator of Odd" in reply.error


@pytest.mark.parametrize(
    "given", ["전세란?", {"role": "user", "content": "전세란?"}, [3], [["가"]], [{"role": "user", "content": "가"}]]
)
def test_one_request_in_the_place_of_a_list_is_refused_before_anything_is_sent(endpoint, connect, given):
    server = endpoint(echo)
    with pytest.raises(CourseError):
        connect().ask(given)
    assert server.requests == []


@pytest.mark.parametrize("name", ["n", "model", "stream", "response_format"])
def test_parameters_that_the_teacher_sets_itself_are_refused(name):
    with pytest.raises(CourseError, match=f"sets {name}"):
        Request("가", **{name: 8})
    with pytest.raises(CourseError, match="no JSON"):
        Request("가", stop={1, 2})


def test_a_refusal_of_one_requests_own_parameter_does_not_change_the_others(endpoint, connect):
    def answer(body):
        if "max_tokens" in body:
            said = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return 400, {"error": {"message": said, "param": "max_tokens"}}
        return echo(body)

    endpoint(answer)
    replies = connect(concurrency=1).ask([Request("가", max_tokens=100), "나", "다"])
    assert [bool(reply.error) for reply in replies] == [True, False, False]


@pytest.mark.parametrize(
    "answer", [(429, {"error": {"message": "pay", "type": "insufficient_quota"}}), (402, {"error": {}})]
)
def test_spent_credit_stops_the_run_however_it_is_said(endpoint, connect, no_retries, answer):
    server = endpoint(lambda body: answer)
    connect(concurrency=1).ask([f"{i}" for i in range(20)])
    assert len(server.requests) == 1


@pytest.mark.parametrize("key", ["열쇠", "a\x01b"])
def test_a_key_that_can_be_none_is_named(connect, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(CourseError, match="characters that no key has") as error:
        connect()
    assert key not in str(error.value)


@pytest.mark.parametrize("price", ["nan,1", "-1,1", "1", "inf,0"])
def test_a_price_is_a_number(connect, monkeypatch, price):
    monkeypatch.setenv("TEACHER_PRICE", price)
    with pytest.raises(CourseError, match="TEACHER_PRICE"):
        connect()


def test_a_refused_key_stops_the_run_and_stays_secret(endpoint, connect, capsys, tmp_path):
    refusal = {"error": {"message": f"bad key {SECRET}", "code": "invalid_api_key"}}
    server = endpoint(lambda body: (401, refusal))
    who = connect(concurrency=1)
    replies = who.ask([f"질문 {i}" for i in range(20)])
    assert len(server.requests) == 1
    assert all(reply.text is None and reply.error for reply in replies)
    with pytest.raises(CourseError, match="refused the key") as error:
        answered(replies)
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    shown = str(error.value) + repr(replies) + str(capsys.readouterr()) + repr(who) + repr(vars(who))
    assert SECRET not in shown + kept


def test_a_server_that_echoes_the_key_does_not_bring_it_into_any_file(endpoint, connect, tmp_path, capsys):
    answers = iter([(200, chat_completion(f"열쇠는 {SECRET}")), (400, {"error": {"message": f"odd {SECRET}"}})])
    endpoint(lambda body: next(answers))
    replies = connect(concurrency=1).ask(["가", "나"])
    endpoint(lambda body: (200, chat_completion(GOOD.replace("란 무엇", SECRET))))
    replies += connect().ask(["다"], schema=SEED_WORDS.schema)  # nor into the parsed value
    endpoint(lambda body: (400, {"error": {"message": "x" * 185 + SECRET}}))  # nor half of it, where a message is cut
    replies += connect().ask(["라"])
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    shown = kept + repr(replies) + str(capsys.readouterr())
    assert SECRET not in shown and SECRET[:12] not in shown
    assert replies[0].text == "열쇠는 [key]"


@pytest.mark.parametrize(
    ("answer", "failure", "words", "sent"),
    [
        ((404, {"error": {"message": "no model", "code": "model_not_found"}}), "unknown_model", "does not know the", 1),
        ((429, {"error": {"message": "pay", "code": "insufficient_quota"}}), "insufficient_quota", "no credit", 1),
        ((403, {"error": {"message": "no"}}), "forbidden", "403", 1),
        ((400, {"error": {"message": "odd"}}), "status_400", r"status 400 \(.*odd", 3),
        ((200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": []}), "no_choices",
         "no choices", 3),
        ((200, chat_completion("이것은 JSON이 아닙니다")), "invalid_json", "no JSON", 3),
        ((200, chat_completion('{"items": [{"seed_word": "전세"}]}')), "schema", "items.0.questions: Field", 3),
        ((200, chat_completion(GOOD + " 끝")), "invalid_json", "no JSON", 3),
        ((200, chat_completion(GOOD[:20], finish_reason="length")), "truncated", "length limit", 3),
        ((200, chat_completion(GOOD, finish_reason="length")), "truncated", "length limit", 3),
        ((200, chat_completion(None, finish_reason="content_filter")), "content_filter", "content filter", 3),
        ((200, chat_completion(None, refusal="못 합니다")), "refusal", "refused: 못 합니다", 3),
        ((200, chat_completion("")), "empty", "empty", 3),
        ((200, chat_completion(None)), "empty", "empty", 3),
    ],
)  # fmt: skip
def test_each_failure_is_a_reply_and_a_line_that_keeps_the_raw_text(
    endpoint, connect, tmp_path, answer, failure, words, sent
):
    server = endpoint(lambda body: answer)
    replies = connect(concurrency=1).ask(["가", "나", "다"], schema=SEED_WORDS.schema)
    assert re.search(words, replies[0].error)
    assert all(reply.parsed is None and reply.text is None and reply.error for reply in replies)
    assert len(server.requests) == sent
    rows = read_jsonl(tmp_path / "failures.jsonl")
    assert [row["failure"] for row in rows] == [failure] * sent
    if answer[0] == 200 and answer[1]["choices"]:
        message = answer[1]["choices"][0]["message"]
        assert rows[0]["text"] == (message["content"] or message["refusal"] or message["content"])
    assert rows[0]["messages"][0]["content"] == "가"
    assert (tmp_path / "journal.jsonl").read_text() == ""  # so that the next run asks again


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "```\n{}\n```", "  ```json\n{}```\n"])
def test_json_in_one_code_fence_is_read_as_it_stands(endpoint, connect, fence):
    endpoint(lambda body: (200, chat_completion(fence.replace("{}", GOOD))))
    (reply,) = connect().ask([MESSAGES], schema=SEED_WORDS.schema)
    assert reply.parsed.items[0].seed_word == "전세"


def half_a_body(handler):
    """Promise a whole reply, write half of it, and hang up."""
    payload = json.dumps(chat_completion("예")).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(payload)))
    handler.end_headers()
    handler.wfile.write(payload[: len(payload) // 2])
    handler.close_connection = True


def half_a_body_without_length(handler):
    """Write half a reply with no length to compare it with, as some proxies do."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(json.dumps(chat_completion("예")).encode()[:40])
    handler.close_connection = True


def cut(handler):
    """Hang up without a word."""
    handler.close_connection = True
    handler.connection.close()


@pytest.mark.parametrize(
    "fault",
    [
        (500, {"error": {"message": "oops"}}),
        (503, {"error": {"message": "busy"}}),
        (429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}),
        half_a_body,
        half_a_body_without_length,
        cut,
    ],
    ids=["500", "503", "429", "half a body", "half a body, no length", "cut connection"],
)
def test_a_fault_that_passes_is_retried_by_the_client_alone(endpoint, connect, fault):
    tries = iter([fault, (200, chat_completion("예"))])
    server = endpoint(lambda body: next(tries))
    (reply,) = connect().ask([MESSAGES])
    assert reply.text == "예"
    assert len(server.requests) == 2


@pytest.mark.slow
def test_retry_after_is_honoured(endpoint, connect):
    moments = []

    def answer(body):
        moments.append(time.monotonic())
        if len(moments) == 1:
            return 429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, {"Retry-After": "2"}
        return 200, chat_completion("예")

    endpoint(answer)
    (reply,) = connect().ask([MESSAGES])
    assert reply.text == "예"
    assert moments[1] - moments[0] >= 2.0  # of itself the client waits a second at most


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ((500, {"error": {"message": "oops"}}), "server_error"),
        ((429, {"error": {"message": "slow", "code": "rate_limit_exceeded"}}), "rate_limit"),
        (cut, "connection"),
    ],
)
def test_a_fault_that_stays_is_one_reply_and_the_retries_are_counted(
    endpoint, connect, monkeypatch, tmp_path, fault, failure
):
    monkeypatch.setattr(endpoint_module, "MAX_RETRIES", 2)

    def answer(body):
        return fault if body["messages"][0]["content"] == "나쁜 것" else echo(body)

    server = endpoint(answer)
    replies = connect(concurrency=2).ask(["나쁜 것", "가", "나"])
    assert [r.text for r in replies] == [None, "가", "나"]
    assert len(server.requests) == 3 + 2  # one layer of retries: three tries of the bad one
    assert [row["failure"] for row in read_jsonl(tmp_path / "failures.jsonl")] == [failure]


def slowly(handler):
    """Answer with a first byte at once, and with the rest far too late."""
    payload = json.dumps(chat_completion("예")).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(payload)))
    handler.end_headers()
    handler.wfile.write(payload[:1])
    time.sleep(5)


def drop_by_drop(handler):
    """Answer late, with white space meanwhile that says that somebody is at work, as OpenRouter and DeepSeek do."""
    payload = json.dumps(chat_completion("예")).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(payload) + 20))
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b"\n")
        time.sleep(0.15)
    handler.wfile.write(payload)


def late(handler):
    """Say nothing until nobody listens any more."""
    time.sleep(5)


@pytest.mark.slow
def test_a_reply_that_comes_too_late_is_not_asked_for_again_and_the_others_are_answered(endpoint, connect):
    answers = {
        "늦음": late,
        "반쯤 늦음": slowly,
        "504": (504, "upstream timed out"),
        "524": (524, "<html>a timeout occurred</html>"),
        "408": (408, {"error": {"message": "request timed out"}}),
        "한 방울씩": drop_by_drop,
    }
    server = endpoint(lambda body: answers.get(body["messages"][0]["content"], (200, chat_completion("예"))))
    replies = connect(concurrency=8, timeout_s=2).ask([*answers, "빠름"])
    assert [reply.failure for reply in replies] == ["timeout"] * 5 + [None, None]
    assert all("TEACHER_TIMEOUT" in reply.error or "gateway" in reply.error for reply in replies[:5])
    assert [reply.text for reply in replies[5:]] == ["예", "예"]
    assert len(server.requests) == 7


@pytest.mark.slow
@pytest.mark.parametrize("retries", ["", "1"])
def test_a_reply_that_trickles_without_an_end_is_a_late_one(endpoint, connect, monkeypatch, retries):
    monkeypatch.setattr(endpoint_module, "MAX_RETRIES", 1)
    monkeypatch.setenv("TEACHER_RETRY_TIMEOUTS", retries)
    left = threading.Event()

    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(10**6))
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" ")
                time.sleep(0.05)
        except OSError:
            left.set()
            handler.close_connection = True

    server = endpoint(lambda body: trickle)
    (reply,) = connect(timeout_s=0.5).ask(["가"])
    assert reply.failure == "timeout" and "had not ended after 2 s: raise TEACHER_TIMEOUT" in reply.error
    assert left.wait(300) and len(server.requests) == 1 + bool(retries)


@pytest.mark.slow
def test_a_reply_that_comes_too_late_is_asked_for_again_where_that_was_asked_for(endpoint, connect, monkeypatch):
    monkeypatch.setattr(endpoint_module, "MAX_RETRIES", 1)
    monkeypatch.setenv("TEACHER_RETRY_TIMEOUTS", "1")
    monkeypatch.setenv("TEACHER_TIMEOUT", "0.5")
    server = endpoint(lambda body: (504, "late") if body["messages"][0]["content"] == "504" else late)
    replies = connect().ask(["504", "늦음"])
    assert [reply.failure for reply in replies] == ["timeout"] * 2
    assert "0.5 s" in replies[1].error
    assert len(server.requests) == 4


def test_a_late_reply_counts_as_dear_as_it_could_have_been(endpoint, connect):
    endpoint(lambda body: late)
    who = connect(model="gpt-4o-mini", budget_usd=1, timeout_s=0.5)
    highest = who.estimate(["가"]).usd_high
    who.ask(["가"])
    assert who.spent_usd == pytest.approx(highest, rel=0.5) and who.spent_usd >= highest


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "two minutes", "2m"])
def test_a_time_out_is_a_number_of_seconds(connect, monkeypatch, given):
    monkeypatch.setenv("TEACHER_TIMEOUT", given)
    with pytest.raises(CourseError, match="TEACHER_TIMEOUT"):
        connect()
    assert connect(timeout_s=300).endpoint  # what is said in the call comes first


@pytest.mark.parametrize("given", [float("nan"), float("inf"), -1, -0.01, "1", [1]])
def test_a_budget_is_a_number(connect, given):
    with pytest.raises(CourseError, match="budget_usd"):
        connect(budget_usd=given)


@pytest.mark.parametrize("given", [float("nan"), 2.5, 0, -1, "4", None])
@pytest.mark.parametrize("name", ["concurrency", "max_completion_tokens"])
def test_a_count_is_a_whole_number(connect, name, given):
    with pytest.raises(CourseError, match=name):
        connect(**{name: given})


@pytest.mark.parametrize("usd", ["NaN", "Infinity", "-1", '"1"', "[1]"])
@pytest.mark.parametrize("name", ["journal", "failures"])
def test_a_cost_that_is_no_number_is_named_and_lifts_no_budget(connect, tmp_path, name, usd):
    (tmp_path / f"{name}.jsonl").write_text(f'{{"key": "k", "text": "예", "usd": {usd}}}\n', encoding="utf-8")
    with pytest.raises(CourseError, match="line 1, has a cost"):
        connect()


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def test_a_proxy_is_not_asked_for_this_machine(endpoint, connect, monkeypatch):
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = endpoint(echo)
    assert connect().ask(["가나"])[0].text == "나가"
    monkeypatch.setenv("OPENAI_BASE_URL", server.url.replace("127.0.0.1", "localhost"))
    assert connect().ask(["다라"])[0].text == "라다"


def test_a_proxy_is_asked_for_other_machines(endpoint, connect, monkeypatch):
    proxy = endpoint(echo)
    for name in PROXIES:
        monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://teacher.example/v1")
    assert connect().ask(["가나"])[0].text == "나가"
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.8.9.1", True), ("[::1]", True), ("localhost", True), ("LOCALHOST.", True), ("0.0.0.0", True),
        ("ollama.localhost", True), ("[::ffff:127.0.0.1]", True), ("192.168.0.2", False), ("10.0.0.1", False),
        ("localhost.example.org", False), ("127.0.0.1.example.org", False), ("mylocalhost", False), ("[2001:db8::1]", False),
    ],
)  # fmt: skip
def test_this_machine_is_known_by_its_names(host, expected):
    assert endpoint_module.is_loopback(f"http://{host}:8000/v1") is expected


def test_an_endpoint_that_is_down_is_named_and_the_rest_is_not_tried(connect, monkeypatch, no_retries):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    replies = connect(concurrency=1).ask([f"{i}" for i in range(50)])
    assert "OPENAI_BASE_URL" in replies[0].error
    assert sum("not sent" in reply.error for reply in replies) == 47


@pytest.mark.parametrize("address", ["localhost:11434", "http://h:abc/v1", "http://[::1/v1", "ftp://h/v1"])
def test_an_address_that_is_none_is_refused_at_once(connect, monkeypatch, address):
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(CourseError, match="http address"):
        connect()


def test_a_password_in_the_address_is_not_shown(connect, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:geheim@127.0.0.1:9/v1?token=geheim")
    assert "geheim" not in repr(connect()) + connect().endpoint.name


@pytest.mark.parametrize("first", ["max_completion_tokens", "response_format"])
def test_an_older_endpoint_is_asked_in_its_own_way(endpoint, connect, first, capsys):
    """A local server may know max_tokens only, or no JSON schemas: it is asked otherwise, once for all requests."""

    def answer(body):
        if first in body:
            return 400, {"error": {"message": f"Unsupported parameter: '{first}'", "param": first}}
        if first == "response_format":
            assert "JSON 스키마" in body["messages"][-1]["content"]
        else:
            assert body["max_tokens"] == client.MAX_COMPLETION_TOKENS
        return 200, chat_completion(GOOD)

    server = endpoint(answer)
    replies = connect(concurrency=1).ask([f"{i}" for i in range(10)], schema=SEED_WORDS.schema)
    assert all(reply.parsed for reply in replies)
    assert len(server.requests) == (11 if first == "max_completion_tokens" else 12)
    assert "max_tokens" in (said := capsys.readouterr().out) or "plain text" in said


def test_some_failures_are_counted_and_the_rest_is_used(capsys):
    good = answered([Reply("예", None, None), Reply(None, None, "the reply was empty")])
    assert [reply.text for reply in good] == ["예"]
    assert "1 of 2 requests failed: the reply was empty" in capsys.readouterr().out
