"""Protects: idle and slow connections take nothing from others, and at shutdown running replies finish, or are told why not."""

import asyncio
import contextlib
import json
import logging
import socket

import pytest
import uvicorn

from kotune.models.sampling import Progress
from kotune.serving import app
from kotune.serving.connections import BACKLOG, Server, protocol_class, raise_descriptor_limit
from kotune.serving.desk import Desk
from kotune.serving.guard import Door, Guard, Limits

pytestmark = pytest.mark.slow  # servers, browsers and models are started

ASKED = {"model": "m", "messages": [{"role": "user", "content": "확정일자는 어디에서 받나요?"}]}
QUICK = Limits(head_s=0.3, body_s=0.5, connections=5)


class Talker:
    """A backend that says one piece at once and the others when it is allowed to."""

    name = "talker"

    def __init__(self, pieces=2):
        self.pieces, self.go_on, self.ended = pieces, asyncio.Event(), 0

    async def models(self):
        return ["m"]

    async def occupancy(self):
        return {}

    async def stream(self, request):
        try:
            yield Progress("주민", 1)
            for number in range(1, self.pieces):
                await self.go_on.wait()
                yield Progress("센터", number + 1)
            yield Progress("", self.pieces, "stop", 5)
        finally:
            self.ended += 1


@contextlib.asynccontextmanager
async def serving(limits=QUICK, connections=None):
    """Serve a Talker; yield (port, backend, server, the task that serves)."""
    backend = Talker()
    desk = Desk(backend, limits)
    await desk.open()
    with contextlib.closing(app.bind("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        door = Door(tuple(app.METHODS), app.METHODS, ("/health",), ("127.0.0.1",), None)
        config = uvicorn.Config(
            Guard(app.create_app(desk), door, limits), http=protocol_class(limits, connections or limits.connections),
            log_level="critical", timeout_graceful_shutdown=2, backlog=BACKLOG,
        )  # fmt: skip
        server = Server(config, desk)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield port, backend, server, task
        finally:
            backend.go_on.set()
            server.should_exit = True
            await task


async def connect(port, sent=b""):
    """Connect, with the first bytes there before the server looks: its times are short, and the machine may be slow."""
    link = socket.create_connection(("127.0.0.1", port))
    link.sendall(sent)
    return await asyncio.open_connection(sock=link)


def post(body, path="/v1/chat/completions"):
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


HEALTH = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


async def answer(reader):
    """Read a reply's head and body, as far as its length says."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 300)).decode().lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


async def rest(reader):
    """Read until the server closes; what it sent."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 300)
    return b""


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"G",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n",
        b"POST /generate HTTP/1.1\r\nx: " + b"a" * 5_000,
        b"\r\n",
        "GET /확정".encode(),
    ],
)
def test_who_sends_no_whole_head_is_shut_out_in_time(begun):
    async def run():
        async with serving() as (port, *_):
            reader, _ = await connect(port, begun)
            return await rest(reader)

    said = asyncio.run(run())
    assert said == b"" or b" 408 " in said.split(b"\r\n")[0] or b" 400 " in said.split(b"\r\n")[0]


@pytest.mark.parametrize("first", [b"", HEALTH, post({"model": "m"}), b"POST /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"])
def test_a_head_byte_by_byte_is_shut_out_as_well_first_or_later(first):
    async def run():
        async with serving() as (port, *_):
            reader, writer = await connect(port, first)
            if first:
                await answer(reader)
            for byte in b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: " + b"a" * 100:
                if writer.is_closing() or reader.at_eof():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
            return await rest(reader)

    said = asyncio.run(run())
    assert said == b"" or b" 408 " in said.split(b"\r\n")[0]


def test_a_body_that_was_refused_is_not_waited_for():
    async def run():
        async with serving() as (port, *_):
            head = b"POST /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n"
            reader, writer = await connect(port, head)
            status = (await answer(reader))[0]
            for _ in range(100):
                if writer.is_closing() or reader.at_eof():
                    break
                writer.write(b"x")
                await asyncio.sleep(0.02)
            return status, await rest(reader)

    assert asyncio.run(run()) == (404, b"")


