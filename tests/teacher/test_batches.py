"""Protects: batches are joined by custom_id, priced at half, never submitted twice, and found again after a kill."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kotune.teacher import batches, client
from kotune.teacher.replies import Request
from prompts import SEED_WORDS
from tests.support.endpoint import chat_completion
from utils import CourseError, read_jsonl

GOOD = '{"items": [{"seed_word": "전세", "questions": ["전세란 무엇인가요?"]}]}'


class BatchServer:
    """OpenAI's files and batches on loopback; `finish` answers all requests of a batch, in reverse order."""

    def __init__(self):
        self.files, self.batches = {}, {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/files":
                    # the part of the form that is the file: it has the only line with a custom_id
                    content = re.search(rb"\r\n\r\n(\{\"custom_id.*?)\r\n--", body, re.DOTALL).group(1)
                    file_id = f"file-{len(outer.files)}"
                    outer.files[file_id] = content
                    self.reply({"id": file_id, "object": "file", "bytes": len(content), "created_at": 0,
                                "filename": "requests.jsonl", "purpose": "batch", "status": "processed"})  # fmt: skip
                else:
                    asked = json.loads(body)
                    batch = {"id": f"batch_{len(outer.batches)}", "object": "batch", "status": "in_progress",
                             "created_at": 0, **asked}  # fmt: skip
                    outer.batches[batch["id"]] = batch
                    self.reply(batch)

            def do_GET(self):
                path = self.path.partition("?")[0]
                if path == "/v1/batches":
                    self.reply({"object": "list", "data": list(outer.batches.values()), "has_more": False})
                elif path.endswith("/content"):
                    self.send(200, outer.files[path.split("/")[-2]], "application/octet-stream")
                elif path.split("/")[-1] in outer.batches:
                    self.reply(outer.batches[path.split("/")[-1]])
                else:
                    self.send(404, b'{"error": {"message": "no such batch"}}', "application/json")

            def reply(self, value):
                self.send(200, json.dumps(value).encode(), "application/json")

            def send(self, status, payload, kind):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def lines_of(self, batch_id):
        """Return what was submitted, line by line."""
        return [json.loads(line) for line in self.files[self.batches[batch_id]["input_file_id"]].splitlines()]

    def finish(self, batch_id, answer, status="completed"):
        """End a batch: `answer(content)` gives a completion, an error dictionary, or None for no line at all."""
        output, errors = [], []
        for line in reversed(self.lines_of(batch_id)):
            reply = answer(line["body"]["messages"][-1]["content"])
            if reply is None:
                continue
            good = "choices" in reply
            response = {"status_code": 200 if good else 400, "body": reply}
            (output if good else errors).append({"custom_id": line["custom_id"], "response": response, "error": None})
        batch = self.batches[batch_id]
        for field, lines in (("output_file_id", output), ("error_file_id", errors)):
            if lines:
                batch[field] = f"{batch_id}-{field}"
                content = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
                self.files[batch[field]] = content.encode()
        batch["status"] = status


@pytest.fixture
def server(monkeypatch):
    started = BatchServer()
    monkeypatch.setenv("OPENAI_BASE_URL", started.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
    yield started
    started.server.shutdown()


@pytest.fixture
def connect(tmp_path):
    return lambda **options: client.connect(journal=tmp_path / "journal.jsonl", model="gpt-4o-mini", **options)


def test_replies_are_joined_to_requests_and_stand_in_the_journal_at_half_the_price(server, connect):
    asked = [Request(f"질문 {i}", id=f"q{i}") for i in range(5)]
    (batch_id,) = connect().submit(asked)
    server.finish(batch_id, lambda content: chat_completion(content[::-1], usage=(1000, 100)))
    replies = connect().collect(batch_id)  # another run, which knows the id alone
    assert [r.text for r in replies] == [f"질문 {i}"[::-1] for i in range(5)]
    assert [r.id for r in replies] == [f"q{i}" for i in range(5)]
    assert replies[0].usd == pytest.approx((1000 * 0.15 + 100 * 0.6) / 1e6 / 2)
    assert all(r.from_journal for r in connect().ask(asked))
    assert connect().submit(asked) == []
    assert connect().spent_usd == pytest.approx(5 * replies[0].usd)


def test_errors_and_missing_lines_are_replies_and_failures(server, connect, tmp_path):
    asked = ["좋은 것", "거절된 것", "사라진 것", "잘린 것"]
    (batch_id,) = connect().submit(asked, schema=SEED_WORDS.schema)
    answers = {
        "좋은 것": chat_completion(GOOD),
        "거절된 것": {"error": {"code": "invalid_request", "message": "bad sk-secret-of-the-test"}},
        "사라진 것": None,
        "잘린 것": chat_completion(GOOD[:9], finish_reason="length"),
    }
    server.finish(batch_id, answers.get, status="expired")
    replies = connect().collect(batch_id, schema=SEED_WORDS.schema)
    assert replies[0].parsed.items[0].seed_word == "전세"
    assert "invalid_request" in replies[1].error
    assert "expired" in replies[2].error
    assert "length limit" in replies[3].error
    failures = read_jsonl(tmp_path / "failures.jsonl")
    assert [row["failure"] for row in failures] == ["batch_error", "batch_expired", "truncated"]
    assert failures[2]["text"] == GOOD[:9]
    assert "sk-secret" not in "".join(path.read_text() for path in tmp_path.iterdir())
    (second,) = connect().submit(asked, schema=SEED_WORDS.schema)  # what failed may be submitted again
    assert len(server.lines_of(second)) == 3


def test_a_batch_at_work_is_not_submitted_again(server, connect):
    asked = [f"질문 {i}" for i in range(4)]
    first = connect().submit(asked)
    assert connect().submit(asked) == first
    both = connect().submit([*asked, "새 질문"])
    assert both[0] == first[0]
    assert len(server.batches) == 2
    with pytest.raises(CourseError, match="in progress"):
        connect().collect(first[0])


def test_a_batch_whose_run_was_killed_before_it_was_noted_is_found_again(server, connect, tmp_path):
    asked = [f"질문 {i}" for i in range(4)]
    first = connect().submit(asked)
    (tmp_path / "batches.jsonl").unlink()  # as if the line had never been written
    assert connect().submit(asked) == first
    assert len(server.batches) == 1


def test_many_requests_are_split_over_several_files(server, connect, monkeypatch):
    monkeypatch.setattr(batches, "MAX_REQUESTS", 3)
    asked = [f"질문 {i}" for i in range(8)]
    ids = connect().submit(asked)
    assert [len(server.lines_of(batch_id)) for batch_id in ids] == [3, 3, 2]
    for batch_id in ids:
        server.finish(batch_id, chat_completion)
    assert [r.text for r in connect().collect(ids)] == asked


def test_a_reply_may_hold_marks_that_look_like_line_ends(server, connect):
    (batch_id,) = connect().submit(["가"])
    server.finish(batch_id, lambda content: chat_completion("하나\u2028둘\x85셋"))
    server.files[f"{batch_id}-output_file_id"] += b"\n\n"
    assert connect().collect(batch_id)[0].text == "하나\u2028둘\x85셋"


def line(key, **parts):
    return json.dumps(
        {"custom_id": key, "response": {"status_code": 200, "body": chat_completion("예")}, "error": None} | parts
    )


ODD = {
    "an error that is a text": lambda key: line(key, error="the provider timed out"),
    "an error that is a list": lambda key: line(key, error=["the provider timed out"]),
    "a page with 502": lambda key: line(key, response={"status_code": 502, "body": "<html>the provider timed out</html>"}),
    "a page with 200": lambda key: line(key, response={"status_code": 200, "body": "<html>the provider timed out</html>"}),
    "no response": lambda key: line(key, response=None),
    "a response that is a text": lambda key: line(key, response="the provider timed out"),
    "a response that is a list": lambda key: line(key, response=[]),
    "a body that is a list": lambda key: line(key, response={"status_code": 200, "body": [1]}),
    "an error in a text": lambda key: line(key, response={"status_code": 500, "body": {"error": "the provider timed out"}}),
    "FastAPI": lambda key: line(key, response={"status_code": 422, "body": {"detail": [{"loc": ["body"], "msg": "odd"}]}}),
    "half a sentence": lambda key: line(key, response={"status_code": 200, "body": chat_completion("전세란", "error")}),
    "a cut line": lambda key: line(key)[:-20],
    "a line that is no JSON": lambda key: "upstream connect error",
    "no line": lambda key: "",
    "another request's": lambda key: line("x" * 32),
    "a list": lambda key: "[1]",
    "a number": lambda key: "3",
}


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "with a BOM"])
def test_odd_lines_of_an_output_are_failures_and_the_others_are_kept(server, connect, tmp_path, mark):
    asked = ["좋은 것", *ODD, "또 좋은 것"]
    (batch_id,) = connect().submit(asked)
    keys = [submitted["custom_id"] for submitted in server.lines_of(batch_id)]
    lines = [line(keys[0]), *(odd(key) for odd, key in zip(ODD.values(), keys[1:-1], strict=True)), line(keys[-1])]
    server.files["out"] = (mark + "\r\n".join(lines)).encode()
    server.batches[batch_id] |= {"status": "completed", "output_file_id": "out"}
    replies = connect().collect(batch_id)
    assert [reply.text for reply in replies] == ["예", *[None] * len(ODD), "예"]
    assert all(reply.error for reply in replies[1:-1])
    for name, reply in zip(ODD, replies[1:-1], strict=True):
        if "the provider timed out" in ODD[name]("k") and name != "a page with 200":
            assert "the provider timed out" in reply.error, name
    assert len(read_jsonl(tmp_path / "journal.jsonl")) == 2
    assert len(read_jsonl(tmp_path / "failures.jsonl")) == len(ODD)


