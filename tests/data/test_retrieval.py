"""Protects: a question is answered from the passages that fit it, through the template of training, and they are named."""

import pytest

from kotune.data.retrieval import Library
from prompts import open_book_prompt
from utils import DATA, CourseError, read_jsonl, write_jsonl


@pytest.fixture(scope="module")
def library():
    return Library(DATA / "documents.jsonl")


def test_the_passage_that_answers_comes_first(library):
    asked = library.ask("확정일자는 어디에서 받을 수 있나요?")
    assert "확정일자" in asked.sources[0].title and [s.number for s in asked.sources] == [1, 2, 3]
    assert asked.sources[0].score >= asked.sources[1].score >= asked.sources[2].score > 0


def test_the_prompt_is_that_of_open_book_training(library):
    question = "근저당권의 채권최고액이 뭔가요?"
    asked = library.ask(question)
    documents = {row["id"]: row for row in read_jsonl(DATA / "documents.jsonl")}
    instruction, passages = open_book_prompt(question, [documents[source.id] for source in asked.sources])
    assert asked.content == f"{instruction}\n\n{passages}"


def test_a_question_that_nothing_fits_stands_alone(library):
    assert library.ask("zxqv 🏠") == library.ask("zxqv 🏠") and library.ask("zxqv 🏠").content == "zxqv 🏠"


def test_a_document_without_text_is_named(tmp_path):
    path = write_jsonl(
        tmp_path / "docs.jsonl", [{"title": "확정일자", "text": "주민센터에서 받습니다."}, {"title": "전입신고"}]
    )
    with pytest.raises(CourseError, match=r"docs\.jsonl, row 2, has no text in the field 'text'"):
        Library(path)
