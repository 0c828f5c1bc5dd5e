"""Protects: a file of questions comes back whole with its answers, whatever is in it and whenever the run dies."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import openpyxl
import pytest

from kotune import cli
from kotune.answering import answer_files, batch
from kotune.answering.answer_files import AnswerFile
from kotune.answering.engines import EngineChoice
from kotune.korean.listings import FIELDS, parse_record, render_record
from kotune.models.chat_template import render
from kotune.models.sampling import Sampling
from prompts import LISTING
from tests.support.embedding import forget_model, install
from tests.support.serving import environment, save_tiny_model
from utils import DATA, CourseError, read_jsonl, write_jsonl

pytestmark = pytest.mark.slow  # servers, browsers and models are started

ROOT = Path(__file__).resolve().parents[2]
ODD = ["=1+1", "NA", "없음", "-", "@SUM(A1)", "+82", "007", "여러\n줄", "🙂 表 <b>", "가" * 3000]


@pytest.fixture
def tuned(tiny_model, tokenizer, tmp_path, monkeypatch):
    """The folder of an adapter on a tiny base, and the CPU recipe in float32 for it."""
    monkeypatch.setenv("COURSE_RECIPE", "gemma-3-270m-cpu")
    tiny_model.config.max_position_embeddings = 2048
    _, adapter = save_tiny_model(tiny_model, tokenizer, tmp_path / "model")
    return adapter


@pytest.fixture
def run(tuned, tmp_path, monkeypatch, capsys):
    """Return a function that runs the command with files below the test's own folder, and returns what it printed."""
    monkeypatch.setattr(batch, "FOLDER", tmp_path / "out")

    def call(*arguments):
        cli.run(["infer", *map(str, arguments), "--model_path", str(tuned), "--max_tokens", "6"])
        return capsys.readouterr().out

    return call


def sheet(path, columns, rows):
    book = openpyxl.Workbook()
    book.active.append(columns)
    for row in rows:
        book.active.append(row)
        for cell in book.active[book.active.max_row]:
            cell.data_type = "s" if isinstance(cell.value, str) else cell.data_type
    book.save(path)
    return path


def read_text(path):
    return path.read_text(encoding="utf-8")


def read_sheet(path):
    header, *rows = openpyxl.load_workbook(path).active.iter_rows()
    for cell in (cell for row in rows for cell in row):
        assert cell.value is None or cell.data_type == "s"  # text stays text: no formula, no number
    return [{h.value: c.value for h, c in zip(header, row, strict=True)} for row in rows]


@pytest.mark.slow
def test_the_hospitals_sheet_comes_back_whole(run, tmp_path):
    columns = ["No.", "SystemPrompt", "Conclusion", "Findings", "비고"]
    rows = [[str(i), "판독 소견을 쓰세요.", f"Hepatic cyst, {i} mm. {odd}", "적힌 소견" if i % 2 else "", odd]
            for i, odd in enumerate(ODD, 1)]  # fmt: skip
    given = sheet(tmp_path / "test.xlsx", columns, rows)
    said = run("--inference_data", given, "--save_name", "test")
    assert "10 answered now" in said and "10 were cut at 6 tokens" in said
    made = read_sheet(tmp_path / "out" / "test.xlsx")
    assert list(made[0]) == ["Conclusion", "Findings", "No.", "SystemPrompt", "Findings (input)", "비고", "ended"]
    lines = read_jsonl(tmp_path / "out" / "test.jsonl")
    for row, line, cells in zip(rows, lines, made, strict=True):
        assert [cells[name] or "" for name in ("No.", "SystemPrompt", "Conclusion", "Findings (input)", "비고")] == row
        assert cells["Findings"] == (line["answer"] or None) and cells["ended"] == "no, cut at 6 tokens"
        assert line["id"] == row[0] and line["question"] == row[2] and line.get("reference", "") == row[3]


