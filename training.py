"""Train: continued pre-training, SFT, a reward model and DPO, on TRL's trainers with one faster loss.

    python training.py pretrain --train_dataset corpus.txt
    python training.py sft --train_dataset my.jsonl --output_dir outputs/my_sft
    python training.py reward --train_dataset pairs.jsonl --sft outputs/my_sft
    python training.py dpo --train_dataset pairs.jsonl --sft outputs/my_sft --output_dir outputs/my_dpo

Cost of import: pydantic (through prompts); torch, transformers, trl and peft come with the first stage.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import adapters
import formats
import models
from progress import bar
from prompts import render
from recipes import RECIPES, Choice, Recipe, choose
from utils import OUTPUTS, CourseError, relative, seed_everything

LN_2 = math.log(2)


# --- data ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """Tokenised rows ready for a trainer, and the ids of those left out because they are too long."""

    rows: list[dict]
    too_long: list[str]


def encode_supervised(records: Sequence[dict], tokenizer, max_length: int) -> Encoded:
    """Render SFT records to {"input_ids", "labels"}; labels are -100 outside the completion.

    A row over `max_length` is left out and named, never cut: cutting takes the end token away.
    """
    rows, too_long = [], []
    for record in records:
        ids, mask = render(tokenizer, record["prompt"], record["completion"])
        if len(ids) > max_length:
            too_long.append(record["id"])
            continue
        labels = [token if counted else -100 for token, counted in zip(ids, mask, strict=True)]
        rows.append({"input_ids": ids, "labels": labels})
    return _checked(rows, too_long, max_length)


def encode_preference(records: Sequence[dict], tokenizer, max_length: int) -> Encoded:
    """Render preference records to {"prompt_ids", "chosen_ids", "rejected_ids"}; over-long pairs are named."""
    rows, too_long = [], []
    for record in records:
        prompt_ids = render(tokenizer, record["prompt"]).ids
        chosen = render(tokenizer, record["prompt"], record["chosen"]).ids
        rejected = render(tokenizer, record["prompt"], record["rejected"]).ids
        if max(len(chosen), len(rejected)) > max_length:
            too_long.append(record["id"])
            continue
        start = len(prompt_ids)
        rows.append(
            {"prompt_ids": prompt_ids, "chosen_ids": chosen[start:], "rejected_ids": rejected[start:]}
        )
    return _checked(rows, too_long, max_length)


def encode_text(records: Sequence[dict], tokenizer, max_length: int) -> Encoded:
    """Tokenise pre-training documents to {"input_ids", "labels"}: every token is learnt, and the end of the document.

    Each document is a row of its own: no token sees another document's.
    """
    rows, too_long = [], []
    for number, record in enumerate(records, start=1):
        ids = tokenizer(record["text"], add_special_tokens=False)["input_ids"]
        ids = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        if len(ids) > max_length:
            too_long.append(f"document {number}")
        else:
            rows.append({"input_ids": ids, "labels": [-100, *ids[1:]]})
    return _checked(rows, too_long, max_length)


def _checked(rows: list[dict], too_long: list[str], max_length: int) -> Encoded:
    if not rows:
        raise CourseError(
            f"All {len(too_long)} rows are longer than {max_length} tokens; raise max_length or shorten them."
        )
    return Encoded(rows, too_long)


# --- trainers --------------------------------------------------------------------------------


def _arguments(recipe: Recipe, output_dir: Path, batch_size: int, learning_rate: float, epochs: float) -> dict:
    """Return the training arguments that both stages share."""
    return {
        "output_dir": str(output_dir / "checkpoints"),
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "num_train_epochs": epochs,
        "learning_rate": learning_rate,
        "lr_scheduler_type": recipe.scheduler,
        "warmup_steps": recipe.warmup,  # below 1 it is a share
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": recipe.optimizer,
        "bf16": recipe.dtype == "bfloat16",
        "use_cpu": recipe.device == "cpu",
        "activation_checkpointing": recipe.device != "cpu",
        "dataloader_pin_memory": recipe.device != "cpu",
        "logging_steps": 1,
        "logging_first_step": True,
        "save_strategy": "no",
        "report_to": "none",
        "logging_nan_inf_filter": False,  # its default logs a NaN as 0.0, and the run looks fine
        "disable_tqdm": True,
        "seed": recipe.seed,
        "max_length": None,  # over-long rows were left out and named; nothing is cut here
    }


@dataclass(frozen=True)
class TrainingResult:
    """What a stage leaves: the adapter's folder, one log row a step, and the figures of the run card."""

    adapter: Path
    log: list[dict]
    figures: dict


