"""What a training command is going to do, known before anything is loaded: settings, recipe, start and price."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kotune.data.registry import require_other_outputs
from kotune.models import adapters
from kotune.models.machine import RecipeChoice, choose
from kotune.overrides import Config, read_config, sort_settings, with_overrides
from kotune.recipes import LOCAL_GEMMA, Recipe, by_name
from kotune.stage_table import STAGES
from kotune.training.estimate import estimate_run
from kotune.training.stages import Reporting, is_main_process, run_stage, stage_records
from utils import OUTPUTS, CourseError, relative

TRACKERS = ("tensorboard", "trackio", "wandb")  # only when asked for


@dataclass(frozen=True)
class Settings:
    """All that a command line and its --config file say: flags win over the file."""

    run: argparse.Namespace  # stage, data, folders and the like
    file: dict[str, Any]  # values for the recipe by name, from the file
    flags: dict[str, Any]  # values for the recipe by name, from flags, as text


def read_settings(chosen: argparse.Namespace) -> Settings:
    """Return what a command line says, with its --config file read.

    chosen: the options of a stage in `kotune.cli`; its `settings` has the flags that a --config file may hold too, as text.

    Raises:
        CourseError: a name is not known, or the file is for another stage.
    """
    file = read_config(chosen.config) if chosen.config is not None else Config({}, {}, {})
    flags = sort_settings(chosen.settings, "--")
    run = dict(vars(chosen))
    for given in (flags.run, file.run):
        if given.get("stage", chosen.stage) != chosen.stage:
            where = f"{relative(chosen.config)} is" if given is file.run else "--stage is"
            raise CourseError(f"{where} for {given['stage']} and the command for {chosen.stage}; use one of them.")
        for name, value in given.items():
            if name != "stage" and run[name] in (None, False):
                run[name] = value
    run["plot_loss"] = run["plot_loss"] in (True, "true")
    run["output_dir"] = Path(run["output_dir"] or OUTPUTS / chosen.stage)
    return Settings(argparse.Namespace(**run), file.values, flags.values)


def recipe_of(settings: Settings, choice: RecipeChoice) -> Recipe:
    """Return the recipe of a run: the machine's choice, the file's values over it, and the flags' over both.

    Raises:
        CourseError: a value is of the wrong type, out of range, or does not work with the others.
    """
    recipe = choice.recipe
    for values in (settings.file, settings.flags):
        recipe = _with_values(recipe, values, settings.run.stage)
    return recipe


def _with_values(recipe: Recipe, values: Mapping[str, Any], stage: str) -> Recipe:
    rest = {name: value for name, value in values.items() if name != "fp16"}
    if len(rest) < len(values) and recipe.device == "cpu":
        changed = with_overrides(recipe, rest, stage)
        # a Gemma refuses float16 on every device, and says why; others compute in float16 where there is a GPU
        if changed.model != LOCAL_GEMMA and "gemma" not in changed.model.lower():
            print(f"fp16 has no effect here: float16 is for GPUs, and this run computes in {changed.dtype} on the CPU.")
            return changed
    return with_overrides(recipe, values, stage)


@dataclass(frozen=True)
class Start:
    """Where a run starts from, and how it computes."""

    recipe: Recipe
    parent: Path | None  # the adapter below, merged in; None for the recipe's model as it is
    reason: str  # why this recipe


def find_start(settings: Settings) -> Start:
    """Return the recipe, the adapter to start from, and why this recipe: all that is known before any loading.

    Raises:
        CourseError: the stage starts from a tuned model and there is none, or the adapter stands on another model.
    """
    run = settings.run
    model_path = run.model_path
    if model_path is None and STAGES[run.stage].from_sft:
        model_path = OUTPUTS / "sft"
        if not (model_path / "adapter_config.json").exists():
            raise CourseError(
                f"{run.stage} starts from a tuned model and {relative(model_path)} holds no adapter; train it with "
                "`kotune sft`, or pass --model_path."
            )
    parent = Path(model_path) if model_path and (Path(model_path) / "adapter_config.json").exists() else None
    elsewhere = bool(run.estimate) and run.recipe is not None
    choice = RecipeChoice(by_name(run.recipe), "for another machine") if elsewhere else choose(run.recipe)
    recipe = recipe_of(settings, choice)
    if model_path and parent is None:  # a whole model in the place of the recipe's own
        recipe = with_overrides(recipe, {"model": str(model_path)})
    if parent is not None:
        adapters.require_base(parent, recipe.model)
    return Start(recipe, parent, choice.reason)


def _require_tracker(tracker: str | None) -> None:
    if tracker not in (None, *TRACKERS):
        raise CourseError(f"There is no tracker {tracker!r}; choose one of {', '.join(TRACKERS)}, or leave it out.")
    if tracker is not None and find_spec(tracker) is None:
        raise CourseError(f"--report_to {tracker} needs a package that is not here; run `pip install {tracker}`.")


def train(chosen: argparse.Namespace) -> None:
    """Run one stage as the command line asks: say what it will take, train, and print where the adapter lies.

    Raises:
        CourseError: what is asked for cannot be done; said before a model is loaded.
    """
    settings = read_settings(chosen)
    run = settings.run
    _require_tracker(run.report_to)
    if run.train_dataset is None:
        raise CourseError("Which data to train on? Pass --train_dataset with a file or a name in data/dataset_info.json.")
    written = [run.output_dir / name for name in adapters.OF_A_RUN]
    for dataset in (run.train_dataset, run.eval_dataset):
        if dataset is not None:
            require_other_outputs(dataset, *written)
    records = stage_records(run.train_dataset, run.stage)
    held_out = stage_records(run.eval_dataset, run.stage) if run.eval_dataset else None
    start = find_start(settings)
    adapters.require_replaceable(run.output_dir, start.parent)
    expected = estimate_run(start.recipe, records, run.stage, run.estimate or None)
    if is_main_process():
        print(f"{start.recipe.name}: {start.reason}\n{expected}")
    if run.estimate is not None:
        return
    result = run_stage(
        run.stage,
        start.recipe,
        records,
        output_dir=run.output_dir,
        parent=start.parent,
        validation=held_out,
        reporting=Reporting(run.plot_loss, run.report_to),
    )
    if is_main_process():
        print(f"{relative(result.adapter)}: {json.dumps(result.figures, ensure_ascii=False)}")