@pytest.mark.parametrize(
    "errors",
    [
        {"object": "list", "data": [{"code": "invalid_json_line", "line": 3, "message": "This line is not JSON"}]},
        [{"message": "This line is not JSON"}],
        "This line is not JSON",
        {"message": "This line is not JSON"},
    ],
)
def test_why_a_batch_failed_as_a_whole_is_told(server, connect, errors):
    (batch_id,) = connect().submit(["가", "나"])
    server.batches[batch_id] |= {"status": "failed", "errors": errors}
    replies = connect().collect(batch_id)
    assert all("This line is not JSON" in reply.error and reply.failure == "batch_failed" for reply in replies)


@pytest.mark.parametrize("status", ["queued", "notStarted", "running", "completed"])
def test_a_batch_that_has_not_ended_or_has_no_files_yet_is_left_for_later(server, connect, status):
    (batch_id,) = connect().submit(["가"])
    server.batches[batch_id]["status"] = status
    with pytest.raises(CourseError, match="collect it again later"):
        connect().collect(batch_id)
    server.finish(batch_id, chat_completion)
    assert connect().collect(batch_id)[0].text == "가"


def test_a_good_line_counts_whatever_else_is_said_of_its_request(server, connect):
    (batch_id,) = connect().submit(["가"])
    key = server.lines_of(batch_id)[0]["custom_id"]
    bad = line(key, error={"message": "tried again"})
    server.files |= {"out": f"{bad}\n{line(key)}\n{bad}".encode(), "err": bad.encode()}
    server.batches[batch_id] |= {"status": "completed", "output_file_id": "out", "error_file_id": "err"}
    assert connect().collect(batch_id)[0].text == "예"


