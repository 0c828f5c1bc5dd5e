"""Protects: adapters go onto the right base, merging changes nothing but the form, errors say what to do."""

import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch

from kotune.models import adapters, files, loading
from kotune.training import evaluation, stages
from utils import CourseError


@pytest.fixture
def adapter(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    recipe = replace(tiny_recipe, epochs=8.0)
    return stages.sft(recipe, records, tiny_model, tokenizer, tmp_path / "outputs" / "sft").adapter


@pytest.mark.slow
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


@pytest.mark.slow
def test_merging_in_bf16_rounds_weights_alone(tiny_model, adapter):
    bf16 = adapters._cast_parameters(tiny_model, torch.bfloat16)
    buffers = {name: buffer.clone() for name, buffer in bf16.named_buffers()}
    merged = adapters.merge_adapter(bf16, adapter)
    assert merged.dtype == torch.bfloat16
    for name, buffer in merged.named_buffers():  # the rotary frequencies among them
        assert buffer.dtype == buffers[name].dtype
        assert torch.equal(buffer, buffers[name])


@pytest.mark.slow
def test_a_saved_merged_model_comes_back_whole(tiny_model, tiny_recipe, tokenizer, adapter, tmp_path):
    from kotune.models.chat_template import render, stop_ids

    merged = adapters.merge_adapter(tiny_model, adapter)
    folder = loading.save_merged(merged, tokenizer, tmp_path / "merged")
    again, again_tokenizer = loading.load_model(tiny_recipe, str(folder)), loading.load_tokenizer(str(folder))
    ids = torch.tensor([[2, 105, 2364, 107, 500, 600]])
    assert torch.equal(again(ids).logits, merged(ids).logits)
    assert again.generation_config.eos_token_id == stop_ids(tokenizer)
    messages = [{"role": "user", "content": "전세란?"}]
    assert render(again_tokenizer, messages) == render(tokenizer, messages)


@pytest.mark.slow
def test_only_an_earlier_run_is_replaced(adapter, tmp_path):
    adapters.require_replaceable(tmp_path / "new")
    adapters.require_replaceable(adapter)
    with pytest.raises(CourseError, match="starts from"):
        adapters.require_replaceable(adapter, parent=adapter)
    with pytest.raises(CourseError, match="no earlier run"):
        adapters.require_replaceable(adapter.parent)  # holds the adapter's folder, which must not be deleted
    assert adapter.exists()


@pytest.mark.slow
def test_an_adapter_folder_names_no_path_of_this_machine(adapter):
    text = "".join(p.read_text() for p in adapter.glob("*.json"))
    assert str(adapter.parent) not in text
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "gemma-3-270m"
    assert (adapter / "adapter_model.safetensors").stat().st_size < 5e6


@pytest.mark.slow
def test_an_adapter_of_another_shape_is_refused(tiny_model, adapter, tmp_path):
    from transformers import Gemma3ForCausalLM

    config = tiny_model.config
    config.hidden_size = 48
    other = Gemma3ForCausalLM(config)
    with pytest.raises(CourseError, match="does not fit this model"):
        adapters.merge_adapter(other, adapter)
    with pytest.raises(CourseError, match="holds no adapter"):
        adapters.merge_adapter(other, tmp_path)


@pytest.mark.slow
def test_a_base_is_known_from_wherever_an_adapter_comes(adapter, tmp_path):
    foreign = tmp_path / "foreign"  # from the hub or a colleague: no run card
    shutil.copytree(adapter, foreign)
    (foreign / "run.json").unlink()
    adapters.require_base(foreign, "gemma-3-270m")
    config = json.loads((foreign / "adapter_config.json").read_text())

    def spoilt(**values):
        (foreign / "adapter_config.json").write_text(json.dumps({**config, **values}))
        return foreign

    with pytest.raises(CourseError, match=r"was trained on google/gemma-2b-it, and the recipe's model is gemma-3-270m"):
        adapters.require_base(spoilt(base_model_name_or_path="google/gemma-2b-it"), "gemma-3-270m")
    adapters.require_base(spoilt(base_model_name_or_path=files.model_path("gemma-3-270m")), "gemma-3-270m")
    with pytest.raises(CourseError, match="holds a reward model"):
        adapters.require_base(spoilt(task_type="SEQ_CLS"), "gemma-3-270m")
    (foreign / "adapter_model.safetensors").unlink()
    with pytest.raises(CourseError, match=r"holds no adapter \(no adapter_model.safetensors\)"):
        adapters.require_base(foreign, "gemma-3-270m")


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
    assert adapters.find_adapters(tiny_recipe, need_dpo=True).reward is None
    make_stage(outputs / "reward", "reward", parent=own)
    assert adapters.find_adapters(tiny_recipe, need_dpo=True).reward == outputs / "reward"
    (outputs / "sft").rename(outputs / "sft_mine")  # a training that went wrong is set aside (docs/workshop.md)
    assert adapters.find_adapters(tiny_recipe, need_dpo=False).sft == assets / "sft"
    assert adapters.find_adapters(tiny_recipe, need_dpo=True).dpo == assets / "dpo"  # not the one that stood on it
    (outputs / "sft_mine").rename(outputs / "sft")
    assert adapters.find_adapters(tiny_recipe, need_dpo=True).dpo == outputs / "dpo"


def test_one_adapter_is_the_learners_own_or_the_shipped_one_and_stands_on_the_recipes_base(
    tmp_path, monkeypatch, tiny_recipe
):
    monkeypatch.setattr(adapters, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(adapters, "ASSETS", tmp_path / "assets")
    with pytest.raises(CourseError, match=r"no adapter sft_reviews for .* run train\.ipynb"):
        adapters.require_adapter("sft_reviews", tiny_recipe)
    make_stage(tmp_path / "assets" / "sft_reviews", "sft", base=tiny_recipe.model)
    make_stage(tmp_path / "outputs" / "sft_reviews", "sft", base="another/model")
    assert adapters.require_adapter("sft_reviews", tiny_recipe) == tmp_path / "assets" / "sft_reviews"
    make_stage(tmp_path / "outputs" / "sft_reviews2", "sft", base=tiny_recipe.model)
    assert adapters.require_adapter("sft_reviews2", tiny_recipe) == tmp_path / "outputs" / "sft_reviews2"


def test_a_copied_adapter_is_the_same_one_and_nothing_of_an_older_one_stays(tmp_path):
    sha = make_stage(tmp_path / "run", "sft")
    (tmp_path / "run" / "adapter_config.json").write_text("{}")
    (tmp_path / "run" / "loss.csv").write_text("step,loss")  # of the run, and not of the adapter
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "older.safetensors").write_bytes(b"")
    copied = adapters.copy_adapter(tmp_path / "run", tmp_path / "assets")
    assert adapters.adapter_hash(copied) == sha
    assert {path.name for path in copied.iterdir()} == set(adapters.OF_AN_ADAPTER)


# --- QLoRA -----------------------------------------------------------------------------------


@pytest.fixture
def on_disk(tiny_model, tokenizer, tmp_path):
    """The tiny model in widths of 64, the block of NF4, saved to disk."""
    config = tiny_model.config
    config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 32
    torch.manual_seed(0)
    return str(loading.save_merged(type(tiny_model)(config), tokenizer, tmp_path / "base"))


def quantised(recipe, folder, **values):
    return replace(recipe, model=folder, quantization="nf4", **values)


def frozen(model):
    """Return a copy of every weight that an adapter must leave as it is."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if "lora_" not in name}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "optimizer"), [("float32", "adamw_torch"), ("bfloat16", "adamw_8bit")])
def test_qlora_trains_on_four_bits_and_merges_into_sixteen(
    tiny_recipe, tokenizer, records, on_disk, tmp_path, dtype, optimizer
):
    recipe = quantised(
        tiny_recipe,
        on_disk,
        dtype=dtype,
        optimizer=optimizer,
        epochs=3.0,
        learning_rate=5e-2,
        lora_r=16,
        scheduler="constant",
    )
    model = loading.load_model(recipe)
    layer = model.model.layers[0]
    assert type(layer.mlp.up_proj).__name__ == "Linear4bit"
    assert layer.mlp.up_proj.weight.quant_state.quant_type == "nf4"
    assert layer.mlp.up_proj.weight.quant_state.nested  # double quantisation
    assert type(model.lm_head) is torch.nn.Linear  # the loss reads its weights
    assert model.lm_head.weight is model.model.embed_tokens.weight
    before, loss_before = frozen(model), evaluation.held_out_loss(model, tokenizer, records, recipe)

    result = stages.sft(recipe, records, model, tokenizer, tmp_path / "outputs" / "sft")

    assert [row["step"] for row in result.log] == [1, 2, 3]
    assert result.log[-1]["loss"] < result.log[0]["loss"] - 0.01
    after = frozen(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(CourseError, match="unquantised"):
        adapters.merge_adapter(model, result.adapter)
    whole = loading.load_model(recipe.unquantised())
    assert whole.dtype == getattr(torch, dtype)
    merged = adapters.merge_adapter(whole, result.adapter)
    assert evaluation.held_out_loss(merged, tokenizer, records, recipe) < loss_before - 0.01


@pytest.mark.slow
def test_four_bits_have_the_same_gradient_after_use_as_before(tiny_recipe, on_disk):
    def gradient(model):
        model.train().zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    ids = torch.tensor([[2, 105, 2364, 107, 500, 600]])
    model = adapters.add_adapter(loading.load_model(quantised(tiny_recipe, on_disk)), tiny_recipe)
    for parameter in model.parameters():
        if parameter.requires_grad:  # B is zero at the start, and A then has no gradient
            torch.nn.init.normal_(parameter, std=0.05)
    before = gradient(model)
    with torch.no_grad():
        model.eval()(input_ids=ids)
    assert torch.allclose(gradient(model), before, atol=1e-7)
    whole = adapters.add_adapter(loading.load_model(replace(tiny_recipe, model=on_disk)), tiny_recipe)
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    whole.load_state_dict(weights, strict=False)
    assert torch.nn.functional.cosine_similarity(gradient(whole), before, dim=0) > 0.9


@pytest.mark.slow
def test_four_bits_are_near_the_weights_they_stand_for(tiny_recipe, on_disk):
    whole, small = (
        loading.load_model(replace(tiny_recipe, model=on_disk)),
        loading.load_model(quantised(tiny_recipe, on_disk)),
    )
    ids = torch.tensor([[2, 105, 2364, 107, 500, 600]])
    with torch.no_grad():
        expected, actual = whole(ids).logits, small(ids).logits
    assert not torch.equal(expected, actual)
    assert torch.nn.functional.cosine_similarity(expected.flatten(), actual.flatten(), dim=0) > 0.95


def test_a_qlora_recipe_without_bitsandbytes_says_what_to_install(tiny_recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(CourseError, match="pip install bitsandbytes"):
        loading.load_model(replace(tiny_recipe, quantization="nf4"))
    with pytest.raises(CourseError, match="adamw_8bit"):
        loading.load_model(replace(tiny_recipe, optimizer="adamw_8bit"))


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(tiny_recipe, tmp_path):
    from transformers import LlamaConfig

    LlamaConfig(hidden_size=65_536, num_hidden_layers=200, num_attention_heads=64).save_pretrained(tmp_path)
    with pytest.raises(CourseError, match=r"GiB as gemma-3-270m-cpu loads it .* set quantization to nf4"):
        loading.load_model(replace(tiny_recipe, model=str(tmp_path)))


def test_float16_on_a_gemma_by_any_name_is_refused(tmp_path):
    from transformers import Gemma3TextConfig

    from kotune.models.machine import RECIPES, shape_of

    Gemma3TextConfig(hidden_size=32, num_hidden_layers=1).save_pretrained(tmp_path / "mine")
    recipe = replace(RECIPES["gemma-2b-l4"], model=str(tmp_path / "mine"), dtype="float16")
    with pytest.raises(CourseError, match="65,504"):
        shape_of(recipe)


@pytest.mark.slow
def test_a_later_run_replaces_what_a_run_writes_and_nothing_else(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    folder = stages.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft").adapter
    first = adapters.adapter_hash(folder)
    (folder / "notes.md").write_text("내 메모", encoding="utf-8")
    (folder / "figures.json").write_text("{}")
    (folder / "exports").mkdir()
    (folder / "exports" / "answers.xlsx").write_bytes(b"x")
    (folder / "loss.png").write_bytes(b"of the first run")
    stages.sft(replace(tiny_recipe, epochs=6.0), records, tiny_model, tokenizer, folder)
    assert adapters.adapter_hash(folder) != first
    assert (folder / "notes.md").read_text(encoding="utf-8") == "내 메모"
    assert (folder / "figures.json").exists() and (folder / "exports" / "answers.xlsx").exists()
    assert not (folder / "loss.png").exists()
    assert not list(folder.glob("saving-*"))
