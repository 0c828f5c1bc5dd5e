"""Protects: the server speaks OpenAI's interface and its own, renders as training does, and survives bad clients and backends.

`test_real_backend.py` has what a real server behind it says. The stand-in here does what llama.cpp does not do when it is
told to: it serves two models, shows the fields of a request, fails with a status, and sends more than a link holds.
"""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import openai
import pytest
import torch
import uvicorn

from kotune.models import sources
from kotune.models.chat_template import render, stop_ids
from kotune.models.machine import RECIPES, choose
from kotune.models.sampling import Progress, Sampling
from kotune.serving import app, backends
from kotune.serving.backends import BackendError, ChatRequest
from kotune.serving.desk import Desk, TooLate, UnknownModel
from kotune.serving.guard import Busy, Limits
from tests.support.fuzzing import fuzz
from tests.support.serving import (
    KEY,
    MODELS,
    Script,
    ServerProcess,
    StandIn,
    free_port,
    refused,
    save_tiny_model,
    wait_until,
)
from utils import ASSETS, DATA, CourseError

pytestmark = pytest.mark.slow  # servers, browsers and models are started

QUESTION = "확정일자는 어디에서 받을 수 있나요?"
ASKED = [{"role": "user", "content": QUESTION}]
ANSWER = "확정일자는 주민센터에서 받습니다."


@pytest.fixture(scope="module")
def standin():
    standin = StandIn()
    yield standin
    standin.close()


@pytest.fixture(autouse=True)
def fresh_script(standin):
    standin.script = Script()


@pytest.fixture(scope="module")
def server(standin, tmp_path_factory):
    """A server before the stand-in backend, four replies at once at most."""
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    secret = {"SERVE_BACKEND_KEY": "sk-secret-of-the-backend"}
    served = ServerProcess(
        log,
        "--backend",
        standin.url,
        "--concurrent",
        4,
        "--documents",
        DATA / "documents.jsonl",
        "--ranking",
        "bm25",
        **secret,
    )
    yield served
    served.close()


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=600) as client:
        yield client


