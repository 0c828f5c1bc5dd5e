"""Protects: what the openai client sends of itself is taken, and what asks for something that is not served is refused by name."""

import json

import pytest
from openai.types.chat import ChatCompletion
from openai.types.chat import ChatCompletionMessage as TheirMessage
from pydantic import ValidationError

from kotune.models.sampling import Sampling
from kotune.serving.api import ChatCompletionRequest, GenerateRequest, Usage, WholeReply, whole_completion

ASKED = {"role": "user", "content": "확정일자는 어디에서 받나요?"}
BASE = {"model": "tiny", "messages": [ASKED]}


def read(**fields) -> ChatCompletionRequest:
    """Read a request from its JSON, as the server does."""
    return ChatCompletionRequest.model_validate(json.loads(json.dumps({**BASE, **fields})))


def test_the_usual_loop_goes_on_with_the_servers_own_reply():
    used = Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2)
    reply = whole_completion("tiny", WholeReply("주민센터에서 받습니다.", "stop", used)).model_dump()
    returned = ChatCompletion.model_validate(reply).choices[0].message
    for sent in (returned.model_dump(), returned.model_dump(exclude_unset=True), reply["choices"][0]["message"]):
        messages = read(messages=[ASKED, sent, ASKED]).request().messages
        assert messages == [ASKED, {"role": "assistant", "content": "주민센터에서 받습니다."}, ASKED]


@pytest.mark.parametrize("name", [*TheirMessage.model_fields, "reasoning_content", "provider_specific_fields", "prefix"])
def test_a_null_in_an_earlier_turn_asks_nothing(name):
    turn = {"role": "assistant", "content": "네.", **({} if name in ("role", "content") else {name: None})}
    assert read(messages=[ASKED, turn, ASKED]).request().messages[1] == {"role": "assistant", "content": "네."}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": None},
        {"n": 1},
        {"tools": None},
        {"tools": []},
        {"tool_choice": "none"},
        {"tool_choice": None, "parallel_tool_calls": True},
        {"logprobs": False, "top_logprobs": 0},
        {"logprobs": None},
        {"store": False, "metadata": {}},
        {"functions": [], "function_call": "auto"},
        {"logit_bias": {}, "modalities": ["text"], "service_tier": "auto"},
        {"stream_options": None, "response_format": None, "user": None, "seed": None, "stop": None},
        {"stream": None, "max_tokens": None, "max_completion_tokens": None},
        {"stream_options": {"include_usage": None, "include_obfuscation": False}},
        {"reasoning_effort": None, "prediction": None, "audio": None, "web_search_options": None},
        {"temperature": None, "top_p": None, "presence_penalty": None, "frequency_penalty": None},
    ],
)
def test_what_asks_for_nothing_is_taken_and_changes_nothing(fields):
    assert read(**fields).request() == read().request() and read(**fields).request().sampling == Sampling()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 0}, "logprobs"),
        ({"top_logprobs": False}, "top_logprobs"),
        ({"store": True}, "store"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"logit_bias": {"5": -100}}, "logit_bias"),
        ({"messages": None}, "messages"),
        ({"model": None}, "model"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}, ASKED]}, "messages"),
        ({"messages": [ASKED, {"role": "assistant", "content": "네", "tool_calls": [{"id": "x"}]}, ASKED]}, "messages"),
        ({"messages": [ASKED, {"role": "assistant", "content": "네", "refusal": "아니요"}, ASKED]}, "messages"),
    ],
)
def test_what_asks_for_more_is_refused_by_name(fields, named):
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    assert caught.value.errors()[0]["loc"][0] == named


def test_a_developers_text_is_the_systems():
    messages = read(messages=[{"role": "developer", "content": "합니다체로"}, ASKED]).request().messages
    assert messages[0] == {"role": "system", "content": "합니다체로"}


def test_nulls_ask_nothing_of_generate_either():
    nulls = dict.fromkeys(["input", "system", "model", "max_tokens", "use_documents", "stop", "seed", "n", "stream"])
    assert GenerateRequest.model_validate({"instruction": "가", **nulls}) == GenerateRequest(instruction="가")
