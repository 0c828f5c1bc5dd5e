"""Which models a server has: a folder or a name in, the weights, adapters and names of its models out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kotune.models.adapters import chain, find_adapters, merge_adapter
from kotune.models.files import is_hub_name
from kotune.models.loading import load_model, load_tokenizer
from kotune.models.machine import LOCAL_GEMMA, Recipe
from kotune.models.weight_files import refuse_pickles
from utils import CourseError, read_json, relative

VLLM_EXPERIMENTAL = "vLLM: experimental here, tested with stand-ins alone (docs/not_run.md)"
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")


@dataclass(frozen=True)
class ModelSource:
    """Where one model comes from."""

    name: str  # what clients ask for
    base: str  # the folder or hub name of its weights
    adapters: tuple[Path, ...] = ()  # in the order they go on


def find(model_path: str | None, recipe: Recipe) -> list[ModelSource]:
    """Return what a path stands for: an adapter with its base (base first), or one whole model.

    None is the SFT adapter that the course trained on this machine, else the one that it ships.

    Raises:
        CourseError: the folder is missing, holds no model, one without tokenizer or with pickled weights; an adapter's
            parent is not found.
    """
    if model_path is None:
        model_path = str(find_adapters(recipe, need_dpo=False).sft)
    folder = Path(model_path)
    if (folder / "adapter_config.json").exists():
        refuse_pickles(folder)
        base = _base_of(folder)
        _check_whole(base)
        return [ModelSource(_name(base), base), ModelSource(f"{_name(base)}-{folder.name}", base, tuple(chain(folder)))]
    if (not is_hub_name(model_path) or folder.exists()) and not folder.is_dir():
        raise CourseError(f"{model_path} is no folder; train a model first, or pass another folder or a hub name.")
    _check_whole(model_path)
    return [ModelSource(_name(model_path), model_path)]


def _name(base: str) -> str:
    return Path(base).name


def _check_whole(name: str) -> None:
    folder = Path(name)
    if name == LOCAL_GEMMA or not folder.is_dir():
        return
    if not (folder / "config.json").exists():
        raise CourseError(f"{relative(folder)} holds no model (no config.json) and no adapter (no adapter_config.json).")
    if not any((folder / file).exists() for file in TOKENIZER_FILES):
        raise CourseError(
            f"{relative(folder)} holds a model without tokenizer (no tokenizer.json); save the tokenizer beside it "
            "with `tokenizer.save_pretrained`."
        )
    refuse_pickles(folder)


def _base_of(folder: Path) -> str:
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not base:
        raise CourseError(f"{relative(folder)}/adapter_config.json names no base model; add base_model_name_or_path.")
    return base


def combine(*found: list[ModelSource]) -> list[ModelSource]:
    """Return models of several paths, each once, under names that differ.

    Raises:
        CourseError: they stand on different base models, so that one engine cannot hold them.
    """
    models: list[ModelSource] = []
    for served in (one for several in found for one in several):
        if any((served.base, served.adapters) == (m.base, m.adapters) for m in models):
            continue
        taken = {m.name for m in models}
        names = itertools.chain([served.name], (f"{served.name}-{number}" for number in itertools.count(2)))
        models.append(replace(served, name=next(name for name in names if name not in taken)))
    if len({m.base for m in models if m.adapters}) > 1:
        bases = ", ".join(sorted({m.base for m in models}))
        raise CourseError(f"The adapters belong to different models ({bases}); serve those of one model.")
    return models


def lora_rank(models: Sequence[ModelSource]) -> int:
    """Return the `max_lora_rank` for vLLM, which takes certain values alone: the least that these adapters fit into."""
    rank = max(read_json(model.adapters[0] / "adapter_config.json").get("r", 16) for model in models)
    return next((allowed for allowed in VLLM_RANKS if allowed >= rank), rank)


def load(models: list[ModelSource], recipe: Recipe):
    """Return ({name: model}, tokenizer); adapters are merged, and the embedding is held once."""
    loaded: dict[str, Any] = {}
    for served in models:
        beside = [loaded[m.name] for m in models if m.name in loaded and m.base == served.base]
        loaded[served.name] = load_merged(served, recipe, beside)
    return loaded, load_tokenizer(models[-1].base)


def load_merged(served: ModelSource, recipe: Recipe, beside: Sequence[Any] = ()):
    """Return a model with its adapters merged; its embedding is that of a model `beside` it where they are equal.

    With an adapter on, each of a layer's seven products takes two more; merged it costs 200 MB and no time.
    """
    model = load_model(replace(recipe, model=served.base))
    for adapter in served.adapters:
        model = merge_adapter(model, adapter)
    _share_embedding(model, beside)
    return model.requires_grad_(False)


def own_bytes(model, beside: Sequence[Any]) -> int:
    """Return the memory of the weights that a model does not share with those beside it."""
    held = {p.data_ptr() for other in beside for p in other.parameters()}
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.data_ptr() not in held)


def _share_embedding(model, others: Sequence[Any]) -> None:
    import torch

    own = model.get_input_embeddings().weight
    for other in others:
        theirs = other.get_input_embeddings().weight
        if torch.equal(own, theirs):  # an adapter may have changed it
            model.get_input_embeddings().weight = theirs
            model.tie_weights()
            return
