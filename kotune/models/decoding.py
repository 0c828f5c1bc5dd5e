"""Batched decoding with a model in memory: prompts sorted by length, padded on the left, batches sized to memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from kotune.models.chat_template import render, stop_ids
from kotune.models.loading import is_out_of_memory
from kotune.models.machine import Recipe, free_gib
from kotune.models.memory import BYTES, GIB, ModelShape
from kotune.models.sampling import Sampling, draw, penalise
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


def generate(model, tokenizer, prompts: Sequence[Sequence[Message]], recipe: Recipe, label: str = "answers") -> list[Answer]:
    """Answer every prompt greedily within the recipe's limits and return the answers in the prompts' order.

    Prompts go through the renderer of training.
    """
    rendered = [render(tokenizer, prompt).ids for prompt in prompts]
    answers: dict[int, Answer] = {}
    sampling = Sampling(max_tokens=recipe.max_new_tokens)
    with bar(len(rendered), label, "answer") as shown:
        for batch in decode(model, tokenizer, rendered, sampling, recipe.generation_batch):
            for i, answer in batch:
                answers[i] = answer
            shown.update(len(batch))
    return [answers[i] for i in range(len(rendered))]


def stream(model, tokenizer, prompt: Sequence[Message], recipe: Recipe) -> Answer:
    """Answer one prompt greedily within the recipe's limit, printing the reply as it is written; return the answer."""
    from transformers import TextStreamer

    rendered, ends = render(tokenizer, prompt).ids, stop_ids(tokenizer)
    shown = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    tokens = decode_tokens(model, tokenizer, [rendered], Sampling(max_tokens=recipe.max_new_tokens), streamer=shown)[0]
    return read_reply(tokenizer, tokens, ends)


def decode(
    model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, max_rows: int
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
        chosen = waiting[: min(max_rows, rows_that_fit(model, width, sampling))]
        try:
            replies = decode_tokens(model, tokenizer, [prompts[i] for i in chosen], sampling, seed_shift=len(waiting))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(chosen) == 1:
                raise CourseError(
                    f"Memory ran out with one prompt of {width} tokens and a reply of up to {sampling.max_tokens}; shorten "
                    "it, lower max_tokens, or choose a smaller model."
                ) from None
            max_rows = len(chosen) // 2
            _free_memory(model)
            print(f"memory ran out with {len(chosen)} rows at once; going on with {max_rows}")
            continue
        waiting = waiting[len(chosen) :]
        yield [(i, read_reply(tokenizer, tokens, ends)) for i, tokens in zip(chosen, replies, strict=True)]


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


def _free_memory(model) -> None:
    import torch

    if model.device.type == "cuda":
        torch.cuda.empty_cache()


def generation_arguments(sampling: Sampling) -> dict:
    """Return what `generate` of transformers takes for these settings, beside the `processors`, which do the drawing."""
    arguments: dict[str, float] = {"max_new_tokens": sampling.max_tokens, "do_sample": False}
    if sampling.beam_width > 1:
        arguments |= {"num_beams": sampling.beam_width, "length_penalty": sampling.length_penalty, "early_stopping": False}
    return arguments


def processors(sampling: Sampling, width: int) -> list:
    """Return the logits processors for prompts of `width` tokens: the penalties and the draw, as the server does them.

    A drawn token is left as the only one, so that greedy decoding takes it.
    """
    chosen = []
    if sampling.penalises:
        chosen.append(lambda ids, scores: penalise(scores, sampling, ids[:, :width], ids[:, width:]))
    if sampling.temperature > 0:
        chosen.append(
            lambda _, scores: scores.new_full(scores.shape, -inf).scatter_(1, draw(scores, sampling)[:, None], 0.0)
        )
    return chosen


def decode_tokens(
    model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, *, seed_shift: int = 0, streamer=None
) -> list[list[int]]:
    """Return the tokens that follow each prompt of one batch, up to the batch's end, end tokens and padding included.

    seed_shift: added to the seed, so that the batches of one run differ and those of two runs do not. streamer: one of
    transformers', which gets the tokens of a single prompt as they are chosen.
    """
    import torch
    from transformers import LogitsProcessorList

    batch = tokenizer.pad({"input_ids": [list(ids) for ids in prompts]}, padding_side="left", return_tensors="pt")
    width = batch["input_ids"].shape[1]
    if sampling.seed is not None:
        torch.manual_seed(sampling.seed + seed_shift)
    with torch.inference_mode():
        output = model.generate(
            **batch.to(model.device),
            **generation_arguments(sampling),
            logits_processor=LogitsProcessorList(processors(sampling, width)),
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
