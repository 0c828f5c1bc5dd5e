"""The run card: what a run was made of and what came out, saved beside its adapter."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

from kotune.models.machine import Recipe

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")


def data_hash(records: Sequence[dict]) -> str:
    """Return the SHA-256 of records: the same rows in the same order, whatever file they come from."""
    return hashlib.sha256(json.dumps(list(records), ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def peak_memory_gib(recipe: Recipe) -> float:
    """Return the most memory that this process has held, in GiB: the GPU's on CUDA, else its own."""
    if recipe.device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # bytes there, KiB elsewhere


def device_name(recipe: Recipe) -> str:
    """Return the name of the device that a recipe runs on."""
    if recipe.device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores"


def run_card(
    stage: str,
    recipe: Recipe,
    records: Sequence[dict],
    validation: Sequence[dict],
    figures: dict,
    *,
    left_out: Sequence[str] = (),
) -> dict:
    """Return the card of a run: stage, recipe (with its seed), data by hash, figures, versions and device.

    left_out: ids of the rows that were too long.
    """
    return {
        "stage": stage,
        "base": recipe.model,
        "recipe": asdict(recipe),
        "data_rows": len(records),
        "data_sha256": data_hash(records),
        "validation_rows": len(validation),
        "validation_sha256": data_hash(validation) if validation else None,
        "left_out": list(left_out),
        "figures": figures,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "device": device_name(recipe),
    }
