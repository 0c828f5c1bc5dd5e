"""Protects: the recorded run makes exactly the shipped data, and answers are kept only with their support."""

import json

import pytest

from kotune.data import registry
from kotune.korean.tasks import TASKS
from kotune.teacher import client, generation
from kotune.teacher.recording import read_recording, recording_key
from kotune.teacher.replies import Reply
from prompts import GROUNDED_ANSWER, SEED_WORDS, DocumentQuestionsReply, GroundedAnswer, SelfInstructReply
from similarity import deduplicate
from utils import DATA, ROOT, read_jsonl, read_text


@pytest.mark.slow
def test_the_recorded_run_gives_the_shipped_pairs_row_for_row():
    words = [line for line in read_text(DATA / "seed_words.txt").split("\n") if line]
    documents = read_jsonl(DATA / "documents.jsonl")
    who = client.connect()
    replies = who.ask(generation.seed_requests(words), schema=SEED_WORDS.schema)
    questions = [row["question"] for row in generation.collect_questions(client.answered(replies))]
    kept = [questions[i] for i in deduplicate(questions, 0.7).kept]
    requests = generation.answer_requests(kept, documents)
    replies = who.ask([r.messages for r in requests], schema=GROUNDED_ANSWER.schema)
    collected = generation.collect_answers(requests, replies, documents)
    train, validation = generation.split(collected.rows)
    assert train == registry.load_rows("real_estate_train")
    assert validation == registry.load_rows("real_estate_validation")
    assert {row["reason"] for row in collected.rejected} == {"the teacher found no answer in the passages shown"}


DOCUMENTS = [{"id": "doc-1", "title": "전입신고", "text": "이사한 날부터 14일 이내에 한다."}]
REQUEST = generation.AnswerRequest("전입신고는 언제?", ("doc-1",), [])


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply("", GroundedAnswer(answer="14일 안에 합니다.", document_id="doc-1"), None), None),
        (Reply("", GroundedAnswer(answer="30일 안에 합니다.", document_id="doc-1"), None), "30일 does not stand in"),
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


# --- the other ways to make data ---


FIRST = "발코니는 어디에 답니까?"


def item(document_id, on_topic=True, safe=True, questions=(FIRST,)):
    return {"document_id": document_id, "on_topic": on_topic, "safe": safe, "reason": "까닭", "questions": list(questions)}


def test_documents_that_are_off_topic_unsafe_or_never_shown_give_no_questions():
    documents = [{"id": "d1", "title": "발코니", "text": "집 바깥에 단다."}, {"id": "d2", "title": "다", "text": "라"}]
    items = [item("d1"), item("d2", on_topic=False), item("d2", safe=False), item("d9")]
    parsed = DocumentQuestionsReply.model_validate({"items": items})
    collected = generation.collect_document_questions([Reply("", parsed, None)], documents)
    assert collected.rows == [{"question": FIRST, "document_id": "d1"}]
    assert [row["reason"] for row in collected.rejected] == [
        "off topic: 까닭", "unsafe: 까닭", "the teacher was not shown this document"
    ]  # fmt: skip


def test_new_tasks_that_repeat_a_seed_or_one_another_are_dropped_with_the_one_they_repeat():
    seeds = [{"instruction": "이웃에게 보낼 감사 편지를 한 통 써 주세요.", "input": "", "output": "감사합니다."}]
    made = [
        ("이웃에게 보낼 감사 편지를 한 통 써 주시오.", "repeats the seed"),
        ("두 수의 합을 구하세요.", "new"),
        ("다음 두 수의 합을 구하세요.", "repeats the one before"),
    ]
    items = [{"instruction": text, "input": "", "output": why} for text, why in made]
    reply = Reply("", SelfInstructReply.model_validate({"items": items}), None)
    collected = generation.collect_tasks([reply], seeds, threshold=0.7)
    assert [task["output"] for task in collected.rows] == ["new"]
    assert seeds[0]["instruction"] in collected.rejected[0]["reason"]


def test_self_instruct_shows_every_seed_task_once():
    seeds = [{"instruction": f"과제 {i}", "input": "", "output": "답"} for i in range(8)]
    requests = generation.self_instruct_requests(seeds, shown=3)
    shown = [request[1]["content"] for request in requests]
    assert len(shown) == 2  # the two seeds that are left are too few for a request
    assert all(sum(f"과제 {i}\n" in text for text in shown) == 1 for i in range(6))


def test_the_recording_answers_all_23_tasks():
    examples = read_jsonl(DATA / "recorded" / "authored_tasks.jsonl")
    contexts = {e["task"]: e["context"] for e in examples if e["id"].endswith("-1")}
    replies = generation.ask_tasks(client.connect(), contexts)
    assert list(replies) == list(contexts) == list(TASKS)
    assert all(reply.error is None for reply in replies.values())


def test_the_recording_has_what_its_sources_were_built_into():
    """Fails when a prompt or a source changed and `make recording` was not run."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("build", ROOT / "dev" / "data" / "build_recording.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    recorded = read_recording()
    for messages, schema, about, reply in build.everything_written():
        row = recorded[recording_key(messages, schema.__name__)]
        assert json.loads(row["content"]) == reply, about
        assert row["source"] == "written for this course"
