"""Batch inference beside row by row: the same rows, model and machine; adapter merged, adapter on, and as it comes.

    python dev/bench/inference.py                (part of `make bench`; about fifteen minutes on two CPU cores)
    python dev/bench/inference.py --sides merged_batched merged_padded        (these alone; nothing is written)

Gemma 3 270M with the SFT adapter that the course ships, greedy. The peers are transformers' `generate`, as the course called
it before it had rounds: with one prompt each (row by row), and with batches that are padded on the left and last as long as
their longest reply (padded). Both with the course's remedy for frozen weights, and row by row once more without it, as
transformers comes. The rounds are measured with packed weights and without, and with twice the rows.

Each side runs in a process of its own. `same_as_row_by_row` counts replies that are the same token for token: in bfloat16
the width of a batch may change a tie. Writes dev/bench/results/inference.json.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about, hand_over, measured, peak_gib
from kotune.answering.engines import CPU_ROWS
from kotune.data import registry
from kotune.models import adapters, decoding, loading
from kotune.models.chat_template import render, stop_ids
from kotune.models.machine import choose
from kotune.models.packing import PackedWeights
from kotune.models.sampling import Sampling
from kotune.recipes import RECIPES
from utils import ASSETS, ROOT, write_json

ROWS = 40


@dataclass(frozen=True)
class Side:
    """One way to answer the rows."""

    adapter_on: bool = False  # on top of the weights, else merged into them
    rounds: bool = True  # the course's own, else transformers' generate
    rows: int = CPU_ROWS  # at once
    packed: bool = True  # the weights, where rounds run
    remedy: bool = True  # against the slow head of frozen weights


SIDES = {
    "merged_batched": Side(),
    "merged_batched_unpacked": Side(packed=False),
    "merged_batched_twice_the_rows": Side(rows=2 * CPU_ROWS),
    "merged_padded": Side(rounds=False),
    "merged_row_by_row": Side(rounds=False, rows=1),
    "adapter_on_batched": Side(adapter_on=True),
    "adapter_on_padded": Side(adapter_on=True, rounds=False),
    "adapter_on_row_by_row": Side(adapter_on=True, rounds=False, rows=1),
    "merged_row_by_row_as_it_comes": Side(rounds=False, rows=1, remedy=False),
}


def by_generate(model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, rows: int) -> list[list[int]]:
    """Return the replies' tokens as transformers' generate writes them, in padded batches, the longest prompts first."""
    import torch

    ends, said = set(stop_ids(tokenizer)), {}
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        padded = tokenizer.pad({"input_ids": [prompts[i] for i in chosen]}, padding_side="left", return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                **padded, max_new_tokens=sampling.max_tokens, do_sample=False, eos_token_id=list(ends),
                pad_token_id=tokenizer.pad_token_id,
            )  # fmt: skip
        for place, tokens in zip(chosen, output[:, padded["input_ids"].shape[1] :].tolist(), strict=True):
            length = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
            said[place] = tokens[:length]
    return [said[place] for place in range(len(prompts))]


def by_rounds(model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, rows: int) -> list[list[int]]:
    """Return the replies' tokens as the course's own rounds write them."""
    ended = [one for some in decoding.replies(model, tokenizer, prompts, sampling, rows) for one in some]
    return [tokens for _, tokens, _ in sorted(ended)]


def run(side: Side) -> dict:
    """Answer the rows and return seconds, tokens per second, peak memory, and a hash of each reply."""
    recipe = choose(next(iter(RECIPES))).recipe
    tokenizer, model = loading.load_tokenizer(recipe.model), loading.load_model(recipe)
    model = (adapters.load_adapter if side.adapter_on else adapters.merge_adapter)(model, ASSETS / "sft")
    model.requires_grad_(False)
    if not side.remedy:
        model.get_output_embeddings()._forward_pre_hooks.clear()
    if not side.packed:
        decoding.pack = lambda _: PackedWeights()
    answer = by_rounds if side.rounds else by_generate
    records = [registry.from_question(row) for row in registry.load_rows("real_estate_evaluation")[:ROWS]]
    prompts = [render(tokenizer, prompt).ids for prompt in records]
    answer(model, tokenizer, prompts[:1], Sampling(max_tokens=2), 1)  # the first call compiles kernels
    started = time.perf_counter()
    said = answer(model, tokenizer, prompts, Sampling(max_tokens=recipe.max_new_tokens), side.rows)
    seconds = time.perf_counter() - started
    tokens = sum(map(len, said))
    return {
        "rows": len(prompts), "rows_at_once": side.rows, "seconds": round(seconds, 1), "tokens": tokens,
        "tokens_per_s": round(tokens / seconds, 1), "rows_per_s": round(len(prompts) / seconds, 2),
        "peak_gib": peak_gib(), "replies": [sha256(str(tokens).encode()).hexdigest()[:12] for tokens in said],
    }  # fmt: skip


def times(sides: dict[str, dict], name: str, beside: str) -> float | None:
    """Return how many times as fast a side was as another; None where one of them did not run."""
    if name not in sides or beside not in sides:
        return None
    return round(sides[beside]["seconds"] / sides[name]["seconds"], 2)


def compared(sides: dict[str, dict]) -> dict[str, float]:
    """Return how many times as fast the rounds were as each peer."""
    found = {
        "merged_times_as_fast": times(sides, "merged_batched", "merged_row_by_row"),
        "adapter_on_times_as_fast": times(sides, "adapter_on_batched", "adapter_on_row_by_row"),
        "merged_times_padded": times(sides, "merged_batched", "merged_padded"),
        "adapter_on_times_padded": times(sides, "adapter_on_batched", "adapter_on_padded"),
        "merged_times_unpacked": times(sides, "merged_batched", "merged_batched_unpacked"),
        "twice_the_rows_times_as_fast": times(sides, "merged_batched_twice_the_rows", "merged_row_by_row"),
    }
    return {name: value for name, value in found.items() if value is not None}


def count_same(sides: dict[str, dict]) -> None:
    """Put into each side how many replies are those of row by row, and take the hashes out."""
    for name, side in sides.items():
        alone = sides.get("adapter_on_row_by_row" if SIDES[name].adapter_on else "merged_row_by_row")
        if alone is not None and alone is not side:
            side["same_as_row_by_row"] = sum(map(str.__eq__, side["replies"], alone["replies"]))
    for side in sides.values():
        del side["replies"]


def main() -> None:
    """Measure, print and store; `--side` is what a process of its own runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("--sides", choices=SIDES, nargs="+", default=list(SIDES))
    chosen = parser.parse_args()
    if chosen.side:
        hand_over(run(SIDES[chosen.side]))
        return
    sides = {name: measured(__file__, name) for name in chosen.sides}
    speeds = compared(sides)
    count_same(sides)
    if set(sides) == set(SIDES):
        found = {**about(("torch", "transformers", "peft")), **sides, **speeds}
        write_json(ROOT / "dev" / "bench" / "results" / "inference.json", found)
    print(json.dumps({**sides, **speeds}, indent=2))


if __name__ == "__main__":
    main()
