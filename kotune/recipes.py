"""Recipes: every value of a run, held to its type, and those that come with the course, as YAML in `recipe_files/`.

recipe = RECIPES["gemma-2b-l4"]
gentle = replace(recipe, learning_rate=2e-5)  # dataclasses.replace; a value that cannot be is refused
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from utils import CourseError

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from pydantic.dataclasses import dataclass  # as the other, and each value is held to its type

LOCAL_GEMMA = "gemma-3-270m"  # the name in recipes: the package on PyPI, never a hub
FILES = Path(__file__).parent / "recipe_files"
# the order in which they are listed: the two defaults, then the reference systems'; any other comes behind them
ORDER = (
    "gemma-3-270m-cpu", "gemma-2b-l4", "llama-3-8b-qlora", "llama-2-7b-qlora", "solar-10.7b-qlora", "llama-3.1-8b-qlora",
)  # fmt: skip


def _words(value: Any) -> Any:
    """Return the words of a flag's text, `q_proj,v_proj`."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _or_none(value: Any) -> Any:
    """Return None for a flag's text that says so."""
    return None if isinstance(value, str) and value.lower() in ("", "none", "null") else value


NoneInText = BeforeValidator(_or_none)
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OptionalCount = Annotated[PositiveInt | None, NoneInText]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on besides its data.

    Raises:
        pydantic.ValidationError: a value of another type, or out of range.
    """

    name: str
    model: str  # a hub name, a folder, or LOCAL_GEMMA
    device: Literal["cpu", "cuda", "mps"]  # mps, Apple's GPU: answers alone
    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    quantization: Annotated[Literal["nf4"] | None, NoneInText] = None  # "nf4": frozen weights in 4 bits (QLoRA)
    # LoRA
    lora_r: PositiveInt = 8
    lora_alpha: PositiveInt = 16
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Words = LINEAR_LAYERS
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
    dpo_pairs: OptionalCount = None  # how many pairs dpo.ipynb trains on; None = all
    # checkpoints and validation
    save_steps: PositiveInt = 50
    keep_checkpoints: PositiveInt = 2
    early_stopping: OptionalCount = None  # stop after so many validations without a better loss
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


class Recipes(Mapping[str, Recipe]):
    """The recipes in `recipe_files/`, each read when it is first asked for."""

    def __getitem__(self, name: str) -> Recipe:
        if name not in _names():
            raise KeyError(name)
        return _read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_names())

    def __len__(self) -> int:
        return len(_names())


RECIPES = Recipes()


@cache
def _names() -> tuple[str, ...]:
    found = {path.name.removesuffix(".yaml") for path in FILES.glob("*.yaml")}
    return (*(name for name in ORDER if name in found), *sorted(found.difference(ORDER)))


@cache
def _read(name: str) -> Recipe:
    import yaml

    return Recipe(**yaml.safe_load((FILES / f"{name}.yaml").read_text(encoding="utf-8")))


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
