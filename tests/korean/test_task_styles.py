"""Protects: the checks of the 23 tasks pass what keeps to its task, and name what does not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.korean.task_styles import (
    TaskOutput,
    bullet_depth,
    bullet_problems,
    check_reply,
    levels_asked_for,
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


def levels_of(example):
    return levels_asked_for(example["instruction"])


@pytest.mark.parametrize("example", EXAMPLES, ids=[e["id"] for e in EXAMPLES])
def test_every_shipped_example_keeps_to_its_task(example):
    assert check_reply(example["task"], example["context"], reply_of(example), levels_of(example)) == []


def test_there_are_23_tasks_of_13_kinds_with_twelve_examples_and_several_wordings_each():
    assert len(TASKS) == 23
    assert len({task.kind for task in TASKS.values()}) == 13
    for task_id, task in TASKS.items():
        assert sum(example["task"] == task_id for example in EXAMPLES) == 12
        wordings = task.wordings
        assert len(set(wordings.plain)) == 5
        assert len(set(wordings.levels)) == (2 if task.style == "bullet" else 0)
        assert len(set(wordings.question)) == (0 if task.schema in (TextReply, KeywordReply) else 2)
        assert {levels_asked_for(words) for words in wordings.plain} == {1}
        assert {levels_asked_for(words) for words in wordings.levels} <= {2}
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
        ("task13_02", TextReply(output="집을 옮긴 사람은 세 주가 지나기 전에 신고를 마칩니다."), "number 14일 of"),
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
        assert row["input"].startswith(task.wordings.plain[3])
        assert example["context"] in row["input"]
        if isinstance(reply, YesNoReply):
            assert row["output"].startswith(("예", "아니요"))
        if isinstance(reply, ChoiceReply):
            assert all(choice in row["input"] for choice in reply.choices)


def outputs():
    for example in EXAMPLES:
        reply, writes_question = reply_of(example), example.get("writes_question", False)
        output = TASKS[example["task"]].output(reply, writes_question)
        given = None if writes_question else reply
        yield TaskOutput(example["task"], example["context"], output, given, levels_of(example))


def test_what_a_task_writes_is_read_back_and_keeps_to_its_task():
    for row, example in zip(outputs(), EXAMPLES, strict=True):
        assert read_output(row.task, row.output, row.given) == reply_of(example)
    table = style_table(list(outputs()))
    assert [count.task for count in table] == list(TASKS)
    expected = (12, 12, 0, 1.0, ())
    assert all((count.n, count.kept, count.unparsed, count.share, count.problems) == expected for count in table)


def test_the_question_stands_in_the_input_or_is_the_first_line_of_the_output():
    task = TASKS["task03_02"]
    reply = ChoiceReply(question="언제까지인가?", choices=CHOICES, answer=CHOICES[0], rationale=GOOD_QUOTE)
    shown = "질문: 언제까지인가?\n① 14일 이내\n② 7일 이내\n③ 한 달 이내\n④ 언제든지"
    shown_row, written = task.row(SOURCE, reply), task.row(SOURCE, reply, writes_question=True)
    assert shown_row["input"].endswith(f"{SOURCE}\n\n{shown}")
    assert written["input"] == f"{task.wordings.question[0]}\n\n{SOURCE}"
    assert written["output"] == f"{shown}\n{shown_row['output']}"
    below = task.row(SOURCE, reply, instruction="위 글로 답하시오.", context_first=True)
    assert below["input"] == f"{SOURCE}\n\n위 글로 답하시오.\n\n{shown}"


def test_a_task_without_a_question_has_none_to_write():
    with pytest.raises(CourseError, match="no question for the model to write"):
        TASKS["task02"].row(SOURCE, TextReply(output="전입신고"), writes_question=True)


QUESTION_FORMS = {
    ChoiceReply: lambda question, words: ChoiceReply(
        question=question, choices=words, answer=words[1], rationale="까닭입니다."
    ),
    YesNoReply: lambda question, words: YesNoReply(question=question, answer="아니요", rationale=words[0]),
    SubjectiveReply: lambda question, words: SubjectiveReply(question=question, answer="\n".join(words)),
}
LINE = st.text("가나다 ①②질문:?.‘’“”-1", min_size=1).map(str.strip).filter(bool)


@given(
    st.sampled_from([task for task in TASKS.values() if task.schema in QUESTION_FORMS]),
    LINE,
    st.lists(LINE.filter(lambda line: line[0] not in "①②" and "’" not in line), min_size=4, max_size=4),
)
def test_a_question_that_the_model_writes_is_read_back_whatever_it_is(task, question, words):
    reply = QUESTION_FORMS[task.schema](question, words)
    assert read_output(task.id, task.output(reply, writes_question=True), None) == reply


@pytest.mark.parametrize(
    ("task_id", "output"),
    [
        ("task03_01", "- 정답: 나\n- 까닭"),
        ("task03_01", "질문: 무엇인가?\n① 가\n② 나\n③ 다\n- 정답: 나\n- 까닭"),
        ("task05_02", "예. 까닭이 있습니다."), ("task05_02", "질문: 그런가?"), ("task12_01", "- 값: 3"), ("task12_01", "질문: \n- 값: 3"),
    ],
)  # fmt: skip
def test_an_output_without_the_question_that_was_to_be_written_cannot_be_read(task_id, output):
    assert read_output(task_id, output, None) is None


def test_what_cannot_be_read_and_what_breaks_a_rule_is_counted_and_named():
    rows = [row for row in outputs() if row.task == "task05_01"]
    spoilt = [
        rows[0],
        replace(rows[1], output="글쎄요."),
        replace(rows[2], output=""),
        replace(rows[3], output="예\n그렇습니다."),
    ]
    assert all(row.given for row in spoilt)
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
    "task_id", [task_id for task_id, task in TASKS.items() if task.schema not in (TextReply, KeywordReply)]
)
@pytest.mark.parametrize(
    "output", ["", " ", "\n", "\u3000", "질문:", "질문: \n", "- 정답: ①\n- 까닭", "예.", "정답은 ‘④’입니다. 까닭."]
)
@pytest.mark.parametrize("given", [None, SubjectiveReply(question="무엇인가요?", answer="가"), TextReply(output="가")])
def test_what_says_nothing_or_is_given_for_another_task_is_read_or_is_none(task_id, output, given):
    read = read_output(task_id, output, given)
    assert read is None or (isinstance(read, TASKS[task_id].schema) and output.strip())


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


def test_a_second_level_that_was_asked_for_is_due():
    reply = TextReply(output="- 이사한 날부터 14일 이내에 신고\n- 주민센터 방문이나 인터넷 이용")
    assert check_reply("task01_01", SOURCE, reply) == []
    assert check_reply("task01_01", SOURCE, reply, levels=2) == ["no bullet of the second level, which is asked for"]
    deeper = reply.model_copy(update={"output": reply.output.replace("\n- ", "\n  - ") + "\n- 늦으면 과태료"})
    assert check_reply("task01_01", SOURCE, deeper, levels=2) == []


@pytest.mark.parametrize(
    ("instruction", "levels"),
    [
        ("계층적 개조식으로 요약해 주세요.", 2), ("두 단계 글머리표로 적으시오.", 2), ("세부 내용은 한 칸 들여 써 줘요.", 2),
        ("상위 항목을 세우고 나누시오.", 2), ("글머리표로 요약하시오.", 1), ("짧은 항목들로 간추려 보세요.", 1),
        ("받아들여야 할 점을 항목으로 쓰시오.", 1), ("자료를 들여다보고 쓰시오.", 1),
    ],
)  # fmt: skip
def test_an_instruction_says_how_many_levels_it_asks_for(instruction, levels):
    assert levels_asked_for(instruction) == levels


def test_a_number_that_the_question_makes_up_may_be_in_the_answer():
    reply = YesNoReply(
        question="이사한 지 20일이 지난 사람은 늦은 것인가요?",
        answer="예",
        rationale="“이사한 날부터 14일 이내에 한다”라고 하므로 20일이 지났다면 늦었습니다.",
    )
    assert check_reply("task05_02", SOURCE, reply) == []
    other = reply.model_copy(update={"rationale": reply.rationale.replace("20일", "30일")})
    assert check_reply("task05_02", SOURCE, other) == ["the number 30일 does not stand in the source"]


@pytest.mark.parametrize(("question", "words"), [("언제인가", "does not end"), ("언제?\n어디?", "one line")])
def test_a_question_is_one_line_that_ends(question, words):
    reply = SubjectiveReply(question=question, answer="14일 안에 합니다.")
    assert any(words in problem for problem in check_reply("task04_02", SOURCE, reply))


@pytest.mark.parametrize("end", ["무엇인가?", "왜 늦는가?", "언제가 좋은가?", "어디로 간 것인가?"])
def test_a_question_in_written_style_is_a_whole_sentence(end):
    assert list(sentence_problems(f"신고는 14일 안에 합니다. {end}")) == []
    assert check_reply("task09", SOURCE, TextReply(output=f"{end} 답은 간단하다.")) == []


@pytest.mark.parametrize("end", ["신고 평가?", "집주인의 허가?"])
def test_a_noun_with_a_question_mark_is_no_sentence(end):
    assert any("no verb" in problem for problem in sentence_problems(f"신고합니다. {end}"))


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
