"""Which endpoint answers, how a request is put to it, and what its errors mean.

Chosen in this order: `OPENAI_BASE_URL` (Ollama, vLLM, llama.cpp), `OPENAI_API_KEY`, else the recording. All speak
through the same asynchronous `openai` client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from kotune.teacher.recording import NOT_RECORDED, read_recording, transport
from kotune.teacher.replies import Request, schema_text
from prompts import JSON_INSTRUCTION
from utils import CourseError, http_address, setting

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
TIMEOUT_S = 120.0
MAX_RETRIES = 4  # the SDK's own retries, with its back-off and Retry-After, are the only retry layer
# How a schema is asked for, the best first; an endpoint that refuses one is asked the next way.
STRUCTURED, JSON_MODE, PLAIN_TEXT = "a JSON schema", "JSON mode", "plain text"


@dataclass(frozen=True, repr=False)
class Endpoint:
    """Where requests go. `open_client` gives a new AsyncOpenAI; the key inside is shown nowhere."""

    name: str
    open_client: Callable[[], AsyncOpenAI]
    is_recording: bool
    is_openai: bool
    secret: str | None

    def __repr__(self) -> str:
        """Return the name alone."""
        return f"Endpoint({self.name})"

    def scrub(self, text: str) -> str:
        """Return a text as it came from the endpoint without the key, should it echo it; before it is parsed or cut."""
        if self.secret and len(self.secret) > 6:  # "none", "ollama": no secret, and perhaps a word of the reply
            text = text.replace(self.secret, "[key]")
        return re.sub(r"\bsk-[\w-]{8,}", "[key]", text) if "sk-" in text else text


def endpoint_of_settings(model: str, recording: Path) -> Endpoint:
    """Return the endpoint that the settings name, or the recording where they name none.

    Raises:
        CourseError: OPENAI_BASE_URL is no http address, or the recording cannot be read.
    """
    base_url, key = setting("OPENAI_BASE_URL"), (setting("OPENAI_API_KEY") or "").strip() or None
    if key and not (key.isascii() and key.isprintable()):
        raise CourseError("OPENAI_API_KEY holds characters that no key has; copy it again.")
    if base_url:
        base_url = http_address(base_url, "OPENAI_BASE_URL")
        parts = urlsplit(base_url)
        place = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return Endpoint(f"{model} at {place}", _opener(base_url, key or "none"), False, False, key)
    if key:
        # the base URL is given, because the SDK would otherwise read it from the environment a second time
        return Endpoint(f"{model} at OpenAI", _opener(OPENAI_URL, key), False, True, key)
    recorded = read_recording(recording)
    sources = sorted({row.get("source", "") for row in recorded.values()})
    name = f"the recording in data/recorded ({'; '.join(sources)})"
    return Endpoint(name, _opener("http://recording.invalid/v1", "none", recorded), True, False, None)


def _opener(base_url: str, key: str, recorded: dict[str, dict] | None = None) -> Callable[[], AsyncOpenAI]:
    def open_client() -> AsyncOpenAI:
        import openai

        options = {} if recorded is None else {"transport": transport(recorded)}
        hooks = {"response": [check_response]}
        http_client = openai.DefaultAsyncHttpxClient(event_hooks=hooks, verify=_certificates(), **options)
        return openai.AsyncOpenAI(
            base_url=base_url, api_key=key, timeout=TIMEOUT_S, max_retries=MAX_RETRIES, http_client=http_client
        )

    return open_client


@lru_cache
def _certificates():
    """Return the certificates to check a server by, read once: that takes 30 ms for each client."""
    import httpx2

    return httpx2.create_ssl_context()


async def check_response(response) -> None:
    """Raise or mark, beneath the SDK's retries, what its own rules would miss.

    A body that ends half-way is a lost connection, to be tried again; spent credit comes as a 429, and is not.
    """
    import httpx2

    await response.aread()
    if response.status_code == 429 and b"insufficient_quota" in response.content:
        response.headers["x-should-retry"] = "false"
    # with its length given, a body that ended early was noticed below; one that is whole and no JSON may have been paid for
    open_ended = "content-length" not in response.headers and "json" in response.headers.get("content-type", "")
    if response.is_success and open_ended:
        try:
            json.loads(response.content)
        except ValueError:
            raise httpx2.RemoteProtocolError("the body is not whole") from None


# --- requests --------------------------------------------------------------------------------


@dataclass
class Dialect:
    """What an endpoint turned out to understand; it starts with the newest form and learns from refusals."""

    length_parameter: str = "max_completion_tokens"
    structure: str = STRUCTURED
    zero_temperature: bool = True  # reasoning models know no temperature but their own

    def learn(self, error: Exception, request: Request) -> str | None:
        """Change to the next form where a refusal names the one that was used; return what changed, or None.

        A refusal of the request's own parameter says nothing about the others.
        """
        said = f"{getattr(error, 'param', '')} {getattr(error, 'message', '')}"
        own_length = {"max_completion_tokens", "max_tokens"} & set(request.parameters)
        if not own_length and "max_completion_tokens" in said and self.length_parameter == "max_completion_tokens":
            self.length_parameter = "max_tokens"
            return "takes max_tokens"
        if re.search(r"response_format|json_schema|json_object|structured", said) and self.structure != PLAIN_TEXT:
            self.structure = JSON_MODE if self.structure == STRUCTURED else PLAIN_TEXT
            return f"is asked for JSON by way of {self.structure}"
        if "temperature" in said and request.parameters.get("temperature") == 0 and self.zero_temperature:
            self.zero_temperature = False
            return "takes no temperature 0, and is asked without"
        return None


@lru_cache
def dialect_of(endpoint_name: str) -> Dialect:
    """Return what this process has learnt of an endpoint and its model, one dialect for all who ask it."""
    return Dialect()


def request_body(request: Request, model: str, schema: type[BaseModel] | None, dialect: Dialect, cap: int) -> dict:
    """Return the body of a chat completion in an endpoint's dialect; `cap` is the longest reply, in tokens."""
    body = {"model": model, "messages": list(request.messages), **request.parameters}
    if not {"max_completion_tokens", "max_tokens"} & set(body):
        body[dialect.length_parameter] = cap
    if body.get("temperature") == 0 and not dialect.zero_temperature:
        del body["temperature"]
    if schema is None:
        return body
    if dialect.structure == STRUCTURED:
        body["response_format"] = strict_response_format(schema)
        return body
    if dialect.structure == JSON_MODE:
        body["response_format"] = {"type": "json_object"}
    *before, last = body["messages"]
    asked = JSON_INSTRUCTION.substitute(schema=schema_text(schema))
    body["messages"] = [*before, {**last, "content": f"{last['content']}\n\n{asked}"}]
    return body