def test_a_batch_is_collected_with_its_own_schema_and_model(server, connect, tmp_path):
    (batch_id,) = connect().submit(["가"], schema=SEED_WORDS.schema)
    server.finish(batch_id, lambda content: chat_completion("no json"))
    with pytest.raises(CourseError, match="collect it with the same"):
        connect().collect(batch_id)
    other = client.connect(journal=tmp_path / "journal.jsonl", model="gpt-4o")
    with pytest.raises(CourseError, match="was submitted to gpt-4o-mini"):
        other.collect(batch_id, schema=SEED_WORDS.schema)
    assert (tmp_path / "journal.jsonl").read_text() == ""


def test_a_batch_that_failed_throughout_can_be_submitted_again(server, connect):
    (first,) = connect().submit(["가", "나"])
    server.finish(first, lambda content: chat_completion("반", finish_reason="length", usage=(10, 10)))
    assert all(reply.error for reply in connect().collect(first))
    spent = connect().spent_usd
    connect().collect(first)  # once more: it was paid for once
    assert connect().spent_usd == pytest.approx(spent)
    (second,) = connect(max_completion_tokens=9999).submit(["가", "나"])
    assert second != first


def test_batches_count_against_the_budget_from_the_moment_they_are_submitted(server, connect):
    who = connect(budget_usd=0.001)
    who.submit(["가"])
    assert who.spent_usd > 0.0005
    with pytest.raises(CourseError, match="budget is left"):
        who.submit(["나"])


def test_the_ledger_has_batches_too_and_asking_meanwhile_says_that_it_costs_again(server, connect, capsys):
    who = connect()
    (batch_id,) = who.submit(["가"], step="밤새")
    assert "within a day" in capsys.readouterr().out
    server.finish(batch_id, lambda content: chat_completion("예", usage=(1000, 100)))
    who.collect(batch_id)
    row = who.ledger().iloc[0]
    assert (row["step"], row["sent"], row["prompt_tokens"]) == ("밤새", 1, 1000)
    assert row["usd"] == pytest.approx((1000 * 0.15 + 100 * 0.6) / 1e6 / 2)
    who.submit(["나"])
    who.ask(["나"])
    assert "paid for once more" in capsys.readouterr().out


def test_a_budget_holds_for_batches_too(server, connect):
    with pytest.raises(CourseError, match="budget"):
        connect(budget_usd=0.001).submit([f"질문 {i}" for i in range(100)])
    assert server.batches == {}


def test_a_batch_of_another_journal_and_one_that_is_gone_are_named(server, connect):
    with pytest.raises(CourseError, match="batch_7 is not in"):
        connect().collect("batch_7")
    (batch_id,) = connect().submit(["가"])
    del server.batches[batch_id]
    with pytest.raises(CourseError, match="no such batch"):
        connect().collect(batch_id)


def test_the_recording_has_no_batches(tmp_path):
    with pytest.raises(CourseError, match="OPENAI_API_KEY"):
        client.connect(journal=tmp_path / "journal.jsonl").submit(["가"])
