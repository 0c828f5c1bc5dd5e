"""Protects: a number is read with its unit, however it is written, and two that differ in either are never one."""

import random
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.korean.grounding import misplaced, unsupported_numbers
from kotune.korean.numbers import amount, is_same, quantities


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("3억 5천만 원", "350,000,000원"), ("3억 5천만 원", "3.5억 원"), ("3억 5천만 원", "3억5000만원"), ("3억 5천만 원", "삼억 오천만 원"), ("3억 5천만 원", "3억5천"),
        ("1억 5천만 원", "15,000만 원"), ("1천5백만 원", "1,500만 원"), ("천만 원", "1,000만 원"), ("600원", "6백 원"), ("1조 원", "1조"), ("보증금 5000, 월세 50", "5,000만 원, 50만 원"),
        ("2개월 전", "두 달 전"), ("2년", "24개월"), ("12개월", "1년"), ("1년 6개월", "18개월"), ("1년 6개월", "1년 반"), ("6개월", "반년"), ("2주 안", "14일 안"), ("7일 안", "일주일 안"),
        ("열흘 안", "10일 안"), ("보름 안", "15일 안"), ("30일 안", "삼십 일 안"), ("십이 개월", "12개월"), ("24시간", "하루"), ("절반", "50%"), ("절반", "2분의 1"), ("80퍼센트", "5분의 4"),
        ("100분의 5", "5%"), ("2할", "20%"), ("2%p", "2퍼센트포인트"), ("3.5%", "3.50%"), ("2024. 1. 1.", "’24. 1. 1."), ("2024. 1. 1.", "2024년 1월 1일"), ("2024. 1. 1.", "2024-01-01"),
        ("2024. 3. 15.", "3월 15일"), ("2024년", "'24년"), ("제3조의2", "3조의2"), ("제3조 제1항", "제3조제1항"), ("세 명", "3명"), ("세 명", "3인"), ("스무 명", "20명"), ("열아홉 살", "19세"),
        ("만 19세", "19세"), ("요건은 세 가지", "요건은 3개"), ("3회", "세 번"), ("2배", "두 배"), ("85㎡", "85제곱미터"), ("85㎡", "85m²"), ("5km", "5킬로미터"), ("1~2년", "1년에서 2년"), ("3∼5%", "3%"),
        ("123만 4567명", "1,234,567명"), ("3개월 전", "석 달 전"), ("14개월", "열넉 달"), ("84㎡", "84m2"),
        # hours of a day, and halves
        ("14시", "오후 2시"), ("14:00", "오후 2시"), ("오전 9시 30분", "09:30"), ("23시", "밤 11시"), ("12:00", "정오"), ("2시", "오후 2시"), ("30분", "반 시간"), ("2시간 반", "2시간 30분"), ("1년 반", "18개월"),
        # shares and points
        ("4분의 1", "1/4"), ("1/4", "25%"), ("25%", "0.25"), ("0.5%", "1천분의 5"), ("0.15%", "만분의 15"), ("0.25%포인트", "25bp"), ("1/4분기", "1분기"),
        # a number and the next, in words
        ("3~4일", "사나흘"), ("2~3개월", "두세 달"), ("3~4가지", "서너 가지"), ("2~3일", "이삼일"),
        # ranges of amounts, dates in one, and words behind a blank that only begin like a unit
        ("1억 원에서 2억 원", "1억~2억 원"), ("500만~700만 원", "5백~7백만 원"), ("2024. 3. 2.", "20240302"), ("9억 원 초과", "9억 초과"), ("2억 원 회수", "2억 회수"), ("3억 원", "3억 명의로"), ("2억 원", "2억인"), ("10일", "10 일"),
    ],
)  # fmt: skip
def test_one_quantity_in_two_ways(source, text):
    assert unsupported_numbers(f"그것은 {text} 정도입니다.", f"그것은 {source} 정도이다.") == []


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("3억 5천만 원", "3억 원"), ("3억 5천만 원", "5천만 원"), ("3억 5천만 원", "35억 원"), ("3억 5천만 원", "삼억 원"), ("6천만 원", "6백만 원"), ("30일", "30개월"), ("30일", "30년"), ("2개월", "2주"),
        ("2개월", "세 달"), ("2개월", "석 달"), ("두 달", "3개월"), ("1년 6개월", "2년"), ("보름", "20일"), ("절반", "60%"), ("절반", "3분의 2"), ("3분의 2", "3분의 1"), ("0.5%포인트", "0.5%"), ("5%", "10%"), ("2024년", "’23년"),
        ("2024. 3. 15.", "2024년 3월 16일"), ("5월 31일", "6월 31일"), ("제3조의2", "제3조의4"), ("제3조의2", "제3조"), ("제3조제1항", "제3조제2항"), ("만 19세", "만 39세"), ("85㎡", "85평"), ("2배", "3배"),
        ("3개", "4개"), ("3명", "5명"), ("요건은 세 가지", "요건은 네 가지"), ("3%에서 5%", "4%"), ("수수료 0.4%", "수수료 0.5%"),
        ("오전 2시", "오후 2시"), ("15시", "14시"), ("14:20", "14:30"), ("2시간", "2시간 반"), ("1년", "1년 반"), ("1/3", "1/4"), ("3분의 1", "2/3"), ("5%", "0.5"), ("0.5%p", "25bp"), ("1.5%", "만분의 15"), ("4개월", "두세 달"),
        ("사나흘", "3~5일"), ("1억~2억 원", "1억~3억 원"), ("2024. 3. 2.", "20240303"), ("3억 회수", "2억 회수"), ("6억 초과", "9억 초과"),
    ],
)  # fmt: skip
def test_two_quantities_are_never_one(source, text):
    assert unsupported_numbers(f"그것은 {text} 정도입니다.", f"그것은 {source} 정도이다.") != []


