"""Run asynchronous code from synchronous code, in a script and inside Jupyter's running event loop alike."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import TypeVar

Result = TypeVar("Result")


def run_in_own_thread(coroutine: Callable[[], Coroutine[object, object, Result]]) -> Result:
    """Run a coroutine in an event loop of its own, and return its result or raise what it raises.

    An interrupt (Ctrl-C, Jupyter's stop button) cancels it, waits until it has put away what it had, and goes on up.
    """
    started: concurrent.futures.Future = concurrent.futures.Future()
    result: concurrent.futures.Future = concurrent.futures.Future()

    async def main():
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await coroutine()

    def target():
        try:
            result.set_result(asyncio.run(main()))
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        return result.result()
    except KeyboardInterrupt:
        loop, task = started.result()
        if thread.is_alive():
            loop.call_soon_threadsafe(task.cancel)
            thread.join()
        raise
