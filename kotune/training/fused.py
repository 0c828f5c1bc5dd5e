"""Norms and LoRA layers that pass over memory less often, and keep less for the backward pass, with the same results.

As the libraries write them, each is a chain of small operations: Gemma's norm goes through float32 in eight, and a LoRA
layer casts its input twice, keeps a copy of it for each of the layers that read it, and scales and adds in passes of their
own. On a CPU such a pass takes as long as the memory needs. Here each is one function with the gradient written out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.autograd.function import once_differentiable

from kotune.training.end_to_end import wide

# The norms of these families multiply by one plus their weight, in float32, and round once;
ONE_PLUS_WEIGHT = ("GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm")
# those of these round first, and multiply by their weight.
PLAIN_WEIGHT = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")


@contextmanager
def fused(model) -> Iterator[None]:
    """Let the norms and LoRA layers of a model be these functions, and what they were again however it ends."""
    replaced = []
    for module in model.modules():
        forward = _forward_of(module)
        if forward is not None and "forward" not in module.__dict__:
            module.forward = MethodType(forward, module)
            replaced.append(module)
    try:
        yield
    finally:
        for module in replaced:
            del module.forward


def _forward_of(module: nn.Module) -> Callable | None:
    if type(module).__name__ in (*ONE_PLUS_WEIGHT, *PLAIN_WEIGHT):
        return _norm_forward
    return _lora_forward if type(module) is LoraLinear else None


# --- RMSNorm ---------------------------------------------------------------------------------


def _norm_forward(self, hidden: torch.Tensor) -> torch.Tensor:
    if self.weight.requires_grad or self.weight.dtype != hidden.dtype:
        return type(self).forward(self, hidden)
    if type(self).__name__ in ONE_PLUS_WEIGHT:
        return rms_norm(hidden, 1.0 + self.weight.float(), self.eps)
    return rms_norm(hidden, self.weight, self.variance_epsilon, rounds_first=True)


def rms_norm(hidden: torch.Tensor, gain: torch.Tensor, eps: float, *, rounds_first: bool = False) -> torch.Tensor:
    """Return hidden / sqrt(mean(hidden^2) + eps) * gain, computed in float32 and rounded to the dtype of `hidden`.

    rounds_first: the quotient is rounded before it is multiplied. `gain` gets no gradient.
    Shapes: hidden (..., width); gain (width,). Source: Zhang and Sennrich 2019, arXiv 1910.07467.
    """
    return _RmsNorm.apply(hidden, gain, eps, rounds_first)


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, gain, eps, rounds_first):
        values = wide(hidden)
        norm = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
        scale = norm.square_().div_(hidden.shape[-1]).add_(eps).rsqrt_()  # (..., 1)
        ctx.save_for_backward(hidden, gain, scale)
        normed = values * scale
        return normed.to(hidden.dtype).mul_(gain) if rounds_first else normed.mul_(gain).to(hidden.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        hidden, gain, scale = ctx.saved_tensors
        values, weighted = wide(hidden), wide(grad) * wide(gain)  # (..., width)
        # y = x s g with s = (mean(x^2) + eps)^(-1/2): dx = s (g dy) - x s^3 mean(x g dy)
        along = (weighted * values).mean(dim=-1, keepdim=True).mul_(scale.pow(3))
        return weighted.mul_(scale).addcmul_(values, along, value=-1).to(hidden.dtype), None, None, None


# --- LoRA ------------------------------------------------------------------------------------


def _lora_forward(self, hidden: torch.Tensor, *arguments, **settings) -> torch.Tensor:
    adapter = self.active_adapters[0]
    if arguments or settings or not _is_plain(self, adapter) or not _is_of_one_dtype(self, adapter, hidden):
        return type(self).forward(self, hidden, *arguments, **settings)
    layer, down, up = self.base_layer, self.lora_A[adapter], self.lora_B[adapter]
    return lora_linear(hidden, layer.weight, layer.bias, down=down.weight, up=up.weight, scaling=self.scaling[adapter])


def _is_plain(layer: LoraLinear, adapter: str) -> bool:
    """Say whether a layer is frozen weights and one adapter of two matrices, switched on, without dropout."""
    return (
        not layer.disable_adapters
        and not layer.merged
        and layer.active_adapters == [adapter]
        and adapter in layer.lora_A
        and adapter not in layer.lora_variant
        and not layer.fan_in_fan_out
        and type(layer.base_layer) is nn.Linear
        and not any(parameter.requires_grad for parameter in layer.base_layer.parameters())
        and layer.lora_B[adapter].bias is None
        and (isinstance(layer.lora_dropout[adapter], nn.Identity) or not layer.training)
    )


def _is_of_one_dtype(layer: LoraLinear, adapter: str, hidden: torch.Tensor) -> bool:
    """Say whether the product of the adapter is taken in the dtype of the weights and the input, by autocast or as it is."""
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else layer.lora_A[adapter].weight.dtype
    return hidden.dtype == layer.base_layer.weight.dtype == dtype


def lora_linear(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    down: torch.Tensor,
    up: torch.Tensor,
    scaling: float,
) -> torch.Tensor:
    """Return hidden W^T + bias + scaling * (hidden A^T) B^T; W and the bias are frozen.

    Shapes: hidden (..., inputs); weight W (outputs, inputs); down A (rank, inputs) and up B (outputs, rank), of any float
    dtype; result (..., outputs). Source: Hu et al. 2021, arXiv 2106.09685, section 4.1.
    """
    return _LoraLinear.apply(hidden, scaling, weight, bias, down, up)


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, scaling, *layer):
        weight, bias, down, up = layer
        ctx.scaling, ctx.dtypes = scaling, (down.dtype, up.dtype)
        down, up = down.to(hidden.dtype), up.to(hidden.dtype)
        low = F.linear(hidden, down).flatten(0, -2)  # (tokens, rank)
        output = F.linear(hidden, weight, bias)
        output.view(-1, output.shape[-1]).addmm_(low, up.T, alpha=scaling)
        ctx.save_for_backward(hidden, weight, down, up, low)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        hidden, weight, down, up, low = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])  # (tokens, outputs)
        low_grad = grad @ up  # (tokens, rank)
        hidden_grad = None
        if ctx.needs_input_grad[0]:
            hidden_grad = (grad @ weight).addmm_(low_grad, down, alpha=ctx.scaling).view(hidden.shape)
        down_grad = (low_grad.T @ hidden.flatten(0, -2)).to(ctx.dtypes[0]).mul_(ctx.scaling)
        up_grad = (low.T @ grad).T.to(ctx.dtypes[1]).mul_(ctx.scaling)  # so, and not as grad.T @ low: twice as fast
        return hidden_grad, None, None, None, down_grad, up_grad