@pytest.mark.parametrize(
    "text",
    [
        "한 번 더 확인합니다.", "두 사람이 함께 갑니다.", "하루라도 빨리 갑니다.", "네 가지 서류를 냅니다.", "만일 늦으면 천년이 가도 구조 요청은 십분 이해합니다.", "이 년과 이 일", "세대주가 네 집에 세를 줍니다.",
        "오일장에서 백일 사진을 찍습니다.", "반값에 팝니다.", "석명을 구합니다.",
        "1단계: 신고합니다.\n2단계: 기다립니다.", "(1) 신고합니다. (2) 기다립니다.", "**1. 신고**\n### 2. 대기", "Step 1: 신고\nStep 2: 대기", "1️⃣ 신고\n2️⃣ 대기", "[1] 신고\n[2] 대기", "1.신고\n2.대기", "1 - 신고\n2 - 대기",
    ],
)  # fmt: skip
def test_words_that_only_look_like_numbers_or_count_nothing_are_left_alone(text):
    assert unsupported_numbers(text, "통지는 3회, 기간은 2년, 인원은 7명이다.") == []


@given(st.integers(1, 9_999), st.integers(1, 9_999), st.integers(1, 9_999))
def test_an_amount_is_the_sum_of_its_parts(eok, man, rest):
    assert amount(f"{eok}억 {man:,}만 {rest}") == eok * 10**8 + man * 10**4 + rest


@given(
    st.integers(1, 400), st.sampled_from(["원", "개월", "일", "%", "명", "㎡", "층", "배", "세", "회"]), st.integers(1, 400)
)
def test_being_one_quantity_goes_both_ways_and_needs_value_and_unit(number, unit, other):
    (one,), (two,) = quantities(f"{number}{unit}"), quantities(f"{other}{unit}")
    assert one.value == Fraction(number) * (one.value / number)
    assert is_same(one, two) == is_same(two, one) == (number == other)
    (plain,) = quantities(str(number))
    assert is_same(one, plain) and is_same(plain, one)


MEGABYTE = 1_000_000
PIECES = [
    "1,",
    "123,456,",
    "1",
    "1만",
    "1.",
    "십",
    "이십 ",
    "두 달 ",
    "2024. 1. 1.",
    "제3조의2",
    "(",
    "(1",
    "\n",
    "1. \n",
    " ",
    "3분의 2 ",
    "1~",
    "보증금 5만 원 ",
    "은행",
    "만억조",
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", [*PIECES, None])
def test_a_megabyte_of_anything_takes_time_that_grows_with_its_length(piece):
    rng = random.Random(0)
    text = "".join(rng.choices("0123456789,.만억조 \n원년세두달(~’제", k=MEGABYTE)) if piece is None else piece * MEGABYTE
    text = text.encode()[:MEGABYTE].decode(errors="ignore")
    started = time.process_time()
    unsupported_numbers(text, "보증금은 5만 원이다.")
    list(misplaced(text, "보증금은 5만 원이다."))
    assert time.process_time() - started < 40
