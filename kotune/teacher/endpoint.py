"""Which endpoint answers, how a request is put to it, and what its errors mean.

Chosen in this order: `OPENAI_BASE_URL` (Ollama, vLLM, llama.cpp), `OPENAI_API_KEY`, else the recording. All speak
through the same asynchronous `openai` client.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from kotune.teacher.recording import NOT_RECORDED, read_recording, transport
from kotune.teacher.refusals import (
    is_about_length,
    is_about_one_schema,
    is_about_structure,
    is_about_temperature,
    parsed_body,
    words_of,
)
from kotune.teacher.replies import Request, schema_name, schema_text
from prompts import JSON_INSTRUCTION
from utils import CourseError, http_address, setting

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
TIMEOUT_S = 600.0  # for a reply, unless TEACHER_TIMEOUT says otherwise; the SDK's own default
CONNECT_TIMEOUT_S = 15.0
LONGER = 4  # times as long may a reply take whose bytes keep coming: some endpoints send white space while they are at work
GATEWAY_TIMEOUTS = {408, 504, 524}  # something between here and the model gave up waiting
MAX_RETRIES = 4  # the SDK's own retries, with its back-off and Retry-After, are the only retry layer
# How a schema is asked for, the best first; an endpoint that refuses one is asked the next way.
STRUCTURED, JSON_MODE, PLAIN_TEXT = "a JSON schema", "JSON mode", "plain text"
WEAKER = {STRUCTURED: JSON_MODE, JSON_MODE: PLAIN_TEXT}
# Statuses of refusals that may say what was not understood. Ollama and llama.cpp fail with 500 at a grammar; a router that
# has no provider for a parameter says 404.
SPEAKS_OF_PARAMETERS = {400, 404, 422, 501}
LEARNABLE = SPEAKS_OF_PARAMETERS | {500, 502, 503}


@dataclass(frozen=True, repr=False)
class Endpoint:
    """Where requests go. `open_client` gives a new AsyncOpenAI; the key inside is shown nowhere."""

    name: str
    open_client: Callable[[], AsyncOpenAI]
    is_recording: bool
    is_openai: bool
    secret: str | None
    replays: str | None = None  # the model whose recorded replies these are; None for the course's own recording

    def __repr__(self) -> str:
        """Return the name alone."""
        return f"Endpoint({self.name})"

    def scrub(self, text: str) -> str:
        """Return a text as it came from the endpoint without the key, should it echo it; before it is parsed or cut."""
        if self.secret and len(self.secret) > 6:  # "none", "ollama": no secret, and perhaps a word of the reply
            text = text.replace(self.secret, "[key]")
        return re.sub(r"\bsk-[\w-]{8,}", "[key]", text) if "sk-" in text else text


@dataclass(frozen=True)
class Patience:
    """How long a reply is waited for, and whether one that did not come in time is asked for again.

    It is not unless that was asked for: the model may be at work on it yet, and each try is paid for.
    """

    seconds: float
    retries: bool = False


def patience_of_settings(timeout_s: float | None = None) -> Patience:
    """Return the patience of the settings TEACHER_TIMEOUT and TEACHER_RETRY_TIMEOUTS; `timeout_s` comes before the first.

    Raises:
        CourseError: it is no number of seconds above zero.
    """
    given = setting("TEACHER_TIMEOUT") if timeout_s is None else timeout_s
    try:
        seconds = TIMEOUT_S if given is None else float(given)
    except (TypeError, ValueError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        name = "TEACHER_TIMEOUT" if timeout_s is None else "timeout_s"
        raise CourseError(f"{name} is {given!r}; write the seconds that a reply may take, as in 300.")
    return Patience(seconds, setting("TEACHER_RETRY_TIMEOUTS") == "1")


def endpoint_of_settings(model: str, recording: Path, timeout_s: float | None = None) -> Endpoint:
    """Return the endpoint that the settings name, or the recording where they name none.

    Raises:
        CourseError: OPENAI_BASE_URL is no http address, the time-out no time, or the recording cannot be read.
    """
    base_url, key = setting("OPENAI_BASE_URL"), (setting("OPENAI_API_KEY") or "").strip() or None
    patience = patience_of_settings(timeout_s)
    if key and not (key.isascii() and key.isprintable()):
        raise CourseError("OPENAI_API_KEY holds characters that no key has; copy it again.")
    if base_url:
        base_url = http_address(base_url, "OPENAI_BASE_URL")
        parts = urlsplit(base_url)
        place = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return Endpoint(f"{model} at {place}", _opener(base_url, key or "none", patience), False, False, key)
    if key:
        # the base URL is given, because the SDK would otherwise read it from the environment a second time
        return Endpoint(f"{model} at OpenAI", _opener(OPENAI_URL, key, patience), False, True, key)
    return endpoint_of_recording(recording, patience)


def endpoint_of_recording(recording: Path, patience: Patience, replays: str | None = None) -> Endpoint:
    """Return the endpoint that answers out of a recording and reaches no network, whatever the settings name.

    `replays` is the model that gave the replies; its name keeps them apart from other recordings' in a journal.

    Raises:
        CourseError: the recording cannot be read.
    """
    recorded = read_recording(recording)
    sources = sorted({row.get("source", "") for row in recorded.values()})
    name = f"the recording in data/recorded ({'; '.join(sources)})"
    return Endpoint(name, _opener("http://recording.invalid/v1", "none", patience, recorded), True, False, None, replays)


def _opener(
    base_url: str, key: str, patience: Patience, recorded: dict[str, dict] | None = None
) -> Callable[[], AsyncOpenAI]:
    def open_client() -> AsyncOpenAI:
        import httpx2
        import openai

        options = {} if recorded is None else {"transport": transport(recorded)}
        http_client = _client_class()(
            patience,
            event_hooks={"response": [partial(check_response, patience=patience)]},
            verify=_certificates(),
            trust_env=not is_loopback(base_url),  # a proxy has no business between two programs of one machine
            **options,
        )
        timeout = httpx2.Timeout(patience.seconds, connect=min(patience.seconds, CONNECT_TIMEOUT_S), pool=None)
        return openai.AsyncOpenAI(
            base_url=base_url, api_key=key, timeout=timeout, max_retries=MAX_RETRIES, http_client=http_client
        )

    return open_client


def is_loopback(base_url: str) -> bool:
    """Return whether an address is on this machine, by its name or number."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    within = getattr(address, "ipv4_mapped", None) or address  # ::ffff:127.0.0.1
    return within.is_loopback or within.is_unspecified


