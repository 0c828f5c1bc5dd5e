"""A program that this process starts, and that ends with it however this process ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from utils import open_private

END_S = 10.0  # an engine that was told to end has so long before it is killed
KILLED_S = 2.0  # the longest that the killed are waited for; where nobody collects them, they stay as zombies
# Waits at a pipe whose other end this process alone holds, so that it is closed even by SIGKILL; then ends the group.
WATCH = 'read -r _; kill -s TERM -- "-$1" && sleep 5 && kill -s KILL -- "-$1"'


class Child:
    """A program in a process group of its own, so that a terminal's Ctrl-C reaches it by way of this process alone.

    Beside it a shell waits for this process to end: what no handler sees (SIGKILL, a crash) ends the program too.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]):
        """Start a program whose output goes into a file that its owner alone can read."""
        with open_private(log, "wb") as file:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self._watch = _watch(self._process.pid)
        self._ended = False

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program runs."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What the program ended with, the negative number of a signal where one ended it; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """End the program and what it has started; returns when all have ended. Once more, it does nothing."""
        if self._ended:  # the number of its group may be another's by now
            return
        self._ended = True
        try:
            self._tell("SIGTERM")
            ends = time.monotonic() + END_S
            while self._group_lives() and time.monotonic() < ends:
                time.sleep(0.05)
        finally:  # also when a second signal comes meanwhile
            self._tell("SIGKILL")
            self._process.wait()
            ends = time.monotonic() + KILLED_S
            while self._group_lives() and time.monotonic() < ends:  # its own children, whom nobody here can wait for
                time.sleep(0.02)
            if self._watch is not None and self._watch.stdin is not None:
                self._watch.kill()
                self._watch.stdin.close()
                self._watch.wait()

    def _group_lives(self) -> bool:
        if self.running:
            return True
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError, AttributeError):
            return False
        return True

    def _tell(self, name: str) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.pid, getattr(signal, name))
            elif name == "SIGTERM":  # Windows has neither groups nor signals
                self._process.terminate()


def _watch(group: int) -> subprocess.Popen | None:
    if os.name != "posix":
        return None
    return subprocess.Popen(
        ["/bin/sh", "-c", WATCH, "watch", str(group)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
