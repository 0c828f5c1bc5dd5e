"""The teacher model: ask many requests at once, lose nothing, pay nothing twice.

    who = teacher.connect(budget_usd=1.0)
    print(who.estimate(requests, schema))
    replies = who.ask(requests, schema)

Every finished reply goes into a journal before it counts, so that a run that was killed, or is run again, asks
only what is missing. A request that fails is a Reply with an error, and a line in `failures.jsonl` beside the journal.
Which endpoint answers is chosen by the settings; without any it is the recording (see `endpoint.py`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from pydantic import BaseModel

from kotune.language import said
from kotune.teacher import batches
from kotune.teacher.asking import Asking, PendingRequest
from kotune.teacher.connection import MAX_COMPLETION_TOKENS, Connection
from kotune.teacher.costs import (
    ASSUMED_START_S,
    ASSUMED_TOKENS_PER_S,
    Budget,
    CostEstimate,
    StepCost,
    Usage,
    price_table,
    token_counter,
)
from kotune.teacher.endpoint import Endpoint, endpoint_of_recording, endpoint_of_settings, patience_of_settings
from kotune.teacher.event_loop import run_in_own_thread
from kotune.teacher.journal import Journal, ReplyStore
from kotune.teacher.recording import RECORDING
from kotune.teacher.replies import Reply, Request, Schema, as_request, reply_of, schema_name, schema_text
from prompts import Message
from utils import OUTPUTS, CourseError, setting

Askable = str | Sequence[Message] | Request  # a text, a list of messages, or a request

DEFAULT_MODEL = "gpt-4o-mini"


class Teacher:
    """A connected teacher; `endpoint.name` says in words who answers."""

    def __init__(
        self, connection: Connection, store: ReplyStore, *, budget_usd: float | None, concurrency: int, recording: Path
    ):
        """Take who is asked and where replies are kept; users call `connect`."""
        self.connection, self.store = connection, store
        self.budget_usd, self.concurrency = budget_usd, concurrency
        self.steps: list[StepCost] = []
        self._recording = recording

    def __repr__(self) -> str:
        """Return who answers; never a key."""
        return f"Teacher({self.endpoint.name})"

    @property
    def endpoint(self) -> Endpoint:
        """Where requests go."""
        return self.connection.endpoint

    @property
    def model(self) -> str:
        """The model that is asked, by the endpoint's name for it."""
        return self.connection.model

    @property
    def model_in_journal(self) -> str:
        """The model whose replies the journal is asked for: recorded replies never pass for a model's."""
        return self.connection.model_in_journal

    @property
    def journal(self) -> Journal:
        """The replies that are kept."""
        return self.store.journal

    @property
    def spent_usd(self) -> float:
        """What this journal's replies and failures have cost, and what its batches that are at work may cost yet."""
        log = batches.log_of(self.store.journal.path)
        return self.store.spent_usd + (log.highest_usd_at_work() if log else 0.0)

    # --- before ---

    def estimate(
        self, requests: Sequence[Askable], schema: type[BaseModel] | None = None, likely_tokens: int | None = None
    ) -> CostEstimate:
        """Return what `ask` would take, without asking; replies that the journal has cost nothing.

        The likely length of a reply is the journal's mean for this schema; else `likely_tokens`; else a quarter of
        the highest. With the recording, the price is what `model` would charge for the same requests.
        """
        pending, answered = self._sort_out([as_request(request) for request in requests], schema)
        return self._estimate(pending, len(answered), schema, likely_tokens)

    def _estimate(self, pending: Sequence[PendingRequest], answered: int, schema, likely_tokens: int | None) -> CostEstimate:
        # the encoding may be fetched where OpenAI is reached anyway; the recording and local servers need no network
        counter = token_counter(self.connection.model, may_download=self.endpoint.is_openai)
        for item in pending:
            item.prompt_tokens = counter.messages(item.request.messages, schema_text(schema))
            if self.connection.price:
                bound = math.ceil(item.prompt_tokens * counter.margin)
                item.highest_usd = self.connection.price.usd(Usage(bound, self.connection.longest_reply(item.request)))
        past = self._past(schema)
        caps = [self.connection.longest_reply(item.request) for item in pending]
        each = past[0] if past else likely_tokens
        likely = round(sum(min(cap, cap / 4 if each is None else each) for cap in caps))
        seconds = past[1] if past else ASSUMED_START_S + likely / max(1, len(pending)) / ASSUMED_TOKENS_PER_S
        prompt = sum(item.prompt_tokens for item in pending)
        length = (
            said("measured in this journal", "저널에서 잰 평균")
            if past
            else said("as given", "알려 준 값")
            if each is not None
            else said("a quarter of the longest", "최대 길이의 4분의 1")
        )
        as_of = price_table()["as_of"]
        prices = said(f"; prices of {as_of}", f", 가격은 {as_of} 기준") if self.connection.price else ""
        return CostEstimate(
            model=self.connection.model,
            requests=len(pending),
            from_journal=answered,
            prompt_tokens=prompt,
            completion_tokens_likely=likely,
            completion_tokens_highest=sum(caps),
            usd_low=self.connection.price.usd(Usage(prompt, likely)) if self.connection.price else None,
            usd_high=self.connection.price.usd(Usage(prompt, sum(caps))) if self.connection.price else None,
            minutes=math.ceil(len(pending) / self.concurrency) * seconds / 60,
            basis=said(
                f"prompt tokens by {counter.method}; likely length {length}{prices}",
                f"프롬프트 토큰은 {counter.method}, 응답의 예상 길이는 {length}{prices}",
            ),
        )

    def _past(self, schema: type[BaseModel] | None) -> tuple[float, float] | None:
        """Return the mean completion tokens and seconds of this model's replies with this schema in the journal."""
        rows = [
            row
            for row in self.store.journal.rows.values()
            if row.get("schema") == schema_name(schema) and row.get("model") == self.model_in_journal
            and row.get("usage") and row.get("seconds") is not None
        ]  # fmt: skip
        if not rows:
            return None
        tokens = sum(row["usage"]["completion_tokens"] for row in rows) / len(rows)
        return tokens, sum(row["seconds"] for row in rows) / len(rows)

    def _sort_out(self, requests: Sequence[Request], schema) -> tuple[list[PendingRequest], dict[int, dict]]:
        """Return the requests to be sent, equal ones as one, and the journal's rows by the place of their request."""
        self.store.journal.refresh()
        pending: dict[str, PendingRequest] = {}
        answered: dict[int, dict] = {}
        for place, request in enumerate(requests):
            key = self.connection.key_of(request, schema)
            if key in self.store.journal.rows:
                answered[place] = self.store.journal.rows[key]
            else:
                pending.setdefault(key, PendingRequest(key, request, [])).places.append(place)
        return list(pending.values()), answered

    # --- asking ---

    def ask(
        self,
        requests: Sequence[Askable],
        schema: type[Schema] | None = None,
        *,
        step: str | None = None,
        likely_tokens: int | None = None,
    ) -> list[Reply[Schema]]:
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
        replies = {
            place: replace(reply_of(row, schema), id=asked[place].id or row["key"]) for place, row in answered.items()
        }
        if not pending:
            self.steps.append(StepCost(step=step, from_journal=len(answered), reasoned=_reasoned(replies.values())))
            return [replies[place] for place in range(len(asked))]
        estimate = self._estimate(pending, len(answered), schema, likely_tokens)
        self._announce(estimate)
        log = batches.log_of(self.store.journal.path)
        at_work = log.at_work({item.key for item in pending}) if log else []
        if at_work:
            print(f"Some of these requests are in the batch {', '.join(at_work)}; they are asked and paid for once more.")
        started = time.monotonic()
        asking = self._asking(schema, step)
        run_in_own_thread(lambda: asking.run(pending))
        for item in pending:
            for place in item.places:
                replies[place] = replace(asking.replies[item.key], id=asked[place].id or item.key)
        self._enter_in_ledger(asking, estimate, time.monotonic() - started, _reasoned(replies.values()))
        return [replies[place] for place in range(len(asked))]

    def _announce(self, estimate: CostEstimate) -> None:
        if self.endpoint.is_recording:
            return
        if self.budget_usd is not None and self.connection.price is None:
            raise CourseError(
                f"A budget needs a price, and {self.model} has none in the table of {price_table()['as_of']}: set "
                "TEACHER_PRICE to its USD per million tokens in and out, as in 0.15,0.60, or give no budget."
            )
        print(estimate)

    def _asking(self, schema: type[Schema] | None, step: str) -> Asking[Schema]:
        is_recording = self.endpoint.is_recording
        others_before = self.store.spent_by_others_usd
        budget = Budget(
            None if is_recording else self.budget_usd,
            self.spent_usd,
            lambda: self.store.spent_by_others_usd - others_before,
        )
        recorded = setting("RECORD") == "1" and not is_recording
        return Asking(
            self.connection, self.store, budget, schema, step,
            concurrency=self.concurrency, recording=self._recording if recorded else None,
        )  # fmt: skip

    # --- after ---

    def _enter_in_ledger(self, asking: Asking, estimate: CostEstimate, seconds: float, reasoned: int) -> None:
        failed = sum(reply.error is not None for reply in asking.replies.values())
        recorded = self.endpoint.is_recording
        step = StepCost(
            step=asking.step,
            sent=asking.sent,
            from_journal=estimate.from_journal,
            failed=failed,
            reasoned=reasoned,
            prompt_tokens_estimated=estimate.prompt_tokens,
            prompt_tokens=asking.prompt_tokens,
            completion_tokens_estimated=estimate.completion_tokens_likely,
            completion_tokens=asking.completion_tokens,
            usd_estimated=0.0 if recorded else estimate.usd_low,
            usd=asking.usd if recorded or self.connection.price else None,
            seconds=round(seconds, 1),
        )
        self.steps.append(step)
        if recorded:
            return
        spent = "unpriced" if step.usd is None else f"USD {step.usd:.4f} (estimated {step.usd_estimated:.4f})"
        print(f"{step.step}: {estimate.requests - failed} of {estimate.requests} answered in {seconds:.0f} s; {spent}")
        if asking.halted:
            print(f"stopped: {asking.halted}")

    def ledger(self):
        """Return a DataFrame with a row a step: requests, tokens and USD, actual beside estimated."""
        import pandas as pd

        return pd.DataFrame([asdict(step) for step in self.steps], columns=[field.name for field in fields(StepCost)])

    # --- half the price ---

    def submit(
        self, requests: Sequence[Askable], schema: type[BaseModel] | None = None, step: str | None = None
    ) -> list[str]:
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
        prices = (
            {}
            if self.connection.price is None
            else {"usd_low": estimate.usd_low * half, "usd_high": estimate.usd_high * half}
        )
        self._announce(replace(estimate, minutes=None, **prices))
        highest = sum(item.highest_usd for item in pending) * half
        if self.budget_usd is not None and self.spent_usd + highest > self.budget_usd:
            raise CourseError(
                f"These {len(pending)} requests could cost USD {highest:.4f} as a batch, and USD "
                f"{self.budget_usd - self.spent_usd:.4f} of the budget is left: raise budget_usd or submit fewer."
            )
        return batches.submit(self.connection, self.store, pending, schema, step or schema_name(schema))

    def collect(self, batch_ids: str | Sequence[str], schema: type[Schema] | None = None) -> list[Reply[Schema]]:
        """Return the replies of finished batches in the order of their requests. See `batches.collect`."""
        replies: list[Reply[Schema]] = []
        for batch_id in [batch_ids] if isinstance(batch_ids, str) else batch_ids:
            collected, cost = batches.collect(self.connection, self.store, batch_id, schema)
            replies += collected
            if cost is not None:
                self.steps.append(cost)
        return replies


