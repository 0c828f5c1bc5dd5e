"""Protects: every shape gives the same record, bad rows are named, and the shipped data keep their promises."""

import json

import pytest

import formats
from utils import CourseError

QUESTION, ANSWER = "전세란?", "보증금을 맡기고 사는 방식입니다."


def load(tmp_path, *rows):
    path = tmp_path / "my.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return formats.load(path)


@pytest.mark.parametrize(
    "row",
    [
        {"question": QUESTION, "answer": ANSWER},
        {"instruction": QUESTION, "input": "", "output": ANSWER},
        {"input": QUESTION, "output": ANSWER, "Task_name": "task08_01"},
        {"prompt": QUESTION, "completion": ANSWER},
        {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]},
    ],
)
def test_every_supervised_shape_gives_one_record(tmp_path, row):
    (record,) = load(tmp_path, row)
    assert record["prompt"] == [{"role": "user", "content": QUESTION}]
    assert record["completion"] == [{"role": "assistant", "content": ANSWER}]
    assert record["id"] == "my-00001"


def test_an_input_follows_its_instruction(tmp_path):
    (record,) = load(tmp_path, {"instruction": "요약하세요.", "input": "긴 글", "output": "짧은 글"})
    assert record["prompt"][0]["content"] == "요약하세요.\n\n긴 글"


def test_a_missing_id_is_made_and_a_system_text_is_kept(tmp_path):
    rows = [{"id": None, "instruction": QUESTION, "system": "공손히.", "output": ANSWER}] * 2
    one, other = load(tmp_path, *rows)
    assert (one["id"], other["id"]) == ("my-00001", "my-00002")
    assert [turn["role"] for turn in one["prompt"]] == ["system", "user"]


def test_preference_pairs_of_texts_or_messages(tmp_path):
    text = {"prompt": QUESTION, "chosen": ANSWER, "rejected": "몰라요."}
    messages = {
        "prompt": [{"role": "user", "content": QUESTION}],
        "chosen": [{"role": "assistant", "content": ANSWER}],
        "rejected": [{"role": "assistant", "content": "몰라요."}],
    }
    one, other = load(tmp_path, text, messages)
    assert {**one, "id": ""} == {**other, "id": ""}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": QUESTION}, "question; the course reads"),
        ({"question": QUESTION, "answer": " "}, "field answer"),
        ({"question": 3, "answer": ANSWER}, "field question"),
        ({"prompt": QUESTION, "chosen": ANSWER, "rejected": ANSWER}, "same text"),
        ({"messages": [{"role": "user", "content": QUESTION}]}, "last turn"),
        ({"messages": [{"role": "robot", "content": QUESTION}]}, "field messages"),
        ({"prompt": QUESTION, "completion": [{"role": "user", "content": ANSWER}]}, "one assistant turn"),
        ({"prompt": [{"role": "system", "content": "공손히"}], "completion": ANSWER}, "the roles are system"),
        (
            {
                "prompt": QUESTION,
                "chosen": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}],
                "rejected": "몰라요.",
            },
            "field chosen",
        ),
        ({"id": "a", "question": QUESTION, "answer": ANSWER}, "was used by line 1"),
    ],
)
def test_a_bad_row_is_named_with_file_and_row(tmp_path, row, words):
    good = {"id": "a", "question": QUESTION, "answer": ANSWER}
    with pytest.raises(CourseError, match=r"my\.jsonl, line 2") as error:
        load(tmp_path, good, row)
    assert words in str(error.value)


def test_an_unknown_name_lists_the_registered():
    with pytest.raises(CourseError, match="real_estate_train"):
        formats.load("real_estate")


# --- the shipped data ---


def test_everything_registered_is_there_with_its_licence():
    for name, entry in formats.registry().items():
        assert formats.load_rows(name), name
        assert entry["licence"] == "CC BY 4.0"
        assert entry["stage"] in ("sft", "dpo", "evaluation")


def test_sizes_are_what_the_data_card_says():
    sizes = {name: len(formats.load_rows(name)) for name in formats.registry()}
    card = (formats.DATA / "README.md").read_text(encoding="utf-8")
    for name, size in sizes.items():
        assert f"| `{name}` | {size} |" in card
    assert sizes["real_estate_train"] >= 120
    assert sizes["real_estate_evaluation"] >= 20
    assert sizes["real_estate_preference"] >= 60


def test_every_answer_rests_on_a_document_that_has_its_numbers():
    from grounding import unsupported_numbers
    from utils import read_jsonl

    text_of = {d["id"]: d["text"] for d in read_jsonl(formats.DATA / "documents.jsonl")}
    assert len(text_of) >= 30
    for name, field in (
        ("real_estate_train", "answer"),
        ("real_estate_validation", "answer"),
        ("real_estate_evaluation", "reference"),
        ("real_estate_preference", "chosen"),
    ):
        for row in formats.load_rows(name):
            assert not unsupported_numbers(row[field], text_of[row["document_id"]]), row


def test_texts_vary_and_no_evaluation_question_was_trained_on():
    from similarity import deduplicate, find_overlap

    rows = formats.load_rows("real_estate_train") + formats.load_rows("real_estate_validation")
    held_out = [row["question"] for row in formats.load_rows("real_estate_evaluation")]
    for field in ("question", "answer"):
        texts = [row[field] for row in rows]
        assert len(deduplicate(texts, 0.7).dropped) <= 0.02 * len(texts), field
    assert not find_overlap([row["question"] for row in rows], held_out, 0.7)
    assert not find_overlap([row["question"] for row in rows], held_out, 0.7, unit="morpheme")


def test_preference_pairs_have_every_kind_in_fair_shares():
    from collections import Counter

    kinds = Counter(record["kind"] for record in formats.load("real_estate_preference"))
    assert set(kinds) == {"wrong_fact", "off_topic", "cut_short", "wrong_language", "padded", "rude"}
    assert min(kinds.values()) > 0.6 * max(kinds.values())
