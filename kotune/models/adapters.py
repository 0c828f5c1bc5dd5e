"""LoRA adapters: put on, merged, saved with their run card, and found again."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kotune.language import said
from kotune.models.files import model_path
from kotune.models.machine import Recipe
from kotune.models.weight_files import never_unpickled, refuse_pickles, sha256_of
from utils import ASSETS, OUTPUTS, CourseError, read_json, relative, write_json

UNFINISHED = "saving-"  # how a folder begins that a killed run may leave behind
OF_AN_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "run.json")
OF_A_SAVE = {*OF_AN_ADAPTER, "README.md"}  # what peft and this module write into such a folder
OF_CHECKPOINTS = ("experiment.json", "held.lock")  # beside the checkpoints themselves
OF_A_RUN = (*OF_AN_ADAPTER, "loss.csv", "loss.png")  # what a later run in the same folder replaces


def add_adapter(model, recipe: Recipe):
    """Return the model with a fresh LoRA adapter: B is zero, so nothing changes before the first step."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=list(recipe.target_modules),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def load_adapter(model, adapter: str | Path):
    """Return the model with a saved adapter on top, its own weights apart; `unload` takes the adapter off again.

    Raises:
        CourseError: the folder holds no adapter, a pickled or a changed one, or one for another model.
    """
    from peft import PeftModel

    require_weights(adapter)
    try:
        with never_unpickled(relative(adapter)):
            return PeftModel.from_pretrained(model, adapter).eval()
    except (RuntimeError, ValueError) as error:  # shapes that do not fit, or layers that are not there
        raise CourseError(
            f"The adapter {relative(adapter)} does not fit this model ({str(error).splitlines()[0]}); "
            "load the model that it was trained on."
        ) from None


def require_weights(folder: str | Path) -> None:
    """Raise a CourseError unless a folder holds a whole adapter in safetensors, as its run card, if it has one, names it."""
    refuse_pickles(folder)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (Path(folder) / name).exists():
            raise CourseError(f"{relative(folder)} holds no adapter (no {name}); train it or pass another.")
    named = _card(Path(folder)).get("adapter_sha256")
    if named is not None and named != adapter_hash(folder):
        raise CourseError(
            f"The weights in {relative(folder)} are not those that its run.json tells of (adapter_model.safetensors has "
            "another SHA-256); put the right file back, or train it again."
        )


def merge_adapter(model, adapter: str | Path):
    """Return the model with a saved adapter merged into its weights.

    The sum is formed in float32 and rounded once to the weights' own dtype, because in bf16 small updates round away.

    Raises:
        CourseError: the folder holds no adapter, or one for another model; or the weights are quantised.
    """
    import torch

    if getattr(model, "is_loaded_in_4bit", False):
        raise CourseError("An adapter merges into whole weights; load the model with recipe.unquantised().")
    require_weights(adapter)
    dtype = model.dtype
    adapted = load_adapter(_cast_parameters(model, torch.float32), adapter)
    return _cast_parameters(adapted.merge_and_unload(safe_merge=True), dtype).eval()