@lru_cache
def _client_class():
    """Return the SDK's HTTP client, which does not send a request again whose reply took too long."""
    import httpx2
    import openai

    class PatientClient(openai.DefaultAsyncHttpxClient):
        def __init__(self, patience: Patience, **options):
            super().__init__(**options)
            self._patience = patience

        async def send(self, request, **options):
            is_reply = request.url.path.endswith("/chat/completions")  # and no file of a batch
            try:
                # the client's own limit starts anew with each byte: one that trickles would be waited for without an end
                async with asyncio.timeout(self._patience.seconds * LONGER if is_reply else None):
                    return await super().send(request, **options)
            except (httpx2.ReadTimeout, TimeoutError) as error:
                if self._patience.retries or request.method != "POST":
                    raise httpx2.ReadTimeout("the reply came too late", request=request) from error
                raise openai.APITimeoutError(request=request) from error  # the SDK lets its own errors through

    return PatientClient


@lru_cache
def _certificates():
    """Return the certificates to check a server by, read once: that takes 30 ms for each client."""
    import httpx2

    return httpx2.create_ssl_context()


async def check_response(response, patience: Patience) -> None:
    """Raise or mark, beneath the SDK's retries, what its own rules would miss.

    A body that ends half-way is a lost connection, to be tried again; spent credit comes as a 429, and is not. An error
    that is sent with the status 200 gets the status that it names.
    """
    import httpx2

    await response.aread()
    content = response.content
    spent = response.status_code == 429 and b"insufficient_quota" in content
    if spent or (response.status_code in GATEWAY_TIMEOUTS and not patience.retries):
        response.headers["x-should-retry"] = "false"
    # with its length given, a body that ended early was noticed below; one that is whole and no JSON may have been paid for
    open_ended = "content-length" not in response.headers and "json" in response.headers.get("content-type", "")
    if response.is_success and open_ended:
        try:
            json.loads(content)
        except RecursionError:  # whole, and no reply
            pass
        except ValueError:
            raise httpx2.RemoteProtocolError("the body is not whole") from None
    if response.is_success and b'"choices"' not in content and response.request.url.path.endswith("/chat/completions"):
        response.status_code = _status_within(parsed_body(content.decode(errors="replace"))) or response.status_code
    if response.status_code >= 500 and is_about_structure(words_of(parsed_body(content.decode(errors="replace")))):
        response.headers["x-should-retry"] = "false"  # it will not take this schema the next time either


