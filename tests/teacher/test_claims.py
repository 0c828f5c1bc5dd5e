"""Protects: runs that share a journal send each request once, whoever of them dies."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter

import pytest

from kotune.teacher import client
from kotune.teacher.asking import UNKEPT_A_WORKER
from kotune.teacher.claims import Claims
from tests.support.endpoint import chat_completion

CONCURRENCY = 8


def ask_all(folder, url, count, start):
    """Ask all requests in a process of its own, and leave what came back."""
    os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "TQDM_DISABLE": "1"}
    who = client.connect(journal=folder / "journal.jsonl", concurrency=CONCURRENCY)
    start.wait()
    replies = who.ask([f"질문 {i}번" for i in range(count)])
    said = [[reply.text, reply.failure] for reply in replies]
    (folder / f"{os.getpid()}.json").write_text(json.dumps(said), encoding="utf-8")


def start_all(folder, url, processes, count):
    """Start processes that ask the same at the same moment."""
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    if sys.platform != "win32":
        context.set_forkserver_preload([__name__, "openai"])
    start = context.Barrier(processes + 1)
    started = [context.Process(target=ask_all, args=(folder, url, count, start)) for _ in range(processes)]
    for process in started:
        process.start()
    start.wait(300)
    return started


def prompts_of(server):
    return Counter(request["body"]["messages"][0]["content"] for request in server.requests)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 8, 30])
def test_processes_at_once_send_each_request_once(endpoint, tmp_path, processes):
    """One in ten fails, and that is asked once too."""

    def answer(body):
        time.sleep(0.01)
        content = body["messages"][0]["content"]
        return 200, chat_completion(content, "length" if "7번" in content else "stop", usage=(10, 10))

    server = endpoint(answer)
    count = 100
    for process in (started := start_all(tmp_path, server.url, processes, count)):
        process.join()
    assert [process.exitcode for process in started] == [0] * processes
    assert prompts_of(server) == Counter(f"질문 {i}번" for i in range(count))
    expected = [[None, "truncated"] if i % 10 == 7 else [f"질문 {i}번", None] for i in range(count)]
    said = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("*.json")]
    assert said == [expected] * processes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL, by which a process dies without a last word")
@pytest.mark.parametrize(("processes", "killed"), [(2, 1), (8, 3)])
def test_a_request_is_sent_once_more_at_most_for_each_process_that_dies(endpoint, tmp_path, processes, killed):
    def answer(body):
        time.sleep(0.05)
        return 200, chat_completion("예")

    server = endpoint(answer)
    count = 200
    started = start_all(tmp_path, server.url, processes, count)
    for number, process in enumerate(started[:killed]):
        while len(server.requests) < 20 + 20 * number:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    for process in started:
        process.join()
    assert [process.exitcode for process in started[killed:]] == [0] * (processes - killed)
    sent = prompts_of(server)
    assert len(sent) == count and max(sent.values()) <= 1 + killed
    assert sent.total() <= count + killed * UNKEPT_A_WORKER * CONCURRENCY
    assert all(len(json.loads(path.read_text(encoding="utf-8"))) == count for path in tmp_path.glob("*.json"))


def test_two_runs_of_one_process_send_each_request_once(endpoint, tmp_path):
    def answer(body):
        time.sleep(0.02)
        return 200, chat_completion(body["messages"][0]["content"])

    server = endpoint(answer)
    asked = [f"{i}" for i in range(24)]
    replies = {}

    def run(number):
        who = client.connect(journal=tmp_path / "journal.jsonl", concurrency=3)
        replies[number] = [reply.text for reply in who.ask(asked)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == dict.fromkeys(range(3), asked)
    assert prompts_of(server) == Counter(asked)


def test_what_failed_before_is_asked_again(endpoint, tmp_path):
    endings = iter(["length", "stop"])
    server = endpoint(lambda body: (200, chat_completion("예", next(endings))))
    one, other = (client.connect(journal=tmp_path / "journal.jsonl") for _ in range(2))
    assert one.ask(["가"])[0].failure == "truncated"
    assert other.ask(["가"])[0].text == "예"
    assert one.ask(["가"])[0].from_journal
    assert len(server.requests) == 2


def test_a_run_that_broke_off_holds_no_claim(endpoint, tmp_path, monkeypatch):
    endpoint(lambda body: (200, chat_completion("예")))
    who = client.connect(journal=tmp_path / "journal.jsonl")
    monkeypatch.setattr(who.store, "keep", lambda rows: (_ for _ in ()).throw(ValueError("no disk")))
    with pytest.raises(ValueError, match="no disk"):
        who.ask(["가", "나"])
    monkeypatch.undo()
    claims = Claims(tmp_path / "journal.jsonl")
    keys = [who.connection.key_of(request, None) for request in map(client.as_request, ["가", "나"])]
    assert all(claims.take(key) for key in keys)
    claims.release_all()


def _take(path, key, taken):
    taken.put(Claims(path).take(key))


@pytest.mark.slow
def test_a_claim_is_one_of_a_run_and_ends_with_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "journal.jsonl"

    def another_process_takes(key):
        taken = context.Queue()
        process = context.Process(target=_take, args=(path, key, taken))
        process.start()
        process.join()
        return taken.get()

    one, other = Claims(path), Claims(path)
    assert one.take("가") and one.take("나")
    assert not one.take("가") and not other.take("가") and not another_process_takes("가")
    other.release("가")  # it is not the other's to give back
    assert not other.take("가")
    one.release("나")
    assert not another_process_takes("가")  # giving one back keeps the rest
    assert another_process_takes("나")
    assert other.take("나")  # the process that had it is gone
    one.release_all()
    other.release_all()
    assert another_process_takes("가") and another_process_takes("나")
