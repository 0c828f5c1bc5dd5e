"""What each setting does, measured: one setting changed at a time, on the pairs of `train.ipynb` and on two other jobs.

    python dev/ablations.py            all runs (hours on two cores); finished ones are kept and not run again
    python dev/ablations.py --list     what would be run

Writes `data/ablations.csv`, a row a run: the job, what was changed and to what, all settings, steps and minutes, the loss
of the last ten batches, the held-out loss and, where a job's right answer is known, the score on its held-out set with its
95% interval (macro F1 of film reviews, the share of listings that are exactly right). `data/ablation_curves.csv` has the
losses by step of the runs that change nothing but the number of epochs. The loop is that of `train.ipynb`, with the fast
loss.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd
import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from kotune import data, models, training
from kotune.korean import listings, zero_shot
from kotune.recipes import Recipe
from kotune.stats import Interval
from kotune.training.losses import completion_logprobs
from utils import DATA, seed_everything, write_atomic

TABLE, CURVES = DATA / "ablations.csv", DATA / "ablation_curves.csv"
LOOKS = 2  # at the held-out loss in an epoch
FULL = 0  # the rank of a run that trains every layer's own weights (the embeddings stay as they are)


@dataclass(frozen=True)
class Run:
    """One training run: which setting it changes, and all of them."""

    job: str
    changed: str = "none"
    value: str = ""
    epochs: int = 1
    learning_rate: float = 1e-3
    rank: int = 8
    rows: int = 240
    loss_mask: bool = True  # False: the prompt's tokens are learnt too
    copies: int = 0  # of the rows, how many are near repeats of others


@dataclass(frozen=True)
class Score:
    """A job's score on its held-out set, with its 95% interval, over n."""

    score: float
    interval: Interval
    n: int


@dataclass(frozen=True)
class Trial:
    """What a job's model is asked, how long its replies may be, and how they are scored."""

    asked: Callable[[], list[dict]]
    max_new_tokens: int
    score: Callable[[Sequence[str]], Score]


@dataclass(frozen=True)
class Job:
    """A job: its training records, those of its held-out loss, its base run, and how it is tried where it can be."""

    records: Callable[[], list[dict]]
    held_out: Callable[[], list[dict]]
    base: Run
    variations: dict[str, tuple] = field(default_factory=dict)
    trial: Trial | None = None


def score_reviews(replies: Sequence[str]) -> Score:
    """Score replies to the held-out reviews."""
    rows = data.load_rows("reviews_test")
    items = [zero_shot.Item(row["id"], (row["instruction"],), row["output"]) for row in rows]
    strict = zero_shot.zero_shot_report("sentiment", items, list(replies)).strict
    return Score(strict.macro_f1, strict.interval, len(rows))


def score_listings(replies: Sequence[str]) -> Score:
    """Score replies to the validation part of the listings, which no adapter was chosen by here."""
    rows = data.load_rows("listings_validation")
    found = listings.score(list(replies), [row["output"] for row in rows])
    return Score(found.exact / found.n, found.exact_interval, found.n)


JOBS = {
    "housing": Job(
        lambda: data.load("real_estate_train"),
        lambda: data.load("real_estate_validation"),
        Run("housing", rows=240),
        {
            "epochs": (4, 2),
            "learning_rate": (1e-4, 3e-3),
            "rows": (60, 120, 475),
            "loss_mask": (False,),
            "rank": (2, 32, FULL),
            "copies": (120,),
        },
    ),
    "listings": Job(
        lambda: data.load("listings_train") + data.load("listings_written"),
        lambda: data.load("listings_validation"),
        Run("listings", rows=400),
        {"rows": (100, 1600), "epochs": (4,)},
        Trial(lambda: data.load("listings_validation"), 160, score_listings),
    ),
    "reviews": Job(
        lambda: data.load("reviews_train") + data.load("reviews_written"),
        lambda: data.load("reviews_test"),
        Run("reviews", rows=300),
        {"rows": (1200,), "epochs": (4,)},
        Trial(lambda: data.load("reviews_test"), 12, score_reviews),
    ),
}


@cache
def base_recipe() -> Recipe:
    """Return the recipe that every run starts from, in the number format that is the faster here."""
    return models.choose("gemma-3-270m-cpu").recipe


def runs() -> Iterator[Run]:
    """Yield every run: of each job its base, then each setting changed by itself."""
    for job in JOBS.values():
        yield job.base
        for name, values in job.variations.items():
            for value in values:
                rate = {"learning_rate": 1e-4} if (name, value) == ("rank", FULL) else {}  # LoRA's rate breaks full weights
                yield replace(job.base, changed=name, value=str(value), **{name: value}, **rate)


def training_records(run: Run) -> list[dict]:
    """Return a run's rows in a random order; with copies, that many are others asked again with another mark at the end."""
    rng = random.Random(base_recipe().seed)
    records = JOBS[run.job].records()
    chosen = records[: run.rows]
    if run.copies:
        kept = chosen[: run.rows - run.copies]
        chosen = kept + [_said_again(record, number) for number, record in enumerate(rng.choices(kept, k=run.copies))]
    rng.shuffle(chosen)
    return chosen


