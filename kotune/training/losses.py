"""Log-probabilities over a large vocabulary, fast on a CPU, for SFT and DPO alike.

Gemma's head has 262,144 rows, so a training step spends much of its time there. The head is frozen under LoRA:
all that the backward pass needs from it is the gradient with respect to the hidden states, and that can be formed in
the forward pass, part by part of the vocabulary, so that the logits of a whole batch never exist at once.
"""

from __future__ import annotations

from functools import lru_cache
from types import MethodType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from kotune.models.memory import head_logits, head_part
from kotune.training.end_to_end import IGNORED, RowLayout, attention_by_row
from utils import CourseError


@lru_cache(maxsize=1)
def _workspace(entries: int, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two buffers of logits: one in the head's dtype, one in float32.

    Blocks of this size come fresh from the operating system each time, and clearing their pages takes longer than
    some of the arithmetic on them; so they are kept.
    """
    return torch.empty(entries, dtype=dtype, device=device), torch.empty(entries, dtype=torch.float32, device=device)


class _TokenLogprobs(torch.autograd.Function):
    """The softmax of all positions over one part of the vocabulary after another, with a running maximum and sum.

    This is the online softmax of Milakov and Gimelshein 2018 (arXiv 1805.02867), with the sum of head rows carried along as
    attention carries its values (Dao et al. 2022, arXiv 2205.14135). So each part of the head is read, and packed for the
    product, once a batch, and its logits stay in the cache.
    """

    @staticmethod
    def forward(ctx, hidden, head_weight, targets):
        tokens, with_gradient = len(hidden), ctx.needs_input_grad[0]
        part_rows = head_part(tokens, hidden.device.type)
        entries = max(head_logits(hidden.device.type), tokens * part_rows)
        buffers = _workspace(entries, hidden.dtype, hidden.device)
        largest = torch.full((tokens, 1), float("-inf"), device=hidden.device)
        total = torch.zeros(tokens, 1, device=hidden.device)
        target_logits = torch.zeros(tokens, 1, device=hidden.device)
        expected = torch.zeros(hidden.shape, device=hidden.device) if with_gradient else None  # sum_v e^(z_v - largest) W[v]
        for start in range(0, len(head_weight), part_rows):
            part = head_weight[start : start + part_rows]
            logits, values = (buffer[: tokens * len(part)].view(tokens, len(part)) for buffer in buffers)
            torch.mm(hidden, part.T, out=logits)
            values.copy_(logits)
            place = targets[:, None] - start
            inside = (place >= 0) & (place < len(part))
            target_logits = torch.where(inside, values.gather(1, place.clamp(0, len(part) - 1)), target_logits)
            larger = torch.maximum(largest, values.amax(dim=-1, keepdim=True))
            shrink = largest.sub_(larger).exp_()
            values.sub_(larger).exp_()
            total.mul_(shrink).add_(values.sum(dim=-1, keepdim=True))
            if expected is not None:
                expected.mul_(shrink).add_(logits.copy_(values) @ part)
            largest = larger
        if expected is not None:
            # d log p(y) / d hidden = W[y] - sum_v p(v) W[v]
            ctx.save_for_backward(expected.div_(total).neg_().add_(head_weight[targets]).to(hidden.dtype))
        return (target_logits - largest - total.log())[:, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_logprobs):
        (gradient,) = ctx.saved_tensors
        return gradient * grad_logprobs[:, None].to(gradient.dtype), None, None


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
    model,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    labels: torch.Tensor,
    *,
    layout: RowLayout | None = None,
    **inputs: torch.Tensor,
) -> CompletionLogprobs:
    """Return the log-probability of every completion token.

    Only positions whose next label is not -100 pass through the head. With a `layout` the batch is one row, in which
    rows lie end to end, and `inputs` holds their position ids; the rows of the result are those of the layout.

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
    if layout is None:
        hidden = decoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **inputs).last_hidden_state
        counted = labels[:, 1:] != IGNORED  # position t predicts token t + 1
        states, targets, rows = hidden[:, :-1][counted], labels[:, 1:][counted], counted.nonzero()[:, 0]
    else:
        with attention_by_row(decoder.config):
            hidden = decoder(input_ids=input_ids, use_cache=False, layout=layout, **inputs).last_hidden_state
        at = (labels[0] != IGNORED).nonzero()[:, 0]
        states, targets, rows = hidden[0, layout.predecessors[at]], labels[0, at], layout.rows[at]
    head_weight = causal_lm.get_output_embeddings().weight
    return CompletionLogprobs(token_logprobs(states.to(head_weight.dtype), head_weight, targets), rows)


def add_completion_head(causal_lm) -> None:
    """Let `causal_lm(..., completion_labels=labels)` return CompletionLogprobs in place of logits.

    A trainer calls the model through the wrappers that share gradients between processes (DDP, FSDP, DeepSpeed), and
    these act on `forward` alone. Without `completion_labels`, forward is what it was.
    """
    causal_lm.forward = MethodType(_forward_with_completion_head, causal_lm)


def remove_completion_head(causal_lm) -> None:
    """Undo `add_completion_head`."""
    causal_lm.__dict__.pop("forward", None)


def _forward_with_completion_head(self, *arguments, completion_labels=None, row_lengths=None, shared_lengths=None, **inputs):
    if completion_labels is None:
        return type(self).forward(self, *arguments, **inputs)
    given = {name: inputs[name] for name in ("input_ids", "position_ids") if name in inputs}
    if row_lengths is not None:
        given["layout"] = RowLayout.of(row_lengths, shared_lengths)
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
