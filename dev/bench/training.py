"""The course's training beside TRL's trainers as they come: tokens and pairs per second, loss and peak memory.

    python dev/bench/training.py                    part of `make bench`; about twelve minutes on two CPU cores
    python dev/bench/training.py --only sft_ours sft_ours_padded        some sides alone, printed and not stored
    python dev/bench/training.py --profile sft      where the time of a few of our own steps goes, by operation

On a CPU: Gemma 3 270M, the pairs of the lessons, the same tokens in the same order, the same adapter, batch and learning
rate; each side in a process of its own. "trl" is the trainer with its defaults (gradient checkpointing among them),
"trl_no_checkpointing" the same without it; "ours_padded" is ours with `lean` off. The loss on held-out rows is that of the
trained adapter in float32, on all sides: bfloat16 rounds a sequence's log-probability by tenths of a nat, which is more than
six steps of DPO change it. Where a CUDA device is found: gemma-2b's shapes with random weights, batch 4 and 512 tokens, a
plain training loop of the reference recipe beside ours. Writes dev/bench/results/training.json.
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about, hand_over, measured, peak_gib
from kotune.data import registry
from kotune.models import adapters, loading
from kotune.recipes import RECIPES, Recipe
from kotune.training import (
    encoding,
    evaluation,
    stages,
    trainers,  # noqa: F401  brings TRL: its import is no part of the time, on either side
)
from kotune.training.losses import completion_logprobs
from tests.support.trl_template import without_last_newline
from utils import ASSETS, ROOT, read_json, seed_everything, write_json

SFT_ROWS = 80  # ten steps of eight
DPO_PAIRS = 24  # six steps of four
PROFILED_STEPS = 3
HELD_OUT = 24


# --- CPU: each side in a process of its own --------------------------------------------------


def recipe() -> Recipe:
    """Return the recipe of both sides."""
    return RECIPES["gemma-3-270m-cpu"]


def lora(chosen: Recipe):
    from peft import LoraConfig

    return LoraConfig(
        r=chosen.lora_r, lora_alpha=chosen.lora_alpha, target_modules=list(chosen.target_modules), task_type="CAUSAL_LM"
    )


def stock_arguments(chosen: Recipe, folder: str, batch_size: int, learning_rate: float, checkpointing: bool) -> dict:
    """Return what a user of TRL sets: the task's numbers, and the CPU. All else is TRL's default."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": batch_size,
        "num_train_epochs": 1,
        "learning_rate": learning_rate,
        "lr_scheduler_type": chosen.scheduler,
        "warmup_steps": chosen.warmup,
        "logging_steps": 1,
        "seed": chosen.seed,
        "use_cpu": True,
        "activation_checkpointing": checkpointing,
    }


def sft_rows() -> tuple[list[dict], list[dict]]:
    return registry.load("real_estate_train")[:SFT_ROWS], registry.load("real_estate_validation")[:HELD_OUT]


def sft_ours(chosen: Recipe, folder: str) -> dict:
    rows, _ = sft_rows()
    tokenizer, model = loading.load_tokenizer(chosen.model), loading.load_model(chosen)
    started = time.perf_counter()
    result = stages.sft(chosen, rows, model, tokenizer, Path(folder) / "sft")
    seconds, peak = time.perf_counter() - started, peak_gib()
    return sft_figures(chosen, result.adapter, seconds, peak) | {"losses": losses_of(result.log)}


def sft_stock(chosen: Recipe, folder: str, checkpointing: bool) -> dict:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows, _ = sft_rows()
    tokenizer, model = loading.load_tokenizer(chosen.model), loading.load_model(chosen)
    tokenizer = copy.copy(tokenizer)  # the course's own is loaded once and shared
    tokenizer.chat_template = without_last_newline(tokenizer.chat_template)
    started = time.perf_counter()
    seed_everything(chosen.seed)  # LoRA's A is drawn as on the other side
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**stock_arguments(chosen, folder, chosen.batch_size, chosen.learning_rate, checkpointing)),
        train_dataset=Dataset.from_list([{side: row[side] for side in ("prompt", "completion")} for row in rows]),
        processing_class=tokenizer,
        peft_config=lora(chosen),
    )
    trainer.train()
    seconds, peak = time.perf_counter() - started, peak_gib()
    trainer.save_model(folder)
    log = [row for row in trainer.state.log_history if "loss" in row]
    return sft_figures(chosen, folder, seconds, peak) | {"losses": losses_of(log)}