def _train(trainer, recipe: Recipe) -> tuple[list[dict], float]:
    """Train silently but for the bar; return one log row a step, and the minutes."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    seed_everything(recipe.seed)
    start = time.perf_counter()
    try:
        trainer.train()
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            raise CourseError(
                f"Memory ran out ({str(error).splitlines()[0]}); use a smaller batch_size or max_length in the recipe."
            ) from None
        raise
    minutes = (time.perf_counter() - start) / 60
    return [row for row in trainer.state.log_history if "loss" in row], minutes


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("torch", "transformers", "trl", "peft")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _data_hash(records: Sequence[dict]) -> str:
    return hashlib.sha256(json.dumps(list(records), ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _peak_memory_gib(recipe: Recipe) -> float:
    if recipe.device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20  # bytes there, KiB elsewhere


def _card(stage: str, recipe: Recipe, records: Sequence[dict], figures: dict, parent: str | None) -> dict:
    return {
        "stage": stage,
        "base": recipe.model,
        "parent_sha256": parent,
        "recipe": asdict(recipe),
        "data_rows": len(records),
        "data_sha256": _data_hash(records),
        "figures": figures,
        "versions": _versions(),
        "processor": platform.machine(),
    }


# --- stages ----------------------------------------------------------------------------------


def held_out_loss(model, tokenizer, records: Sequence[dict], recipe: Recipe) -> float:
    """Return the mean negative log-likelihood of a completion token over held-out records, in nats."""
    return _mean_loss(model, tokenizer, encode_supervised(records, tokenizer, recipe.max_length), recipe)


def perplexity(model, tokenizer, records: Sequence[dict], recipe: Recipe) -> float:
    """Return the perplexity over held-out pre-training documents: exp of the mean loss of a token."""
    return math.exp(_mean_loss(model, tokenizer, encode_text(records, tokenizer, recipe.max_length), recipe))


def _mean_loss(model, tokenizer, encoded: Encoded, recipe: Recipe) -> float:
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from losses import completion_logprobs

    _report_left_out(encoded, recipe)
    collate = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)
    total = tokens = 0
    with torch.no_grad(), bar(len(encoded.rows), "held-out loss", "row") as shown:
        for start in range(0, len(encoded.rows), recipe.batch_size):
            batch = collate(encoded.rows[start : start + recipe.batch_size])
            batch = {name: values.to(recipe.device) for name, values in batch.items()}
            logprobs, _ = completion_logprobs(model, batch["input_ids"], batch["attention_mask"], batch["labels"])
            total, tokens = total - logprobs.sum().item(), tokens + len(logprobs)
            shown.update(len(batch["labels"]))
    return total / tokens


def sft(
    recipe: Recipe,
    records: Sequence[dict],
    model,
    tokenizer,
    output_dir: str | Path = OUTPUTS / "sft",
) -> TrainingResult:
    """Train a LoRA adapter on the completions of supervised records and save it with its run card.

    `model` is the base from `models.load_model`; its weights stay as they are.

    Raises:
        CourseError: no row fits `max_length`, memory runs out, the loss is no number, or the output folder holds
            something else.
    """
    encoded = encode_supervised(records, tokenizer, recipe.max_length)
    return _language_modelling("sft", recipe, records, encoded, model, tokenizer, output_dir)


def pretrain(
    recipe: Recipe,
    records: Sequence[dict],
    model,
    tokenizer,
    output_dir: str | Path = OUTPUTS / "pretrain",
) -> TrainingResult:
    """Train a LoRA adapter on plain documents (continued pre-training) and save it with its run card.

    Every token of a document is learnt, its end token included.

    Raises:
        CourseError: as for `sft`.
    """
    encoded = encode_text(records, tokenizer, recipe.max_length)
    return _language_modelling("pretrain", recipe, records, encoded, model, tokenizer, output_dir)


def _language_modelling(  # noqa: PLR0917
    stage: str, recipe: Recipe, records: Sequence[dict], encoded: Encoded, model, tokenizer, output_dir: str | Path
) -> TrainingResult:
    from datasets import Dataset
    from trl import SFTConfig

    from trainers import CompletionSFTTrainer, ProgressBar

    adapters.require_replaceable(output_dir)
    _report_left_out(encoded, recipe)
    seed_everything(recipe.seed)  # LoRA's A is drawn at random
    adapted = adapters.add_adapter(model, recipe)
    arguments = _arguments(recipe, Path(output_dir), recipe.batch_size, recipe.learning_rate, recipe.epochs)
    trainer = CompletionSFTTrainer(
        model=adapted,
        args=SFTConfig(**arguments, dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_list(encoded.rows),
        processing_class=tokenizer,
        callbacks=[ProgressBar()],
    )
    log, minutes = _train(trainer, recipe)
    figures = {
        "steps": len(log),
        "first_loss": log[0]["loss"],
        "last_loss": sum(row["loss"] for row in log[-5:]) / len(log[-5:]),
        "too_long": len(encoded.too_long),
        "minutes": round(minutes, 2),
        "completion_tokens_per_s": round(trainer._total_train_tokens / minutes / 60, 1),
        "peak_memory_gib": round(_peak_memory_gib(recipe), 2),
    }
    adapter = adapters.save_adapter(adapted, Path(output_dir), _card(stage, recipe, records, figures, None))
    adapted.unload()
    return TrainingResult(adapter, log, figures)


def reward(
    recipe: Recipe,
    records: Sequence[dict],
    model,
    tokenizer,
    *,
    parent: str | Path,
    output_dir: str | Path = OUTPUTS / "reward",
    held_out: Sequence[dict] = (),
) -> TrainingResult:
    """Train a reward model on preference pairs: the chosen answer is to have the higher score (Bradley-Terry).

    `model` has the SFT adapter `parent` merged in. The new head is saved with the adapter. With `held_out` pairs, the
    figures have the accuracy on them, by kind, beside that of "the longer answer wins".

    Raises:
        CourseError: as for `sft`.
    """
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    from reward_model import add_reward_adapter, pair_accuracy, with_reward_head
    from trainers import ProgressBar

    adapters.require_replaceable(output_dir, parent)
    encoded = encode_preference(records, tokenizer, recipe.max_length)
    _report_left_out(encoded, recipe)
    seed_everything(recipe.seed)
    classifier = add_reward_adapter(with_reward_head(model, tokenizer), recipe)
    rows = [
        {"chosen_ids": row["prompt_ids"] + row["chosen_ids"], "rejected_ids": row["prompt_ids"] + row["rejected_ids"]}
        for row in encoded.rows
    ]
    arguments = _arguments(
        recipe, Path(output_dir), recipe.dpo_batch_size, recipe.reward_learning_rate, recipe.reward_epochs
    )
    trainer = RewardTrainer(
        model=classifier,
        # scores may drift together without any effect on the loss: the coefficient keeps them near zero
        args=RewardConfig(**arguments, center_rewards_coefficient=0.01),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[ProgressBar()],
    )
    log, minutes = _train(trainer, recipe)
    figures = {
        "steps": len(log),
        "first_loss": log[0]["loss"],
        "last_loss": sum(row["loss"] for row in log[-5:]) / len(log[-5:]),
        "too_long": len(encoded.too_long),
        "minutes": round(minutes, 2),
        "peak_memory_gib": round(_peak_memory_gib(recipe), 2),
    }
    if held_out:
        figures |= asdict(pair_accuracy(classifier.eval(), tokenizer, held_out, recipe))
    card = _card("reward", recipe, records, figures, adapters.adapter_hash(parent))
    adapter = adapters.save_adapter(classifier, Path(output_dir), card)
    classifier.unload()
    return TrainingResult(adapter, log, figures)


def reference_logprobs(model, rows: Sequence[dict], tokenizer, recipe: Recipe) -> list[dict]:
    """Return the preference rows with the policy's own log-probabilities before training: the reference."""
    import torch
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from trainers import sequence_logprobs

    collate = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    # the trainer's own precision, so that policy and reference round alike
    precision = torch.autocast(recipe.device, torch.bfloat16, enabled=recipe.dtype == "bfloat16")
    complete = []
    with torch.no_grad(), precision, bar(len(rows), "reference", "pair") as shown:
        for start in range(0, len(rows), recipe.dpo_batch_size):
            part = rows[start : start + recipe.dpo_batch_size]
            batch = {name: values.to(recipe.device) for name, values in collate(part).items()}
            chosen, rejected = sequence_logprobs(model, batch).chunk(2)
            complete += [
                {**row, "ref_chosen_logps": c, "ref_rejected_logps": r}
                for row, c, r in zip(part, chosen.tolist(), rejected.tolist(), strict=True)
            ]
            shown.update(len(part))
    return complete