@lru_cache
def strict_response_format(schema: type[BaseModel]) -> dict:
    """Return the `response_format` of a schema, made strict by the SDK's own helper."""
    import openai

    strict = openai.pydantic_function_tool(schema)["function"]["parameters"]
    return {"type": "json_schema", "json_schema": {"name": schema.__name__, "strict": True, "schema": strict}}


# --- errors ----------------------------------------------------------------------------------


def explain(error: Exception, model: str, scrub: Callable[[str], str] = str) -> tuple[str, str, bool]:
    """Return an error's class, what went wrong with what to do, and whether every further request would meet it."""
    import openai

    codes, status = {getattr(error, "code", None), getattr(error, "type", None)}, getattr(error, "status_code", "unknown")
    if "not_recorded" in codes:
        return "not_recorded", NOT_RECORDED, False
    if "insufficient_quota" in codes or status == 402:
        return "insufficient_quota", "no credit is left on this key: top it up", True
    explanations = {
        openai.AuthenticationError: (
            "refused_key", "the endpoint refused the key (401): check OPENAI_API_KEY or remove it", True),
        openai.NotFoundError: (
            "unknown_model",
            f"the endpoint does not know the model {model!r} (404): set TEACHER_MODEL, or end OPENAI_BASE_URL in /v1",
            True),
        openai.PermissionDeniedError: (
            "forbidden", "this key may not use this model or endpoint (403): ask for access", True),
        openai.RateLimitError: (
            "rate_limit", "the rate limit held through every retry: lower the concurrency", False),
        # a time-out is a connection error too, but one that the next request need not meet
        openai.APITimeoutError: (
            "timeout", f"no reply came within {TIMEOUT_S:g} s, in any of {MAX_RETRIES + 1} tries", False),
        openai.APIConnectionError: (
            "connection", "the connection failed in every try: check OPENAI_BASE_URL and the network", False),
        openai.InternalServerError: (
            "server_error", f"the endpoint failed in every try (status {status}): ask again later", False),
    }  # fmt: skip
    for kind, explained in explanations.items():
        if isinstance(error, kind):
            return explained
    said = scrub(str(getattr(error, "message", error)))
    return f"status_{status}", f"the endpoint answered with status {status} ({said:.200})", False
