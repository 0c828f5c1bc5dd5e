"""The recorded teacher: replies that stand in for a model where no key is set, served beneath the openai client.

`data/recorded/replies.jsonl` holds {"key", "about", "content", "usage", "source"}. `source` says who wrote a reply:
"written for this course", or the model and date where it was recorded anew (`RECORD=1` with a real teacher). `usage`
of a written reply was counted with o200k_base, the encoding of gpt-4o and later; no API was asked. A reply that did not
come to its end has `finish_reason` as the model's server said it, and fails again when it is replayed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from filelock import FileLock

from prompts import Message
from utils import DATA, read_jsonl, write_jsonl

RECORDING = DATA / "recorded" / "replies.jsonl"
WRITTEN = "written for this course"
NOT_RECORDED = (
    "this request is not in the recording that the course ships: set OPENAI_API_KEY, or OPENAI_BASE_URL "
    "for a local server such as Ollama, to ask a real teacher"
)


def recording_key(messages: Sequence[Message], schema_name: str | None) -> str:
    """Return the key of a recorded request: a hash of its messages and the name of its reply's schema."""
    body = json.dumps([list(messages), schema_name], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def read_recording(path: str | Path = RECORDING) -> dict[str, dict]:
    """Return the recorded replies: key -> row."""
    return {row["key"]: row for row in read_jsonl(path)}


def write_recording(rows: Iterable[dict], path: str | Path = RECORDING) -> Path:
    """Write recorded replies, one a line and sorted by key, so that a changed reply is a changed line."""
    return write_jsonl(path, sorted(rows, key=lambda row: row["key"]))


def add_to_recording(rows: Sequence[dict], path: str | Path = RECORDING) -> None:
    """Put replies into the recording, in place of those with the same key."""
    path = Path(path)
    with FileLock(f"{path}.lock"):
        known = read_recording(path) if path.exists() else {}
        write_recording((known | {row["key"]: row for row in rows}).values(), path)


def transport(recorded: dict[str, dict]):
    """Return an asynchronous httpx2 transport that answers chat completions out of a recording, and nothing else."""
    import httpx2

    class RecordingTransport(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request):
            body = json.loads(await request.aread())
            schema = body.get("response_format", {}).get("json_schema", {}).get("name")
            row = recorded.get(recording_key(body["messages"], schema))
            if row is None:
                error = {"message": NOT_RECORDED, "type": "not_recorded", "code": "not_recorded", "param": None}
                return httpx2.Response(404, json={"error": error})
            message = {"role": "assistant", "content": row["content"], "refusal": None}
            completion = {
                "id": "recorded",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": row.get("finish_reason", "stop"), "message": message}],
            }
            if row.get("usage"):
                completion["usage"] = row["usage"]
            return httpx2.Response(200, json=completion)

    return RecordingTransport()
