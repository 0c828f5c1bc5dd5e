"""Train the adapters that take longer than a lesson has, and write down what they answer.

    python dev/train_adapters.py                    all of them (hours on two cores)
    python dev/train_adapters.py radiology          some of them

A job's training data is what the repository ships, and more from the same generator. The adapter goes to `assets/NAME`
with its run card. Then it answers the job's held-out sets, and so does the base model, without and with three solved
examples before the question; the replies go to `data/recorded/NAME_replies.jsonl`, and who gave them, when and with what
settings to `data/recorded/own_models.json`. A run that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).with_name("data")))  # the generators

from kotune import data, models, training
from kotune.korean import listings
from kotune.models import files
from kotune.models.adapters import copy_adapter
from kotune.models.decoding import decode
from kotune.models.sampling import Sampling
from kotune.recipes import Recipe
from utils import ASSETS, DATA, OUTPUTS, read_json, read_jsonl, write_json, write_jsonl

WORK = OUTPUTS / "adapters"
RECORDED = DATA / "recorded"
EXAMPLES = 3  # solved, before the question
SEED = 2026  # of what the generators add to the shipped rows


@dataclass(frozen=True)
class Job:
    """One adapter: its training rows, the sets that it is tried on, and the recipe's values that are its own."""

    rows: Callable[[], list[dict]]  # in the Alpaca format
    tried_on: tuple[str, ...]  # data sets by name
    max_new_tokens: int
    settings: dict = field(default_factory=dict)


def listings_rows() -> list[dict]:
    """Return the shipped advertisements, those written by hand (each twice: they are few), and more of the generator's."""
    generator = importlib.import_module("generate_listings")
    written = read_jsonl(DATA / "listings" / "listings_written.jsonl")
    shipped = read_jsonl(DATA / "listings" / "listings_train.jsonl")
    again = [{**row, "id": f"{row['id']}-again"} for row in written]
    return _shuffled([*shipped, *written, *again, *generator.wide_rows(WIDE_LISTINGS, SEED)])


def radiology_rows() -> list[dict]:
    """Return the shipped reports, and more of the generator's whose conclusion stands in no test."""
    generator = importlib.import_module("generate_radiology")
    return _shuffled(generator.more_rows(RADIOLOGY_REPORTS, SEED))


def reviews_rows() -> list[dict]:
    """Return the shipped film reviews, those of the first writers and those of eight more."""
    return _shuffled([row for part in ("train", "written") for row in data.load_rows(f"reviews_{part}")])


def _shuffled(rows: Iterable[dict]) -> list[dict]:
    rows = list(rows)
    random.Random(SEED).shuffle(rows)
    return rows


WIDE_LISTINGS, RADIOLOGY_REPORTS = 2400, 1440
LONG = {"lora_r": 16, "lora_alpha": 32, "epochs": 1.0, "group_by_length": True, "save_steps": 100}
JOBS = {
    "listings": Job(listings_rows, ("listings_validation", "listings_test", "listings_handwritten"), 160, LONG),
    "radiology": Job(radiology_rows, ("radiology_test",), 320, LONG),
    "reviews": Job(reviews_rows, ("reviews_test",), 12, {**LONG, "epochs": 2.0, "learning_rate": 3e-4}),
}
OWN_SAMPLES = "listings_dpo"
NAMES = (*JOBS, OWN_SAMPLES)
SAMPLES, OWN_ADVERTISEMENTS, TEMPERATURE = 4, 160, 1.0


def train(name: str) -> Path:
    """Train one job's adapter and copy it to `assets/`; return where it lies there."""
    job = JOBS[name]
    rows = WORK / f"{name}_train.jsonl"
    write_jsonl(rows, job.rows())
    result = training.sft(recipe_of(job), rows, output_dir=WORK / name)
    print(f"{name}: {result.figures['minutes']} minutes, {result.figures['steps']} steps")
    return copy_adapter(result.adapter, ASSETS / name)


def train_on_own_samples() -> None:
    """Train `listings_dpo` on pairs of the listings model's own samples, ranked by the checker, and record the pairs.

    A pair is an advertisement that no training saw, a sample that is right in every field and the one with the fewest right
    fields; where all samples are as good, or none is right, there is no pair.
    """
    job, adapter = JOBS["listings"], ASSETS / "listings"
    recipe = replace(recipe_of(job), dpo_learning_rate=5e-5, dpo_epochs=1.0)
    tokenizer = models.load_tokenizer(recipe.model)
    model = models.merge_adapter(models.load_model(recipe), adapter)
    pairs = own_pairs(model, tokenizer, recipe)
    write_jsonl(RECORDED / "listings_pairs.jsonl", pairs)
    result = training.dpo(recipe, RECORDED / "listings_pairs.jsonl", model, tokenizer, WORK / OWN_SAMPLES, parent=adapter)
    copy_adapter(result.adapter, ASSETS / OWN_SAMPLES)


