"""Protects: an engine that was started ends with the process that started it, whichever way that ends."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kotune.serving.child import Child
from tests.support.serving import ROOT, ServerProcess, environment, free_port

pytestmark = pytest.mark.skipif(os.name != "posix", reason="groups of processes and signals are POSIX's")

# an engine with a worker of its own; the worker's number goes into a file. Stubborn ones ignore SIGTERM.
ENGINE = """#!{python}
import os, signal, subprocess, sys, time
sys.path[:0] = [{root!r}]
if os.environ.get("ENGINE") == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({numbers!r}, "w").write(f"{{os.getpid()}} {{worker.pid}}")
if "--port" not in sys.argv or os.environ.get("ENGINE") == "slow":
    time.sleep(600)
from http.server import ThreadingHTTPServer
from tests.support.serving import StandIn
standin = StandIn()
port = int(sys.argv[sys.argv.index("--port") + 1])
ThreadingHTTPServer(("127.0.0.1", port), standin.server.RequestHandlerClass).serve_forever()
"""


class Engine:
    """The stand-in's command, and the processes that it has become."""

    def __init__(self, folder: Path):
        self.command, self.numbers = folder / "bin" / "vllm", folder / "numbers"
        self.command.parent.mkdir()
        self.command.write_text(ENGINE.format(python=sys.executable, root=str(ROOT), numbers=str(self.numbers)))
        self.command.chmod(self.command.stat().st_mode | stat.S_IXUSR)

    def pids(self, seconds=120) -> list[int]:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if self.numbers.exists() and len(found := self.numbers.read_text().split()) == 2:
                return [int(number) for number in found]
            time.sleep(0.05)
        raise AssertionError("the engine did not start")


def lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody asked after yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def all_gone(pids, seconds=40) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if not any(map(lives, pids)):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def engine(tmp_path):
    engine = Engine(tmp_path)
    yield engine
    if engine.numbers.exists():
        for pid in engine.pids(1):
            if lives(pid):
                os.kill(pid, signal.SIGKILL)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("manner", ["", "stubborn"])
def test_a_child_is_ended_with_its_workers_at_once(engine, tmp_path, manner, monkeypatch):
    monkeypatch.setattr("kotune.serving.child.END_S", 1.0)
    child = Child([str(engine.command)], tmp_path / "logs" / "engine.log", {**os.environ, "ENGINE": manner})
    pids = engine.pids()
    assert child.running and all(map(lives, pids)) and child.pid == pids[0]
    child.end()
    assert not any(map(lives, pids)) and not child.running
    child.end()  # once more does no harm
    assert stat.S_IMODE((tmp_path / "logs" / "engine.log").stat().st_mode) == 0o600


@pytest.mark.slow
@needs_proc
def test_a_child_whose_leader_has_died_leaves_no_worker(engine, tmp_path):
    child = Child([str(engine.command)], tmp_path / "engine.log", dict(os.environ))
    pids = engine.pids()
    os.kill(pids[0], signal.SIGKILL)
    assert all_gone(pids[:1]) and lives(pids[1])
    child.end()
    assert all_gone(pids)


STARTER = """
import os, sys, time
from pathlib import Path
from kotune.serving.child import Child
child = Child([sys.argv[1]], Path(sys.argv[2]), dict(os.environ))
while not (numbers := Path(sys.argv[4])).exists() or len(numbers.read_text().split()) < 2:
    time.sleep(0.05)
print("started", flush=True)
time.sleep(600) if sys.argv[3] == "wait" else eval(sys.argv[3])
"""


@needs_proc
@pytest.mark.parametrize(
    "way",
    [
        "SIGKILL",
        "SIGTERM",
        "SIGINT",
        "SIGHUP",
        "SIGQUIT",
        "SIGABRT",
        "SIGSEGV",
        "SIGUSR1",
        "os._exit(3)",
        "sys.exit()",
        "1 / 0",
    ],
)
def test_a_child_ends_with_its_starter_though_nobody_ends_it(engine, tmp_path, way):
    wait = "wait" if way.startswith("SIG") else way
    process = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(engine.command), str(tmp_path / "log"), wait, str(engine.numbers)],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    pids = engine.pids()
    assert process.stdout.readline() == "started\n"
    if wait == "wait":
        process.send_signal(getattr(signal, way))
    process.wait(600)
    process.stdout.close()
    assert all_gone(pids)


# --- the server ------------------------------------------------------------------------------


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 0), ("SIGINT", 130), ("SIGHUP", 0), ("SIGKILL", -9), ("SIGQUIT", -3)]
)
def test_the_servers_engine_ends_with_it(engine, tmp_path, name, code):
    folder = tmp_path / "temporary"
    folder.mkdir()
    settings = {"PATH": f"{engine.command.parent}:{os.environ['PATH']}", "ENGINE_LOG": str(tmp_path / "v.log")}
    served = ServerProcess(tmp_path / "log.txt", program=["tests.support.serving_an_engine"], TMPDIR=str(folder), **settings)
    pids = engine.pids()
    try:
        assert list(folder.glob("page-*"))
        served.process.send_signal(getattr(signal, name))
        assert served.process.wait(600) == code
        assert all_gone(pids)
        assert "Traceback" not in served.said
        if name not in ("SIGKILL", "SIGQUIT"):
            assert list(folder.glob("page-*")) == []
    finally:
        served.close()


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGINT", 130), ("SIGHUP", 0), ("SIGKILL", -9)])
def test_an_engine_that_is_still_loading_ends_with_the_server(engine, tmp_path, name, code):
    settings = {"PATH": f"{engine.command.parent}:{os.environ['PATH']}", "ENGINE_LOG": str(tmp_path / "v.log")}
    with (tmp_path / "log.txt").open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.serving_an_engine", "--port", str(free_port())],
            cwd=ROOT, env=environment(ENGINE="slow", **settings), stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    pids = engine.pids()
    process.send_signal(getattr(signal, name))
    assert process.wait(600) == code and all_gone(pids)
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
