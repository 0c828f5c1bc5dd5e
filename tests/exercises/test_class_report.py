"""Protects: a teacher gets a line for each learner and exercise, whatever thirty people have handed in."""

import csv
import json
from datetime import UTC, datetime, timedelta

import pytest

from kotune import cli
from kotune.exercises import class_report
from utils import CourseError

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def line(who, id, solved, minute, row=None, fault="ratio"):
    at = (START + timedelta(minutes=minute)).isoformat()
    row = row or f"{who}-{id}-{minute}"
    return (
        json.dumps({"row": row, "who": who, "id": id, "solved": solved, "fault": fault, "at": at}, ensure_ascii=False) + "\n"
    )


@pytest.fixture
def handed_in(tmp_path):
    folder = tmp_path / "handed in"
    for number in range(30):
        own = folder / f"seat {number}"
        own.mkdir(parents=True)
        lines = [line(f"학습자 {number}", "basics-1", False, 1), line(f"학습자 {number}", "basics-1", number % 2 == 0, 2)]
        lines += [line(f"학습자 {number}", "basics-1", False, 3), line(f"학습자 {number}", "train-q1", True, 4, fault="b")]
        (own / "results.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_writes_who_solved_what(handed_in, tmp_path, capsys):
    out = tmp_path / "class.csv"
    assert cli.run(["class", "report", str(handed_in), "--out", str(out)]) == 0
    rows = table(out)
    assert len(rows) == 60 and tuple(rows[0]) == class_report.COLUMNS
    by_both = {(row["who"], row["id"]): row for row in rows}
    solved, open_ = by_both["학습자 0", "basics-1"], by_both["학습자 1", "basics-1"]
    assert (solved["tries"], solved["solved_at"]) == ("2", "2026-03-02T09:02:00+00:00")  # what came later does not count
    assert (open_["tries"], open_["solved_at"]) == ("3", "")
    assert by_both["학습자 1", "train-q1"]["kind"] == "question"
    said = capsys.readouterr().out
    assert "basics-1            30     15        2.5  ratio (75)" in said
    assert said.rstrip().splitlines()[-1].startswith("30 learners, 30 files: ")


def test_a_file_that_was_handed_in_twice_counts_once_and_names_that_meet_are_told(handed_in):
    copy = handed_in / "results (1).jsonl"
    copy.write_text(
        (handed_in / "seat 3" / "results.jsonl").read_text("utf-8") + line("학습자 4", "dpo-1", True, 9), "utf-8"
    )
    found = class_report.read(handed_in)
    assert found.repeated == 4 and len(found.tries) == 121
    said = "\n".join(class_report.notes(found))
    assert "4 lines stood in more than one file" in said
    assert "2 files carry the name 학습자 4" in said


def test_what_cannot_be_read_is_counted_and_the_rest_is_kept(handed_in):
    broken = handed_in / "broken.jsonl"
    bad = ["no json\n", '"text"\n', '{"row": "1"}\n', line("", "dpo-1", True, 1), '{"a": ' + "[" * 100_000 + "\n"]
    bad += [line("나", "dpo-1", True, 1).replace("+00:00", ""), line("나", "dpo-1", True, 1).replace("true", '"yes"')]
    broken.write_text("".join(bad) + line("나", "dpo-9", True, 5), encoding="utf-8")
    (handed_in / "other.jsonl").write_bytes(b"\xff\xfe\x00")
    found = class_report.read(handed_in)
    assert len(found.refused) == len(bad) + 1
    assert any("broken.jsonl, line 1, is no result" in one for one in found.refused)
    said = class_report.notes(found)
    assert f"{len(bad) + 1} lines or files were left out" in said[-1]
    assert "dpo-9" in "\n".join(said)
    assert any(one.id == "dpo-9" for one in class_report.standings(found.tries))


def test_no_name_becomes_a_formula(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text(line('=HYPERLINK("x")', "basics-1", True, 1), "utf-8")
    out = class_report.write_csv(class_report.standings(class_report.read(folder).tries), tmp_path / "out.csv")
    assert table(out)[0]["who"] == '\'=HYPERLINK("x")'


def test_a_folder_without_results_is_one_sentence(tmp_path):
    with pytest.raises(CourseError, match="is no folder"):
        class_report.read(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="holds no result of an exercise"):
        class_report.read(tmp_path)
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(CourseError, match=r"a.jsonl, line 1, is no result"):
        class_report.read(tmp_path)
    with pytest.raises(CourseError, match="is the input"):
        class_report.report_command(tmp_path, tmp_path / "a.jsonl")
