"""Protects: several processes train the same model as one, and the shipped configurations can be read."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def launch(count, *arguments):
    """Run `accelerate launch -m kotune ...` on `count` CPU processes."""
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_machines", "1", "--num_processes", str(count),
        "--main_process_port", str(free_port()), "--mixed_precision", "no", "--dynamo_backend", "no",
        "-m", "kotune", *arguments,
    ]  # fmt: skip
    quiet = {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **quiet})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(folder):
    with (folder / "loss.csv").open() as file:
        return [(float(row["loss"]), float(row["validation_loss"] or "nan")) for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_two_processes_have_the_losses_of_one(stage, tiny_model, tokenizer, records, pairs, tmp_path):
    tiny_model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = records if stage == "sft" else pairs
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    config = tmp_path / "run.json"
    values = {
        "dtype": "float32", "learning_rate": 5e-3, "dpo_learning_rate": 5e-3, "batch_size": 2, "dpo_batch_size": 2,
        "epochs": 2, "dpo_epochs": 2, "save_steps": 2, "max_length": 96,
    }  # fmt: skip
    config.write_text(json.dumps(values))
    for count in (1, 2):
        printed = launch(
            count, stage, "--recipe", "gemma-3-270m-cpu", "--config", str(config), "--model_path", str(tmp_path / "model"),
            "--train_dataset", str(data), "--eval_dataset", str(data), "--output_dir", str(tmp_path / f"{stage}-{count}"),
        )  # fmt: skip
        assert printed.count('"steps": 4') == 1  # one process prints
    one, two = losses(tmp_path / f"{stage}-1"), losses(tmp_path / f"{stage}-2")
    assert [loss for loss, _ in two] == pytest.approx([loss for loss, _ in one], abs=1e-3)
    assert [held_out for _, held_out in two] == pytest.approx([held_out for _, held_out in one], abs=1e-3, nan_ok=True)
    assert one[-1][0] < one[0][0]


@pytest.mark.parametrize("name", ["fsdp", "deepspeed_zero2", "deepspeed_zero3"])
def test_a_shipped_configuration_is_one_that_accelerate_reads(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "kotune" / "training" / "accelerate" / f"{name}.yaml"))
    assert str(config.distributed_type.value) == ("FSDP" if name == "fsdp" else "DEEPSPEED")
    assert config.mixed_precision == "bf16"
    assert config.num_processes > 1
