"""Protects: recipes hold the reference systems' figures, and the choice explains itself."""

import pytest

import recipes
from utils import CourseError


def test_the_l4_recipe_is_the_reference_courses():
    recipe = recipes.RECIPES["gemma-2b-l4"]
    assert (recipe.lora_r, recipe.lora_alpha, recipe.learning_rate, recipe.scheduler) == (4, 32, 1e-4, "cosine")
    assert (recipe.batch_size, recipe.accumulation, recipe.epochs, recipe.warmup) == (4, 2, 5.0, 0.05)
    assert (recipe.dtype, recipe.optimizer) == ("bfloat16", "adamw_torch_fused")


def test_the_choice_says_why_and_measures_bf16(monkeypatch):
    monkeypatch.delenv("COURSE_RECIPE", raising=False)
    choice = recipes.choose()
    assert "GFLOP/s" in choice.reason
    bf16, fp32 = recipes.probe_bf16(0.05)
    assert bf16 > 0
    assert fp32 > 0


@pytest.mark.parametrize(("name", "words"), [("gemma-9000", "gemma-3-270m-cpu"), ("gemma-2b-l4", "CUDA")])
def test_a_recipe_that_cannot_be_is_refused(monkeypatch, name, words):
    monkeypatch.setenv("COURSE_RECIPE", name)
    with pytest.raises(CourseError, match=words):
        recipes.choose()


def test_a_t4_does_not_count_as_bf16(monkeypatch):
    import torch

    monkeypatch.delenv("COURSE_RECIPE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    choice = recipes.choose()
    assert (choice.recipe.dtype, choice.recipe.model) == ("float32", recipes.LOCAL_GEMMA)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    assert recipes.choose().recipe.name == "gemma-2b-l4"
