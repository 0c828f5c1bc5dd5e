"""The switch for training that wastes less on a CPU: batches without padding, and layers that pass over memory less often.

`lean` in a recipe is on as it comes. Losses and gradients are those of padded batches and of the libraries' own layers but
for rounding, which tests hold; a run's card says which it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from kotune.recipes import Recipe

# Families whose attention takes all that a row's needs (scale, window, cap) from the call and has no positions of its own;
# each is tested. The others keep padded batches.
FAMILIES = ("gemma", "gemma3_text", "llama", "mistral", "qwen2", "qwen3")


def is_lean(recipe: Recipe, kind: str) -> bool:
    """Say whether a run is lean: as the recipe asks, on a CPU, with attention that may be ours, for a family that can."""
    return recipe.lean and recipe.device == "cpu" and recipe.attention == "sdpa" and kind in FAMILIES


def fitting(recipe: Recipe, model) -> Recipe:
    """Return the recipe with `lean` as this model can be trained."""
    config = model.config
    one_way = not getattr(config, "use_bidirectional_attention", False)
    return replace(recipe, lean=is_lean(recipe, config.model_type) and one_way)


@contextmanager
def leanly(model, recipe: Recipe) -> Iterator[None]:
    """Let a model with its adapter compute as a lean recipe asks, until it ends; nothing changes for another."""
    from kotune.training.fused import fused

    if not recipe.lean:
        yield
        return
    with fused(model):
        yield


def report(asked: Recipe, recipe: Recipe, model) -> None:
    """Print it where a run on a CPU is not as lean as its recipe asks, with the reason."""
    if asked.lean and not recipe.lean and asked.device == "cpu":
        other = f"a {model.config.model_type} is none of {', '.join(FAMILIES)}"
        reason = f"its attention is {asked.attention}" if asked.attention != "sdpa" else other
        print(f"batches are padded, because lean training is not for this run: {reason}")
