"""The teacher model: any OpenAI-compatible endpoint, or the recording that the course ships.

Chosen in this order: `OPENAI_BASE_URL` (Ollama, vLLM, llama.cpp), `OPENAI_API_KEY`, else the recording in
`data/recorded/`, served to the same `openai` client underneath its own transport: every line above the
wire is the line that runs in production.

Cost of import: pydantic; openai is imported by `connect`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from progress import track
from prompts import Message
from utils import DATA, CourseError, read_jsonl, setting, write_jsonl

RECORDING = DATA / "recorded" / "replies.jsonl"
DEFAULT_MODEL = "gpt-4o-mini"
TIMEOUT_S = 120.0
MAX_RETRIES = 3  # the SDK's own retries are the only retry layer
NOT_RECORDED = (
    "this request is not in the recording that the course ships: set OPENAI_API_KEY, or OPENAI_BASE_URL "
    "for a local server such as Ollama, to ask a real teacher"
)


@dataclass(frozen=True)
class Reply:
    """What came back for one request: the text and, with a schema, its parsed value; or the error."""

    text: str | None
    parsed: BaseModel | None
    error: str | None


def request_key(messages: Sequence[Message], schema_name: str | None) -> str:
    """Return the key of a recorded request: a hash of its messages and its reply's schema."""
    body = json.dumps([list(messages), schema_name], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(body.encode()).hexdigest()[:24]


def read_recording(path: str | Path = RECORDING) -> dict[str, str]:
    """Return the recorded replies: request key -> text."""
    return {row["key"]: row["content"] for row in read_jsonl(path)}


def recording_transport(path: str | Path = RECORDING):
    """Return an httpx2 transport that answers chat completions out of a recording, and nothing else."""
    import httpx2

    recorded = read_recording(path)

    class RecordingTransport(httpx2.BaseTransport):
        def handle_request(self, request):
            body = json.loads(request.read())
            schema = body.get("response_format", {}).get("json_schema", {}).get("name")
            text = recorded.get(request_key(body["messages"], schema))
            if text is None:
                error = {"message": NOT_RECORDED, "type": "not_recorded", "code": "not_recorded", "param": None}
                return httpx2.Response(404, json={"error": error})
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text, "refusal": None},
            }
            return httpx2.Response(
                200,
                json={
                    "id": "recorded",
                    "object": "chat.completion",
                    "created": 0,
                    "model": body["model"],
                    "choices": [choice],
                },
            )

    return RecordingTransport()


@dataclass(frozen=True)
class Teacher:
    """A connected teacher; `endpoint` says which in words."""

    client: object
    model: str
    endpoint: str
    concurrency: int

    def ask(
        self, requests: Sequence[Sequence[Message]], schema: type[BaseModel] | None = None
    ) -> list[Reply]:
        """Ask all requests, at most `concurrency` at a time, and return their replies in order.

        A failed request is a Reply with an error, never an exception; after a refused key, an unknown model or
        spent credit the requests that wait are not sent.
        """
        halted: list[str] = []
        lock = threading.Lock()

        def one(messages: Sequence[Message]) -> Reply:
            with lock:
                if halted:
                    return Reply(None, None, f"not sent: {halted[0]}")
            reply, stop = _ask_one(self.client, self.model, messages, schema)
            if stop:
                with lock:
                    halted.append(reply.error)
            return reply

        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(track(pool.map(one, requests), len(requests), "teacher", "request"))


def _ask_one(client, model, messages, schema) -> tuple[Reply, bool]:
    """Return the reply, and whether its error is one that every further request would meet too."""
    import openai

    try:
        if schema is None:
            completion = client.chat.completions.create(model=model, messages=list(messages))
        else:
            completion = client.chat.completions.parse(
                model=model, messages=list(messages), response_format=schema
            )
    except (openai.OpenAIError, ValueError) as error:
        sentence, stop = _explain(error, model)
        return Reply(None, None, sentence), stop
    if not completion.choices:
        return Reply(None, None, "the reply has no choices: the endpoint is not quite OpenAI-compatible"), False
    message = completion.choices[0].message
    if message.refusal:
        return Reply(None, None, f"the teacher refused: {message.refusal}"), False
    if not message.content:
        return Reply(None, None, "the reply was empty"), False
    return Reply(message.content, getattr(message, "parsed", None), None), False


