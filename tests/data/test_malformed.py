"""Protects: a malformed file gives one sentence that names the place, or is read right; never a traceback or a silent drop."""

import openpyxl
import pytest

from kotune import cli
from kotune.data import registry
from kotune.data.excel import LONGEST_CELL, read_sheet, write_sheet
from tests.support.malformed import READ, REFUSED
from utils import CourseError


@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_refused_with_one_sentence(tmp_path, case):
    path = tmp_path / case.name
    path.write_bytes(case.content)
    with pytest.raises(CourseError) as error:
        registry.load(path)
    message = str(error.value)
    assert case.name in message
    assert case.where in message
    assert case.words in message
    assert "\n" not in message
    report = registry.check(str(path), None, [])
    assert report.errors >= 1
    assert case.words in str(report)


@pytest.mark.slow
@pytest.mark.parametrize("case", READ, ids=[case.name for case in READ])
def test_read_right(tmp_path, case):
    path = tmp_path / case.name
    path.write_bytes(case.content)
    loaded = registry.load(path)
    assert len(loaded) == case.count
    assert loaded[0]["prompt"][-1]["content"] == case.first


def test_an_encoding_that_is_not_utf8_is_said(tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes("전세는 집을 빌리는 방식이다.".encode("cp949"))
    assert registry.load(tmp_path / "a.txt") == [{"text": "전세는 집을 빌리는 방식이다."}]
    assert "CP949" in capsys.readouterr().out


def test_a_check_goes_on_after_a_broken_line(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"question": "가", "answer": "나"}\n{broken\n{"question": "", "answer": "다"}\n{"a": 1}\n')
    report = registry.check(str(path), None, [])
    assert report.rows == 4
    assert report.errors == 3


def test_one_bad_shard_does_not_hide_the_next(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "가", "answer": "나"}\n')
    (tmp_path / "b.jsonl").write_text("")
    (tmp_path / "c.jsonl").write_text('{"question": "", "answer": "다"}\n')
    (tmp_path / "~$open.xlsx").write_bytes(b"lock")
    (tmp_path / "deeper").mkdir()
    report = str(registry.check(str(tmp_path), None, []))
    assert "b.jsonl holds no rows" in report
    assert "c.jsonl, line 1, field question" in report
    assert "open.xlsx" not in report


def test_ids_that_the_reader_would_refuse_are_found(tmp_path):
    path = save(tmp_path / "a.xlsx", ["No.", "Conclusion"], [1, "가"], [1, "나"], [1, "다"])
    report = registry.check(str(path), None, [])
    assert report.counts["error", "duplicate id"] == 2
    assert str(report).count("'1' was used by") == 2
    with pytest.raises(CourseError, match="was used by"):
        registry.load(path)


def test_what_is_ignored_is_named(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"messages": [{"role": "user", "content": "가", "weight": 0}, {"role": "assistant", "content": "나"}], "난이도": 3}\n'
    )
    report = str(registry.check(str(path), None, []))
    assert "field messages[].weight" in report and "field 난이도" in report
    assert cli.run(["data", "convert", str(path), str(tmp_path / "b.jsonl"), "--to", "sft"]) == 0
    out = capsys.readouterr().out
    assert "messages[].weight" in out and "난이도" in out


# --- Excel -----------------------------------------------------------------------------------


def save(path, *rows, merge=None, second_sheet=False):
    book = openpyxl.Workbook()
    for cells in rows:
        book.active.append(cells)
    if merge:
        book.active.merge_cells(merge)
    if second_sheet:
        book.create_sheet("둘째").append(["x"])
    book.save(path)
    return path


@pytest.mark.parametrize(
    ("rows", "merge", "where", "words"),
    [
        ([["Conclusion", "SystemPrompt"], ["정상", "쓰시오"], [None, None]], "A2:A3", "A2:A3", "merged"),
        ([], None, "empty sheet", "first row"),
        ([["Conclusion", "SystemPrompt"]], None, "holds no rows", "fill it"),
        ([["Conclusion", None, "SystemPrompt"], ["a", "b", "c"]], None, "row 1", "column 2 has no name"),
        ([["Conclusion", "Conclusion"], ["a", "b"]], None, "row 1", "comes twice"),
        ([["Conclusion", "SystemPrompt", "SystemPrompt "], ["a", "b", "c"]], None, "row 1", "comes twice"),
        ([["Conclusion"], ["a", "beyond"]], None, "row 2", "column without a name"),
        ([["Conclusion"], ["=1+1"]], None, "A2", "formula without a stored value"),
        ([["Befund", "Prompt"], ["a", "b"]], None, "row 2", "Befund, Prompt"),
        ([["Conclusion", "SystemPrompt"], [None, "쓰시오"]], None, "row 2", "field Conclusion"),
    ],
)
def test_a_malformed_workbook_is_named_by_its_cell(tmp_path, rows, merge, where, words):
    path = save(tmp_path / "a.xlsx", *rows, merge=merge)
    with pytest.raises(CourseError) as error:
        registry.load(path)
    assert where in str(error.value)
    assert words in str(error.value)


def test_numbers_dates_and_gaps_are_read_as_a_person_sees_them(tmp_path):
    import datetime

    rows = [[None], ["No.", "Conclusion", "SystemPrompt"], [1, 12, None], [None, None, None],
            [2.0, 3.5, datetime.datetime(2024, 1, 2)], [3, "NA", True], [4, "없음", "None"]]  # fmt: skip
    read = [row for _, row in read_sheet(save(tmp_path / "a.xlsx", *rows, second_sheet=True))]
    assert [tuple(row.values()) for row in read] == [
        ("1", "12", ""), ("2", "3.5", "2024-01-02"), ("3", "NA", "TRUE"), ("4", "없음", "None")
    ]  # fmt: skip


def test_a_number_is_read_as_the_sheet_shows_it_and_an_error_refused(tmp_path, capsys):
    book = openpyxl.Workbook()
    for place, (value, shown) in enumerate(
        [("Conclusion", "General"), (0.35, "0%"), (0.125, "0.0%"), (7, "000"), (1.5, "General")], 1
    ):
        cell = book.active.cell(place, 1, value)
        cell.number_format = shown
    book.create_sheet("둘째")
    book.save(tmp_path / "a.xlsx")
    assert [row["Conclusion"] for _, row in read_sheet(tmp_path / "a.xlsx")] == ["35%", "12.5%", "007", "1.5"]
    assert "둘째 was not" in capsys.readouterr().out
    book.active["A2"] = "#REF!"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(CourseError, match=r"cell A2, holds the error #REF!"):
        registry.load(tmp_path / "a.xlsx")


def test_a_damaged_workbook_is_one_sentence_wherever_it_is_damaged(tmp_path):
    path = save(tmp_path / "a.xlsx", ["Conclusion"], *[[f"결론 {i}"] for i in range(50)])
    whole = path.read_bytes()
    for place in range(30, len(whole), len(whole) // 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            registry.load(path)  # some bytes do not matter
        except CourseError as error:
            assert "\n" not in str(error)


TRICKY = [
    "=1+1", "=== 요약 ===", "+82 10", "-", "- 항목", "@홍길동", "NA", "없음", "None", "nan", "TRUE", "1", "007", "1e5", "#N/A",
    "첫 줄\n둘째 줄", " 앞뒤 공백 ", "'따옴표", '"', "\t탭", "_x0041_", "<b>&amp;</b>", "😀 한글", "가" * LONGEST_CELL,
]  # fmt: skip


def test_text_stays_text_and_reads_back_as_itself(tmp_path):
    path = tmp_path / "a.xlsx"
    assert write_sheet(path, ["글"], [{"글": text} for text in TRICKY]) == []
    assert [row["글"] for _, row in read_sheet(path)] == TRICKY
    import pandas as pd

    again = pd.read_excel(path, dtype=str, keep_default_na=False, engine="calamine")["글"].tolist()
    assert again == TRICKY  # by another reader too; openpyxl does not know that _x0041_ is a letter


def test_an_emoji_counts_as_two_as_in_excel(tmp_path):
    with pytest.raises(CourseError, match="has 40,000 characters"):
        write_sheet(tmp_path / "a.xlsx", ["글"], [{"글": "😀" * 20_000}])


def test_control_characters_are_removed_and_reported(tmp_path):
    cleaned = write_sheet(tmp_path / "a.xlsx", ["글"], [{"글": "정상"}, {"글": "나\x00쁜\x1b 글"}])
    assert [(cell.row, cell.column, cell.removed) for cell in cleaned] == [(3, "글", 2)]
    assert [row["글"] for _, row in read_sheet(tmp_path / "a.xlsx")] == ["정상", "나쁜 글"]


def test_a_text_too_long_for_a_cell_is_an_error_and_nothing_is_written(tmp_path):
    with pytest.raises(CourseError, match=r"row 3, column 글: the text has 32,768 characters"):
        write_sheet(tmp_path / "a.xlsx", ["글"], [{"글": "가"}, {"글": "가" * (LONGEST_CELL + 1)}])
    assert not list(tmp_path.iterdir())