@pytest.mark.slow
def test_the_lines_are_a_file_for_judging(run, tmp_path):
    run("--inference_data", "real_estate_evaluation", "--save_name", tmp_path / "a.jsonl")
    found = answer_files.read_answers(tmp_path / "a.jsonl")
    rows = read_jsonl(DATA / "real_estate_evaluation.jsonl")
    assert [one.id for one in found] == [row["id"] for row in rows]
    assert [one.reference for one in found] == [row["reference"] for row in rows]
    assert not (tmp_path / "a.xlsx").exists()


@pytest.mark.slow
def test_kill_9_in_the_middle_loses_nothing(tuned, run, tmp_path):
    questions = [{"id": f"q{i}", "question": f"질문 {i}: " + "전세가 무엇인가요? " * (i % 4 + 1)} for i in range(12)]
    data = write_jsonl(tmp_path / "questions.jsonl", questions)
    arguments = ["--inference_data", data, "--batch_size", "4", "--save_name"]
    run(*arguments, tmp_path / "whole")
    command = [sys.executable, str(ROOT / "tests" / "support" / "killed_inference.py"), "6", *map(str, arguments), str(tmp_path / "killed"),
               "--model_path", str(tuned), "--max_tokens", "6"]  # fmt: skip
    died = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not (tmp_path / "killed.xlsx").exists()
    held = (tmp_path / "killed.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(held) == 7 and held[-1] == '{"id": "half a li'
    said = run(*arguments, tmp_path / "killed")
    assert "the last line was torn" in said and "6 of 12 rows are answered already" in said and "6 answered now" in said
    lines = read_text(tmp_path / "killed.jsonl").splitlines()
    assert set(held[:6]) <= set(lines)  # what was written before stands as it was
    # rows answered in other batches are rounded otherwise, so that texts may part
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in read_jsonl(tmp_path / "whole.jsonl")]
    assert [row["id"] for row in read_sheet(tmp_path / "killed.xlsx")] == [row["id"] for row in questions]
    assert "0 answered now" in run(*arguments, tmp_path / "killed")  # and once more: nothing is asked


@pytest.mark.slow
def test_another_run_is_not_mixed_in(run, tmp_path):
    data = write_jsonl(tmp_path / "q.jsonl", [{"question": "전세가 무엇인가요?"}])
    run("--inference_data", data, "--save_name", tmp_path / "a")
    with pytest.raises(CourseError, match=r"answers of another run \(repetition_penalty is 1.5 here and 1.0 there\)"):
        run("--inference_data", data, "--save_name", tmp_path / "a", "--repetition_penalty", "1.5")
    write_jsonl(data, [{"question": "월세가 무엇인가요?"}])
    with pytest.raises(CourseError, match=r"another run \(other rows\)"):
        run("--inference_data", data, "--save_name", tmp_path / "a")


@pytest.mark.slow
def test_passages_go_into_the_prompt_and_are_named(run, tmp_path, tokenizer, monkeypatch):
    from kotune.data.retrieval import Library

    seen = []
    plain = batch.engines.TransformersEngine.answers
    monkeypatch.setattr(
        batch.engines.TransformersEngine, "answers", lambda self, prompts: seen.extend(prompts) or plain(self, prompts)
    )
    question = "확정일자는 어디에서 받나요?"
    data = write_jsonl(tmp_path / "q.jsonl", [{"question": question}, {"question": "zxqv"}])
    documents = DATA / "documents.jsonl"
    run("--inference_data", data, "--documents", documents, "--ranking", "bm25", "--save_name", tmp_path / "a")
    first, second = read_jsonl(tmp_path / "a.jsonl")
    asked = Library(documents).ask(question)
    assert [s["title"] for s in first["sources"]] == [s.title for s in asked.sources] and "sources" not in second
    assert seen[0] == render(tokenizer, [{"role": "user", "content": asked.content}]).ids
    cells = read_sheet(tmp_path / "a.xlsx")
    assert cells[0]["sources"].startswith(f"[1] {asked.sources[0].title}") and not cells[1]["sources"]


