"""Protects: the recorded run makes exactly the shipped data, and answers are kept only with their support."""

import pytest

import formats
import generation
import teacher
from prompts import GROUNDED_ANSWER, SEED_WORDS
from replies import Reply
from schemas import GroundedAnswer
from similarity import deduplicate
from utils import DATA, read_jsonl, read_text


def test_the_recorded_run_gives_the_shipped_pairs_row_for_row():
    words = [line for line in read_text(DATA / "seed_words.txt").split("\n") if line]
    documents = read_jsonl(DATA / "documents.jsonl")
    who = teacher.connect()
    replies = who.ask(generation.seed_requests(words), schema=SEED_WORDS.schema)
    questions = [row["question"] for row in generation.collect_questions(teacher.answered(replies))]
    kept = [questions[i] for i in deduplicate(questions, 0.7).kept]
    requests = generation.answer_requests(kept, documents)
    replies = who.ask([r.messages for r in requests], schema=GROUNDED_ANSWER.schema)
    collected = generation.collect_answers(requests, replies, documents)
    train, validation = generation.split(collected.rows)
    assert train == formats.load_rows("real_estate_train")
    assert validation == formats.load_rows("real_estate_validation")
    assert {row["reason"] for row in collected.rejected} == {"the teacher found no answer in the passages shown"}


DOCUMENTS = [{"id": "doc-1", "title": "전입신고", "text": "이사한 날부터 14일 이내에 한다."}]
REQUEST = generation.AnswerRequest("전입신고는 언제?", ("doc-1",), [])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply("", GroundedAnswer(answer="14일 안에 합니다.", document_id="doc-1"), None), None),
        (Reply("", GroundedAnswer(answer="30일 안에 합니다.", document_id="doc-1"), None), "30 does not stand in"),
        (Reply("", GroundedAnswer(answer="합니다.", document_id="doc-2"), None), "was not shown"),
        (Reply("", GroundedAnswer(answer=None, document_id=None), None), "found no answer"),
        (Reply(None, None, "the reply was empty"), "the reply was empty"),
    ],
)
def test_an_answer_without_support_is_rejected_with_the_reason(reply, reason):
    collected = generation.collect_answers([REQUEST], [reply], DOCUMENTS)
    assert len(collected.rows) + len(collected.rejected) == 1
    if reason:
        assert reason in collected.rejected[0]["reason"]
    else:
        assert collected.rows[0]["document_id"] == "doc-1"


def test_new_rows_never_move_old_ones_across_the_split():
    rows = [{"question": f"질문 {i}"} for i in range(300)]
    train, validation = generation.split(rows)
    assert 10 < len(validation) < 60
    more_train, more_validation = generation.split([{"question": "새 질문"}, *rows])
    assert [r for r in more_train if r in rows] == train
    assert [r for r in more_validation if r in rows] == validation
