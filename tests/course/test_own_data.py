"""Protects: the lessons run from top to bottom on another data set and with each setting that "Try it" names.

A Gemma of two narrow layers stands in for the model, so what the lessons claim does not hold, and must not stop them.
"""

import json
import os

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.support.tiny_gemma import make_tiny_gemma
from utils import ROOT

LONG_S = 900
# after which cell of a notebook a line is put in, as "Try it" says
TRIED = {
    "train.ipynb": {"course = data.course_set()": "train, recipe = train[::2], replace(recipe, learning_rate=2e-5)"},
    "dpo.ipynb": {
        "course = data.course_set()": "recipe = replace(recipe, dpo_beta=0.5, dpo_pairs=12)",
        "held_out, train_pairs =": "train_pairs = [p for p in train_pairs if p['kind'] == train_pairs[0]['kind']]",
    },
    "evaluation.ipynb": {"rows = course.questions": "rows, questions = rows[:10], questions[:10]"},
}


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    """A recipe of one's own, of a tiny model in a folder."""
    from kotune.models.files import load_tokenizer
    from kotune.recipes import FILES

    folder = tmp_path_factory.mktemp("own")
    tokenizer = load_tokenizer("gemma-3-270m")
    make_tiny_gemma(tokenizer).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    values = yaml.safe_load((FILES / "gemma-3-270m-cpu.yaml").read_text(encoding="utf-8"))
    own = {"name": "own", "model": str(folder / "model"), "dtype": "float32", "max_new_tokens": 8, "dpo_pairs": 16}
    (folder / "own.yaml").write_text(yaml.safe_dump({**values, **own}), encoding="utf-8")
    return folder / "own.yaml"


def run(name, environment):
    notebook = nbformat.read(ROOT / name, as_version=4)
    for marker, line in TRIED[name].items():
        place = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and marker in cell.source)
        notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(line))
    # the listings have a model and data of their own
    of_listings = ("with_listings", "\nask(", "ResultPage(")
    notebook.cells = [cell for cell in notebook.cells if not any(mark in f"\n{cell.source}" for mark in of_listings)]
    client = NotebookClient(notebook, timeout=LONG_S, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    client.execute(env={**os.environ, **environment})
    return [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.slow
def test_every_lesson_runs_on_another_data_set_and_with_other_settings(recipe_file, tmp_path):
    environment = {
        "COURSE_DATA": "radiology", "COURSE_RECIPE": str(recipe_file), "COURSE_OUTPUTS": str(tmp_path / "outputs"),
        "TQDM_DISABLE": "1", "OPENAI_API_KEY": "", "OPENAI_BASE_URL": "",
    }  # fmt: skip
    printed = {name: "\n".join(run(name, environment)) for name in TRIED}
    assert "227 rows to train on" in printed["train.ipynb"]
    assert "validation: one row in ten" in printed["train.ipynb"]
    assert "NOT as in the lesson" in printed["train.ipynb"]  # a tiny model ends no answer: said, and gone on
    for stage in ("sft", "dpo"):
        card = json.loads((tmp_path / "outputs" / stage / "run.json").read_text(encoding="utf-8"))
        assert card["recipe"]["name"] == "own"
    judged = json.loads((tmp_path / "outputs" / "eval" / "report.json").read_text(encoding="utf-8"))
    assert judged["SFT against base"]["n_judged"] <= 10
