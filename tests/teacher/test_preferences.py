"""Protects: a pair is kept only if its rejected side is spoilt as its kind says, as far as code can tell."""

import pytest

from kotune.teacher import preferences
from kotune.teacher.replies import Reply
from prompts import SpoiltAnswer
from utils import DATA, read_jsonl

ROW = {"question": "전입신고는 언제까지 하나요?", "answer": "이사한 날부터 14일 이내에 합니다.", "document_id": "doc-1"}
DOCUMENTS = [{"id": "doc-1", "text": "전입신고는 이사한 날부터 14일 이내에 한다."}]


@pytest.mark.parametrize(
    ("kind", "spoilt", "reason"),
    [
        ("wrong_fact", "이사한 날부터 30일 이내에 합니다.", None),
        ("wrong_fact", "이사한 날부터 30일 안에 해.", "tone"),
        ("wrong_fact", "이사한 날부터 30일 이내에 하셔야 하며 늦으면 곤란해질 수 있습니다.", "length"),
        ("off_topic", "주민센터에서 할 수 있습니다.", None),
        ("off_topic", "새 주소지의 주민센터를 찾아가거나 정부24에서 온라인으로 하실 수 있습니다.", "length"),
        ("off_topic", "주민센터에서 할 수 있어.", "tone"),
        ("cut_short", "이사한 날부터 14일", None),
        ("cut_short", "이사한 날부터 합니다.", "mid-sentence"),
        ("wrong_language", "Within 14 days of moving in.", "far more than one or two words"),
        ("wrong_language", "이사한 날부터 14일 以内에 합니다.", None),
        ("wrong_language", "이사한 날부터 within 14일 이내에 합니다.", None),
        ("wrong_language", "이사한 날부터 14일 이내입니다.", "no foreign word"),
        ("padded", "이사한 날부터 14일 이내에 합니다. 이사를 하고 나서 14일 안에 해야 한다는 뜻입니다.", None),
        ("padded", "이사한 날부터 꼭 14일 이내에 합니다.", "hardly longer"),
        ("rude", "이사하고 14일 안에 하면 돼.", None),
        ("rude", "이사한 날부터 14일 이내에 해요.", "polite"),
        ("rude", "", "empty"),
        ("wrong_fact", ROW["answer"], "the chosen one"),
    ],
)
def test_each_kind_is_checked(kind, spoilt, reason):
    found = preferences.not_spoilt(kind, ROW["answer"], spoilt)
    assert (found is None) if reason is None else (reason in found)


def test_the_shipped_pairs_are_spoilt_as_they_say():
    for pair in read_jsonl(DATA / "real_estate_preference.jsonl"):
        assert preferences.not_spoilt(pair["kind"], pair["chosen"], pair["rejected"]) is None, pair["id"]


def test_a_foreign_word_of_the_good_answer_is_no_slip():
    good = "LTV는 담보인정비율입니다."
    assert "no foreign word" in preferences.not_spoilt("wrong_language", good, "LTV는 담보로 보는 비율입니다.")
    assert preferences.not_spoilt("wrong_language", good, "LTV는 担保인정비율입니다.") is None


def test_named_questions_come_first_and_the_others_take_turns():
    rows = [ROW | {"question": f"질문 {i}"} for i in range(9)]
    planned = preferences.plan(rows, {"질문 4": "rude", "없는 질문": "padded"})
    assert (planned[0][0]["question"], planned[0][1]) == ("질문 4", "rude")
    assert [kind for _, kind in planned[1:7]] == list(preferences.KINDS)
    assert len(planned) == 9


def test_what_is_not_spoilt_or_not_answered_is_set_aside_with_its_reason():
    planned = [(ROW, "rude"), (ROW, "rude"), (ROW, "cut_short")]
    replies = [
        Reply("", SpoiltAnswer(rejected="14일 안에 해."), None),
        Reply("", SpoiltAnswer(rejected="14일 안에 합니다."), None),
        Reply(None, None, "the teacher refused: 싫습니다"),
    ]
    requests = preferences.spoil_requests(planned, DOCUMENTS)
    assert DOCUMENTS[0]["text"] in requests[0][1]["content"]
    collected = preferences.collect_pairs(planned, replies)
    assert [pair["rejected"] for pair in collected.rows] == ["14일 안에 해."]
    assert [pair["reason"] for pair in collected.rejected] == [
        "it is polite; it is not in 반말",
        "the teacher refused: 싫습니다",
    ]


def test_a_weaker_models_sample_is_a_rejected_side_unless_it_is_as_good():
    rows = [ROW, ROW, ROW]
    collected = preferences.from_weaker_model(rows, ["이사한 날 이사한 날 이사한 날", ROW["answer"], "  "])
    assert [pair["kind"] for pair in collected.rows] == ["weaker_model"]
    assert len(collected.rejected) == 2