def test_answers_by_another_ranking_are_of_another_run(monkeypatch, tmp_path):
    """BM25 is not named, so that a run goes on that was begun when there was nothing else."""
    install(monkeypatch, tmp_path)
    documents = write_jsonl(tmp_path / "docs.jsonl", [{"title": "전세", "text": "보증금을 맡긴다."}])
    served = SimpleNamespace(base="model", adapters=())
    plain, fused = (
        batch.settings_card([], served, EngineChoice(), Sampling(), str(documents), ranking=ranking)
        for ranking in ("bm25", "fused")
    )
    assert fused == plain | {"ranking": "fused", "embeddings_sha256": hashlib.sha256(b"weights").hexdigest()}
    answers = tmp_path / "answers.jsonl"
    AnswerFile(answers, fused).append([{"id": "1", "question": "가", "answer": "나"}])
    with pytest.raises(CourseError, match=r'another run .ranking is null here and "fused" there'):
        AnswerFile(answers, plain)
    forget_model()


def test_a_ranking_without_documents_is_refused(run, tmp_path):
    with pytest.raises(CourseError, match="name their file with --documents"):
        run("--inference_data", write_jsonl(tmp_path / "q.jsonl", [{"question": "가"}]), "--ranking", "bm25")


TURNS = [{"role": "user", "content": "가"}, {"role": "assistant", "content": "나"}, {"role": "user", "content": "다"}]


@pytest.mark.parametrize(
    ("row", "asked", "reference"),
    [
        ({"prompt": [{"role": "system", "content": "짧게."}, {"role": "user", "content": "전세?"}]}, "전세?", None),
        ({"instruction": "요약해 주세요.", "input": "긴 글", "output": ""}, "요약해 주세요.\n\n긴 글", None),
        ({"messages": TURNS}, "다", None),
        ({"conversations": [{"from": "human", "value": "전세?"}]}, "전세?", None),
        ({"question": "전세?", "reference": "보증금을 맡깁니다."}, "전세?", "보증금을 맡깁니다."),
        ({"question": "전세?", "answer": "보증금을 맡깁니다."}, "전세?", "보증금을 맡깁니다."),
        ({"prompt": "전세?", "chosen": "좋은 답", "rejected": "나쁜 답"}, "전세?", "좋은 답"),
        ({"seed_word": "전세", "answer": ["하나?", "둘?"]}, "하나?", None),
        ({"input": "글", "output": None, "Task_name": "task01_01"}, "글", None),
        ({"text": "전세가 무엇인가요?"}, "전세가 무엇인가요?", None),
    ],
)
def test_every_shape_can_be_answered_with_or_without_a_reply(row, asked, reference, tmp_path):
    found = batch.read_rows(write_jsonl(tmp_path / "rows.jsonl", [row]))[0]
    assert (found.question, found.prompt[-1]["content"], found.reference) == (asked, asked, reference)


