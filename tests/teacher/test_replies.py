"""Protects: only a reply that came to its end counts, without its reasoning, and JSON is read as it stands."""

import pytest
from pydantic import BaseModel

from kotune.teacher import client
from kotune.teacher.reasoning import without_reasoning
from kotune.teacher.replies import FENCED
from prompts import Verdict
from tests.support.endpoint import chat_completion
from tests.support.growth import assert_linear
from utils import read_jsonl


class Answer(BaseModel):
    answer: str


JSON = '{"answer": "예"}'


@pytest.fixture
def replies_to(endpoint, tmp_path):
    """Ask a real server for many completions in one run: the name of each is its prompt; with `again`, in one more run."""

    def asked(completions, schema=None, again=False):
        endpoint(lambda body: (200, completions[body["messages"][-1]["content"].partition("\n")[0]]))
        for _ in range(2 if again else 1):
            replies = client.connect(journal=tmp_path / "journal.jsonl").ask(list(completions), schema)
        return dict(zip(completions, replies, strict=True))

    return asked


# --- how a reply ended ---


ENDS = ["stop", None, "eos", "end_turn", "stop_sequence", "STOP", "FinishReason.STOP", "eos_token", "COMPLETE", ""]


def test_an_end_is_known_in_every_dialect(replies_to):
    reasons = {str(reason): reason for reason in [*ENDS, {"type": "stop", "matched": 106}]}
    replies = replies_to({name: chat_completion("예", finish_reason=reason) for name, reason in reasons.items()})
    assert {name: reply.text for name, reply in replies.items()} == dict.fromkeys(reasons, "예")


NO_ENDS = [
    ("error", "unfinished"),  # OpenRouter, vLLM
    ("abort", "unfinished"),  # vLLM, SGLang
    ({"type": "abort", "message": "out of memory"}, "unfinished"),  # SGLang's own form
    ("network_error", "unfinished"),  # GLM
    ("insufficient_system_resource", "unfinished"),  # DeepSeek
    ("load", "unfinished"),  # Ollama: the model was only loaded
    ("repetition", "unfinished"),
    ("cancelled", "unfinished"),
    ("unknown", "unfinished"),
    ("OTHER", "unfinished"),  # Gemini
    ("FinishReason.FINISH_REASON_UNSPECIFIED", "unfinished"),
    ("MALFORMED_FUNCTION_CALL", "unfinished"),
    (True, "unfinished"),
    (7, "unfinished"),
    ("length", "truncated"),
    ("model_length", "truncated"),  # Mistral
    ("MAX_TOKENS", "truncated"),
    ("FinishReason.MAX_TOKENS", "truncated"),
    ("max_tokens", "truncated"),  # Claude
    ("model_context_window_exceeded", "truncated"),
    ({"type": "length", "length": 8}, "truncated"),
    ("content_filter", "content_filter"),
    ("sensitive", "content_filter"),  # GLM
    ("SAFETY", "content_filter"),
    ("RECITATION", "content_filter"),
    ("PROHIBITED_CONTENT", "content_filter"),
    ("guardrail_intervened", "content_filter"),  # Bedrock
    ("refusal", "content_filter"),  # Claude
    ("tool_calls", "tool_calls"),
    ("function_call", "tool_calls"),
    ("tool_use", "tool_calls"),
]


def test_half_a_sentence_is_no_reply_and_is_asked_again(endpoint, tmp_path):
    reasons = {str(reason): (reason, failure) for reason, failure in NO_ENDS}
    half = "전세란 집을"
    server = endpoint(lambda body: (200, chat_completion(half, reasons[body["messages"][0]["content"]][0])))
    expected = [(None, failure, half) for _, failure in reasons.values()]
    for _ in range(2):
        replies = client.connect(journal=tmp_path / "journal.jsonl").ask(list(reasons))
        assert [(reply.text, reply.failure, reply.raw) for reply in replies] == expected
    assert len(server.requests) == 2 * len(reasons)
    assert (tmp_path / "journal.jsonl").read_text() == ""


def test_an_error_beside_half_a_reply_is_told_in_the_servers_words(replies_to):
    trouble = {"error": {"code": 502, "message": "upstream went away"}}
    half = chat_completion("전세란 집을")
    choice = chat_completion("전세란 집을")
    choice["choices"][0] |= trouble
    replies = replies_to({"choice": choice, "body": half | trouble, "text": half | {"error": "upstream went away"}})
    for reply in replies.values():
        assert reply.failure == "unfinished" and "upstream went away" in reply.error


