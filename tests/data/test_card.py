"""Protects: the card states counts, lengths, prompts by hash, filters and what the scan found."""

from kotune.data import card as datacard
from prompts import GROUNDED_ANSWER, GroundedAnswer, Prompt

ROWS = [{"question": "전세란?", "answer": "보증금을 맡깁니다."}, {"question": "연락처는?", "answer": "010-1234-5678"}]
PROVENANCE = datacard.Provenance("m at OpenAI", [GROUNDED_ANSWER], "2 documents", "CC BY 4.0", {"near duplicates": 3})


def test_the_card_has_what_a_reader_must_know():
    card = datacard.card("이름", {"train": ROWS, "validation": ROWS[:1]}, ["question", "answer"], PROVENANCE)
    for words in (
        "# 이름", "Teacher: m at OpenAI", "| train | 2 |", "| validation | 1 |", "2 documents", "CC BY 4.0",
        f"`{GROUNDED_ANSWER.hash}`", "| near duplicates | 3 |", "| mobile phone | 1 |", "| e-mail | 0 |",
    ):  # fmt: skip
        assert words in card, words
    assert "010-1234-5678" not in card


def test_a_changed_prompt_has_another_hash():
    changed = Prompt("grounded_answer", "", GROUNDED_ANSWER.system + " ", GROUNDED_ANSWER.user, GroundedAnswer)
    assert changed.hash != GROUNDED_ANSWER.hash
    same = Prompt("another name", "another purpose", GROUNDED_ANSWER.system, GROUNDED_ANSWER.user, GroundedAnswer)
    assert same.hash == GROUNDED_ANSWER.hash


def test_lengths_lie_within_the_texts():
    rows = [{"a": "가" * 10}, {"a": "가" * 1000}]
    assert datacard.lengths(rows, "a") == "109 to 901, median 505 (10th to 90th percentile)"
    assert datacard.lengths([], "a") == "no rows"
