"""Short measurements on this machine: speed of 16 bits, of one decoder layer and of the head, and kernels that work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kotune.models.memory import ModelShape
from kotune.recipes import Recipe
from kotune.training.lean import is_lean, leanly

# Work of one repetition, so that three take about a second: a larger batch is measured in part, and its time scaled.
WORK = {"cpu": 3e10, "cuda": 3e12}
REPETITIONS = 3
HEAD_TOKENS = 256  # that are timed in the head


def training_speed(shape: ModelShape, recipe: Recipe, rows: int, width: int) -> TrainingSpeed:
    """Measure one decoder layer under LoRA at this batch shape, and the head, on the recipe's device; about 3 s on a CPU."""
    return TrainingSpeed(_layer_seconds(shape, recipe, rows, width), _head_seconds(shape, recipe))


def _best(action: Callable[[], None], device: str) -> float:
    """Return the seconds of the fastest repetition after one to warm up."""
    import torch

    best = float("inf")
    for _ in range(1 + REPETITIONS):
        start = time.perf_counter()
        action()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def _layer_seconds(shape: ModelShape, recipe: Recipe, rows: int, width: int) -> float:
    """Return the seconds of a token in one layer, forward and backward; on a GPU with the second forward of recomputing."""
    import torch

    layer_work = 6 * shape.linear_parameters / shape.layers  # of a token, forward and backward
    tokens = max(16, int(WORK[recipe.device] / layer_work))
    width = max(1, min(width, tokens))
    rows = max(1, min(rows, tokens // width))
    model = _one_layer(shape, recipe)
    forward = (_end_to_end if is_lean(recipe, shape.kind) else _padded)(model, rows, width, recipe.device)
    precision = torch.autocast(recipe.device, torch.bfloat16, enabled=recipe.dtype == "bfloat16")

    def step() -> None:
        with precision:
            hidden = forward()
        hidden.sum().backward()

    with leanly(model, replace(recipe, lean=is_lean(recipe, shape.kind))):
        seconds = _best(step, recipe.device)
    return seconds / (rows * width) * (4 / 3 if recipe.device == "cuda" else 1)


def _padded(model, rows: int, width: int, device: str) -> Callable[[], Any]:
    """Return what gives the hidden states of a padded batch."""
    import torch

    ids = torch.zeros(rows, width, dtype=torch.long, device=device)
    mask = torch.ones_like(ids)
    mask[0, -1:] = 0  # a batch has padding, and attention then takes another path
    return lambda: model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state


def _end_to_end(model, rows: int, width: int, device: str) -> Callable[[], Any]:
    """Return what gives the hidden states of rows that lie end to end."""
    import torch

    from kotune.training.end_to_end import RowLayout, attention_by_row

    layout = RowLayout((width,) * rows, (0,) * rows)
    ids = torch.zeros(1, rows * width, dtype=torch.long, device=device)

    def forward():
        with attention_by_row(model.config):
            states = model(input_ids=ids, position_ids=layout.positions[None], layout=layout, use_cache=False)
        return states.last_hidden_state

    return forward


def _one_layer(shape: ModelShape, recipe: Recipe):
    """Return a model of this shape with one layer, random weights and a LoRA adapter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(
        shape.kind,
        hidden_size=shape.hidden,
        num_hidden_layers=1,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate,
        vocab_size=8,
        pad_token_id=0,
    )
    with torch.device(recipe.device):
        model = AutoModel.from_config(
            config, dtype=getattr(torch, recipe.dtype), attn_implementation=recipe.attention
        ).train()
    if recipe.quantization == "nf4":
        _quantise(model, recipe)
    adapted = get_peft_model(model, LoraConfig(r=recipe.lora_r, target_modules=list(recipe.target_modules)))
    adapted.enable_input_require_grads()  # as if a layer stood below, into which gradients flow on
    return adapted


def _quantise(model, recipe: Recipe) -> None:
    """Put NF4 layers of bitsandbytes in the place of a model's linear ones."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit

    options: dict[str, Any] = {"quant_type": "nf4", "compress_statistics": True}
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            small = Linear4bit(
                module.in_features, module.out_features, bias=False, compute_dtype=getattr(torch, recipe.dtype), **options
            )
            small.weight = Params4bit(module.weight.data.cpu(), requires_grad=False, **options)
            model.set_submodule(name, small.to(recipe.device))


def _head_seconds(shape: ModelShape, recipe: Recipe) -> float:
    """Return the seconds of a token in the head: its log-probability and the gradient of its hidden state."""
    import torch

    from kotune.training.losses import token_logprobs

    options = {"dtype": getattr(torch, recipe.dtype), "device": recipe.device}
    weight = torch.full((shape.vocabulary, shape.hidden), 0.01, **options)
    hidden = torch.ones(HEAD_TOKENS, shape.hidden, requires_grad=True, **options)
    targets = torch.zeros(HEAD_TOKENS, dtype=torch.long, device=recipe.device)
    return _best(lambda: token_logprobs(hidden, weight, targets).sum().backward(), recipe.device) / HEAD_TOKENS


@dataclass(frozen=True)
class TrainingSpeed:
    """Seconds measured on this machine, forward and backward: a token in one decoder layer, and one in the head."""

    layer_token: float
    head_token: float
