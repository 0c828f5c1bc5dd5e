"""Protects: an answer's numbers and terms are counted against its own document, and echoes support nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.korean.grounding import support

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


@given(
    st.lists(
        st.sampled_from(["수수료는 600원입니다.", "주민센터", "보증금 5,000만 원", "모릅니다."]), min_size=1, max_size=4
    )
)
def test_counts_add_up_over_answers(answers):
    whole = support(answers, [DOCUMENT] * len(answers), [QUESTION] * len(answers))
    parts = [support([answer], [DOCUMENT], [QUESTION]) for answer in answers]
    assert whole.terms == sum(part.terms for part in parts)
    assert whole.supported_numbers == sum(part.supported_numbers for part in parts)
    assert 0 <= whole.supported_terms <= whole.terms
