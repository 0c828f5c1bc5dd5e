"""Train: continued pre-training, SFT, a reward model and DPO, on TRL's trainers with one faster loss.

    kotune pretrain --train_dataset corpus.txt
    kotune sft --train_dataset my.jsonl --eval_dataset held_out.jsonl --output_dir outputs/my_sft
    kotune reward --train_dataset pairs.jsonl --model_path outputs/my_sft
    kotune dpo --train_dataset pairs.jsonl --model_path outputs/my_sft --output_dir outputs/my_dpo

A run that was killed continues from its last whole checkpoint when it is started again.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kotune import mirror
from kotune.data import registry
from kotune.models import adapters, loading
from kotune.recipes import Recipe
from kotune.stage_table import STAGES
from kotune.training import runs
from kotune.training.encoding import TokenRows, encode_preference, encode_supervised, encode_text, pack
from kotune.training.evaluation import measure
from kotune.training.runs import peak_memory_gib, run_card
from utils import OUTPUTS, CourseError, FileError, error_sentence, machine_error, seed_everything

HEALTH_ANSWERS = 20  # written before and after DPO


@dataclass(frozen=True)
class Reporting:
    """What a run shows besides its bar: a plot of the loss as PNG, and a tracker (tensorboard, trackio or wandb)."""

    plot_loss: bool = False
    tracker: str | None = None


@dataclass(frozen=True)
class TrainingResult:
    """What a stage leaves: the adapter's folder, one log row a step, the validations, and the run card's figures."""

    adapter: Path
    log: list[dict]
    figures: dict
    validation: list[dict] = field(default_factory=list)


# --- what every stage shares -----------------------------------------------------------------


def stage_records(data, stage: str) -> list[dict]:
    """Return the records of a data set given by name, by path, as a Dataset or as records, fit for a stage.

    Raises:
        CourseError: no such data set, one without records, or its records are those of another stage.
    """
    named = isinstance(data, str | Path)
    records = registry.load(data) if named else data.to_list() if hasattr(data, "to_list") else list(data)
    if not records:
        raise CourseError(f"{data if named else 'The data set'} has no records; pass some to train on.")
    wanted = STAGES[stage].wanted
    wrong = next((record.get("id", number) for number, record in enumerate(records, 1) if wanted not in record), None)
    if wrong is not None:
        raise CourseError(
            f"{data if named else 'The data set'}, row {wrong}, has no field for {stage}; pretrain needs text, sft "
            "question and answer (or the like), reward and dpo prompt, chosen and rejected."
        )
    return records


def processes() -> int:
    """Return how many processes train together, as `accelerate launch` sets it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Say whether this process prints and saves."""
    return int(os.environ.get("RANK", "0")) == 0


def load_start(recipe: Recipe, parent: str | Path | None):
    """Return (model, tokenizer) that a stage starts from: the recipe's model, with `parent` and its parents merged in.

    Raises:
        CourseError: `parent` is no adapter that can be merged in, or stands on another model.
    """
    if parent is not None:
        adapters.require_base(parent, recipe.model)
    tokenizer = loading.load_tokenizer(recipe.model)
    if parent is None:
        return loading.load_model(recipe), tokenizer
    if recipe.quantization is None:
        return adapters.merge_chain(loading.load_model(recipe), parent), tokenizer
    # adapters merge into 16 bits alone; the sum is quantised as it is loaded again
    with tempfile.TemporaryDirectory() as folder:
        merged = adapters.merge_chain(loading.load_model(recipe.unquantised()), parent)
        loading.save_merged(merged, tokenizer, Path(folder))
        del merged
        return loading.load_model(recipe, folder), tokenizer


def training_arguments(
    recipe: Recipe, stage: str, output_dir: Path, validated: bool, reporting: Reporting
) -> dict[str, Any]:
    """Return the training arguments of a stage; the recipe's batch is shared out among the processes."""
    settings = STAGES[stage]
    batch_size = getattr(recipe, settings.batch_size)
    if batch_size % processes():
        raise CourseError(
            f"{settings.batch_size} is {batch_size} and cannot be shared out among {processes()} processes; "
            f"set it to a multiple of {processes()}."
        )
    on_cpu = recipe.device == "cpu"
    arguments = {
        "output_dir": str(output_dir / "checkpoints"),
        "per_device_train_batch_size": batch_size // processes(),
        "per_device_eval_batch_size": batch_size // processes(),
        "gradient_accumulation_steps": recipe.accumulation,
        "num_train_epochs": getattr(recipe, settings.epochs),
        "learning_rate": getattr(recipe, settings.learning_rate),
        "lr_scheduler_type": recipe.scheduler,
        "warmup_steps": recipe.warmup,  # below 1 it is a share
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "optim": recipe.optimizer,
        "bf16": recipe.dtype == "bfloat16",
        "fp16": recipe.dtype == "float16",  # with its loss scaled, so that small gradients do not become 0
        "use_cpu": on_cpu,
        "activation_checkpointing": not on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "ddp_find_unused_parameters": False,
        "logging_steps": 1,
        "logging_first_step": True,
        "save_strategy": "steps",
        "save_steps": recipe.save_steps,
        # the last one may be half-written when the run is killed: one before it is kept
        "save_total_limit": max(2, recipe.keep_checkpoints),
        "report_to": reporting.tracker or "none",
        "logging_nan_inf_filter": False,  # its default logs a NaN as 0.0, and the run looks fine
        "disable_tqdm": True,
        "seed": recipe.seed,
        "max_length": None,  # over-long rows were left out and named; nothing is cut here
    }
    if validated:
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": recipe.save_steps,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
        }
    return arguments