def _cast_parameters(model, dtype):
    """Cast the parameters alone: `model.to(dtype)` would also round the rotary frequencies, which stay in float32."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def merge_chain(model, adapter: str | Path):
    """Return the base model with an adapter merged in, after those that it was trained on top of.

    Raises:
        CourseError: as for `merge_adapter`, or an earlier adapter of the chain is not where the run card says.
    """
    for one in chain(adapter):
        model = merge_adapter(model, one)
    return model


def chain(adapter: str | Path) -> list[Path]:
    """Return the adapters that lead to this one, from the base model up, itself last.

    A run card names the parent's SHA-256, and where it lay: it may have moved with its child, beside it, or stand in
    `outputs/` or `assets/`.

    Raises:
        CourseError: an earlier one is in none of these places, or is another one by now.
    """
    steps = [Path(adapter)]
    while parent_sha256 := _card(steps[0]).get("parent_sha256"):
        steps.insert(0, _find_parent(steps, parent_sha256))
    return steps


def _find_parent(steps: list[Path], sha256: str) -> Path:
    child = steps[0]
    named = _card(child).get("parent")
    places = [(child / named).resolve()] if named else []
    for root in (child.resolve().parent, OUTPUTS, ASSETS):
        places += sorted(root.iterdir()) if root.is_dir() else []
    ours = {step.resolve() for step in steps}  # none is its own ancestor
    for place in places:
        weights = place / "adapter_model.safetensors"
        if weights.is_file() and adapter_hash(place) == sha256 and place.resolve() not in ours:
            return place
    raise CourseError(
        f"{relative(child)} was trained on top of another adapter ({sha256:.8}...), which is not "
        f"{f'at {relative(places[0])}, ' if named else ''}beside it, or in outputs/ or assets/; "
        "put that adapter back there, or train this one again."
    )


def require_base(adapter: str | Path, model: str) -> None:
    """Raise a CourseError unless this adapter, with those that it was trained on top of, can be merged into the model.

    Its base is the one in its run card, or, where it was trained elsewhere, in its adapter_config.json.
    """
    require_weights(adapter)
    config = read_json(Path(adapter) / "adapter_config.json")
    base = _card(Path(adapter)).get("base") or config.get("base_model_name_or_path") or model
    if base != model and not (Path(base).is_dir() and Path(base).resolve() == Path(model_path(model)).resolve()):
        raise CourseError(
            f"The adapter {relative(adapter)} was trained on {base}, and the recipe's model is {model}; "
            "choose the recipe of that model, set `model` to it in --config, or pass another adapter."
        )
    if config.get("task_type") == "SEQ_CLS":
        raise CourseError(
            f"{relative(adapter)} holds a reward model, which scores and does not write; pass an adapter of sft or dpo."
        )
    chain(adapter)


def require_replaceable(folder: str | Path, parent: str | Path | None = None) -> None:
    """Raise a CourseError if saving an adapter to this folder would delete something else.

    A folder that is missing, empty, or holds an earlier run may be replaced; the adapter that a run starts from may
    not. Of an earlier run only the files that a run writes are replaced: a learner's notes beside them stay.
    """
    folder = Path(folder)
    if parent is not None and folder.resolve() == Path(parent).resolve():
        raise CourseError(f"{relative(folder)} holds the adapter that this run starts from; pass another output_dir.")
    if os.path.lexists(folder) and not folder.is_dir():
        raise CourseError(f"{relative(folder)} is no folder; pass another output_dir.")
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    unfinished = any(map(_is_unfinished, folder.iterdir())) if held else False  # a run died while it moved its adapter
    if held - {"checkpoints"} and "run.json" not in held and not unfinished:
        raise CourseError(f"{relative(folder)} holds files that are no earlier run; pass an empty output_dir.")
    for name in OF_A_RUN:
        if (folder / name).is_dir():
            raise CourseError(f"{relative(folder / name)} is a folder where a run writes a file; pass another output_dir.")


def _is_unfinished(path: Path) -> bool:
    """Say whether a folder was left by a killed run: by its name, and by what lies in it."""
    if not path.name.startswith(UNFINISHED) or path.is_symlink() or not path.is_dir():
        return False
    return {inside.name for inside in path.iterdir()} <= OF_A_SAVE


def copy_adapter(source: Path, target: Path) -> Path:
    """Copy an adapter with its run card, in the place of whatever the target folder holds; return the target."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in OF_AN_ADAPTER:
        shutil.copy(source / name, target / name)
    return target


def save_adapter(model, folder: Path, card: dict, *, parent: Path | None = None, state: dict | None = None) -> Path:
    """Save an adapter in bf16 with its run card; the adapter's own SHA-256 and its parent's go into the card.

    All is written beside its place first. A run killed before the exchange still has its checkpoints, and one killed
    within it its new files.

    state: the gathered weights, where several processes hold a part each.
    """
    import torch
    from safetensors.torch import load_file, save_file

    require_replaceable(folder, parent)
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder, prefix=UNFINISHED))
    # save_embedding_layers: "auto" would ask the hub for the base model's configuration
    model.save_pretrained(work, save_embedding_layers=False, state_dict=state)
    weights = work / "adapter_model.safetensors"
    save_file({k: v.to(torch.bfloat16) for k, v in load_file(weights).items()}, weights, {"format": "pt"})
    config = read_json(work / "adapter_config.json")
    config["base_model_name_or_path"] = card["base"]
    config["target_modules"] = sorted(config["target_modules"])  # peft writes a set, in any order
    write_json(work / "adapter_config.json", config)
    line: dict[str, str | None] = {"parent": None, "parent_sha256": None}
    if parent is not None:
        line = {"parent": Path(os.path.relpath(parent, folder)).as_posix(), "parent_sha256": adapter_hash(parent)}
    write_json(work / "run.json", {**card, **line, "adapter_sha256": adapter_hash(work)})
    for old in folder.iterdir():
        if old.name in OF_A_RUN:
            old.unlink()
        elif old != work and _is_unfinished(old):
            shutil.rmtree(old)
    for name in OF_AN_ADAPTER:
        (work / name).chmod(0o644)  # safetensors writes files that only their owner can read
        os.replace(work / name, folder / name)
    shutil.rmtree(work)  # what is left is peft's own card, which names machine paths
    _delete_checkpoints(folder / "checkpoints")
    return folder


