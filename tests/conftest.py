"""Fixtures shared by the unit tests: the real tokenizer, a tiny model, and a server on loopback."""

import socket
from dataclasses import replace

import pytest

from tests.support.endpoint import Endpoint


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
    from kotune.models.files import load_tokenizer
    from kotune.recipes import LOCAL_GEMMA

    return load_tokenizer(LOCAL_GEMMA)


@pytest.fixture
def tiny_recipe():
    """The CPU recipe in float32 with settings for a model of a few thousand parameters a layer."""
    from kotune.recipes import RECIPES

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
    from kotune.models import loading
    from tests.support.tiny_gemma import make_tiny_gemma

    model = make_tiny_gemma(tokenizer)
    loading.make_head_input_contiguous(model)
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


@pytest.fixture
def endpoint(monkeypatch):
    """Return a function that starts an Endpoint and points the settings at it; nothing is known of it before."""
    from kotune.teacher.endpoint import dialect_of

    dialect_of.cache_clear()  # a port may come again
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
