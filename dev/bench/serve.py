"""What the server costs on top of its engine, and whether fifty people who read at once get the same.

    python dev/bench/serve.py        (part of `make bench`)

A load generator on loopback, in a process apart from the server. The overhead and the page's first token are measured
before a stand-in engine that answers at known times; fairness and memory on Gemma 3 270M in the server's own engine.
Writes dev/bench/results/serve.json.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about
from utils import ROOT, write_json

READERS = 50
ENDS_S = 35  # a server's bound (docs/serving.md)
PIECES, FIRST_S, EACH_S = 20, 0.05, 0.005  # of the stand-in
QUESTIONS = [
    "전세와 월세의 가장 큰 차이를 알려 주세요.",
    "확정일자는 어디에서 받을 수 있나요?",
    "등기부에 적힌 근저당권은 무엇을 뜻하나요?",
    "이사한 뒤 전입신고를 미루면 어떤 위험이 있는지 설명해 주세요.",
    "보증금을 돌려받지 못한 채 이사해야 할 때 할 수 있는 일을 알려 주세요.",
]


# --- a stand-in engine -----------------------------------------------------------------------


def stand_in(port: multiprocessing.Value, pieces: int, each_s: float) -> None:
    """Stream a reply at known times to every request, on one event loop, with as little work as HTTP/1.1 allows."""

    def event(delta: dict, finish: str | None) -> bytes:
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        line = json.dumps({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}, ensure_ascii=False)
        payload = f"data: {line}\n\n".encode()
        return f"{len(payload):x}\r\n".encode() + payload + b"\r\n"

    piece, end = event({"content": "가나다 "}, None), event({}, "stop")
    done = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    listed = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode()
    models = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(listed)}\r\n\r\n".encode() + listed
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def handle(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                line = await reader.readuntil(b"\r\n\r\n")
                if line.startswith(b"GET"):
                    writer.write(models)
                    continue
                await reader.readexactly(int(line.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                await asyncio.sleep(FIRST_S)
                writer.write(head + piece)
                for _ in range(pieces - 1):
                    await asyncio.sleep(each_s)
                    if writer.is_closing():
                        return
                    writer.write(piece)
                writer.write(end + done)
                await writer.drain()

    async def main():
        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(main())


@contextlib.contextmanager
def standing_in(pieces: int = PIECES, each_s: float = EACH_S):
    """Run the stand-in, whose replies have so many pieces so far apart; give its port."""
    port = multiprocessing.Value("i", 0)
    process = multiprocessing.Process(target=stand_in, args=(port, pieces, each_s), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.01)
    yield port.value
    process.terminate()
    process.join()


@contextlib.contextmanager
def serving(*arguments: str, **environment: str):
    """Run `kotune serve` in a process of its own, with settings of it alone; give its port and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "kotune", "serve", "--port", str(port), *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for line in process.stdout:
        if line.startswith("The page:"):
            break
    else:
        raise SystemExit("the server did not start; run `kotune serve` by hand to see why")
    try:
        yield port, psutil.Process(process.pid)
    finally:
        if process.poll() is not None:
            pass
        elif os.name == "nt":  # there Ctrl-C goes to a whole console, this one included
            process.terminate()
        else:
            process.send_signal(signal.SIGINT)
        process.wait(ENDS_S)


# --- readers ---------------------------------------------------------------------------------


@dataclass
class Read:
    """What one reader saw: when each piece came, in seconds after the question."""

    pieces: list[float] = field(default_factory=list)
    ended: float = 0.0

    @property
    def rate(self) -> float:
        """Pieces a second, from the question to the end."""
        return len(self.pieces) / self.ended


