"""Requests to a teacher and its replies: their keys, and what can be wrong with a completion."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from kotune.teacher.costs import Usage
from prompts import Message
from utils import CourseError

ROLES = ("system", "developer", "user", "assistant")
FIXED_PARAMETERS = {"model", "messages", "n", "stream", "stream_options", "response_format"}
Schema = TypeVar("Schema", bound=BaseModel)  # of a reply: the class of what is parsed out of it
FENCED = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


@dataclass(frozen=True, init=False)
class Request:
    """Messages for the teacher, an id of the caller's own, and parameters of this request (temperature, seed, ...)."""

    messages: tuple[Message, ...]
    id: str | None
    parameters: dict

    def __init__(self, messages: str | Sequence[Message], id: str | None = None, **parameters):
        """Take one user message as text, or a list of messages.

        Raises:
            CourseError: there is no message, or one has no text or an unknown role.
        """
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if not isinstance(messages, Sequence):
            kind = type(messages).__name__
            raise CourseError(f"Request {id or '(no id)'} is a {kind}; give a text or a list of messages.")
        for place, message in enumerate(messages):
            known = isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)
            if not known:
                raise CourseError(
                    f"Message {place} of request {id or '(no id)'} needs a role ({', '.join(ROLES)}) and a text; "
                    f"it has {message!r:.80}."
                )
        if not messages:
            raise CourseError(f"Request {id or '(no id)'} has no messages; give it at least one.")
        fixed = sorted(FIXED_PARAMETERS & set(parameters))
        if fixed:
            raise CourseError(
                f"Request {id or '(no id)'} sets {', '.join(fixed)}, which the teacher sets itself; the model is chosen in "
                "connect, and several replies to one prompt are several requests (with a seed each, say)."
            )
        try:
            json.dumps(parameters)
        except TypeError as error:
            raise CourseError(f"Request {id or '(no id)'} has a parameter that is no JSON ({error}).") from None
        object.__setattr__(self, "messages", tuple(messages))
        object.__setattr__(self, "id", id)
        object.__setattr__(self, "parameters", parameters)


def as_request(given: str | Sequence[Message] | Request) -> Request:
    """Return a request from a text (one user message), a list of messages, or a request."""
    return given if isinstance(given, Request) else Request(given)


@dataclass(frozen=True)
class Reply(Generic[Schema]):
    """What came back for one request: the text and, with a schema, its parsed value; or the error.

    usage and usd are those of the time when it was asked; usd is None where the model has no known price. Of a failed
    request, failure is the class (None where it was not sent) and raw the reply as it came, where there was one.
    served_by: the model that the endpoint says it used, with its fingerprint.
    """

    text: str | None
    parsed: Schema | None
    error: str | None
    id: str = ""
    usage: Usage | None = None
    usd: float | None = None
    from_journal: bool = False
    failure: str | None = None
    raw: str | None = None
    served_by: str | None = None


@lru_cache
def schema_text(schema: type[BaseModel] | None) -> str:
    """Return a reply's JSON schema as text; empty for free text."""
    if schema is None:
        return ""
    return json.dumps(schema.model_json_schema(), ensure_ascii=False, sort_keys=True)


@lru_cache(256)
def _hash_of_model_and_schema(model: str, schema: type[BaseModel] | None):
    return hashlib.sha256(json.dumps([model, schema_text(schema)], ensure_ascii=False).encode("utf-8", "surrogatepass"))


def journal_key(model: str, request: Request, schema: type[BaseModel] | None) -> str:
    """Return the key of a request in the journal: a hash of model, messages, schema and parameters."""
    digest = _hash_of_model_and_schema(model, schema).copy()
    body = json.dumps([request.messages, request.parameters], ensure_ascii=False, sort_keys=True)
    digest.update(body.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Outcome(Generic[Schema]):
    """What a completion holds: a text that can be used (`failure` is None), or the class of what is wrong with it.

    `text` is the raw text in either case, so that a failure can be kept and looked at.
    """

    text: str | None = None
    parsed: Schema | None = None
    failure: str | None = None
    error: str | None = None
    usage: Usage | None = None
    served_by: str | None = None


def parse_reply(text: str, schema: type[Schema]) -> Schema:
    """Return the value that a reply spells out: the whole text as JSON, or one code fence that holds all of it.

    Nothing is repaired: a reply that is not JSON, or does not fit, raises pydantic's ValidationError.
    """
    fenced = FENCED.match(text)
    return schema.model_validate_json(fenced[1] if fenced else text)


def _usage_of(body: dict) -> Usage | None:
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    given = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached or 0)
    counts = [count for count in given if isinstance(count, int) and count >= 0]
    return Usage(*counts) if len(counts) == len(given) else None


