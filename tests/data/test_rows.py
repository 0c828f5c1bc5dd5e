"""Protects: a row is taught and asked as it was meant, or refused: what stands beside a question is shown to the model."""

import json
import unicodedata

import pytest

from kotune.data import records, registry
from kotune.data.records import is_blank, known_names, to_answer, unknown_fields, unused_when_answered
from utils import CourseError, write_jsonl

TALK = [{"role": "user", "content": "가"}, {"role": "assistant", "content": "나"}]
SHARED = [{"from": "human", "value": "가"}, {"from": "gpt", "value": "나"}]
OPEN_BOOK = "다음 문서를 참고하여 질문에 답해 주세요.\n\n질문: 가\n\n[1] {}\n글"


def taught(row):
    (record,) = records.canonical(row, "a.jsonl, line 1", "a-1")
    return record


def asked(row):
    (record,) = to_answer(row, "a.jsonl, line 1", "a-1")
    return record["prompt"][-1]["content"], record.get("reference")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"prompt": "가", "completion": "나", "label": False}, "label"),
        ({"prompt": "가", "completion": "나", "label": 0}, "label"),
        ({"prompt": "가", "completion": "나", "label": "FALSE"}, "label"),
        ({"prompt": "가", "completion": "나", "desirable": False}, "desirable"),
        ({"messages": TALK, "label": False}, "label"),
        ({"conversations": SHARED, "kto_tag": False}, "kto_tag"),
        ({"instruction": "가", "output": "나", "kto_tag": "false"}, "kto_tag"),
        ({"question": "가", "answer": "나", "is_correct": False}, "is_correct"),
        ({"messages": [TALK[0], TALK[1] | {"weight": 0}]}, "messages"),
        ({"question": "가", "answer": "틀린 답", "reference": "맞는 답"}, "reference"),
        ({"instruction": "가", "output": "틀린 답", "reference": "맞는 답"}, "reference"),
        ({"question": "가", "answer": "나", "ended": False}, "ended"),
        ({"messages": TALK, "context": "글"}, "context"),
        ({"conversations": SHARED, "input": "글"}, "input"),
        ({"messages": TALK, "tools": [{"name": "찾기"}]}, "tools"),
        ({"question": "가", "answer": "나", "images": ["a.png"]}, "images"),
        ({"prompt": TALK[:1], "completion": "나", "context": "글"}, "context"),
        ({"question": "가", "answer": "나", "context": 3}, "context"),
    ],
)
def test_a_row_that_would_teach_the_wrong_thing_is_refused(row, field):
    with pytest.raises(CourseError, match=f"a.jsonl, line 1, field {field}"):
        taught(row)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "가", "completion": "나", "label": True},
        {"question": "가", "answer": "나", "reference": "나"},
        {"question": "가", "answer": "나", "label": 0},  # of a classification
        {"messages": TALK, "prompt": "가"},  # the same again
        {"question": "가", "answer": "나", "context": "", "input": None, "history": []},
    ],
)
def test_a_row_that_teaches_what_it_says_is_read(row):
    assert taught(row)["prompt"] == TALK[:1]
    assert taught(row)["completion"] == TALK[1:]


@pytest.mark.parametrize(
    ("beside", "prompt"),
    [
        ({"context": "글"}, OPEN_BOOK.format("문서")),
        ({"context": "글", "title": "제목"}, OPEN_BOOK.format("제목")),
        ({"contexts": ["글"]}, OPEN_BOOK.format("문서")),
        ({"passage": "글"}, OPEN_BOOK.format("문서")),
        ({"documents": [{"title": "제목", "text": "글"}]}, OPEN_BOOK.format("제목")),
        ({"input": "글"}, "가\n\n글"),
    ],
)
def test_what_stands_beside_a_question_is_shown(beside, prompt):
    assert asked({"question": "가", **beside}) == (prompt, None)
    assert asked({"instruction": "가", **beside}) == (prompt, None)
    assert asked({"prompt": "가", **beside}) == (prompt, None)
    assert taught({"question": "가", "answer": "나", **beside})["prompt"][-1]["content"] == prompt
    assert taught({"instruction": "가", "output": "나", **beside})["prompt"][-1]["content"] == prompt


