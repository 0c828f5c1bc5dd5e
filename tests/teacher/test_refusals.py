"""Protects: a refusal is read in whatever form it comes, told in the server's words, and asked otherwise where that helps."""

import pytest
from pydantic import BaseModel

from kotune.teacher import client
from kotune.teacher import endpoint as endpoint_module
from kotune.teacher.endpoint import JSON_MODE, PLAIN_TEXT, STRUCTURED
from kotune.teacher.refusals import parsed_body, words_of
from kotune.teacher.replies import Request
from tests.support.endpoint import chat_completion


class Answer(BaseModel):
    answer: str


class Other(BaseModel):
    answer: str
    reason: str


JSON = '{"answer": "예"}'


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """Connect with a journal of this test's own and without retries."""
    monkeypatch.setattr(endpoint_module, "MAX_RETRIES", 0)
    return lambda **options: client.connect(journal=tmp_path / "journal.jsonl", concurrency=1, **options)


def refuses(status, said, is_refused):
    """Answer with a refusal as long as a body is refused: a JSON value, or text as it is."""

    def answer(body):
        return (status, said) if is_refused(body) else (200, chat_completion(JSON))

    return answer


def form_of(body):
    """Return how a body asks for JSON."""
    form = (body.get("response_format") or {}).get("type")
    return {"json_schema": STRUCTURED, "json_object": JSON_MODE, None: PLAIN_TEXT}[form]


# a 422 of FastAPI repeats the whole request: its fields are not what it is about
REPEATED = {"model": "m", "response_format": {"type": "json_schema"}, "max_completion_tokens": 8, "temperature": 0}

LENGTH = {
    "OpenAI": (400, {"error": {"message": "Unsupported parameter: 'max_completion_tokens'", "param": "max_completion_tokens"}}),
    "Azure": (400, {"error": {"message": "Unrecognized request argument supplied: max_completion_tokens", "param": None}}),
    "an error that is a text": (400, {"error": "unknown field: max_completion_tokens"}),
    "FastAPI": (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"],
                                  "msg": "Extra inputs are not permitted", "input": 2048}]}),
    "a detail that is a text": (422, {"detail": "max_completion_tokens: extra fields not permitted"}),
    "Mistral": (422, {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "msg": "Extra inputs are not "
                      "permitted", "loc": ["body", "max_completion_tokens"], "input": 2048}]}, "type": "invalid_request_error"}),
    "vLLM, pydantic's list as text": (400, {"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', "
                      "'max_completion_tokens'), 'msg': 'Extra inputs are not permitted', 'input': 2048}]", "code": 400}),
    "plain text": (400, 'json: unknown field "max_completion_tokens"'),
    "Gemini, in a list": (400, [{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name "
                      '"max_completion_tokens": Cannot find field.', "status": "INVALID_ARGUMENT"}}]),
    "OpenRouter, within a text": (400, {"error": {"message": "Provider returned error", "code": 400, "metadata": {
        "raw": '{"error": {"message": "Unsupported parameter: \'max_completion_tokens\'"}}', "provider_name": "x"}}}),
    "LiteLLM": (400, {"error": {"message": "litellm.UnsupportedParamsError: x does not support parameters: "
                      "['max_completion_tokens'], for model=m. To drop these, set `litellm.drop_params=True`", "code": "400"}}),
    "Groq": (400, {"error": {"message": "property 'max_completion_tokens' is unsupported", "type": "invalid_request_error"}}),
    "a list of errors": (400, {"errors": [{"message": "max_completion_tokens is not allowed"}]}),
    "a problem by RFC 9457": (400, {"title": "Bad Request", "detail": "max_completion_tokens is not supported", "status": 400}),
    "with the status 200": (200, {"error": {"message": "Unsupported parameter: max_completion_tokens", "code": 400}}),
}  # fmt: skip


@pytest.mark.parametrize("name", LENGTH)
def test_an_endpoint_that_knows_max_tokens_alone_is_asked_so(endpoint, connect, name):
    server = endpoint(refuses(*LENGTH[name], lambda body: "max_completion_tokens" in body))
    replies = connect().ask(["가", "나"])
    assert [reply.text for reply in replies] == [JSON] * 2
    assert len(server.requests) == 3