def record_own_samples() -> None:
    """Answer the listings' held-out sets with the adapter of own samples, and put the replies beside the others'."""
    job = JOBS["listings"]
    recipe = recipe_of(job)
    tokenizer = models.load_tokenizer(recipe.model)
    model = models.merge_adapter(models.load_model(recipe), ASSETS / "listings")
    model = models.merge_adapter(model, ASSETS / OWN_SAMPLES)
    prompts = held_out_prompts(job)
    rows = [row for row in read_jsonl(RECORDED / "listings_replies.jsonl") if row["by"] != "DPO"]
    rows += answers("DPO", model, tokenizer, prompts, recipe)
    write_jsonl(RECORDED / "listings_replies.jsonl", rows)
    about = read_json(RECORDED / "own_models.json")
    about[OWN_SAMPLES] = {
        **about["listings"],
        "adapter": f"assets/{OWN_SAMPLES}",
        "adapter_sha256": models.adapter_hash(ASSETS / OWN_SAMPLES),
        "parent_sha256": about["listings"]["adapter_sha256"],
        "date": date.today().isoformat(),
        "pairs": f"{SAMPLES} samples of {OWN_ADVERTISEMENTS} new advertisements at temperature {TEMPERATURE}",
    }
    write_json(RECORDED / "own_models.json", about)


def own_pairs(model, tokenizer, recipe: Recipe) -> list[dict]:
    """Return preference rows of a model's own samples, with the right fields of each side."""
    generator = importlib.import_module("generate_listings")
    adverts = generator.wide_rows(OWN_ADVERTISEMENTS, SEED + 1)
    prompts = [
        row["prompt"] for row in data.load(write_jsonl(WORK / "own_advertisements.jsonl", adverts)) for _ in range(SAMPLES)
    ]
    rendered = [models.render(tokenizer, prompt).ids for prompt in prompts]
    sampling = Sampling(max_tokens=recipe.max_new_tokens, temperature=TEMPERATURE, seed=SEED)
    samples: dict[int, str] = {}
    for batch in decode(model, tokenizer, rendered, sampling, recipe.generation_batch):
        samples |= {place: answer.text for place, answer in batch}
    pairs = []
    for number, row in enumerate(adverts):
        due = listings.parse_record(row["output"])
        replies = sorted({samples[number * SAMPLES + shift] for shift in range(SAMPLES)})
        checks = {reply: listings.check_reply(reply, due) for reply in replies}
        ranked = sorted(replies, key=lambda reply: -len(checks[reply].right_fields))
        right = [len(checks[reply].right_fields) for reply in (ranked[0], ranked[-1])]
        if checks[ranked[0]].exact and right[0] > right[1]:
            pairs.append(
                {
                    "id": row["id"],
                    "prompt": f"{row['instruction']}\n\n{row['input']}",
                    "chosen": ranked[0],
                    "rejected": ranked[-1],
                    "right_fields": right,
                }
            )
    return pairs


def recipe_of(job: Job) -> Recipe:
    """Return the recipe of a job: that of a machine without a GPU, in its faster number format, with what the job sets."""
    return replace(models.choose("gemma-3-270m-cpu").recipe, max_new_tokens=job.max_new_tokens, **job.settings)


def record_replies(name: str) -> None:
    """Answer a job's held-out sets with the base model and with the adapter, and write the replies down."""
    job = JOBS[name]
    recipe, adapter = recipe_of(job), ASSETS / name
    tokenizer, base = models.load_tokenizer(recipe.model), models.load_model(recipe)
    prompts = held_out_prompts(job)
    solved = solved_turns(name)
    with_examples = {key: [*solved, *prompt] for key, prompt in prompts.items()}
    rows = answers("base", base, tokenizer, prompts, recipe)
    rows += answers("three examples", base, tokenizer, with_examples, recipe)
    rows += answers("tuned", models.load_adapter(base, adapter), tokenizer, prompts, recipe)
    write_jsonl(RECORDED / f"{name}_replies.jsonl", rows)
    about = read_json(RECORDED / "own_models.json") if (RECORDED / "own_models.json").exists() else {}
    about[name] = {
        "base": recipe.model,
        "base_gguf_sha256": files.GGUF_SHA256,
        "adapter": f"assets/{name}",
        "adapter_sha256": models.adapter_hash(adapter),
        "date": date.today().isoformat(),
        "decoding": f"greedy, at most {recipe.max_new_tokens} tokens, {recipe.dtype} on {recipe.device}",
        "examples": [turn["content"] for turn in solved],
    }
    write_json(RECORDED / "own_models.json", about)


def held_out_prompts(job: Job) -> dict[str, list[dict]]:
    """Return the prompts of a job's held-out sets by "SET ID"."""
    return {f"{each} {record['id']}": record["prompt"] for each in job.tried_on for record in data.load(each)}


def solved_turns(name: str) -> list[dict]:
    """Return three training rows as turns of a conversation, to stand before a question."""
    few = data.load(f"{name}_train")[:EXAMPLES]
    return [turn for record in few for turn in (*record["prompt"], *record["completion"])]


def answers(by: str, model, tokenizer, prompts: dict[str, list[dict]], recipe: Recipe) -> list[dict]:
    """Return a row for each prompt: its data set and id, who answered, the reply and whether it ended by itself."""
    given = models.generate(model, tokenizer, list(prompts.values()), recipe, by)
    return [
        {**dict(zip(("set", "id"), key.split(), strict=True)), "by": by, "reply": answer.text, "ended": answer.ended}
        for key, answer in zip(prompts, given, strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and record the jobs named on the command line, or all."""
    parser = argparse.ArgumentParser(description="Train the adapters that take longer than a lesson has.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all if none is given")
    parser.add_argument("--replies", action="store_true", help="train nothing, only answer the held-out sets")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.names) - set(NAMES)
    if unknown:
        parser.error(f"no job {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.")
    for name in chosen.names or NAMES:
        is_own = name == OWN_SAMPLES
        if not chosen.replies:
            train_on_own_samples() if is_own else train(name)
        record_own_samples() if is_own else record_replies(name)


if __name__ == "__main__":
    main()
