"""Protects: every part of the course splits a text into the same sentences, at dates and quotations too, in linear time."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.judging.calibration import list_probe, load_calibration
from kotune.korean.sentences import has_final_mark, hide_quotations, sentence_texts, split_sentences
from kotune.korean.speech_levels import is_polite


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("신고합니다. 그다음 받습니다!", ["신고합니다.", "그다음 받습니다!"]),
        ("기준일은 2024. 1. 1.입니다. 그 뒤에는 다릅니다.", ["기준일은 2024. 1. 1.입니다.", "그 뒤에는 다릅니다."]),
        ("2024. 12. 31. 현재 3.5%입니다.", ["2024. 12. 31. 현재 3.5%입니다."]),
        ("지문은 “늦으면 낸다. 꼭 낸다.”라고 합니다. 끝.", ["지문은 “늦으면 낸다. 꼭 낸다.”라고 합니다.", "끝."]),
        ("“늦으면 낸다. 꼭 낸다.” 그가 말했다.", ["“늦으면 낸다. 꼭 낸다.” 그가 말했다."]),  # a quotation ends none
        ("첫 줄\n\n둘째 줄입니다", ["첫 줄", "둘째 줄입니다"]),
        ("1. 신고합니다.\n2. 받습니다.", ["1. 신고합니다.", "2. 받습니다."]),
        ("네. 그렇게 하십시오.", ["네.", "그렇게 하십시오."]),
        ("집값은?! 올랐습니다...", ["집값은?!", "올랐습니다..."]),
        (" \n ", []),
    ],
)
def test_a_text_is_split_into_its_sentences(text, parts):
    assert sentence_texts(text) == parts


@given(st.text(alphabet="가나다 .!?\n“”‘()1-요다음", max_size=60))
@settings(max_examples=300, deadline=None)
def test_sentences_are_in_order_apart_and_leave_out_nothing_but_space(text):
    found = split_sentences(text)
    places = [place for sentence in found for place in (sentence.start, sentence.end)]
    assert places == sorted(places)
    assert "".join("".join(sentence_texts(text)).split()) == "".join(text.split())
    assert len(hide_quotations(text)) == len(text)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["“", "‘", '"', "'", "(", "[", "`", ".", "…”", "_*", "1. ", "\n", " ", "- ", "가", "“가\n"])
def test_any_megabyte_is_split_in_linear_time(unit):
    text = (unit * (1_000_000 // len(unit)) + "가")[:1_000_001]
    started = time.process_time()
    split_sentences(text)
    assert time.process_time() - started < 5  # half a second where nothing else runs


def test_a_final_mark_may_stand_within_quotation_marks():
    assert has_final_mark("갔다.”") and has_final_mark("갔다.** \n") and not has_final_mark("갔다")


@pytest.mark.parametrize(
    ("text", "polite"),
    [
        ("그걸 왜 물어? 알아서 해.", False),
        ("그렇게 하시면 됩니다", True),
        ("그는 “갑니다.”라고 했다.", False),
        ("가세요! 얼른.", True),
    ],
)
def test_a_text_is_polite_where_one_of_its_own_sentences_is(text, polite):
    assert is_polite(text) is polite


def test_a_list_of_a_judges_probe_is_its_prose_sentence_by_sentence():
    for one in list_probe(load_calibration()):
        prose, bullets = sorted((one.pair.answer_a, one.pair.answer_b), key=lambda text: text.startswith("- "))
        assert [line.removeprefix("- ") for line in bullets.splitlines()] == sentence_texts(prose)
