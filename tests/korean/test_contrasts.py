"""Protects: what looks like a repeat and asks something else is told apart, and a repeat in another notation is not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import similarity
from kotune.data import registry
from kotune.korean.contrasts import contrast, difference
from tests.support.growth import assert_linear
from utils import DATA, read_jsonl

PAIRS = read_jsonl(Path(__file__).parents[1] / "data" / "repeat_pairs.jsonl")


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("보증금 2억 원", "보증금 5억 원", "numbers"),
        ("전용 59㎡", "전용 84㎡", "numbers"),
        ("30일 안에", "30개월 안에", "numbers"),
        ("제3조의2", "제3조의4", "numbers"),
        ("9억 이하 주택", "9억 초과 주택", "numbers"),
        ("2억에서 5억으로", "5억에서 2억으로", "numbers"),
        ("세금 8%", "세금 8만 원", "numbers"),
        ("확정일자를 받으면", "확정일자를 안 받으면", "negation"),
        ("등기한 건물", "등기하지 않은 건물", "negation"),
        ("보험에 들면", "보험에 못 들면", "negation"),
        ("계약서가 있는데", "계약서가 없는데", "negation"),
        ("등기 주택", "미등기 주택", "negation"),
        ("임대인이 임차인에게 청구", "임차인이 임대인에게 청구", "parties"),
        ("임대인이 임차인에게 청구", "임대인에게 임차인이 청구", "parties"),
        ("매도인의 세금", "매수인의 세금", "parties"),
        ("전세로 살 때", "월세로 살 때", "kinds"),
        ("재산세는 언제 내나요", "취득세는 언제 내나요", "kinds"),
        ("집을 팔 때", "집을 살 때", "kinds"),
        ("DSR이 뭐예요", "LTV가 뭐예요", "kinds"),
        ("금리가 오르면", "금리가 내리면", "kinds"),
        ("계약 전에 볼 서류", "계약 후에 볼 서류", "kinds"),
        ("강남구의 전세가율", "송파구의 전세가율", "kinds"),
        ("수원의 전세가율", "용인의 전세가율", "kinds"),
        ("토지의 취득세", "건물의 취득세", "kinds"),
        ("국민주택의 청약 자격", "민영주택의 청약 자격", "kinds"),
        ("일반공급의 자격", "특별공급의 자격", "kinds"),
        ("가계약금을 돌려받나요", "본계약금을 돌려받나요", "kinds"),
        ("주거용 오피스텔", "업무용 오피스텔", "kinds"),
        ("경매로 사면", "공매로 사면", "kinds"),
        ("첫째 조건", "둘째 조건", "kinds"),
        ("일주택자의 세금", "이주택자의 세금", "kinds"),
        ("확정일자가 늦으면", "확정일자가 빠르면", "kinds"),
        ("소득이 많으면", "소득이 적으면", "kinds"),
        ("보증금을 올려 달라고", "보증금을 내려 달라고", "kinds"),
        ("오전 2시에", "오후 2시에", "numbers"),
        ("확정일자는 어디에서 받나요", "확정일자는 언제 받나요", "what is asked"),
    ],
)
def test_what_differs_is_named(text, other, expected):
    assert difference(text, other) == difference(other, text) == expected


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("보증금 3억 5천만 원", "보증금 3억5000만원"),
        ("1,000만 원", "1천만원"),
        ("이천오백만 원", "2,500만 원"),
        ("두 달 안에", "2개월 안에"),
        ("1년", "12개월"),
        ("삼 개월", "3달"),
        ("84㎡", "84제곱미터"),
        ("’24년", "2024년"),
        ("절반", "50퍼센트"),
        ("보증금 2억 원", "보증금 2억"),
        ("보증금 2억 원인 집", "보증금 2억인 집"),
        ("오후 2시", "14시"),
        ("갱신하고 싶지 않아요", "갱신하기 싫어요"),
        ("1. 확정일자는 어디서 받나요?", "확정일자는 어디서 받나요?"),
        ("Q2. 확정일자는 어디서 받나요?", "확정일자는 어디서 받나요?"),
        ("수원시의 전세가율", "수원의 전세가율"),
        ("제3조의2", "3조의 2"),
        ("안 받으면", "받지 않으면"),
        ("안돼요", "안 돼요"),
        ("집 안에 두고", "집안에 두고"),
        ("집주인이 세입자에게", "임대인이 임차인에게"),
        ("임대인이 보증금을", "임대인은 보증금을"),
        ("집주인의 동의", "집주인 동의"),
        ("임대인이 임차인에게 통지하나요", "임대인이 통지하나요"),
        ("양도세는", "양도소득세는"),
        ("DSR 이 뭐예요?", "dsr이 뭐예요"),
        ("84m²", "84㎡"),
        ("보증금 인상", "보증금을 올려"),
        ("전세권 등기", "월세 등기"),  # 전세권 is no kind of lease
        ("근저당권이 무엇인가요?", "근저당권이 무엇인가요?"),
    ],
)
def test_what_says_the_same_does_not_differ(text, other):
    assert difference(text, other) is None


@given(st.sampled_from([row["a"] for row in PAIRS]), st.sampled_from([row["b"] for row in PAIRS]))
@settings(max_examples=200, deadline=None)
def test_a_text_never_differs_from_itself_and_the_order_does_not_matter(text, other):
    assert difference(text, text) is None
    assert difference(text, other) == difference(other, text)


# repeats found, and different questions dropped, by ROUGE-L at 0.7: (unit, group, before, now)
MEASURED = [
    ("eojeol", "case", (5, 6), (5, 0)),
    ("morpheme", "case", (9, 9), (9, 0)),
    ("eojeol", "own", (6, 30), (6, 0)),
    ("morpheme", "own", (11, 33), (11, 0)),
    ("eojeol", "second", (8, 29), (8, 0)),
    ("eojeol", "third", (9, 18), (9, 7)),  # words that stand in no list: 누수 and 결로, to open and to close
]


@pytest.mark.parametrize(("unit", "group", "before", "now"), MEASURED)
def test_different_questions_stay_and_no_repeat_is_lost(unit, group, before, now):
    rows = [row for row in PAIRS if row["group"] == group]
    for differ, expected in ((None, before), (difference, now)):
        dropped = [row for row in rows if similarity.deduplicate([row["a"], row["b"]], 0.7, unit, differ=differ).dropped]
        repeats = sum(row["same"] for row in dropped)
        assert (repeats, len(dropped) - repeats) == expected


def test_nothing_is_spared_among_the_courses_questions():
    questions = [row["question"] for name in ("train", "validation") for row in registry.load_rows(f"real_estate_{name}")]
    evaluation = [row["question"] for row in read_jsonl(DATA / "real_estate_evaluation.jsonl")]
    texts = [*questions, *evaluation]
    assert similarity.deduplicate(texts, differ=difference).kept == similarity.deduplicate(texts).kept


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["1", "1억 ", "1,", "안 ", "제1", "두 ", "일", "전세", "임대인", " ", "A"])
def test_the_time_grows_with_a_text_of_anything(unit):
    assert_linear(contrast, unit * (1_000_000 // len(unit.encode())))
