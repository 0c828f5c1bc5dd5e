"""Requests to a teacher and its replies: their keys, and what can be wrong with a completion."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from kotune.teacher.costs import Usage
from kotune.teacher.reasoning import without_reasoning
from kotune.teacher.refusals import words_of
from prompts import Message
from utils import CourseError

ROLES = ("system", "developer", "user", "assistant")
FIXED_PARAMETERS = {"model", "messages", "n", "stream", "stream_options", "response_format"}
Schema = TypeVar("Schema", bound=BaseModel)  # of a reply: the class of what is parsed out of it
# one fence around all of a reply, in backticks or tildes, whatever language it names and however its lines end
FENCED = re.compile(r"\A[\s\ufeff]*+(?P<fence>`{3,}+|~{3,}+)[ \t]*+\w*+[ \t]*+(?P<json>.*?)(?P=fence)\s*\Z", re.DOTALL)
# How endpoints say that a reply came to its end. Whoever says nothing is believed; all else is no end.
ENDS = {"", "stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"}
CUT = {"length", "max_tokens", "max_length", "model_length", "max_output_tokens", "model_context_window_exceeded"}
WITHHELD = {
    "content_filter", "content_filtered", "safety", "sensitive", "recitation", "blocklist", "prohibited_content", "spii",
    "guardrail_intervened", "refusal",
}  # fmt: skip
REASONING_ALONE = ("empty", "the reply was reasoning alone, without an answer: raise max_completion_tokens")
CALLS = {"tool_calls", "tool_call", "tool_use", "function_call"}


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
    request, failure is the class (None where it was not sent). raw is the reply as it came, where there was one and it
    differs from text: a failed one, or one whose reasoning was cut off.
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

    @property
    def was_reasoned(self) -> bool:
        """Whether reasoning was cut off; it is in raw."""
        return self.error is None and self.raw is not None


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

    `text` is the raw text in either case, so that a failure can be kept and looked at; `answer` is what is left of it
    without reasoning.
    """

    text: str | None = None
    parsed: Schema | None = None
    failure: str | None = None
    error: str | None = None
    usage: Usage | None = None
    served_by: str | None = None
    answer: str | None = None


def parse_reply(text: str, schema: type[Schema]) -> Schema:
    """Return the value that a reply spells out: the whole text as JSON, or one code fence that holds all of it.

    Nothing is repaired: a reply that is not JSON, or does not fit, raises pydantic's ValidationError, and one that names a
    key twice with two values an AmbiguousReply.
    """
    fenced = FENCED.match(text)
    spelt = fenced["json"] if fenced else text.strip("\ufeff")
    parsed = schema.model_validate_json(spelt)
    with suppress(RecursionError):
        json.loads(spelt, object_pairs_hook=_once)
    return parsed


class AmbiguousReply(Exception):
    """A reply's JSON names a key twice, with two values."""


def _once(pairs: list[tuple[str, object]]) -> dict:
    named: dict[str, object] = {}
    for key, value in pairs:
        if key in named and named[key] != value:
            raise AmbiguousReply(f"{key} stands there twice, with two values")
        named[key] = value
    return named


def answer_of(text: str, schema: type[Schema] | None) -> tuple[str, Schema | None]:
    """Return a reply's text without its reasoning, and what it spells out where there is a schema.

    Raises:
        ValidationError: neither the whole nor what is left without the reasoning fits the schema.
        AmbiguousReply: it names a key twice.
    """
    answer = without_reasoning(text)
    if schema is None:
        return answer, None
    if answer != text:
        try:
            return text, parse_reply(text, schema)  # marks within the JSON's own strings are part of the answer
        except ValidationError:
            pass
    return answer, parse_reply(answer, schema)