def _said_again(record: dict, number: int) -> dict:
    """Return a record whose prompt ends in another mark: no new text, as a teacher that repeats itself writes it."""
    *before, last = record["prompt"]
    again = {**last, "content": last["content"] + ".!~"[number % 3]}
    return {**record, "id": f"{record['id']}-again-{number}", "prompt": [*before, again]}


def batches(rows: list[dict], run: Run, tokenizer) -> Iterator[dict]:
    """Yield the batches of all epochs, each epoch in an order of its own."""
    collate, rng = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id), random.Random(base_recipe().seed)
    for _ in range(run.epochs):
        order = rng.sample(rows, len(rows))
        for start in range(0, len(order), base_recipe().batch_size):
            yield collate(order[start : start + base_recipe().batch_size])


def train(run: Run, model, tokenizer, held_out: list[dict]):
    """Train a model under a run's settings.

    Returns the model with its adapter or its own new weights, and a row a step: the loss, and the held-out loss at the
    steps where it was looked at.
    """
    seed_everything(base_recipe().seed)
    rows = training.encode_supervised(training_records(run), tokenizer, base_recipe().max_length).rows
    if not run.loss_mask:
        rows = [{**row, "labels": [-100, *row["input_ids"][1:]]} for row in rows]
    if run.rank == FULL:
        model.requires_grad_(True).get_input_embeddings().requires_grad_(False)
    else:
        model = models.add_adapter(model, replace(base_recipe(), lora_r=run.rank, lora_alpha=2 * run.rank))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=run.learning_rate, weight_decay=0.0)
    steps = math.ceil(len(rows) / base_recipe().batch_size) * run.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps))
    looks = {round(steps * look / (LOOKS * run.epochs)) for look in range(1, LOOKS * run.epochs + 1)}
    curve = [{"step": 0, "loss": None, "held_out_loss": held_out_loss(model, tokenizer, held_out)}]
    model.train()
    for step, batch in enumerate(batches(rows, run, tokenizer), start=1):
        logprobs, _ = completion_logprobs(model, batch["input_ids"], batch["attention_mask"], batch["labels"])
        loss = -logprobs.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, base_recipe().max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        looked = held_out_loss(model, tokenizer, held_out) if step in looks else None
        curve.append({"step": step, "loss": loss.item(), "held_out_loss": looked})
        model.train()
    return model.eval(), curve


def held_out_loss(model, tokenizer, records: list[dict]) -> float:
    """Return the loss of records that are not trained on, in nats a token of the completions."""
    return training.held_out_loss(model.eval(), tokenizer, records, base_recipe())


def rate_at(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: it rises over the warm-up and falls along a cosine."""
    warmup = max(1, round(base_recipe().warmup * steps))
    return (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def measure(run: Run) -> tuple[dict, list[dict]]:
    """Train one run; return its row of the table and its losses by step."""
    job = JOBS[run.job]
    tokenizer, start = models.load_tokenizer(base_recipe().model), time.perf_counter()
    model, curve = train(run, models.load_model(base_recipe()), tokenizer, job.held_out())
    minutes = (time.perf_counter() - start) / 60
    last = [row["loss"] for row in curve[1:]][-10:]  # a short run has fewer
    row = {
        **asdict(run),
        "steps": curve[-1]["step"],
        "minutes": round(minutes, 2),
        "training_loss": round(sum(last) / len(last), 4),
        "held_out_loss": round(curve[-1]["held_out_loss"], 4),
    }
    if job.trial is not None:
        row |= score_of(job.trial, model, tokenizer, f"{run.changed} {run.value}")
    return row, curve


def score_of(trial: Trial, model, tokenizer, label: str) -> dict:
    """Return a model's score at a trial, as columns of the table."""
    prompts = [record["prompt"] for record in trial.asked()]
    recipe = replace(base_recipe(), max_new_tokens=trial.max_new_tokens)
    scored = trial.score([reply.text for reply in models.generate(model, tokenizer, prompts, recipe, label)])
    low, high = scored.interval
    return {"score": round(scored.score, 4), "low": round(low, 4), "high": round(high, 4), "n": scored.n}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make every run that the table lacks, and write it after each."""
    parser = argparse.ArgumentParser(description="What each setting does: one changed at a time, on two jobs.")
    parser.add_argument("--list", action="store_true", help="print the runs and make none")
    parser.add_argument("--job", choices=tuple(JOBS), help="the runs of one job alone")
    chosen = parser.parse_args(arguments)
    table, curves = _rows(TABLE), _rows(CURVES)
    done = {(row["job"], row["changed"], row["value"]) for row in table}
    for run in runs():
        name = (run.job, run.changed, run.value)
        if chosen.job not in (None, run.job):
            continue
        if chosen.list:
            print(*name, "done" if name in done else "")
        elif name not in done:
            row, curve = measure(run)
            table.append(row)
            write_atomic(TABLE, pd.DataFrame(table).to_csv(index=False))
            if run.changed in ("none", "epochs"):
                curves += [{"job": run.job, "epochs": run.epochs, **_rounded(step)} for step in curve]
                write_atomic(CURVES, pd.DataFrame(curves).to_csv(index=False))
            print(*name, {key: row[key] for key in ("minutes", "training_loss", "held_out_loss")}, row.get("score", ""))


def _rows(path: Path) -> list[dict]:
    return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records") if path.exists() else []


def _rounded(step: dict) -> dict:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in step.items()}


if __name__ == "__main__":
    main()
