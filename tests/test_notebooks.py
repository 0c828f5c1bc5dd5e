"""Protects: the summary of `make course` prints what the notebooks saved, and a failed cell is named."""

import json

import nbformat
import pytest

from kotune import notebooks
from utils import CourseError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "OUTPUTS", tmp_path / "outputs")
    return tmp_path


def write_notebook(path, *cells):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def test_the_summary_prints_the_saved_figures(here):
    training = {"peak_memory_gib": 3.25}
    figures = {
        "sft": {
            "perplexity": {"before": 44.25, "after": 32.75},
            "books": {"closed book": {"terms": "35 of 99"}, "open book": {"terms": "266 of 294"}},
            "held_out_loss": {"before": 3.5, "after": 2.25},
            "ended_by_itself": {"before": 0, "after": 7, "of": 8},
            "training": training,
        },
        "dpo": {
            "first_loss": 0.6931,
            "held_out": {"loss": 0.5, "accuracy": 0.75},
            "training": {**training, "health": {"verdict": "healthy"}},
            "reward": {"accuracy": 0.85, "longer_wins": 0.5, "pairs": 40},
        },
    }
    figures["sft"] |= {
        "listings": {
            "n": 200, "base_exact": 1, "few_shot_exact": 2, "regex_exact": 102, "tuned_exact": 171, "handwritten_n": 60,
            "handwritten_tuned_exact": 41,
        },
        "open_book": {"best_sentence_rouge": 0.3125, "tuned_rouge": 0.25},
    }  # fmt: skip
    figures["dpo"]["listings_dpo"] = {"listings_test": {"DPO": 173}}
    labels = {"set": "reviews_test", "n": 100, "base_f1": 0.0, "tuned_f1": 0.875, "interval": [0.75, 0.95]}
    jobs = {"radiology": {"n": 60, "copy_both": 0, "base_both": 3, "tuned_both": 58}, "labels": labels}
    (here / "outputs" / "eval").mkdir(parents=True)
    (here / "outputs" / "eval" / "jobs.json").write_text(json.dumps(jobs))
    for stage, values in figures.items():
        (here / "outputs" / stage).mkdir(parents=True)
        (here / "outputs" / stage / "figures.json").write_text(json.dumps(values))
    report = {"SFT against base": {"interval": [0.6, 0.9], "win_rate": 0.8, "n_judged": 40, "judge": "reference"}}
    (here / "outputs" / "eval" / "report.json").write_text(json.dumps(report))
    text = "\n".join(notebooks.summary(notebooks.course_figures("tiny", {"train.ipynb": 3.0, "dpo.ipynb": 1.5})))
    for words in (
        "4.5",
        "3.50 -> 2.25",
        "0 -> 7 of 8",
        "accuracy 0.75; healthy",
        "44.2 -> 32.8",
        "open book: 266 of 294",
        "85% of 40",
        "0.80",
        "0.60 to 0.90",
        "n = 40",
        "3.2 GiB",
        "rules 102, tuned 171, after DPO 173; by hand, of 60: tuned 41",
        "of 60: copying 0, base 3, tuned 58",
        "base 0.00, tuned 0.88 (0.75 to 0.95)",
        "ROUGE-L 0.25; the document's best sentence 0.31",
    ):
        assert words in text


def test_a_cell_that_fails_is_named_with_its_error(here):
    write_notebook(here / "bad.ipynb", "print('fine')", "raise ValueError('the reason')")
    with pytest.raises(CourseError, match=r"bad\.ipynb, cell 2, failed with ValueError: the reason"):
        notebooks.execute("bad.ipynb", here / "outputs" / "bad.ipynb")


def test_a_stored_notebook_keeps_no_trace_of_the_machine(here):
    write_notebook(here / "good.ipynb", "x = 1 + 1\nx", "for word in ('한', ' 줄'):\n    print(word, end='', flush=True)")
    assert notebooks.execute("good.ipynb", here / "outputs" / "good.ipynb") > 0
    executed = json.loads((here / "outputs" / "good.ipynb").read_text())
    executed["cells"][0]["metadata"]["tags"] = ["nbval-ignore-output", "papermill-error-cell-tag"]
    (here / "outputs" / "good.ipynb").write_text(json.dumps(executed))
    notebooks.tidy(here / "outputs" / "good.ipynb")
    stored = json.loads((here / "outputs" / "good.ipynb").read_text())
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}
    assert stored["cells"][0]["metadata"] == {"tags": ["nbval-ignore-output"]}  # the cell's own stays
    assert stored["cells"][0]["outputs"][0]["data"]["text/plain"] in ("2", ["2"])
    assert ["".join(output["text"]) for output in stored["cells"][1]["outputs"]] == ["한 줄"]  # printed in two pieces


def test_the_korean_edition_is_run_where_there_is_one(here, monkeypatch):
    (here / "ko").mkdir()
    write_notebook(here / "basics.ipynb", "'en'")
    write_notebook(here / "train.ipynb", "'en'")
    write_notebook(here / "ko" / "basics.ipynb", "'ko'")
    assert notebooks.in_edition("basics.ipynb", "ko") == "ko/basics.ipynb"
    assert notebooks.in_edition("train.ipynb", "ko") == "train.ipynb"
    assert notebooks.in_edition("basics.ipynb", "en") == "basics.ipynb"
    with pytest.raises(CourseError, match=r"ko/train\.ipynb does not exist; build it"):
        notebooks.store(["basics.ipynb", "train.ipynb"], "ko")


def test_a_stored_korean_notebook_notes_the_english_outputs_that_it_was_run_beside(here):
    write_notebook(here / "english.ipynb", "1", "2")
    english = json.loads((here / "english.ipynb").read_text())
    english["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1"]}]
    (here / "english.ipynb").write_text(json.dumps(english))
    write_notebook(here / "korean.ipynb", "1", "2")
    notebooks.note_english_outputs(here / "korean.ipynb", here / "english.ipynb")
    noted = json.loads((here / "korean.ipynb").read_text())["metadata"]["english_outputs"]
    assert noted == {english["cells"][0]["id"]: notebooks.outputs_digest(english["cells"][0])}
