"""Protects: `kotune serve --backend` before a real llama.cpp, with the openai client in front of it.

The model is tiny and has learnt one answer by heart, so that what comes out at the client is known. What a real server does
not do at will (other ends, odd streams, statuses, two models) is left to the stand-ins of test_backends.py and test_app.py.
"""

import http.client
import json
import os
import socket
import threading
import urllib.error
import urllib.request

import openai
import pytest

from tests.support.answering_model import ANSWER, ASKED, QUESTION, SYSTEM
from tests.support.llama_process import MODEL, LlamaProcess
from tests.support.serving import KEY, ServerProcess, refused, wait_until
from utils import DATA, read_jsonl, write_jsonl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX"),
]
BACKEND_KEY = "sk-secret-of-the-backend"
CANCELLED = "cancel task"  # how llama.cpp's log says that it stopped because its reader went away


@pytest.fixture(scope="module")
def running(answering, tmp_path_factory):
    """llama.cpp with two slots, and the server before it, which takes two replies at once and asks for a key."""
    folder = tmp_path_factory.mktemp("real")
    llama = LlamaProcess(answering.file, folder / "llama.txt", BACKEND_KEY)
    secrets = {"SERVE_API_KEY": KEY, "SERVE_BACKEND_KEY": BACKEND_KEY}
    documents = folder / "documents.jsonl"  # short, because the tiny vocabulary makes many tokens of a text
    write_jsonl(documents, [{**row, "text": row["text"][:80]} for row in read_jsonl(DATA / "documents.jsonl")])
    try:
        llama.start()
        served = ServerProcess(
            folder / "log.txt",
            "--backend",
            llama.url,
            "--concurrent",
            2,
            "--documents",
            documents,
            "--ranking",
            "bm25",
            **secrets,
        )
        yield llama, served
        served.close()
    finally:
        llama.kill()


def in_state(llama, endless):
    if llama.endless != endless or llama.process.poll() is not None:
        llama.kill()
        llama.start(endless)
    return llama


@pytest.fixture
def llama(running):
    """The backend, whose replies end where they have learnt to."""
    return in_state(running[0], endless=False)


@pytest.fixture
def endless(running):
    """The backend, whose replies go on until they are cut."""
    return in_state(running[0], endless=True)


@pytest.fixture
def server(running):
    return running[1]


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=120) as client:
        yield client


def ask(client, messages=ASKED, **settings):
    return client.chat.completions.create(model=MODEL, messages=messages, **settings)


def generate(server, **body):
    """Post to /generate; return (status, JSON)."""
    request = urllib.request.Request(
        f"{server.url}/generate", json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {KEY}"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


# --- replies ---------------------------------------------------------------------------------


def test_a_whole_reply_ends_with_its_reason_and_its_tokens(client, llama, answering):
    reply = ask(client)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (ANSWER, "stop")
    used = reply.usage
    assert used.prompt_tokens == answering.prompt_tokens(ASKED) and reply.model == MODEL
    cut = ask(client, max_tokens=used.completion_tokens - 1)  # all but the token that ends the turn
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == (ANSWER, "length")
    assert cut.usage.completion_tokens == used.completion_tokens - 1
    assert used.total_tokens == used.prompt_tokens + used.completion_tokens


def test_a_stream_has_whole_characters_though_tokens_are_single_bytes(client, llama):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == ANSWER and "🏠" in pieces
    assert 10 < len(pieces) < chunks[-1].usage.completion_tokens  # it streams, and holds bytes back until they are letters
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_is_cut_inside_a_character_holds_none_of_it(client, llama, stream):
    texts = []
    for tokens in range(8, 16):  # 🏠 is four of these
        reply = ask(client, max_tokens=tokens, stream=stream)
        if stream:
            chunks = list(reply)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            finish = chunks[-1].choices[0].finish_reason
        else:
            text, finish = reply.choices[0].message.content, reply.choices[0].finish_reason
        assert finish == "length" and ANSWER.startswith(text) and text
        texts.append(text)
    assert len(set(texts)) < len(texts)  # some of the cuts were inside it


def test_stop_texts_end_a_reply_before_them(client, llama):
    reply = ask(client, stop=["🏠"])
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (ANSWER.split("🏠")[0], "stop")


def test_system_texts_and_earlier_turns_make_the_prompt_of_training(client, llama, answering):
    """The usual loop, in which a reply's message goes back as it came."""
    messages = [{"role": "system", "content": SYSTEM}, *ASKED]
    first = ask(client, messages, n=None, tools=None, logprobs=False)
    assert first.choices[0].message.content == ANSWER
    assert first.usage.prompt_tokens == answering.prompt_tokens(messages)
    assert f"<start_of_turn>user\n{SYSTEM}\n\n{QUESTION}<end_of_turn>" in llama.last()["prompt"]
    second = ask(client, [*messages, first.choices[0].message, *ASKED])
    assert second.choices[0].message.content == ANSWER
    turns = [*messages, {"role": "assistant", "content": ANSWER}, *ASKED]
    assert second.usage.prompt_tokens == answering.prompt_tokens(turns)


def test_sampling_reaches_the_backend_by_its_own_names(client, llama):
    ask(
        client, temperature=0.5, top_p=0.75, max_completion_tokens=7, seed=0, presence_penalty=1, frequency_penalty=-1,
        extra_body={"top_k": 5, "min_p": 0.125, "repetition_penalty": 1.25},
    )  # fmt: skip
    used = llama.last()["params"]
    expected = {"temperature": 0.5, "top_p": 0.75, "max_tokens": 7, "seed": 0, "top_k": 5, "min_p": 0.125,
                "presence_penalty": 1, "frequency_penalty": -1, "repeat_penalty": 1.25}  # fmt: skip
    assert {name: used[name] for name in expected} == expected
    assert used["repeat_last_n"] >= 2048  # the whole prompt and reply, as here and in vLLM


def test_documents_stand_in_the_prompt_and_are_named(server, llama):
    status, reply = generate(server, instruction=QUESTION, use_documents=True, max_tokens=8)
    prompt = llama.last()["prompt"]
    assert status == 200, reply
    assert "다음 문서를 참고하여" in prompt
    assert reply["sources"] and all(source["title"] in prompt for source in reply["sources"])
    assert reply["usage"]["completion_tokens"] == 8 and reply["finish_reason"] == "length"


def test_two_requests_at_once_are_both_answered(client, llama):
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(ask(client))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.choices[0].message.content for reply in replies] == [ANSWER] * 2


