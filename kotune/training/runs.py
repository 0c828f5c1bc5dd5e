"""What a run leaves: its card, and checkpoints, of which a killed run continues from the last whole one of its experiment.

A checkpoint counts once `complete.json` lies in it, which is written last and names every file with its size.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from kotune.data.records import data_hash
from kotune.line_file import hold
from kotune.models.machine import Recipe
from utils import CourseError, read_json, relative, write_json

EXPERIMENT = "experiment.json"
COMPLETE = "complete.json"
# what a recipe says that has no effect on training
WITHOUT_EFFECT = (
    "generation_batch", "max_new_tokens", "evaluation_questions", "dpo_pairs", "keep_checkpoints",
)  # fmt: skip


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint to continue from, or None, and those skipped because they are half-written."""

    checkpoint: Path | None
    skipped: list[Path]

    def report(self) -> None:
        """Print what is continued and what is skipped."""
        for path in self.skipped:
            print(f"{relative(path)} is half-written (the run died while saving it) and is skipped")
        if self.checkpoint is not None:
            print(f"continuing from {relative(self.checkpoint)}")


def experiment(card: dict, parent_sha256: str | None) -> dict:
    """Return what makes two runs the same: stage, base, recipe, data, and the adapter that they start from."""
    recipe = {name: value for name, value in card["recipe"].items() if name not in WITHOUT_EFFECT}
    named = ("stage", "base", "data_sha256", "validation_sha256")
    same = {**{name: card[name] for name in named}, "parent_sha256": parent_sha256, "recipe": recipe}
    return json.loads(json.dumps(same))  # as it is read back: tuples are lists


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder for one run: two that save into it would mix. A run that is killed lets go of it.

    Raises:
        CourseError: another run holds it.
    """
    with hold(folder.parent, lock=folder / "held.lock", instead="another output_dir"):
        yield


def resume_point(folder: Path, wanted: dict) -> ResumePoint:
    """Return the last whole checkpoint in a folder, and mark the folder as this experiment's.

    Raises:
        CourseError: the folder holds checkpoints of another experiment.
    """
    marked = folder / EXPERIMENT
    named = (path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name))
    saved = sorted(named, key=lambda path: int(path.name.rpartition("-")[2]))  # a user's checkpoint-best is none
    if not saved:
        write_json(marked, wanted)
        return ResumePoint(None, [])
    held = read_json(marked) if marked.exists() else {}
    if held != wanted:
        raise CourseError(
            f"{relative(folder)} holds checkpoints of another experiment ({_difference(held, wanted)}); "
            "delete that folder, or pass another output_dir."
        )
    whole = [path for path in saved if is_whole(path)]
    return ResumePoint(whole[-1] if whole else None, [path for path in saved if path not in whole])


def is_whole(checkpoint: Path) -> bool:
    """Say whether every file of a checkpoint is there in its full size."""
    if not (checkpoint / COMPLETE).exists():
        return False
    sizes = read_json(checkpoint / COMPLETE)
    return all((checkpoint / name).is_file() and (checkpoint / name).stat().st_size == size for name, size in sizes.items())


def mark_whole(checkpoint: Path) -> None:
    """Write down the files of a finished checkpoint and their sizes."""
    sizes = {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != COMPLETE
    }
    write_json(checkpoint / COMPLETE, sizes)


def delete_incomplete(resume_point: ResumePoint) -> None:
    """Delete half-written checkpoints, so that the trainer's own rotation does not count them."""
    for path in resume_point.skipped:
        shutil.rmtree(path)


def _difference(held: dict, wanted: dict) -> str:
    """Name the first thing that differs."""
    if not held:
        return "it says not which"
    for name, value in wanted.items():
        if name == "recipe":
            for field, setting in value.items():
                there = held["recipe"].get(field)
                if there != setting:
                    return f"{field} is {setting} here and {there} there"
        elif held.get(name) != value:
            return {"data_sha256": "other data", "validation_sha256": "other validation data"}.get(
                name, f"{name} is {value} here and {held.get(name)} there"
            )
    return "an older version of the course"


LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")


def peak_memory_gib(recipe: Recipe) -> float:
    """Return the most memory that this process has held, in GiB: the GPU's on CUDA, else its own."""
    if recipe.device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    return process_peak_gib()


def process_peak_gib() -> float:
    """Return the most memory that this process has held, in GiB."""
    try:
        import resource
    except ImportError:  # Windows has no such module; there psutil knows the peak
        import psutil

        held = psutil.Process().memory_info()
        return getattr(held, "peak_wset", held.rss) / 2**30
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
