"""What the server bears: connections held idle, streams at once, memory after many requests, and the seconds to its end.

    python dev/bench/load.py                                the shipped model, as in the documentation's figures
    python dev/bench/load.py --engine stand-in              the server alone, before an engine that answers at known times
    python dev/bench/load.py --engine tiny --connections 20 --streams 4 --requests 20 --tokens 4      whether it runs

All is sent from this process over loopback. Writes dev/bench/results/load.json where the shipped model ran with the
numbers that are the defaults; what other runs find is only printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.serve import ENDS_S, QUESTIONS, serving, standing_in
from dev.bench.sides import about
from kotune.serving.connections import raise_descriptor_limit
from kotune.serving.guard import Limits
from utils import ROOT, write_json

RESULTS = ROOT / "dev" / "bench" / "results" / "load.json"
LONGEST = {"shipped": 1_024, "tiny": 300, "stand-in": 1_024}  # tokens of a reply that still runs when the server is to end
SLOW_PIECES, SLOW_S = 1_200, 0.05  # a stand-in whose reply takes a minute: longer than the server waits for it
HANGS_S = 600  # no answer for so long is none
AT_ONCE = 16  # of the many requests


@dataclass(frozen=True)
class Sizes:
    """How much is tried."""

    connections: int = 1_100  # 76 more than the server's own bound
    streams: int = 80  # 16 more than its places
    requests: int = 2_000
    tokens: int = 8  # of each of those
    running: int = 16  # replies that run when the server is told to end


# --- a reply ---------------------------------------------------------------------------------


@dataclass
class Streamed:
    """What came of one request: its status, when its first and last piece came, and how it ended."""

    status: int = 0  # 0: the connection was closed without a word
    first_s: float | None = None
    ended_s: float = 0.0
    end: str = "cut"  # "whole", "error" (an event that says so), "refused", "cut"


def head_of(port: int, method: str, path: str, length: int = 0) -> bytes:
    """Return a request's head."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json"]
    return ("\r\n".join([*lines, f"Content-Length: {length}"]) + "\r\n\r\n").encode()


async def status_of(reader: asyncio.StreamReader) -> int:
    """Return the status of a reply and read its head; 0 where there is none."""
    line = await reader.readline()
    while (await reader.readline()).strip():
        pass
    return int(line.split()[1]) if line else 0


async def stream(port: int, model: str, question: str, tokens: int, begun: asyncio.Event | None = None) -> Streamed:
    """Stream a reply on a connection of its own; `begun` is set with its first piece, or once there will be none."""
    body = {"model": model, "stream": True, "max_tokens": tokens, "messages": [{"role": "user", "content": question}]}
    data, found, started = json.dumps(body).encode(), Streamed(), time.perf_counter()
    writer = None
    try:
        async with asyncio.timeout(HANGS_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head_of(port, "POST", "/v1/chat/completions", len(data)) + data)
            found.status = await status_of(reader)
            found.end = "cut" if found.status in (0, 200) else "refused"
            while found.status == 200 and (line := await reader.readline()):
                if b'"content"' in line and b'"content": ""' not in line and found.first_s is None:
                    found.first_s = time.perf_counter() - started
                    if begun:
                        begun.set()
                if line.startswith(b'data: {"error"'):
                    found.end = "error"
                if line.strip() == b"data: [DONE]" and found.end == "cut":
                    found.end = "whole"
                if line == b"0\r\n":
                    break
    except (OSError, TimeoutError):
        pass
    finally:
        found.ended_s = time.perf_counter() - started
        if begun:
            begun.set()
        if writer:
            writer.close()
    return found


# --- what is measured ------------------------------------------------------------------------


def megabytes(process: psutil.Process) -> float:
    """Return what a server and the processes that it started hold."""
    return round(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / 1e6, 1)


async def idle_connections(port: int, process: psutil.Process, count: int) -> dict:
    """Ask once on each of many connections, hold them all, then close them; return how many the server held and refused."""
    before, held, statuses = megabytes(process), [], Counter[int]()
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head_of(port, "GET", "/v1/models"))
        with contextlib.suppress(OSError):
            status = await status_of(reader)
            statuses[status] += 1
            if status == 200:
                held.append((reader, writer))
                continue
        writer.close()
    open_ones = sum(not reader.at_eof() for reader, _ in held)
    result = {
        "asked_for": count,
        "held": open_ones,
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "megabytes_more": round(megabytes(process) - before, 1),
    }
    for _, writer in held:
        writer.close()
    await asyncio.sleep(1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head_of(port, "GET", "/health"))
    result["status_of_a_new_one_afterwards"] = await status_of(reader)
    writer.close()
    return result


def told(replies: list[Streamed]) -> dict:
    """Return how many replies ended in which way, and their times."""
    begun, whole = ([one for one in replies if one.first_s is not None], [one for one in replies if one.end == "whole"])
    return {
        "ends": dict(sorted(Counter(one.end for one in replies).items())),
        "statuses": {str(status): number for status, number in sorted(Counter(one.status for one in replies).items())},
        "first_piece_s": {
            "median": round(statistics.median(one.first_s for one in begun), 3),
            "worst": round(max(one.first_s for one in begun), 3),
        }
        if begun
        else None,
        "slowest_whole_s": round(max(one.ended_s for one in whole), 2) if whole else None,
    }


