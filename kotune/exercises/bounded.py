"""What a learner wrote is run for so long and no longer, on every system and in every thread."""

from __future__ import annotations

import ctypes
import io
import threading
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, TypeVar

T = TypeVar("T")


class TimeUp(BaseException):  # not an Exception, so that no `except Exception` of a learner's keeps it
    """The time for a check is up; raised inside the thread that runs it, and by `bounded`."""


def bounded(work: Callable[[], T], seconds: float) -> T:
    """Return what `work` returns, and raise what it raises; what it prints is dropped.

    It runs in a thread of its own, because a signal would work on neither Windows nor outside the main thread. A thread that
    is stopped ends at its next Python instruction; one that waits inside a library is left behind.

    Raises:
        TimeUp: it took longer.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = work()
        except BaseException as error:  # handed on to the thread that waits
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            thread.start()
            thread.join(seconds)
            in_time = not thread.is_alive()
        finally:  # Ctrl-C while waiting, too
            _stop(thread)
    if not in_time:
        raise TimeUp
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def _stop(thread: threading.Thread) -> None:
    """Raise TimeUp inside a thread until it has ended, a few times: a bare `except:` may catch the first."""
    for _ in range(3):
        if not thread.is_alive() or thread.ident is None:
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeUp))
        thread.join(0.05)
