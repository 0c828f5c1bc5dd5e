"""OpenAI's Batch API: the same requests for half the price, answered within a day.

`submit` writes a line into `batches.jsonl` beside the journal for every batch, so that `collect` needs only its id,
in this run or a later one. Replies are joined to requests by `custom_id`, which is the request's key in the journal:
output comes in any order, and what failed stands in a file of its own.

Source: developers.openai.com/api/docs/guides/batch (50,000 requests and 200 MB a file).
Cost of import: pydantic and filelock; openai is imported where a batch is sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from costs import price_table
from endpoint import explain, request_body
from event_loop import run_in_own_thread
from journal import LineFile
from replies import Outcome, Reply, Request, read_completion, reply_of
from utils import CourseError

MAX_REQUESTS, MAX_BYTES = 50_000, 190_000_000
RUNNING = ("validating", "in_progress", "finalizing", "cancelling")
FINGERPRINT = "course_requests"  # the metadata that names a batch's requests


class BatchLog(LineFile):
    """Submitted batches by id, each with its requests in order, and whether it was collected."""

    def __init__(self, journal_path):
        """Open or create `batches.jsonl` beside the journal."""
        self.rows: dict[str, dict] = {}
        super().__init__(journal_path.with_name("batches.jsonl"))

    def _wanted(self, rows: Sequence[dict]) -> Sequence[dict]:
        for row in rows:
            self._take(row, "")
        return rows

    def _take(self, row: dict, place: str) -> None:
        self.rows[row["batch_id"]] = self.rows.get(row["batch_id"], {}) | row

    def at_work(self, keys: dict[str, Request]) -> list[str]:
        """Return the ids of batches, not collected yet, that hold any of these requests."""
        return [
            batch_id
            for batch_id, row in self.rows.items()
            if not row.get("collected") and any(request["key"] in keys for request in row["requests"])
        ]


def submit(teacher, requests: dict[str, Request], schema: type[BaseModel] | None, step: str) -> list[str]:
    """Submit requests by key, in files of at most 50,000, and return the batches' ids.

    A request that a batch is already working on is not submitted again; that batch's id is returned too. A batch
    made by a run that was killed before it could note it is found again by its metadata.

    Raises:
        CourseError: the teacher is the recording, or the endpoint refuses.
    """
    if teacher.endpoint.is_recording:
        raise CourseError("The recording has no Batch API: set OPENAI_API_KEY, or use ask, which costs nothing here.")
    log = BatchLog(teacher.journal.path)
    ids = log.at_work(requests)
    known = {request["key"] for batch_id in ids for request in log.rows[batch_id]["requests"]}
    new = {key: request for key, request in requests.items() if key not in known}
    for keys, content in _files(teacher, new, schema):
        batch_id = _call(teacher, lambda client, keys=keys, content=content: _create(client, keys, content))
        asked = [{"key": key, "id": new[key].id, "messages": list(new[key].messages)} for key in keys]
        log.append([{"batch_id": batch_id, "step": step, "model": teacher.model, "requests": asked}])
        print(f"batch {batch_id}: {len(keys)} requests submitted; collect it within a day or so")
        ids.append(batch_id)
    return ids


def _files(teacher, requests: dict[str, Request], schema) -> Iterator[tuple[list[str], bytes]]:
    """Yield the keys and the content of each file to upload."""
    keys, lines, size = [], [], 0
    for key, request in requests.items():
        body = request_body(request, teacher.model, schema, teacher.dialect, teacher.max_completion_tokens)
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
        encoded = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        if keys and (len(keys) == MAX_REQUESTS or size + len(encoded) > MAX_BYTES):
            yield keys, b"".join(lines)
            keys, lines, size = [], [], 0
        keys.append(key)
        lines.append(encoded)
        size += len(encoded)
    if keys:
        yield keys, b"".join(lines)


async def _create(client, keys: list[str], content: bytes) -> str:
    fingerprint = hashlib.sha256("".join(sorted(keys)).encode()).hexdigest()[:32]
    async for batch in client.batches.list(limit=100):
        finished_badly = batch.status in ("failed", "expired", "cancelled", "cancelling")
        if (batch.metadata or {}).get(FINGERPRINT) == fingerprint and not finished_badly:
            return batch.id
    uploaded = await client.files.create(file=("requests.jsonl", content), purpose="batch")
    batch = await client.batches.create(
        input_file_id=uploaded.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={FINGERPRINT: fingerprint},
    )
    return batch.id


def collect(teacher, batch_id: str, schema: type[BaseModel] | None) -> list[Reply]:
    """Return a finished batch's replies in the order of its requests, and write them into the journal.

    A request that failed, expired or is in neither file is a Reply with an error, kept in `failures.jsonl`.

    Raises:
        CourseError: the batch is still at work, or was not submitted with this journal or this schema.
    """
    log = BatchLog(teacher.journal.path)
    if batch_id not in log.rows:
        raise CourseError(
            f"Batch {batch_id} is not in {log.path.name}; collect it with the journal that it was submitted with."
        )
    noted = log.rows[batch_id]
    requests = {row["key"]: Request(row["messages"], row["id"]) for row in noted["requests"]}
    status, lines = _call(teacher, lambda client: _download(client, batch_id))
    rows = []
    for key, request in requests.items():
        outcome = teacher.endpoint.scrubbed(_outcome(lines.get(key), status, schema))
        row = teacher.row_of(key, request, schema, noted["step"], outcome)
        row["usd"] = None if row["usd"] is None else row["usd"] * price_table()["batch_factor"]
        rows.append(row | {"batch_id": batch_id})
    if not noted.get("collected"):
        teacher.keep(rows)
        log.append([{"batch_id": batch_id, "collected": True}])
    return [reply_of(row, schema) for row in rows]


async def _download(client, batch_id: str) -> tuple[str, dict[str, dict]]:
    """Return a batch's status, and its lines by custom_id from both of its files."""
    batch = await client.batches.retrieve(batch_id)
    if batch.status in RUNNING:
        counts = batch.request_counts
        done = f", {counts.completed + counts.failed} of {counts.total} done" if counts else ""
        raise CourseError(f"Batch {batch_id} is {batch.status.replace('_', ' ')}{done}; collect it again later.")
    lines = {}
    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id:
            content = (await client.files.content(file_id)).text
            lines |= {line["custom_id"]: line for line in map(json.loads, content.splitlines()) if line}
    return batch.status, lines


def _outcome(line: dict | None, status: str, schema) -> Outcome:
    if line is None:
        error = f"the batch ended as {status} without this reply: submit it again"
        return Outcome(failure=f"batch_{status}", error=error)
    response, error = line.get("response") or {}, line.get("error")
    if error or response.get("status_code") != 200:
        error = error or (response.get("body") or {}).get("error") or {}
        said = f"{error.get('code') or response.get('status_code')}: {error.get('message', '')!s:.200}"
        return Outcome(failure="batch_error", error=f"the batch could not answer this request ({said})")
    return read_completion(response["body"], schema)


def _call(teacher, action):
    """Run an action on a client of its own; an error of the SDK becomes a CourseError that says what to do."""
    import openai

    async def run():
        async with teacher.endpoint.open_client() as client:
            return await action(client)

    try:
        return run_in_own_thread(run)
    except openai.OpenAIError as error:
        if getattr(error, "status_code", None) == 404:
            raise CourseError(
                "The endpoint has no such batch, or no Batch API at all (404): OpenAI has one; local servers have not."
            ) from None
        raise CourseError(f"The Batch API failed: {explain(error, teacher.model)[1]}.") from None
