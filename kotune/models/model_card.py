"""The card of a trained adapter, made from its run card for whoever gets the adapter, and the way to the hub.

The hub is never asked unless a repository is named, and a repository is made private. A card names data by its hash and no
path of the machine that trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kotune.data.card import table
from kotune.models.adapters import OF_AN_ADAPTER, read_run_card, require_weights
from kotune.recipes import LOCAL_GEMMA
from utils import CourseError, relative, write_atomic

CARD = "README.md"
HUB_NAMES = {LOCAL_GEMMA: "google/gemma-3-270m"}
GEMMA_LICENCE = "gemma"
SETTINGS = (
    "lora_r", "lora_alpha", "target_modules", "learning_rate", "batch_size", "epochs", "scheduler", "max_length", "dtype",
    "quantization", "seed",
)  # fmt: skip
STAGES = {
    "pretrain": "continued pre-training on plain text",
    "sft": "supervised fine-tuning; the loss counts the completion alone",
    "reward": "a reward model: a number for an answer, no text",
    "dpo": "direct preference optimisation on pairs of answers",
}


def model_card(adapter: str | Path, results: Sequence[str] = ()) -> str:
    """Return the card of an adapter's folder as Markdown, with what the hub reads at its head.

    `results` are lines on what it was measured to do, each with its baseline: "listings: 159 of 200, base 0".

    Raises:
        CourseError: the folder holds no trained adapter.
    """
    run = _run_of(adapter)
    recipe, base = run["recipe"], HUB_NAMES.get(run["base"], run["base"])
    measured = "\n".join(f"- {line}" for line in results) or "Nothing was stated. Measure it before you use it."
    sections = [
        _head(base),
        f"# {Path(adapter).resolve().name}",
        f"A LoRA adapter on `{base}`: {STAGES.get(run['stage'], run['stage'])}. {_on_top_of(run)}",
        "## What it was measured to do",
        measured,
        "Measured on held-out data of the kind that it was trained on; of other texts the figures say nothing. A small "
        "model writes fluent sentences that are wrong: what matters is to be checked by a person.",
        "## Data",
        f"{run['data_rows']:,} rows (SHA-256 `{run['data_sha256'][:16]}`){_validation(run)}{_left_out(run)}.",
        "## Training",
        table(("setting", "value"), [(name, _written(recipe[name])) for name in SETTINGS if name in recipe]),
        table(("figure", "value"), [(name, _written(value)) for name, value in run["figures"].items() if _is_plain(value)]),
        f"On {run['device']}, with {', '.join(f'{name} {version}' for name, version in run['versions'].items())}.",
        f"SHA-256 of `adapter_model.safetensors`: `{run['adapter_sha256']}`.",
    ]
    return "\n\n".join(sections) + "\n"


def write_model_card(adapter: str | Path, results: Sequence[str] = ()) -> Path:
    """Write the card into the adapter's folder, in the place of an older one."""
    return write_atomic(Path(adapter) / CARD, model_card(adapter, results))


def push(adapter: str | Path, repository: str) -> str:
    """Put an adapter with its card into a private repository of the hub, and return its address.

    The key is that of `hf auth login` or of HF_TOKEN. Nothing but the adapter, its run card and its card is sent.

    Raises:
        CourseError: the name is no USER/NAME, the repository is there and public, or the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    _run_of(adapter)
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise CourseError(f"{repository!r} is no repository of the hub; write it as USER/NAME.")
    api = HfApi()
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        if not api.repo_info(repository).private:
            raise CourseError(
                f"{repository} is public on the hub, and nothing was sent; make it private there, or name another."
            )
        names = [name for name in (*OF_AN_ADAPTER, CARD) if (Path(adapter) / name).exists()]
        api.upload_folder(repo_id=repository, folder_path=str(adapter), allow_patterns=names, commit_message="An adapter")
    except (HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled) as error:
        reason = str(error).strip().splitlines()[0]
        raise CourseError(f"The hub took {relative(adapter)} not ({reason}); log in with `hf auth login`.") from None
    return str(address)


def card_command(chosen) -> None:
    """Write the card of an adapter, and push both where a repository is named."""
    print(f"written: {relative(write_model_card(chosen.adapter, chosen.result))}")
    if chosen.push:
        print(f"pushed, private: {push(chosen.adapter, chosen.push)}")


def _run_of(adapter: str | Path) -> dict:
    run = read_run_card(adapter)
    require_weights(adapter)
    return run


def _head(base: str) -> str:
    licence = [f"license: {GEMMA_LICENCE}"] if "gemma" in base.lower() else []
    tagged = [f"base_model: {base}", "library_name: peft", "language: ko", *licence, "tags:", "- lora", "- korean"]
    return "\n".join(["---", *tagged, "---"])


def _on_top_of(run: dict) -> str:
    if not run.get("parent_sha256"):
        return "It was trained on the base model itself."
    return f"It was trained on top of another adapter (SHA-256 `{run['parent_sha256'][:16]}`), which is merged first."


def _validation(run: dict) -> str:
    return f", {run['validation_rows']:,} held out" if run.get("validation_rows") else ""


def _left_out(run: dict) -> str:
    return f", {len(run['left_out'])} left out as too long" if run.get("left_out") else ""


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str)


def _written(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