def connect(
    model: str | None = None,
    *,
    journal: str | Path = OUTPUTS / "journal.jsonl",
    budget_usd: float | None = None,
    concurrency: int = 16,
    max_completion_tokens: int = MAX_COMPLETION_TOKENS,
    timeout_s: float | None = None,
    recording: str | Path = RECORDING,
) -> Teacher:
    """Connect to the endpoint that the settings name, or to the recording where they name none.

    `budget_usd` bounds what this journal may ever cost, earlier runs and submitted batches included; several processes
    at once may pass it by what they have in flight. `max_completion_tokens` bounds each
    reply, a reasoning model's hidden tokens included. `timeout_s` is how long the endpoint may say nothing (the setting
    TEACHER_TIMEOUT, else 600); a reply that came too late is not asked for again in the same run. With RECORD=1, a real
    teacher's replies go into `recording`.

    Raises:
        CourseError: a setting or an argument is malformed, or the journal cannot be read or written.
    """
    counts = (concurrency, max_completion_tokens)
    if not all(isinstance(count, int) and count >= 1 for count in counts):
        raise CourseError("concurrency and max_completion_tokens must be whole numbers of at least 1.")
    if budget_usd is not None and not (isinstance(budget_usd, int | float) and 0 <= budget_usd < math.inf):
        raise CourseError(f"budget_usd is {budget_usd!r}; give a number of USD, or None for no limit.")
    model = model or setting("TEACHER_MODEL") or DEFAULT_MODEL
    endpoint = endpoint_of_settings(model, Path(recording), timeout_s)
    return Teacher(
        Connection(model, endpoint, max_completion_tokens),
        ReplyStore(journal),
        budget_usd=budget_usd,
        concurrency=concurrency,
        recording=Path(recording),
    )


def replay(recording: str | Path, *, journal: str | Path) -> Teacher:
    """Connect to what a model once said, whatever the settings name: its replies are looked at again, nothing is asked.

    The file is one of `data/recorded` that is named after its model. A request that it does not hold fails.

    Raises:
        CourseError: the recording cannot be read, or the journal cannot be read or written.
    """
    recording = Path(recording)
    endpoint = endpoint_of_recording(recording, patience_of_settings(), recording.stem)
    return Teacher(
        Connection(recording.stem, endpoint), ReplyStore(journal), budget_usd=None, concurrency=16, recording=recording
    )


def _reasoned(replies: Collection[Reply]) -> int:
    """Return how many replies had reasoning that was cut off, and say so."""
    count = sum(reply.was_reasoned for reply in replies)
    if count:
        print(f"{count} of {len(replies)} replies had reasoning, which was cut off; it is in their field raw.")
    return count


def has_real_teacher() -> bool:
    """Return whether the settings name a real endpoint, as against the recording."""
    return bool(setting("OPENAI_BASE_URL") or setting("OPENAI_API_KEY"))


def answered(replies: Sequence[Reply[Schema]]) -> list[Reply[Schema]]:
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
