"""How much of an endpoint's capacity the teacher uses, and what its journal costs.

    python dev/bench/teacher.py        (part of `make bench`)

A local server answers every request after a fixed time, in a process of its own. The ideal rate is concurrency /
latency. Writes dev/bench/results/teacher.json.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about
from utils import ROOT, write_json

os.environ["TQDM_DISABLE"] = "1"

LATENCY_S = 0.25
COMPLETION = {
    "id": "x", "object": "chat.completion", "created": 0, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "답입니다. " * 20, "refusal": None}}],
    "usage": {"prompt_tokens": 40, "completion_tokens": 60, "total_tokens": 100},
}  # fmt: skip


def serve(port: multiprocessing.Value, latency_s: float) -> None:
    """Answer each request after a fixed time, on one event loop, with as little work as HTTP/1.1 allows."""
    payload = json.dumps(COMPLETION, ensure_ascii=False).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    answer = head.encode() + payload

    async def handle(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):  # the client has closed the connection
            while True:
                line = await reader.readuntil(b"\r\n\r\n")
                length = int(line.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                await asyncio.sleep(latency_s)
                writer.write(answer)
                await writer.drain()

    async def main():
        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(main())


def start_server(latency_s: float) -> multiprocessing.Process:
    """Start the server and point the settings at it."""
    port = multiprocessing.Value("i", 0)
    process = multiprocessing.Process(target=serve, args=(port, latency_s), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.01)
    os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{port.value}/v1"
    os.environ["OPENAI_API_KEY"] = "none"
    return process


def rate(concurrency: int, requests: int, folder: Path) -> dict:
    """Return requests per second beside the ideal, from the first request to the last line on disk."""
    from kotune.teacher import client

    server = start_server(LATENCY_S)
    who = client.connect(journal=folder / f"rate-{concurrency}.jsonl", concurrency=concurrency)
    who.ask(["데우기"])  # imports and first connections are not what is measured
    started = time.monotonic()
    replies = who.ask([f"질문 {i}" for i in range(requests)])
    seconds = time.monotonic() - started
    server.terminate()
    assert all(reply.error is None for reply in replies)
    ideal = concurrency / LATENCY_S
    return {
        "concurrency": concurrency, "latency_s": LATENCY_S, "requests": requests, "seconds": round(seconds, 2),
        "requests_per_s": round(requests / seconds, 1), "share_of_ideal": round(requests / seconds / ideal, 3),
    }  # fmt: skip


def own_cpu(requests: int, folder: Path) -> dict:
    """Return the CPU seconds of asking and journalling so many requests, and of the journal's part alone."""
    from kotune.teacher import client
    from kotune.teacher.journal import Journal

    server = start_server(0.02)
    who = client.connect(journal=folder / "cpu.jsonl", concurrency=64)
    who.ask(["데우기"])
    before = time.process_time()
    who.ask([f"질문 {i}" for i in range(requests)])
    seconds = time.process_time() - before
    server.terminate()
    rows = list(who.journal.rows.values())
    alone = Journal(folder / "alone.jsonl")
    started = time.process_time()
    for i in range(0, len(rows), 16):
        alone.append(rows[i : i + 16])
    return {
        "requests": requests,
        "cpu_s": round(seconds, 2),
        "cpu_s_of_the_journal": round(time.process_time() - started, 2),
    }


def resume(replies: int, folder: Path) -> dict:
    """Return the seconds of opening a journal and getting all of its replies from it."""
    from kotune.teacher import client
    from kotune.teacher.replies import Request, journal_key

    os.environ["OPENAI_BASE_URL"] = "http://127.0.0.1:9/v1"
    asked = [f"질문 {i}: 전세 계약을 맺을 때 무엇을 확인해야 하나요?" for i in range(replies)]
    path = folder / "resume.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i, text in enumerate(asked):
            row = {"key": journal_key("gpt-4o-mini", Request(text), None), "id": None, "step": "text",
                   "model": "gpt-4o-mini", "schema": "text", "text": "확정일자는 주민센터에서 받습니다. " * 6,
                   "usage": {"prompt_tokens": 40, "completion_tokens": 60, "cached_tokens": 0}, "usd": 0.00004,
                   "at": "2026-01-01T00:00:00+00:00", "seconds": 1.0 + i % 7}  # fmt: skip
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    started = time.monotonic()
    got = client.connect(model="gpt-4o-mini", journal=path).ask(asked)
    seconds = time.monotonic() - started
    assert all(reply.from_journal for reply in got)
    return {"replies": replies, "megabytes": round(path.stat().st_size / 1e6, 1), "seconds": round(seconds, 2)}


def main() -> None:
    """Measure, print and store."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {
            **about(("openai",)),
            "rate": [rate(16, 1280, folder), rate(64, 5120, folder)],
            "own_cpu": own_cpu(10_000, folder),
            "resume": resume(100_000, folder),
        }
    print(json.dumps(results, indent=2, ensure_ascii=False))
    write_json(ROOT / "dev" / "bench" / "results" / "teacher.json", results)


if __name__ == "__main__":
    main()