# --- reasoning ---

THOUGHTS = {
    "<think>": "<think>\n전세를 묻는다.\n</think>\n\n예",
    "empty": "<think>\n\n</think>\n\n예",
    "no opening mark": "전세를 묻는다.\n\n답은 짧게.\n</think>\n\n예",
    "a closing mark alone": "</think>\n\n예",
    "on one line": "<think>전세</think>예",
    "capitals and an attribute": '<Think effort="high">전세</Think>\n예',
    "twice": "<think>하나</think>\n<think>둘</think>\n예",
    "one within the other": "<think>하나 <think> 둘 </think> 셋</think>예",
    "after a mark of no width": "\ufeff\n <think>전세</think> 예",
    "after a word, over two lines": "좋습니다. <think>\n길게\n</think>\n",
    "<thinking>": "<thinking>전세</thinking>\n예",
    "<thought> of EXAONE Deep": "<thought>\n전세\n</thought>\n\n예",
    "<reasoning> of Reka": "<reasoning> 전세 </reasoning>\n예",
    "Seed": "<seed:think>전세</seed:think>예",
    "Magistral": "[THINK]전세[/THINK]예",
    "Kimi": "◁think▷전세◁/think▷예",
    "OpenThinker": "<|begin_of_thought|>전세<|end_of_thought|>\n<|begin_of_solution|>\n예\n<|end_of_solution|>",
    "Command A": "<|START_THINKING|>전세<|END_THINKING|><|START_RESPONSE|>예<|END_RESPONSE|>",
    "MedGemma": "<unused94>thought\n전세<unused95>예",
    "gpt-oss": "<|channel|>analysis<|message|>전세<|end|><|start|>assistant<|channel|>final<|message|>예<|return|>",
    "gpt-oss without its special tokens": "analysisWe are asked.assistantfinal예",
    "Hunyuan": "<think>전세</think>\n<answer>\n예\n</answer>",
    "a fence that reasoning left open": "```python\nx = 1\n생각\n</think>\n예",
}


@pytest.mark.parametrize("again", [False, True], ids=["as it comes", "out of the journal"])
def test_reasoning_is_cut_off_and_kept_raw(replies_to, again):
    replies = replies_to({name: chat_completion(text) for name, text in THOUGHTS.items()}, again=again)
    assert {name: reply.raw for name, reply in replies.items()} == THOUGHTS
    answers = dict.fromkeys(THOUGHTS, "예") | {"after a word, over two lines": "좋습니다."}
    assert {name: reply.text for name, reply in replies.items()} == answers


@pytest.mark.parametrize("again", [False, True], ids=["as it comes", "out of the journal"])
def test_json_after_reasoning_is_read(replies_to, again):
    texts = {name: text.replace("예", JSON) for name, text in THOUGHTS.items() if "예" in text}
    replies = replies_to({name: chat_completion(text) for name, text in texts.items()}, Answer, again)
    assert {name: reply.raw for name, reply in replies.items()} == texts
    assert {name: reply.parsed for name, reply in replies.items()} == dict.fromkeys(texts, Answer(answer="예"))


MENTIONS = [
    "추론 모델은 `<think>`와 `</think>` 사이에 생각을 씁니다.",
    "추론 모델은 <think> 와 </think> 사이에 생각을 씁니다.",
    "끝에는 '</think>'가 옵니다.",
    "끝에는 「</think>」가 옵니다.",
    "예:\n```\n<think>\n생각\n</think>\n답\n```\n이렇게 씁니다.",
    "I think so.",
    "analysis of the market",
    "[생각] 예",
]


def test_an_answer_that_speaks_of_the_marks_is_left_as_it_is(replies_to):
    replies = replies_to({str(place): chat_completion(text) for place, text in enumerate(MENTIONS)})
    assert [reply.text for reply in replies.values()] == MENTIONS
    assert not any(reply.was_reasoned or reply.raw for reply in replies.values())


def test_marks_within_the_strings_of_json_are_part_of_the_answer(replies_to):
    text = '{"answer": "<think>\\n생각\\n</think> 다음에 답"}'
    assert replies_to({"가": chat_completion(text)}, Answer)["가"].parsed.answer.startswith("<think>")


ALONE = [
    "<think>전세를",
    "<think>전세</think>",
    "전세를 묻는다</think>\n",
    "<|channel|>analysis<|message|>전세",
    "[THINK]전세",
]