@pytest.mark.parametrize(
    ("row", "reference", "unused"),
    [
        ({"question": "가", "answer": "틀린 답", "reference": "맞는 답"}, "맞는 답", ["answer"]),
        ({"instruction": "가", "output": "틀린 답", "reference": "맞는 답"}, "맞는 답", ["output"]),
        ({"question": "가", "answer": "틀린 답", "reference": ""}, "틀린 답", []),
        ({"question": "가", "answer": "모델의 답", "model": "m", "ended": True}, None, ["answer", "model", "ended"]),
        ({"question": "가", "answer": "맞는 답"}, "맞는 답", []),
        ({"question": "가", "answer": "맞는 답", "난이도": 3}, "맞는 답", ["난이도"]),
        ({"question": "가", "난이도": 3}, None, ["난이도"]),
    ],
)
def test_an_old_answer_is_no_reference(row, reference, unused):
    assert asked(row) == ("가", reference)
    assert unused_when_answered(row) == unused


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"messages": TALK[:1], "context": "글"}, "context"),
        ({"question": "가", "image": "a.png"}, "image"),
        ({"prompt": TALK[:1], "input": "글"}, "input"),
    ],
)
def test_a_question_is_not_asked_without_its_context(row, field):
    with pytest.raises(CourseError, match=f"field {field}"):
        asked(row)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "system", "content": ""}, *TALK]},
        {"messages": [{"role": "system", "content": None}, *TALK]},
        {"conversations": [{"from": "system", "value": "\u200b"}, *SHARED]},
        {"conversations": TALK},
        {"messages": SHARED},
        {"messages": [{"role": "User", "content": [{"type": "text", "text": "가"}]}, TALK[1]]},
        {"Messages": TALK, "system": " "},
    ],
)
def test_turns_in_any_of_their_spellings(row):
    assert [*taught(row)["prompt"], *taught(row)["completion"]] == TALK


def test_a_developer_speaks_as_the_system():
    record = taught({"messages": [{"role": "developer", "content": "공손히."}, *TALK]})
    assert record["prompt"][0] == {"role": "system", "content": "공손히."}


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ([{"from": ["human"], "value": "가"}], r"turn 1 is from \['human'\]"),
        ([{"value": "가"}], "turn 1 is from None"),
        ([TALK[0], {"role": "tool", "content": "가"}], "turn 2 is from 'tool', a tool"),
        ([TALK[0], {"role": "assistant", "content": None, "tool_calls": [{}]}], "turn 2 calls a tool"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "turn 1 has a part of type 'image_url'"),
        ([{"role": "user", "content": {"text": "가"}}], "turn 1 has no text but an object"),
        ([TALK[0], {"role": "assistant", "content": "\u3164"}], "turn 2 is empty"),
    ],
)
def test_turns_that_cannot_be_taught_are_named(turns, words):
    for field in ("messages", "conversations"):
        with pytest.raises(CourseError, match=f"field {field}: {words}"):
            taught({field: turns})


@pytest.mark.parametrize(
    "other", ["예.\n", "예.\u00a0", " 예.", "예.\u200b", "\ufeff예.", unicodedata.normalize("NFD", "예.")]
)
def test_sides_that_read_the_same_are_the_same(other):
    for sides in (("예.", other), (other, "예.")):
        with pytest.raises(CourseError, match="same text"):
            taught({"prompt": "가", "chosen": sides[0], "rejected": sides[1]})
    with pytest.raises(CourseError, match="same text"):
        taught({"instruction": "가", "output": ["예.", other]})


def test_sides_that_differ_in_their_lines_differ():
    assert taught({"prompt": "가", "chosen": "하나\n둘", "rejected": "하나 둘"})["chosen"]


@pytest.mark.parametrize(
    "text", ["", " \n", "\u3164", "\u2800", "\u00ad", "\ufe0f", "\u115f\u1160", "\uffa0", "\u200b\u200d", "\u0301", "\ufeff"]
)
def test_what_shows_nothing_is_blank(text):
    assert is_blank(text)
    if text:
        with pytest.raises(CourseError, match="empty"):
            taught({"question": "가", "answer": text})


@pytest.mark.parametrize("text", [".", "ㅋ", "가\u3164", "❤\ufe0f", "0", "👨\u200d👩"])
def test_what_shows_something_is_text(text):
    assert not is_blank(text)


