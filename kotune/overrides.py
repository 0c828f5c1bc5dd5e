"""Change any value of a recipe by name: from flags, or from a run's YAML or JSON file.

    gemma = with_overrides(RECIPES["gemma-2b-l4"], {"lora_r": "16", "learning_rate": 2e-4})
    config = read_config("run.yaml")
    recipe = with_overrides(RECIPES[config.run["recipe"]], config.values, stage="dpo")

The names are the recipe's own, or those of the reference systems' files and commands (`SPELLINGS`).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kotune.recipes import LOCAL_GEMMA, Recipe
from kotune.stage_table import STAGES
from utils import CourseError, read_text, relative

# What the reference systems and their peers call a recipe's fields.
SPELLINGS = {
    "r": "lora_r",
    "lora_rank": "lora_r",
    "lora_target": "target_modules",
    "lora_target_modules": "target_modules",
    "pretrained_model_name": "model",
    "model_name_or_path": "model",
    "max_seq_length": "max_length",
    "cutoff_len": "max_length",
    "per_device_train_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulation",
    "num_train_epochs": "epochs",
    "num_train_epocs": "epochs",  # as one system's README misspells it
    "lr_scheduler_type": "scheduler",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "optim": "optimizer",
    "save_total_limit": "keep_checkpoints",
    "random_state": "seed",
    "attn_implementation": "attention",
    "beta": "dpo_beta",
}
# Their switches: a name, and the value of which field each of its values means; None changes nothing.
SWITCHES: dict[str, dict[Any, tuple[str, Any] | None]] = {
    "quantization_bit": {4: ("quantization", "nf4"), None: ("quantization", None)},
    "load_in_4bit": {True: ("quantization", "nf4"), False: ("quantization", None)},
    "fp16": {True: ("dtype", "float16"), False: None},
    "bf16": {True: ("dtype", "bfloat16"), False: None},
}
# What concerns a run and not its recipe, by the name that the command line has for it.
RUN_ARGUMENTS = {
    "recipe": "recipe",
    "stage": "stage",
    "train_dataset": "train_dataset",
    "train_data": "train_dataset",
    "train_path": "train_dataset",
    "dataset": "train_dataset",
    "eval_dataset": "eval_dataset",
    "val_path": "eval_dataset",
    "output_dir": "output_dir",
    "model_path": "model_path",
    "sft": "model_path",
    "plot_loss": "plot_loss",
    "report_to": "report_to",
}
TEXTS = {name for name, argument in RUN_ARGUMENTS.items() if argument != "plot_loss"}
# Settings of theirs that the course does in one way only: the value that is that way, and what the course does.
FIXED: dict[str, tuple[tuple, str]] = {
    "use_rslora": ((False,), "LoRA is scaled by alpha / r"),
    "bias": (("none",), "no bias is trained"),
    "finetuning_type": (("lora",), "LoRA adapters are trained"),
    "do_train": ((True,), "each stage trains"),
    "model_use_cache": ((False,), "training keeps no key-value cache"),
}
# Settings of theirs that the course decides by itself, whatever they say, and how.
DECIDED = {
    "use_gradient_checkpointing": "activations are recomputed on a GPU and kept on a CPU",
    "logging_steps": "every step is logged",
    "eval_batch_size": "validation uses the batch of training",
    "per_device_eval_batch_size": "validation uses the batch of training",
    "evaluation_strategy": "validation goes with the checkpoints",
    "eval_steps": "validation goes with the checkpoints, every save_steps",
    "load_best_model_at_end": "the best checkpoint is kept where there is a validation set",
    "overwrite_cache": "no tokenised data is cached",
    "template": "the chat template is the tokenizer's",
}
FIELDS = tuple(field.name for field in fields(Recipe))


@dataclass(frozen=True)
class Config:
    """A run's file: arguments of the run, values for its recipe as the file spells them, and what the course decides."""

    run: dict[str, Any]  # keys: the values of RUN_ARGUMENTS
    values: dict[str, Any]  # for with_overrides
    decided: dict[str, str]  # name in the file -> what the course does instead


def read_config(path: str | Path) -> Config:
    """Read a run's file in YAML or JSON: one mapping of names to values, those of the reference systems among them.

    What the file sets and the course decides by itself is printed.

    Raises:
        CourseError: the file is missing, no YAML or JSON, no mapping, or has a name that is not known.
    """
    import yaml

    text = read_text(path)
    try:
        loaded = json.loads(text) if Path(path).suffix == ".json" else yaml.safe_load(text)
        written = loaded if Path(path).suffix == ".json" else yaml.load(text, yaml.BaseLoader)  # each value as its text
    except RecursionError:
        raise CourseError(f"{relative(path)} is nested too deep to be settings; write one `name: value` a line.") from None
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else getattr(error, "lineno", 1)
        reason = getattr(error, "problem", None) or getattr(error, "msg", None) or "cannot be read"
        raise CourseError(f"{relative(path)}, line {line}, is no valid YAML or JSON ({reason}); fix that line.") from None
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
        raise CourseError(f"{relative(path)} holds no settings; write one `name: value` a line, as in `lora_r: 16`.")
    for name in TEXTS & set(loaded):
        loaded[name] = _text(name, loaded[name], written[name], relative(path))
    return sort_settings(loaded, f"{relative(path)}: ")


