"""The teacher model: ask many requests at once, lose nothing, pay nothing twice.

    who = teacher.connect(budget_usd=1.0)
    print(who.estimate(requests, schema))
    replies = who.ask(requests, schema)

Every finished reply goes into a journal before it counts, so that a run that was killed, or is run again, asks
only what is missing. A request that fails is a Reply with an error, and a line in `failures.jsonl` beside the journal.
Which endpoint answers is chosen by the settings; without any it is the recording (see `endpoint.py`).
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from kotune.progress import bar
from kotune.teacher import batches
from kotune.teacher.costs import (
    ASSUMED_START_S,
    ASSUMED_TOKENS_PER_S,
    Budget,
    CostEstimate,
    StepCost,
    Usage,
    price_of,
    price_table,
    token_counter,
)
from kotune.teacher.endpoint import Dialect, Endpoint, dialect_of, endpoint_of_settings, explain, request_body
from kotune.teacher.event_loop import run_in_own_thread
from kotune.teacher.journal import FailureLog, Journal, beside
from kotune.teacher.recording import RECORDING, add_to_recording, recording_key
from kotune.teacher.replies import (
    Outcome,
    Reply,
    Request,
    as_request,
    journal_key,
    read_completion,
    reply_of,
    schema_name,
    schema_text,
)
from prompts import Message
from utils import OUTPUTS, CourseError, setting

Asked = str | Sequence[Message] | Request

DEFAULT_MODEL = "gpt-4o-mini"
RECORDED_MODEL = "recording"  # the name under which recorded replies stand in the journal: never a model's
MAX_COMPLETION_TOKENS = 2048  # bounds what one request can cost
CONNECTIONS_A_POOL = 8
_LEARNING = threading.Lock()  # over the dialects, which all teachers of a process share
# Failures of requests that no model has seen; any other without a usage may have been billed.
NEVER_BILLED = {
    "not_recorded", "refused_key", "unknown_model", "forbidden", "insufficient_quota", "rate_limit", "bad_request",
    "status_400", "status_404", "status_413", "status_422",
}  # fmt: skip


@dataclass
class _Pending:
    """A request that must be sent: its key, the places that its reply belongs to, and what it may cost."""

    key: str
    request: Request
    places: list[int]
    prompt_tokens: int = 0
    highest_usd: float = 0.0


@dataclass
class _Run:
    """What the requests of one `ask` share while they run."""

    schema: type[BaseModel] | None
    step: str
    budget: Budget
    finished: asyncio.Queue
    shown: object
    halted: str | None = None
    replies: dict[str, Reply] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    sent: int = 0
    broken_in_a_row: int = 0


class Teacher:
    """A connected teacher; `endpoint.name` says in words who answers."""

    def __init__(
        self,
        *,
        model: str,
        endpoint: Endpoint,
        journal: str | Path,
        budget_usd: float | None,
        concurrency: int,
        max_completion_tokens: int,
        recording: Path,
    ):
        """Open the journal and the log of failures; users call `connect`."""
        self.model, self.endpoint, self.concurrency = model, endpoint, concurrency
        self.price = price_of(model)
        self.journal = Journal(journal)
        self.failures = FailureLog(beside(self.journal.path, "failures"))
        self.budget_usd, self.max_completion_tokens = budget_usd, max_completion_tokens
        self.dialect = dialect_of(endpoint.name)
        self.steps: list[StepCost] = []
        self._recording = recording

    def __repr__(self) -> str:
        """Return who answers; never a key."""
        return f"Teacher({self.endpoint.name})"

    @property
    def model_in_journal(self) -> str:
        """The model whose replies the journal is asked for: recorded replies never pass for a model's."""
        return RECORDED_MODEL if self.endpoint.is_recording else self.model

    def key_of(self, request: Request, schema: type[BaseModel] | None) -> str:
        """Return the key under which a request's reply stands in the journal."""
        return journal_key(self.model_in_journal, request, schema)

    @property
    def spent_usd(self) -> float:
        """What this journal's replies and failures have cost, and what its batches that are at work may cost yet."""
        log = batches.log_of(self.journal.path)
        return self.journal.spent_usd + self.failures.spent_usd + (log.highest_usd_at_work() if log else 0.0)

    def _spent_by_others_usd(self) -> float:
        return self.journal.spent_by_others_usd + self.failures.spent_by_others_usd

    # --- before ---

    def estimate(
        self, requests: Sequence[Asked], schema: type[BaseModel] | None = None, likely_tokens: int | None = None
    ) -> CostEstimate:
        """Return what `ask` would take, without asking; replies that the journal has cost nothing.

        The likely length of a reply is the journal's mean for this schema; else `likely_tokens`; else a quarter of
        the highest. With the recording, the price is what `model` would charge for the same requests.
        """
        pending, answered = self._sort_out([as_request(request) for request in requests], schema)
        return self._estimate(pending, len(answered), schema, likely_tokens)

    def _estimate(self, pending: Sequence[_Pending], answered: int, schema, likely_tokens: int | None) -> CostEstimate:
        # the encoding may be fetched where OpenAI is reached anyway; the recording and local servers need no network
        counter = token_counter(self.model, may_download=self.endpoint.is_openai)
        for item in pending:
            item.prompt_tokens = counter.messages(item.request.messages, schema_text(schema))
            if self.price:
                bound = math.ceil(item.prompt_tokens * counter.margin)
                item.highest_usd = self.price.usd(Usage(bound, self.longest_reply(item.request)))
        past = self._past(schema)
        caps = [self.longest_reply(item.request) for item in pending]
        each = past[0] if past else likely_tokens
        likely = round(sum(min(cap, cap / 4 if each is None else each) for cap in caps))
        seconds = past[1] if past else ASSUMED_START_S + likely / max(1, len(pending)) / ASSUMED_TOKENS_PER_S
        prompt = sum(item.prompt_tokens for item in pending)
        length = "measured in this journal" if past else "as given" if each is not None else "a quarter of the longest"
        prices = f"; prices of {price_table()['as_of']}" if self.price else ""
        return CostEstimate(
            model=self.model,
            requests=len(pending),
            from_journal=answered,
            prompt_tokens=prompt,
            completion_tokens_likely=likely,
            completion_tokens_highest=sum(caps),
            usd_low=self.price.usd(Usage(prompt, likely)) if self.price else None,
            usd_high=self.price.usd(Usage(prompt, sum(caps))) if self.price else None,
            minutes=math.ceil(len(pending) / self.concurrency) * seconds / 60,
            basis=f"prompt tokens by {counter.method}; likely length {length}{prices}",
        )

    def longest_reply(self, request: Request) -> int:
        """Return the most tokens that a reply may have."""
        given = request.parameters
        return given.get("max_completion_tokens") or given.get("max_tokens") or self.max_completion_tokens

    def _past(self, schema: type[BaseModel] | None) -> tuple[float, float] | None:
        """Return the mean completion tokens and seconds of this model's replies with this schema in the journal."""
        rows = [
            row
            for row in self.journal.rows.values()
            if row.get("schema") == schema_name(schema) and row.get("model") == self.model_in_journal
            and row.get("usage") and row.get("seconds") is not None
        ]  # fmt: skip
        if not rows:
            return None
        tokens = sum(row["usage"]["completion_tokens"] for row in rows) / len(rows)
        return tokens, sum(row["seconds"] for row in rows) / len(rows)

    def _sort_out(self, requests: Sequence[Request], schema) -> tuple[list[_Pending], dict[int, dict]]:
        """Return the requests to be sent, equal ones as one, and the journal's rows by the place of their request."""
        self.journal.refresh()
        pending: dict[str, _Pending] = {}
        answered: dict[int, dict] = {}
        for place, request in enumerate(requests):
            key = self.key_of(request, schema)
            if key in self.journal.rows:
                answered[place] = self.journal.rows[key]
            else:
                pending.setdefault(key, _Pending(key, request, [])).places.append(place)
        return list(pending.values()), answered

    # --- asking ---

    def ask(
        self,
        requests: Sequence[Asked],
        schema: type[BaseModel] | None = None,
        *,
        step: str | None = None,
        likely_tokens: int | None = None,
    ) -> list[Reply]:
        """Ask all requests, at most `concurrency` at a time, and return their replies in order.

        What the journal has is not asked again. A failed request is a Reply with an error, never an exception; after
        a refused key, an unknown model, spent credit or a spent budget the requests that wait are not sent. Works in a
        script and inside Jupyter's running event loop alike. `step` names the line in the ledger, and `likely_tokens`
        is for its estimate (see `estimate`).

        Raises:
            CourseError: a request is malformed, a budget is set for a model without a price, or the journal cannot
                be written; all but the last before anything is sent.
        """
        if isinstance(requests, str | dict | Request):
            raise CourseError("ask takes a list of requests; put the one into a list.")
        asked = [as_request(request) for request in requests]
        step = step or schema_name(schema)
        pending, answered = self._sort_out(asked, schema)
        replies: list[Reply | None] = [None] * len(asked)
        for place, row in answered.items():
            replies[place] = replace(reply_of(row, schema), id=asked[place].id or row["key"])
        if not pending:
            self.steps.append(StepCost(step=step, from_journal=len(answered)))
            return replies
        estimate = self._estimate(pending, len(answered), schema, likely_tokens)
        self._announce(estimate)
        log = batches.log_of(self.journal.path)
        at_work = log.at_work({item.key for item in pending}) if log else []
        if at_work:
            print(f"Some of these requests are in the batch {', '.join(at_work)}; they are asked and paid for once more.")
        started = time.monotonic()
        run = run_in_own_thread(lambda: self._run(pending, schema, step))
        for item in pending:
            for place in item.places:
                replies[place] = replace(run.replies[item.key], id=asked[place].id or item.key)
        self._enter_in_ledger(run, estimate, time.monotonic() - started)
        return replies

    def _announce(self, estimate: CostEstimate) -> None:
        if self.endpoint.is_recording:
            return
        if self.budget_usd is not None and self.price is None:
            raise CourseError(
                f"A budget needs a price, and {self.model} has none in the table of {price_table()['as_of']}: set "
                "TEACHER_PRICE to its USD per million tokens in and out, as in 0.15,0.60, or give no budget."
            )
        print(estimate)

    async def _run(self, pending: Sequence[_Pending], schema, step: str) -> _Run:
        waiting = iter(pending)
        with bar(len(pending), f"teacher: {step}", "request") as shown:
            others_before = self._spent_by_others_usd()
            budget = Budget(
                None if self.endpoint.is_recording else self.budget_usd,
                self.spent_usd,
                lambda: self._spent_by_others_usd() - others_before,
            )
            run = _Run(schema, step, budget, asyncio.Queue(), shown)
            writer = asyncio.create_task(self._write(run))
            count = min(self.concurrency, len(pending))
            # a pool looks at each of its connections for every request: several small ones take less time than one
            clients = [self.endpoint.open_client() for _ in range(-(-count // CONNECTIONS_A_POOL))]
            workers = [asyncio.create_task(self._work(waiting, run, clients[i % len(clients)])) for i in range(count)]
            try:
                # a writer that ends early has failed, and there is no use in asking what cannot be kept
                await asyncio.wait([writer, asyncio.gather(*workers)], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                run.finished.put_nowait(None)
                await writer  # what was answered before an interrupt is kept
                for client in clients:
                    await client.close()
            for worker in workers:
                if not worker.cancelled():
                    worker.result()
        return run

    async def _work(self, waiting: Iterator[_Pending], run: _Run, client) -> None:
        for item in waiting:
            if not await self._may_send(item, run):
                run.replies[item.key] = Reply(None, None, f"not sent: {run.halted}")
            elif item.key in self.journal.rows:  # another process has answered it since
                run.budget.settle(item.highest_usd, 0.0)
                run.replies[item.key] = reply_of(self.journal.rows[item.key], run.schema)
            else:
                started = time.monotonic()
                outcome, stop = await self._send(item, run, client)
                row = self.row_of(item.key, item.request, run.schema, run.step, outcome)
                if row["usd"] is None and self.price and outcome.failure not in NEVER_BILLED:
                    # a reply that does not say its usage, or came too late, is taken to have cost what it could
                    row |= {"usd": item.highest_usd, "usd_is_bound": True}
                run.budget.settle(item.highest_usd, row["usd"] or 0.0)
                self._finish(item, outcome, row | {"seconds": round(time.monotonic() - started, 3)}, run)
                if stop and not run.halted:
                    run.halted = outcome.error
            run.shown.update(1)

    async def _may_send(self, item: _Pending, run: _Run) -> bool:
        """Return whether the budget bears a request at its dearest, once those in flight have shown what they cost."""
        while not run.halted:
            if run.budget.reserve(item.highest_usd):
                return True
            if run.budget.in_flight == 0:
                run.halted = (
                    f"the next request could cost USD {item.highest_usd:.6f}, and of the budget of USD "
                    f"{self.budget_usd} there is USD {max(0.0, run.budget.left_usd):.6f} left (what is finished is in "
                    "the journal): raise budget_usd"
                )
            else:
                await asyncio.sleep(0.005)
        return False

    async def _send(self, item: _Pending, run: _Run, client) -> tuple[Outcome, bool]:
        """Return what came of a request, and whether every further request would meet the same error."""
        import httpx2
        import openai

        while True:
            used = replace(self.dialect)
            body = request_body(item.request, self.model, run.schema, used, self.max_completion_tokens)
            try:
                # the SDK's own POST, with its retries: a quarter less CPU time than chat.completions.create, which
                # walks through the whole body and reply, and unlike its parse() it leaves a bad reply's text
                response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response)
                run.broken_in_a_row = 0
                return self._read(response, run.schema), False
            except openai.OpenAIError as error:
                learnable = getattr(error, "status_code", None) in (400, 422, 501)
                if learnable and self._learns(error, used, item.request):
                    continue
                kind, sentence, stop = explain(error, self.model, self.endpoint.scrub)
                # one connection may break; when none gets through any more, the rest would wait in vain
                run.broken_in_a_row = run.broken_in_a_row + 1 if kind == "connection" else 0
                stop = stop or run.broken_in_a_row > 2
            except (TypeError, ValueError) as error:  # half of a surrogate pair in a prompt, for one
                kind, sentence, stop = "bad_request", f"the request cannot be sent: {error}", False
            return Outcome(failure=kind, error=sentence), stop

    def _read(self, response, schema) -> Outcome:
        """Return what a reply holds, whatever the endpoint has put into it."""
        text = self.endpoint.scrub(response.content.decode(errors="replace"))
        try:
            body = json.loads(text)
        except ValueError:  # a page of HTML, say
            body = text
        try:
            return read_completion(body, schema)
        except Exception as error:  # it was paid for: it must not take the others down with it
            said = f"the reply cannot be read ({type(error).__name__}: {error})"
            return Outcome(text[:2000], failure="unreadable", error=said)

    def _learns(self, error: Exception, used: Dialect, request: Request) -> bool:
        """Return whether to send again: the dialect has changed, by this refusal or another request's meanwhile."""
        with _LEARNING:
            if self.dialect != used:
                return True
            changed = self.dialect.learn(error, request)
        if changed:
            print(f"{self.endpoint.name} {changed}")
        return changed is not None

    def _usd(self, usage: Usage | None) -> float | None:
        if self.endpoint.is_recording:
            return 0.0
        return self.price.usd(usage) if self.price and usage else None

    def _finish(self, item: _Pending, outcome: Outcome, row: dict, run: _Run) -> None:
        """Keep a reply for the caller, and hand its row to the writer."""
        run.sent += 1
        run.replies[item.key] = reply_of(row, run.schema, outcome)
        run.finished.put_nowait((item, row))
        if outcome.usage:
            run.prompt_tokens += outcome.usage.prompt_tokens
            run.completion_tokens += outcome.usage.completion_tokens
        run.usd += row["usd"] or 0.0
        tokens = run.prompt_tokens + run.completion_tokens
        run.shown.set_postfix_str(f"{tokens:,} tokens, USD {run.usd:.4f}", refresh=False)

    def row_of(self, key: str, request: Request, schema, step: str, outcome: Outcome) -> dict:
        """Return a line for the journal, or, with the failure's class, its error and messages, for the failures."""
        row = {
            "key": key,
            "id": request.id,
            "step": step,
            "model": self.model_in_journal,
            "schema": schema_name(schema),
            "text": outcome.text,
            "usage": dict(vars(outcome.usage)) if outcome.usage else None,
            "usd": self._usd(outcome.usage),
            "served_by": outcome.served_by,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if outcome.failure:
            row |= {"failure": outcome.failure, "error": outcome.error, "messages": list(request.messages)}
        return row

    def keep(self, rows: Sequence[dict]) -> None:
        """Write finished replies into the journal and failed ones into the log of failures.

        Raises:
            CourseError: the disk is full, or the file cannot be written any more.
        """
        good = [row for row in rows if "failure" not in row]
        bad = [row for row in rows if "failure" in row]
        try:
            if good:
                self.journal.append(good)
            # another process was faster with the same request: its reply counts, and this one's cost is not forgotten
            bad += [
                row | {"failure": "answered_twice", "error": "another process answered this request meanwhile"}
                for row in good
                if self.journal.rows[row["key"]] is not row
            ]
            if bad:
                self.failures.append(bad)
        except OSError as error:
            raise CourseError(
                f"{self.journal.path.name} cannot be written ({error.strerror}): fix that and run again in a new session; "
                "replies written before are kept."
            ) from None

    async def _write(self, run: _Run) -> None:
        """Write what has finished, as much as there is at a time, so that many replies share one sync to disk."""
        ended, re_record = False, setting("RECORD") == "1" and not self.endpoint.is_recording
        while not ended:
            entries = [await run.finished.get()]
            while not run.finished.empty():
                entries.append(run.finished.get_nowait())
            ended = None in entries
            finished = [entry for entry in entries if entry is not None]
            await asyncio.to_thread(self.keep, [row for _, row in finished])
            if re_record:
                await asyncio.to_thread(self._record, finished, run.schema)

    def _record(self, finished: Iterable[tuple[_Pending, dict]], schema) -> None:
        name = schema.__name__ if schema else None
        rows = [
            {
                "key": recording_key(item.request.messages, name),
                "about": item.request.messages[-1]["content"][:60],
                "content": row["text"],
                "usage": row["usage"],
                "source": f"{self.model}, {row['at'][:10]}",
            }
            for item, row in finished
            if "failure" not in row
        ]
        try:
            add_to_recording(rows, self._recording)
        except OSError as error:
            raise CourseError(
                f"{self._recording.name} cannot be written ({error.strerror}); the replies are in the journal: unset RECORD."
            ) from None

    # --- after ---

    def _enter_in_ledger(self, run: _Run, estimate: CostEstimate, seconds: float) -> None:
        failed = sum(reply.error is not None for reply in run.replies.values())
        recorded = self.endpoint.is_recording
        step = StepCost(
            step=run.step,
            sent=run.sent,
            from_journal=estimate.from_journal,
            failed=failed,
            prompt_tokens_estimated=estimate.prompt_tokens,
            prompt_tokens=run.prompt_tokens,
            completion_tokens_estimated=estimate.completion_tokens_likely,
            completion_tokens=run.completion_tokens,
            usd_estimated=0.0 if recorded else estimate.usd_low,
            usd=run.usd if recorded or self.price else None,
            seconds=round(seconds, 1),
        )
        self.steps.append(step)
        if recorded:
            return
        spent = "unpriced" if step.usd is None else f"USD {step.usd:.4f} (estimated {step.usd_estimated:.4f})"
        print(f"{step.step}: {estimate.requests - failed} of {estimate.requests} answered in {seconds:.0f} s; {spent}")
        if run.halted:
            print(f"stopped: {run.halted}")

    def ledger(self):
        """Return a DataFrame with a row a step: requests, tokens and USD, actual beside estimated."""
        import pandas as pd

        return pd.DataFrame([asdict(step) for step in self.steps], columns=[field.name for field in fields(StepCost)])

    # --- half the price ---

    def submit(self, requests: Sequence[Asked], schema: type[BaseModel] | None = None, step: str | None = None) -> list[str]:
        """Hand requests to the Batch API, for half the price within a day; return the batches' ids.

        What the journal has, or an earlier batch is working on, is not submitted again. See `batches.submit`.
        """
        asked = [as_request(request) for request in requests]
        pending, answered = self._sort_out(asked, schema)
        if not pending:
            print(f"all {len(answered)} requests are answered in the journal; nothing to submit")
            return []
        estimate = self._estimate(pending, len(answered), schema, None)
        half = price_table()["batch_factor"]
        prices = {} if self.price is None else {"usd_low": estimate.usd_low * half, "usd_high": estimate.usd_high * half}
        self._announce(replace(estimate, minutes=None, **prices))
        highest = sum(item.highest_usd for item in pending) * half
        if self.budget_usd is not None and self.spent_usd + highest > self.budget_usd:
            raise CourseError(
                f"These {len(pending)} requests could cost USD {highest:.4f} as a batch, and USD "
                f"{self.budget_usd - self.spent_usd:.4f} of the budget is left: raise budget_usd or submit fewer."
            )
        requests_by_key = {item.key: item.request for item in pending}
        highest_by_key = {item.key: item.highest_usd * half for item in pending}
        return batches.submit(self, requests_by_key, highest_by_key, schema, step or schema_name(schema))

    def collect(self, batch_ids: str | Sequence[str], schema: type[BaseModel] | None = None) -> list[Reply]:
        """Return the replies of finished batches in the order of their requests. See `batches.collect`."""
        ids = [batch_ids] if isinstance(batch_ids, str) else list(batch_ids)
        return [reply for batch_id in ids for reply in batches.collect(self, batch_id, schema)]


def connect(
    model: str | None = None,
    *,
    journal: str | Path = OUTPUTS / "journal.jsonl",
    budget_usd: float | None = None,
    concurrency: int = 16,
    max_completion_tokens: int = MAX_COMPLETION_TOKENS,
    recording: str | Path = RECORDING,
) -> Teacher:
    """Connect to the endpoint that the settings name, or to the recording where they name none.

    `budget_usd` bounds what this journal may ever cost, earlier runs and submitted batches included; several processes
    at once may pass it by what they have in flight. `max_completion_tokens` bounds each
    reply, a reasoning model's hidden tokens included. With RECORD=1, a real teacher's replies go into `recording`.

    Raises:
        CourseError: a setting is malformed, or the journal cannot be read or written.
    """
    if concurrency < 1 or max_completion_tokens < 1:
        raise CourseError("concurrency and max_completion_tokens must be at least 1.")
    model = model or setting("TEACHER_MODEL") or DEFAULT_MODEL
    endpoint = endpoint_of_settings(model, Path(recording))
    return Teacher(
        model=model,
        endpoint=endpoint,
        journal=journal,
        budget_usd=budget_usd,
        concurrency=concurrency,
        max_completion_tokens=max_completion_tokens,
        recording=Path(recording),
    )


def has_real_teacher() -> bool:
    """Return whether the settings name a real endpoint, as against the recording."""
    return bool(setting("OPENAI_BASE_URL") or setting("OPENAI_API_KEY"))


def answered(replies: Sequence[Reply]) -> list[Reply]:
    """Return the replies without an error; say how many failed, and why.

    Raises:
        CourseError: not one request was answered.
    """
    good = [reply for reply in replies if reply.error is None]
    errors = Counter(reply.error for reply in replies if reply.error is not None)
    if replies and not good:
        raise CourseError(f"None of {len(replies)} requests was answered: {errors.most_common(1)[0][0]}.")
    for error, count in errors.most_common():
        print(f"{count} of {len(replies)} requests failed: {error}.")
    return good
