"""Batched decoding with a model in memory: prompts sorted by length, padded on the left, batches sized to memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from kotune.models.chat_template import render, stop_ids
from kotune.models.loading import is_out_of_memory
from kotune.models.machine import Recipe, free_gib
from kotune.models.memory import BYTES, GIB, ModelShape
from kotune.progress import bar
from prompts import Message
from utils import CourseError

MEMORY_SHARE = 0.5  # of what is free; the rest is for what the estimate does not see
LOGIT_COPIES = 3  # float32 scores of the next token, and what the processors make of them


@dataclass(frozen=True)
class Answer:
    """One generated reply: its text, its tokens, and whether it ended by itself or was cut at the limit."""

    text: str
    tokens: int
    ended: bool


@dataclass(frozen=True)
class Decoding:
    """How replies are decoded; greedy by default. The names and meanings are vLLM's, `beam_width` 1 being no beam search.

    top_k: 0 for all. repetition_penalty divides the scores of tokens that the prompt or the reply holds (arXiv 1909.05858);
    presence and frequency penalties are subtracted for those of the reply, once or for each time. length_penalty is the
    exponent of the length that a beam's log-probability is divided by.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    beam_width: int = 1
    length_penalty: float = 1.0
    seed: int | None = None

    def require_sound(self) -> None:
        """Raise a CourseError for a value out of range, or one that would have no effect beside the others."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                upper = "" if high == inf else f" to {high:g}"
                raise CourseError(f"{name} is {value:g}; it may be {low:g}{upper}{' or more' if high == inf else ''}.")
        if self.beam_width > 1 and self.temperature > 0:
            raise CourseError("Beam search draws nothing; leave temperature at 0, or beam_width at 1.")
        idle = [name for name in ("top_p", "top_k", "min_p", "seed") if getattr(self, name) != getattr(Decoding, name)]
        if self.temperature == 0 and idle:
            raise CourseError(f"{idle[0]} has no effect on greedy decoding; set a temperature above 0, or leave it out.")
        if self.beam_width == 1 and self.length_penalty != 1:
            raise CourseError("length_penalty weighs beams; set beam_width above 1, or leave it out.")


RANGES = {
    "max_tokens": (1, inf), "temperature": (0, 2), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2),
    "repetition_penalty": (0.01, inf), "top_p": (1e-6, 1), "top_k": (0, inf), "min_p": (0, 1), "beam_width": (1, 64),
    "length_penalty": (-10, 10),
}  # fmt: skip


def generate(model, tokenizer, prompts: Sequence[Sequence[Message]], recipe: Recipe, label: str = "answers") -> list[Answer]:
    """Answer every prompt greedily within the recipe's limits and return the answers in the prompts' order.

    Prompts go through the renderer of training.
    """
    rendered = [render(tokenizer, prompt).ids for prompt in prompts]
    answers: list[Answer | None] = [None] * len(rendered)
    decoding = Decoding(max_tokens=recipe.max_new_tokens)
    with bar(len(rendered), label, "answer") as shown:
        for batch in decode(model, tokenizer, rendered, decoding, recipe.generation_batch):
            for i, answer in batch:
                answers[i] = answer
            shown.update(len(batch))
    return answers


def decode(
    model, tokenizer, prompts: Sequence[Sequence[int]], decoding: Decoding, max_rows: int
) -> Iterator[list[tuple[int, Answer]]]:
    """Yield the (index, Answer)s of one batch after the other, the longest prompts first.

    prompts: token ids, (prompts, tokens). Batches have as many rows as fit into memory, `max_rows` at most; one that does
    not fit after all is halved, and so are those after it. A reply is what follows the prompt's tokens, sliced by count
    and never by a marker in the text.

    Raises:
        CourseError: not even one prompt with its reply fits into memory.
    """
    ends = stop_ids(tokenizer)
    # what does not fit shows in the first batch, and not after an hour
    waiting = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    while waiting:
        width = len(prompts[waiting[0]])
        chosen = waiting[: min(max_rows, rows_that_fit(model, width, decoding))]
        try:
            replies = decode_tokens(model, tokenizer, [prompts[i] for i in chosen], decoding, seed_shift=len(waiting))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(chosen) == 1:
                raise CourseError(
                    f"Memory ran out with one prompt of {width} tokens and a reply of up to {decoding.max_tokens}; shorten "
                    "it, lower max_tokens, or choose a smaller model."
                ) from None
            max_rows = len(chosen) // 2
            _free_memory(model)
            print(f"memory ran out with {len(chosen)} rows at once; going on with {max_rows}")
            continue
        waiting = waiting[len(chosen) :]
        yield [(i, read_reply(tokenizer, tokens, ends)) for i, tokens in zip(chosen, replies, strict=True)]


def row_bytes(model, width: int, decoding: Decoding) -> int:
    """Return the memory that one prompt of `width` tokens takes with its reply."""
    shape = ModelShape.from_config(model.config.get_text_config())
    size = BYTES.get(str(model.dtype).removeprefix("torch."), 4)
    cached = 2 * shape.layers * shape.kv_heads * shape.head_dim * size * (width + decoding.max_tokens)
    # one layer at a time: its states, and what each token sees of each other, where no kernel avoids to write that down
    passing = width * (4 * shape.hidden + 3 * shape.intermediate + shape.heads * width) * size
    return decoding.beam_width * (cached + passing + 4 * LOGIT_COPIES * shape.vocabulary)


def rows_that_fit(model, width: int, decoding: Decoding) -> int:
    """Return how many prompts of `width` tokens, with their replies, the device's free memory holds at once.

    Raises:
        CourseError: not even one; on a CPU the system would end the process without a word.
    """
    free, row = free_gib(model.device.type) * GIB, row_bytes(model, width, decoding)
    if row > free:
        raise CourseError(
            f"A prompt of {width:,} tokens with a reply of up to {decoding.max_tokens:,} takes {row / GIB:.1f} GiB and "
            f"{free / GIB:.1f} are free; shorten it, lower max_tokens, or choose a smaller model."
        )
    return max(1, int(MEMORY_SHARE * free / row))


def _free_memory(model) -> None:
    import torch

    if model.device.type == "cuda":
        torch.cuda.empty_cache()


def generation_arguments(decoding: Decoding) -> dict:
    """Return what `generate` of transformers takes for these settings; the penalties are a logits processor."""
    arguments = {"max_new_tokens": decoding.max_tokens, "do_sample": decoding.temperature > 0}
    if decoding.repetition_penalty != 1:
        arguments["repetition_penalty"] = decoding.repetition_penalty
    if decoding.temperature > 0:
        arguments |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
        if decoding.min_p:
            arguments["min_p"] = decoding.min_p
    if decoding.beam_width > 1:
        arguments |= {"num_beams": decoding.beam_width, "length_penalty": decoding.length_penalty, "early_stopping": False}
    return arguments


def penalties(decoding: Decoding, width: int) -> list:
    """Return the logits processors that transformers lacks: presence and frequency penalties on the reply's tokens."""
    if decoding.presence_penalty == 0 and decoding.frequency_penalty == 0:
        return []
    import torch

    def penalise(input_ids, scores):  # (rows, tokens), (rows, vocabulary)
        reply = input_ids[:, width:]
        counts = torch.zeros_like(scores).scatter_add_(1, reply, torch.ones_like(reply, dtype=scores.dtype))
        return scores - decoding.presence_penalty * (counts > 0) - decoding.frequency_penalty * counts

    return [penalise]


