"""Protects: what a prompt demands is checked, each breach with its own reason, and good replies of every form pass."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.korean.tasks import TASK_PROMPTS, TASKS
from kotune.teacher import filters, generation
from kotune.teacher.filters import check_answer, check_document_question, check_question, check_spoilt, check_task
from kotune.teacher.replies import Reply
from prompts import DOCUMENT_QUESTIONS, GROUNDED_ANSWER, SEED_WORDS, SELF_INSTRUCT, SPOIL, GroundedAnswer, SeedWordReply
from utils import DATA, read_json, read_jsonl

DOCUMENTS = read_jsonl(DATA / "documents.jsonl")
TEXT_OF = {document["id"]: f"{document['title']}\n{document['text']}" for document in DOCUMENTS}


def names(faults):
    return [fault.name for fault in faults]


# --- questions on seed words ---

BAD_QUESTIONS = [
    # what a model of 1.5B wrote for every seed word: its own instruction, and the same questions again
    ("전세와 월세", "일반인이 실제로 물을 법한 질문을 한국어로 써 주세요.", "instruction"),
    ("전세와 월세", "뜻, 절차, 이유, 차이, 주의점을 두루 묻고 같은 질문을 되풀이하지 않습니다.", "instruction"),
    ("확정일자", "해요체, 합쇼체, 요청문, 상황을 말하는 문장 등 말투와 형식을 고루 섞습니다.", "instruction"),
    ("확정일자", "질문만 읽어도 무엇을 묻는지 알 수 있게 확정일자의 주제를 드러냅니다.", "instruction"),
    ("전입신고", "전입신고에 대해 해요체로 물어보는 문장은 무엇인가요?", "instruction"),
    ("대항력", "대항력에 관한 질문을 6개 만들어 주세요.", "instruction"),
    ("대항력", "다음 낱말마다 질문을 6개씩 써 주세요. 대항력", "instruction"),
    ("확정일자", "다음 낱말에 대한 예상 확정일자를 알려 주세요.", "instruction"),
    ("계약갱신요구권", "다음 날말에 계약 갱신 요구권을 받는 방법은 무엇인가요?", "instruction"),
    ("임차권등기명령", "당신은 임차권 등기명령을 진행하는 과정에서 어떤 점을 주의해야 할까요?", "asks_reader"),
    ("임차권등기명령", "임차권 등기명령을 어떻게 진행하는지 알고 계세요?", "asks_reader"),
    ("계약갱신요구권", "계약 갱신 요구권을 받는 방법에 대해 도움이 필요하신가요?", "asks_reader"),
    ("전세보증금 반환보증", "전세보증금 반환보증의 보험료는 어떻게 계산됩니다?", "broken"),
    ("공시가격", "앞으로 아파트 시세가 예상되나요?", "forecast"),
    ("재산세", "재산세의 답을 JSON으로 써 주실 수 있나요?", "instruction"),
    ("청약통장", "특정 인물, 특정 매물, 시세 전망이나 투자 권유는 묻지 않습니다.", "instruction"),
    ("확정일자", "확정일자는 어디서 받나요", "repeat"),
    ("확정일자", "확정일자는, 어디서 받나요??", "repeat"),
    ("전입신고", "확정일자는 어디서 받나요?", "repeat"),
    ("전세와 월세", "yes", "not_korean"),
    ("전세와 월세", "What is the difference between jeonse and wolse?", "not_korean"),
    ("전세와 월세", "What is 전세?", "not_korean"),
    ("확정일자", "确定日期是什么意思?", "not_korean"),
    ("확정일자", "確定日字는 어디에서 받나요?", "not_korean"),
    ("대항력", "対抗力とは何ですか?", "not_korean"),
    ("대항력", "Что такое 대항력?", "not_korean"),
    ("근저당권", "근저당권 말소는 как 하나요?", "not_korean"),
    ("전세와 월세", "전세", "no_question"),
    ("전세와 월세", "전세와 월세", "no_question"),
    ("전입신고", "전입신고.", "no_question"),
    ("대항력", "대항력?", "no_question"),
    ("확정일자", "이것은 무엇인가요?", "no_topic"),
    ("확정일자", "이 제도의 뜻은 무엇입니까?", "no_topic"),
    ("확정일자", "주의할 점을 자세히 알려 주세요.", "no_topic"),
    ("확정일자", "확정일자는 임대차계약서가 그 날짜에 있었음을 증명하는 날짜입니다.", "answers"),
    ("전입신고", "전입신고는 새 거주지로 옮긴 날부터 14일 이내에 해야 합니다.", "answers"),
    ("전입신고", "1. 전입신고는 언제 하나요?\n2. 전입신고는 어디서 하나요?", "many_in_one"),
    ("전세와 월세", "전세랑 월세 중에 뭐가 더 나아?", "speech_level"),
    ("전입신고", "전입신고 안 하면 어떻게 돼? 알려 줘.", "speech_level"),
    ("공시가격", "내년에 아파트 시세가 얼마나 오를까요?", "forecast"),
    ("재건축", "지금 재건축 아파트를 사도 될까요?", "forecast"),
    ("전매 제한", "분양권에 투자하면 얼마를 벌 수 있나요?", "forecast"),
    ("전입신고", "전입신고 전입신고 전입신고 전입신고는 무엇인가요?", "loops"),
    ("전입신고", "<|im_start|>user 전입신고는 언제 하나요?", "leftover"),
]
GOOD_QUESTIONS = [
    ("확정일자", "확정일자란 무엇인가요?"),
    ("확정일자", "확정일자를 받으려면 어디로 가야 합니까?"),
    ("확정일자", "확정일자를 받는 곳이 어디인지 알려 주세요."),
    ("확정일자", "확정일자와 전입신고의 차이"),
    ("확정일자", "이사하기 전에도 확정일자를 받을 수 있는지 궁금합니다."),
    ("확정일자", "계약서를 잃어버렸는데 확정일자는 그대로 남아 있는 거죠?"),
    ("전입신고", "지난주에 이사했는데 아직 신고를 못 했어요. 과태료를 물게 되나요?"),
    ("전입신고", "집주인이 주소를 잠시 빼 달라고 합니다. 들어줘도 괜찮을지 걱정입니다."),
    ("전입신고", "이사한 지 한 달이 지났는데 전입신고 지금 해도 되나요ㅠㅠ"),
    ("전입신고", "전입신고를 미루면 세입자에게 어떤 불이익이 있을까요?"),
    ("전세와 월세", "전세와 월세 가운데 어느 쪽이 달마다 나가는 돈이 적습니까?"),
    ("전세와 월세", "목돈이 2,000만 원뿐이라면 전세와 월세 중 무엇을 고르는 게 좋을까요?"),
    ("LTV, DTI, DSR", "LTV, DTI, DSR은 각각 무엇을 재나요?"),
    ("LTV, DTI, DSR", "DSR이 뭐예요?"),
    ("원상회복 의무", "벽에 못을 박았는데 나갈 때 메워 줘야 하나요?"),
    ("유치권", "유치권(留置權)이 있는 집을 낙찰받으면 어떻게 됩니까?"),
    ("중개보수", "복비는 누가 얼마나 내는지 가르쳐 줘요."),
    ("임차권등기명령", "보증금을 못 받은 채 이사해야 하는데, 제 순위를 지킬 방법이 있나요?"),
    ("재산세", "재산세를 7월과 9월에 나누어 내는 까닭은?"),
    ("공시가격", "공시가격이 너무 높게 나온 것 같은데 다툴 수 있나요?"),
    ("청약통장", "청약통장을 해지했다가 다시 만들면 가입 기간이 이어지는지요?"),
]


@pytest.mark.parametrize(("seed_word", "question", "name"), BAD_QUESTIONS)
def test_a_question_that_breaks_its_prompt_is_named_with_the_reason(seed_word, question, name):
    assert name in names(check_question(question, seed_word, {filters.bare("확정일자는 어디서 받나요?")}))


@pytest.mark.parametrize(("seed_word", "question"), GOOD_QUESTIONS)
def test_good_questions_of_every_form_pass(seed_word, question):
    assert check_question(question, seed_word, {filters.bare("확정일자는 어디서 받나요?")}) == []


@pytest.mark.parametrize(
    ("seed_word", "named"),
    [
        ("소액임차인 최우선변제권", False),
        ("최우선변제권", False),  # a part of the word that was asked about
        ("소액임차인최우선변제권", False),
        ("장소별", True),
        ("주요 지역", True),
    ],
)
def test_a_seed_word_of_the_models_own_is_named_where_those_asked_about_are_known(seed_word, named):
    question = "최우선변제권은 어떤 집에 인정되나요?"
    assert ("other_word" in names(check_question(question, seed_word, (), ["소액임차인 최우선변제권"]))) == named
    assert "other_word" not in names(check_question(question, seed_word))


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("이 문서에 따르면 전입신고는 언제까지 하나요?", "points_at_text"),
        ("위 글에서 설명하는 신고는 며칠 안에 해야 합니까?", "points_at_text"),
        ("김치찌개를 맛있게 끓이는 비결이 있을까요?", "other_document"),
        ("When should I report?", "not_korean"),
        ("전입신고", "no_question"),
        ("전입신고는 언제까지 하나요?", None),
        ("새집으로 이사한 뒤 며칠 안에 신고해야 과태료를 물지 않습니까?", None),
    ],
)
def test_a_question_on_a_document_stands_alone_and_is_on_it(question, name):
    found = names(check_document_question(question, DOCUMENTS[3]))
    assert (name in found) if name else not found


# --- grounded answers ---

WHEN = "전입신고는 언제까지 해야 하나요?"
WHERE = "확정일자는 어디에서 받을 수 있나요?"
MOVED = "doc-004"  # on the registration of residence
DATED = "doc-003"  # on the fixed date
TAX = next(document["id"] for document in DOCUMENTS if document["title"].startswith("재산세"))
SHOWN = (DATED, MOVED, TAX)

BAD_ANSWERS = [
    # what a model of 1.5B answered
    (WHEN, "yes", MOVED, "not_korean"),
    (WHEN, "Yes.", MOVED, "not_korean"),
    (WHEN, "전세", MOVED, "no_sentence"),
    (WHEN, TEXT_OF[DATED].split("\n")[1].split(". ")[0] + ".", DATED, "copy"),
    (WHEN, TEXT_OF[TAX].split("\n")[1], TAX, "copy"),
    (WHERE, TEXT_OF[MOVED].split("\n")[1].split(". ")[2] + ".", MOVED, "copy"),
    (
        WHEN,
        "새 거주지로 옮긴 날부터 14일 이내에 해야 하며, 정당한 사유 없이 하지 않으면 과태료를 물 수 있습니다.",
        MOVED,
        "copy",
    ),
    (WHERE, "계약을 맺은 뒤라면 이사하기 전에도 받을 수 있습니다.", DATED, "copy"),
    (WHEN, "14 days after moving in.", MOVED, "not_korean"),
    (WHEN, "搬家后十四天之内必须办理。", MOVED, "not_korean"),
    (WHEN, "이사한 날부터 14일 以内에 신고해야 합니다.", MOVED, "not_korean"),
    (WHEN, "引っ越した日から14日以内に届け出ます。", MOVED, "not_korean"),
    (WHEN, "이사하고 14일 안에 you should report it to the office 해야 합니다.", MOVED, "not_korean"),
    (WHEN, "네.", MOVED, "no_sentence"),
    (WHERE, "네, 맞습니다.", DATED, "no_sentence"),
    (WHERE, "없습니다", DATED, "no_sentence"),
    (WHEN, "14일 이내", MOVED, "no_sentence"),
    (WHEN, "전입신고의 기한", MOVED, "no_sentence"),
    (WHEN, "이사하고 나서 14일 안에 해야 해요.", MOVED, "speech_level"),
    (WHEN, "이사한 뒤 14일 안에 하면 돼.", MOVED, "speech_level"),
    (WHEN, "집을 옮긴 다음 14일이 지나기 전에 신고한다.", MOVED, "speech_level"),
    (WHEN, "이사한 뒤 14일 안에 하셔야 합니다. 늦으면 과태료가 나올 수 있어요.", MOVED, "speech_level"),
    (WHEN, "이사한 뒤 14일 안에 하셔야 합니다. 새 주소의 주민센터.", MOVED, "speech_level"),
    (
        WHEN,
        "이사하셨군요. 그렇다면 서두르셔야 합니다. 14일 안에 하셔야 합니다. 주민센터로 가시면 됩니다. 온라인으로도 됩니다.",
        MOVED,
        "sentences",
    ),
    (WHEN, WHEN, MOVED, "is_question"),
    (WHEN, "전입신고는 언제까지 해야 합니까?", MOVED, "is_question"),
    (WHEN, "새집으로 옮기셨나요? 주민센터에 가 보셨나요?", MOVED, "is_question"),
    (WHEN, "이사하고 30일 안에 하셔야 합니다.", MOVED, "numbers"),
    (WHEN, "이사하고 14개월 안에 하셔야 합니다.", MOVED, "numbers"),
    (WHEN, "이사하고 2주 안에 하지 않으면 과태료 5만 원을 물 수 있습니다.", MOVED, "numbers"),
    (WHEN, "옮긴 날부터 14일 안에 하셔야 합니다.", "doc-090", "not_shown"),
    (WHEN, "옮긴 날부터 14일 안에 하셔야 합니다.", "전입신고와 임차인 보호", "not_shown"),
    (WHEN, "옮긴 날부터 14일 안에 하셔야 합니다.", None, "names_none"),
    (WHEN, "옮긴 날부터 14일 안에 하셔야 합니다.", "", "names_none"),
    (WHEN, "옮긴 날부터 14일 안에 하셔야 합니다(doc-004).", MOVED, "id_in_text"),
    (WHEN, "주어진 문서에는 답할 수 있는 내용이 없습니다.", MOVED, "declines"),
    (WHEN, "문서만으로는 그 기한을 알 수 없습니다.", MOVED, "declines"),
    (WHEN, "합니다체로 한 문장에서 네 문장까지 풀어 씁니다.", MOVED, "instruction"),
    (WHEN, "건물에는 7월에 매기고 땅에는 9월에 매깁니다.", TAX, "off_topic"),
    (WHERE, "주민센터나 등기소, 공증인 사무소에 계약서를 들고 가시면 됩니다.", TAX, "other_passage"),
    (WHEN, "맛있는 김치찌개는 묵은지를 볶다가 돼지고기를 넣고 푹 끓이면 됩니다.", MOVED, "unsupported"),
    (WHEN, "14일 안에 합니다. 14일 안에 합니다. 14일 안에 합니다.", MOVED, "loops"),
    (WHEN, "이사한 뒤 14일 안에 하셔야 합니다.\n질문: 어디에서 하나요?\n답변: 주민센터에서 합니다.", MOVED, "leftover"),
    (WHEN, "14일 안에 하셔야 합니다.<|im_end|>", MOVED, "leftover"),
    (WHEN, "14일 안에 하셔야 합니다ㅎㅎ.", MOVED, "jamo"),
    (WHEN, "이사한 뒤 14일 안에 하셔야 합니다. 이때 새 주소지의", MOVED, "speech_level"),
]
GOOD_ANSWERS = [
    (WHEN, "옮긴 날부터 14일 안에 하셔야 합니다.", MOVED),
    (WHEN, "이사하고 2주 안에 하시면 됩니다. 까닭 없이 미루면 과태료를 내야 할 수 있습니다.", MOVED),
    (WHEN, "새집에 들어간 뒤 두 주가 넘기 전에 마치셔야 합니다.", MOVED),
    (WHEN, "네, 기한이 있습니다. 새 주소로 옮기고 나서 14일 안에 주민센터나 정부24에서 하시면 됩니다.", MOVED),
    (WHEN, "기한은 14일입니다. 다만 세입자라면 대항력이 다음 날 0시에 생기니 이사한 날 바로 하세요.", MOVED),
    (WHEN, "다음 두 가지를 기억하시면 됩니다.\n- 옮긴 날부터 14일 안에 합니다.\n- 늦으면 과태료가 있을 수 있습니다.", MOVED),
    (WHEN, "기한:\n- 새집으로 옮긴 뒤 14일 안", MOVED),
    (WHEN, "“14일”이 기한입니다.", MOVED),
    (WHEN, "전입신고(轉入申告)는 주소를 옮긴 뒤 14일이 지나기 전에 하셔야 합니다.", MOVED),
    (WHEN, "14일입니다!", MOVED),
    (WHERE, "주민센터나 등기소, 공증인 사무소에 계약서를 들고 가시면 됩니다.", DATED),
    (WHERE, "인터넷등기소에서 온라인으로 하셔도 되고, 직접 주민센터를 찾으셔도 됩니다.", DATED),
    (WHERE, "세 곳에서 됩니다.\n1. 주민센터\n2. 등기소\n3. 공증인 사무소", DATED),
    (WHERE, "계약서만 있으면 집주인 허락 없이도 주민센터에서 찍어 줍니다. 집에서 하시려면 인터넷등기소를 이용해 보십시오.", DATED),
    (WHERE, "가까운 주민센터로 가십시오. 임대차 신고를 하실 때 계약서를 붙이셨다면 따로 가지 않으셔도 됩니다.", DATED),
    (WHERE, "어디로 가야 할지 막막하시죠? 주민센터나 등기소에 계약서를 가져가시면 됩니다.", DATED),
    ("보증금을 1억 원에서 1억 2천만 원으로 올렸는데 확정일자를 또 받아야 하나요?", "네, 올린 금액이 적힌 새 계약서로 다시 받으셔야 합니다.", DATED),
    ("보증금이 3억 원인데 계약서에 확정일자를 받으면 무엇이 좋은가요?", "집이 경매로 넘어가도 3억 원을 뒷순위 권리자보다 먼저 받을 길이 열립니다.", DATED),
    ("전입신고는 온라인으로도 되나요?", "됩니다. 정부24에서 하시면 주민센터에 가지 않으셔도 됩니다.", MOVED),
    ("전입신고는 온라인으로도 되나요?", "예, 정부24를 쓰시면 됩니다.", MOVED),
]  # fmt: skip


@pytest.fixture(scope="module")
def words_of():
    """Return a function that gives the content words of a question and an answer beside the passages shown."""
    content_words = filters.ContentWords(DOCUMENTS)
    return lambda question, answer: content_words.of([(question, answer, SHOWN)])[0]


@pytest.mark.parametrize(("question", "answer", "document_id", "name"), BAD_ANSWERS)
def test_an_answer_that_breaks_its_prompt_is_named_with_the_reason(question, answer, document_id, name, words_of):
    shown = {id: TEXT_OF[id] for id in SHOWN}
    assert name in names(check_answer(question, answer, document_id, shown, words_of(question, answer)))


@pytest.mark.parametrize(("question", "answer", "document_id"), GOOD_ANSWERS)
def test_good_answers_of_every_form_pass(question, answer, document_id, words_of):
    shown = {id: TEXT_OF[id] for id in SHOWN}
    assert check_answer(question, answer, document_id, shown, words_of(question, answer)) == []


# --- tasks from tasks ---

NEW_TASK = {"instruction": "다음 문장을 높임말로 바꾸어 주세요.", "input": "밥 먹었어?", "output": "진지 드셨습니까?"}


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"instruction": "Translate the next sentence into Korean."}, "not_korean"),
        ({"instruction": "예시와 겹치지 않는 새 과제를 써 주세요."}, "instruction"),
        ({"instruction": "문장을 읽으세요. 뜻을 생각하세요. 높임말로 바꾸세요."}, "long"),
        ({"input": ""}, "no_input"),
        ({"output": "밥 먹었어?"}, "no_output"),
        ({"output": "다음 문장을 높임말로 바꾸어 주세요"}, "no_output"),
        ({}, None),
        ({"output": "Have you eaten?", "instruction": "다음 문장을 영어로 옮기세요."}, None),
        (
            {"instruction": "장마철에 빨래를 잘 말리는 법을 알려 주세요.", "input": "", "output": "선풍기를 틀어 둡니다."},
            None,
        ),
        ({"instruction": "다음 문장을 고치세요: 나는 학교를 갔다.", "input": "", "output": "나는 학교에 갔다."}, None),
    ],
)
def test_a_new_task_is_whole_and_its_own(changed, name):
    found = names(filters.check_new_task(NEW_TASK | changed))
    assert (found == [name]) if name else not found


def test_the_seed_tasks_and_the_recorded_new_ones_pass():
    recorded = [
        item
        for entry in read_json(DATA / "recorded" / "authored_lessons.json")["self_instruct"]
        for item in entry["reply"]["items"]
    ]
    for task in [*read_jsonl(DATA / "seed_tasks.jsonl"), *recorded]:
        assert filters.check_new_task(task) == [], task["instruction"]


def test_the_recorded_questions_on_documents_pass():
    found = {document["id"]: document for document in read_jsonl(DATA / "found_documents.jsonl")}
    entries = read_json(DATA / "recorded" / "authored_lessons.json")["document_questions"]
    asked = [(item["document_id"], q) for entry in entries for item in entry["reply"]["items"] for q in item["questions"]]
    assert len(asked) == 15
    for id, question in asked:
        assert check_document_question(question, found[id]) == [], question


# --- the 23 tasks ---

EXAMPLES = {row["id"]: row for row in read_jsonl(DATA / "recorded" / "authored_tasks.jsonl")}
PASSAGE = (
    "전입신고는 사는 곳을 옮긴 사람이 새 주소지에서 하는 신고이다. 새 거주지로 옮긴 날부터 14일 이내에 해야 한다. "
    "주민센터를 찾아가거나 정부24에서 온라인으로 할 수 있다. 세대주가 하는 것이 원칙이다."
)
BAD_TASKS = [
    ("task02", {"output": "How to register your new address"}, "not_korean"),
    ("task02", {"output": "자료 전체를 대표하는 제목을 30자 이내로"}, "instruction"),
    ("task02", {"output": "전입신고를 해야 하는 기한과 방법을 모두 담아 길게 풀어서 쓴 아주 긴 제목."}, "task_style"),
    ("task01_01", {"output": "전입신고는 30일 안에 한다."}, "task_style"),
    ("task01_02", {"output": "전입신고는 새 주소지에서 하는 신고예요. 14일 안에 해야 하고 주민센터나 정부24에서 할 수 있어요."}, "speech_level"),
    ("task13_02", {"output": "집을 옮기면 새 주소지에 알려야 한다. 14일이 기한이며 주민센터나 정부24에서 세대주가 한다."}, "speech_level"),
    ("task04_02", {"question": "전입신고는 어떻게 합니까?", "answer": "주민센터를 찾아가거나 정부24에서 온라인으로 할 수 있습니다."}, "copy"),
    ("task04_02", {"question": "자료 여러 곳을 종합해야 답할 수 있는 질문은?", "answer": "기한은 14일이며 주민센터에서 합니다."}, "instruction"),
    ("task11", {"keywords": ["전입신고", "확정일자", "주소지", "세대주"]}, "task_style"),
    ("task07_02", {"question": "전입신고는 14일 안에 합니까?", "answer": "예", "rationale": "그렇게 되어 있습니다."}, "task_style"),
]  # fmt: skip


@pytest.mark.parametrize(("task_id", "reply", "name"), BAD_TASKS)
def test_a_task_that_breaks_its_prompt_is_named_with_the_reason(task_id, reply, name):
    assert name in names(check_task(task_id, PASSAGE, TASKS[task_id].schema(**reply)))


def test_every_example_written_for_the_tasks_passes():
    wrong = {
        id: found
        for id, row in EXAMPLES.items()
        if (found := check_task(row["task"], row["context"], TASKS[row["task"]].schema(**row["reply"])))
    }
    assert len(EXAMPLES) >= 60
    assert not wrong


# --- spoilt answers ---

ASKED = "전입신고는 언제까지 하고 어디에서 하나요?"
GOOD = "이사한 날부터 14일 이내에 하셔야 합니다. 주민센터를 찾아가거나 정부24에서 하실 수 있습니다."
BAD_PAIRS = [
    ("wrong_fact", GOOD, "is_chosen"),
    ("wrong_fact", GOOD.replace(".", ""), "is_chosen"),
    ("wrong_fact", "", "empty"),
    ("wrong_fact", "이사한 날부터 14일 이내에 하셔야 해요. 주민센터를 찾아가거나 정부24에서 하실 수 있어요.", "same_fact"),
    ("wrong_fact", "이사한 날부터 2주 이내에 하셔야 합니다. 주민센터를 찾아가거나 정부24에서 하실 수 있습니다.", "same_fact"),
    ("wrong_fact", "이사한 날부터 30일 이내에 해. 주민센터를 찾아가거나 정부24에서 하면 되고 그게 다야.", "tone"),
    ("wrong_fact", "이사한 날부터 30일 이내에 하셔야 합니다.", "length"),
    ("wrong_fact", "수정한 부분: 이사한 날부터 30일 이내에 하셔야 합니다. 주민센터를 찾아가거나 정부24에서 하실 수 있습니다.", "explains"),
    ("wrong_fact", "재산세는 건물에는 7월에, 토지에는 9월에 매깁니다. 세액이 적은 경우라면 한꺼번에 매기기도 합니다.", "other_answer"),
    ("wrong_fact", "搬家后三十天之内必须办理，可以去居民中心或者在政府网站上办理。", "not_korean"),
    ("off_topic", "이사한 날부터 14일 이내에 하셔야 합니다. 주민센터를 찾아가거나 정부24를 이용하실 수 있습니다.", "answers"),
    ("off_topic", "대항력은 다음 날 생겨. 그래서 이사한 그날에 바로 하는 게 가장 안전하다고들 말하지.", "tone"),
    ("cut_short", GOOD, "is_chosen"),
    ("cut_short", "이사한 날부터 14일 이내에 하셔야 합니다.", "ends"),
    ("cut_short", "집을 옮긴 다음에는 꼭 14일 안에 주민센터로", "not_the_start"),
    ("cut_short", "이사한 날부터", "cut_early"),
    ("wrong_language", "이사한 날부터 14일 이내에 하셔야 합니다. 주민센터나 정부24에서 하실 수 있습니다.", "no_foreign_word"),
    ("wrong_language", "The given response is incorrect.", "other_answer"),  # what a model of 1.5B wrote
    ("wrong_language", "true", "other_answer"),
    ("padded", "이사한 날부터 꼭 14일 이내에 하셔야 합니다. 주민센터를 찾아가거나 정부24에서 하실 수 있습니다.", "not_longer"),
    ("padded", "안녕하세요, 좋은 질문입니다. " + GOOD * 2 + " 늦으면 과태료 5만 원을 내셔야 합니다.", "adds_numbers"),
    ("padded", "안녕하세요. " + "이사를 하시면 주민센터를 찾아가거나 정부24에서 하실 수 있으니 천천히 살펴보시기 바랍니다. " * 3, "loses_numbers"),
    ("rude", "이사한 날부터 14일 이내에 하세요. 주민센터나 정부24에서 됩니다.", "polite"),
    ("rude", "이사한 날부터 14일 이내, 주민센터나 정부24", "no_banmal"),
    ("rude", "이사한 날부터 14일 이내에 한다. 주민센터나 정부24에서 할 수 있다.", "no_banmal"),
    ("rude", "이사하고 30일 안에 해. 주민센터나 정부24에서 하면 돼.", "adds_numbers"),
    ("rude", "이사하고 나면 바로 해. 주민센터나 정부24에서 하면 돼.", "loses_numbers"),
    ("rude", "그것도 모르냐, 멍청하긴. 이사하고 14일 안에 정부24에서 해.", "abuse"),
]  # fmt: skip
GOOD_PAIRS = [
    ("wrong_fact", GOOD.replace("14일", "30일")),
    ("wrong_fact", GOOD.replace("주민센터", "법원")),
    ("wrong_fact", "이사한 날부터 14일 이내에 하지 않으셔도 됩니다. 주민센터를 찾아가거나 정부24에서 하실 수 있습니다."),
    ("wrong_fact", "이사하기 14일 전까지 하셔야 합니다. 주민센터에 가시거나 정부24에서 하실 수 있습니다."),
    ("off_topic", "공동주택이라면 동과 호수까지 정확히 적어야 합니다. 틀리면 대항력을 인정받지 못할 수 있습니다."),
    ("off_topic", "세대주가 하는 것이 원칙입니다. 예전 주소지에 퇴거 신고를 따로 하실 필요는 없습니다."),
    ("cut_short", "이사한 날부터 14일 이내에 하셔야 합니다. 주민센터를 찾아가거나 정부24에서"),
    ("cut_short", "이사한 날부터 14일 이내에 하셔야 합니다. 주민센터를 찾아가거"),
    ("wrong_language", GOOD.replace("이내", "以内")),
    ("wrong_language", GOOD.replace("주민센터", "community center")),
    ("wrong_language", GOOD.replace("날부터", "日부터")),
    ("padded", "안녕하세요, 문의해 주셔서 감사합니다. 전입신고의 기한과 방법을 차근차근 말씀드리겠습니다. " + GOOD + " 더 궁금한 점이 있으시면 전문가와 상담해 보시기를 권해 드립니다."),
    ("rude", "이사하고 14일 안에 해. 주민센터 가든지 정부24에서 하든지."),
    ("rude", "14일 이내에 하면 돼. 주민센터나 정부24로 가."),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "rejected", "name"), BAD_PAIRS)
def test_a_rejected_side_that_is_not_spoilt_as_asked_is_named_with_the_reason(kind, rejected, name):
    assert name in names(check_spoilt(kind, GOOD, rejected, ASKED))


@pytest.mark.parametrize(("kind", "rejected"), GOOD_PAIRS)
def test_a_rejected_side_that_is_worse_in_the_way_asked_passes(kind, rejected):
    assert check_spoilt(kind, GOOD, rejected, ASKED) == []


# --- the tables ---

TABLES = [
    (filters.QUESTION_FILTERS, [SEED_WORDS]),
    (filters.DOCUMENT_QUESTION_FILTERS, [DOCUMENT_QUESTIONS]),
    (filters.ANSWER_FILTERS, [GROUNDED_ANSWER]),
    (filters.NEW_TASK_FILTERS, [SELF_INSTRUCT]),
    (filters.TASK_FILTERS, list(TASK_PROMPTS.values())),
    *((table, [SPOIL[kind]]) for kind, table in filters.SPOILT_FILTERS.items()),
]


def test_what_a_filter_demands_stands_in_its_prompt():
    """Fails when a prompt was reworded and its filter still checks the old words."""
    for table, prompts in TABLES:
        for prompt in prompts:
            for one in table:
                assert one.demand in f"{prompt.system}\n{prompt.user}", (prompt.name, one.name)


def test_every_filter_has_a_name_of_its_own_and_every_kind_a_table():
    for table, _ in TABLES:
        assert len({one.name for one in table}) == len(table)
    assert set(filters.SPOILT_FILTERS) == set(SPOIL)


def test_there_is_a_bad_reply_for_every_filter():
    shown = {
        "questions": ({name for *_, name in BAD_QUESTIONS}, filters.QUESTION_FILTERS),
        "answers": ({name for *_, name in BAD_ANSWERS}, filters.ANSWER_FILTERS),
    }
    missing = {what: {one.name for one in table} - found for what, (found, table) in shown.items()}
    # what breaks off ends in no verb either; a word that was not asked about has a test of its own
    assert missing == {"questions": {"other_word"}, "answers": {"unfinished"}}


# --- from replies to rows ---


def test_what_a_weak_teacher_writes_is_kept_apart_counted_and_written_down(tmp_path, capsys):
    same = ["확정일자는 어디서 받나요?", "질문을 6개씩 써 주세요.", "전세"]
    items = [{"seed_word": word, "questions": same} for word in ("확정일자", "전입신고", "전세와 월세")]
    collected = generation.collect_questions([Reply("", SeedWordReply.model_validate({"items": items}), None)])
    assert [row["question"] for row in collected] == same[:1]
    assert collected.counts == {"repeat": 6, "instruction": 3, "no_question": 3}
    assert "1 kept, 8 rejected" in capsys.readouterr().out
    collected.write(tmp_path / "questions.jsonl")
    assert read_jsonl(tmp_path / "questions.jsonl") == collected.rows
    kept_apart = read_jsonl(tmp_path / "questions.rejected.jsonl")
    assert len(kept_apart) == 8
    assert all(row["question"] and row["reason"] and row["filters"] for row in kept_apart)


def test_the_answers_of_a_weak_teacher_are_all_rejected_with_what_they_said():
    documents = [DOCUMENTS[2], DOCUMENTS[3]]
    said = ["yes", "전세", documents[0]["text"].split(". ")[0] + "."]
    requests = [generation.AnswerRequest(WHEN, tuple(d["id"] for d in documents), []) for _ in said]
    replies = [Reply("", GroundedAnswer(answer=text, document_id=MOVED), None) for text in said]
    collected = generation.collect_answers(requests, replies, documents)
    assert not collected.rows
    assert [row["answer"] for row in collected.rejected] == said
    assert [row["filters"][0] for row in collected.rejected] == ["not_korean", "no_sentence", "speech_level"]
    assert "copies doc-003 word for word" in collected.rejected[2]["reason"]


def test_tasks_become_rows_or_are_kept_with_what_is_wrong():
    good, bad = EXAMPLES["task02-1"], EXAMPLES["task11-1"]
    replies = {
        "task02": Reply("", TASKS["task02"].schema(**good["reply"]), None),
        "task11": Reply("", TASKS["task11"].schema(keywords=["없는 말"]), None),
        "task09": Reply(None, None, "the reply was empty"),
    }
    contexts = {"task02": good["context"], "task11": bad["context"], "task09": ""}
    collected = generation.collect_examples(contexts, replies)
    assert [row["Task_name"] for row in collected.rows] == ["task02"]
    assert collected.counts == {"task_style": 1, "no_reply": 1}


def test_a_row_with_two_reasons_counts_under_both_and_the_teachers_own_words_count_too(monkeypatch):
    rejected = [
        {"filters": ["copy", "speech_level"], "reason": "a; b"},
        {"filters": ["copy"], "reason": "a"},
        {"reason": "unsafe: 까닭"},
    ]
    collected = filters.Collected([], rejected)
    assert collected.counts == {"copy": 2, "speech_level": 1, "unsafe": 1}
    english = collected.table().splitlines()
    assert english[0] == "0 kept, 3 rejected"
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    korean = collected.table().splitlines()
    assert korean == ["남긴 것 0개, 제외한 것 3개", *english[1:]]  # the names of filters stay


# --- words in a row --------------------------------------------------------------------------

FEW_WORDS = st.lists(st.sampled_from("가나다"), max_size=30)


def longest_run(words, source):
    """Return the first longest row of words that stands in the source, looked for place by place."""
    rows = [tuple(words[start:end]) for end in range(1, len(words) + 1) for start in range(end)]
    there = {tuple(source[start:end]) for end in range(1, len(source) + 1) for start in range(end)}
    return max((row for row in rows if row in there), key=len, default=())


@settings(max_examples=100, deadline=None)
@given(FEW_WORDS, FEW_WORDS)
def test_the_longest_row_of_words_of_an_instruction_is_found_however_often_they_are_repeated(words, instruction):
    longest = longest_run(words, instruction)
    found = filters.repeats_instruction(" ".join(words), " ".join(instruction))
    assert found == (repr(" ".join(longest)) if len(longest) >= 4 else None)
