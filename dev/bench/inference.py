"""Batch inference beside row by row: the same rows, model and machine; adapter merged, adapter on, and as it comes.

    python dev/bench/inference.py        (part of `make bench`; about ten minutes on two CPU cores)

Gemma 3 270M with the SFT adapter that the course ships, greedy. Row by row is a loop over `generate` with one prompt each,
in the same code (so with the course's remedy for frozen weights), and once more without that remedy, as transformers comes.
Each side runs in a process of its own. Writes dev/bench/results/inference.json.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about, hand_over, measured, peak_gib
from kotune.answering.engines import CPU_ROWS
from kotune.data import registry
from kotune.models import adapters, loading
from kotune.models.chat_template import render
from kotune.models.decoding import decode
from kotune.models.machine import choose
from kotune.models.sampling import Sampling
from kotune.recipes import RECIPES
from utils import ASSETS, ROOT, write_json

ROWS = 40
# side: (adapter on top?, rows at once, the remedy for frozen weights?)
SIDES = {
    "merged_batched": (False, CPU_ROWS, True),
    "merged_row_by_row": (False, 1, True),
    "adapter_on_batched": (True, CPU_ROWS, True),
    "adapter_on_row_by_row": (True, 1, True),
    "merged_row_by_row_as_it_comes": (False, 1, False),
}


def run(side: str) -> dict:
    """Answer the rows and return seconds, tokens per second and peak memory."""
    on_top, rows, remedy = SIDES[side]
    recipe = choose(next(iter(RECIPES))).recipe
    tokenizer, model = loading.load_tokenizer(recipe.model), loading.load_model(recipe)
    model = (adapters.load_adapter if on_top else adapters.merge_adapter)(model, ASSETS / "sft")
    model.requires_grad_(False)
    if not remedy:
        model.get_output_embeddings()._forward_pre_hooks.clear()
    records = [registry.from_question(row) for row in registry.load_rows("real_estate_evaluation")[:ROWS]]
    prompts = [render(tokenizer, prompt).ids for prompt in records]
    sampling = Sampling(max_tokens=recipe.max_new_tokens)
    list(decode(model, tokenizer, prompts[:1], replace(sampling, max_tokens=2), 1))  # the first call compiles kernels
    started = time.perf_counter()
    answers = [answer for batch in decode(model, tokenizer, prompts, sampling, rows) for _, answer in batch]
    seconds = time.perf_counter() - started
    tokens = sum(answer.tokens for answer in answers)
    return {
        "rows": len(prompts), "rows_at_once": rows, "seconds": round(seconds, 1), "tokens": tokens,
        "tokens_per_s": round(tokens / seconds, 1), "rows_per_s": round(len(prompts) / seconds, 2),
        "peak_gib": peak_gib(),
    }  # fmt: skip


def main() -> None:
    """Measure, print and store; `--side` is what a process of its own runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", choices=SIDES)
    side = parser.parse_args().side
    if side:
        hand_over(run(side))
        return
    sides = {name: measured(__file__, name) for name in SIDES}
    times = {
        f"{kind}_times_as_fast": round(sides[f"{kind}_batched"]["rows_per_s"] / sides[f"{kind}_row_by_row"]["rows_per_s"], 2)
        for kind in ("merged", "adapter_on")
    }
    found = {**about(("torch", "transformers", "peft")), **sides, **times}
    write_json(ROOT / "dev" / "bench" / "results" / "inference.json", found)
    print(json.dumps(times, indent=2))


if __name__ == "__main__":
    main()
