"""The recipes as data: model, LoRA, optimiser and lengths, one for each reference system and for the CPU default."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from utils import CourseError

LOCAL_GEMMA = "gemma-3-270m"  # the name in recipes: the package on PyPI, never a hub
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on besides its data; `overrides.py` holds new values to these types."""

    name: str
    model: str  # a hub name, a folder, or LOCAL_GEMMA
    device: Literal["cpu", "cuda"]
    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    quantization: Literal["nf4"] | None = None  # "nf4": frozen weights in 4 bits (QLoRA)
    # LoRA
    lora_r: PositiveInt = 8
    lora_alpha: PositiveInt = 16
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: tuple[str, ...] = LINEAR_LAYERS
    # optimiser, for every stage
    optimizer: str = "adamw_torch"
    scheduler: str = "cosine"
    warmup: NonNegativeFloat = 0.05  # below 1 a share of the steps, else their number
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: Rate = 1.0
    max_length: PositiveInt = 512  # tokens of prompt and completion
    accumulation: PositiveInt = 1
    # supervised fine-tuning
    learning_rate: Rate = 1e-3
    batch_size: PositiveInt = 8
    epochs: Rate = 1.0
    packing: bool = False  # several rows in one, none of which sees another
    # continued pre-training; the batch is that of supervised fine-tuning
    pretrain_learning_rate: Rate = 1e-3
    pretrain_epochs: Rate = 1.0
    # reward model; the batch is that of DPO
    reward_learning_rate: Rate = 2e-4
    reward_epochs: Rate = 1.0
    # direct preference optimisation
    dpo_learning_rate: Rate = 5e-5
    dpo_beta: Rate = 0.1
    dpo_batch_size: PositiveInt = 4  # pairs
    dpo_epochs: Rate = 1.0
    dpo_pairs: PositiveInt | None = None  # how many pairs dpo.ipynb trains on; None = all
    # checkpoints and validation
    save_steps: PositiveInt = 50
    keep_checkpoints: PositiveInt = 2
    early_stopping: PositiveInt | None = None  # stop after so many validations without a better loss
    # generation
    generation_batch: PositiveInt = 40
    max_new_tokens: PositiveInt = 96
    evaluation_questions: PositiveInt = 40
    seed: NonNegativeInt = 42

    def table(self) -> list[tuple[str, object]]:
        """Return (field, value) rows to print with a run."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

    def unquantised(self) -> Recipe:
        """Return the recipe with its weights whole: what an adapter is merged into."""
        return replace(self, quantization=None)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        # The default without a GPU: a real Gemma in minutes on two cores.
        Recipe(name="gemma-3-270m-cpu", model=LOCAL_GEMMA, device="cpu", dpo_pairs=120, save_steps=30),
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


def by_name(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        CourseError: there is none of this name; the nearest is named.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, n=1)
    hint = f"did you mean {near[0]}? The recipes are" if near else "choose one of"
    raise CourseError(f"There is no recipe {name!r}; {hint} {', '.join(RECIPES)}.")
