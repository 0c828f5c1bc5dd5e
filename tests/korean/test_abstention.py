"""Protects: an answer that declines for want of a document is told from one that answers, in wordings of any make."""

import pytest

from kotune.data import registry
from kotune.korean.abstention import AbstentionCounts, abstains, count_abstentions
from utils import CourseError

DECLINES = [
    "제공해 주신 문서에는 해당 내용이 포함되어 있지 않아 답변을 드릴 수 없습니다.",
    "문서에 관련 정보가 없습니다.",
    "죄송하지만 본문에서 그 내용을 찾을 수 없어요.",
    "지문만으로는 알 수 없습니다. 세무서에 문의하세요.",
    "주어진 자료에는 위약금에 관한 언급이 없습니다.",
    "문서에서 확인할 수 없는 내용입니다.",
    "위 문서들에는 나와 있지 않은 내용이라 정확한 답을 드리기 어렵습니다.",
    "안타깝지만 제시하신 글에는 그에 대한 설명이 없네요.",
    "해당 질문에 대한 답변은 문서에 나오지 않습니다.",
    "참고 자료에 관련 규정이 적혀 있지 않습니다.",
    "문서 세 개를 살펴봤지만 근거를 찾지 못했습니다.",
    "질문에 답할 만한 내용이 문서에 없습니다.",
]
ANSWERS = [
    "네, 집주인의 동의는 필요 없습니다.",
    "확정일자가 없으면 우선변제를 받을 수 없습니다. 계약서를 가지고 주민센터에 가시면 됩니다.",
    "등기부에 나타나지 않는 권리도 있으므로 현장을 확인해야 합니다.",
    "문서를 등기소에 내면 됩니다. 수수료는 없습니다.",
    "계약서에 특약이 없으면 임차인이 부담하지 않습니다.",
    "아닙니다. 말로 한 약속은 증명하기 어려우므로 글로 남기셔야 합니다.",
    "임대인이 바뀌어도 계약 내용은 달라지지 않습니다.",
    "2년입니다. 기간을 정하지 않았어도 그렇게 봅니다.",
    "내용증명은 우체국이 문서의 내용을 증명하는 제도로, 그 자체로 강제력은 없습니다.",
    "보증기관마다 조건이 달라 가입하기 전에 확인해야 합니다. 한도는 문서에 나와 있지 않습니다.",
    "시효가 지나면 청구할 수 없습니다.",
    "",
]


@pytest.mark.parametrize("answer", DECLINES)
def test_an_answer_that_declines_is_known(answer):
    assert abstains(answer)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_no_refusal_for_a_word_in_it(answer):
    assert not abstains(answer)


@pytest.mark.parametrize("part", ["train", "validation", "evaluation"])
def test_the_shipped_refusals_are_known_and_no_other_answer_is_one(part):
    rows = registry.load_rows(f"real_estate_open_book_{part}")
    assert [row["id"] for row in rows if abstains(row["output"])] == [row["id"] for row in rows if row.get("kind")]


def test_both_faults_are_counted_apart():
    answers = ["문서에 관련 정보가 없습니다.", "30일입니다.", "문서에 관련 정보가 없습니다.", "2년입니다.", "1년입니다."]
    counts = count_abstentions(answers, [True, True, False, False, False])
    assert counts == AbstentionCounts(answerable=2, refused=1, unanswerable=3, answered_from_nothing=2)
    assert counts.row() == {"answered from nothing": "2 of 3", "declined what was there": "1 of 2"}
    with pytest.raises(CourseError, match="pass one for each"):
        count_abstentions(answers, [True])