def decode_tokens(
    model, tokenizer, prompts: Sequence[Sequence[int]], decoding: Decoding, *, seed_shift: int = 0, streamer=None
) -> list[list[int]]:
    """Return the tokens that follow each prompt of one batch, up to the batch's end, end tokens and padding included.

    seed_shift: added to the seed, so that the batches of one run differ and those of two runs do not. streamer: one of
    transformers', which gets the tokens of a single prompt as they are chosen.
    """
    import torch
    from transformers import LogitsProcessorList

    batch = tokenizer.pad({"input_ids": [list(ids) for ids in prompts]}, padding_side="left", return_tensors="pt")
    width = batch["input_ids"].shape[1]
    if decoding.seed is not None:
        torch.manual_seed(decoding.seed + seed_shift)
    with torch.inference_mode():
        output = model.generate(
            **batch.to(model.device),
            **generation_arguments(decoding),
            logits_processor=LogitsProcessorList(penalties(decoding, width)),
            eos_token_id=stop_ids(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            streamer=streamer,
        )
    return output[:, width:].tolist()


def until_end(tokens: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Return generated tokens up to the first end token."""
    stop = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    return list(tokens[:stop])


def read_reply(tokenizer, tokens: Sequence[int], ends: Sequence[int]) -> Answer:
    """Return the reply that generated tokens stand for, up to the first end token."""
    said = until_end(tokens, ends)
    return Answer(tokenizer.decode(said, skip_special_tokens=True).strip(), len(said), len(said) < len(tokens))