def preference_loss(model, rows: Sequence[dict], tokenizer, recipe: Recipe) -> dict[str, float]:
    """Return the DPO loss, mean margin and accuracy of the model over rows from `reference_logprobs`."""
    now = reference_logprobs(model, rows, tokenizer, recipe)
    margins = [
        recipe.dpo_beta
        * (
            (new["ref_chosen_logps"] - old["ref_chosen_logps"])
            - (new["ref_rejected_logps"] - old["ref_rejected_logps"])
        )
        for new, old in zip(now, rows, strict=True)
    ]
    return {
        "loss": sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins),
        "margin": sum(margins) / len(margins),
        "accuracy": sum(margin > 0 for margin in margins) / len(margins),
    }


def dpo(
    recipe: Recipe,
    records: Sequence[dict],
    model,
    tokenizer,
    *,
    parent: str | Path,
    output_dir: str | Path = OUTPUTS / "dpo",
) -> TrainingResult:
    """Train a LoRA adapter on preference pairs with DPO, starting from a merged SFT model.

    `model` has the SFT adapter `parent` merged in; the reference is that same model before the first step, so
    step 0 has loss ln 2 and margin 0, which is checked.

    Raises:
        CourseError: the reference is not the starting policy, or as for `sft`.
    """
    from datasets import Dataset
    from trl import DPOConfig

    from trainers import CompletionDPOTrainer, ProgressBar

    adapters.require_replaceable(output_dir, parent)
    encoded = encode_preference(records, tokenizer, recipe.max_length)
    _report_left_out(encoded, recipe)
    seed_everything(recipe.seed)
    adapted = adapters.add_adapter(model, recipe)
    rows = reference_logprobs(model, encoded.rows, tokenizer, recipe)
    arguments = _arguments(
        recipe, Path(output_dir), recipe.dpo_batch_size, recipe.dpo_learning_rate, recipe.dpo_epochs
    )
    trainer = CompletionDPOTrainer(
        model=adapted,
        args=DPOConfig(**arguments, beta=recipe.dpo_beta, remove_unused_columns=True),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[ProgressBar()],
    )
    log, minutes = _train(trainer, recipe)
    if abs(log[0]["loss"] - LN_2) > 0.02:
        raise CourseError(
            f"The DPO loss at step 0 is {log[0]['loss']:.4f}, not ln 2 = {LN_2:.4f}: the reference is not the model "
            "that training starts from; merge the SFT adapter first and pass that model."
        )
    figures = {
        "steps": len(log),
        "first_loss": log[0]["loss"],
        "last_loss": sum(row["loss"] for row in log[-5:]) / len(log[-5:]),
        "last_margin": sum(row["rewards/margins"] for row in log[-5:]) / len(log[-5:]),
        "too_long": len(encoded.too_long),
        "minutes": round(minutes, 2),
        "peak_memory_gib": round(_peak_memory_gib(recipe), 2),
    }
    card = _card("dpo", recipe, records, figures, adapters.adapter_hash(parent))
    adapter = adapters.save_adapter(adapted, Path(output_dir), card)
    adapted.unload()
    return TrainingResult(adapter, log, figures)


