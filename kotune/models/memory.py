"""The memory of a training run by part, from the shapes of models, before any weights load.

Works on plain numbers; `kotune.training.estimate` fills them in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from kotune.recipes import Recipe
from utils import CourseError

GIB = 2**30
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
# NF4: 4 bits a weight, a scale of 8 bits for each 64, and of 32 bits for each 64 x 256 (double quantisation; Dettmers et
# al. 2023, arXiv 2305.14314, section 3). Without the second it would be 4.5.
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
# Measured: python, torch, transformers, trl, peft and a tokenizer of 262,144 entries take 0.8 GiB, a notebook's own
# libraries 0.2, and the allocator keeps about half a GiB of freed blocks.
CPU_OVERHEAD_GIB = 1.5
CUDA_OVERHEAD_GIB = 1.0  # context, kernels and cuBLAS workspaces, and blocks between allocations
# Logits that the course's loss (`losses.py`) holds at a time, in the head's dtype and in float32: on a CPU so few that they
# stay in its cache, on a GPU so many that it is kept busy.
HEAD_LOGITS = {"cpu": 2**20, "cuda": 2**24}
SMALLEST_PART, LARGEST_PART = 256, 16_384


def head_logits(device: str) -> int:
    """Return how many logits stand in memory at a time: tokens by rows of the head."""
    return HEAD_LOGITS["cpu" if device == "cpu" else "cuda"]


def head_part(tokens: int, device: str) -> int:
    """Return how many rows of the head so many tokens pass through at a time: a power of two."""
    fitting = head_logits(device) // max(1, tokens)
    return 2 ** (min(max(fitting, SMALLEST_PART), LARGEST_PART).bit_length() - 1)


@dataclass(frozen=True)
class ModelShape:
    """What of a decoder's configuration its memory and its time depend on."""

    kind: str  # transformers' model_type
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool  # the head is the embedding
    norms: int = 2  # a layer
    qk_norm: bool = False

    @classmethod
    def from_config(cls, config) -> ModelShape:
        """Return the shape of a transformers configuration.

        Raises:
            CourseError: it is no decoder of attention and gated feed-forward layers.
        """
        try:
            heads = config.num_attention_heads
            return cls(
                kind=config.model_type,
                hidden=config.hidden_size,
                layers=config.num_hidden_layers,
                heads=heads,
                kv_heads=getattr(config, "num_key_value_heads", None) or heads,
                head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
                intermediate=config.intermediate_size,
                vocabulary=config.vocab_size,
                tied=config.tie_word_embeddings,
                norms=4 if config.model_type.startswith("gemma3") else 2,
                qk_norm=config.model_type.startswith(("gemma3", "qwen3")),
            )
        except AttributeError as error:
            kind = getattr(config, "model_type", "?")
            raise CourseError(f"The model is a {kind}, which is no decoder that the course can train ({error}).") from None

    def projections(self) -> dict[str, tuple[int, int]]:
        """Return (inputs, outputs) of each linear layer of a decoder layer."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, key),
            "v_proj": (self.hidden, key),
            "o_proj": (query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of all decoder layers' linear layers: what NF4 quantises."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.projections().values())

    @property
    def other_parameters(self) -> int:
        """Embedding, head and norms."""
        norms = self.layers * (self.norms * self.hidden + 2 * self.head_dim * self.qk_norm) + self.hidden
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + norms

    def adapter_parameters(self, rank: int, targets: Sequence[str]) -> int:
        """Return the weights of LoRA adapters on these layers: A (rank, inputs) and B (outputs, rank) each."""
        shapes = self.projections()
        unknown = [name for name in targets if name not in shapes]
        if unknown:
            raise CourseError(f"target_modules has {', '.join(unknown)}; an estimate knows {', '.join(shapes)}.")
        return self.layers * rank * sum(sum(shapes[name]) for name in targets)


# The models of the recipes, so that an estimate needs no hub.
SHAPES = {
    "gemma-3-270m": ModelShape("gemma3_text", 640, 18, 4, 1, 256, 2048, 262_144, True, norms=4, qk_norm=True),
    "google/gemma-2b-it": ModelShape("gemma", 2048, 18, 8, 1, 256, 16_384, 256_000, True),
    "meta-llama/Meta-Llama-3-8B": ModelShape("llama", 4096, 32, 32, 8, 128, 14_336, 128_256, False),
    "meta-llama/Llama-3.1-8B": ModelShape("llama", 4096, 32, 32, 8, 128, 14_336, 128_256, False),
    "meta-llama/Llama-2-7b-chat-hf": ModelShape("llama", 4096, 32, 32, 32, 128, 11_008, 32_000, False),
    "upstage/SOLAR-10.7B-v1.0": ModelShape("llama", 4096, 48, 32, 8, 128, 14_336, 32_000, False),
}


# --- data ------------------------------------------------------------------------------------


# --- memory ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """Peak memory of a training process in GiB, by part."""

    weights: float
    adapter: float  # with its gradient
    optimiser: float
    activations: float
    logits: float  # workspace of the head
    overhead: float  # libraries, and what the allocator keeps

    @property
    def total(self) -> float:
        """All parts together."""
        return sum(getattr(self, part.name) for part in fields(self))


def weights_gib(shape: ModelShape, recipe: Recipe) -> float:
    """Return what the frozen model takes: with NF4, embedding, head and norms stay in the recipe's dtype."""
    size = BYTES[recipe.dtype]
    linear = shape.linear_parameters * (NF4_BITS / 8 if recipe.quantization == "nf4" else size)
    return (linear + shape.other_parameters * size) / GIB


