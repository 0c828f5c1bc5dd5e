"""Protects: a run that was killed goes on where it was, and never from a half-written or a foreign checkpoint."""

import csv
import errno
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kotune import mirror
from kotune.mirror import Mirror
from kotune.models import adapters
from kotune.training import runs, stages
from utils import CourseError, write_json

DRIVER = Path(__file__).parents[1] / "support" / "killed_run.py"


@pytest.fixture
def saved_model(tiny_model, tokenizer, tmp_path):
    """The tiny model as a folder that a process of its own can load."""
    tiny_model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run(stage, model, data, output, when=None):
    """Run a stage in its own process; return (exit code, what it printed)."""
    command = [sys.executable, str(DRIVER), stage, str(model), str(data), str(output), *([when] if when else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def losses(folder):
    with (folder / "loss.csv").open() as file:
        return [(int(row["step"]), float(row["loss"]), row["validation_loss"]) for row in csv.DictReader(file)]


def write_records(path, records):
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_losses(saved_model, records, tmp_path):
    data = write_records(tmp_path / "data.jsonl", records)
    assert run("sft", saved_model, data, tmp_path / "undisturbed")[0] == 0
    killed = tmp_path / "killed"
    for when, words in (
        ("step:3", ""),
        ("saving:6", "continuing from"),
        ("adapter", "is half-written (the run died while saving it) and is skipped"),
        ("adapter", "checkpoint-8"),  # all steps are done: the adapter alone is made again
    ):
        code, printed = run("sft", saved_model, data, killed, when)
        assert code == -signal.SIGKILL, printed
        assert words in printed
        assert not (killed / "run.json").exists()
    assert (killed / "adapter_config.json").exists()  # it died between two files
    code, printed = run("sft", saved_model, data, killed)
    assert code == 0, printed
    expected, found = losses(tmp_path / "undisturbed"), losses(killed)
    assert [row[0] for row in found] == [row[0] for row in expected]
    assert [row[1] for row in found] == pytest.approx([row[1] for row in expected], abs=1e-3)
    assert [row[2] for row in found] == [row[2] for row in expected]
    assert adapters.adapter_hash(killed) == adapters.adapter_hash(tmp_path / "undisturbed")
    assert {path.name for path in killed.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "run.json", "loss.csv",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["reward", "dpo"])
def test_stages_on_pairs_continue_to_the_same_losses(stage, saved_model, pairs, tmp_path):
    data = write_records(tmp_path / "data.jsonl", pairs)
    assert run(stage, saved_model, data, tmp_path / "undisturbed")[0] == 0
    killed = tmp_path / "killed"
    assert run(stage, saved_model, data, killed, "step:3")[0] == -signal.SIGKILL
    code, printed = run(stage, saved_model, data, killed)
    assert code == 0, printed
    assert "continuing from" in printed
    expected, found = losses(tmp_path / "undisturbed"), losses(killed)
    assert len(found) == len(expected) == 8
    assert [row[1] for row in found] == pytest.approx([row[1] for row in expected], abs=1e-3)


@pytest.mark.slow
def test_a_folder_that_a_run_saves_into_is_refused_to_another(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    output = tmp_path / "sft"
    in_use = pytest.raises(CourseError, match="sft is in use by a run that is going on")
    with runs.lock_folder(output / "checkpoints"), in_use:
        stages.sft(tiny_recipe, records, tiny_model, tokenizer, output)
    stages.sft(tiny_recipe, records, tiny_model, tokenizer, output)
    stages.sft(tiny_recipe, records, tiny_model, tokenizer, output)  # a finished run may be replaced


def test_checkpoints_of_another_experiment_are_refused(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    recipe = replace(tiny_recipe, save_steps=1, epochs=2.0)
    tiny_model.model.norm.weight.data.fill_(1.0)
    output = tmp_path / "sft"
    card = stages.run_card("sft", recipe, stages.stage_records(records, "sft"), [], {})
    folder = output / "checkpoints"
    (folder / "checkpoint-1").mkdir(parents=True)
    write_json(folder / "experiment.json", runs.experiment(card, None))
    with pytest.raises(CourseError, match=r"learning_rate is 0\.5 here and 0\.005 there"):
        stages.sft(replace(recipe, learning_rate=0.5), records, tiny_model, tokenizer, output)
    with pytest.raises(CourseError, match="other data"):
        stages.sft(recipe, records[:3], tiny_model, tokenizer, output)
    (folder / "experiment.json").unlink()
    with pytest.raises(CourseError, match="another experiment"):
        stages.sft(recipe, records, tiny_model, tokenizer, output)


def test_a_checkpoint_that_lost_a_byte_is_not_whole(tmp_path):
    folder = tmp_path / "checkpoint-3"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights").write_bytes(b"12345")
    assert not runs.is_whole(folder)
    runs.mark_whole(folder)
    assert runs.is_whole(folder)
    (folder / "inner" / "weights").write_bytes(b"1234")
    assert not runs.is_whole(folder)
    (folder / "inner" / "weights").unlink()
    assert not runs.is_whole(folder)


def test_the_last_whole_checkpoint_is_the_one_by_number(tmp_path):
    wanted = {"stage": "sft", "recipe": {}}
    write_json(tmp_path / "experiment.json", wanted)
    for step in (9, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "state").write_text("x")
    for step in (9, 10):
        runs.mark_whole(tmp_path / f"checkpoint-{step}")
    found = runs.resume_point(tmp_path, wanted)
    assert found.checkpoint.name == "checkpoint-10"
    assert [path.name for path in found.skipped] == ["checkpoint-100"]


# --- a second place --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_goes_on_from_its_mirror_on_a_fresh_machine(saved_model, records, tmp_path, monkeypatch):
    data = write_records(tmp_path / "data.jsonl", records)
    drive = tmp_path / "drive" / "kotune"
    monkeypatch.setenv("COURSE_MIRROR", str(drive))
    monkeypatch.setenv("COURSE_OUTPUTS", str(tmp_path / "first"))
    assert run("sft", saved_model, data, tmp_path / "first" / "sft", "step:5")[0] == -signal.SIGKILL
    checkpoints = drive / "sft" / "checkpoints"
    assert {path.name for path in checkpoints.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}
    assert all(runs.is_whole(path) for path in checkpoints.glob("checkpoint-*"))
    shutil.rmtree(tmp_path / "first")  # the machine is gone
    fresh = tmp_path / "second"
    assert Mirror(drive, fresh).open().restore().refused == ()
    monkeypatch.setenv("COURSE_OUTPUTS", str(fresh))
    code, printed = run("sft", saved_model, data, fresh / "sft")
    assert code == 0, printed
    assert "checkpoint-4" in printed
    assert json.loads((fresh / "sft" / "run.json").read_text(encoding="utf-8"))["figures"]["continued_from_step"] == 4
    assert adapters.adapter_hash(drive / "sft") == adapters.adapter_hash(fresh / "sft")
    assert not checkpoints.exists()  # a finished run needs none, here or there


@pytest.mark.slow
def test_a_full_mirror_is_told_and_the_run_ends(tiny_model, tiny_recipe, tokenizer, records, tmp_path, monkeypatch, capsys):
    full = Mirror(tmp_path / "drive", tmp_path / "outputs").open()
    monkeypatch.setenv("COURSE_MIRROR", str(full.root))
    monkeypatch.setattr(mirror, "_mirrors", {full.root: full})

    def no_room(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mirror, "_copy_bytes", no_room)
    recipe = replace(tiny_recipe, save_steps=1, epochs=2.0)
    result = stages.sft(recipe, records, tiny_model, tokenizer, tmp_path / "outputs" / "sft")
    assert (result.adapter / "run.json").exists()
    assert capsys.readouterr().out.count("is full, so the newest results lie in") == 1