@pytest.mark.slow
def test_one_question_streams_from_the_command_line(tuned):
    done = subprocess.run(
        [sys.executable, "-m", "kotune", "infer", "--prompt", "전세가 무엇인가요?", "--model_path", str(tuned), "--max_tokens", "5"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("columns", "rows", "says"),
    [
        (
            ["결론", "SystemPrompt"],
            [["낭종", "쓰세요"]],
            r"has the fields 결론, SystemPrompt; to be answered a row needs Conclusion",
        ),
        (["Conclusion"], [["낭종"]], r"row 2 has the columns Conclusion and no SystemPrompt; add that column, or pass"),
        (["Conclusion", "SystemPrompt"], [], r"holds no rows"),
        ([], [], r"has an empty sheet"),
        (
            ["Conclusion", "SystemPrompt", "No."],
            [["가", "나", "1"], ["다", "나", "1"]],
            r"row 3: the id '1' was used by row 2; give each row its own",
        ),
    ],
)
def test_a_sheet_that_cannot_be_answered_is_one_sentence(columns, rows, says, run, tmp_path):
    with pytest.raises(CourseError, match=says):
        run("--inference_data", sheet(tmp_path / "bad.xlsx", columns, rows))


def test_a_sheet_without_instructions_takes_one_from_the_command_line(run, tmp_path):
    given = sheet(tmp_path / "test.xlsx", ["Conclusion"], [["낭종"]])
    assert batch.read_rows(given, "소견을 쓰세요.")[0].prompt[-1]["content"] == "소견을 쓰세요.\n\n낭종"
    assert batch.read_rows(given, "")[0].prompt[-1]["content"] == "낭종"


@pytest.mark.slow
def test_a_prompt_over_the_context_stops_the_run_before_it_starts(run, tmp_path):
    data = write_jsonl(tmp_path / "q.jsonl", [{"question": "짧은 질문"}, {"question": "전세 " * 2_000}])
    with pytest.raises(CourseError, match=r"line 2: the prompt has [\d,]+ tokens .* \(1 such rows of 2\); shorten it"):
        run("--inference_data", data, "--save_name", tmp_path / "a")
    assert not read_text(tmp_path / "a.jsonl")


def test_the_questions_are_never_written_over(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = sheet(tmp_path / "test.xlsx", ["Conclusion", "SystemPrompt"], [["낭종", "쓰세요"]])
    before = given.read_bytes()
    with pytest.raises(CourseError, match="is the file with the questions"):
        run("--inference_data", given, "--save_name", tmp_path / "test")
    assert given.read_bytes() == before


@pytest.mark.slow
def test_an_answer_too_long_for_a_cell_keeps_the_lines(run, tmp_path):
    data = write_jsonl(tmp_path / "q.jsonl", [{"question": "전세가 무엇인가요?", "출처": "가" * 40_000}])
    with pytest.raises(CourseError, match=r"an Excel cell holds 32,767"):
        run("--inference_data", data, "--save_name", tmp_path / "a")
    assert json.loads(read_text(tmp_path / "a.jsonl"))["question"] == "전세가 무엇인가요?"


@pytest.mark.slow
def test_bad_paths_are_one_sentence_each(tmp_path):
    for arguments, says in (
        (["--inference_data", "no.xlsx"], "no.xlsx is neither a file nor a registered data set"),
        (["--prompt", "전세?", "--model_path", "./nowhere"], "nowhere is no folder"),
        (["--prompt", "전세?", "--recipe", "no-such"], "There is no recipe 'no-such'"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "kotune", "infer", *arguments],
            cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 1 and done.stderr.startswith("error: ") and says in done.stderr, done.stderr


# --- answers in JSON as columns --------------------------------------------------------------


def workbook_of(path, rows, answers, columns_from_json=True):
    """Write rows with stand-in answers; return what was said, and the cells."""
    asked = batch.read_rows(write_jsonl(path.with_suffix(".jsonl"), rows))
    held = {
        row.id: answer_files.AnswerRow(row.id, row.question, answer, ended=True)
        for row, answer in zip(asked, answers, strict=True)
    }
    notes = batch.write_workbook(path, asked, held, columns_from_json)
    header, *cells = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
    return notes, [dict(zip(header, row, strict=True)) for row in cells]


def test_the_fields_of_answers_in_json_become_columns(tmp_path):
    record = parse_record(
        '{"deal":"월세","kind":"원룸","place":"망원동","deposit":500,"rent":45,"price":null,"area":"7평","floor":"3/5",'
        '"rooms":1,"bathrooms":1,"maintenance":7.5,"pets":false,"available":"05-20"}'
    )
    notes, (first, second) = workbook_of(
        tmp_path / "a.xlsx",
        [{"text": "망원동 원룸 500/45", "No.": "A-1"}, {"text": "=1+1", "No.": "A-2"}],
        [render_record(record), "모르겠습니다."],
    )
    assert list(first) == ["text", "No.", *FIELDS, "answer", "ended"]
    assert {name: first[name] for name in FIELDS} == record.model_dump() | {"pets": "false"}
    assert isinstance(first["deposit"], int) and isinstance(first["maintenance"], float)
    assert second["answer"] == "모르겠습니다." and not any(second[name] for name in FIELDS) and second["text"] == "=1+1"
    assert len(notes) == 1 and "1 of 2 answers are no JSON object (the first in row 3)" in notes[0]


def test_a_field_never_takes_the_place_of_another_column(tmp_path):
    answer = '{"text": "=HYPERLINK(1)", "answer": {"안": ["하나"]}, "ended": 12345678901234567890}'
    _, (row,) = workbook_of(tmp_path / "a.xlsx", [{"text": "가"}], [answer])
    assert row == {
        "text (input)": "가", "text": "=HYPERLINK(1)", "answer (answer)": '{"안": ["하나"]}',
        "ended (answer)": "12345678901234567890", "answer": answer, "ended": "yes",
    }  # fmt: skip
    assert openpyxl.load_workbook(tmp_path / "a.xlsx").active["B2"].data_type == "s"


@pytest.mark.parametrize("answer", ["", "[1]", '"월세"', "{", "[" * 100_000, "NaN", '{"a": 1} 끝'])
def test_what_is_no_object_leaves_the_columns_empty(answer, tmp_path):
    notes, (_, row) = workbook_of(tmp_path / "a.xlsx", [{"text": "가"}, {"text": "나"}], ['{"a": NaN}', answer[:30_000]])
    assert row["a"] is None and "1 of 2 answers" in notes[0]


def test_without_the_flag_answers_in_json_stay_whole(tmp_path):
    notes, (row,) = workbook_of(tmp_path / "a.xlsx", [{"text": "가"}], ['{"a": 1}'], columns_from_json=False)
    assert row == {"text": "가", "answer": '{"a": 1}', "ended": "yes"} and not notes


@pytest.mark.slow
def test_the_columns_come_with_the_flag_and_nothing_is_answered_anew(run, tmp_path, monkeypatch):
    given = sheet(tmp_path / "listings.xlsx", ["text"], [["망원동 원룸 500/45"]])
    run("--inference_data", given, "--save_name", tmp_path / "a", "--system_prompt", LISTING.system)
    lines = read_jsonl(tmp_path / "a.jsonl")
    write_jsonl(tmp_path / "a.jsonl", [{**lines[0], "answer": '{"rent": 45}'}])
    said = run(
        "--inference_data", given, "--save_name", tmp_path / "a", "--system_prompt", LISTING.system, "--columns_from_json"
    )
    assert "0 answered now" in said
    assert openpyxl.load_workbook(tmp_path / "a.xlsx").active["B2"].value == 45


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--inference_data", "real_estate_evaluation", "--save_name", "a.jsonl"],
            "makes columns in a workbook, and a.jsonl asks for none",
        ),
        (["--prompt", "전세?"], "is for a file of questions"),
    ],
)
def test_columns_that_cannot_be_made_are_refused(arguments, says, run):
    with pytest.raises(CourseError, match=says):
        run(*arguments, "--columns_from_json")


def test_an_instruction_from_the_command_line_goes_before_rows_that_have_none(tmp_path):
    rows = [
        {"text": "500/45"},
        {"instruction": "요약해 주세요.", "input": "글"},
        {"prompt": [{"role": "system", "content": "짧게."}, {"role": "user", "content": "가"}]},
    ]
    found = batch.read_rows(write_jsonl(tmp_path / "rows.jsonl", rows), LISTING.system)
    assert found[0].prompt == LISTING.messages(listing="500/45")
    assert [row.prompt[0]["content"] for row in found[1:]] == ["요약해 주세요.\n\n글", "짧게."]
