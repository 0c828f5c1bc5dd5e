"""Protects: thirty people who ask one endpoint get their own replies, and two commands on one output leave one whole result."""

import json
import threading
import time

import pytest

from tests.drills.drill import SIZE, drill, some
from tests.drills.writers import WITH_MODEL, WITHOUT_MODEL, clear, contents, faults_of, names, torn_lines
from tests.support.endpoint import Endpoint, chat_completion

AT_ONCE = 8  # what the endpoint takes; one more is told to come again


def busy_endpoint() -> Endpoint:
    """An endpoint that answers so many at once, and refuses one more as real ones do."""
    lock, taken = threading.Lock(), []

    def answer(body):
        with lock:
            if len(taken) >= AT_ONCE:
                return 429, {"error": {"message": "rate limit reached"}}, {"retry-after-ms": "40"}
            taken.append(body)
        time.sleep(0.02)
        with lock:
            taken.pop()
        return 200, chat_completion(body["messages"][-1]["content"], usage=(10, 10))

    return Endpoint(answer)


def test_notebooks_on_one_endpoint(bench, tmp_path):
    """Each has a journal of its own; what the endpoint refused through every retry is asked in the next run."""
    endpoint = busy_endpoint()
    settings = {**bench.settings, "OPENAI_BASE_URL": endpoint.url}
    journals = [clear(tmp_path / f"{number}") / "journal.jsonl" for number in range(SIZE.notebooks)]
    expected = {f"질문 {number}번" for number in range(SIZE.questions)}
    with drill("notebooks on one endpoint") as tally:
        tally.tried = len(journals) * SIZE.questions
        waiting = journals
        for _ in range(6):
            commands = [
                bench.nursery.start(one, SIZE.questions, 8, call="tests.support.deeds:ask", **settings) for one in waiting
            ]
            tally.crashed += [str(ended) for ended in [command.wait() for command in commands] if not ended.is_plain]
            waiting = [one for one in waiting if len(held(one)) < SIZE.questions]
            if not waiting:
                break
        for journal in journals:
            rows = held(journal)
            if {row["text"] for row in rows} != expected or len(rows) != len(expected):
                tally.lost.append(f"{len(rows)} of {SIZE.questions} replies in {journal}")
        answered = [one for one in endpoint.requests if one]
        if len(answered) < tally.tried:
            tally.lost.append(f"{len(answered)} requests for {tally.tried} replies")
    endpoint.server.shutdown()
    endpoint.server.server_close()


def held(journal):
    return [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()] if journal.exists() else []


# --- two of each command on one output ------------------------------------------------------


def two_on_one_output(tally, bench, writer, out, others=None):
    """Start a command twice at one moment, the second time on other inputs where there are any."""
    expected = [bench.expected(writer)] + ([bench.expected(writer, others)] if others else [])
    both = [bench.start(writer, out), bench.start(writer, out, others)]
    ended = [command.wait() for command in both]
    tally.tried += 1
    tally.crashed += [f"{writer.name}: {one}" for one in ended if not one.is_plain]
    found = contents(out)
    tally.lost += faults_of(writer, found, *expected) + torn_lines(writer, out)
    if all(one.code for one in ended):
        tally.lost.append(f"{writer.name}: neither came to its end: {ended[0]} {ended[1]}")
    elif found not in expected:
        differ = [name for name in sorted({*found, *expected[0]}) if len({one.get(name) for one in (found, *expected)}) > 1]
        tally.lost.append(f"{writer.name}: what lies there is the result of neither ({', '.join(differ)})")


@pytest.mark.parametrize("inputs", ["the same inputs", "other inputs"])
def test_two_of_each_command(inputs, bench, other_given, tmp_path):
    with drill(f"two on one output: commands without a model, {inputs}") as tally:
        for writer in some(WITHOUT_MODEL, 4 if inputs == "the same inputs" else 0, few=5):
            for number in range(SIZE.pairs):
                others = other_given if inputs == "other inputs" and writer.name != "teacher" else None
                two_on_one_output(tally, bench, writer, clear(tmp_path / f"{writer.name}{number}"), others)


def test_two_of_each_command_with_a_model(model_bench, tmp_path):
    writers = some(WITH_MODEL, 0)
    with drill(f"two on one output: {names(writers)}") as tally:
        for writer in writers:
            for number in range(SIZE.pairs):
                two_on_one_output(tally, model_bench, writer, clear(tmp_path / f"{writer.name}{number}"))