FORMS = {
    "LM Studio": (400, {"error": "'response_format.type' must be 'text'"}),
    "Groq": (400, {"error": {"message": "This model does not support response format `json_schema`. See supported models"}}),
    "DeepSeek": (400, {"error": {"message": "This response_format type is unavailable now"}}),
    "TGI, plain text": (422, "Failed to deserialize the JSON body into the target type: response_format.type: unknown variant "
                        "`json_schema`, expected one of `json`, `regex` at line 1 column 90"),
    "FastAPI": (422, {"detail": [{"loc": ["body", "response_format", "type"], "msg": "value is not a valid enumeration member; "
                      "permitted: 'text'", "type": "type_error.enum"}]}),
    "OpenRouter has no provider": (404, {"error": {"message": "No endpoints found that can handle the requested parameters. To "
                      "learn more about provider routing, visit the docs.", "code": 404}}),
    "Azure": (400, {"error": {"message": "response_format value as json_schema is enabled only for api versions "
                    "2024-08-01-preview and later", "code": "BadRequest"}}),
    "not implemented": (501, {"detail": "structured output is not implemented"}),
    "Ollama fails": (500, {"error": {"message": "failed to load model vocabulary required for format", "type": "api_error"}}),
    "llama.cpp, an older one": (500, {"error": {"code": 500, "message": "json_schema is not built in", "type": "server_error"}}),
    "with the status 200": (200, {"error": "response_format is not supported"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_an_endpoint_that_knows_no_schemas_is_asked_in_words(endpoint, connect, name):
    server = endpoint(refuses(*FORMS[name], lambda body: "response_format" in body))
    replies = connect().ask(["가", "나"], Answer)
    assert all(reply.parsed for reply in replies), replies[0].error
    assert [form_of(request["body"]) for request in server.requests] == [STRUCTURED, JSON_MODE, PLAIN_TEXT, PLAIN_TEXT]


GRAMMARS = {
    "vLLM": (400, {"error": {"message": "The provided JSON schema contains features not supported by xgrammar."}}),
    "vLLM, another": (400, {"object": "error", "message": "Failed to compile grammar: minItems is too large", "code": 400}),
    "llama.cpp": (400, {"error": {"code": 400, "message": "JSON schema conversion failed: Unrecognized schema: {}"}}),
    "llama.cpp, at the grammar": (500, {"error": {"code": 500, "message": "failed to parse grammar", "type": "server_error"}}),
    "SGLang": (400, {"object": "error", "message": "Invalid grammar request with cache hit=False: schema", "code": 400}),
    "LM Studio": (400, {"error": "Failed to process regex"}),
    "OpenAI": (400, {"error": {"message": "Invalid schema for response_format 'Answer': In context=(), 'oneOf' is not "
               "permitted.", "param": "response_format"}}),
    "Ollama": (400, {"error": "invalid JSON schema in format"}),
    "Gemini": (400, [{"error": {"code": 400, "message": "The specified schema produces a constraint that has too many states "
               "for serving.", "status": "INVALID_ARGUMENT"}}]),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_schema_that_a_grammar_cannot_take_is_asked_for_in_another_way_and_the_others_are_not(endpoint, connect, name):
    def is_refused(body):
        form = body.get("response_format", {})
        return form.get("json_schema", {}).get("name") == "Answer"

    server = endpoint(refuses(*GRAMMARS[name], is_refused))
    who = connect()
    assert all(reply.parsed for reply in who.ask(["가", "나"], Answer))
    who.ask(["다"], Other)
    assert [form_of(request["body"]) for request in server.requests] == [STRUCTURED, JSON_MODE, JSON_MODE, STRUCTURED]


TEMPERATURES = {
    "OpenAI": (400, {"error": {"message": "Unsupported value: 'temperature' does not support 0 with this model. Only the "
               "default (1) value is supported.", "param": "temperature"}}),
    "TGI": (422, {"error": "Input validation error: `temperature` must be strictly positive", "error_type": "validation"}),
    "FastAPI": (422, {"detail": [{"loc": ["body", "temperature"], "msg": "Input should be greater than 0", "input": 0}]}),
    "plain text": (400, "temperature 0 is out of range"),
    "LiteLLM": (400, {"error": {"message": "litellm.UnsupportedParamsError: gpt-5 models don't support temperature=0."}}),
    "GLM": (400, {"error": {"code": "1210", "message": "temperature参数非法"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", TEMPERATURES)
def test_an_endpoint_without_temperature_0_is_asked_without(endpoint, connect, name):
    server = endpoint(refuses(*TEMPERATURES[name], lambda body: body.get("temperature") == 0))
    replies = connect().ask([Request("가", temperature=0), Request("나", temperature=0)])
    assert [reply.text for reply in replies] == [JSON] * 2
    assert len(server.requests) == 3


OTHERWISE = {
    "an error that is a text": (400, {"error": "the prompt is odd"}, "the prompt is odd"),
    "a detail that is a text": (422, {"detail": "the prompt is odd"}, "the prompt is odd"),
    "FastAPI repeats the request": (422, {"detail": [{"loc": ["body", "messages", 0], "msg": "the prompt is odd",
                                    "input": REPEATED}], "body": REPEATED}, "body.messages.0: the prompt is odd"),
    "pydantic's list as text": (400, {"message": "1 validation error: [{'type': 'x', 'loc': ('body', 'messages'), 'msg': 'the "
                                f"prompt is odd', 'input': {REPEATED}}}]"}, "body.messages: the prompt is odd"),
    "plain text": (400, "the prompt is odd", "the prompt is odd"),
    "a page": (400, "<html><head><title>400</title></head><body><h1>the prompt is odd</h1></body></html>", "the prompt is odd"),
    "too long": (400, {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum "
                 "context length is 2048 tokens."}}, "maximum context length"),
    "a code alone": (400, {"error": {"code": "E1234"}}, "E1234"),
    "odd codes": (400, {"error": {"code": ["a"], "type": {"b": 1}, "message": "the prompt is odd"}}, "the prompt is odd"),
    "nothing": (400, {}, "status 400"),
    "Groq could not": (400, {"error": {"message": "Failed to generate JSON. Please adjust your prompt.",
                       "code": "json_validate_failed", "failed_generation": "response_format temperature"}}, "adjust your prompt"),
    "Ollama": (404, {"error": {"message": 'model "m" not found, try pulling it first'}}, "try pulling it first"),
    "LM Studio has no such path": (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, "end OPENAI_BASE_URL in /v1"),
    "FastChat, with the status 200": (200, {"object": "error", "message": "the prompt is odd", "code": 40303}, "the prompt is odd"),
    "a provider is down": (503, {"error": {"message": "no instances available"}}, "no instances available"),
    "forbidden": (403, {"error": "your plan has no m"}, "your plan has no m"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERWISE)
def test_any_other_refusal_is_told_in_the_servers_words_and_teaches_nothing(endpoint, connect, name):
    status, said, words = OTHERWISE[name]
    server = endpoint(lambda body: (status, said))
    who = connect()
    (reply,) = who.ask([Request("가", temperature=0)], Answer)
    assert words in reply.error, reply.error
    assert len(server.requests) == 1
    assert who.connection.dialect == endpoint_module.Dialect()


@pytest.mark.parametrize(
    ("error", "failure", "tries"),
    [
        ({"code": 429, "message": "rate-limited upstream"}, "rate_limit", 2),
        ({"code": "429", "message": "slow down"}, "rate_limit", 2),
        ({"code": "rate_limit_exceeded", "message": "slow down"}, "rate_limit", 2),
        ({"code": 502, "message": "upstream went away"}, "server_error", 2),
        ("upstream went away", "server_error", 2),
        ({"code": 402, "message": "Insufficient credits"}, "insufficient_quota", 1),
        ({"code": 401, "message": "No auth"}, "refused_key", 1),
        ({"type": "invalid_request_error", "message": "odd"}, "status_400", 1),
    ],
)
def test_an_error_with_the_status_200_is_what_it_says(endpoint, connect, monkeypatch, error, failure, tries):
    """OpenRouter and others: retried where that helps, and never a reply."""
    monkeypatch.setattr(endpoint_module, "MAX_RETRIES", 1)
    server = endpoint(lambda body: (200, {"error": error, "user_id": "x"}))
    (reply,) = connect().ask(["가"])
    assert (reply.text, reply.failure, len(server.requests)) == (None, failure, tries)


def test_words_are_found_in_linear_time_and_depth():
    deep = {"error": "끝"}
    for _ in range(5000):
        deep = {"error": deep}
    assert words_of(deep) == ""
    assert words_of(parsed_body("[" * 100_000)) == "[" * 20_000
    assert words_of("<html>" + "<" * 1_000_000).startswith("<")