def _delete_checkpoints(folder: Path) -> None:
    """Delete what a finished run needs no more, by the names that a run writes; a user's files stay, and the folder then."""
    for old in folder.glob("*"):
        with suppress(OSError):  # a lock that Windows still holds
            if re.fullmatch(r"checkpoint-\d+", old.name) and not old.is_symlink():
                shutil.rmtree(old)
            elif old.name in OF_CHECKPOINTS:
                old.unlink()
    with suppress(OSError):
        folder.rmdir()


def adapter_hash(folder: str | Path) -> str:
    """Return the SHA-256 of an adapter's weights."""
    return sha256_of(Path(folder) / "adapter_model.safetensors")


@dataclass(frozen=True)
class Adapters:
    """The SFT adapter, and on top of it the DPO adapter and the reward model that were trained from exactly it."""

    sft: Path
    dpo: Path | None
    reason: str
    reward: Path | None = None


def read_run_card(folder: str | Path) -> dict:
    """Return what the run of a trained adapter left beside it: stage, base, recipe, data by hash, figures, versions.

    Raises:
        CourseError: the folder holds no run card.
    """
    if card := _card(Path(folder)):
        return card
    raise CourseError(f"{relative(folder)} holds no run.json; name the folder of a trained adapter.")


def _card(folder: Path) -> dict:
    return read_json(folder / "run.json") if (folder / "run.json").exists() else {}


def find_adapter(name: str, recipe: Recipe) -> Path | None:
    """Return the adapter of a name for the recipe's model: the learner's own in `outputs/`, else the one in `assets/`."""
    return next((root / name for root in (OUTPUTS, ASSETS) if _card(root / name).get("base") == recipe.model), None)


def require_adapter(name: str, recipe: Recipe) -> Path:
    """Return the folder of one adapter that stands on the recipe's base: the learner's own, else the shipped one.

    Raises:
        CourseError: neither place has it for this recipe's model.
    """
    found = find_adapter(name, recipe)
    if found is None:
        raise CourseError(f"There is no adapter {name} for {recipe.model} in outputs/ or assets/; run train.ipynb first.")
    return found


def find_adapters(recipe: Recipe, need_dpo: bool) -> Adapters:
    """Return the adapters to go on from: the learner's own in `outputs/`, else those shipped in `assets/`.

    A DPO adapter counts only with the very SFT adapter that it was trained from, and an adapter only on the base
    that the recipe names.

    Raises:
        CourseError: neither place has adapters for this recipe's model.
    """
    missing = []
    own, shipped = (
        said("trained on this machine", "이 컴퓨터에서 학습함"),
        said("shipped with the course", "저장소에 들어 있음"),
    )
    for root, what in ((OUTPUTS, own), (ASSETS, shipped)):
        sft, dpo = root / "sft", root / "dpo"
        sft_card, dpo_card = _card(sft), _card(dpo)
        if sft_card.get("base") != recipe.model:
            missing.append(f"{root.name}/sft is not there for {recipe.model}")
        elif need_dpo and dpo_card.get("parent_sha256") != sft_card["adapter_sha256"]:
            missing.append(f"{root.name}/dpo was not trained from {root.name}/sft")
        else:
            reward = root / "reward"
            belongs = _card(reward).get("parent_sha256") == sft_card["adapter_sha256"]
            return Adapters(sft, dpo if need_dpo else None, what, reward if belongs else None)
    notebooks = "train.ipynb and then dpo.ipynb" if need_dpo else "train.ipynb"
    raise CourseError(f"There is no adapter to start from ({'; '.join(missing)}); run {notebooks} first.")