def _status_within(body: object) -> int | None:
    """Return the status that an error with the status 200 stands for; None where the body is no error."""
    body = body[0] if isinstance(body, list) and body else body
    if not isinstance(body, dict) or not (body.get("error") or body.get("object") == "error"):
        return None
    error = body["error"] if isinstance(body.get("error"), dict) else body
    said = f"{words_of(body)} {error.get('code')} {error.get('type')}".lower()
    given = [error.get("code"), error.get("status"), body.get("code"), body.get("status_code")]
    for code in (str(one) for one in given):
        if not (code.isdecimal() and len(code) in (3, 5)):
            continue
        if 400 <= int(code) < 600:
            return int(code)
        if 40_000 <= int(code) < 60_000:  # FastChat: 40301, 50001
            return int(code[:3]) if code.startswith("5") else 400
    for words, status in (
        (r"insufficient_quota|insufficient (?:credit|balance)", 402),
        (r"unexpected endpoint|model.{0,80}(?:not found|does not exist|not exist)", 404),
        (r"invalid.{0,4}api.{0,4}key|incorrect api key|unauthori[sz]ed", 401),
        (r"rate.?limit|too many requests", 429),
        (r"invalid_request|bad request|badrequest", 400),
    ):
        if re.search(words, said):
            return status
    return 400 if is_about_structure(said) else 500


# --- requests --------------------------------------------------------------------------------


@dataclass
class Dialect:
    """What an endpoint turned out to understand; it starts with the newest form and learns from refusals."""

    length_parameter: str = "max_completion_tokens"
    structure: str = STRUCTURED
    weaker: Mapping[str, str] = field(default_factory=dict)  # the form for schemas that its grammar cannot take, by schema
    zero_temperature: bool = True  # reasoning models know no temperature but their own

    def structure_for(self, schema: type[BaseModel] | None) -> str:
        """Return the form in which a schema is asked for."""
        return self.weaker.get(schema_text(schema), self.structure)

    def learn(self, error: Exception, request: Request, schema: type[BaseModel] | None = None) -> str | None:
        """Change to the next form where a refusal names the one that was used; return what changed, or None.

        A refusal of the request's own parameter says nothing about the others.
        """
        status, said = getattr(error, "status_code", None), words_of_error(error)
        weakened = self._weaken(said, schema) if schema and status in LEARNABLE else None
        if weakened or status not in SPEAKS_OF_PARAMETERS:
            return weakened
        own_length = {"max_completion_tokens", "max_tokens"} & set(request.parameters)
        if not own_length and is_about_length(said) and self.length_parameter == "max_completion_tokens":
            self.length_parameter = "max_tokens"
            return "takes max_tokens"
        if is_about_temperature(said) and request.parameters.get("temperature") == 0 and self.zero_temperature:
            self.zero_temperature = False
            return "takes no temperature 0, and is asked without"
        return None

    def _weaken(self, said: str, schema: type[BaseModel]) -> str | None:
        form, of_one = WEAKER.get(self.structure_for(schema)), is_about_one_schema(said)
        if form is None or not (of_one or is_about_structure(said)):
            return None
        if of_one:
            self.weaker = {**self.weaker, schema_text(schema): form}
            return f"cannot take the schema {schema_name(schema)}, and is asked for it by way of {form}"
        self.structure, self.weaker = form, {}
        return f"is asked for JSON by way of {form}"


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
    structure = dialect.structure_for(schema)
    if structure == STRUCTURED:
        body["response_format"] = strict_response_format(schema)
        return body
    if structure == JSON_MODE:
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


