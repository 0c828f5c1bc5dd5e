"""Requests and replies of the HTTP interface: `/generate`, and OpenAI's `/v1/chat/completions` and `/v1/models`.

A field that this server does not know is refused by name, because one that is ignored would seem to work; but for a
null and for values that ask for nothing, which the `openai` client sends of itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kotune.data.ranking import Ranking
from kotune.models.sampling import SERVED_RANGES, Finish, Progress, Sampling
from kotune.serving.backends import ChatRequest
from kotune.serving.guard import Limits

LIMITS = Limits()
Text = Annotated[str, Field(max_length=LIMITS.message_characters)]
Stop = Annotated[str, Field(min_length=1, max_length=64)]


def misfit_sentence(place: Sequence[int | str], kind: str, message: str) -> str:
    """Return in words what pydantic says of a body that does not fit: the field, and what is wrong with it."""
    field = ".".join(map(str, place)) or "the body"
    what = "unknown field; remove it" if kind == "extra_forbidden" else message
    return f"{field:.200}: {what:.200}".encode("utf-8", "replace").decode()  # halves of characters come in as well


class Body(BaseModel):
    """A body whose fields are all known and of their own type: "0.5" is no number, 0 is not false.

    A field that may be left out may be null as well, and one in `asks_nothing` have the values that stand there.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)
    asks_nothing: ClassVar[dict[str, tuple[Any, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _drop_what_asks_nothing(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if not cls._means_nothing(name, value)}

    @classmethod
    def _means_nothing(cls, name: str, value: Any) -> bool:
        field = cls.model_fields.get(name)
        if value is None:
            return field is None or not field.is_required()
        # True == 1 in Python, and `logprobs: 0` is not `logprobs: false`
        return any(type(value) is type(nothing) and value == nothing for nothing in cls.asks_nothing.get(name, ()))


def _within(name: str, description: str | None = None):
    """Return a setting's default, and its range on this server."""
    low, high = SERVED_RANGES[name]
    return Field(getattr(Sampling, name), ge=low, le=high, description=description)


class SamplingFields(Body):
    """How a reply is chosen; greedy unless something else is asked for."""

    temperature: float = _within("temperature", "0 takes the likeliest token")
    top_p: float = _within("top_p")
    top_k: int = _within("top_k", "0 for all")
    min_p: float = _within("min_p", "a share of the likeliest token's probability")
    repetition_penalty: float = _within("repetition_penalty")
    presence_penalty: float = _within("presence_penalty")
    frequency_penalty: float = _within("frequency_penalty")
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None

    def sampling(self, max_tokens: int) -> Sampling:
        """Return the parameters of these fields."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        chosen = {name: getattr(self, name) for name in (*SERVED_RANGES, "seed")}
        return Sampling(max_tokens=max_tokens, stop=stop, **chosen)


class GenerateRequest(SamplingFields):
    """An instruction to follow, as in the training data."""

    instruction: Text = Field(
        min_length=1,
        description="a model with one job takes its text here, or its own instruction with the text as input",
        examples=["전세와 월세의 가장 큰 차이를 알려 주세요."],
    )
    input: Text = Field("", description="what the instruction is about; may be empty")
    system: Text = ""
    model: str | None = Field(None, max_length=200, description="one of /v1/models; the tuned one if absent")
    max_tokens: int = Field(256, ge=1, le=LIMITS.max_tokens)
    use_documents: bool = Field(False, description="answer from the server's documents, and name them")

    @field_validator("instruction")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the instruction is blank")
        return value


class NamedSource(Body):
    """A passage that stood in the prompt."""

    number: int
    id: str
    title: str
    score: float = Field(description="higher is better; to be compared within one ranking alone")


class Usage(Body):
    """Tokens, as OpenAI counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class GenerateReply(Body):
    """A whole reply. finish_reason: "stop" where it ended by itself, "length" where it was cut."""

    text: str
    model: str
    finish_reason: Finish
    usage: Usage
    sources: list[NamedSource]
    ranking: Ranking | None = Field(None, description="how the sources were found; null where no documents were asked for")


class TextPart(Body):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: Text


class ChatMessage(Body):
    """One turn; those of the assistant may be sent back as they came, from this server or another."""

    asks_nothing = {"annotations": ([],), "tool_calls": ([],), "refusal": ("",), "reasoning_content": ("",)}

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=50)]
    name: str | None = Field(None, max_length=200)

    def plain(self) -> dict:
        """Return the turn as the renderer takes it."""
        content = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": content}


class StreamOptions(Body):
    """What a stream tells besides the text."""

    asks_nothing = {"include_obfuscation": (False,)}

    include_usage: bool = False


class ResponseFormat(Body):
    """Only text is written."""

    type: Literal["text"]


class ChatCompletionRequest(SamplingFields):
    """OpenAI's chat completion, the part that a language model alone can do."""

    asks_nothing = {
        "tools": ([],), "tool_choice": ("none", "auto"), "parallel_tool_calls": (False, True),
        "functions": ([],), "function_call": ("none", "auto"), "logprobs": (False,), "top_logprobs": (0,),
        "store": (False,), "metadata": ({},), "logit_bias": ({},), "modalities": (["text"],),
        "service_tier": ("auto", "default"),
    }  # fmt: skip

    model: str = Field(min_length=1, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=LIMITS.messages)
    max_tokens: int | None = Field(None, ge=1, le=LIMITS.max_tokens)
    max_completion_tokens: int | None = Field(None, ge=1, le=LIMITS.max_tokens)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(1, ge=1, le=1, description="one reply alone")
    response_format: ResponseFormat | None = None
    user: str | None = Field(None, max_length=200, description="accepted, and not used")

    @model_validator(mode="after")
    def _ends_with_the_user(self) -> ChatCompletionRequest:
        if self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's")
        return self

    def request(self) -> ChatRequest:
        """Return the conversation for a backend."""
        longest = self.max_completion_tokens or self.max_tokens or Sampling.max_tokens
        return ChatRequest(self.model, [m.plain() for m in self.messages], self.sampling(longest))


class CompletionMessage(Body):
    """The assistant's turn."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: str | None = None


class Choice(Body):
    """The one reply."""

    index: int = 0
    message: CompletionMessage
    finish_reason: Finish
    logprobs: None = None


class ChatCompletion(Body):
    """A whole reply in OpenAI's form."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class ModelCard(Body):
    """A model that is served, and what it is for where the server knows it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    description: str | None = None


class ModelList(Body):
    """The models that are served: for chat, the base first, then those that do one job."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(Body):
    """Whether the backend answers, and how many replies are under way."""

    status: Literal["ok"] = "ok"
    backend: str
    models: list[str]
    slots: int
    taken: int


class Problem(Body):
    """What went wrong, in one sentence, and what to do."""

    message: str
    type: str
    param: str | None
    code: str


class ProblemReply(Body):
    """An error in OpenAI's form."""

    error: Problem


class WholeReply(NamedTuple):
    """A reply that has ended."""

    text: str
    finish: Finish
    usage: Usage


def usage(last: Progress) -> Usage:
    """Return a reply's tokens."""
    return Usage(
        prompt_tokens=last.prompt_tokens,
        completion_tokens=last.tokens,
        total_tokens=last.prompt_tokens + last.tokens,
    )


def completion_id() -> str:
    """Return a new reply's id."""
    return f"chatcmpl-{uuid4().hex}"


def whole_completion(model: str, reply: WholeReply) -> ChatCompletion:
    """Return a whole reply in OpenAI's form."""
    choice = Choice(message=CompletionMessage(content=reply.text), finish_reason=reply.finish)
    return ChatCompletion(id=completion_id(), created=int(time.time()), model=model, choices=[choice], usage=reply.usage)


class Chunks:
    """Makes the events of one streamed reply in OpenAI's form, as dictionaries."""

    def __init__(self, model: str, with_usage: bool):
        self.head = {
            "id": completion_id(), "object": "chat.completion.chunk", "created": int(time.time()), "model": model,
        }  # fmt: skip
        self.with_usage = with_usage
        self.begun = False

    def of(self, progress: Progress) -> list[dict]:
        """Return the events of one piece: the role before the first, the reason and the usage after the last."""
        events = []
        if not self.begun:
            self.begun = True
            events.append(self._chunk({"role": "assistant", "content": ""}, None))
        if progress.text:
            events.append(self._chunk({"content": progress.text}, None))
        if progress.finish:
            events.append(self._chunk({}, progress.finish))
            if self.with_usage:
                events.append({**self.head, "choices": [], "usage": usage(progress).model_dump()})
        return events

    def _chunk(self, delta: dict, finish: str | None) -> dict:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**self.head, "choices": [choice]} | ({"usage": None} if self.with_usage else {})
