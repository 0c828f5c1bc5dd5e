"""Batched generation with a model in memory.

Cost of import: pydantic (through prompts); torch comes with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from progress import bar
from prompts import Message, render, stop_ids
from recipes import Recipe


@dataclass(frozen=True)
class Answer:
    """One generated reply: its text, its tokens, and whether it ended by itself or was cut at the limit."""

    text: str
    tokens: int
    ended: bool


def generate(
    model, tokenizer, prompts: Sequence[Sequence[Message]], recipe: Recipe, label: str = "answers"
) -> list[Answer]:
    """Answer every prompt greedily, in batches sorted by length, and return the answers in the prompts' order.

    Prompts go through the renderer of training; the reply is what follows the prompt's tokens, sliced by token
    count and never by a marker in the text.
    """
    import torch

    rendered = [render(tokenizer, prompt).ids for prompt in prompts]
    by_length = sorted(range(len(rendered)), key=lambda i: len(rendered[i]))
    ends = stop_ids(tokenizer)
    answers: list[Answer | None] = [None] * len(rendered)
    with torch.inference_mode(), bar(len(rendered), label, "answer") as shown:
        for start in range(0, len(by_length), recipe.generation_batch):
            chosen = by_length[start : start + recipe.generation_batch]
            batch = tokenizer.pad(
                {"input_ids": [rendered[i] for i in chosen]}, padding_side="left", return_tensors="pt"
            ).to(model.device)
            width = batch["input_ids"].shape[1]
            output = model.generate(
                **batch,
                max_new_tokens=recipe.max_new_tokens,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=tokenizer.pad_token_id,
            )
            for i, tokens in zip(chosen, output[:, width:].tolist(), strict=True):
                answers[i] = _answer(tokenizer, tokens, ends)
            shown.update(len(chosen))
    return answers


def _answer(tokenizer, tokens: list[int], ends: list[int]) -> Answer:
    stop = next((i for i, token in enumerate(tokens) if token in ends), None)
    said = tokens if stop is None else tokens[:stop]
    return Answer(tokenizer.decode(said, skip_special_tokens=True).strip(), len(said), stop is not None)
