"""How many prompts with their replies a device's free memory holds at once."""

from __future__ import annotations

from kotune.models.machine import free_gib
from kotune.models.memory import BYTES, GIB, ModelShape
from kotune.models.sampling import Sampling
from utils import CourseError

MEMORY_SHARE = 0.5  # of what is free; the rest is for what the estimate does not see
LOGIT_COPIES = 3  # float32 scores of the next token, and what the processors make of them


def row_bytes(model, width: int, sampling: Sampling) -> int:
    """Return the memory that one prompt of `width` tokens takes with its reply."""
    shape = ModelShape.from_config(model.config.get_text_config())
    size = BYTES.get(str(model.dtype).removeprefix("torch."), 4)
    cached = 2 * shape.layers * shape.kv_heads * shape.head_dim * size * (width + sampling.max_tokens)
    # one layer at a time: its states, and what each token sees of each other, where no kernel avoids to write that down
    passing = width * (4 * shape.hidden + 3 * shape.intermediate + shape.heads * width) * size
    return sampling.beam_width * (cached + passing + 4 * LOGIT_COPIES * shape.vocabulary)


def rows_that_fit(model, width: int, sampling: Sampling) -> int:
    """Return how many prompts of `width` tokens, with their replies, the device's free memory holds at once.

    Raises:
        CourseError: not even one; on a CPU the system would end the process without a word.
    """
    free, row = free_gib(model.device.type) * GIB, row_bytes(model, width, sampling)
    if row > free:
        raise CourseError(
            f"A prompt of {width:,} tokens with a reply of up to {sampling.max_tokens:,} takes {row / GIB:.1f} GiB and "
            f"{free / GIB:.1f} are free; shorten it, lower max_tokens, or choose a smaller model."
        )
    return max(1, int(MEMORY_SHARE * free / row))


def fewer_rows(model, rows: int, width: int, sampling: Sampling) -> int:
    """Return how many rows to go on with after memory ran out with so many, the widest prompt of `width` tokens.

    Raises:
        CourseError: it ran out with one.
    """
    if rows == 1:
        raise CourseError(
            f"Memory ran out with one prompt of {width} tokens and a reply of up to {sampling.max_tokens}; shorten "
            "it, lower max_tokens, or choose a smaller model."
        )
    _free_memory(model)
    print(f"memory ran out with {rows} rows at once; going on with {rows // 2}")
    return rows // 2


def _free_memory(model) -> None:
    import torch

    if model.device.type == "cuda":
        torch.cuda.empty_cache()
