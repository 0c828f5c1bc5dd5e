"""Fixtures shared by the unit tests: the real tokenizer, a tiny model, and a server on loopback."""

import json
import socket
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


@pytest.fixture(autouse=True)
def no_outside_network(monkeypatch):
    """Fail any test that connects to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def tokenizer():
    """The tokenizer of the CPU default, as the course loads it."""
    from model_files import LOCAL_GEMMA, load_tokenizer

    return load_tokenizer(LOCAL_GEMMA)


@pytest.fixture
def tiny_recipe():
    """The CPU recipe in float32 with settings for a model of a few thousand parameters a layer."""
    from recipe_table import RECIPES

    return replace(
        RECIPES["gemma-3-270m-cpu"],
        dtype="float32",
        learning_rate=5e-3,
        dpo_learning_rate=5e-3,
        batch_size=4,
        max_new_tokens=8,
        generation_batch=3,
    )


@pytest.fixture
def tiny_model(tokenizer):
    """A Gemma 3 of two narrow layers with random weights and the real vocabulary."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    import models
    from prompts import stop_ids

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=64,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    model = Gemma3ForCausalLM(config).eval()
    model.generation_config.eos_token_id = stop_ids(tokenizer)
    models.make_head_input_contiguous(model)
    return model


RECORDS = [
    {
        "id": f"r{i}",
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
        "source": "",
    }
    for i, (question, answer) in enumerate(
        [
            ("확정일자는 어디에서 받나요?", "주민센터나 등기소에서 받을 수 있습니다."),
            ("전입신고는 언제까지 해야 하나요?", "이사한 날부터 14일 이내에 해야 합니다."),
            ("근저당권이 뭐예요?", "채권최고액까지 담보로 잡는 권리입니다."),
            ("LTV를 설명해 주세요.", "집값에 견준 대출 금액의 비율입니다."),
        ]
    )
]


@pytest.fixture
def records():
    """Four supervised records."""
    return [dict(record) for record in RECORDS]


@pytest.fixture
def pairs(records):
    """Four preference records: each question with its own answer over another one's."""
    return [
        {
            "id": record["id"],
            "prompt": record["prompt"],
            "chosen": record["completion"],
            "rejected": records[(i + 1) % len(records)]["completion"],
            "source": "",
        }
        for i, record in enumerate(records)
    ]


class Endpoint:
    """An OpenAI-compatible server on loopback that answers from a function and keeps what it was asked.

    `answer(body)` returns (status, JSON) or (status, JSON, headers), or a function of the request handler that writes
    to the wire itself, as a server does that breaks in the middle.
    """

    def __init__(self, answer):
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # connections are kept open, as a real endpoint does

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append({"body": body, "authorization": self.headers.get("Authorization")})
                result = answer(body)
                if callable(result):
                    result(self)
                    return
                status, reply, *headers = result
                payload = json.dumps(reply).encode()
                self.send_response(status)
                for name, value in headers[0].items() if headers else ():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint(monkeypatch):
    """Return a function that starts an Endpoint and points the settings at it."""
    started = []

    def start(answer):
        started.append(Endpoint(answer))
        monkeypatch.setenv("OPENAI_BASE_URL", started[-1].url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def chat_completion(content, finish_reason="stop", refusal=None, usage=None):
    """Return the JSON of a chat completion, as an endpoint sends it; usage is (prompt, completion) tokens."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "finish_reason": finish_reason, "message": message}
    completion = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    if usage:
        prompt, reply = usage
        completion["usage"] = {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}
    return completion
