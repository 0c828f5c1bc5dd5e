"""The recipe for this machine, with the reason; and what a run will take, before it starts.

    choice = choose()                                   # or choose("llama-3-8b-qlora")
    print(estimate(choice.recipe, "real_estate_train")) # memory by part, tokens, steps, minutes

The recipes themselves stand in `recipe_table.py`; `overrides.py` changes their values by name.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from dataclasses import dataclass, replace

from kotune.language import said
from kotune.models.files import load_config, prepare_libraries
from kotune.models.memory import GIB, SHAPES, ModelShape, memory
from kotune.overrides import require_sound
from kotune.recipes import LOCAL_GEMMA, RECIPES, Recipe, by_name
from utils import CourseError, setting

EMULATED = 5.0  # GFLOP/s; what computes in the format itself does ten times as many
CPU_DEFAULT, GPU_DEFAULT = "gemma-3-270m-cpu", "gemma-2b-l4"
T4_DEFAULT = "gemma-3-270m-t4"  # for a GPU without bfloat16 of its own


@dataclass(frozen=True)
class RecipeChoice:
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
                f"float32 if that fits, or let the machine choose (unset COURSE_RECIPE): {T4_DEFAULT}."
            )
    needs = "its NF4 weights" if recipe.quantization else "adamw_8bit" if recipe.optimizer == "adamw_8bit" else None
    if needs and not installed("bitsandbytes"):
        raise CourseError(
            f"{recipe.name} needs bitsandbytes for {needs} and it is not installed; run `pip install bitsandbytes`, or "
            f"choose a recipe without, as {GPU_DEFAULT if recipe.device == 'cuda' else CPU_DEFAULT}."
        )


def free_gib(device: str) -> float:
    """Return the memory that a run can have on a device: what is free, and what this process holds already."""
    if device == "cuda":
        import torch

        return unused_gib(device) + torch.cuda.memory_reserved() / GIB
    import psutil

    return unused_gib(device) + psutil.Process().memory_info().rss / GIB


def unused_gib(device: str) -> float:
    """Return the memory of a device that no process holds."""
    if device == "cuda":
        import torch

        return torch.cuda.mem_get_info()[0] / GIB
    import psutil

    return psutil.virtual_memory().available / GIB


def choose(name: str | None = None) -> RecipeChoice:
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
        reason = (
            said("asked for by name", "이름으로 지정함")
            if name
            else said("COURSE_RECIPE asks for it", "COURSE_RECIPE로 지정함")
        )
    elif torch.cuda.is_available():
        recipe, reason = _for_this_gpu()
    else:
        cores = os.cpu_count()
        recipe, reason = RECIPES[CPU_DEFAULT], said(f"no CUDA GPU, {cores} CPU cores", f"CUDA GPU 없음, CPU 코어 {cores}개")
    if recipe.device == "cuda":
        recipe, attention = _with_attention(recipe)
        return RecipeChoice(recipe, f"{reason}; {attention}")
    bf16, fp32 = bf16_speed()
    reason += said(
        f"; matrix products run at {bf16:.0f} GFLOP/s in bfloat16, {fp32:.0f} in float32",
        f"; 행렬 곱셈 속도는 bfloat16 {bf16:.0f} GFLOP/s, float32 {fp32:.0f} GFLOP/s",
    )
    return RecipeChoice(replace(recipe, dtype="bfloat16" if bf16 > fp32 else "float32"), reason)


def _for_this_gpu() -> tuple[Recipe, str]:
    import torch

    small, gpu = replace(RECIPES[CPU_DEFAULT], device="cuda"), torch.cuda.get_device_name()
    major, minor = torch.cuda.get_device_capability()
    free = free_gib("cuda")
    if major < 8:
        why = said(
            f"{gpu} has no bf16 of its own: the small model in float32", f"{gpu}에는 bf16 연산이 없음: 작은 모델을 float32로"
        )
        return RECIPES[T4_DEFAULT], why
    needed = _at_full_length(RECIPES[GPU_DEFAULT])
    if free < needed:
        return small, said(
            f"{gpu} has {free:.1f} GiB free and {GPU_DEFAULT} needs {needed:.1f} at its full length: the small model in "
            "bf16",
            f"{gpu}의 여유 메모리는 {free:.1f} GiB, {GPU_DEFAULT}의 가장 긴 행에는 {needed:.1f} GiB가 필요함: 작은 모델을 "
            "bf16으로",
        )
    reason = said(
        f"{gpu} (compute capability {major}.{minor}) with bf16 and {free:.1f} GiB free",
        f"{gpu}(compute capability {major}.{minor}), bf16 가능, 여유 메모리 {free:.1f} GiB",
    )
    larger = [recipe for recipe in RECIPES.values() if recipe.quantization and _at_full_length(recipe) <= free]
    names = ", ".join(recipe.name for recipe in larger)
    if larger and not installed("bitsandbytes"):
        reason += said(
            f"; {names} would fit too, but bitsandbytes is not installed", f"; {names}도 들어가지만 bitsandbytes가 없음"
        )
    elif larger:
        reason += said(f"; {names} would fit too, by name", f"; 이름으로 지정하면 {names}도 들어감")
    return RECIPES[GPU_DEFAULT], reason


def _with_attention(recipe: Recipe) -> tuple[Recipe, str]:
    """Return the recipe with FlashAttention 2 where a backward step passes, else with SDPA, and why."""
    if recipe.dtype == "float32":
        needs = said("FlashAttention needs 16 bits", "FlashAttention은 16비트에서만 됨")
        return replace(recipe, attention="sdpa"), said(f"attention through SDPA, because {needs}", f"어텐션은 SDPA({needs})")
    works, why = flash_attention(shape_of(recipe).head_dim)
    name = "FlashAttention 2" if works else "SDPA"
    reason = said(f"attention through {name}, because {why}", f"어텐션은 {name}({why})")
    return replace(recipe, attention="flash_attention_2" if works else "sdpa"), reason


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


def _at_full_length(recipe: Recipe) -> float:
    """Return the GiB of supervised fine-tuning with batches of max_length."""
    return memory(shape_of(recipe), recipe, rows=recipe.batch_size, width=recipe.max_length, stage="sft").total


def installed(library: str) -> bool:
    """Return whether a library can be imported, without importing it."""
    if library in sys.modules:
        return sys.modules[library] is not None
    return importlib.util.find_spec(library) is not None


def bf16_speed(seconds: float = 0.3) -> tuple[float, float]:
    """Time a matrix product of training's shape on this CPU; return its GFLOP/s in bfloat16 and float32."""
    import torch

    prepare_libraries()
    return _product_speed(torch.bfloat16, seconds), _product_speed(torch.float32, seconds)


