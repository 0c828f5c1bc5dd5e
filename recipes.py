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
    quantization: str | None = None  # "nf4": frozen weights in 4 bits (QLoRA)
    # LoRA
    lora_r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] = LINEAR_LAYERS
    # optimiser, for every stage
    optimizer: str = "adamw_torch"
    scheduler: str = "cosine"
    warmup: float = 0.05  # below 1 a share of the steps, else their number
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_length: int = 512  # tokens of prompt and completion
    accumulation: int = 1
    # supervised fine-tuning
    learning_rate: float = 1e-3
    batch_size: int = 8
    epochs: float = 1.0
    packing: bool = False  # several rows in one, none of which sees another
    # continued pre-training; the batch is that of supervised fine-tuning
    pretrain_learning_rate: float = 1e-3
    pretrain_epochs: float = 1.0
    # reward model; the batch is that of DPO
    reward_learning_rate: float = 2e-4
    reward_epochs: float = 1.0
    # direct preference optimisation
    dpo_learning_rate: float = 5e-5
    dpo_beta: float = 0.1
    dpo_batch_size: int = 4  # pairs
    dpo_epochs: float = 1.0
    dpo_pairs: int | None = None  # how many pairs dpo.ipynb trains on; None = all
    # checkpoints and validation
    save_steps: int = 50
    keep_checkpoints: int = 2
    early_stopping: int | None = None  # stop after so many validations without a better loss
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
            optimizer="adamw_torch_fused",
            max_grad_norm=0.3,
            max_length=1024,
            accumulation=2,
            learning_rate=1e-4,
            batch_size=4,
            epochs=5.0,
            pretrain_learning_rate=1e-4,
            reward_learning_rate=1e-4,
            dpo_learning_rate=1e-5,
            max_new_tokens=256,
        ),
        # The hospital's scripts: Llama 3 8B in 4 bits, 2 x 4, linear with ten steps of warm-up.
        Recipe(
            name="llama-3-8b-qlora",
            model="meta-llama/Meta-Llama-3-8B",
            device="cuda",
            quantization="nf4",
            lora_r=16,
            optimizer="adamw_8bit",
            scheduler="linear",
            warmup=10,
            weight_decay=0.01,
            max_length=1024,
            accumulation=4,
            learning_rate=2e-4,
            batch_size=2,
            epochs=3.0,
            pretrain_learning_rate=2e-4,
            reward_learning_rate=1e-4,
            dpo_learning_rate=5e-6,
            dpo_batch_size=2,
            dpo_epochs=5.0,
            keep_checkpoints=5,
            max_new_tokens=512,
            seed=3407,
        ),
        # The medical trainer: Llama 2 7B in 4 bits, query and value alone, 8 x 4, cosine.
        Recipe(
            name="llama-2-7b-qlora",
            model="meta-llama/Llama-2-7b-chat-hf",
            device="cuda",
            quantization="nf4",
            lora_r=8,
            lora_alpha=32,
            target_modules=("q_proj", "v_proj"),
            warmup=0.0,
            max_length=1024,
            accumulation=4,
            learning_rate=5e-5,
            batch_size=8,
            epochs=2.0,
            pretrain_learning_rate=5e-5,
            reward_learning_rate=5e-5,
            dpo_learning_rate=1e-5,
            save_steps=1000,
            max_new_tokens=512,
        ),
        # The Korean task suite: SOLAR 10.7B, and later Llama 3.1 8B, in 4 bits, 4 x 4, length 2048.
        *(
            Recipe(
                name=name,
                model=model,
                device="cuda",
                quantization="nf4",
                lora_r=8,
                lora_alpha=32,
                optimizer="adamw_8bit",
                scheduler="linear",
                warmup=0.0,
                weight_decay=0.01,
                max_length=2048,
                accumulation=4,
                learning_rate=2e-4,
                batch_size=4,
                epochs=3.0,
                pretrain_learning_rate=2e-4,
                reward_learning_rate=1e-4,
                dpo_learning_rate=5e-6,
                save_steps=9811,
                keep_checkpoints=3,
                max_new_tokens=256,
                seed=3407,
            )
            for name, model in (
                ("solar-10.7b-qlora", "upstage/SOLAR-10.7B-v1.0"),
                ("llama-3.1-8b-qlora", "meta-llama/Llama-3.1-8B"),
            )
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