def _report_left_out(encoded: Encoded, recipe: Recipe) -> None:
    if encoded.too_long:
        print(
            f"{len(encoded.too_long)} rows are longer than {recipe.max_length} tokens and are left out: "
            f"{', '.join(encoded.too_long[:5])}{' ...' if len(encoded.too_long) > 5 else ''}"
        )


# --- command line ----------------------------------------------------------------------------


STAGES = {  # stage: what it is, what its records must have
    "pretrain": ("continued pre-training on plain text", "text"),
    "sft": ("supervised fine-tuning", "completion"),
    "reward": ("a reward model from preference pairs", "chosen"),
    "dpo": ("direct preference optimisation", "chosen"),
}
FROM_SFT = ("reward", "dpo")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stages = parser.add_subparsers(dest="stage", required=True)
    for stage, (what, _) in STAGES.items():
        options = stages.add_parser(stage, help=what)
        options.add_argument(
            "--train_dataset", "--train_data", required=True, help="a file, a folder, or a name in data/dataset_info.json"
        )
        options.add_argument("--output_dir", type=Path, default=OUTPUTS / stage, help="the adapter goes here")
        options.add_argument("--recipe", choices=sorted(RECIPES), help="instead of the choice by machine")
        options.add_argument("--r", type=int, help="LoRA rank; overrides the recipe, as the following do")
        options.add_argument("--lora_alpha", type=int)
        options.add_argument("--learning_rate", type=float)
        options.add_argument("--max_seq_length", type=int)
        # the second spelling is the one in a reference system's README
        options.add_argument("--num_train_epochs", "--num_train_epocs", type=float)
        if stage in FROM_SFT:
            options.add_argument(
                "--sft", "--model_path", type=Path, default=OUTPUTS / "sft", help="the SFT adapter to start from"
            )
    return parser