def read_completion(body: object, schema: type[Schema] | None) -> Outcome[Schema]:
    """Return what a chat completion's JSON holds; `finish_reason` is looked at before the text."""
    return replace(_read_completion(body, schema), served_by=_served_by(body))


def _served_by(body: object) -> str | None:
    if not isinstance(body, dict):
        return None
    parts = [body.get("model"), body.get("system_fingerprint")]
    return " ".join(part for part in parts if isinstance(part, str) and part) or None


def _first_choice(body: object) -> dict:
    """Return a completion's first choice; empty where it has none."""
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _read_completion(body: object, schema: type[Schema] | None) -> Outcome[Schema]:
    usage = _usage_of(body) if isinstance(body, dict) else None
    choice = _first_choice(body)
    message = choice.get("message")
    if not isinstance(message, dict):
        raw = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        error = "the reply has no choices with a message: the endpoint is not quite OpenAI-compatible"
        return Outcome(raw[:2000], failure="no_choices", error=error, usage=usage)
    text, finish_reason = message.get("content"), choice.get("finish_reason")
    refusal = message.get("refusal") and str(message["refusal"])
    if text is not None and not isinstance(text, str):
        raw = json.dumps(text, ensure_ascii=False)
        return Outcome(raw, failure="no_text", error="the reply's content is no text", usage=usage)
    if finish_reason == "length":
        failure = "truncated"
        error = "the reply was cut at its length limit: raise max_completion_tokens, or ask for less at a time"
    elif finish_reason == "content_filter":
        failure, error = "content_filter", "the reply was withheld by a content filter"
    elif refusal:
        text, failure, error = refusal, "refusal", f"the teacher refused: {refusal:.200}"
    elif not isinstance(text, str) or not text.strip():
        failure, error = "empty", "the reply was empty"
    else:
        return _read_text(text, schema, usage)
    return Outcome(text, failure=failure, error=error, usage=usage)


def _read_text(text: str, schema: type[Schema] | None, usage: Usage | None) -> Outcome[Schema]:
    if schema is None:
        return Outcome(text, usage=usage)
    try:
        return Outcome(text, parse_reply(text, schema), usage=usage)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    except Exception as error:  # a validator of the schema's own may raise anything
        said = f"a validator of {schema.__name__} failed on the reply ({type(error).__name__}: {error})"
        return Outcome(text, failure="schema", error=said, usage=usage)
    if first["type"] == "json_invalid":
        return Outcome(text, failure="invalid_json", error=f"the reply is no JSON: {first['msg']}", usage=usage)
    where = ".".join(str(part) for part in first["loc"]) or "the whole"
    said = f"the reply does not fit its schema {schema.__name__}: {where}: {first['msg']}"
    return Outcome(text, failure="schema", error=said, usage=usage)


def schema_name(schema: type[BaseModel] | None) -> str:
    """Return a schema's name as the journal writes it."""
    return schema.__name__ if schema else "text"


def reply_of(row: dict, schema: type[Schema] | None, outcome: Outcome[Schema] | None = None) -> Reply[Schema]:
    """Return the reply that a line of the journal or of the failures holds; `outcome` is given where it is new."""
    usage, served_by = Usage(**row["usage"]) if row.get("usage") else None, row.get("served_by")
    identity = row.get("id") or row["key"]
    if "failure" in row:
        failed: Reply[Schema] = Reply(None, None, row["error"], identity, usage, row["usd"])
        return replace(failed, failure=row["failure"], raw=row["text"], served_by=served_by)
    if outcome is not None:
        return Reply(row["text"], outcome.parsed, None, identity, usage, row["usd"], served_by=served_by)
    try:
        parsed = parse_reply(row["text"], schema) if schema else None
    except Exception:  # a validator was added to the schema's class since; it may raise anything
        error = f"the reply in the journal no longer fits {schema_name(schema)}: remove the line with key {row['key']}"
        return Reply(None, None, error, identity, usage, row.get("usd"), from_journal=True)
    return Reply(row["text"], parsed, None, identity, usage, row.get("usd"), from_journal=True, served_by=served_by)
