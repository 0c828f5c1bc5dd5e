"""Protects: a file loses its near duplicates and nothing else, and what went is kept with its twin."""

import json

import pytest

from kotune import cli
from kotune.data.dedup import deduplicate_file
from utils import CourseError, read_jsonl, write_jsonl

ROWS = [
    {"question": "전세 계약을 할 때 확정일자는 어디에서 받나요?", "answer": "주민센터입니다.", "난이도": 1},
    {"question": "월세 세액공제는 누가 받을 수 있나요?", "answer": "무주택 세대주입니다."},
    {"question": "전세 계약을 할 때 확정일자는 어디에서 받을까요?", "answer": "등기소입니다."},
]


def test_kept_rows_stay_as_they_are_and_dropped_ones_name_their_twins(tmp_path, capsys):
    source, target = write_jsonl(tmp_path / "a.jsonl", ROWS), tmp_path / "b.jsonl"
    assert cli.run(["data", "dedup", str(source), str(target), "--threshold", "0.7", "--unit", "syllable"]) == 0
    assert read_jsonl(target) == ROWS[:2]
    (dropped,) = read_jsonl(tmp_path / "b.dropped.jsonl")
    assert (dropped["row"], dropped["twin_row"], dropped["value"]) == (3, 1, ROWS[2])
    assert dropped["text"] == ROWS[2]["question"] and dropped["twin"] == ROWS[0]["question"] and 0.7 <= dropped["score"] < 1
    assert "2 rows; 1 near duplicates in" in capsys.readouterr().out


def test_another_field_may_be_compared(tmp_path):
    rows = [{"메모": "같은 글입니다"}, {"메모": "같은 글입니다"}, {"메모": "다른 이야기"}]
    done = deduplicate_file(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "b.jsonl", field="메모")
    assert (done.kept, done.dropped) == (2, 1)
    with pytest.raises(CourseError, match="line 1 has no text in the field '제목'"):
        deduplicate_file(tmp_path / "a.jsonl", tmp_path / "c.jsonl", field="제목")


def test_nothing_is_dropped_where_nothing_repeats_and_the_input_is_never_the_output(tmp_path):
    source = write_jsonl(tmp_path / "a.jsonl", ROWS[:2])
    assert deduplicate_file(source, tmp_path / "b.jsonl").dropped == 0
    assert (tmp_path / "b.dropped.jsonl").read_text() == ""
    for target, words in ((source, "is the input"), (tmp_path / "b.csv", r"does not end in \.jsonl")):
        with pytest.raises(CourseError, match=words):
            deduplicate_file(source, target)
    assert [json.loads(line) for line in source.read_text().splitlines()] == ROWS[:2]