def words_of_error(error: Exception) -> str:
    """Return what a server said with an error, in its own words."""
    response = getattr(error, "response", None)
    if response is None:
        return str(getattr(error, "message", error))
    return words_of(parsed_body(response.content.decode(errors="replace")))


def explain(error: Exception, model: str, scrub: Callable[[str], str] = str) -> tuple[str, str, bool]:
    """Return an error's class, what went wrong with what to do, and whether every further request would meet it."""
    import openai

    codes = {value for value in (getattr(error, "code", None), getattr(error, "type", None)) if isinstance(value, str)}
    status = getattr(error, "status_code", "unknown")
    if "not_recorded" in codes:
        return "not_recorded", NOT_RECORDED, False
    if "insufficient_quota" in codes or status == 402:
        return "insufficient_quota", "no credit is left on this key: top it up", True
    words = scrub(words_of_error(error))  # before it is cut: half a key is a secret too
    said = f" ({words:.200})" if words else ""
    if isinstance(error, openai.NotFoundError) and is_about_structure(words):
        return "status_404", f"the endpoint has no provider for this request (404){said}", False
    if late := _explain_lateness(error, status, said):
        return "timeout", late, False
    explanations = {
        openai.AuthenticationError: (
            "refused_key", "the endpoint refused the key (401): check OPENAI_API_KEY or remove it", True),
        openai.NotFoundError: (
            "unknown_model",
            f"the endpoint does not know the model {model!r} (404): set TEACHER_MODEL, or end OPENAI_BASE_URL in /v1{said}",
            True),
        openai.PermissionDeniedError: (
            "forbidden", f"this key may not use this model or endpoint (403): ask for access{said}", True),
        openai.RateLimitError: (
            "rate_limit", f"the rate limit held through every retry: lower the concurrency{said}", False),
        openai.APIConnectionError: (
            "connection", "the connection failed in every try: check OPENAI_BASE_URL and the network", False),
        openai.InternalServerError: (
            "server_error", f"the endpoint failed in every try (status {status}): ask again later{said}", False),
    }  # fmt: skip
    for kind, explained in explanations.items():
        if isinstance(error, kind):
            return explained
    return f"status_{status}", f"the endpoint answered with status {status}{said}", False


def _explain_lateness(error: Exception, status: int | str, said: str) -> str | None:
    """Return what to do about a reply that came too late; None where it is no such error.

    A time-out is a connection error too, but one that the next request need not meet; while connecting, it is just that.
    """
    import httpx2
    import openai

    again = "it may have been paid for and was not asked again (TEACHER_RETRY_TIMEOUTS=1 does)"
    if status in GATEWAY_TIMEOUTS:
        return f"a gateway before the endpoint gave up waiting (status {status}): {again}{said}"
    if not isinstance(error, openai.APITimeoutError) or isinstance(error.__cause__, httpx2.ConnectTimeout):
        return None
    seconds = error.request.extensions.get("timeout", {}).get("read") or TIMEOUT_S
    late: BaseException | None = error.__cause__
    if isinstance(late, httpx2.ReadTimeout) and isinstance(late.__cause__, TimeoutError):
        late = late.__cause__  # it was tried again
    if isinstance(late, TimeoutError):
        return f"the reply kept coming and had not ended after {seconds * LONGER:g} s: raise TEACHER_TIMEOUT; {again}"
    return f"no reply came within {seconds:g} s: raise TEACHER_TIMEOUT; {again}"
