"""Protects: files of tests/corpus/, each of which once was read wrong or stopped the course, are read right."""

import time
from pathlib import Path

import pytest

from kotune.data import readers, registry
from utils import CourseError

CORPUS = Path(__file__).parents[1] / "corpus"
SHOWN = [  # what Excel shows of the cells of number_formats, by their formats
    "35.0%", "35.0%", "(5%)", "0.3", "010-1234-5678", "1.50", "2024", "35%", "35", "1,234,567", "△1,234", "없음",
    "2024년 3월 1일 (금)", "오후 12:00", "36:00", "850101-1234567", "₩1,234", "150명", "007", "1.23E+04",
]  # fmt: skip
ONE, TWO = [("가", "나")], [("가", "나"), ("다", "라")]
PAIRS = {
    "quotation_marks.tsv": [("q1", '"좋았습니다.'), ("q2", "나빴습니다."), ("q3", '괜찮았습니다."'), ("q4", "답")],
    "swallowed_rows.csv": [("q1", "좋았습니다.\nq2,나빴습니다.\nq3,괜찮았습니다."), ("q4", "답")],
    "separator_named.csv": ONE,
    "blank_before_quote.csv": [("가, 나?", "다, 라")],
    "capital_names.csv": ONE,
    "two_files.csv": TWO,
    "two_files.jsonl": TWO,
    "carriage_returns.jsonl": TWO,
    "pretty.jsonl": TWO,
    "line_separators.jsonl": TWO,
    "far_future.parquet": ONE,
    "far_cell.xlsx": ONE,
    "far_format.xlsx": ONE,
    "hidden_sheet.xlsx": ONE,
    "shown.ods": [("35.0%", "첫  줄\n둘째 줄")],
    "escapes.xlsx": [
        ("2", "간 정상.\r"), ("3", "_x000D_"), ("4", "a\tb"), ("5", "😀"), ("6", "_x00_ _x00zz_ x000D_"), ("7", "_\r_"),
        ("8", "굵은 글"), ("줄\n바꿈", "값\r"), ("TRUE", "2024-03-01"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name):
    started = time.process_time()
    records = registry.load(CORPUS / name)
    assert [(one["prompt"][-1]["content"], one["completion"][0]["content"]) for one in records] == PAIRS[name]
    assert time.process_time() - started < 10  # the far cell took over 90 s and 3 GB


@pytest.mark.parametrize("name", ["number_formats.xlsx", "number_formats.xls"])
def test_numbers_are_read_as_the_sheet_shows_them(name):
    assert [row.value["Conclusion"] for row in readers.read(CORPUS / name)] == SHOWN


def test_dates_count_from_1904_where_the_workbook_says_so():
    dates = [row.value["Conclusion"] for row in readers.read(CORPUS / "since_1904.xlsx")]
    assert dates == ["2024-03-01", "2024년 03월 01일"]


def test_documents():
    assert [one["text"] for one in registry.load(CORPUS / "carriage_returns.txt")] == ["하나", "둘", "셋"]
    (korean,) = registry.load(CORPUS / "johab.txt")
    assert korean["text"].startswith("전세는 집을 빌리는 방식이다.")


@pytest.mark.parametrize(
    ("name", "words"),
    [("gb18030.txt", "as CP949 it is no Korean"), ("web_page.xls", "a web page under its name")],
)
def test_refused(name, words):
    with pytest.raises(CourseError, match=words) as error:
        registry.load(CORPUS / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("swallowed_rows.csv", "line 2: a text that holds both a comma and a line break"),
        ("two_files.csv", "line 3: the names of the columns again"),
        ("pretty.jsonl", "objects of several lines"),
        ("far_cell.xlsx", "1 cells beside the table were not read"),
        ("hidden_sheet.xlsx", "옛 자료 (hidden) was not"),
        ("shown.ods", "옛 자료 (hidden) was not"),
        ("title.xlsx", "rows above the names of the columns were not read ('환자 목록')"),
        ("far_future.parquet", "the column 'when'"),
        ("johab.txt", "JOHAB"),
    ],
)
def test_what_was_not_read_is_said(capsys, name, words):
    list(readers.read(CORPUS / name))
    assert words in capsys.readouterr().out


def test_a_doubtful_text_is_a_warning_of_check():
    report = registry.check(str(CORPUS / "swallowed_rows.csv"), None, [])
    assert report.counts["warning", "doubtful"] == 1 and report.errors == 0 and report.rows == 2


def test_a_title_above_the_names_of_the_columns():
    (row,) = readers.read(CORPUS / "title.xlsx")
    assert row.value == {"Conclusion": "간 정상", "SystemPrompt": "쓰시오"}
    assert row.place.endswith("row 4")
