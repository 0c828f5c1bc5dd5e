"""Protects: a row with two answers is judged as it stands in its file, of whatever kind, and never where it compares nothing."""

import csv
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.answering.pair_files import read_pairs
from kotune.data.excel import write_sheet
from kotune.data.records import is_blank
from utils import CourseError, write_jsonl

COLUMNS = ("input1", "completion1", "input2", "completion2")
ASKED = "담보대출 받으려면 어떻게 해야 하나요?"
ROWS = [
    dict(zip(COLUMNS, (ASKED, "\n\n1. 서류를 냅니다.\n2. 심사를 받습니다.", ASKED, " 은행에 갑니다.\n"), strict=True)),
    dict(zip(COLUMNS, ("전세란?", "", "전세란?", "보증금을 맡기고 사는 방식입니다."), strict=True)),
]


def test_the_same_pairs_come_out_of_jsonl_csv_and_a_workbook(tmp_path):
    write_jsonl(tmp_path / "my.jsonl", ROWS)
    with (tmp_path / "my.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(ROWS)
    write_sheet(tmp_path / "my.xlsx", COLUMNS, ROWS)
    read = [read_pairs(tmp_path / f"my.{kind}").pairs for kind in ("jsonl", "csv", "xlsx")]
    assert read[0] == read[1] == read[2]
    assert [(pair.question.id, pair.question.question) for pair in read[0]] == [("my-00001", ASKED), ("my-00002", "전세란?")]
    assert [(pair.answer_a, pair.answer_b) for pair in read[0]] == [(row["completion1"], row["completion2"]) for row in ROWS]


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@given(st.lists(st.tuples(texts.filter(lambda text: not is_blank(text)), texts, texts, texts), min_size=1, max_size=4))
def test_what_is_written_is_what_is_compared(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("pairs") / "p.jsonl"
    written = [dict(zip((*COLUMNS, "reference"), (q, a, q, b, reference), strict=True)) for q, a, b, reference in rows]
    file = read_pairs(write_jsonl(path, written))
    found = [(p.question.question, p.answer_a, p.answer_b, p.question.reference) for p in file.pairs]
    assert found == [(q, a, b, None if is_blank(reference) else reference) for q, a, b, reference in rows]
    firsts, seconds = file.answers()
    assert [(one.question, one.answer) for one in firsts] == [(q, a) for q, a, _, _ in rows]
    assert [(one.id, one.answer) for one in seconds] == [(p.question.id, p.answer_b) for p in file.pairs]


def test_one_question_in_two_unicode_forms_is_one_question(tmp_path):
    row = ROWS[0] | {"input2": f" {unicodedata.normalize('NFD', ASKED)} \n"}
    assert read_pairs(write_jsonl(tmp_path / "p.jsonl", [row])).pairs[0].question.question == ASKED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input2": "월세란?"}, r"line 2, field input2: it is another question than input1 \('월세란\?', not '전세란\?'\)"),
        ({"input1": " "}, r"line 2, field input1: the text is empty"),
        ({"input2": None}, r"line 2, field input2: expected a text"),
        ({"completion2": None}, r"line 2, field completion2: expected a text"),
        ({"completion1": 3}, r"line 2, field completion1: expected a text"),
        ({"context": "임대차 문서"}, r"line 2, field context: .* have no place for it"),
        ({"id": "first"}, r"line 2, field id: 'first' is the id of line 1 too"),
    ],
)
def test_a_row_that_compares_nothing_is_refused_with_its_line(tmp_path, change, said):
    path = write_jsonl(tmp_path / "p.jsonl", [ROWS[0] | {"id": "first"}, ROWS[1] | change])
    with pytest.raises(CourseError, match=said):
        read_pairs(path)


def test_another_file_is_refused_with_what_a_row_needs(tmp_path):
    with pytest.raises(CourseError, match=r"line 1, field input2: missing; a row with two answers has input1, completion1"):
        read_pairs(write_jsonl(tmp_path / "p.jsonl", [{name: ROWS[0][name] for name in COLUMNS if name != "input2"}]))
    with pytest.raises(CourseError, match=r"line 1, has no two answers to compare; a row has input1"):
        read_pairs(write_jsonl(tmp_path / "q.jsonl", [{"question": "전세란?", "answer": "방식입니다."}]))


def test_what_a_judge_does_not_see_is_named(tmp_path, capsys):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({**ROWS[0], "temperature": 0.1}, ensure_ascii=False) + "\n", encoding="utf-8")
    read_pairs(path)
    assert "fields that were not used: temperature (1 row)" in capsys.readouterr().out
