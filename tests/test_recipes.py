"""Protects: a recipe's file is what is trained, a value that cannot be is refused wherever it is set, and files are read late."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, fields, replace

import pytest
from pydantic import ValidationError

from kotune.models.memory import SHAPES, memory
from kotune.overrides import read_config, require_sound, with_overrides
from kotune.recipes import FILES, MEANINGS, RECIPES, Recipe, by_name
from utils import ASSETS, CourseError


def test_a_recipes_file_has_its_name_and_no_other_lies_there():
    assert {path.name for path in FILES.iterdir()} == {f"{name}.yaml" for name in RECIPES}
    assert all(recipe.name == name for name, recipe in RECIPES.items())
    assert next(iter(RECIPES)) == "gemma-3-270m-cpu"  # the default comes first


def test_the_default_names_every_value():
    named = read_config(FILES / "gemma-3-270m-cpu.yaml").values
    assert list(named) == list(asdict(RECIPES["gemma-3-270m-cpu"]))


@pytest.mark.parametrize("name", RECIPES)
def test_a_copy_of_a_recipe_is_a_runs_file(tmp_path, name):
    copy = tmp_path / "mine.yaml"
    copy.write_bytes((FILES / f"{name}.yaml").read_bytes())
    start = Recipe(name="other", model="other/model", device="cuda")
    for stage in ("sft", "dpo"):
        changed = with_overrides(start, read_config(copy).values, stage)
        assert changed.dpo_learning_rate == RECIPES[name].dpo_learning_rate
    assert with_overrides(start, read_config(copy).values) == RECIPES[name]


@pytest.mark.parametrize(
    ("field", "value"), [("lora_r", 0), ("learning_rate", float("nan")), ("dtype", "int8"), ("batch_size", "many")]
)
def test_a_value_that_cannot_be_is_refused_in_code_too(field, value):
    with pytest.raises(ValidationError, match=field):
        replace(RECIPES["gemma-3-270m-cpu"], **{field: value})


def test_a_recipe_is_frozen_and_compares_by_its_values():
    recipe = RECIPES["gemma-3-270m-cpu"]
    with pytest.raises(AttributeError):
        recipe.lora_r = 4
    assert replace(recipe, target_modules=list(recipe.target_modules)) == recipe
    assert hash(replace(recipe, lora_r=9)) != hash(recipe)


@pytest.mark.parametrize("card", sorted(ASSETS.glob("*/run.json")), ids=lambda path: path.parent.name)
def test_a_shipped_run_card_holds_a_recipe(card):
    written = json.loads(card.read_text(encoding="utf-8"))["recipe"]
    read = json.loads(json.dumps(asdict(Recipe(**written))))
    assert {name: read[name] for name in written} == written  # an older card may lack a setting that came later


def test_apples_gpu_does_not_train():
    with pytest.raises(CourseError, match="does not train"):
        require_sound(replace(RECIPES["gemma-3-270m-cpu"], device="mps"))


def test_an_unknown_name_is_answered_by_the_nearest():
    with pytest.raises(CourseError, match="did you mean gemma-2b-l4"):
        by_name("gemma-2b-l5")
    with pytest.raises(KeyError):
        RECIPES["gemma-2b-l5"]


def test_no_file_is_read_at_import():
    code = "import sys, kotune.recipes as r; list(r.RECIPES); assert 'yaml' not in sys.modules; r.RECIPES['gemma-2b-l4']"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_setting_is_explained_in_a_sentence():
    assert list(MEANINGS) == [field.name for field in fields(Recipe)]
    (row,) = RECIPES["gemma-3-270m-cpu"].explained("learning_rate")
    assert row == {"setting": "learning_rate", "value": 1e-3, "what it does": MEANINGS["learning_rate"][0]}


def test_the_korean_edition_explains_every_setting_in_korean(monkeypatch):
    recipe = RECIPES["gemma-3-270m-cpu"]
    english = recipe.explained(*MEANINGS)
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    korean = recipe.explained(*MEANINGS)
    assert [(row["setting"], row["값"]) for row in korean] == [(row["setting"], row["value"]) for row in english]
    told = [row["하는 일"] for row in korean]
    assert len(set(told)) == len(told)
    assert [text for text in told if not re.search("[가-힣]", text) or re.search("[A-Za-z]{2,} [A-Za-z]{2,}", text)] == []


def test_a_recipe_of_ones_own_is_a_file_with_the_same_names(tmp_path):
    own = tmp_path / "own.yaml"
    text = (FILES / "gemma-3-270m-cpu.yaml").read_text(encoding="utf-8")
    own.write_text(text.replace("lora_r: 8", "lora_r: 32"), encoding="utf-8")
    assert by_name(str(own)) == replace(RECIPES["gemma-3-270m-cpu"], lora_r=32)
    for spoilt, said in (
        ("lora_r: viele", r"own\.yaml, lora_r: .*integer"),
        ("lora_rank: 8", r"own\.yaml, lora_rank: "),
        ("- a list", r"own\.yaml is no mapping"),
        ("a: [", r"own\.yaml is not YAML"),
    ):
        own.write_text(text.replace("lora_r: 8", spoilt) if spoilt.startswith("lora") else spoilt, encoding="utf-8")
        with pytest.raises(CourseError, match=said):
            by_name(str(own))
    with pytest.raises(CourseError, match="cannot be read"):
        by_name(str(tmp_path / "absent.yaml"))


def test_the_recipe_for_a_t4_makes_the_steps_of_the_cpu_and_computes_in_what_a_t4_has():
    """Float16 is what a T4 is built for, and a Gemma overflows in it; bfloat16 it only emulates."""
    cpu, t4 = RECIPES["gemma-3-270m-cpu"], RECIPES["gemma-3-270m-t4"]
    assert replace(t4, name=cpu.name, device=cpu.device, dtype=cpu.dtype) == cpu
    assert (t4.device, t4.dtype) == ("cuda", "float32")
    require_sound(t4)
    with pytest.raises(CourseError, match="cannot be trained in float16"):
        require_sound(replace(t4, dtype="float16"))


@pytest.mark.parametrize(("stage", "rows"), [("sft", 8), ("pretrain", 8), ("reward", 8), ("dpo", 8)])
def test_the_recipe_for_a_t4_needs_what_its_comment_says(stage, rows):
    t4 = RECIPES["gemma-3-270m-t4"]
    assert memory(SHAPES[t4.model], t4, rows=rows, width=t4.max_length, stage=stage).total < 3.0  # of about 14.7 GiB
