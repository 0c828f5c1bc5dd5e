"""Protects: the checks of the 23 tasks pass what keeps to its task, and name what does not."""

from dataclasses import replace

import pytest

from kotune.korean.task_styles import (
    TaskOutput,
    bullet_depth,
    bullet_problems,
    check_reply,
    read_output,
    sentence_problems,
    style_table,
)
from kotune.korean.tasks import TASK_PROMPTS, TASKS
from prompts import ChoiceReply, KeywordReply, SubjectiveReply, TextReply, YesNoReply
from utils import DATA, CourseError, read_jsonl

SOURCE = "전입신고는 이사한 날부터 14일 이내에 한다. 주민센터에 가거나 인터넷으로 할 수 있다. 늦으면 과태료를 낼 수 있다."
EXAMPLES = read_jsonl(DATA / "recorded" / "authored_tasks.jsonl")


def reply_of(example):
    return TASKS[example["task"]].schema(**example["reply"])


@pytest.mark.parametrize("example", EXAMPLES, ids=[e["id"] for e in EXAMPLES])
def test_every_shipped_example_keeps_to_its_task(example):
    assert check_reply(example["task"], example["context"], reply_of(example)) == []


def test_there_are_23_tasks_of_13_kinds_with_four_examples_and_several_wordings_each():
    assert len(TASKS) == 23
    assert len({task.kind for task in TASKS.values()}) == 13
    for task_id, task in TASKS.items():
        assert sum(example["task"] == task_id for example in EXAMPLES) == 4
        assert len(set(task.instructions)) == 5
        assert TASK_PROMPTS[task_id].messages(context="가")[1]["content"].endswith("가")


CHOICES = ["14일 이내", "7일 이내", "한 달 이내", "언제든지"]
GOOD_QUOTE = "“이사한 날부터 14일 이내에 한다”라고 나와 있습니다."


@pytest.mark.parametrize(
    ("task_id", "reply", "words"),
    [
        ("task01_01", TextReply(output="전입신고는 14일 이내에 한다."), "does not start with"),
        ("task01_01", TextReply(output="- 신고는 14일 이내에 합니다\n- 주민센터나 인터넷 이용"), "ends like a sentence"),
        ("task01_01", TextReply(output="- 이사 후 14일 이내에 주민센터나 인터넷으로 신고"), "at least 2"),
        ("task01_01", TextReply(output="- 14일 안\n- 신고"), "a third or more"),
        ("task01_02", TextReply(output="- 14일 이내 신고가 필요하고 주민센터에서 합니다."), "list item"),
        ("task01_02", TextReply(output="이사하고 30일 안에 주민센터나 인터넷으로 신고합니다."), "number 30"),
        ("task01_02", TextReply(output="이사하면 14일 안에 주민센터나 인터넷으로 신고"), "does not end"),
        ("task02", TextReply(output="전입신고의 기한과 방법."), "without a full stop"),
        ("task03_02", ChoiceReply(question="언제?", choices=CHOICES, answer="내일", rationale=GOOD_QUOTE), "none of"),
        ("task03_02", ChoiceReply(question="언제?", choices=[*CHOICES[:3], CHOICES[0]], answer=CHOICES[0],
                                  rationale=GOOD_QUOTE), "the same"),
        ("task03_02", ChoiceReply(question="언제?", choices=CHOICES, answer=CHOICES[0],
                                  rationale="“그렇게 적혀 있다”라고 합니다."), "quotes nothing"),
        ("task06_02", ChoiceReply(question="언제?", choices=["두 주 안", *CHOICES[1:]], answer="두 주 안",
                                  rationale=GOOD_QUOTE), "does not stand in the passage"),
        ("task07_02", YesNoReply(question="되나요?", answer="예", rationale="글을 읽으면 알 수 있습니다."), "quotes"),
        ("task08_01", SubjectiveReply(question="어디?", answer="- 주민센터\n- 동사무소"), "동사무소"),
        ("task08_02", SubjectiveReply(question="언제?", answer="전입신고는 14일 안에 한다."), "does not stand"),
        ("task09", TextReply(output="늦으면 과태료를 낼 수 있다. 그러므로 서두르는 것이 좋다."), "repeats"),
        ("task11", KeywordReply(keywords=["전입신고", "주민센터", "과태료", "동사무소"]), "동사무소"),
        ("task11", KeywordReply(keywords=["전입신고", "전입신고", "과태료", "주민센터"]), "4 to 8 different"),
        ("task12_02", SubjectiveReply(question="언제?", answer="14일 이내입니다."), "no HTML table"),
        ("task13_02", TextReply(output=SOURCE), "repeats its source"),
        ("task13_02", TextReply(output="집을 옮긴 사람은 두 주가 지나기 전에 신고를 마칩니다."), "number 14 of"),
    ],
)  # fmt: skip
def test_what_does_not_keep_to_its_task_is_named(task_id, reply, words):
    problems = check_reply(task_id, SOURCE, reply)
    assert any(words in problem for problem in problems), problems


