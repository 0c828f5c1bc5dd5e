"""Log-probabilities over a large vocabulary, fast on a CPU, for SFT and DPO alike.

Gemma's head has 262,144 rows, so a training step spends most of its time there. The head is frozen under LoRA:
all that the backward pass needs from it is the gradient with respect to the hidden states, and that can be formed in
the forward pass, chunk by chunk, so that the logits of a whole batch never exist at once.
"""

from __future__ import annotations

from functools import lru_cache
from types import MethodType
from typing import NamedTuple

import torch
import torch.nn.functional as F

from kotune.models.memory import HEAD_ROWS, head_float_rows
from utils import CourseError


@lru_cache(maxsize=1)
def _workspace(vocabulary: int, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two buffers of logits: one of a chunk in the head's dtype, one of `head_float_rows` in float32.

    Blocks of this size come fresh from the operating system each time, and clearing their pages takes longer than
    some of the arithmetic on them; so they are kept.
    """
    chunk = torch.empty(HEAD_ROWS, vocabulary, dtype=dtype, device=device)
    return chunk, torch.empty(head_float_rows(device.type), vocabulary, dtype=torch.float32, device=device)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, head_weight, targets):
        logprobs = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        chunk_logits, float_logits = _workspace(len(head_weight), hidden.dtype, hidden.device)
        for start in range(0, len(hidden), HEAD_ROWS):
            rows = slice(start, start + HEAD_ROWS)
            target = targets[rows]
            logits = torch.mm(hidden[rows], head_weight.T, out=chunk_logits[: len(target)])  # (chunk, vocabulary)
            logprobs[rows] = _softmax_in_place(logits, target, float_logits)
            if gradient is not None:
                # d log p(y) / d hidden = W[y] - sum_v p(v) W[v]
                gradient[rows] = head_weight[target] - logits @ head_weight
        ctx.save_for_backward(gradient)
        return logprobs

    @staticmethod
    def backward(ctx, grad_logprobs):
        (gradient,) = ctx.saved_tensors
        return gradient * grad_logprobs[:, None].to(gradient.dtype), None, None


def _softmax_in_place(logits: torch.Tensor, targets: torch.Tensor, float_logits: torch.Tensor) -> torch.Tensor:
    """Turn logits, (chunk, vocabulary), into probabilities, and return log p(target) in float32, (chunk,)."""
    logprobs = []
    for part, target in zip(logits.split(len(float_logits)), targets[:, None].split(len(float_logits)), strict=True):
        values = float_logits[: len(part)].copy_(part)
        target_logits = values.gather(1, target)
        largest = values.amax(dim=-1, keepdim=True)
        total = values.sub_(largest).exp_().sum(dim=-1, keepdim=True)
        logprobs.append((target_logits - largest - total.log())[:, 0])
        part.copy_(values.div_(total))
    return torch.cat(logprobs)


def token_logprobs(hidden: torch.Tensor, head_weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return log p(target) for each hidden state; differentiable in the hidden states alone.

    Shapes: hidden (tokens, width); head_weight (vocabulary, width), frozen; targets (tokens,); result (tokens,)
    in float32.
    """
    return _TokenLogprobs.apply(hidden, head_weight, targets)


class CompletionLogprobs(NamedTuple):
    """Log-probability of every completion token, and the row of the batch that it stands in: (completion tokens,) each."""

    logprobs: torch.Tensor
    rows: torch.Tensor


def completion_logprobs(
    model, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, labels: torch.Tensor, **inputs: torch.Tensor
) -> CompletionLogprobs:
    """Return the log-probability of every completion token.

    Only positions whose next label is not -100 pass through the head.

    Raises:
        CourseError: the model caps its logits after the head.

    Shapes: input_ids, attention_mask, labels (batch, seq); results (completion tokens,) each.
    """
    causal_lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    if getattr(causal_lm.config, "final_logit_softcapping", None):
        raise CourseError(
            "This model caps its logits (Gemma 2), which the course's loss does not; choose a Gemma 1 or Gemma 3."
        )
    decoder = getattr(causal_lm, causal_lm.base_model_prefix)
    hidden = decoder(
        input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **inputs
    ).last_hidden_state  # (batch, seq, width)
    counted = labels[:, 1:] != -100  # position t predicts token t + 1
    head_weight = causal_lm.get_output_embeddings().weight
    logprobs = token_logprobs(hidden[:, :-1][counted].to(head_weight.dtype), head_weight, labels[:, 1:][counted])
    return CompletionLogprobs(logprobs, counted.nonzero()[:, 0])


def add_completion_head(causal_lm) -> None:
    """Let `causal_lm(..., completion_labels=labels)` return CompletionLogprobs in place of logits.

    A trainer calls the model through the wrappers that share gradients between processes (DDP, FSDP, DeepSpeed), and
    these act on `forward` alone. Without `completion_labels`, forward is what it was.
    """
    causal_lm.forward = MethodType(_forward_with_completion_head, causal_lm)


def remove_completion_head(causal_lm) -> None:
    """Undo `add_completion_head`."""
    causal_lm.__dict__.pop("forward", None)


def _forward_with_completion_head(self, *arguments, completion_labels=None, **inputs):
    if completion_labels is None:
        return type(self).forward(self, *arguments, **inputs)
    given = {name: inputs[name] for name in ("input_ids", "position_ids") if name in inputs}
    return completion_logprobs(self, attention_mask=inputs.get("attention_mask"), labels=completion_labels, **given)


class PreferenceLoss(NamedTuple):
    """The DPO loss of each pair, and the rewards that it is made of: (pairs,) each, in nats."""

    loss: torch.Tensor
    chosen_rewards: torch.Tensor
    rejected_rewards: torch.Tensor

    @property
    def margins(self) -> torch.Tensor:
        """How much more the chosen answer is rewarded: (pairs,)."""
        return self.chosen_rewards - self.rejected_rewards


def dpo_loss(
    chosen_logprobs: torch.Tensor,
    rejected_logprobs: torch.Tensor,
    reference_chosen_logprobs: torch.Tensor,
    reference_rejected_logprobs: torch.Tensor,
    beta: float,
) -> PreferenceLoss:
    """Return the loss of direct preference optimisation: -log sigmoid of the margin between the two rewards.

    The reward of an answer is beta times what the policy's log-probability of it has gained on the reference's.
    Shapes: each (pairs,), summed over an answer's tokens. Source: eq. 7 of Rafailov et al. 2023, arXiv 2305.18290.
    """
    chosen_rewards = beta * (chosen_logprobs - reference_chosen_logprobs)
    rejected_rewards = beta * (rejected_logprobs - reference_rejected_logprobs)
    return PreferenceLoss(-F.logsigmoid(chosen_rewards - rejected_rewards), chosen_rewards, rejected_rewards)


def sum_by_row(values: torch.Tensor, rows: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Sum token values into one value a row of the batch: (tokens,), (tokens,) -> (batch_size,)."""
    return torch.zeros(batch_size, dtype=values.dtype, device=values.device).index_add(0, rows, values)
