"""Protects: a number counts as the source's own in whatever way it is written, and one that the source lacks is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.korean.grounding import numbers_in, quotations, unsupported_numbers

SOURCE = "2024년 기준 보증금은 3억 5,000만 원, 수수료는 600원, 이율은 연 3.5%이다."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("보증금은 350,000,000원입니다.", []),
        ("보증금은 35,000만 원, 이율은 3.50%입니다.", []),
        ("보증금은 3억 6,000만 원입니다.", ["6,000"]),
        ("이율은 35%입니다.", ["35"]),
        ("1. 수수료를 냅니다.\n2. 600원입니다.\n3. 영수증을 받습니다.", []),
        ("수수료는 1. 그리고 700원입니다.", ["1", "700"]),
        ("모두 합해 14건입니다 (총 14)", ["14", "14"]),
    ],
)
def test_values_count_and_the_points_of_a_list_do_not(text, found):
    assert unsupported_numbers(text, SOURCE) == found


@given(st.integers(1, 9_999), st.integers(1, 9_999))
def test_an_amount_in_eok_and_man_is_the_amount_in_digits(eok, man):
    whole = eok * 10**8 + man * 10**4
    written, digits = f"{eok:,}억 {man:,}만 원", f"{whole:,}원"
    assert unsupported_numbers(written, digits) == unsupported_numbers(digits, written) == []
    assert unsupported_numbers(f"{whole + 1:,}원", written) == [f"{whole + 1:,}"]


@given(st.text("0123456789.,만억 ()\n가", max_size=30))
def test_every_text_keeps_to_itself_and_its_numbers_are_where_they_are_said_to_be(text):
    assert unsupported_numbers(text, text) == []
    assert all(text[slice(*match.span())] == match[0] for match in numbers_in(text))


def test_quotations_stand_in_the_source_word_for_word():
    assert quotations('문서에 "이율은 연 3.5%" 라고 있고 "이율은 연 9%" 는 없다.', SOURCE) == ["이율은 연 3.5%"]
