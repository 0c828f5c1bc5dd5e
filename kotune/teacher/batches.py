"""OpenAI's Batch API: the same requests for half the price, answered within a day.

`submit` writes a line into `batches.jsonl` beside the journal for every batch, so that `collect` needs only its id,
in this run or a later one. Replies are joined to requests by `custom_id`, which is the request's key in the journal:
output comes in any order, and what failed stands in a file of its own.

Source: developers.openai.com/api/docs/guides/batch (50,000 requests and 200 MB a file).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field

from filelock import FileLock
from pydantic import BaseModel

from kotune.line_file import KeyedLines
from kotune.teacher.asking import PendingRequest
from kotune.teacher.connection import Connection
from kotune.teacher.costs import StepCost, price_table
from kotune.teacher.endpoint import explain
from kotune.teacher.event_loop import run_in_own_thread
from kotune.teacher.journal import ReplyStore, beside
from kotune.teacher.refusals import parsed_body, words_of
from kotune.teacher.replies import Outcome, Reply, Request, Schema, read_completion, reply_of, schema_name, schema_text
from utils import CourseError, json_line

MAX_REQUESTS, MAX_BYTES = 50_000, 190_000_000
ENDED = ("completed", "failed", "expired", "cancelled", "canceled")  # whatever else a server names is work in progress
CUSTOM_ID = re.compile(r'"custom_id"\s*:\s*"([^"\\]{1,200})"')
FINGERPRINT = "course_requests"  # the metadata that names a batch's requests


class BatchLog(KeyedLines[dict]):
    """Submitted batches by id, each with its requests in order, and whether it was collected."""

    def __init__(self, journal_path):
        """Open or create `batches.jsonl` beside the journal."""
        # a later line of a batch adds to what is known of it
        file = beside(journal_path, "batches")
        super().__init__(file, key="batch_id", keep=lambda held, new: held | new, private=True)

    def highest_usd_at_work(self) -> float:
        """Return what the batches that are not collected yet may cost."""
        return sum(row.get("highest_usd") or 0.0 for row in self.rows.values() if not row.get("collected"))

    def at_work(self, keys: Container[str]) -> list[str]:
        """Return the ids of batches, not collected yet, that hold any of these requests."""
        return [
            batch_id
            for batch_id, row in self.rows.items()
            if not row.get("collected") and any(request["key"] in keys for request in row["requests"])
        ]


def log_of(journal_path) -> BatchLog | None:
    """Return the log of a journal's batches, or None where none was ever submitted."""
    return BatchLog(journal_path) if beside(journal_path, "batches").exists() else None


def submit(
    connection: Connection,
    store: ReplyStore,
    pending: Sequence[PendingRequest],
    schema: type[BaseModel] | None,
    step: str,
) -> list[str]:
    """Submit requests in files of at most 50,000, and return the batches' ids.

    What each may cost counts, at the price of a batch, against the budget until its batch is collected.

    A request that a batch is already working on is not submitted again; that batch's id is returned too. A batch
    made by a run that was killed before it could note it is found again by its metadata.

    Raises:
        CourseError: the teacher is the recording, or the endpoint refuses.
    """
    if connection.endpoint.is_recording:
        raise CourseError("The recording has no Batch API: set OPENAI_API_KEY, or use ask, which costs nothing here.")
    # one process at a time looks and then creates, or two would submit the same requests
    with FileLock(f"{beside(store.journal.path, 'batches')}.submit.lock"):
        log = BatchLog(store.journal.path)
        ids = log.at_work({item.key for item in pending})
        known = {request["key"] for batch_id in ids for request in log.rows[batch_id]["requests"]}
        new = {item.key: item for item in pending if item.key not in known}
        requests = {key: item.request for key, item in new.items()}
        for keys, content in _files(connection, requests, schema):
            batch_id = _call(connection, lambda client, content=content: _create(client, content, log))
            noted = {
                "batch_id": batch_id,
                "step": step,
                "model": connection.model,
                "schema": _schema_hash(schema),
                "highest_usd": sum(new[key].highest_usd for key in keys) * price_table()["batch_factor"],
                "requests": [{"key": key, "id": requests[key].id, "messages": list(requests[key].messages)} for key in keys],
            }
            log.append([noted])
            print(f"batch {batch_id}: {len(keys)} requests submitted; collect it within a day or so")
            ids.append(batch_id)
    return ids