@dataclass(frozen=True)
class _Request:
    """What a stage is asked to do, as the caller says it."""

    stage: str
    recipe: Recipe
    data: Any  # a data set's name or path, a Dataset, or records
    model: Any  # None: loaded, with `parent` merged in
    tokenizer: Any
    output_dir: Path
    parent: Path | None
    validation: Any
    reporting: Reporting


@dataclass(frozen=True)
class _Run:
    """A stage ready to train: what was asked, with its records, its tokens and its model."""

    request: _Request
    records: list[dict]
    validation: list[dict]
    rows: TokenRows
    validation_rows: TokenRows | None
    resume_point: runs.ResumePoint
    model: Any
    tokenizer: Any

    @property
    def recipe(self) -> Recipe:
        return self.request.recipe

    def left_out(self) -> list[str]:
        """Return the ids of the rows that are too long, those of the validation last."""
        return [*self.rows.too_long, *(self.validation_rows.too_long if self.validation_rows else [])]

    def card(self, figures: dict) -> dict:
        return run_card(self.request.stage, self.recipe, self.records, self.validation, figures, left_out=self.left_out())

    def arguments(self) -> dict[str, Any]:
        request = self.request
        return training_arguments(self.recipe, request.stage, request.output_dir, bool(self.validation), request.reporting)

    def callbacks(self) -> list:
        from transformers import EarlyStoppingCallback

        from kotune.plots import live_plot
        from kotune.training.trainers import EvaluateLast, MirrorCheckpoints, ProgressBar

        called = [ProgressBar(), MirrorCheckpoints(self.request.output_dir), *live_plot(self.request.stage)]
        if self.validation:
            called.append(EvaluateLast())
            if self.recipe.early_stopping is not None:
                called.append(EarlyStoppingCallback(self.recipe.early_stopping))
        return called


@contextmanager
def _open_run(request: _Request) -> Iterator[_Run]:
    """Make all that a stage needs, and hold its output folder until it ends.

    What can be wrong is found out in the order of its price: folder, data, checkpoints, and then the model.
    """
    stage, recipe, parent = request.stage, request.recipe, request.parent
    adapters.require_replaceable(request.output_dir, parent)
    if parent is not None:
        adapters.require_base(parent, recipe.model)
    records = stage_records(request.data, stage)
    validation = stage_records(request.validation, stage) if request.validation is not None else []
    card = run_card(stage, recipe, records, validation, {})
    parent_sha256 = adapters.adapter_hash(parent) if parent else None
    checkpoints = request.output_dir / "checkpoints"
    with runs.lock_folder(checkpoints) if is_main_process() else nullcontext(), _machine_errors(stage, request.output_dir):
        resume_point = runs.resume_point(checkpoints, runs.experiment(card, parent_sha256))
        if is_main_process():
            resume_point.report()
            runs.delete_incomplete(resume_point)
        model, tokenizer = request.model, request.tokenizer
        if model is None:
            model, tokenizer = load_start(recipe, parent)
        encode = _STEPS[stage].encode
        rows = encode(records, tokenizer, recipe.max_length)
        validation_rows = encode(validation, tokenizer, recipe.max_length) if validation else None
        if is_main_process():
            rows.report()
            if validation_rows is not None:
                validation_rows.report("validation rows")
        yield _Run(request, records, validation, rows, validation_rows, resume_point, model, tokenizer)