class Client:
    """An HTTP/1.1 connection that is kept open, as a person's program keeps it."""

    def __init__(self, port: int):
        self.port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def ask(self, question: str, model: str, tokens: int) -> Read:
        """Stream one reply."""
        body = {"model": model, "stream": True, "max_tokens": tokens, "messages": [{"role": "user", "content": question}]}
        payload = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        read, started = Read(), time.perf_counter()
        self.writer.write(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        first = await self.reader.readline()
        if b" 200 " not in first:
            raise SystemExit(f"the server answered {first.decode().strip()}")
        while (line := await self.reader.readline()) != b"0\r\n":
            now = time.perf_counter() - started
            if b'"content": "' in line and b'"content": ""' not in line:
                read.pieces.append(now)
        await self.reader.readline()
        read.ended = time.perf_counter() - started
        return read


async def one_by_one(port: int, requests: int) -> list[Read]:
    """Ask so often in turn over one connection."""
    async with Client(port) as client:
        await client.ask(QUESTIONS[0], "m", 64)  # connections and imports are not what is measured
        return [await client.ask(QUESTIONS[0], "m", 64) for _ in range(requests)]


async def all_at_once(port: int, readers: int, model: str, tokens: int) -> list[Read]:
    """Ask with so many people at the same moment."""

    async def person(number: int) -> Read:
        async with Client(port) as client:
            return await client.ask(f"{QUESTIONS[number % len(QUESTIONS)]} ({number + 1})", model, tokens)

    return await asyncio.gather(*(person(number) for number in range(readers)))


async def on_the_page(port: int, people: int) -> list[float]:
    """Ask on so many pages at the same moment, as a browser does; return the seconds to each first piece."""
    import socketio

    async def person() -> float:
        browser, first, ready = socketio.AsyncClient(reconnection=False), asyncio.Event(), asyncio.Event()
        browser.on("stream_start", lambda *_: first.set())
        browser.on("chat_settings", lambda *_: ready.set())
        url, auth = f"http://127.0.0.1:{port}", {"sessionId": str(uuid4()), "clientType": "webapp", "userEnv": "{}"}
        await browser.connect(url, socketio_path="/ws/socket.io", auth=auth, transports=["websocket"])
        await browser.emit("connection_successful")
        await asyncio.wait_for(ready.wait(), 60)
        started = time.perf_counter()
        message = {"id": str(uuid4()), "name": "user", "type": "user_message", "output": QUESTIONS[0], "createdAt": None}
        await browser.emit("client_message", {"message": message, "fileReferences": []})
        await asyncio.wait_for(first.wait(), 60)
        seconds = time.perf_counter() - started
        await asyncio.sleep(PIECES * EACH_S + 0.2)
        await browser.disconnect()
        return seconds

    return await asyncio.gather(*(person() for _ in range(people)))


# --- what is measured ------------------------------------------------------------------------


def milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 2)


def overhead(requests: int = 300) -> dict:
    """Return what the server adds to a request, and to the first piece on the page, before the stand-in."""
    with standing_in() as engine, serving("--backend", f"http://127.0.0.1:{engine}/v1") as (port, _):
        direct, through = (asyncio.run(one_by_one(where, requests)) for where in (engine, port))
        own = statistics.median(read.pieces[0] for read in direct)
        pages = {people: asyncio.run(on_the_page(port, people)) for people in (1, READERS)}

    def added(of) -> dict:
        before, after = sorted(map(of, direct)), sorted(map(of, through))
        at = (("median_ms", 0.5), ("p95_ms", 0.95))
        return {name: milliseconds(after[int(share * requests)] - before[int(share * requests)]) for name, share in at}

    return {
        "requests": requests,
        "engine": f"first piece after {FIRST_S * 1000:g} ms, {PIECES} pieces {EACH_S * 1000:g} ms apart",
        "added_to_first_piece": added(lambda read: read.pieces[0]),
        "added_to_whole_request": added(lambda read: read.ended),
        "page_first_piece_after_the_engines_s": {
            f"{people}_at_once": {"median": round(statistics.median(s) - own, 3), "worst": round(max(s) - own, 3)}
            for people, s in pages.items()
        },
    }


def jain(rates: list[float]) -> float:
    """Return Jain's fairness index: 1 where all have the same, 1/n where one has everything (Jain 1984)."""
    return sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates))


def fairness(rounds: int = 3, tokens: int = 48) -> dict:
    """Return how fifty readers fare at once on the real model, round after round, and the server's memory."""
    with serving() as (port, process):
        asyncio.run(all_at_once(port, 1, "gemma-3-270m-sft", 8))
        memory, shown = [process.memory_info().rss], []
        for _ in range(rounds):
            started = time.perf_counter()
            reads = asyncio.run(all_at_once(port, READERS, "gemma-3-270m-sft", tokens))
            seconds = time.perf_counter() - started
            memory.append(process.memory_info().rss)
            rates = [read.rate for read in reads]
            gaps = [later - earlier for read in reads for earlier, later in pairwise(read.pieces)]
            shown.append({
                "tokens_per_s": round(sum(len(read.pieces) for read in reads) / seconds, 1),
                "first_token_s": {"median": round(statistics.median(r.pieces[0] for r in reads), 2),
                                  "worst": round(max(r.pieces[0] for r in reads), 2)},
                "tokens_per_s_of_a_reader": {"least": round(min(rates), 2), "most": round(max(rates), 2)},
                "longest_silence_s": round(max(gaps), 2),
                "jain": round(jain(rates), 4),
            })  # fmt: skip
        alone = asyncio.run(all_at_once(port, 1, "gemma-3-270m-sft", tokens))[0]
    return {
        "readers": READERS,
        "rounds": shown,
        "alone": {"first_token_s": round(alone.pieces[0], 2), "tokens_per_s": round(alone.rate, 1)},
        "memory_megabytes_after_each_round": [round(held / 1e6) for held in memory],
    }


def main() -> None:
    """Measure, print and store."""
    results = {
        **about(("fastapi", "chainlit", "transformers", "torch")),
        "overhead": overhead(),
        "fifty_readers": fairness(),
    }
    print(json.dumps(results, indent=2, ensure_ascii=False))
    write_json(ROOT / "dev" / "bench" / "results" / "serve.json", results)


if __name__ == "__main__":
    main()
