"""Protects: a number counts as the source's own in whatever way it is written, and one that the source lacks is found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.korean.grounding import misplaced, quotations, support, unsupported_numbers
from kotune.korean.numbers import quantities

SOURCE = "2024년 기준 보증금은 3억 5,000만 원, 수수료는 600원, 이율은 연 3.5%이다."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("보증금은 350,000,000원입니다.", []),
        ("보증금은 35,000만 원, 이율은 3.50%입니다.", []),
        ("보증금은 3억 6,000만 원입니다.", ["3억 6,000만 원"]),
        ("이율은 35%입니다.", ["35%"]),
        ("1. 수수료를 냅니다.\n2. 600원입니다.\n3. 영수증을 받습니다.", []),
        ("수수료는 1. 그리고 700원입니다.", ["1", "700원"]),
        ("모두 합해 14건입니다 (총 14)", ["14건", "14"]),
    ],
)
def test_values_count_and_the_points_of_a_list_do_not(text, found):
    assert unsupported_numbers(text, SOURCE) == found


@given(st.integers(1, 9_999), st.integers(1, 9_999))
def test_an_amount_in_eok_and_man_is_the_amount_in_digits(eok, man):
    whole = eok * 10**8 + man * 10**4
    written, digits = f"{eok:,}억 {man:,}만 원", f"{whole:,}원"
    assert unsupported_numbers(written, digits) == unsupported_numbers(digits, written) == []
    assert unsupported_numbers(f"{whole + 1:,}원", written) == [f"{whole + 1:,}원"]


@given(st.text("0123456789.,만억 ()\n가", max_size=30))
def test_every_text_keeps_to_itself_and_its_numbers_are_where_they_are_said_to_be(text):
    assert unsupported_numbers(text, text) == []
    places = [place for one in quantities(text) for place in (one.start, one.end)]
    assert places == sorted(places)


# --- numbers of another thing ------------------------------------------------------------------

CONTRACT = "보증금 5,000만 원에 월세 50만 원이고, 계약금은 10%, 잔금은 60%이다."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("보증금 50만 원에 월세 5,000만 원입니다.", ["50만 원", "5,000만 원"]),
        ("월세는 5천만 원입니다.", ["5천만 원"]),
        ("계약금은 60%이고 잔금은 10%입니다.", ["60%", "10%"]),
        ("월세는 50만 원, 보증금은 5천만 원입니다.", []),
        ("모두 5,000만 원이 듭니다.", []),
        ("관리비는 50만 원입니다.", []),
        ("보증금은 6,000만 원입니다.", []),
    ],
)
def test_a_number_of_another_thing_is_in_doubt_and_not_unsupported(text, found):
    assert [text[one.start : one.end] for one in misplaced(text, CONTRACT)] == found
    assert unsupported_numbers(text, CONTRACT) == (["6,000만 원"] if "6,000" in text else [])


def test_a_thing_with_two_values_in_the_source_is_left_alone():
    source = "상가 보증금은 9억 원, 주택 보증금은 5억 원, 월세는 50만 원이다."
    assert list(misplaced("보증금은 50만 원입니다.", source)) == []


def test_quotations_stand_in_the_source_word_for_word():
    assert quotations('문서에 "이율은 연 3.5%" 라고 있고 "이율은 연 9%" 는 없다.', SOURCE) == ["이율은 연 3.5%"]


# --- an answer and its own document: echoes support nothing ------------------------------------

DOCUMENT = "확정일자는 주민센터에서 받는다. 수수료는 2024년 기준 600원이며, 보증금을 지키는 우선변제권의 요건이다."
QUESTION = "확정일자는 어디에서 받나요?"


def test_what_the_document_has_is_supported():
    found = support(["주민센터에서 받으시고 수수료는 600원입니다."], [DOCUMENT], [QUESTION])
    assert (found.numbers, found.supported_numbers) == (1, 1)
    assert found.term_share == 1.0
    wrong = support(["경찰서에서 받으시고 수수료는 9,000원입니다."], [DOCUMENT], [QUESTION])
    assert (wrong.numbers, wrong.supported_numbers) == (1, 0)
    assert wrong.term_share < found.term_share


def test_an_echo_of_the_question_and_a_loop_support_nothing_more():
    echo = support([QUESTION], [DOCUMENT], [QUESTION])
    assert (echo.terms, echo.term_share, echo.number_share) == (0, None, None)
    once = support(["2024년 기준입니다."], [DOCUMENT], [QUESTION])
    assert support(["2024년 기준 2024년 기준 2024년 기준입니다."], [DOCUMENT], [QUESTION]) == once


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        support(["가"], [DOCUMENT, DOCUMENT], [QUESTION])


@pytest.mark.slow
@given(
    st.lists(
        st.sampled_from(["수수료는 600원입니다.", "주민센터", "보증금 5,000만 원", "모릅니다."]), min_size=1, max_size=4
    )
)
@settings(deadline=None)
def test_counts_add_up_over_answers(answers):
    whole = support(answers, [DOCUMENT] * len(answers), [QUESTION] * len(answers))
    parts = [support([answer], [DOCUMENT], [QUESTION]) for answer in answers]
    assert whole.terms == sum(part.terms for part in parts)
    assert whole.supported_numbers == sum(part.supported_numbers for part in parts)
    assert 0 <= whole.supported_terms <= whole.terms