def _usage_of(body: dict) -> Usage | None:
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    given = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached or 0)
    counts = [int(count) for count in given if isinstance(count, int | float) and 0 <= count == count // 1]
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
        if isinstance(body, dict) and (trouble := body.get("error") or choice.get("error")):
            error = f"the endpoint sent an error instead of a reply ({words_of(trouble):.200})"
            return Outcome(raw[:2000], failure="endpoint_error", error=error, usage=usage)
        error = "the reply has no choices with a message: the endpoint is not quite OpenAI-compatible"
        return Outcome(raw[:2000], failure="no_choices", error=error, usage=usage)
    text, refusal = _text_of(message), message.get("refusal") and str(message["refusal"])
    if text is not None and not isinstance(text, str):
        raw = json.dumps(text, ensure_ascii=False)
        return Outcome(raw, failure="no_text", error="the reply's content is no text", usage=usage)
    not_ended = _not_ended(body, choice)
    if not_ended:
        text, (failure, error) = text or refusal, not_ended
    elif refusal:
        text, failure, error = refusal, "refusal", f"the teacher refused: {refusal:.200}"
    elif text is None or not text.strip():
        thought = next((message[name] for name in ("reasoning_content", "reasoning") if message.get(name)), None)
        if isinstance(thought, str):
            text, (failure, error) = thought, REASONING_ALONE
        else:
            failure, error = "empty", "the reply was empty"
    else:
        return _read_text(text, schema, usage)
    return Outcome(text, failure=failure, error=error, usage=usage)


def _text_of(message: dict) -> object:
    """Return a message's content; one in parts becomes a text, with its reasoning between marks."""
    content = message.get("content")
    if not isinstance(content, list) or not content or not all(isinstance(part, dict) for part in content):
        return content
    texts: list[str] = []
    for part in content:
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part.get("type") in ("thinking", "reasoning"):
            texts.append(f"<think>{json.dumps(part.get('thinking'), ensure_ascii=False)}</think>\n")
        else:  # a picture, say
            return content
    return "".join(texts)


def _not_ended(body: object, choice: dict) -> tuple[str, str] | None:
    """Return why a reply is not whole, as class and sentence; None where it came to its end."""
    reason = choice.get("finish_reason")
    if isinstance(reason, dict):  # SGLang's own form
        reason = reason.get("type")
    said = "" if reason is None else str(reason)
    end = said.rpartition(".")[2].strip().lower()  # FinishReason.STOP, as a proxy prints an enumeration
    trouble = choice.get("error") or (body.get("error") if isinstance(body, dict) else None)
    if end in CUT:
        return "truncated", "the reply was cut at its length limit: raise max_completion_tokens, or ask for less at a time"
    if end in WITHHELD:
        return "content_filter", "the reply was withheld by a content filter"
    if end in CALLS:
        return "tool_calls", "the reply calls a tool instead of answering, and none was offered"
    if trouble:
        return "unfinished", f"the endpoint broke off the reply ({words_of(trouble):.200})"
    if end not in ENDS:
        return "unfinished", f"the endpoint did not finish the reply (finish_reason {said:.60}): ask again"
    return None


def _read_text(text: str, schema: type[Schema] | None, usage: Usage | None) -> Outcome[Schema]:
    try:
        answer, parsed = answer_of(text, schema)
    except Exception as error:  # a validator of the schema's own may raise anything
        failure, said = _misfit(error, schema_name(schema)) if without_reasoning(text).strip() else REASONING_ALONE
        return Outcome(text, failure=failure, error=said, usage=usage)
    if not answer.strip():
        failure, said = REASONING_ALONE
        return Outcome(text, failure=failure, error=said, usage=usage)
    return Outcome(text, parsed, usage=usage, answer=answer)


def _misfit(error: Exception, name: str) -> tuple[str, str]:
    """Return why a reply does not fit its schema, as class and sentence."""
    if isinstance(error, AmbiguousReply):
        return "schema", f"the reply does not fit its schema {name}: {error}"
    if not isinstance(error, ValidationError):
        return "schema", f"a validator of {name} failed on the reply ({type(error).__name__}: {error})"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return "invalid_json", f"the reply is no JSON: {first['msg']}"
    where = ".".join(str(part) for part in first["loc"]) or "the whole"
    return "schema", f"the reply does not fit its schema {name}: {where}: {first['msg']}"


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
    raw = row["text"]
    if outcome is not None:
        answer, parsed = outcome.answer or raw, outcome.parsed
    else:
        try:
            answer, parsed = answer_of(raw, schema)
            if not answer.strip():
                raise ValueError("reasoning alone, from before it was cut off")
        except Exception:  # a validator was added to the schema's class since; it may raise anything
            error = f"the reply in the journal no longer fits {schema_name(schema)}: remove the line with key {row['key']}"
            return Reply(None, None, error, identity, usage, row.get("usd"), from_journal=True)
    whole: Reply[Schema] = Reply(answer, parsed, None, identity, usage, row.get("usd"), from_journal=outcome is None)
    return replace(whole, served_by=served_by, raw=None if answer == raw else raw)