def _text(name: str, value: Any, written: Any, file: str) -> str | None:
    """Return a name or a path as it was written: YAML takes the folder 2024_11_28 for a number."""
    if value is None:
        return None
    if not isinstance(written, str):
        raise CourseError(f"{file}: {name} is a {type(value).__name__}, and takes a name or a path; write it in quotes.")
    if "\0" in written or any("\ud800" <= character <= "\udfff" for character in written):
        raise CourseError(f"{file}: {name} holds a character that no path can have; write it anew.")
    if any(character < " " for character in written):  # C:\new between double quotes: a line break, and ew
        raise CourseError(
            f"{file}: {name} holds a control character ({written!r}), which a backslash makes between double quotes; write "
            "/ in the place of each backslash."
        )
    return written


def sort_settings(given: Mapping[str, Any], where: str = "") -> Config:
    """Return settings by name, of a file or of flags, sorted into those of the run, of its recipe, and those without effect.

    What the course decides by itself is printed. `where` opens each message.

    Raises:
        CourseError: a name is not known.
    """
    run, values, decided = {}, {}, {}
    for name, value in given.items():
        if name in RUN_ARGUMENTS:
            run[RUN_ARGUMENTS[name]] = value
        elif name in DECIDED:
            decided[name] = DECIDED[name]
        else:
            try:
                _require_known(name)
            except CourseError as error:
                raise CourseError(f"{where}{error}") from None
            values[name] = value
    for name, what in decided.items():
        print(f"{where}{name} has no effect here: {what}.")
    return Config(run, values, decided)


def setting_names() -> tuple[str, ...]:
    """Return every name that a run's file may set, its recipe's and those that the course decides among them."""
    return tuple(dict.fromkeys((*RUN_ARGUMENTS, *FIELDS, *SPELLINGS, *SWITCHES, *FIXED, *DECIDED)))


def with_overrides(recipe: Recipe, values: Mapping[str, Any], stage: str = "sft") -> Recipe:
    """Return the recipe with these values in place of its own: text, as flags have it, or values, as files have them.

    `learning_rate`, `epochs` and `batch_size` mean those of the `stage`, unless that stage's own field is named too.

    Raises:
        CourseError: a name that no field has, a value of the wrong type or out of range, a field that is given twice, or a
            combination that does not work, as float16 for a Gemma.
    """
    given: dict[str, tuple[str, Any]] = {}  # field: the name that it came by, and its value
    for name, value in values.items():
        for field, meant in _meant(name, value):
            own = STAGES[stage].own_fields().get(field)
            target = own if own and own not in values else field
            checked = _checked(recipe, target, name, meant)
            if target in given and given[target][1] != checked:
                raise CourseError(f"{given[target][0]} and {name} set {target} to different values; keep one of them.")
            given[target] = name, checked
    changed = replace(recipe, **{field: value for field, (_, value) in given.items()})
    require_sound(changed)
    return changed


def require_sound(recipe: Recipe) -> None:
    """Raise a CourseError for values that do not work together on any machine."""
    if recipe.dtype == "float16" and (recipe.model == LOCAL_GEMMA or "gemma" in recipe.model.lower()):
        raise CourseError(
            f"{recipe.model} cannot be trained in float16, because a Gemma's activations go beyond 65,504 and its loss "
            "becomes NaN; use dtype bfloat16, or float32 where the device has no bfloat16."
        )
    if recipe.device == "mps":
        raise CourseError("device is mps, Apple's GPU, which writes answers and does not train; use cpu or cuda.")
    if recipe.dtype == "float16" and recipe.device == "cpu":
        raise CourseError("float16 is for GPUs; use dtype bfloat16 or float32 on a CPU.")
    if recipe.attention == "flash_attention_2" and (recipe.device == "cpu" or recipe.dtype == "float32"):
        raise CourseError(
            f"flash_attention_2 needs a GPU and 16 bits, and the recipe has {recipe.device} and {recipe.dtype}; use sdpa."
        )


def _require_known(name: str) -> None:
    known = (*FIELDS, *SPELLINGS, *SWITCHES, *FIXED)
    if name in known:
        return
    near = difflib.get_close_matches(name.lower(), (*known, *RUN_ARGUMENTS), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(FIELDS)}."
    raise CourseError(f"{name} is no setting of a recipe; {hint}")


def _meant(name: str, value: Any) -> list[tuple[str, Any]]:
    """Return which field is meant by a name, and its value there; nothing where the course does just that anyway."""
    _require_known(name)
    if name in SWITCHES:
        cases = SWITCHES[name]
        key = _plain(value)
        if key not in cases:
            raise CourseError(f"{name} is {value!r}; choose {' or '.join(str(case) for case in cases)}.")
        meant = cases[key]
        return [] if meant is None else [meant]
    if name in FIXED:
        accepted, what = FIXED[name]
        if _plain(value) not in accepted:
            raise CourseError(f"{name} is {value!r}, and the course has it one way only: {what}; set it to {accepted[0]!r}.")
        return []
    return [(SPELLINGS.get(name, name), value)]


def _plain(value: Any) -> Any:
    """Return what a flag's text says: true, false, none, a number, or the text."""
    if not isinstance(value, str):
        return value
    words = {"true": True, "false": False, "none": None, "null": None, "": None}
    return words.get(value.lower(), int(value) if value.isdecimal() and len(value) < 19 else value)


def _checked(recipe: Recipe, field: str, name: str, value: Any) -> Any:
    """Return the value as the recipe holds it. Raises a CourseError where it has another type, or is out of range."""
    if isinstance(value, bool) and not isinstance(getattr(recipe, field), bool):
        raise CourseError(f"{name} is {value!r}, and {field} is no switch; give it a value.")
    try:
        checked = getattr(replace(recipe, **{field: value}), field)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise CourseError(f"{name} is {value!r}: {reason[0].lower()}{reason[1:]}; fix that value.") from None
    if checked in ((), ""):
        raise CourseError(f"{name} is empty; give it a value or leave it out.")
    return checked
