"""Decoding by transformers' own `generate`, in batches that are padded on the left: for what rounds cannot do.

That is beam search, and models with layers other than attention to what came before. A batch lasts as long as its longest
reply; with rounds (`decoding`) who has ended leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from math import inf

from kotune.models.chat_template import stop_ids
from kotune.models.loading import is_out_of_memory
from kotune.models.room import fewer_rows, rows_that_fit
from kotune.models.sampling import Sampling, draw, penalise


def replies(
    model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, max_rows: int
) -> Iterator[list[tuple[int, list[int], bool]]]:
    """Yield (index, the reply's tokens, whether it ended)s of one batch after the other, the longest prompts first.

    prompts: token ids, (prompts, tokens). Batches have as many rows as fit into memory, `max_rows` at most; one that does
    not fit after all is halved, and so are those after it.

    Raises:
        CourseError: not even one prompt with its reply fits into memory.
    """
    ends = set(stop_ids(tokenizer))
    # what does not fit shows in the first batch, and not after an hour
    waiting = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    while waiting:
        width = len(prompts[waiting[0]])
        chosen = waiting[: min(max_rows, rows_that_fit(model, width, sampling))]
        said = None
        try:
            said = generate_batch(model, tokenizer, [prompts[i] for i in chosen], sampling, seed_shift=len(waiting))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if said is None:  # out here, because an error holds what its frames held
            max_rows = fewer_rows(model, len(chosen), width, sampling)
            continue
        waiting = waiting[len(chosen) :]
        yield [(i, *until_end(tokens, ends)) for i, tokens in zip(chosen, said, strict=True)]


def generate_batch(
    model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, *, seed_shift: int = 0
) -> list[list[int]]:
    """Return the tokens that follow each prompt of one batch, up to the batch's end, end tokens and padding included.

    seed_shift: added to the seed, so that the batches of one run differ and those of two runs do not.
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
        )
    return output[:, width:].tolist()  # by count, and never by a marker in the text


def generation_arguments(sampling: Sampling) -> dict:
    """Return what `generate` of transformers takes for these settings, beside the `processors`, which do the drawing."""
    arguments: dict[str, float] = {"max_new_tokens": sampling.max_tokens, "do_sample": False}
    if sampling.beam_width > 1:
        arguments |= {"num_beams": sampling.beam_width, "length_penalty": sampling.length_penalty, "early_stopping": False}
    return arguments


def processors(sampling: Sampling, width: int) -> list:
    """Return the logits processors for prompts of `width` tokens: the penalties and the draw, as rounds do them.

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


def until_end(tokens: Sequence[int], ends: Collection[int]) -> tuple[list[int], bool]:
    """Return generated tokens up to the first end token, and whether there is one."""
    stop = next((i for i, token in enumerate(tokens) if token in ends), None)
    return list(tokens[:stop]), stop is not None