def sft_figures(chosen: Recipe, adapter: str | Path, seconds: float, peak: float) -> dict:
    rows, held_out = sft_rows()
    exact, tokenizer = replace(chosen, dtype="float32"), loading.load_tokenizer(chosen.model)
    model = adapters.merge_adapter(loading.load_model(exact), adapter)
    encoded = encoding.encode_supervised(rows, tokenizer, chosen.max_length).rows
    tokens = sum(label != -100 for row in encoded for label in row["labels"])
    return {
        "completion_tokens": tokens,
        "all_tokens": sum(len(row["labels"]) for row in encoded),
        "seconds": round(seconds, 1),
        "tokens_per_s": round(tokens / seconds, 1),
        "peak_gib": peak,
        "held_out_loss": round(evaluation.held_out_loss(model, tokenizer, held_out, exact), 4),
    }


def losses_of(log: list[dict]) -> list[float]:
    return [round(row["loss"], 4) for row in log]


def dpo_pairs() -> tuple[list[dict], list[dict]]:
    pairs = registry.load("real_estate_preference")
    return pairs[:DPO_PAIRS], pairs[-HELD_OUT:]


def dpo_ours(chosen: Recipe, folder: str) -> dict:
    pairs, _ = dpo_pairs()
    model, tokenizer = stages.load_start(chosen, ASSETS / "sft")
    started = time.perf_counter()
    result = stages.dpo(chosen, pairs, model, tokenizer, Path(folder) / "dpo", parent=ASSETS / "sft")
    seconds, peak = time.perf_counter() - started, peak_gib()
    return dpo_figures(chosen, result.adapter, seconds, peak) | {"losses": losses_of(result.log)}


def dpo_stock(chosen: Recipe, folder: str, checkpointing: bool) -> dict:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    pairs, _ = dpo_pairs()
    model, tokenizer = stages.load_start(chosen, ASSETS / "sft")
    tokenizer = copy.copy(tokenizer)  # the course's own is loaded once and shared
    tokenizer.chat_template = without_last_newline(tokenizer.chat_template)
    started = time.perf_counter()
    arguments = stock_arguments(chosen, folder, chosen.dpo_batch_size, chosen.dpo_learning_rate, checkpointing)
    seed_everything(chosen.seed)  # LoRA's A is drawn as on the other side
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(**arguments, beta=chosen.dpo_beta),
        train_dataset=Dataset.from_list([{side: pair[side] for side in ("prompt", "chosen", "rejected")} for pair in pairs]),
        processing_class=tokenizer,
        peft_config=lora(chosen),
    )
    trainer.train()
    seconds, peak = time.perf_counter() - started, peak_gib()
    trainer.save_model(folder)
    log = [row for row in trainer.state.log_history if "loss" in row]
    return dpo_figures(chosen, folder, seconds, peak) | {"losses": losses_of(log)}


def dpo_figures(chosen: Recipe, adapter: str | Path, seconds: float, peak: float) -> dict:
    pairs, held_out = dpo_pairs()
    exact = replace(chosen, dtype="float32")
    model, tokenizer = stages.load_start(exact, ASSETS / "sft")
    rows = encoding.encode_preference(held_out, tokenizer, chosen.max_length).rows
    reference = evaluation.reference_logprobs(model, rows, tokenizer, exact)
    after = evaluation.preference_loss(adapters.merge_adapter(model, adapter), reference, tokenizer, exact)
    return {
        "pairs": len(pairs),
        "seconds": round(seconds, 1),
        "pairs_per_s": round(len(pairs) / seconds, 3),
        "peak_gib": peak,
        "held_out_loss": round(after["loss"], 4),
    }


