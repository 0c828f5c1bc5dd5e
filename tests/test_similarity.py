"""Protects: Korean texts have tokens, ROUGE-L is right, and deduplication is the Alpaca loop exactly."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

import similarity
from utils import CourseError

WORDS = ["전세", "월세", "보증금을", "보증금은", "언제", "받나요", "돌려", "2024", "GPT", "등기"]
SENTENCE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)


def lcs(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def f1(a, b):
    return 2 * lcs(a, b) / (len(a) + len(b))


@pytest.mark.parametrize("unit", ["eojeol", "morpheme", "syllable"])
@given(text=SENTENCE)
@settings(max_examples=30, deadline=None)
def test_a_korean_text_is_identical_to_itself(unit, text):
    assert similarity.rouge_l(text, text, unit) == (1.0, 1.0, 1.0)


def test_googles_tokens_make_every_korean_pair_zero_or_wrong():
    assert similarity.rouge_l("확정일자란 무엇인가요?", "확정일자란 무엇인가요?", "ascii").f1 == 0
    assert similarity.rouge_l("2024 계획을 써라", "2024 요리법 알려줘", "ascii").f1 == 1


@given(a=st.text(max_size=80), b=st.text(max_size=80))
@settings(max_examples=150, deadline=None)
def test_ascii_reproduces_rouge_score(a, b):
    expected = rouge_scorer.RougeScorer(["rougeL"]).score(
        unicodedata.normalize("NFC", b), unicodedata.normalize("NFC", a)
    )["rougeL"]
    assert similarity.rouge_l(a, b, "ascii") == pytest.approx(tuple(expected))


def test_text_typed_on_macos_matches():
    word = "보증금"
    assert similarity.tokenize(unicodedata.normalize("NFD", word), "eojeol") == [word]


def test_morphemes_take_the_particle_off():
    assert similarity.tokenize("보증금을")[0] == similarity.tokenize("보증금은")[0] == "보증금"
    near = similarity.rouge_l("보증금을 받아요", "보증금은 받아요", "morpheme").f1
    assert near > similarity.rouge_l("보증금을 받아요", "보증금은 받아요", "eojeol").f1


@pytest.mark.parametrize("unit", ["eojeol", "syllable"])
@given(texts=st.lists(SENTENCE, max_size=14), threshold=st.sampled_from([0.2, 0.5, 0.7, 2 / 3, 1.0]))
@settings(max_examples=60, deadline=None)
def test_deduplication_is_the_alpaca_loop(unit, texts, threshold):
    tokens = [similarity.tokenize(text, unit) for text in texts]
    kept = []
    for i in range(len(texts)):
        if all(f1(tokens[i], tokens[j]) <= threshold for j in kept):
            kept.append(i)
    result = similarity.deduplicate(texts, threshold, unit)
    assert result.kept == kept
    assert sorted([*result.kept, *(d.index for d in result.dropped)]) == list(range(len(texts)))
    for duplicate in result.dropped:
        assert duplicate.twin in kept
        assert duplicate.f1 == pytest.approx(f1(tokens[duplicate.index], tokens[duplicate.twin]))


def test_texts_given_beforehand_drop_and_are_named_by_negative_numbers():
    result = similarity.deduplicate(["전세 계약 언제 하나요", "월세란"], against=["집", "전세 계약 언제 하나요"])
    assert result.kept == [1]
    assert result.dropped == [similarity.Duplicate(0, -2, 1.0)]


def test_overlap_names_the_evaluation_text():
    found = similarity.find_overlap(["집을 사요", "전세 계약 언제 하나요"], ["전세 계약 언제 하나요?"])
    assert found == [similarity.Duplicate(1, 0, 1.0)]


def test_ranking_finds_the_passage_whatever_the_particle():
    documents = ["재산세는 6월 1일의 소유자가 낸다.", "전입신고를 하면 대항력이 생긴다.", "청약통장을 만든다."]
    assert similarity.rank("대항력은 언제 생기나요?", documents)[0].index == 1
    unknown = similarity.rank("xyz", documents)
    assert [r.index for r in unknown] == [0, 1, 2]  # ties keep the input order
    assert [r.index for r in similarity.rank("대항력", documents, threshold=0.01)] == [1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: similarity.tokenize(None), "NoneType"),
        (lambda: similarity.tokenize("가", "word"), "Unknown unit"),
        (lambda: similarity.deduplicate(["가"], threshold=0), "threshold"),
        (lambda: similarity.deduplicate(["가", "!?"]), r"texts\[1\]"),
        (lambda: similarity.find_overlap(["가"], [""]), r"evaluation\[0\]"),
        (lambda: similarity.rank("가", []), "no document"),
    ],
)
def test_bad_input_names_its_place(call, words):
    with pytest.raises(CourseError, match=words):
        call()
