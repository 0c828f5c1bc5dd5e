"""Protects: a listing's record is read as a table by people, whatever stands in its texts; what is no record says why."""

import pytest

from kotune.korean.listings import FIELDS, render_record
from kotune.serving.page_texts import ENGLISH, KOREAN
from kotune.serving.record_table import shown
from prompts import ListingRecord

RECORD = ListingRecord(
    deal="월세", kind="투룸", place="망원동", deposit=5000, rent=40, price=None, area="12평", floor="3/5", rooms=2,
    bathrooms=1, maintenance=5.5, pets=True, available="05-20",
)  # fmt: skip


def test_a_record_is_a_table_of_korean_names_above_its_json():
    text = shown(render_record(RECORD), KOREAN)
    lines = text.splitlines()
    assert lines[:3] == ["| 항목 | 내용 |", "|---|---|", "| 거래 종류 | 월세 |"]
    for line in ("| 보증금 (만원) | 5,000 |", "| 매매가 (만원) | - |", "| 관리비 (만원) | 5.5 |", "| 반려동물 | 가능 |"):
        assert line in lines
    assert sum(line.startswith("|") for line in lines) == 2 + len(FIELDS)
    assert text.endswith(f"```json\n{render_record(RECORD)}\n```")
    assert "| Rooms | 2 |" in shown(render_record(RECORD), ENGLISH)


def test_what_a_text_holds_is_no_markdown():
    spiteful = RECORD.model_copy(update={"place": "a|b ![x](http://c.d/e) `f` <g>"})
    [line] = [line for line in shown(render_record(spiteful), KOREAN).splitlines() if line.startswith("| 위치")]
    assert line == r"| 위치 | a\|b \!\[x\]\(http\:\/\/c\.d\/e\) \`f\` \<g\> |"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("안녕하세요", "JSON 한 줄이 아닙니다"),
        (render_record(RECORD) + " 끝", "JSON 한 줄이 아닙니다"),
        (render_record(RECORD).replace('"rent":40,', ""), "'월세 (만원)' 항목이"),
        (render_record(RECORD).replace("40", '"40"'), "'월세 (만원)' 항목이"),
    ],
)
def test_what_is_no_record_is_shown_as_it_is_with_the_reason(reply, says):
    text = shown(reply, KOREAN)
    assert text.startswith(f"{reply}\n\n*표로 정리하지 못했습니다.") and says in text