@contextmanager
def _machine_errors(stage: str, folder: Path) -> Iterator[None]:
    """Make memory that ran out, on any device, and a disk or a folder that failed one sentence."""
    try:
        yield
    except CourseError:
        raise
    except Exception as error:
        known = machine_error(error)
        if isinstance(known, MemoryError):
            reason = f" ({str(error).splitlines()[0].rstrip('.')})" if str(error) else ""
            raise CourseError(
                f"Memory ran out{reason}; use a smaller {STAGES[stage].batch_size} or max_length in the recipe."
            ) from None
        if known is not None:
            raise FileError(error_sentence(known, known.filename or folder), known) from None
        raise


@contextmanager
def _removing_adapter(adapted) -> Iterator[Any]:
    """Take an adapter and the loss off again, however the run ends: the model is as it was, and can be trained again."""
    from kotune.training.losses import remove_completion_head

    try:
        yield adapted
    finally:
        remove_completion_head(adapted.unload())


def _train(trainer, run: _Run) -> tuple[list[dict], list[dict], dict]:
    """Train, from the last whole checkpoint where there is one; return log rows, validations and shared figures."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    output_dir, checkpoint = run.request.output_dir, run.resume_point.checkpoint
    # its default is inside the folder of the checkpoints, which goes when the run ends
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(output_dir.parent / "tensorboard" / output_dir.name))
    seed_everything(run.recipe.seed)
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.perf_counter() - start
    log = [row for row in trainer.state.log_history if "loss" in row]
    validation = [row for row in trainer.state.log_history if "eval_loss" in row]
    figures = {
        "steps": len(log),
        "first_loss": log[0]["loss"],
        "last_loss": _mean_of_last(log, "loss"),
        "too_long": len(run.rows.too_long),
        "minutes": round(seconds / 60, 2),
        "peak_memory_gib": round(peak_memory_gib(run.recipe), 2),
    }
    if hasattr(trainer, "completion_tokens"):
        figures["completion_tokens_per_s"] = round(trainer.completion_tokens / seconds, 1)
    if checkpoint is not None:
        figures["continued_from_step"] = int(checkpoint.name.rpartition("-")[2])
    if validation:
        figures["best_validation_loss"] = min(row["eval_loss"] for row in validation)
        figures["best_step"] = trainer.state.best_global_step
    return log, validation, figures


def _mean_of_last(log: Sequence[dict], name: str, steps: int = 5) -> float:
    """Return the mean of a logged figure over the last steps."""
    last = [row[name] for row in log[-steps:]]
    return sum(last) / len(last)


def _finish(trainer, run: _Run, log: list[dict], validation: list[dict], figures: dict) -> TrainingResult:
    """Save the adapter with its card, the losses and their plot; the checkpoints go."""
    from kotune.plots import save_losses

    request, state = run.request, None
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:  # every process holds a part of the weights
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if is_main_process():
        adapters.save_adapter(trainer.model, request.output_dir, run.card(figures), parent=request.parent, state=state)
        save_losses(log, validation, request.output_dir, request.stage, request.reporting.plot_loss)
        mirror.keep(request.output_dir)
    trainer.accelerator.wait_for_everyone()
    return TrainingResult(request.output_dir, log, figures, validation)


# --- what each stage does in its own way -----------------------------------------------------


@dataclass(frozen=True)
class _StageSteps:
    """The steps in which a stage differs from the others; `stage_table` has its settings."""

    encode: Callable[[Sequence[dict], Any, int], TokenRows]
    add_adapter: Callable[[_Run], Any]
    build_trainer: Callable[[_Run, Any], Any]
    # figures of its own, from (trainer, run, log)
    measure: Callable[[Any, _Run, list[dict]], dict]


def _with_adapter(run: _Run):
    return adapters.add_adapter(run.model, run.recipe)


def _with_reward_adapter(run: _Run):
    from kotune.models.reward_model import add_reward_adapter, with_reward_head

    return add_reward_adapter(with_reward_head(run.model, run.tokenizer), run.recipe)


def _trainer_settings(run: _Run, adapted, prepare: Callable[[list[dict]], list[dict]] = list) -> dict[str, Any]:
    """Return what every trainer takes: model, data, tokenizer and callbacks; `prepare` gives rows the form that it reads."""
    from datasets import Dataset

    held_out = run.validation_rows
    return {
        "model": adapted,
        "train_dataset": Dataset.from_list(prepare(run.rows.rows)),
        "eval_dataset": Dataset.from_list(prepare(held_out.rows)) if held_out else None,
        "processing_class": run.tokenizer,
        "callbacks": run.callbacks(),
    }


def _language_modelling_trainer(run: _Run, adapted):
    from trl import SFTConfig
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from kotune.training.trainers import CompletionSFTTrainer, PackedCollator

    settings = _trainer_settings(run, adapted)
    if run.recipe.packing:
        settings["train_dataset"] = pack(run.rows.rows, run.recipe.max_length)
    collator = PackedCollator if run.recipe.packing else DataCollatorForLanguageModeling
    return CompletionSFTTrainer(
        args=SFTConfig(
            **run.arguments(),
            train_sampling_strategy="group_by_length" if run.recipe.group_by_length else "random",
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=collator(pad_token_id=run.tokenizer.pad_token_id),
        **settings,
    )


def _reward_trainer(run: _Run, adapted):
    from trl import RewardConfig

    from kotune.training.trainers import CourseRewardTrainer

    # scores may drift together without any effect on the loss: the coefficient keeps them near zero
    args = RewardConfig(**run.arguments(), center_rewards_coefficient=0.01)
    return CourseRewardTrainer(args=args, **_trainer_settings(run, adapted, _whole_conversations))


def _whole_conversations(rows: Sequence[dict]) -> list[dict]:
    return [{side: row["prompt_ids"] + row[side] for side in ("chosen_ids", "rejected_ids")} for row in rows]


def _dpo_trainer(run: _Run, adapted):
    from trl import DPOConfig

    from kotune.training.trainers import CompletionDPOTrainer

    args = DPOConfig(**run.arguments(), beta=run.recipe.dpo_beta)
    return CompletionDPOTrainer(args=args, **_trainer_settings(run, adapted))


def _no_figures(trainer, run: _Run, log: list[dict]) -> dict:
    return {}


def _reward_figures(trainer, run: _Run, log: list[dict]) -> dict:
    from kotune.models.reward_model import pair_accuracy
    from kotune.models.surface_baseline import surface_accuracy

    if not run.validation:
        return {}
    accuracy = pair_accuracy(trainer.model.eval(), run.tokenizer, run.validation, run.recipe)
    return asdict(accuracy) | {"surface_baseline": asdict(surface_accuracy(run.records, run.validation))}


def _dpo_figures(trainer, run: _Run, log: list[dict]) -> dict:
    figures = {
        "start_loss": log[0]["loss"],
        "start_margin": log[0]["rewards/margins"],
        "last_margin": _mean_of_last(log, "rewards/margins"),
    }
    if run.validation_rows:
        prompts = [record["prompt"] for record in run.validation[:HEALTH_ANSWERS]]
        health = measure(trainer.model, run.tokenizer, run.validation_rows.rows, prompts, run.recipe)
        figures["health"] = health.row()
    return figures


_STEPS = {
    "pretrain": _StageSteps(encode_text, _with_adapter, _language_modelling_trainer, _no_figures),
    "sft": _StageSteps(encode_supervised, _with_adapter, _language_modelling_trainer, _no_figures),
    "reward": _StageSteps(encode_preference, _with_reward_adapter, _reward_trainer, _reward_figures),
    "dpo": _StageSteps(encode_preference, _with_adapter, _dpo_trainer, _dpo_figures),
}


# --- the stages ------------------------------------------------------------------------------


def run_stage(
    stage: str,
    recipe: Recipe,
    data,
    model=None,
    tokenizer=None,
    *,
    output_dir: str | Path | None = None,
    parent: str | Path | None = None,
    validation=None,
    reporting: Reporting | None = None,
) -> TrainingResult:
    """Run the stage of that name ("pretrain", "sft", "reward" or "dpo"): train a LoRA adapter and save it with its run card.

    `data` and `validation` are data sets by name or path, Datasets, or records. `model` and `tokenizer` are loaded if
    they are not given; `model` has the adapter `parent` merged in where there is one (an earlier stage), and its
    weights stay as they are. `output_dir` is `outputs/STAGE` if it is not given. With `validation`, its loss is taken
    every `save_steps`, the best checkpoint is what is saved, and `early_stopping` applies.

    Raises:
        CourseError: the data are not fit for the stage, no row fits `max_length`, memory runs out, the loss is no
            number, or the output folder holds something else.
    """
    request = _Request(
        stage, recipe, data, model, tokenizer,
        output_dir=Path(output_dir) if output_dir is not None else OUTPUTS / stage,
        parent=Path(parent) if parent is not None else None,
        validation=validation,
        reporting=reporting or Reporting(),
    )  # fmt: skip
    steps = _STEPS[stage]
    with _open_run(request) as run:
        seed_everything(recipe.seed)  # LoRA's A is drawn at random
        with _removing_adapter(steps.add_adapter(run)) as adapted:
            trainer = steps.build_trainer(run, adapted)
            log, validations, figures = _train(trainer, run)
            figures |= steps.measure(trainer, run, log)
            return _finish(trainer, run, log, validations, figures)


def sft(
    recipe: Recipe,
    data,
    model=None,
    tokenizer=None,
    output_dir: str | Path | None = None,
    *,
    parent: str | Path | None = None,
    validation=None,
    reporting: Reporting | None = None,
) -> TrainingResult:
    """Train a LoRA adapter on the completions of supervised records; arguments and errors are those of `run_stage`."""
    return run_stage(
        "sft",
        recipe,
        data,
        model,
        tokenizer,
        output_dir=output_dir,
        parent=parent,
        validation=validation,
        reporting=reporting,
    )


def pretrain(
    recipe: Recipe,
    data,
    model=None,
    tokenizer=None,
    output_dir: str | Path | None = None,
    *,
    parent: str | Path | None = None,
    validation=None,
    reporting: Reporting | None = None,
) -> TrainingResult:
    """Train a LoRA adapter on plain documents (continued pre-training); arguments and errors are those of `run_stage`.

    Every token of a document is learnt, its end token included.
    """
    return run_stage(
        "pretrain",
        recipe,
        data,
        model,
        tokenizer,
        output_dir=output_dir,
        parent=parent,
        validation=validation,
        reporting=reporting,
    )


def reward(
    recipe: Recipe,
    data,
    model=None,
    tokenizer=None,
    output_dir: str | Path | None = None,
    *,
    parent: str | Path | None = None,
    validation=None,
    reporting: Reporting | None = None,
) -> TrainingResult:
    """Train a reward model on preference pairs: the chosen answer is to have the higher score (Bradley-Terry).

    It starts from the SFT adapter `parent`, merged in. The new head is saved with the adapter. With `validation` pairs,
    the figures have the accuracy on them, by kind, beside that of "the longer answer wins" and of a judge that sees form
    alone (`surface_baseline`). The rest is as for `run_stage`.
    """
    return run_stage(
        "reward",
        recipe,
        data,
        model,
        tokenizer,
        output_dir=output_dir,
        parent=parent,
        validation=validation,
        reporting=reporting,
    )


def dpo(
    recipe: Recipe,
    data,
    model=None,
    tokenizer=None,
    output_dir: str | Path | None = None,
    *,
    parent: str | Path | None = None,
    validation=None,
    reporting: Reporting | None = None,
) -> TrainingResult:
    """Train a LoRA adapter on preference pairs with DPO, starting from the SFT adapter `parent`, merged in.

    The reference is that same model with the adapter off, so step 0 has loss ln 2 and margin 0, which is checked.
    With `validation` pairs, the figures have the health report (`PreferenceHealth`). The rest is as for `run_stage`.

    Raises:
        CourseError: the loss at step 0 is not ln 2, or as for `run_stage`.
    """
    return run_stage(
        "dpo",
        recipe,
        data,
        model,
        tokenizer,
        output_dir=output_dir,
        parent=parent,
        validation=validation,
        reporting=reporting,
    )
