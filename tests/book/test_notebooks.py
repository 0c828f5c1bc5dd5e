"""Protects: in the book a solution is folded and a widget is a sentence; code and outputs are those that are stored."""

import pytest

from dev.book.notebooks import read_solutions, shown


def code(source, *tags, outputs=()):
    return {"cell_type": "code", "id": "c", "source": source, "metadata": {"tags": list(tags)}, "outputs": list(outputs)}


def text(source, *tags):
    return {"cell_type": "markdown", "id": "m", "source": source, "metadata": {"tags": list(tags)}}


def show(*cells, language="en", solutions=None):
    return shown({"cells": list(cells), "nbformat": 4}, language, str.upper, solutions or {})["cells"]


@pytest.mark.parametrize(("language", "prompt"), [("en", "A solution"), ("ko", "풀이 예시")])
def test_a_solution_is_folded_under_a_word_of_the_edition(language, prompt):
    in_code, in_text = show(code("x = 1", "solution"), text("so", "solution"), language=language)
    assert "hide-cell" in in_code["metadata"]["tags"] and in_code["metadata"]["mystnb"]["code_prompt_show"] == prompt
    assert in_text["source"] == f'<details class="solution"><summary>{prompt}</summary>\n\nSO\n\n</details>'


def test_the_shipped_solution_stands_behind_the_cell_that_checks_the_exercise(tmp_path):
    (tmp_path / "train.py").write_text('"""Solutions."""\n\n# %% train-3\nanswer = 42\n\n# %% train-5\nother = 1\n')
    solutions = read_solutions(tmp_path)
    assert solutions == {"train-3": "answer = 42", "train-5": "other = 1"}
    cells = show(
        code('check("train-3", answer)'), code("check('train-4', answer)"), text('check("train-3")'), solutions=solutions
    )
    assert [cell["id"] for cell in cells] == ["c", "solution-train-3", "c", "m"]
    assert "```python\nanswer = 42\n```" in cells[1]["source"] and cells[1]["source"].startswith("<details")


def test_a_page_begins_with_its_title_and_the_language_of_the_edition_is_folded():
    title, language, other = show(code('os.environ["KOTUNE_LANG"] = "ko"'), text("# 제목"), text("글"), language="ko")
    assert (title["source"], other["source"]) == ("# 제목", "글") and "hide-input" in language["metadata"]["tags"]


def test_the_set_up_of_colab_is_folded_and_another_cell_is_not():
    _, setup, other = show(
        text("# A title"), code('if "google.colab" in sys.modules:\n    ...'), code("x = 1", "nbval-ignore-output")
    )
    assert "hide-input" in setup["metadata"]["tags"] and other["metadata"] == {"tags": ["nbval-ignore-output"]}


def test_a_widget_becomes_a_sentence_and_every_other_output_stays():
    printed = {"output_type": "stream", "name": "stdout", "text": "1\n"}
    widget = {"output_type": "execute_result", "execution_count": 1, "metadata": {},
              "data": {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "VBox()"}}  # fmt: skip
    (cell,) = show(code(["x = 1\n", "x"], outputs=[printed, widget]))
    assert cell["source"] == "x = 1\nx" and cell["outputs"][0] == printed
    assert "runs" in cell["outputs"][1]["data"]["text/markdown"] and "VBox" not in str(cell)