def _schema_hash(schema: type[BaseModel] | None) -> str:
    return f"{schema_name(schema)} {hashlib.sha256(schema_text(schema).encode()).hexdigest()[:12]}"


def _files(connection, requests: dict[str, Request], schema) -> Iterator[tuple[list[str], bytes]]:
    """Yield the keys and the content of each file to upload."""
    keys: list[str] = []
    lines: list[bytes] = []
    size = 0
    for key, request in requests.items():
        body = connection.body_of(request, schema)
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        encoded = json_line(line).encode()
        if keys and (len(keys) == MAX_REQUESTS or size + len(encoded) > MAX_BYTES):
            yield keys, b"".join(lines)
            keys, lines, size = [], [], 0
        keys.append(key)
        lines.append(encoded)
        size += len(encoded)
    if keys:
        yield keys, b"".join(lines)


async def _create(client, content: bytes, log: BatchLog) -> str:
    fingerprint = hashlib.sha256(content).hexdigest()[:32]
    async for batch in client.batches.list(limit=100):
        over = batch.status in ("failed", "expired", "cancelled", "cancelling") or batch.id in log.rows
        if (batch.metadata or {}).get(FINGERPRINT) == fingerprint and not over:
            return batch.id
    uploaded = await client.files.create(file=("requests.jsonl", content), purpose="batch")
    batch = await client.batches.create(
        input_file_id=uploaded.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={FINGERPRINT: fingerprint},
    )
    return batch.id


def collect(
    connection: Connection, store: ReplyStore, batch_id: str, schema: type[Schema] | None
) -> tuple[list[Reply[Schema]], StepCost | None]:
    """Return a finished batch's replies in the order of its requests, and write them into the journal.

    What the batch cost is returned beside them, the first time that it is collected.

    A request that failed, expired or is in neither file is a Reply with an error, kept in `failures.jsonl`.

    Raises:
        CourseError: the batch is still at work, or was not submitted with this journal or this schema.
    """
    log = BatchLog(store.journal.path)
    if batch_id not in log.rows:
        raise CourseError(
            f"Batch {batch_id} is not in {log.path.name}; collect it with the journal that it was submitted with."
        )
    noted = log.rows[batch_id]
    if noted["model"] != connection.model or noted["schema"] != _schema_hash(schema):
        raise CourseError(
            f"Batch {batch_id} was submitted to {noted['model']} with the schema {noted['schema'].split()[0]}; collect it "
            "with the same."
        )
    requests = {row["key"]: Request(row["messages"], row["id"]) for row in noted["requests"]}
    started = time.monotonic()
    ended = _call(connection, lambda client: _download(client, batch_id, connection.endpoint.scrub))
    strange = sum(key not in requests for key in ended.lines) + ended.unreadable
    if strange:
        print(f"batch {batch_id}: {strange} lines of its output belong to no request or cannot be read; they are left out")
    rows = []
    for key, request in requests.items():
        outcome = _outcome(ended, key, schema)
        row = connection.row_of(key, request, schema, noted["step"], outcome)
        row["usd"] = None if row["usd"] is None else row["usd"] * price_table()["batch_factor"]
        rows.append(row | {"batch_id": batch_id})
    replies = [reply_of(row, schema) for row in rows]
    cost = None
    if not noted.get("collected"):
        store.keep(rows)
        log.append([{"batch_id": batch_id, "collected": True}])
        usages = [row["usage"] for row in rows if row["usage"]]
        cost = StepCost(
            step=noted["step"],
            sent=len(rows),
            failed=sum("failure" in row for row in rows),
            reasoned=sum(reply.was_reasoned for reply in replies),
            prompt_tokens=sum(usage["prompt_tokens"] for usage in usages),
            completion_tokens=sum(usage["completion_tokens"] for usage in usages),
            usd_estimated=noted["highest_usd"] if connection.price else None,
            usd=sum(row["usd"] or 0.0 for row in rows) if connection.price else None,
            seconds=round(time.monotonic() - started, 1),
        )
    return replies, cost


