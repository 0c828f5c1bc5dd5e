"""uvicorn's server with what its settings lack: a bound on connections, a time for a request's head, and an end in order.

An idle connection costs a descriptor, and asking for nothing needs no key. uvicorn's own bound (`limit_concurrency`)
counts once a request has come, and its only time (`timeout_keep_alive`) begins after the first reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import time
from collections.abc import Iterator

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kotune.serving.desk import Desk
from kotune.serving.guard import Limits, problem

BACKLOG = 128  # as many connections are accepted at one go, before any of them can be refused
OTHER_DESCRIPTORS = BACKLOG + 256  # of libraries, logs, the engine and the loop itself
TOLD_EVERY_S = 60.0
LAST_WORDS_S = 1.0  # for the error events of replies that were ended
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
log = logging.getLogger("serve")


def raise_descriptor_limit(limits: Limits) -> int:
    """Ask the system for as many descriptors as the limits need; return how many connections fit into what it gives."""
    others = OTHER_DESCRIPTORS + limits.concurrent  # each reply from a backend has a connection of its own
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return limits.connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connections + others
    if soft != resource.RLIM_INFINITY and soft < wanted:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return limits.connections if soft == resource.RLIM_INFINITY else max(1, min(limits.connections, soft - others))


class Refusals:
    """Counts connections that were refused, and tells of them in one line a minute: a line for each would fill the disk."""

    def __init__(self) -> None:
        self.number, self.told = 0, float("-inf")

    def add(self, bound: int) -> None:
        """Count one more."""
        self.number += 1
        if time.monotonic() - self.told >= TOLD_EVERY_S:
            log.warning("%d connections refused: there are %d already.", self.number, bound)
            self.number, self.told = 0, time.monotonic()


def protocol_class(limits: Limits, connections: int) -> type[H11Protocol]:
    """Return uvicorn's protocol with these limits; a connection beyond the bound gets 503, a slow head 408."""
    refusals = Refusals()

    class BoundedProtocol(H11Protocol):
        head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport) -> None:
            super().connection_made(transport)
            if len(self.connections) > connections:
                refusals.add(connections)
                self._refuse(503, "This server has all the connections that it may have; try again later.", "busy")
                return
            self._await_head()

        def connection_lost(self, exc) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self.transport.get_protocol() is not self or self._answering:
                self._stop_waiting()
            elif self.head_timer is None:  # the next request has begun, or a body that nobody reads goes on
                self._await_head()

        def on_response_complete(self) -> None:
            self._stop_waiting()
            super().on_response_complete()

        @property
        def _answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _await_head(self) -> None:
            self.head_timer = self.loop.call_later(limits.head_s, self._too_slow)

        def _stop_waiting(self) -> None:
            if self.head_timer is not None:
                self.head_timer.cancel()
                self.head_timer = None

        def _too_slow(self) -> None:
            self.head_timer = None
            if self.transport.is_closing() or self._answering:
                return
            if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
                self._refuse(408, f"The request's head did not come within {limits.head_s:g} s.", "too_slow")
            else:
                self.transport.abort()

        def _refuse(self, status: int, sentence: str, code: str) -> None:
            body = json.dumps(problem(status, sentence, code)).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            events = (
                h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")]),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()
            if self.transport.get_write_buffer_size():  # a peer that does not read would keep it open
                self.loop.call_later(limits.head_s, self.transport.abort)

    return BoundedProtocol


def config_for(app, limits: Limits) -> uvicorn.Config:
    """Return uvicorn's settings for an application behind its guard, with these limits."""
    return uvicorn.Config(
        app, http=protocol_class(limits, raise_descriptor_limit(limits)), backlog=BACKLOG,
        access_log=False, log_level="warning", server_header=False, lifespan="off", ws_max_size=1_000_000,
        timeout_keep_alive=30, timeout_graceful_shutdown=3, h11_max_incomplete_event_size=65_536,
    )  # fmt: skip


def address_shown(host: str, listening: socket.socket) -> str:
    """Return the address of a listening socket as a browser takes it."""
    host = host.strip("[]").lower()
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


class Server(uvicorn.Server):
    """uvicorn's server, which on a signal lets running replies finish in their time before it closes their connections.

    SIGHUP counts as SIGTERM does, and no signal is raised once more at the end, where it would cut off what is to be done.
    desk: where replies are written; None for a server that writes none.
    """

    def __init__(self, config: uvicorn.Config, desk: Desk | None):
        super().__init__(config)
        self.desk = desk

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let each signal that ends a program end this server in order, unless it is ignored (as SIGHUP under nohup)."""
        earlier = {n: signal.signal(n, self.handle_exit) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return signal.SIGINT in self._captured_signals

    async def shutdown(self, sockets=None) -> None:
        """Take no new connection, wait for running replies, then end those that are left with an error, and close."""
        for server in self.servers:
            server.close()
        if self.desk is not None:
            await self._end_replies(self.desk)
        await super().shutdown(sockets)

    async def _end_replies(self, desk: Desk) -> None:
        desk.close_within(desk.limits.shutdown_s)
        ends = time.monotonic() + desk.limits.shutdown_s + LAST_WORDS_S
        while desk.slots.taken and time.monotonic() < ends:
            if self.force_exit:  # Ctrl-C once more
                desk.close_within(0)
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def told_to_end() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what comes before and after the serving as an exception does, so that nothing is left."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(0)  # the one exception beside KeyboardInterrupt that asyncio lets through

    numbers = [number for number in SIGNALS if number != signal.SIGINT and signal.getsignal(number) is signal.SIG_DFL]
    earlier = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