def padded() -> Recipe:
    """Return the recipe with padded batches and the libraries' own layers."""
    return replace(recipe(), lean=False)


CPU_SIDES = {
    "sft_ours": lambda folder: sft_ours(recipe(), folder),
    "sft_ours_padded": lambda folder: sft_ours(padded(), folder),
    "sft_trl": lambda folder: sft_stock(recipe(), folder, checkpointing=True),
    "sft_trl_no_checkpointing": lambda folder: sft_stock(recipe(), folder, checkpointing=False),
    "dpo_ours": lambda folder: dpo_ours(recipe(), folder),
    "dpo_ours_padded": lambda folder: dpo_ours(padded(), folder),
    "dpo_trl": lambda folder: dpo_stock(recipe(), folder, checkpointing=True),
    "dpo_trl_no_checkpointing": lambda folder: dpo_stock(recipe(), folder, checkpointing=False),
}


def measured_side(side: str) -> dict:
    """Run one side in a process of its own and return its figures."""
    environment = {"COURSE_RECIPE": ""}
    if "_trl" in side:
        environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "1024"  # its default; the course sets another, no part of TRL
    return measured(__file__, side, environment)


def profile(stage: str, chosen: Recipe, folder: str) -> str:
    """Return the operations of a few steps of ours as a table, those that take the longest by themselves first."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiling

    if stage == "sft":
        rows, parent = sft_rows()[0][: PROFILED_STEPS * chosen.batch_size], None
    else:
        rows, parent = dpo_pairs()[0][: PROFILED_STEPS * chosen.dpo_batch_size], ASSETS / "sft"
    model, tokenizer = stages.load_start(chosen, parent)
    with profiling(activities=[ProfilerActivity.CPU]) as measured_steps:
        stages.run_stage(stage, chosen, rows, model, tokenizer, output_dir=Path(folder) / stage, parent=parent)
    return measured_steps.key_averages().table(sort_by="self_cpu_time_total", row_limit=30, max_name_column_width=60)


def cpu_results() -> dict:
    """Return all sides, and ours against TRL's as it comes."""
    sides = {name: measured_side(name) for name in CPU_SIDES}
    ours, stock = sides["sft_ours"], sides["sft_trl"]
    our_dpo, stock_dpo = sides["dpo_ours"], sides["dpo_trl"]
    return {
        **sides,
        "sft_times_as_fast": round(ours["tokens_per_s"] / stock["tokens_per_s"], 2),
        "sft_times_padded": round(ours["tokens_per_s"] / sides["sft_ours_padded"]["tokens_per_s"], 2),
        "sft_loss_difference": f"{ours['held_out_loss'] / stock['held_out_loss'] - 1:+.2%}",
        "dpo_times_as_fast": round(our_dpo["pairs_per_s"] / stock_dpo["pairs_per_s"], 2),
        "dpo_times_padded": round(our_dpo["pairs_per_s"] / sides["dpo_ours_padded"]["pairs_per_s"], 2),
        "dpo_loss_difference": f"{our_dpo['held_out_loss'] / stock_dpo['held_out_loss'] - 1:+.2%}",
        "sft_peak_memory_times": round(ours["peak_gib"] / stock["peak_gib"], 2),
        "dpo_peak_memory_times": round(our_dpo["peak_gib"] / stock_dpo["peak_gib"], 2),
    }


# --- CUDA: gemma-2b's shapes with random weights ---------------------------------------------


@dataclass(frozen=True)
class Shape:
    """The sizes of a Gemma and of a batch."""

    hidden: int = 2048
    layers: int = 18
    heads: int = 8
    head_dim: int = 256
    intermediate: int = 16384
    vocabulary: int = 256_000
    batch: int = 4
    length: int = 512
    prompt: int = 256  # of the length: the loss skips it
    steps: int = 8


