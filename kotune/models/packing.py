"""Weights of linear layers in the order that oneDNN's products read, put into it once and not at every product.

On a CPU a product of bfloat16 matrices begins by copying the whole weight into blocks. In training that copy is small
beside the product; in a step of decoding, where each reply has one token, it was a third of the time of Gemma 3 270M with 24
replies, on two cores with AVX512-BF16. The packed product is the same kernel over the same blocks, so the results are the
same to the last bit; a bias is added before the sum is rounded, and not after. Packed weights take as much memory again:
they are made where there is plenty, and else the layers work as they always do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from kotune.models.loading import is_out_of_memory
from kotune.models.machine import unused_gib
from kotune.models.memory import GIB

MEMORY_SHARE = 0.25  # of what nobody uses; the rest is for keys, values, and other programs
LEAST_WEIGHTS = 2**16  # of a layer; smaller ones stay in the CPU's cache anyway
# oneDNN compiles a product for each number of rows, and rows leave one by one: a few lines of zeros are cheaper
ROW_STEP, PADDED_ROWS = 4, 64


@dataclass(frozen=True)
class PackedLayer:
    """A linear layer, its packed weight, and what tells whether the weight is still the one that was packed."""

    layer: Any  # a torch module
    weight: Any  # the layer's parameter
    packed: Any  # a tensor in an order of oneDNN's own
    state: tuple[int, int]  # of the parameter when it was packed

    @property
    def is_current(self) -> bool:
        """Whether the layer's weight is as it was when it was packed."""
        return self.layer.weight is self.weight and _state(self.weight) == self.state


class PackedWeights:
    """The packed layers of a model; they do the layers' products inside `in_use`, and outside of it nothing is changed."""

    def __init__(self, layers: Sequence[PackedLayer] = ()):
        self.layers = list(layers)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the packed weights do the products; a layer whose weight has changed since works with its own."""
        self.layers = [one for one in self.layers if one.is_current]
        try:
            for one in self.layers:
                # an instance's own `forward` comes before its class's, and hooks run as ever
                one.layer.__dict__["forward"] = _product(one.packed, one.layer.bias)
            yield
        finally:
            for one in self.layers:
                one.layer.__dict__.pop("forward", None)

    def release(self, model) -> None:
        """Give back the memory of the weights that are packed, but for those that an embedding of the model reads.

        From then on the model works inside `in_use` alone.
        """
        import torch

        read = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
        for place, one in enumerate(self.layers):
            if id(one.weight) not in read:
                one.layer.weight = torch.nn.Parameter(one.weight.new_empty(0), requires_grad=False)
                self.layers[place] = replace(one, weight=one.layer.weight, state=_state(one.layer.weight))


def pack(model, beside: Sequence[PackedWeights] = ()) -> PackedWeights:
    """Return the packed weights of a model's linear layers; none where that would not help, or memory is short.

    beside: of other models; a weight that is theirs too, as the head of two models with one embedding, is packed once.
    """
    import torch

    layers = _layers(model) if can_pack() else []
    known = {id(one.weight): one for packed in beside for one in packed.layers if one.is_current}
    fresh = {id(layer.weight): layer.weight for layer in layers if id(layer.weight) not in known}
    needed = sum(weight.numel() * weight.element_size() for weight in fresh.values())
    if not layers or needed > MEMORY_SHARE * unused_gib("cpu") * GIB:
        return PackedWeights()
    packed = {identity: one.packed for identity, one in known.items()}
    try:
        with torch.inference_mode():
            for identity, weight in fresh.items():
                packed[identity] = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return PackedWeights()  # of a limit that the system's figures do not show
    return PackedWeights([PackedLayer(one, one.weight, packed[id(one.weight)], _state(one.weight)) for one in layers])


def can_pack() -> bool:
    """Return whether this torch on this CPU multiplies by packed bfloat16 weights.

    The two operators are those that torch's own compiler emits; they are not documented, so a torch without them is one
    that does not pack.
    """
    import torch

    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    operators = torch.ops.mkldnn
    if not all(hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise")):
        return False
    try:
        with torch.inference_mode():
            weight, rows = torch.ones(16, 16, dtype=torch.bfloat16), torch.ones(2, 16, dtype=torch.bfloat16)
            said = _product(operators._reorder_linear_weight(weight, None), None)(rows)
        return bool((said == 16).all())
    except (RuntimeError, TypeError):  # no bfloat16 on this CPU, or operators with other arguments
        return False


def _layers(model) -> list:
    """Return the plain linear layers with large bfloat16 weights on the CPU; those of 4 bits are no plain ones."""
    import torch

    return [
        module
        for module in model.modules()
        if type(module) is torch.nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.bfloat16
        and module.weight.numel() >= LEAST_WEIGHTS
        and "forward" not in module.__dict__  # somebody else's, such as a hook of accelerate
    ]


def _state(weight) -> tuple[int, int]:
    """Return what changes with a weight: where it lies, and how often it was written in place."""
    return weight.data_ptr(), 0 if weight.is_inference() else weight._version


def _product(packed, bias) -> Callable:
    """Return the forward pass of a linear layer with a packed weight."""
    import torch

    product, pad = torch.ops.mkldnn._linear_pointwise, torch.nn.functional.pad

    def forward(states):
        rows = states.numel() // states.shape[-1]
        missing = -rows % ROW_STEP if 1 < rows <= PADDED_ROWS else 0
        if not missing:
            return product(states, packed, bias, "none", [], "")
        lines = pad(states.reshape(rows, -1), (0, 0, 0, missing))
        return product(lines, packed, bias, "none", [], "")[:rows].reshape(*states.shape[:-1], -1)

    return forward