def test_names_are_known_in_any_case_and_form():
    assert known_names({"Question": 1, " ANSWER": 2, "no.": 3, "conclusion": 4}) == {
        "question": 1,
        "answer": 2,
        "No.": 3,
        "Conclusion": 4,
    }
    assert known_names({"Question": 1, "question": 2}) == {"Question": 1, "question": 2}
    assert unknown_fields({"Question": "가", "answer": "나", "Memo": 1}) == ["Memo"]
    decomposed = unicodedata.normalize("NFD", "질문")
    assert records.rename({decomposed: "가", "답": "나"}, {"prompt": "질문", "response": "답"}) == {
        "instruction": "가",
        "output": "나",
    }


def save(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_unused_fields_are_named_once_with_their_counts(tmp_path, capsys):
    rows = [{"question": "가", "answer": "나", "난이도": 1}, {"question": "다", "answer": "라", "난이도": 2, "label": True}]
    registry.load(save(tmp_path / "a.jsonl", *rows))
    out = capsys.readouterr().out
    assert out.count("not used") == 1 and "난이도 (2 rows), label (1 row)" in out
    assert "it will be ignored (2 rows)" in str(registry.check(str(tmp_path / "a.jsonl"), None, []))


def test_ids_and_files_are_the_same_in_any_unicode_form(tmp_path):
    ids = ["가", unicodedata.normalize("NFD", "가")]
    path = save(
        tmp_path / unicodedata.normalize("NFD", "자료.jsonl"), *({"id": i, "question": "가", "answer": "나"} for i in ids)
    )
    with pytest.raises(CourseError, match="was used by line 1"):
        registry.load(tmp_path / "자료.jsonl")
    save(path, {"id": 1.0, "question": "가", "answer": "나"})
    assert registry.load(path)[0]["id"] == "1"


def test_a_text_that_says_that_it_is_missing_is_found(tmp_path):
    rows = [{"question": "가", "answer": text} for text in ("nan", "NaN", "None", "<NA>", "없음")]
    assert registry.check(str(save(tmp_path / "a.jsonl", *rows)), None, []).counts["warning", "missing value"] == 4


def test_a_token_of_the_template_is_a_finding_with_its_line(tmp_path):
    rows = [{"question": text, "answer": "나"} for text in ("가", "가<end_of_turn>", "다")]

    def count(record):
        if "<end_of_turn>" in record["prompt"][0]["content"]:
            raise CourseError("Message 0 (user) holds <end_of_turn>; take it out.")
        return 3

    report = registry.check(str(save(tmp_path / "a.jsonl", *rows)), (count, 10), [])
    assert report.rows == 3 and report.counts["error", "template"] == 1
    assert "a.jsonl, line 2: Message 0" in str(report)


# --- two answers to one question ---

PAIR = {"input1": "가?", "completion1": "나", "input2": "가?", "completion2": "다"}


def test_a_check_says_what_pairs_of_answers_are_for(tmp_path):
    bad = [PAIR | {"input2": "라?"}, PAIR | {"completion1": "a@example.org로 보내세요."}]
    path = write_jsonl(tmp_path / "eval_dataset.jsonl", [PAIR, *bad, PAIR | {"completion1": "", "Reference": "나"}])
    report = registry.check(str(path), None, [])
    assert [(finding.severity, finding.kind) for finding in report.findings] == [
        ("error", "two questions"),
        ("warning", "personal data"),
    ]
    assert "line 2, field input2: it is another question than input1" in report.findings[0].message
    assert str(report).splitlines()[-1] == (
        "3 records hold two answers to one question, with no verdict on them: `kotune judge --pairs` compares them."
    )


def test_pairs_of_answers_are_held_out_and_asked_and_never_taught(tmp_path, capsys):
    path = write_jsonl(tmp_path / "eval_dataset.jsonl", [PAIR | {"reference": "나"}])
    assert registry.held_out_questions([str(path)]) == ["가?"]
    assert asked(PAIR | {"reference": "나"}) == ("가?", "나")
    assert unused_when_answered(PAIR | {"reference": "나"}) == ["completion1", "completion2"]
    with pytest.raises(CourseError, match="is for judge, which dpo does not hold; no format to convert to does"):
        registry.convert(str(path), str(tmp_path / "out.jsonl"), "dpo")