# --- what is refused -------------------------------------------------------------------------


def test_a_schema_is_refused_by_name_and_never_reaches_the_backend(client, llama):
    before = llama.last()["id_task"]
    schema = {"name": "verdict", "schema": {"type": "object", "properties": {"winner": {"type": "string"}}}}
    with pytest.raises(openai.UnprocessableEntityError, match="response_format"):
        ask(client, response_format={"type": "json_schema", "json_schema": schema})
    assert llama.last()["id_task"] == before


def test_a_prompt_over_the_backends_context_is_refused_in_its_words(client, llama):
    with pytest.raises(openai.UnprocessableEntityError, match="exceeds the available context size") as caught:
        ask(client, [{"role": "user", "content": "전세 " * 9_000}])
    assert "\n" not in caught.value.body["message"]


def test_without_the_key_nothing_is_answered_and_no_log_holds_it(client, server, llama):
    assert [model.id for model in client.models.list()] == [MODEL]
    stranger = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        ask(stranger)
    assert not [secret for secret in (KEY, BACKEND_KEY, QUESTION) if secret in server.said]


def test_a_wrong_key_for_the_backend_is_said_at_the_start(llama):
    said = refused("--backend", llama.url, SERVE_BACKEND_KEY="sk-another-key")
    assert "answered with status 401 (Invalid API Key)" in said


# --- clients that go away --------------------------------------------------------------------


def test_a_client_that_hangs_up_stops_the_backend(client, server, endless):
    before = endless.said.count(CANCELLED)
    streams = [ask(client, stream=True, max_tokens=1024) for _ in range(2)]
    for stream in streams:
        assert next(chunk for chunk in stream if chunk.choices[0].delta.content)
    assert endless.busy() == 2 and server.taken() == 2  # both are written at once, and read as they are written
    with pytest.raises(openai.RateLimitError, match="slots are taken"):
        ask(client)
    for stream in streams:
        stream.close()
    assert wait_until(lambda: server.taken() == 0 and endless.busy() == 0, 60)
    assert endless.said.count(CANCELLED) == before + 2


def test_a_client_that_waits_for_a_whole_reply_and_hangs_up_stops_the_backend(server, endless):
    before = endless.said.count(CANCELLED)
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    link.request("POST", "/generate", json.dumps({"instruction": QUESTION, "max_tokens": 1024}), headers)
    assert wait_until(lambda: endless.busy() == 1, 60)
    link.sock.shutdown(socket.SHUT_RDWR)
    link.close()
    assert wait_until(lambda: server.taken() == 0 and endless.busy() == 0, 60)
    assert endless.said.count(CANCELLED) == before + 1


# --- a backend that dies ---------------------------------------------------------------------


def test_a_backend_that_is_killed_in_the_middle_is_an_error_and_the_server_goes_on(client, server, endless):
    stream = ask(client, stream=True, max_tokens=1024)
    pieces = [next(chunk for chunk in stream if chunk.choices[0].delta.content)]
    endless.kill()
    with pytest.raises(
        openai.APIError, match=r"^The backend at 127\.0\.0\.1:\d+ broke off in the middle of the reply; ask again\.$"
    ):
        pieces += list(stream)
    with pytest.raises(openai.InternalServerError, match="start it, or check --backend") as caught:
        ask(client)
    assert caught.value.status_code == 502
    with pytest.raises(urllib.error.HTTPError) as health:
        server.taken()
    assert health.value.code == 502
    endless.start()
    assert ask(client).choices[0].message.content == ANSWER
    assert server.taken() == 0 and "Traceback" not in server.said