def activation_bytes(shape: ModelShape, dtype: str, *, lean: bool = False, row: float = 0) -> float:
    """Return what one token leaves in one decoder layer for the backward pass under LoRA.

    Counted with `torch.autograd.graph.saved_tensors_hooks` on Gemma, Gemma 3 and Llama: five tensors as wide as the
    hidden state, three as the queries, keys and values, four as the feed-forward layer; and where the weights have 16 bits,
    the input of each norm in float32. Lean (`training.lean`), in rows of `row` tokens: the input and output of each norm of
    the hidden state once, in its own dtype, and the attention weights of each head.
    """
    size, query, key = BYTES[dtype], shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if lean:
        attention = (2 + shape.qk_norm) * (query + key) + shape.heads * row
        return size * ((2 + shape.norms) * shape.hidden + attention + 4 * shape.intermediate)
    wide = size * (5 * shape.hidden + 3 * query + 2 * key + 4 * shape.intermediate)
    norms = 4 * shape.norms * shape.hidden if size == 2 else 0
    return wide + norms + 4 * shape.qk_norm * (query + key)


def memory(shape: ModelShape, recipe: Recipe, *, rows: int, width: float, stage: str, lean: bool = False) -> Memory:
    """Return the peak memory of a stage whose widest batch has so many rows of so many tokens.

    On a GPU, activations are recomputed: each layer keeps its input alone, and one layer at a time all that it needs.
    lean: what `training.lean.is_lean` says of the recipe and the model.
    """
    size, tokens = BYTES[recipe.dtype], math.ceil(rows * width)
    parameters = shape.adapter_parameters(recipe.lora_r, recipe.target_modules)
    state = 2 if "8bit" in recipe.optimizer else 8  # two moments of 8 or 32 bits
    layer = tokens * activation_bytes(shape, recipe.dtype, lean=lean, row=width)
    if recipe.device == "cuda":
        activations = shape.layers * tokens * shape.hidden * size + 1.5 * layer
    else:
        activations = (shape.layers + 1) * layer
    if recipe.quantization == "nf4":  # the largest matrix stands in 16 bits while it is used
        activations += size * max(inputs * outputs for inputs, outputs in shape.projections().values())
    # logits in the head's dtype and in float32, and each token's sum of head rows in float32
    logits = 0.0 if stage == "reward" else head_logits(recipe.device) * (size + 4) + tokens * shape.hidden * 4
    return Memory(
        weights=weights_gib(shape, recipe),
        adapter=parameters * 8 / GIB,
        optimiser=parameters * state / GIB,
        activations=activations / GIB,
        logits=logits / GIB,
        overhead=CPU_OVERHEAD_GIB if recipe.device == "cpu" else CUDA_OVERHEAD_GIB,
    )


# --- time ------------------------------------------------------------------------------------


# --- the report ------------------------------------------------------------------------------