def curl(server, path, *options, body=None):
    """Ask with curl; return (status, headers, JSON or text)."""
    data = ["-X", "POST", "-H", "content-type: application/json", "-d", json.dumps(body)] if body is not None else []
    command = ["curl", "-sS", "-i", "--max-time", "30", *data, *options, f"{server.url}{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace("\r\n", "\n")
    head, _, text = said.partition("\n\n")
    status, *lines = head.split("\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    with contextlib.suppress(ValueError):
        text = json.loads(text)
    return int(status.split()[1]), headers, text


# --- the interface, before a stand-in with two models ----------------------------------------


def test_the_models_are_listed(client):
    assert [model.id for model in client.models.list()] == list(MODELS)


def test_a_setting_that_servers_call_differently_goes_by_both_names(client, standin):
    client.chat.completions.create(model=MODELS[0], messages=ASKED, extra_body={"repetition_penalty": 1.2})
    sent = standin.requests[-1]
    assert sent["repetition_penalty"] == sent["repeat_penalty"] == 1.2  # vLLM's and llama.cpp's
    client.chat.completions.create(model=MODELS[0], messages=ASKED)
    assert not {"repetition_penalty", "repeat_penalty", "repeat_last_n"} & standin.requests[-1].keys()


def test_curl_generates_and_the_tuned_model_answers_where_none_is_named(server, standin):
    status, _, reply = curl(server, "/generate", body={"instruction": "요약해 주세요.", "input": "긴 글", "system": "짧게"})
    assert (status, reply["text"], reply["model"], reply["finish_reason"]) == (200, ANSWER, MODELS[1], "stop")
    assert standin.requests[-1]["messages"] == [
        {"role": "system", "content": "짧게"}, {"role": "user", "content": "요약해 주세요.\n\n긴 글"},
    ]  # fmt: skip


def test_health_and_documentation_come_from_this_machine(server):
    assert curl(server, "/health")[2]["status"] == "ok"
    status, headers, page = curl(server, "/docs")
    assert status == 200 and "http://" not in page and "https://" not in page
    assert "'sha256-" in headers["content-security-policy"]
    assert curl(server, "/docs-assets/swagger-ui-bundle.js")[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"instruction": " "}, 422, "instruction: "),
        ({"instruction": QUESTION, "colour": 1}, 422, "colour: unknown field"),
        ({"instruction": QUESTION, "temperature": 9}, 422, "temperature: "),
        ({"instruction": QUESTION, "use_documents": 1}, 422, "use_documents: "),
        ({"instruction": "가" * 40_000}, 422, "instruction: "),
        ({"instruction": QUESTION, "model": "gpt-9"}, 404, "choose one of tiny, tiny-sft"),
        ({"instruction": "가" * 300_000}, 413, "larger than"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence(server, tmp_path, body, status, said):
    path = tmp_path / "body.json"
    path.write_text(json.dumps(body))
    got = curl(server, "/generate", "-X", "POST", "-H", "content-type: application/json", "--data-binary", f"@{path}")
    assert got[0] == status and said in got[2]["error"]["message"] and "\n" not in got[2]["error"]["message"]


def test_the_clients_errors_are_openais(client):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=ASKED)
    with pytest.raises(openai.UnprocessableEntityError, match="tools"):
        client.chat.completions.create(
            model=MODELS[0], messages=ASKED, tools=[{"type": "function", "function": {"name": "f"}}]
        )
    with pytest.raises(openai.UnprocessableEntityError, match="last message"):
        client.chat.completions.create(model=MODELS[0], messages=[*ASKED, {"role": "assistant", "content": "네"}])


def test_another_sites_page_and_another_name_are_refused(server):
    body = {"instruction": QUESTION}
    assert curl(server, "/generate", "-H", "Origin: https://evil.example", body=body)[0] == 403
    assert curl(server, "/generate", "-H", f"Host: evil.example:{server.port}", body=body)[0] == 421
    form = ["-X", "POST", "-H", "content-type: text/plain", "-d", json.dumps(body)]
    assert curl(server, "/generate", *form)[0] == 422


@pytest.mark.parametrize("path", ["/project/file", "/mcp", "/login", "/v1/completions", "/project/threads", "/auth/jwt"])
def test_what_is_not_served_is_off(server, path):
    assert curl(server, path, body={})[0] == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/public/%00", 404),
        ("/public/a%00.css", 404),
        ("/assets/%00", 404),
        ("/avatars/%00", 404),
        ("/avatars/A%0a", 404),
        ("/docs-assets/%00", 404),
        ("/project/file/%00?session_id=x", 404),
        (f"/public/{'a' * 300}", 404),
        (f"/public/{'a/' * 600}", 404),
        ("/public/..%2f..%2fetc%2fpasswd", 400),
        ("/public/%ff%fe", 404),
        ("/public/page.css/x", 404),
        ("/public/", 400),
        ("/avatars/..%5c..", 400),
        ("/logo?theme=%00", 422),
        ("/project/translations?language=%00", 422),
        ("/project/translations?language=../../x", 422),
        ("/project/settings?language=%00&chat_profile=%00", 422),
        ("/project/file/x", 422),
        ("/project/file/x?session_id=%00", 401),
        ("/ws/socket.io/?EIO=9&transport=polling", 400),
        ("/ws/socket.io/?EIO=4&transport=%00", 400),
        ("/ws/socket.io/?EIO=4&transport=polling&sid=%00", 400),
        ("/ws/socket.io/?EIO=4&transport=polling&j=x", 400),
    ],
)
def test_no_address_is_a_fault_of_the_server(server, path, status):
    assert curl(server, path, "--path-as-is")[0] == status and "Traceback" not in server.said


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/set-session-cookie", "{"),
        ("/set-session-cookie", "[1]"),
        ("/set-session-cookie", "{}"),
        ("/set-session-cookie", '{"session_id": null}'),
        ("/set-session-cookie", '{"session_id": 5}'),
        ("/set-session-cookie", '{"session_id": "a\\r\\nb"}'),
        ("/set-session-cookie", '{"session_id": "가"}'),
        ("/project/action", "{"),
        ("/project/action", "[]"),
        ("/project/action", '{"sessionId": "nobody", "action": {"name": "vote", "payload": {}}}'),
        ("/project/action", '{"sessionId": null, "action": {}}'),
        ("/project/action", '{"sessionId": "x", "action": []}'),
        ("/generate", "{"),
        ("/generate", '"text"'),
        ("/generate", "[" * 100_000),
        ("/generate", '{"instruction": "\\ud800"}'),
        ("/generate", '{"\\ud800": 1, "instruction": "가"}'),
        ("/generate", '{"instruction": "가", "seed": 1' + "0" * 5_000 + "}"),
        ("/generate", '{"instruction": "가", "temperature": NaN}'),
        ("/generate", '{"instruction": "가", "temperature": 1e999}'),
        ("/v1/chat/completions", '{"model": "tiny", "messages": [[]]}'),
        ("/v1/chat/completions", '{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}'),
    ],
)
def test_no_body_is_a_fault_of_the_server(server, tmp_path, path, body):
    file = tmp_path / "body.json"
    file.write_text(body)
    status, _, said = curl(server, path, "-X", "POST", "-H", "content-type: application/json", "--data-binary", f"@{file}")
    assert 400 <= status < 500 and said["error"]["message"] and "Traceback" not in server.said


