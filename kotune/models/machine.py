"""The recipe for this machine, with the reason; and what a run will take, before it starts.

    choice = choose()                                   # or choose("llama-3-8b-qlora")
    print(estimate(choice.recipe, "real_estate_train")) # memory by part, tokens, steps, minutes

The recipes themselves stand in `recipe_table.py`; `overrides.py` changes their values by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kotune.data import registry
from kotune.data.writers import stage_of
from kotune.models import memory as estimates
from kotune.models.chat_template import rendered_lengths
from kotune.models.files import load_config, load_tokenizer
from kotune.models.memory import SHAPES, Estimate, ModelShape, Tokens
from kotune.overrides import require_sound
from kotune.recipes import LOCAL_GEMMA, RECIPES, Recipe, by_name
from kotune.training import speed as probes
from utils import CourseError, setting

CPU_DEFAULT, GPU_DEFAULT = "gemma-3-270m-cpu", "gemma-2b-l4"
# The stage of a canonical record (`writers.stage_of`) that each stage of training takes, and what it must have.
TAKES = {
    "pretrain": ("pt", "text"),
    "sft": ("sft", "a completion"),
    "reward": ("dpo", "chosen and rejected"),
    "dpo": ("dpo", "chosen and rejected"),
}


@dataclass(frozen=True)
class Choice:
    """The recipe for this machine, and why."""

    recipe: Recipe
    reason: str


# --- what runs here --------------------------------------------------------------------------


def require_runnable(recipe: Recipe) -> None:
    """Raise a CourseError for a recipe that this machine has no device, no number format or no library for."""
    import torch

    require_sound(recipe)
    if recipe.device == "cuda":
        if not torch.cuda.is_available():
            raise CourseError(
                f"{recipe.name} needs a CUDA GPU and none is here; use {CPU_DEFAULT}, or run it where there is one."
            )
        # is_bf16_supported() answers True on a T4, which only emulates it: the capability tells
        if recipe.dtype == "bfloat16" and torch.cuda.get_device_capability()[0] < 8:
            raise CourseError(
                f"{torch.cuda.get_device_name()} only emulates bfloat16, which {recipe.name} computes in; set its dtype to "
                f"float32 if that fits, or let the machine choose (unset COURSE_RECIPE): {CPU_DEFAULT}'s model in float32."
            )
    needs = "its NF4 weights" if recipe.quantization else "adamw_8bit" if recipe.optimizer == "adamw_8bit" else None
    if needs and not probes.installed("bitsandbytes"):
        raise CourseError(
            f"{recipe.name} needs bitsandbytes for {needs} and it is not installed; run `pip install bitsandbytes`, or "
            f"choose a recipe without, as {GPU_DEFAULT if recipe.device == 'cuda' else CPU_DEFAULT}."
        )


def free_gib(device: str) -> float:
    """Return the memory that a run can have on a device: what is free, and what this process holds already."""
    if device == "cuda":
        import torch

        return (torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()) / estimates.GIB
    import psutil

    return (psutil.virtual_memory().available + psutil.Process().memory_info().rss) / estimates.GIB


def choose(name: str | None = None) -> Choice:
    """Return the recipe of this name, or of `COURSE_RECIPE`, or the one for this machine; with the reason in words.

    Without a name: the reference course's recipe where a GPU has a bfloat16 of its own and the memory; the small model on
    other GPUs, in float32 where bfloat16 is only emulated; and on a CPU the small model in the faster of both, as timed.

    Raises:
        CourseError: there is no such recipe, or this machine cannot run it.
    """
    import torch

    asked = name or setting("COURSE_RECIPE")
    if asked:
        try:
            recipe = by_name(asked)
            require_runnable(recipe)
        except CourseError as error:
            raise error if name else CourseError(f"COURSE_RECIPE is {asked!r}: {error}") from None
        reason = "asked for by name" if name else "COURSE_RECIPE asks for it"
    elif torch.cuda.is_available():
        recipe, reason = _for_this_gpu()
    else:
        recipe, reason = RECIPES[CPU_DEFAULT], f"no CUDA GPU, {os.cpu_count()} CPU cores"
    if recipe.device == "cuda":
        recipe, attention = _with_attention(recipe)
        return Choice(recipe, f"{reason}; {attention}")
    bf16, fp32 = probes.bf16_speed()
    reason += f"; matrix products run at {bf16:.0f} GFLOP/s in bfloat16, {fp32:.0f} in float32"
    return Choice(replace(recipe, dtype="bfloat16" if bf16 > fp32 else "float32"), reason)


def _for_this_gpu() -> tuple[Recipe, str]:
    import torch

    small, gpu = replace(RECIPES[CPU_DEFAULT], device="cuda"), torch.cuda.get_device_name()
    major, minor = torch.cuda.get_device_capability()
    free = free_gib("cuda")
    if major < 8:
        return replace(small, dtype="float32"), f"{gpu} has no bf16 of its own: the small model in float32"
    needed = _at_full_length(RECIPES[GPU_DEFAULT])
    if free < needed:
        return small, (
            f"{gpu} has {free:.1f} GiB free and {GPU_DEFAULT} needs {needed:.1f} at its full length: the small model in bf16"
        )
    reason = f"{gpu} (compute capability {major}.{minor}) with bf16 and {free:.1f} GiB free"
    larger = [recipe for recipe in RECIPES.values() if recipe.quantization and _at_full_length(recipe) <= free]
    if larger and not probes.installed("bitsandbytes"):
        reason += f"; {', '.join(r.name for r in larger)} would fit too, but bitsandbytes is not installed"
    elif larger:
        reason += f"; {', '.join(r.name for r in larger)} would fit too, by name"
    return RECIPES[GPU_DEFAULT], reason


def _with_attention(recipe: Recipe) -> tuple[Recipe, str]:
    """Return the recipe with FlashAttention 2 where a backward step passes, else with SDPA, and why."""
    if recipe.dtype == "float32":
        return replace(recipe, attention="sdpa"), "attention through SDPA, because FlashAttention needs 16 bits"
    works, why = probes.flash_attention(shape_of(recipe).head_dim)
    if works:
        return replace(recipe, attention="flash_attention_2"), f"attention through FlashAttention 2, because {why}"
    return replace(recipe, attention="sdpa"), f"attention through SDPA, because {why}"


# --- what a run takes ------------------------------------------------------------------------


def shape_of(recipe: Recipe) -> ModelShape:
    """Return the shape of a recipe's model: known for the recipes', else out of its config.json.

    Raises:
        CourseError: no such model, or one whose loss the course does not have.
    """
    if recipe.model in SHAPES:
        return SHAPES[recipe.model]
    config = load_config(recipe.model)
    if recipe.dtype == "float16" and config.model_type.startswith("gemma"):
        require_sound(replace(recipe, model=LOCAL_GEMMA))  # a Gemma by another name
    return ModelShape.from_config(config)


def estimate(
    recipe: Recipe, dataset: str | Path | Iterable[dict], stage: str = "sft", free: float | None = None
) -> Estimate:
    """Return memory by part, tokens, steps and minutes of a run, before any weights are loaded.

    `dataset` is a name or a path for `formats.load`, or canonical records. The minutes are measured in about three seconds
    on this machine. With `free`, the GiB of a device that is not here, nothing is measured.

    Raises:
        CourseError: the run does not fit, with what does; this machine cannot run the recipe; the data is for another
            stage; or no record fits `max_length`.
    """
    shape = shape_of(recipe)
    if free is None:
        require_runnable(recipe)
    else:
        require_sound(recipe)
    name = dataset if isinstance(dataset, str | Path) else "the data set"
    records = registry.load(dataset) if isinstance(dataset, str | Path) else list(dataset)
    _require_stage(records, stage, str(name))
    tokenizer, notes = _tokenizer(recipe)
    tokens = _count(records, tokenizer, recipe, str(name))
    room = free_gib(recipe.device) if free is None else free
    memory = _memory(shape, recipe, tokens, stage)
    if memory.total > room:
        raise CourseError(_does_not_fit(recipe, tokens, stage, memory.total, room))
    plan = estimates.batches(tokens, recipe, stage)
    minutes = None
    if free is None:
        speed = probes.training_speed(shape, recipe, plan.rows, round(plan.width))
        minutes = estimates.minutes(shape, plan, speed, stage)
    return Estimate(recipe.name, stage, recipe.device, tokens, plan.steps, memory, room, minutes, tuple(notes))


def _require_stage(records: list[dict], stage: str, name: str) -> None:
    if stage not in TAKES:
        raise CourseError(f"There is no stage {stage!r}; choose one of {', '.join(TAKES)}.")
    if not records:
        raise CourseError(f"{name} has no records; pass some to estimate a run on.")
    takes, has = TAKES[stage]
    for number, record in enumerate(records, start=1):
        if stage_of(record) != takes:
            raise CourseError(f"{name}, record {record.get('id', number)}, is not for {stage}, which takes {has}.")


def _tokenizer(recipe: Recipe) -> tuple[object, list[str]]:
    """Return the recipe's tokenizer, or where it cannot be had the course's own, and a note that says so."""
    try:
        return load_tokenizer(recipe.model), []
    except CourseError:
        if recipe.model == LOCAL_GEMMA or Path(recipe.model).exists():
            raise
        note = (
            f"Tokens are counted with the tokenizer of {LOCAL_GEMMA}, because that of {recipe.model} cannot be loaded here; "
            "a smaller vocabulary cuts Korean into more of them."
        )
        return load_tokenizer(LOCAL_GEMMA), [note]


def _count(records: list[dict], tokenizer, recipe: Recipe, name: str) -> Tokens:
    """Return the lengths of the records that fit max_length, and the ids of the others."""
    lengths, trained, too_long, sequences = [], 0, [], 1
    for number, record in enumerate(records, start=1):
        rendered = rendered_lengths(tokenizer, record)
        if max(length.tokens for length in rendered) > recipe.max_length:
            too_long.append(str(record.get("id", f"document {number}")))
            continue
        sequences = len(rendered)
        lengths += [length.tokens for length in rendered]
        trained += sum(length.trained for length in rendered)
    if not lengths:
        raise CourseError(f"All records of {name} are over max_length ({recipe.max_length} tokens); raise it.")
    return Tokens(len(records) - len(too_long), sequences, tuple(lengths), trained, tuple(too_long))


def _memory(shape: ModelShape, recipe: Recipe, tokens: Tokens, stage: str) -> estimates.Memory:
    plan = estimates.batches(tokens, recipe, stage)
    return estimates.memory(shape, recipe, rows=plan.rows, width=plan.widest, stage=stage)


def _at_full_length(recipe: Recipe) -> float:
    """Return the GiB of supervised fine-tuning with batches of max_length."""
    return estimates.memory(shape_of(recipe), recipe, rows=recipe.batch_size, width=recipe.max_length, stage="sft").total


def _does_not_fit(recipe: Recipe, tokens: Tokens, stage: str, needed: float, room: float) -> str:
    """Return the sentence of a refusal: by how much it does not fit, and what does."""
    said = f"{recipe.name} needs {needed:.1f} GiB for {stage} on this data and {room:.1f} are free on {recipe.device}, "
    said += f"{needed - room:.1f} too few; "
    shape = shape_of(recipe)
    for what, variant in estimates.smaller(recipe, stage):
        total = _memory(shape, variant, tokens, stage).total
        if total <= room:
            return f"{said}{what} makes the same steps in {total:.1f}."
    others = [
        (_memory(shape_of(other), other, tokens, stage).total, other.name)
        for other in (replace(known, device=recipe.device, max_length=recipe.max_length) for known in RECIPES.values())
        if other.name != recipe.name
    ]
    fitting = [(total, name) for total, name in others if total <= room]
    if fitting:  # the largest that fits is the nearest to what was asked for
        total, name = max(fitting)
        return f"{said}{name} needs {total:.1f}."
    return f"{said}no recipe fits: the least, {min(others)[1]}, needs {min(others)[0]:.1f}; close other programs."