@dataclass
class _Ended:
    """A batch that has ended: its status, what it says went wrong as a whole, and its lines by custom_id.

    A line that is no JSON but names its request is kept as text; `unreadable` counts those that name none.
    """

    status: str
    errors: str = ""
    lines: dict[str, dict | str] = field(default_factory=dict)
    unreadable: int = 0

    def read(self, content: str) -> None:
        """Take the lines of a file; a good line of a request is not replaced."""
        # on line feeds alone: a reply may hold other marks that splitlines takes for the end of a line
        for text in content.split("\n"):
            if not text.strip("\ufeff \t\r"):
                continue
            line = parsed_body(text)
            named = line.get("custom_id") if isinstance(line, dict) else None
            if named is None and (found := CUSTOM_ID.search(text)) and not isinstance(line, dict):
                named, line = found[1], text  # cut in the middle
            if isinstance(named, str | int) and isinstance(line, dict | str):
                if not _is_good(self.lines.get(str(named))):
                    self.lines[str(named)] = line
            else:
                self.unreadable += 1


async def _download(client, batch_id: str, scrub: Callable[[str], str]) -> _Ended:
    """Return what has become of a batch, with the lines of both of its files."""
    batch = await client.batches.retrieve(batch_id)
    status = str(batch.status).lower()
    if status not in ENDED:
        counts = batch.request_counts
        done = f", {counts.completed + counts.failed} of {counts.total} done" if counts else ""
        raise CourseError(f"Batch {batch_id} is {status.replace('_', ' ')}{done}; collect it again later.")
    ended = _Ended(status, scrub(words_of(batch.to_dict(warnings=False).get("errors"))))
    files = [file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id]
    if status == "completed" and not files:
        raise CourseError(f"Batch {batch_id} is completed and has no files yet; collect it again later.")
    for file_id in files:
        ended.read(scrub((await client.files.content(file_id)).content.decode("utf-8-sig", errors="replace")))
    return ended


def _is_good(line: dict | str | None) -> bool:
    response = line.get("response") if isinstance(line, dict) and not line.get("error") else None
    return isinstance(response, dict) and str(response.get("status_code", 200)) == "200"


def _outcome(ended: _Ended, key: str, schema: type[Schema] | None) -> Outcome[Schema]:
    line = ended.lines.get(key)
    if line is None:
        why = f" ({ended.errors:.200})" if ended.errors else ""
        missing = f"the batch ended as {ended.status} without this reply{why}: submit it again"
        return Outcome(failure=f"batch_{ended.status}", error=missing)
    if isinstance(line, str):
        cut = "this reply's line in the batch's output is cut or no JSON: submit it again"
        return Outcome(line[:2000], failure="batch_unreadable", error=cut)
    response = line.get("response")
    body = response.get("body") if isinstance(response, dict) else response
    if not _is_good(line):
        error = line.get("error") or (body.get("error") if isinstance(body, dict) else None) or body
        status = response.get("status_code") if isinstance(response, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        said = ": ".join(str(part) for part in (code or status, words_of(error)) if part)
        return Outcome(failure="batch_error", error=f"the batch could not answer this request ({said or 'no reason':.200})")
    try:
        return read_completion(body, schema)
    except Exception as error:  # it was paid for: it must not take the others down with it
        raw = json.dumps(body, ensure_ascii=False)[:2000]
        return Outcome(raw, failure="unreadable", error=f"the reply cannot be read ({type(error).__name__}: {error})")


def _call(connection, action):
    """Run an action on a client of its own; an error of the SDK becomes a CourseError that says what to do."""
    import openai

    async def run():
        async with connection.endpoint.open_client() as client:
            return await action(client)

    try:
        return run_in_own_thread(run)
    except openai.OpenAIError as error:
        if getattr(error, "status_code", None) == 404:
            raise CourseError(
                "The endpoint has no such batch, or no Batch API at all (404): OpenAI has one; local servers have not."
            ) from None
        raise CourseError(
            f"The Batch API failed: {explain(error, connection.model, connection.endpoint.scrub)[1]}."
        ) from None
