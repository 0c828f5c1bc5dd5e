"""Named recipes (model, LoRA, optimiser) and the choice of the one that fits this machine, with the reason.

Cost of import: the standard library only; `choose` imports torch.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields, replace

from utils import CourseError, setting

LOCAL_GEMMA = "gemma-3-270m"  # resolved by models.py: the package on PyPI, never a hub
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on besides its data."""

    name: str
    model: str  # a hub name, a folder, or LOCAL_GEMMA
    device: str  # "cpu" | "cuda"
    dtype: str = "bfloat16"
    attention: str = "sdpa"
    # LoRA
    lora_r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] = LINEAR_LAYERS
    # supervised fine-tuning
    learning_rate: float = 1e-3
    scheduler: str = "cosine"
    warmup_share: float = 0.05
    max_grad_norm: float = 1.0
    batch_size: int = 8
    accumulation: int = 1
    epochs: float = 1.0
    max_length: int = 512  # tokens of prompt and completion
    optimizer: str = "adamw_torch"
    # direct preference optimisation
    dpo_learning_rate: float = 5e-5
    dpo_beta: float = 0.1
    dpo_batch_size: int = 4
    dpo_epochs: float = 1.0
    dpo_pairs: int | None = None  # how many pairs dpo.ipynb trains on; None = all
    # reward model
    reward_learning_rate: float = 2e-4
    reward_epochs: float = 1.0
    # generation
    generation_batch: int = 20
    max_new_tokens: int = 96
    evaluation_questions: int = 40
    seed: int = 42

    def table(self) -> list[tuple[str, object]]:
        """Return (field, value) rows to print with a run."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


RECIPES = {
    recipe.name: recipe
    for recipe in (
        # The default without a GPU: a real Gemma in minutes on two cores.
        Recipe(name="gemma-3-270m-cpu", model=LOCAL_GEMMA, device="cpu", dpo_pairs=120),
        # The reference course on an L4: LoRA r 4, alpha 32, lr 1e-4 cosine, warm-up 5%, batch 4 x 2, 5 epochs.
        Recipe(
            name="gemma-2b-l4",
            model="google/gemma-2b-it",
            device="cuda",
            lora_r=4,
            lora_alpha=32,
            learning_rate=1e-4,
            max_grad_norm=0.3,
            batch_size=4,
            accumulation=2,
            epochs=5.0,
            max_length=1024,
            optimizer="adamw_torch_fused",
            dpo_learning_rate=1e-5,
            max_new_tokens=256,
        ),
    )
}


@dataclass(frozen=True)
class Choice:
    """The recipe for this machine, and why."""

    recipe: Recipe
    reason: str


def probe_bf16(seconds: float = 0.3) -> tuple[float, float]:
    """Time a matrix product of training's shape on this CPU; return its GFLOP/s in bfloat16 and float32."""
    import torch

    speeds = []
    for dtype in (torch.bfloat16, torch.float32):
        left, right = torch.ones(512, 640, dtype=dtype), torch.ones(640, 8192, dtype=dtype)
        left @ right  # the first product sets the kernel up
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            left @ right
            count += 1
        speeds.append(count * 2 * 512 * 640 * 8192 / (time.perf_counter() - start) / 1e9)
    return speeds[0], speeds[1]


def choose() -> Choice:
    """Return the recipe for this machine and the reason; `COURSE_RECIPE` names another.

    Raises:
        CourseError: `COURSE_RECIPE` names no recipe, or one whose device is not here.
    """
    import torch

    cuda = torch.cuda.is_available()
    name = setting("COURSE_RECIPE")
    if name:
        if name not in RECIPES:
            raise CourseError(f"COURSE_RECIPE is {name!r}; choose one of {', '.join(RECIPES)}.")
        if RECIPES[name].device == "cuda" and not cuda:
            raise CourseError(f"COURSE_RECIPE is {name!r}, which needs a CUDA GPU; none is here: remove the setting.")
        recipe, reason = RECIPES[name], "COURSE_RECIPE asks for it"
    elif cuda:
        # is_bf16_supported() answers True on a T4, which only emulates it: the capability tells
        if torch.cuda.get_device_capability()[0] < 8:
            recipe = replace(RECIPES["gemma-3-270m-cpu"], device="cuda", dtype="float32")
            return Choice(recipe, f"{torch.cuda.get_device_name()} has no bf16 of its own: the small model in float32")
        return Choice(RECIPES["gemma-2b-l4"], f"{torch.cuda.get_device_name()} with bf16")
    else:
        recipe, reason = RECIPES["gemma-3-270m-cpu"], f"no CUDA GPU, {os.cpu_count()} CPU cores"
    if recipe.device == "cpu":
        bf16, fp32 = probe_bf16()
        reason += f"; matrix products run at {bf16:.0f} GFLOP/s in bfloat16, {fp32:.0f} in float32"
        recipe = replace(recipe, dtype="bfloat16" if bf16 > fp32 else "float32")
    return Choice(recipe, reason)