def _product_speed(dtype, seconds: float) -> float:
    """Return the GFLOP/s of a product in a number format: of training's shape, or of a narrow one where it is emulated."""
    narrow = _timed_product(dtype, 128, seconds / 10)
    # without bfloat16 of its own a CPU takes 15 s for the wide one
    return narrow if narrow < EMULATED else _timed_product(dtype, 8192, seconds)


def _timed_product(dtype, columns: int, seconds: float) -> float:
    """Return the GFLOP/s of (512, 640) times (640, columns)."""
    import torch

    left, right = torch.ones(512, 640, dtype=dtype), torch.ones(640, columns, dtype=dtype)
    left @ right  # the first product sets the kernel up
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        left @ right
        count += 1
    return count * 2 * 512 * 640 * columns / (time.perf_counter() - start) / 1e9


def flash_attention(head_dim: int = 256, device: str = "cuda") -> tuple[bool, str]:
    """Try FlashAttention 2 forward and backward once; return whether it works, and the reason in words.

    Being installed says little: builds for another torch fail on import, and older ones have no backward pass for
    Gemma's head size on most GPUs.
    """
    if not installed("flash_attn"):
        return False, said("flash-attn is not installed", "flash-attn이 없음")
    import torch

    try:
        from flash_attn import flash_attn_func

        query, key, value = (
            torch.randn(1, 32, 2, head_dim, dtype=torch.bfloat16, device=device, requires_grad=True) for _ in range(3)
        )
        flash_attn_func(query, key, value, causal=True).sum().backward()
    except (ImportError, OSError, RuntimeError) as error:
        told = str(error).strip().splitlines()[0]
        return False, said(
            f"flash-attn fails at head size {head_dim} ({told})", f"flash-attn이 헤드 크기 {head_dim}에서 실패함: {told}"
        )
    if query.grad is None or not query.grad.isfinite().all():
        return False, said(
            f"flash-attn gives no finite gradient at head size {head_dim}",
            f"flash-attn의 기울기가 헤드 크기 {head_dim}에서 유한하지 않음",
        )
    return True, said(
        f"flash-attn passes a backward step at head size {head_dim}",
        f"flash-attn의 역전파가 헤드 크기 {head_dim}에서 통과함",
    )
