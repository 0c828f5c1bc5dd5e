"""Protects: the book's index finds a Korean word inside longer ones. What the page does with a query, a browser shows (`test_site.py`)."""

import pytest

pytest.importorskip("sphinx", reason='the extra "book" is not installed (pip install -e ".[book]")')

from dev.book.korean_search import LONGEST, SearchKorean, pieces

SEARCH = SearchKorean({})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("보증금을 돌려받습니다", "보증금"), ("전세보증금반환보증", "보증금"), ("손실은 줄어듭니다", "손실"), ("집을 빌립니다", "집"),
        ("LoRA를 씁니다", "lora"), ("토큰(token)마다", "토큰"), ("계약갱신청구권행사", "계약갱신청구권행사"),
    ],
)  # fmt: skip
def test_a_word_is_found_in_a_text(text, word):
    assert word in {SEARCH.stem(piece) for piece in SEARCH.split(text)}


def test_letters_that_were_taken_apart_are_put_together():
    assert SEARCH.split("가") == SEARCH.split("가")  # NFD, as macOS writes file names


def test_english_is_stemmed_and_korean_is_not():
    assert (SEARCH.stem("training"), SEARCH.stem("학습을")) == ("train", "학습을")


def test_the_pieces_of_a_word_stay_few():
    assert len(list(pieces("가" * 40))) <= 2 + 40 * LONGEST
