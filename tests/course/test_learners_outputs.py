"""Protects: the tests pass beside a learner's own results: none reads or writes `outputs/`, which `make course` fills."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from utils import ROOT

# those that name models, adapters and files by path, as a learner does
ASKED = ("tests/models/test_files.py", "tests/models/test_sources.py", "tests/training/test_stages.py")
BY_PATH = "no_model or stands_on_the_very or base or said_before or refuses or bad_input"


def fill(outputs):
    """Leave in `outputs` what a learner's run leaves, under the names that the course uses."""
    for stage in ("pretrain", "sft", "sft_open_book", "reward", "dpo"):
        shutil.copytree(ROOT / "assets" / stage, outputs / stage)
        (outputs / stage / "figures.json").write_text("{}")
    (outputs / "merged").mkdir()
    (outputs / "merged" / "config.json").write_text('{"model_type": "gemma3_text"}')
    for name in (
        "inference/result.jsonl",
        "inference/test.jsonl",
        "eval/report.json",
        "serve/votes.jsonl",
        "data/sft.jsonl",
    ):
        (outputs / name).parent.mkdir(parents=True, exist_ok=True)
        (outputs / name).write_text('{"id": "the learner\'s own"}\n')


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "test" not in path.relative_to(folder).parts[:1]
    }


@pytest.mark.slow
def test_the_tests_pass_beside_a_learners_outputs_and_leave_them_alone(tmp_path):
    here = tmp_path / "course"
    here.mkdir()
    for name in ("kotune", "tests", "dev", "assets"):
        shutil.copytree(ROOT / name, here / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("utils.py", "prompts.py", "similarity.py", "pyproject.toml"):
        shutil.copy(ROOT / name, here / name)
    (here / "data").symlink_to(ROOT / "data")
    fill(here / "outputs")
    before = contents(here / "outputs")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("COURSE_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-m", "not slow", "-k", BY_PATH, *ASKED],
        cwd=here, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert contents(here / "outputs") == before
