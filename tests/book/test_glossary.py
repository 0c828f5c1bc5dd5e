"""Protects: the book's glossary is the table of the lesson, and its terms are found in running text of both languages."""

import json

import pytest

from dev.book.glossary import Term, page, pattern, read
from utils import ROOT


def notebook(path, text):
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": text}]}), encoding="utf-8")
    return path


def test_the_table_of_the_lesson_is_read():
    terms = {term.english: term for term in read(ROOT / "basics.ipynb")}
    assert len(terms) >= 20 and terms["token"].korean == "토큰" and terms["learning rate"].korean == "학습률"


def test_the_korean_table_may_name_the_korean_term_first(tmp_path):
    text = "## 용어 정리\n\n| 용어 | 영어 | 뜻 |\n|---|---|---|\n| 토큰 | token | 모델이 읽고 쓰는 글 조각 |\n"
    assert read(notebook(tmp_path / "b.ipynb", text)) == [Term("token", "토큰", "모델이 읽고 쓰는 글 조각")]


def test_a_lesson_without_a_glossary_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"b.ipynb has no table below a heading"):
        read(notebook(tmp_path / "b.ipynb", "# Basics\n"))


def test_the_page_names_a_term_in_the_editions_language():
    terms = [Term("token", "토큰", "a piece of text")]
    assert "token\n  토큰: a piece of text" in page(terms, "en")
    assert "토큰\n  token: a piece of text" in page(terms, "ko")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Tokens cost money", ["Tokens"]),
        ("a tokenizer, a learning rate", ["learning rate"]),
        ("pre-token, token_ids, the token's id", ["token"]),
        ("토큰을 세고 학습률은 낮춘다", ["토큰", "학습률"]),
        ("한토큰", []),
        ("it ranks them by rank", ["rank"]),
    ],
)
def test_a_term_is_found_with_its_plural_or_its_particle(text, found):
    finds = pattern(["token", "learning rate", "rank", "rate", "토큰", "학습률"])
    assert [match["shown"] for match in finds.finditer(text)] == found