def _overridden(recipe: Recipe, chosen: argparse.Namespace) -> Recipe:
    prefix = {"reward": "reward_", "dpo": "dpo_"}.get(chosen.stage, "")
    given = {
        "lora_r": chosen.r,
        "lora_alpha": chosen.lora_alpha,
        "max_length": chosen.max_seq_length,
        f"{prefix}learning_rate": chosen.learning_rate,
        f"{prefix}epochs": chosen.num_train_epochs,
    }
    return replace(recipe, **{field: value for field, value in given.items() if value is not None})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stage from the command line on a data set by path or name."""
    chosen = _parser().parse_args(arguments)
    records = formats.load(chosen.train_dataset)
    wanted = STAGES[chosen.stage][1]
    wrong = next((record.get("id", "1") for record in records if wanted not in record), None)
    if wrong is not None:
        raise CourseError(
            f"{chosen.train_dataset}, row {wrong}, has no field for {chosen.stage}; pretrain needs text, sft question and "
            "answer (or the like), reward and dpo prompt, chosen and rejected."
        )
    parent = chosen.sft if chosen.stage in FROM_SFT else None
    adapters.require_replaceable(chosen.output_dir, parent)
    choice = choose() if chosen.recipe is None else Choice(RECIPES[chosen.recipe], "asked for by name")
    recipe = _overridden(choice.recipe, chosen)
    print(f"{recipe.name}: {choice.reason}")
    model, tokenizer = models.load_model(recipe), models.load_tokenizer(recipe.model)
    if parent is not None:
        model = adapters.merge_adapter(model, parent)
        run = {"reward": reward, "dpo": dpo}[chosen.stage]
        result = run(recipe, records, model, tokenizer, parent=parent, output_dir=chosen.output_dir)
    else:
        run = {"pretrain": pretrain, "sft": sft}[chosen.stage]
        result = run(recipe, records, model, tokenizer, chosen.output_dir)
    print(f"{relative(result.adapter)}: {json.dumps(result.figures)}")


if __name__ == "__main__":
    try:
        main()
    except CourseError as error:
        sys.exit(f"error: {error}")