@pytest.mark.parametrize("padding", [300_000, 2_000_000])
def test_a_body_in_chunks_that_is_too_large_is_told_so(server, tmp_path, padding):
    file = tmp_path / "body.json"
    file.write_text(json.dumps({"instruction": "가", "input": "x" * padding}))
    chunked = (
        "-X",
        "POST",
        "-H",
        "Expect:",
        "-H",
        "transfer-encoding: chunked",
        "-H",
        "content-type: application/json",
        "--data-binary",
    )
    assert curl(server, "/generate", *chunked, f"@{file}")[0] == 413


# --- limits and clients that go away ---------------------------------------------------------


def stream_by_hand(port, model=MODELS[0]):
    """Open a stream and return its socket once the first piece came."""
    body = json.dumps({"model": model, "messages": ASKED, "stream": True}).encode()
    link = socket.create_connection(("127.0.0.1", port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    link.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    seen = b""
    while b"content" not in seen:
        seen += link.recv(4096)
    return link


@pytest.mark.slow
def test_eleven_hundred_idle_connections_do_not_stop_it(server):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 4096 else max(soft, 4096), hard))
    before, links = len(server.said), []

    def answers():
        with contextlib.suppress(subprocess.CalledProcessError):
            return curl(server, "/health")[0] == 200

    try:
        links += [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1_100)]
        assert wait_until(answers, 60)
        assert len(server.said) - before < 10_000
    finally:
        for link in links:
            link.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_handshakes_by_long_polling_are_bounded_as_websockets_are(server):
    said = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)) as link:
        for _ in range(300):
            link.request("GET", "/ws/socket.io/?EIO=4&transport=polling")
            reply = link.getresponse()
            reply.read()
            said.append(reply.status)
    assert said.count(200) <= 256 and said[-1] == 429 and set(said) == {200, 429}


