"""Protects: the files for Slurm and SkyPilot call, on each machine, the command that one machine would run.

Neither was run (docs/not_run.md): stand-ins of their commands say what was called.
"""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from utils import ROOT

FOLDER = ROOT / "kotune" / "training" / "accelerate"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Slurm and SkyPilot run bash")


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a script of bash among stand-ins, and returns the lines of the calls of accelerate."""
    called = tmp_path / "called"
    for name, does in (
        ("accelerate", f'printf "%s|" "$@" >> {called}; echo >> {called}'),
        ("scontrol", 'echo node7; echo node8'),
        ("srun", 'for SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@"; done'),
    ):  # fmt: skip
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/bash\n{does}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IEXEC)

    def call(*command, **variables):
        environment = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", **variables}
        subprocess.run(["bash", *command], check=True, cwd=ROOT, env=environment, timeout=60)
        return [line.split("|")[:-1] for line in called.read_text(encoding="utf-8").splitlines()]

    return call


def options(line):
    """Return what stands before `-m kotune` as pairs, and what stands behind it."""
    at = line.index("-m")
    assert line[0] == "launch" and line[at + 1] == "kotune"
    return dict(zip(line[1:at:2], line[2:at:2], strict=True)), line[at + 2 :]


def test_slurm(run):
    slurm = {
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_ID": "12345",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
    }
    lines = run(str(FOLDER / "slurm.sh"), "fsdp.yaml", "sft", "--train_dataset", "내 자료.jsonl", **slurm)
    for rank, line in enumerate(lines):
        given, rest = options(line)
        assert rest == ["sft", "--train_dataset", "내 자료.jsonl"] and Path(given["--config_file"]).exists()
        assert (given["--num_machines"], given["--machine_rank"], given["--num_processes"]) == ("2", str(rank), "8")
        assert (given["--main_process_ip"], given["--main_process_port"]) == ("node7", "32345")
    assert len(lines) == 2


def test_skypilot(run):
    task = yaml.safe_load((FOLDER / "skypilot.yaml").read_text(encoding="utf-8"))
    sky = {
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NODE_RANK": "1",
        "SKYPILOT_NUM_GPUS_PER_NODE": "4",
        "SKYPILOT_NODE_IPS": "10.0.0.7\n10.0.0.8",
    }
    [line] = run("-c", task["run"], **sky, **task["envs"] | {"KOTUNE": "sft --recipe gemma-2b-l4"})
    given, rest = options(line)
    assert rest == ["sft", "--recipe", "gemma-2b-l4"] and Path(ROOT / given["--config_file"]).exists()
    assert (given["--num_machines"], given["--machine_rank"], given["--num_processes"]) == ("2", "1", "8")
    assert given["--main_process_ip"] == "10.0.0.7" and task["num_nodes"] == 2