def random_gemma(shape: Shape, device: str):
    """Return a Gemma of these sizes with random weights in bfloat16, and a LoRA adapter of the reference's settings."""
    import torch
    from transformers import GemmaConfig, GemmaForCausalLM

    config = GemmaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=1, head_dim=shape.head_dim,
        intermediate_size=shape.intermediate, attn_implementation="sdpa",
    )  # fmt: skip
    seed_everything(0)
    with torch.device(device):
        model = GemmaForCausalLM(config).to(torch.bfloat16)
    adapted = adapters.add_adapter(model, RECIPES["gemma-2b-l4"]).to(device)
    adapted.activation_checkpointing_enable()
    adapted.enable_input_require_grads()
    return adapted.train()


def reference_loss(adapted, ids, labels):
    """Return the loss as the reference course takes it: logits of every position, the model's own cross entropy."""
    return adapted(input_ids=ids, labels=labels, use_cache=False).loss


def our_loss(adapted, ids, labels):
    """Return the course's loss: completion positions alone, in chunks."""
    return -completion_logprobs(adapted, ids, None, labels).logprobs.mean()


def loop(loss_of, shape: Shape, device: str) -> dict:
    """Train for some steps; return tokens per second (after the first two steps), loss and peak memory."""
    import torch

    adapted = random_gemma(shape, device)
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=device == "cuda")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, shape.vocabulary, (shape.batch, shape.length), generator=generator).to(device)
    labels = ids.clone()
    labels[:, : shape.prompt] = -100
    if device == "cuda":  # the weights were made in float32, which no run that loads them does
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    losses, started = [], time.perf_counter()
    for step in range(shape.steps):
        if step == 2:
            synchronise(device)
            started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            loss = loss_of(adapted, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.3)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(round(loss.item(), 4))
    synchronise(device)
    rate = (shape.steps - 2) * shape.batch * shape.length / (time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else peak_gib()
    return {"tokens_per_s": round(rate, 1), "peak_gib": round(peak, 2), "losses": losses}


def synchronise(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


CUDA_SIDES = {
    "cuda_reference": lambda _: loop(reference_loss, Shape(), "cuda"),
    "cuda_ours": lambda _: loop(our_loss, Shape(), "cuda"),
}


def cuda_results() -> dict:
    """Return the reference recipe and ours on the CUDA device, and its name."""
    import torch

    reference, ours = measured_side("cuda_reference"), measured_side("cuda_ours")
    return {
        "device": torch.cuda.get_device_name(),
        "shape": "gemma-2b, random weights, batch 4, 512 tokens, LoRA r 4",
        "reference": reference,
        "ours": ours,
        "times_as_fast": round(ours["tokens_per_s"] / reference["tokens_per_s"], 2),
    }


def main() -> None:
    """Measure, print and store; `--side` is what a process of its own runs."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", choices=[*CPU_SIDES, *CUDA_SIDES])
    parser.add_argument("--only", nargs="+", choices=[*CPU_SIDES, *CUDA_SIDES], help="measure these, and store nothing")
    parser.add_argument("--profile", choices=["sft", "dpo"], help="print where the time of our own steps goes")
    parser.add_argument("--padded", action="store_true", help="profile padded batches")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.side:
            hand_over((CPU_SIDES | CUDA_SIDES)[chosen.side](folder))
        if chosen.profile:
            print(profile(chosen.profile, padded() if chosen.padded else recipe(), folder))
    for side in chosen.only or []:
        measured_side(side)
    if chosen.side or chosen.profile or chosen.only:
        return
    on_cuda = torch.cuda.is_available()
    found = cuda_results() if on_cuda else cpu_results()
    path = ROOT / "dev" / "bench" / "results" / "training.json"
    stored = read_json(path) if path.exists() else {}
    measurement = {**about(("torch", "transformers", "trl", "peft")), **found}
    write_json(path, {**stored, "cuda" if on_cuda else "cpu": measurement})  # the other device's figures stay
    print(json.dumps({name: value for name, value in found.items() if not isinstance(value, dict)}, indent=2))


if __name__ == "__main__":
    main()