@pytest.mark.parametrize("slow", [b"content-length: 100\r\n\r\n{", b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"])
def test_a_body_that_does_not_come_is_a_408(slow):
    async def run():
        async with serving() as (port, *_):
            head = b"POST /generate HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            reader, _ = await connect(port, head + slow)
            return await answer(reader)

    status, said = asyncio.run(run())
    assert status == 408 and "did not come within" in said["error"]["message"]


def test_a_body_in_chunks_that_grows_too_large_is_a_413():
    async def run():
        async with serving(Limits(body_bytes=1_000)) as (port, *_):
            head = b"POST /generate HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
            reader, _ = await connect(
                port, head + b"100\r\n" + b"x" * 256 + b"\r\n" + (b"100\r\n" + b"x" * 256 + b"\r\n") * 9
            )
            return await answer(reader)

    assert asyncio.run(run())[0] == 413


def test_a_connection_beyond_the_bound_is_refused_and_a_free_place_is_taken_again(caplog):
    async def run():
        async with serving(Limits(connections=5, head_s=300)) as (port, *_):
            held = [await connect(port) for _ in range(5)]
            await asyncio.sleep(0.1)
            more = [await connect(port) for _ in range(20)]  # asyncio closes a connection whose writer is let go
            refused = [await answer(reader) for reader, _ in more]
            held[0][1].close()
            await asyncio.sleep(0.1)
            reader, _ = await connect(port, HEALTH)
            return refused, await answer(reader)

    with caplog.at_level(logging.INFO, logger="serve"):
        refused, (status, _) = asyncio.run(run())
    assert {status for status, _ in refused} == {503} and status == 200
    assert "all the connections" in refused[0][1]["error"]["message"]
    assert len([line for line in caplog.messages if "refused" in line]) == 1  # no line for each


def test_a_reply_may_take_longer_than_a_head():
    async def run():
        async with serving() as (port, backend, *_):
            reader, _ = await connect(port, post(ASKED))
            await asyncio.sleep(3 * QUICK.head_s)
            backend.go_on.set()
            return await answer(reader)

    status, said = asyncio.run(run())
    assert status == 200 and said["choices"][0]["message"]["content"] == "주민센터"


def test_one_connection_serves_many_requests():
    async def run():
        async with serving() as (port, *_):
            reader, writer = await connect(port, HEALTH)
            said = [(await answer(reader))[0]]
            for _ in range(2):
                writer.write(HEALTH)
                said.append((await answer(reader))[0])
            writer.write(HEALTH * 3)
            return said + [(await answer(reader))[0] for _ in range(3)]

    assert asyncio.run(run()) == [200] * 6


def test_as_many_connections_are_let_in_as_there_are_descriptors():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (700, hard))
        allowed = raise_descriptor_limit(Limits())
        now = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert now > 700 and allowed == 1024 and now >= allowed + 64 + BACKLOG
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- shutdown --------------------------------------------------------------------------------


async def end_while_streaming(shutdown_s, *, finishes, stream=True):
    """Tell a server to end in mid-reply; return what the client got, what a new request got, and the backend."""
    async with serving(Limits(shutdown_s=shutdown_s)) as (port, backend, server, task):
        late, late_writer = await connect(port, HEALTH)
        await answer(late)
        reader, _ = await connect(port, post(ASKED | {"stream": stream}))
        while not server.desk.slots.taken:
            await asyncio.sleep(0.01)
        begun = await reader.readuntil("주민".encode()) if stream else b""
        server.handle_exit(15, None)
        await asyncio.sleep(0.3)
        late_writer.write(post(ASKED))
        new = await answer(late) if finishes or shutdown_s > 1 else None
        if finishes:
            backend.go_on.set()
        said = begun + await rest(reader)
        await task
        return said.decode(), new, backend


def test_a_running_reply_finishes_and_a_new_one_is_not_begun():
    said, (status, refused), backend = asyncio.run(end_while_streaming(20, finishes=True))
    assert "센터" in said and '"finish_reason": "stop"' in said and "[DONE]" in said and backend.ended == 1
    assert status == 503 and refused["error"]["code"] == "server_closing"


def test_a_stream_that_does_not_finish_in_time_ends_with_an_error_event():
    said, _, backend = asyncio.run(end_while_streaming(0.8, finishes=False))
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith("data: {")]
    assert events[-1]["error"]["code"] == "server_closing" and events[-1]["error"]["type"] == "server_error"
    assert "주민" in said and "[DONE]" in said and backend.ended == 1


def test_a_whole_reply_that_does_not_finish_in_time_is_a_503():
    said, _, backend = asyncio.run(end_while_streaming(0.8, finishes=False, stream=False))
    assert " 503 " in said.split("\r\n")[0] and "not finished in time" in said and backend.ended == 1


def test_a_second_interrupt_ends_replies_at_once():
    async def run():
        async with serving(Limits(shutdown_s=300)) as (port, _backend, server, task):
            reader, _writer = await connect(port, post(ASKED | {"stream": True}))
            while not server.desk.slots.taken:
                await asyncio.sleep(0.01)
            server.handle_exit(2, None)
            server.handle_exit(2, None)
            said = await rest(reader)
            await task
            return said.decode(), server.interrupted

    said, interrupted = asyncio.run(run())
    assert "server_closing" in said and interrupted