def test_a_client_that_stops_reading_frees_its_slot_and_the_backend(standin):
    """A stand-in, because a real model takes long to write more than any buffer on the way holds."""
    standin.script = Script(pieces=["가" * 20_000] * 600)

    async def read_nothing():
        backend = backends.RemoteBackend(standin.url)
        desk = Desk(backend, Limits(reader_s=0.5))
        await desk.open()
        with contextlib.closing(app.bind("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(app.create_app(desk), log_level="critical", timeout_graceful_shutdown=1)
            running = uvicorn.Server(config)
            serving = asyncio.create_task(running.serve(sockets=[listening]))
            link = await asyncio.to_thread(stream_by_hand, listening.getsockname()[1])
            held = desk.slots.taken
            ends = time.monotonic() + 300
            while (desk.slots.taken or standin.open) and time.monotonic() < ends:
                await asyncio.sleep(0.05)
            left = desk.slots.taken, standin.open
            link.close()
            running.should_exit = True
            await serving
            await backend.close()
            return held, left

    assert asyncio.run(read_nothing()) == (1, (0, 0))


def test_a_reply_that_takes_too_long_is_ended_and_frees_its_slot():
    class Slow:
        name, closed = "slow", False

        async def stream(self, request):
            try:
                yield Progress("가", 1)
                await asyncio.sleep(60)
            finally:
                self.closed = True

    async def read():
        desk = Desk(Slow(), Limits(answer_s=0.2))
        desk.models = ["m"]
        pieces = []
        with pytest.raises(TooLate, match=r"within 0\.2 s"):
            async for progress in desk.stream(ChatRequest("m", ASKED, Sampling())):
                pieces.append(progress.text)
        return pieces, desk.slots.taken, desk.backend.closed

    assert asyncio.run(read()) == (["가"], 0, True)


# --- backends that fail ----------------------------------------------------------------------


@pytest.mark.parametrize(("answered", "status"), [(500, 502), (404, 502), (429, 429), (400, 422)])
def test_a_backends_error_is_passed_on_without_its_key(server, standin, answered, status):
    """A stand-in, because a real server has these faults and repeats a key only when it is broken."""
    standin.script = Script(ends=answered)
    got, _, reply = curl(server, "/v1/chat/completions", body={"model": MODELS[0], "messages": ASKED, "stream": True})
    assert got == status and "sk-secret" not in json.dumps(reply)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--backend", "http://127.0.0.1:9/v1"), "start it, or check --backend"),
        (("--backend", "127.0.0.1:9"), "is no http address"),
        (("--backend", "http://127.0.0.1:9/v1", "--model_path", "x"), "leave --model_path"),
        (("--host", "0.0.0.0"), "needs --api_key"),
        (("--api_key", "short"), "16 ASCII"),
        (("--model_path", "outputs/nothing"), "is no folder"),
        (("--documents", "nothing.jsonl"), "does not exist"),
        (("--ranking", "bm25"), "name their file with --documents"),
        (("--concurrent", "0"), "choose 1 to 1024"),
        (("--port", "99999999"), "choose another --port"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_sentence(arguments, said):
    port = () if "--port" in arguments else ("--port", free_port())
    assert said in refused(*port, *arguments)


def test_a_port_in_use_is_said_before_a_model_is_loaded(server):
    said = refused("--port", server.port, "--model_path", "outputs/nothing")
    assert f"127.0.0.1:{server.port} (Address already in use)" in said  # and not that there is no such model


# --- the key ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_with_a_key_nothing_is_told_without_it_and_no_log_holds_it(standin, tmp_path):
    """A stand-in, because its error repeats the key that it was sent, which a real one does not."""
    secrets = {"SERVE_API_KEY": KEY, "SERVE_BACKEND_KEY": "sk-secret-of-the-backend"}
    served = ServerProcess(tmp_path / "log.txt", "--host", "0.0.0.0", "--backend", standin.url, **secrets)
    try:
        assert curl(served, "/generate", body={"instruction": QUESTION})[0] == 401
        assert curl(served, "/openapi.json")[0] == 401
        assert curl(served, f"/v1/models?api_key={KEY}")[0] == 401
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client:
            assert client.chat.completions.create(model=MODELS[0], messages=ASKED).choices[0].message.content == ANSWER
        stranger = openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong", max_retries=0)
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        standin.script = Script(ends=500)
        curl(served, "/generate", "-H", f"Authorization: Bearer {KEY}", body={"instruction": QUESTION})
        assert wait_until(lambda: "POST /generate 502" in served.said)
        assert not [secret for secret in (*secrets.values(), QUESTION) if secret in served.said]
    finally:
        served.close()


# --- fuzzed through its own document ---------------------------------------------------------


@pytest.mark.slow
def test_no_request_breaks_the_server(server, standin, tmp_path):
    """A stand-in, because it takes any setting and answers at once: what may break is the server, in hundreds of requests."""
    done = fuzz(server.url, tmp_path, examples=100, seed=1)
    assert done.code == 0, done.said[-3000:]
    assert "Tested: 4" in done.said and server.taken() == 0
    # it came through to the models, whole and as a stream, and not only to refusals
    shown = [line for line in server.said.splitlines() if line.startswith("POST /v1/chat/completions 200")]
    assert len(shown) > 10 and len({request["model"] for request in standin.requests}) == len(MODELS)


# --- real models in the server's own engine --------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, tokenizer):
    """The folders of a tiny model and its adapter, and a server of both."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                              num_attention_heads=2, num_key_value_heads=1, head_dim=16, sliding_window=64,
                              pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
                              bos_token_id=tokenizer.bos_token_id)  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny")
    base, adapter = save_tiny_model(Gemma3ForCausalLM(config).eval(), tokenizer, folder)
    served = ServerProcess(folder / "log.txt", "--model_path", adapter, "--max_context", 300)
    yield base, adapter, served
    served.close()


@pytest.mark.slow
def test_base_and_tuned_answer_as_they_do_in_python(tiny, tokenizer):
    _base, adapter, served = tiny
    recipe = choose().recipe
    loaded, _ = sources.load(sources.find(str(adapter), recipe), recipe)
    ids = render(tokenizer, ASKED).ids
    texts = {}
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        for name, model in loaded.items():
            with torch.inference_mode():
                output = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=12, do_sample=False)
            expected = tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
            whole = client.chat.completions.create(model=name, messages=ASKED, max_tokens=12)
            stream = client.chat.completions.create(model=name, messages=ASKED, max_tokens=12, stream=True)
            streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            assert whole.choices[0].message.content == streamed == expected
            assert whole.usage.prompt_tokens == len(ids)
            texts[name] = expected
    assert set(texts) == set(MODELS) and texts["tiny"] != texts["tiny-sft"]


def test_a_prompt_over_the_context_is_refused_with_its_length(tiny):
    status, _, reply = curl(tiny[2], "/generate", body={"instruction": "보증금 " * 200, "max_tokens": 10})
    assert status == 422 and "more than the context of 300; shorten the prompt" in reply["error"]["message"]


def test_turns_that_do_not_alternate_are_refused(tiny):
    status, _, reply = curl(tiny[2], "/v1/chat/completions", body={"model": "tiny", "messages": [*ASKED, *ASKED]})
    assert status == 422 and "must alternate" in reply["error"]["message"]


def test_many_readers_at_once_all_end_and_leave_nothing(tiny):
    served, ends = tiny[2], []

    def read():
        body = {"model": "tiny-sft", "messages": ASKED, "max_tokens": 30}
        ends.append(curl(served, "/v1/chat/completions", body=body)[2]["usage"]["completion_tokens"])

    threads = [threading.Thread(target=read) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [30] * 24 and served.taken() == 0


# --- vLLM, by a stand-in for its command -----------------------------------------------------

VLLM = """#!{python}
import os, sys
sys.path[:0] = [{root!r}]
from tests.support.serving import StandIn
print("arguments:", *sys.argv[1:], flush=True)
if os.environ.get("STAND_IN") == "ends":
    sys.exit("RuntimeError: no CUDA")
standin = StandIn()
standin.server.server_close()
from http.server import ThreadingHTTPServer
port = int(sys.argv[sys.argv.index("--port") + 1])
ThreadingHTTPServer(("127.0.0.1", port), standin.server.RequestHandlerClass).serve_forever()
"""


@pytest.fixture
def vllm(tmp_path, monkeypatch):
    command = tmp_path / "bin" / "vllm"
    command.parent.mkdir()
    command.write_text(VLLM.format(python=sys.executable, root=str(Path(__file__).resolve().parents[2])))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}:{Path(sys.executable).parent}:/usr/bin:/bin")
    assert backends.has_vllm() and shutil.which("vllm") == str(command)


def test_vllm_is_started_with_the_adapter_and_gets_the_renderers_tokens(vllm, tiny, tokenizer, tmp_path, monkeypatch):
    base, adapter, _ = tiny
    found = sources.find(str(adapter), RECIPES["gemma-3-270m-cpu"])
    sent = {}
    post = backends.RemoteBackend._body

    def kept(self, request):
        sent["path"], sent["body"] = post(self, request)
        return sent["path"], sent["body"]

    monkeypatch.setattr(backends.RemoteBackend, "_body", kept)

    async def ask():
        backend = backends.VllmBackend(
            found, str(base), tokenizer, port=free_port(), max_context=512, log=tmp_path / "v.log"
        )
        try:
            await backend.ready()
            request = ChatRequest("tiny-sft", ASKED, Sampling(max_tokens=9))
            text = "".join([progress.text async for progress in backend.stream(request)])
            return text, await backend.models(), backend.api_key
        finally:
            await backend.close()
            assert not backend.process.running

    text, names, key = asyncio.run(ask())
    assert text == ANSWER and names == list(MODELS)
    assert sent["path"] == "/completions" and sent["body"]["prompt"] == render(tokenizer, ASKED).ids
    assert sent["body"]["stop_token_ids"] == stop_ids(tokenizer)
    started = (tmp_path / "v.log").read_text()
    assert f"--max-loras 1 --max-lora-rank 8 --lora-modules tiny-sft={adapter.resolve()}" in started
    assert "--host 127.0.0.1" in started and key not in started


def test_vllm_that_does_not_start_says_why(vllm, tiny, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN", "ends")
    found = sources.find(str(tiny[0]), RECIPES["gemma-3-270m-cpu"])

    async def start():
        backend = backends.VllmBackend(
            found, str(tiny[0]), tokenizer, port=free_port(), max_context=512, log=tmp_path / "v.log"
        )
        await backend.ready()

    with pytest.raises(CourseError, match="RuntimeError: no CUDA"):
        asyncio.run(start())


def test_vllm_that_ends_while_it_serves_is_said(vllm, tiny, tokenizer, tmp_path):
    found = sources.find(str(tiny[0]), RECIPES["gemma-3-270m-cpu"])

    async def ask():
        backend = backends.VllmBackend(
            found, str(tiny[0]), tokenizer, port=free_port(), max_context=512, log=tmp_path / "v.log"
        )
        try:
            await backend.ready()
            os.kill(backend.process.pid, signal.SIGKILL)
            while backend.process.running:
                await asyncio.sleep(0.01)
            return [progress async for progress in backend.stream(ChatRequest("tiny", ASKED, Sampling(max_tokens=9)))]
        finally:
            await backend.close()

    with pytest.raises(BackendError, match=r"vLLM has ended .* start the server again"):
        asyncio.run(ask())


def test_two_adapters_share_vllms_rounds(tiny, tmp_path):
    base, adapter, _ = tiny
    other = shutil.copytree(adapter, tmp_path / "other")
    found = [sources.ModelSource(path.name, str(base), (path,)) for path in (adapter, other)]
    command = backends.vllm_command(found, str(base), 1, 512)
    assert command[command.index("--max-loras") + 1] == "2"
    assert command[-2:] == [f"sft={adapter.resolve()}", f"other={other.resolve()}"]


def test_vllm_takes_no_adapter_upon_another(tmp_path):
    found = sources.find(str(ASSETS / "dpo"), RECIPES["gemma-3-270m-cpu"])
    with pytest.raises(CourseError, match="merge it first"):
        backends.vllm_command(found, "x", 1, 512)


def test_every_refusal_has_its_status():
    assert app.status_of(Busy("x", 1))[0] == 429 and app.status_of(UnknownModel("x"))[0] == 404
    assert app.status_of(BackendError("x"))[0] == 502 and app.status_of(CourseError("x"))[0] == 422
