"""One call of `Teacher.ask` while it runs: many requests at a time, within the budget, each reply written as it comes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

from kotune.progress import bar
from kotune.teacher.claims import Claims
from kotune.teacher.connection import Connection
from kotune.teacher.costs import Budget
from kotune.teacher.endpoint import LEARNABLE, explain
from kotune.teacher.journal import ReplyStore
from kotune.teacher.recording import add_to_recording, recording_key
from kotune.teacher.refusals import parsed_body
from kotune.teacher.replies import Outcome, Reply, Request, Schema, read_completion, reply_of
from utils import CourseError

CONNECTIONS_A_POOL = 8
UNKEPT_A_WORKER = 2  # one on its way and one being written, so that a disk may be slow for a moment
ELSEWHERE_S = 0.05  # between two looks at a request that another process is asking
# Failures of requests that no model has seen; any other without a usage may have been billed.
NEVER_BILLED = {
    "not_recorded", "refused_key", "unknown_model", "forbidden", "insufficient_quota", "rate_limit", "bad_request",
    "status_400", "status_404", "status_413", "status_422",
}  # fmt: skip


@dataclass
class PendingRequest:
    """A request that must be sent: its key, the places that its reply belongs to, and what it may cost."""

    key: str
    request: Request
    places: list[int]
    prompt_tokens: int = 0
    highest_usd: float = 0.0
    is_elsewhere: bool = False  # another process was asking it when it was this run's turn


class Asking(Generic[Schema]):
    """Requests on their way to a teacher, their replies by key, and what they have used so far."""

    def __init__(
        self,
        connection: Connection,
        store: ReplyStore,
        budget: Budget,
        schema: type[Schema] | None,
        step: str,
        *,
        concurrency: int,
        recording: Path | None = None,
    ):
        """Take who is asked, where replies are kept and the budget; with `recording`, replies are recorded there as well."""
        self.connection, self.store, self.budget = connection, store, budget
        self.schema, self.step, self.concurrency, self.recording = schema, step, concurrency, recording
        self.replies: dict[str, Reply[Schema]] = {}
        self.halted: str | None = None  # why the requests that wait are not sent
        self.sent = self.prompt_tokens = self.completion_tokens = 0
        self.usd = 0.0
        self._broken_in_a_row = 0
        self._has_waited = False
        self._claims = Claims(store.journal.path)
        # sent, or answered and not yet on disk: what a process that dies leaves to be asked again
        self._unkept = asyncio.Semaphore(UNKEPT_A_WORKER * concurrency)

    async def run(self, pending: Sequence[PendingRequest]) -> None:
        """Send every request; when it returns, or is interrupted, all that was answered is kept."""
        waiting = deque(pending)
        self.store.failures.refresh()
        self.store.failures.by_others.clear()  # what failed before this run is asked again
        self._finished: asyncio.Queue = asyncio.Queue()
        with bar(len(pending), f"teacher: {self.step}", "request") as self._shown:
            writer = asyncio.create_task(self._write())
            count = min(self.concurrency, len(pending))
            # a pool looks at each of its connections for every request: several small ones take less time than one
            clients = [self.connection.endpoint.open_client() for _ in range(-(-count // CONNECTIONS_A_POOL))]
            workers = [asyncio.create_task(self._work(waiting, clients[i % len(clients)])) for i in range(count)]
            try:
                # a writer that ends early has failed, and there is no use in asking what cannot be kept
                ends: list[asyncio.Future] = [writer, asyncio.gather(*workers)]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                self._finished.put_nowait(None)
                try:
                    await writer  # what was answered before an interrupt is kept
                finally:
                    self._claims.release_all()
                for client in clients:
                    await client.close()
            for worker in workers:
                if not worker.cancelled():
                    worker.result()

    async def _work(self, waiting: deque[PendingRequest], client) -> None:
        while waiting:
            item = waiting.popleft()
            if item.is_elsewhere and not self.halted:
                await asyncio.sleep(ELSEWHERE_S)
            await self._unkept.acquire()
            if not self.halted and not self._claims.take(item.key):
                self._unkept.release()
                self._wait_for(item, waiting)
                continue
            is_kept = False
            try:
                is_kept = await self._settle(item, client)
            finally:
                if not is_kept:  # a reply's claim is released when it is on disk
                    self._release(item)
            self._shown.update(1)

    def _release(self, item: PendingRequest) -> None:
        self._claims.release(item.key)
        self._unkept.release()

    def _wait_for(self, item: PendingRequest, waiting: deque[PendingRequest]) -> None:
        """Come back later to a request that another process is asking."""
        if not self._has_waited:
            print("Another process is asking some of these requests; its replies are waited for, and paid for once.")
        self._has_waited = item.is_elsewhere = True
        waiting.append(item)

    async def _settle(self, item: PendingRequest, client) -> bool:
        """Answer a claimed request; return whether the writer has it, and will release its claim."""
        # in a thread where there is something to read: the file's lock may have to be waited for
        read = asyncio.to_thread(self.store.row_of, item.key) if self.store.has_news else None
        row = self.store.row_of(item.key) if read is None else await read
        if row is not None:  # another process has asked it since
            self.replies[item.key] = reply_of(row, self.schema)
        elif not await self._may_send(item):
            self.replies[item.key] = Reply(None, None, f"not sent: {self.halted}")
        else:
            started = time.monotonic()
            outcome, stop = await self._send(item, client)
            row = self.connection.row_of(item.key, item.request, self.schema, self.step, outcome)
            if row["usd"] is None and self.connection.price and outcome.failure not in NEVER_BILLED:
                # a reply that does not say its usage, or came too late, is taken to have cost what it could
                row |= {"usd": item.highest_usd, "usd_is_bound": True}
            self.budget.settle(item.highest_usd, row["usd"] or 0.0)
            self._finish(item, outcome, row | {"seconds": round(time.monotonic() - started, 3)})
            if stop and not self.halted:
                self.halted = outcome.error
            return True
        return False

    async def _may_send(self, item: PendingRequest) -> bool:
        """Return whether the budget bears a request at its dearest, once those in flight have shown what they cost."""
        while not self.halted:
            if self.budget.reserve(item.highest_usd):
                return True
            if self.budget.in_flight == 0:
                self.halted = (
                    f"the next request could cost USD {item.highest_usd:.6f}, and of the budget of USD "
                    f"{self.budget.limit_usd} there is USD {max(0.0, self.budget.left_usd):.6f} left (what is finished is "
                    "in the journal): raise budget_usd"
                )
            else:
                await asyncio.sleep(0.005)
        return False

    async def _send(self, item: PendingRequest, client) -> tuple[Outcome[Schema], bool]:
        """Return what came of a request, and whether every further request would meet the same error."""
        import httpx2
        import openai

        connection = self.connection
        while True:
            used = replace(connection.dialect)
            body = connection.body_of(item.request, self.schema, used)
            try:
                # the SDK's own POST, with its retries: a quarter less CPU time than chat.completions.create, which
                # walks through the whole body and reply, and unlike its parse() it leaves a bad reply's text
                response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response)
                self._broken_in_a_row = 0
                return self._read(response), False
            except openai.OpenAIError as error:
                refused = getattr(error, "status_code", None) in LEARNABLE
                if refused and connection.learn(error, used, item.request, self.schema):
                    continue
                kind, sentence, stop = explain(error, connection.model, connection.endpoint.scrub)
                # one connection may break; when none gets through any more, the rest would wait in vain
                self._broken_in_a_row = self._broken_in_a_row + 1 if kind == "connection" else 0
                stop = stop or self._broken_in_a_row > 2
            except (TypeError, ValueError) as error:  # half of a surrogate pair in a prompt, for one
                kind, sentence, stop = "bad_request", f"the request cannot be sent: {error}", False
            return Outcome(failure=kind, error=sentence), stop

    def _read(self, response) -> Outcome[Schema]:
        """Return what a reply holds, whatever the endpoint has put into it."""
        text = self.connection.endpoint.scrub(response.content.decode(errors="replace"))
        body = parsed_body(text)  # a page of HTML stays a text
        try:
            return read_completion(body, self.schema)
        except Exception as error:  # it was paid for: it must not take the others down with it
            said = f"the reply cannot be read ({type(error).__name__}: {error})"
            return Outcome(text[:2000], failure="unreadable", error=said)

    def _finish(self, item: PendingRequest, outcome: Outcome[Schema], row: dict) -> None:
        """Keep a reply for the caller, and hand its row to the writer."""
        self.sent += 1
        self.replies[item.key] = reply_of(row, self.schema, outcome)
        self._finished.put_nowait((item, row))
        if outcome.usage:
            self.prompt_tokens += outcome.usage.prompt_tokens
            self.completion_tokens += outcome.usage.completion_tokens
        self.usd += row["usd"] or 0.0
        tokens = self.prompt_tokens + self.completion_tokens
        self._shown.set_postfix_str(f"{tokens:,} tokens, USD {self.usd:.4f}", refresh=False)

    async def _write(self) -> None:
        """Write what has finished, as much as there is at a time, so that many replies share one sync to disk."""
        ended = False
        while not ended:
            entries = [await self._finished.get()]
            while not self._finished.empty():
                entries.append(self._finished.get_nowait())
            ended = None in entries
            finished = [entry for entry in entries if entry is not None]
            try:
                await asyncio.to_thread(self.store.keep, [row for _, row in finished])
            finally:
                for item, _ in finished:
                    self._release(item)
            if self.recording is not None:
                await asyncio.to_thread(self._record, finished, self.recording)

    def _record(self, finished: Iterable[tuple[PendingRequest, dict]], recording: Path) -> None:
        name = self.schema.__name__ if self.schema else None
        rows = [
            {
                "key": recording_key(item.request.messages, name),
                "about": item.request.messages[-1]["content"][:60],
                "content": row["text"],
                "usage": row["usage"],
                "source": f"{self.connection.model}, {row['at'][:10]}",
            }
            for item, row in finished
            if "failure" not in row
        ]
        try:
            add_to_recording(rows, recording)
        except OSError as error:
            raise CourseError(
                f"{recording.name} cannot be written ({error.strerror}); the replies are in the journal: unset RECORD."
            ) from None