@pytest.mark.parametrize("schema", [None, Answer])
def test_reasoning_alone_is_no_answer(replies_to, schema):
    replies = replies_to({str(place): chat_completion(text) for place, text in enumerate(ALONE)}, schema)
    assert [(reply.text, reply.failure, reply.raw) for reply in replies.values()] == [
        (None, "empty", text) for text in ALONE
    ]


def test_reasoning_in_a_field_of_its_own_is_kept_where_it_is_all_there_is(replies_to):
    completions = {}
    for name in ("reasoning_content", "reasoning"):  # vLLM, DeepSeek; Ollama, OpenRouter, Groq
        for content in (None, "", "예"):
            completions[f"{name} {content}"] = completion = chat_completion(content)
            completion["choices"][0]["message"][name] = "전세를 묻는다"
    for name, reply in replies_to(completions).items():
        if name.endswith("예"):
            assert reply.text == "예"
        else:
            assert reply.failure == "empty" and "reasoning" in reply.error and reply.raw == "전세를 묻는다"


def test_content_in_parts_is_read(replies_to):
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "전세"}]}  # Mistral
    one, other = {"type": "text", "text": "예"}, {"type": "text", "text": "요"}
    picture = {"type": "image_url", "image_url": {"url": "x"}}
    parts = {"thought": [thought, one], "two": [one, other], "picture": [picture], "none": [], "odd": ["예"]}
    replies = replies_to({name: chat_completion(content) for name, content in parts.items()})
    assert replies["thought"].text == "예" and "전세" in replies["thought"].raw
    assert replies["two"].text == "예요"
    assert [replies[name].failure for name in ("picture", "none", "odd")] == ["no_text"] * 3


def test_replies_whose_reasoning_was_cut_off_are_counted(endpoint, tmp_path, capsys):
    endpoint(lambda body: (200, chat_completion("<think>음</think>예" if body["messages"][0]["content"] < "나" else "예")))
    who = client.connect(journal=tmp_path / "journal.jsonl")
    who.ask(["가", "가나", "다"])
    assert who.ledger()["reasoned"].tolist() == [2]
    assert "2 of 3 replies" in capsys.readouterr().out
    assert read_jsonl(who.journal.path)[0]["text"].startswith(("<think>", "예"))


@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 150_000,
        "<think> x </think>\n" * 50_000,
        "가 <think> " * 80_000 + "</think>",
        "</think>" * 120_000,
        "`" * 1_000_000,
        "```json\n" + "\n" * 1_000_000,
        "```" + " " * 1_000_000,
        "<" * 1_000_000,
        "<think " * 140_000,
    ],
)
def test_the_time_grows_with_a_text_of_a_million_marks(text):
    assert_linear(without_reasoning, text)
    assert_linear(FENCED.match, text)


# --- JSON ---


FENCES = [
    "```JSON\n{}\n```",
    "```json\r\n{}\r\n```\r\n",
    "```\r\n{}\r\n```",
    "```json5\n{}\n```",
    "```json {} ```",
    "````json\n{}\n````",
    "~~~json\n{}\n~~~",
    "\ufeff```json\n{}\n```",
    "\ufeff{}",
    "``` json\n{}\n```",
]


def test_json_in_any_one_fence_is_read(replies_to):
    completions = {str(place): chat_completion(text.replace("{}", JSON)) for place, text in enumerate(FENCES)}
    assert [reply.parsed for reply in replies_to(completions, Answer).values()] == [Answer(answer="예")] * len(FENCES)


TWICE = [
    '{"reason": "x", "winner": "first", "winner": "second"}',
    '```json\n{"winner": "second", "reason": "x", "winner": "first"}\n```',
    '<think>첫째</think>{"winner": "tie", "reason": "x", "winner": "first"}',
    '{"winner": "second", "reason": "x", "\\u0077inner": "first"}',
    '{"winner": "tie", "reason": {"reason": 1}, "winner": "first", "reason": "x"}',
]


def test_a_verdict_with_the_key_twice_is_no_verdict(replies_to):
    replies = replies_to({str(place): chat_completion(text) for place, text in enumerate(TWICE)}, Verdict)
    for reply, text in zip(replies.values(), TWICE, strict=True):
        assert (reply.failure, reply.raw) == ("schema", text)
        assert "stands there twice" in reply.error


def test_the_same_key_and_value_twice_is_clear(replies_to):
    text = '{"answer": "예", "answer": "예"}'
    assert replies_to({"가": chat_completion(text)}, Answer)["가"].parsed.answer == "예"