def test_rows_have_system_ds_keys_and_yes_no_answers_start_so():
    for example in EXAMPLES:
        task, reply = TASKS[example["task"]], reply_of(example)
        row = task.row(example["context"], reply, variant=3)
        assert set(row) == {"Task_name", "input", "output"}
        assert row["input"].startswith(task.instructions[3])
        assert example["context"] in row["input"]
        if isinstance(reply, YesNoReply):
            assert row["output"].startswith(("예", "아니요"))
        if isinstance(reply, ChoiceReply):
            assert all(choice in row["input"] for choice in reply.choices)


def outputs():
    for example in EXAMPLES:
        task = TASKS[example["task"]]
        given_reply = task.schema(**example["reply"])
        yield TaskOutput(task.id, example["context"], task.output(given_reply), given_reply)


def test_what_a_task_writes_is_read_back_and_keeps_to_its_task():
    for row in outputs():
        task = TASKS[row.task]
        read = read_output(row.task, row.output, row.given)
        assert read is not None and task.output(read) == row.output
    table = style_table(list(outputs()))
    assert [count.task for count in table] == list(TASKS)
    assert all((count.n, count.kept, count.unparsed, count.share, count.problems) == (4, 4, 0, 1.0, ()) for count in table)


def test_what_cannot_be_read_and_what_breaks_a_rule_is_counted_and_named():
    rows = [row for row in outputs() if row.task == "task05_01"]
    spoilt = [
        rows[0],
        replace(rows[1], output="글쎄요."),
        replace(rows[2], output=""),
        replace(rows[3], output="예\n그렇습니다."),
    ]
    (count,) = style_table(spoilt)
    assert (count.n, count.unparsed, count.kept, count.share) == (4, 2, 1, 0.25)
    assert any("does not start with" in problem for problem in count.problems)
    with pytest.raises(CourseError, match="no task 'task99'"):
        style_table([replace(rows[0], task="task99")])


def test_a_choice_may_be_named_by_its_mark():
    shown = ChoiceReply(question="어디?", choices=["서울", "부산", "대구", "광주"], answer="부산", rationale="까닭")
    assert read_output("task03_01", "- 정답: ②\n- 까닭", shown).answer == "부산"
    assert read_output("task03_02", "정답은 ‘② 부산’입니다. 까닭이 있습니다.", shown).answer == "부산"
    assert read_output("task03_02", "부산입니다.", shown) is None


@pytest.mark.parametrize("blank", ["", " ", "\u3000"])
def test_a_blank_choice_is_no_choice(blank):
    shown = ChoiceReply(question="어디?", choices=["서울", "부산", "대구", "광주"], answer="부산", rationale="까닭")
    assert read_output("task03_01", f"- 정답: {blank} \n- 까닭", shown) is None
    assert read_output("task03_02", f"정답은 ‘{blank} ’입니다. 까닭이 있습니다.", shown) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 신고 기한은 30일\n- 늦으면 과태료 부과", []),
        ("- 대항력\n  - 점유와 전입신고가 요건\n  - 다음 날 0시부터 생김\n- 우선변제권", []),
        ("- 서류\n  · 신분증\n  · 계약서", []),
        ("- 서류\n• 신분증\n• 계약서", []),
        ("- 가장 먼 곳은 캐나다\n- 화분은 베란다", []),
        ("- 우선변제권이 있다", ["ends like a sentence"]),
        ("- 확정일자를 받았다\n- 서류 보관", ["ends like a sentence"]),
        ("- 주민센터에 가세요", ["ends like a sentence"]),
        ("- 대항력\n  - 다음 날 효력이 생긴다", ["ends like a sentence"]),
        ("- 서류를 먼저 챙기자", ["ends like a sentence"]),
        ("- 기한은 30일.", ["ends like a sentence"]),
        ("  - 신분증\n- 서류", ["under no bullet"]),
        ("- 서류\n신분증", ["does not start"]),
        ("  - 신분증", ["at least 1", "under no bullet"]),
    ],
)
def test_bullets_may_have_two_levels_and_end_in_no_verb(text, words):
    problems = list(bullet_problems(text))
    assert len(problems) == len(words), problems
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


@pytest.mark.parametrize(
    ("line", "depth"), [("- 가", 1), ("  - 가", 2), ("\t- 가", 2), ("· 가", 2), ("가", None), ("-가", None)]
)
def test_the_depth_of_a_bullet(line, depth):
    assert bullet_depth(line) == depth


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("신고는 14일 안에 합니다. 늦으면 과태료.", "no verb"), ("신고 기한은 30일임.", "no verb"), ("신고합니다. 그다음 접수", "not end"),
        ("- 신고합니다.", "list item"), ("① 신고합니다.", "list item"),
    ],
)  # fmt: skip
def test_prose_is_made_of_whole_sentences(text, word):
    assert any(word in problem for problem in sentence_problems(text))


def test_prose_may_open_with_yes_or_no_and_hold_dates_decimals_and_quotations():
    text = "아니요. 기준일은 2024. 1. 1.이고 이율은 0.5%입니다. 지문은 “늦으면 낸다. 꼭 낸다.”라고 적습니다. 왜 그럴까요?"
    assert list(sentence_problems(text)) == []