async def streams_at_once(port: int, model: str, count: int) -> dict:
    """Ask for so many replies at the same moment."""
    asked = (stream(port, model, f"{QUESTIONS[n % len(QUESTIONS)]} ({n + 1})", 48) for n in range(count))
    return {"asked_for": count, **told(await asyncio.gather(*asked))}


async def many_requests(port: int, process: psutil.Process, model: str, sizes: Sizes) -> dict:
    """Ask for many replies, a few at a time; return the memory at the start and after each tenth."""
    memory, ends = [megabytes(process)], Counter[str]()
    parts = [sizes.requests * (n + 1) // 10 - sizes.requests * n // 10 for n in range(10)]
    for part in filter(None, parts):
        left = iter(range(part))

        async def one_after_another(left: Iterator[int] = left) -> None:
            for number in left:
                ends[(await stream(port, model, f"{QUESTIONS[number % len(QUESTIONS)]} ({number})", sizes.tokens)).end] += 1

        await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))
        memory.append(megabytes(process))
    return {"requests": sizes.requests, "ends": dict(sorted(ends.items())), "megabytes": memory}


async def told_to_end(port: int, process: psutil.Process, model: str, running: int, tokens: int) -> dict:
    """Send SIGTERM while replies run; return the seconds to the end and what came of them."""
    if os.name == "nt":
        return {"not_measured": "Windows ends a process without a word; Ctrl-C would reach this one too"}
    begun = [asyncio.Event() for _ in range(running)]
    tasks = [
        asyncio.create_task(stream(port, model, f"{QUESTIONS[n % len(QUESTIONS)]} ({n})", tokens, begun[n]))
        for n in range(running)
    ]
    for event in begun:
        await event.wait()
    if over := [task.result() for task in tasks if task.done()]:
        raise SystemExit(f"{len(over)} of {running} replies do not run when SIGTERM is to be sent: {over[0]}")
    started = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    ended = await asyncio.to_thread(_seconds_to_end, process, started)
    replies = [await task for task in tasks]
    return {
        "running": running,
        "seconds": ended,
        "stated_bound_s": ENDS_S,
        "within": ended is not None and ended <= ENDS_S,
        "ends": dict(sorted(Counter(one.end for one in replies).items())),
    }


def _seconds_to_end(process: psutil.Process, started: float) -> float | None:
    """Wait for a process's end; None: it did not come to one."""
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(HANGS_S)
        return round(time.perf_counter() - started, 2)
    process.kill()
    return None


# --- servers ---------------------------------------------------------------------------------


@contextlib.contextmanager
def engine(kind: str, slow: bool = False) -> Iterator[tuple[int, psutil.Process, str]]:
    """Run a server with an engine, or a stand-in that takes a minute for a reply; give its port, process and model."""
    with contextlib.ExitStack() as stack:
        if kind == "stand-in":
            pieces = (SLOW_PIECES, SLOW_S) if slow else ()
            backend = stack.enter_context(standing_in(*pieces))
            port, process = stack.enter_context(serving("--backend", f"http://127.0.0.1:{backend}/v1"))
            yield port, process, "m"
            return
        settings = tiny_course(Path(stack.enter_context(tempfile.TemporaryDirectory()))) if kind == "tiny" else {}
        port, process = stack.enter_context(serving(**settings))
        yield port, process, "gemma-3-270m-sft"


def tiny_course(folder: Path) -> dict[str, str]:
    """Make a model of random weights in the place of the course's; return the settings under which it is served."""
    from tests.support.serving import save_tiny_course
    from tests.support.tiny_families import make

    return {**save_tiny_course(*make("gemma 3"), folder), "COURSE_RECIPE": "gemma-3-270m-cpu"}


def measure(kind: str, sizes: Sizes) -> dict:
    """Return all figures of one engine."""
    with engine(kind) as (port, process, model):
        figures = {
            "idle_connections": asyncio.run(idle_connections(port, process, sizes.connections)),
            "streams_at_once": asyncio.run(streams_at_once(port, model, sizes.streams)),
            "many_requests": asyncio.run(many_requests(port, process, model, sizes)),
        }
    with engine(kind, slow=True) as (port, process, model):
        figures["sigterm_to_exit"] = asyncio.run(told_to_end(port, process, model, sizes.running, LONGEST[kind]))
    return figures


def read_arguments() -> tuple[str, Sizes]:
    """Return the engine and the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", choices=LONGEST, default=next(iter(LONGEST)))
    for name, default in asdict(Sizes()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args())
    return given.pop("engine"), Sizes(**given)


def main() -> None:
    """Measure, print, and store what the documentation may name."""
    kind, sizes = read_arguments()
    room = raise_descriptor_limit(Limits(connections=sizes.connections))
    if room < sizes.connections:
        raise SystemExit(
            f"this process may hold {room} connections alone: raise its limit (ulimit -n) or give --connections"
        )
    results = {
        **about(("fastapi", "uvicorn", "chainlit", "transformers", "torch")),
        "engine": kind,
        "sizes": asdict(sizes),
        **measure(kind, sizes),
    }
    print(json.dumps(results, indent=2, ensure_ascii=False))
    if kind == "shipped" and sizes == Sizes():
        write_json(RESULTS, results)


if __name__ == "__main__":
    main()