def _explain(error: Exception, model: str) -> tuple[str, bool]:
    """Return what went wrong in words, with what to do, and whether all further requests would meet it too."""
    import openai

    code = getattr(error, "code", None)
    if code == "not_recorded":
        return NOT_RECORDED, False
    if code == "insufficient_quota":  # comes as a 429, but waiting does not help
        return "no credit is left on this key: top it up", True
    explanations = {
        openai.AuthenticationError: ("the endpoint refused the key (401): check OPENAI_API_KEY or remove it", True),
        openai.NotFoundError: (
            f"the endpoint does not know the model {model!r} (404): set TEACHER_MODEL, or end OPENAI_BASE_URL in /v1",
            True,
        ),
        openai.PermissionDeniedError: ("this key may not use this model or endpoint (403): ask for access", True),
        openai.RateLimitError: ("the rate limit held through every retry: lower the concurrency", False),
        # a time-out is a connection error too, but one that the next request need not meet
        openai.APITimeoutError: (f"no reply came within {TIMEOUT_S:.0f} s, in any of the retries", False),
        openai.APIConnectionError: ("the endpoint cannot be reached: check OPENAI_BASE_URL and the network", True),
        # these two are no APIErrors, and carry no reply that could be used
        openai.LengthFinishReasonError: ("the reply was cut at its length limit: nothing was used of it", False),
        openai.ContentFilterFinishReasonError: ("the reply was withheld by a content filter", False),
        ValueError: (f"the reply does not fit its schema: {str(error).splitlines()[0]}", False),
    }
    for kind, explained in explanations.items():
        if isinstance(error, kind):
            return explained
    said = re.sub(r"sk-[\w-]+", "sk-...", str(getattr(error, "message", "")))[:200]
    return f"the endpoint answered with status {getattr(error, 'status_code', 'unknown')} ({said})", False


def connect(model: str | None = None, concurrency: int = 8, recording: str | Path = RECORDING) -> Teacher:
    """Connect to the endpoint that the settings name, or to the recording where they name none."""
    import httpx2
    import openai

    base_url, key = setting("OPENAI_BASE_URL"), setting("OPENAI_API_KEY")
    model = model or setting("TEACHER_MODEL") or DEFAULT_MODEL
    options = {"timeout": TIMEOUT_S, "max_retries": MAX_RETRIES}
    if base_url:
        client = openai.OpenAI(base_url=base_url, api_key=key or "none", **options)
        return Teacher(client, model, f"{model} at {base_url}", concurrency)
    if key:
        # the base URL is given, because the SDK would otherwise read it from the environment a second time
        client = openai.OpenAI(base_url="https://api.openai.com/v1", api_key=key, **options)
        return Teacher(client, model, f"{model} at OpenAI", concurrency)
    http_client = httpx2.Client(transport=recording_transport(recording))
    client = openai.OpenAI(base_url="http://recording.invalid/v1", api_key="none", http_client=http_client, **options)
    return Teacher(client, model, "the recording in data/recorded (written for this course)", concurrency)


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


def write_recording(rows: Sequence[dict], path: str | Path = RECORDING) -> Path:
    """Write recorded replies, one a line and sorted by key: {"key", "about", "content"}."""
    return write_jsonl(path, sorted(rows, key=lambda row: row["key"]))


def has_real_teacher() -> bool:
    """Return whether the settings name a real endpoint, as against the recording."""
    return bool(setting("OPENAI_BASE_URL") or setting("OPENAI_API_KEY"))
