"""The trainers of each stage: TRL's, with the loss that is fast on a CPU, and what a run shows while it goes on."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from transformers import TrainerCallback
from trl import DPOTrainer, RewardTrainer, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from kotune import mirror
from kotune.progress import bar
from kotune.training.losses import CompletionLogprobs, add_completion_head, completion_logprobs, dpo_loss, sum_by_row
from kotune.training.runs import mark_whole
from utils import CourseError


class WholeCheckpoints:
    """Checkpoints without a model card, marked as whole once the last file is written."""

    def create_model_card(self, *arguments, **settings):
        """Write none: a checkpoint is no model to share, and the card would name paths of this machine."""

    def _save_checkpoint(self, model, trial):
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # every process has written its part
        if self.args.should_save:
            mark_whole(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")


class CompletionSFTTrainer(WholeCheckpoints, SFTTrainer):
    """SFTTrainer whose loss passes completion positions alone through the head."""

    def __init__(self, model, **settings):
        super().__init__(model=model, **settings)
        add_completion_head(model.get_base_model())
        self.completion_tokens = 0  # that this process trained on, in this session
        self._validation = torch.zeros(2)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        logprobs = _call(model, inputs).logprobs
        if not self.model.training:
            self._validation += torch.tensor([-logprobs.sum().item(), len(logprobs)])
            return -logprobs.mean()
        self.completion_tokens += len(logprobs)
        if num_items_in_batch is None:
            return -logprobs.mean()
        # the count is that of all processes, and their gradients are averaged
        return -logprobs.sum() / num_items_in_batch * self.accelerator.num_processes

    def evaluation_loop(self, *arguments, **settings):
        """Evaluate as Trainer does, but give every completion token the same weight, as `held_out_loss` does."""
        self._validation.zero_()
        output = super().evaluation_loop(*arguments, **settings)
        total, tokens = self.accelerator.reduce(self._validation.to(self.args.device)).tolist()
        output.metrics["eval_loss"] = total / tokens
        return output


class CompletionDPOTrainer(WholeCheckpoints, DPOTrainer):
    """DPOTrainer on rendered rows, whose loss passes completion positions alone through the head.

    The reference is the model with its adapter switched off, and scores the very batch that the policy scores: in bfloat16 a
    sequence's log-probability changes by some tenths of a nat with the width of its batch, and a reference from other
    batches would put that into the margins.
    """

    def __init__(self, model, **settings):
        super().__init__(model=model, **settings)
        add_completion_head(model.get_base_model())

    def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
        return dataset  # already rendered by prompts.render, as every other surface is

    def _compute_loss(self, model, inputs, return_outputs):
        mode = "train" if self.model.training else "eval"
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        # first, because what the policy keeps for its backward pass does not stand in memory yet
        with torch.no_grad(), self.accelerator.unwrap_model(self.model).disable_adapter():
            reference_chosen, reference_rejected = self._pair_logprobs(model, inputs, labels)
        chosen, rejected = self._pair_logprobs(model, inputs, labels)
        preference = dpo_loss(chosen, rejected, reference_chosen, reference_rejected, self.beta)
        figures = {
            "rewards/chosen": preference.chosen_rewards,
            "rewards/rejected": preference.rejected_rewards,
            "rewards/margins": preference.margins,
            "rewards/accuracies": (preference.margins > 0).float(),
            "logps/chosen": chosen,
            "logps/rejected": rejected,
        }
        for name, values in figures.items():
            self._metrics[mode][name].append(self.accelerator.gather(values.detach()).mean().item())
        loss = preference.loss.mean()
        if mode == "train" and self.state.global_step == 0:
            _require_ln_2(loss.item())
        return loss

    def _pair_logprobs(self, model, inputs, labels) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log p(chosen) and log p(rejected): (pairs,) each. The batch is [chosen, rejected]."""
        logprobs, rows = _call(model, {**inputs, "labels": labels})
        chosen, rejected = sum_by_row(logprobs, rows, len(labels)).chunk(2)
        return chosen, rejected


def _require_ln_2(loss: float) -> None:
    """Raise a CourseError where the first DPO loss shows that policy and reference differ before any step."""
    if abs(loss - math.log(2)) > 1e-3:
        raise CourseError(
            f"The DPO loss before the first step is {loss:.4f}, not ln 2 = {math.log(2):.4f}: the adapter changes the model "
            "before any training, so the reference is not what training starts from; start from a fresh adapter, with the "
            "SFT adapter merged first."
        )


class CourseRewardTrainer(WholeCheckpoints, RewardTrainer):
    """RewardTrainer as it is, with checkpoints that a killed run can trust."""


def _call(model, inputs) -> CompletionLogprobs:
    """Call the wrapped model for the log-probabilities of its completion tokens."""
    names = ("input_ids", "attention_mask", "position_ids")
    given = {name: inputs[name] for name in names if name in inputs}
    return CompletionLogprobs(*model(**given, completion_labels=inputs["labels"]))


def sequence_logprobs(model, inputs) -> torch.Tensor:
    """Return log p(completion | prompt), summed over its tokens: (batch,)."""
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    logprobs, rows = completion_logprobs(model, inputs["input_ids"], inputs["attention_mask"], labels)
    return sum_by_row(logprobs, rows, len(labels))


class PackedCollator:
    """Batches of packed rows, in which no document sees another.

    Position ids that start again at 0 mark the borders; transformers reads them only where no attention mask is
    given (an all-ones mask would let documents leak into each other without a word).
    """

    def __init__(self, pad_token_id: int):
        self._collate = DataCollatorForLanguageModeling(pad_token_id=pad_token_id, return_position_ids=True)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = self._collate(rows)
        del batch["attention_mask"]
        return batch


class ProgressBar(TrainerCallback):
    """One progress bar over the steps, with the loss; gone when training ends. A loss that is no number stops the run."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.shown = bar(state.max_steps if state.is_local_process_zero else None, "training", "step")
        self.shown.update(state.global_step)

    def on_step_end(self, args, state, control, **kwargs):
        self.shown.update(1)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.shown.set_postfix(loss=f"{logs['loss']:.3f}")
            if not math.isfinite(logs["loss"]):
                self.shown.close()
                raise CourseError(
                    f"The loss is {logs['loss']} at step {state.global_step}; lower the learning rate, "
                    "or use bfloat16 or float32 (Gemma overflows in float16)."
                )

    def on_train_end(self, args, state, control, **kwargs):
        self.shown.close()


class MirrorCheckpoints(TrainerCallback):
    """Copies each checkpoint of a run to the mirror, where there is one, once it lies whole on the local disk."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            mirror.keep(self.folder)


class EvaluateLast(TrainerCallback):
    """A validation after the last step too: the best model is chosen among those that were validated."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            control.should_evaluate = True
