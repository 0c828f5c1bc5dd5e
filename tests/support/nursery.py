"""Commands in processes that are forked with their libraries imported: a drill may start hundreds, and kill them at work.

A process that has to import torch first would be killed while it imports, nine times out of ten, and takes seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
HANGS_S = 900  # that a command neither computes nor prints, or computes in all: by no clock, since a machine may be slow
LOOK_S = 5.0  # from one look at a command's progress to the next


@dataclass
class Ended:
    """How a command ended: its exit code (negative: the signal that ended it), and what it printed."""

    code: int
    said: str
    computed_s: float  # of the processor

    @property
    def is_plain(self) -> bool:
        """Whether it ended as the course promises: well, or with one sentence and exit code 1."""
        last = self.said.rstrip().rpartition("\n")[2]
        return "Traceback (most recent" not in self.said and (
            self.code == 0 or (self.code == 1 and last.startswith("error: "))
        )

    def __str__(self) -> str:
        """Return the exit code and the end of what was printed."""
        return f"exit code {self.code}: {self.said[-1500:].strip()}"


class Command:
    """A command that runs in a process of its own."""

    def __init__(self, link: socket.socket, log: Path):
        self._lines, self._link, self.log = link.makefile("r"), link, log
        self.pid = int(self._lines.readline())

    def is_running(self) -> bool:
        """Return whether it has not ended yet."""
        return not select.select([self._link], [], [], 0)[0]

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def computed_s(self) -> float:
        """The seconds of the processor that it has taken so far; 0 once it has ended."""
        with contextlib.suppress(psutil.Error):
            return sum(psutil.Process(self.pid).cpu_times()[:2])
        return 0.0

    def wait_until_computed(self, seconds: float) -> None:
        """Wait until it has taken so much of the processor, or has ended: a slow machine is as far by then as a fast one."""
        while self.computed_s < seconds and self.is_running():
            time.sleep(0.002)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; one that has ended already gets none."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _progress(self) -> tuple[float, int]:
        """Return the seconds of the processor, with those of processes that it has started, and how much was printed."""
        started: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            started = psutil.Process(self.pid).children(recursive=True)
        seconds = self.computed_s
        for one in started:
            with contextlib.suppress(psutil.Error):  # it has ended since
                seconds += sum(one.cpu_times()[:2])
        return seconds, self.log.stat().st_size

    def wait(self, hangs_s: float = HANGS_S) -> Ended:
        """Wait for its end; a command that makes no progress for so long is killed, and has the exit code -9 and says so."""
        fault, progress, since = "", (0.0, 0), time.monotonic()
        while not fault and not select.select([self._link], [], [], min(LOOK_S, hangs_s))[0]:
            now = self._progress()
            if now != progress:
                progress, since = now, time.monotonic()
            elif time.monotonic() - since > hangs_s:
                fault = f"\n(it neither computed nor printed for {hangs_s:g} s)"
            if now[0] > hangs_s:
                fault = f"\n(it computed for {now[0]:.0f} s and did not end)"
        if fault:
            self.kill()
        code, computed_s = self._lines.readline().split()
        self._lines.close()
        self._link.close()
        return Ended(int(code), self.said + fault, float(computed_s))


class Nursery:
    """A process that has imported modules and starts commands by a fork of itself; their outputs go into a folder."""

    def __init__(self, outputs: Path, *modules: str):
        self._folder = Path(tempfile.mkdtemp(prefix="nursery-"))  # short: the name of a socket has 100 bytes at most
        self._socket, self._count = self._folder / "socket", 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._socket), *modules],
            cwd=ROOT, env={**os.environ, "COURSE_OUTPUTS": str(outputs), "PYTHONUNBUFFERED": "1"}, stdin=subprocess.PIPE,
        )  # fmt: skip
        while not self._socket.exists():
            if self._process.poll() is not None:
                raise AssertionError("the process that starts commands did not start")
            time.sleep(0.01)

    def start(
        self,
        *arguments: object,
        call: str = "kotune.cli:main",
        troubles: Sequence[Sequence[object]] = (),
        folder: Path | None = None,
        **environment: object,
    ) -> Command:
        """Start `kotune ARGUMENTS`, or another function that takes a list of arguments.

        troubles: functions to call before it in its process, each as its name (module:function) and its arguments. folder:
        where it runs; the repository if not given. environment: settings of it alone.
        """
        self._count += 1
        log = self._folder / f"{self._count}.txt"
        order = {
            "call": call, "arguments": list(map(str, arguments)), "troubles": troubles, "folder": str(folder or ROOT),
            "environment": {name: str(value) for name, value in environment.items()}, "log": str(log),
        }  # fmt: skip
        link = socket.socket(socket.AF_UNIX)
        link.connect(str(self._socket))
        link.sendall(json.dumps(order).encode() + b"\n")
        return Command(link, log)

    def run(self, *arguments: object, **how) -> Ended:
        """Start a command and wait for its end."""
        return self.start(*arguments, **how).wait()

    def close(self) -> None:
        """End the process; commands that it has started go on."""
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


# --- in the process itself -------------------------------------------------------------------


def _called(name: str):
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _wait_for_orders(name: str) -> dict:
    """Return an order in each process that is to carry one out; this process itself ends where nobody can give any more."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name + ".new")
    listener.listen(64)
    os.rename(name + ".new", name)
    while True:
        is_over = sys.stdin in select.select([listener, sys.stdin], [], [])[0]
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # keepers that have ended
                pass
        if is_over:
            os._exit(0)
        link, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _keep(link)
        link.close()


def _keep(link: socket.socket) -> dict:
    """Fork the command, return its order there, and stay as who tells its end."""
    order = json.loads(link.makefile("r").readline())
    pid = os.fork()
    if pid == 0:
        link.close()
        return order
    link.sendall(f"{pid}\n".encode())
    _, status, used = os.wait4(pid, 0)
    with contextlib.suppress(OSError):  # who asked is gone
        link.sendall(f"{os.waitstatus_to_exitcode(status)} {used.ru_utime + used.ru_stime}\n".encode())
    os._exit(0)


def _carry_out(order: dict) -> None:
    os.setsid()
    log = os.open(order["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    code: object = 0
    try:
        for name, *arguments in order["troubles"]:
            _called(name)(*arguments)
        _called(order["call"])(order["arguments"])
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:  # as the interpreter ends where nobody has caught an error
        traceback.print_exc()
        code = 1
    _end(code)


def _end(code: object) -> None:
    """End as the interpreter does, but for taking every object apart, which takes longer than most commands."""
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # has no public name
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is there is shared with each command, and a look at it would copy it
    _carry_out(_wait_for_orders(sys.argv[1]))
