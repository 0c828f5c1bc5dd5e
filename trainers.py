"""The trainers of each stage: TRL's, with the loss that is fast on a CPU, and a progress bar.

Cost of import: torch, transformers and trl.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from transformers import TrainerCallback
from trl import DPOTrainer, SFTTrainer

from losses import completion_logprobs, sum_by_row
from progress import bar
from utils import CourseError


class CompletionSFTTrainer(SFTTrainer):
    """SFTTrainer whose loss passes completion positions alone through the head."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        mode = "train" if self.model.training else "eval"
        logprobs, _ = completion_logprobs(
            model, inputs["input_ids"], inputs["attention_mask"], inputs["labels"]
        )
        count = len(logprobs) if num_items_in_batch is None else num_items_in_batch
        if mode == "train":
            self._total_train_tokens += len(logprobs)
        self._metrics[mode]["completion_tokens"] = [self._total_train_tokens]
        return -logprobs.sum() / count


class CompletionDPOTrainer(DPOTrainer):
    """DPOTrainer on rendered rows that carry their reference log-probabilities."""

    def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
        return dataset  # already rendered by prompts.render, as every other surface is

    def _compute_loss(self, model, inputs, return_outputs):
        mode = "train" if self.model.training else "eval"
        logprobs = sequence_logprobs(model, inputs)
        chosen, rejected = logprobs.chunk(2)  # the batch is [chosen, rejected], (pairs,) each
        chosen_reward = self.beta * (chosen - inputs["ref_chosen_logps"])
        rejected_reward = self.beta * (rejected - inputs["ref_rejected_logps"])
        margin = chosen_reward - rejected_reward
        figures = {
            "rewards/chosen": chosen_reward,
            "rewards/rejected": rejected_reward,
            "rewards/margins": margin,
            "rewards/accuracies": (margin > 0).float(),
            "logps/chosen": chosen,
            "logps/rejected": rejected,
        }
        for name, values in figures.items():
            self._metrics[mode][name].append(self.accelerator.gather(values.detach()).mean().item())
        return -F.logsigmoid(margin).mean()  # eq. 7 of Rafailov et al. 2023, arXiv 2305.18290


def sequence_logprobs(model, inputs) -> torch.Tensor:
    """Return log p(completion | prompt), summed over its tokens: (batch,)."""
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    logprobs, rows = completion_logprobs(model, inputs["input_ids"], inputs["attention_mask"], labels)
    return sum_by_row(logprobs, rows, len(labels))


class ProgressBar(TrainerCallback):
    """One progress bar over the steps, with the loss; gone when training ends."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.shown = bar(state.max_steps, "training", "step")

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
