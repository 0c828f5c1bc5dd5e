"""Protects: every value of a recipe can be changed by any system's name for it, and nothing is taken silently."""

import json
from dataclasses import asdict, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.overrides import SPELLINGS, read_config, with_overrides
from kotune.recipes import RECIPES, Recipe
from kotune.stage_table import STAGES
from utils import CourseError

CPU, L4, LLAMA = (RECIPES[name] for name in ("gemma-3-270m-cpu", "gemma-2b-l4", "llama-2-7b-qlora"))
# The suite's file as its repository has it, and the medical trainer's command as its README has it.
SYSTEM_D = {
    "train_path": "data/train.jsonl", "val_path": "data/val.jsonl", "max_seq_length": 2048,
    "pretrained_model_name": "upstage/SOLAR-10.7B-v1.0", "lora_r": 8, "lora_alpha": 32,
    "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "lora_dropout": 0.0, "use_gradient_checkpointing": True, "random_state": 3407, "use_rslora": False,
    "num_train_epochs": 3, "train_batch_size": 4, "eval_batch_size": 4, "gradient_accumulation_steps": 4,
    "weight_decay": 0.01, "evaluation_strategy": "steps", "save_steps": 9811, "eval_steps": 9811, "learning_rate": 0.0002,
    "logging_steps": 100, "output_dir": "model_result/SOLAR", "optim": "adamw_8bit", "load_best_model_at_end": True,
    "save_total_limit": 3, "packing": False, "model_use_cache": False,
}  # fmt: skip
SYSTEM_C = {
    "stage": "sft", "model_name_or_path": "meta-llama/Llama-2-7b-chat-hf", "do_train": True, "dataset": "mm",
    "finetuning_type": "lora", "quantization_bit": 4, "overwrite_cache": True, "output_dir": "output",
    "per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "lr_scheduler_type": "cosine", "logging_steps": 10,
    "save_steps": 1000, "learning_rate": 5e-5, "num_train_epochs": 2.0, "plot_loss": True, "bf16": True,
    "template": "llama2", "lora_target": "q_proj,v_proj",
}  # fmt: skip


@given(recipe=st.sampled_from(list(RECIPES.values())))
def test_a_recipe_written_as_text_or_values_comes_back(recipe):
    values = asdict(recipe)
    text = {k: ",".join(v) if isinstance(v, tuple) else str(v) for k, v in values.items()}
    assert with_overrides(CPU, values) == recipe
    assert with_overrides(CPU, text) == recipe


@given(recipe=st.sampled_from(list(RECIPES.values())), spelling=st.sampled_from(sorted(SPELLINGS)))
def test_every_spelling_sets_its_field(recipe, spelling):
    field = SPELLINGS[spelling]
    assert getattr(with_overrides(replace(CPU, device="cuda"), {spelling: getattr(recipe, field)}), field) == getattr(
        recipe, field
    )


def test_system_ds_file_is_its_recipe(tmp_path, capsys):
    path = tmp_path / "SOLAR_train_config.json"
    path.write_text(json.dumps(SYSTEM_D), encoding="utf-8")
    config = read_config(path)
    assert config.run == {
        "train_dataset": "data/train.jsonl", "eval_dataset": "data/val.jsonl", "output_dir": "model_result/SOLAR",
    }  # fmt: skip
    solar = RECIPES["solar-10.7b-qlora"]
    assert with_overrides(solar, config.values) == solar
    said = capsys.readouterr().out  # what has no effect here is said
    assert "logging_steps has no effect here: every step is logged." in said
    assert said.count("has no effect here") == len(config.decided) == 6
    assert len(config.run) + len(config.values) + len(config.decided) == len(SYSTEM_D)


def test_system_cs_command_as_a_file_is_its_recipe(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in SYSTEM_C.items()), encoding="utf-8")
    config = read_config(path)
    assert config.run == {"stage": "sft", "train_dataset": "mm", "output_dir": "output", "plot_loss": True}
    assert with_overrides(LLAMA, config.values) == LLAMA


def test_yaml_in_scientific_notation_is_a_number(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("learning_rate: 2e-4\nlora_r: 16\n", encoding="utf-8")  # YAML 1.1 reads 2e-4 as text
    recipe = with_overrides(CPU, read_config(path).values)
    assert (recipe.learning_rate, recipe.lora_r) == (2e-4, 16)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_learning_rate_is_its_own(stage):
    changed = with_overrides(CPU, {"learning_rate": 3e-4, "num_train_epochs": "7"}, stage=stage)
    rate, epochs = (STAGES[stage].own_fields().get(field, field) for field in ("learning_rate", "epochs"))
    assert (getattr(changed, rate), getattr(changed, epochs)) == (3e-4, 7.0)
    different = {f.name for f in fields(Recipe) if getattr(changed, f.name) != getattr(CPU, f.name)}
    assert different == {rate, epochs}
    both = with_overrides(CPU, {"learning_rate": 3e-4, "dpo_learning_rate": 2e-6}, stage="dpo")
    assert (both.learning_rate, both.dpo_learning_rate) == (3e-4, 2e-6)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lora_rang": 8}, "did you mean lora_ran?k?r?"),
        ({"learning_rat": 1}, "did you mean learning_rate"),
        ({"lora_r": "viele"}, "lora_r is 'viele': .*integer"),
        ({"lora_r": 16.5}, "lora_r is 16.5: .*fractional"),
        ({"r": 0}, "r is 0: .*greater than 0"),
        ({"lora_r": True}, "no switch"),
        ({"learning_rate": "inf"}, "finite"),
        ({"learning_rate": "nan"}, "learning_rate is 'nan'"),
        ({"packing": "vielleicht"}, "packing is 'vielleicht'"),
        ({"dtype": "int8"}, "'bfloat16', 'float32' or 'float16'"),
        ({"quantization_bit": 8}, "choose 4 or None"),
        ({"use_rslora": True}, "alpha / r"),
        ({"lora_target": ""}, "empty"),
        ({"lora_r": 8, "r": 16}, "lora_r and r set lora_r to different"),
        ({"early_stopping": "-1"}, "early_stopping is '-1'"),
        ({"attention": "flash_attention_2"}, "needs a GPU"),
        ({"dtype": "float16", "model": "meta-llama/Llama-2-7b-hf"}, "for GPUs"),
    ],
)
def test_a_value_that_cannot_be_is_one_sentence(values, words):
    with pytest.raises(CourseError, match=words) as caught:
        with_overrides(CPU, values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("recipe", "values"), [(CPU, {"dtype": "float16"}), (L4, {"fp16": "true"})])
def test_float16_on_a_gemma_is_refused(recipe, values):
    with pytest.raises(CourseError, match="65,504"):
        with_overrides(recipe, values)
    assert with_overrides(LLAMA, {"fp16": True}).dtype == "float16"  # a Llama can


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("run.yaml", "lora_r: [1\n", "line 2"),
        ("run.json", '{"lora_r": 8,}', "line 1"),
        ("run.yaml", "- lora_r\n", "name: value"),
        ("run.yaml", "", "name: value"),
        ("run.yaml", "lora_rr: 8\n", "run.yaml: lora_rr is no setting of a recipe; did you mean lora_r"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, text, words):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=words):
        read_config(tmp_path / name)
    with pytest.raises(CourseError, match="does not exist"):
        read_config(tmp_path / "missing.yaml")
