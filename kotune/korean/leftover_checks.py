"""Checks of what does not belong into an answer: tokens of a template, other turns of a conversation, markup."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kotune.korean.answer import CheckedAnswer, Spans

TOKENS = (
    r"</?(?:start_of_turn|end_of_turn|start_of_image|bos|eos|pad|unk|mask|s|sep|cls|turn|im_start|im_end|endoftext)>"
    r"|<unused\d+>|<0x[0-9A-Fa-f]{2}>|<[|｜][^|｜<>\n]{1,40}[|｜]>|\[\|[A-Za-z_ ]{1,20}\|\]"
    r"|\[/?INST\]|<</?SYS>>|\[(?:PAD|UNK|CLS|SEP|MASK|EOS|BOS)\]"
)
_MARKERS = re.compile(
    rf"{TOKENS}"
    r"|(?<!#)#{2,}+[ ]?(?:출력|입력|지시|지시문|지시사항|명령|명령어|응답|답변|답|질문|문맥|맥락|Instruction|Response|"
    r"Input|Output|Question|Answer|Context)(?=[ \t]*(?:[:：\n]|\d|\Z))[ ]?:?"
    r"|\{\{?(?:question|answer|instruction|input|output|context|document|response|query|prompt)s?\}\}?"
    r"|[▁�]+"
    r"|(?m:^(?:user|model|assistant|system|human|instruction|response)[ ]*+:?+[ ]*+$)",
    re.IGNORECASE,
)


def check_template_marker(answer: CheckedAnswer) -> Spans:
    for match in _MARKERS.finditer(answer.text):
        yield *match.span(), f"{match[0]} belongs to the template or the tokenizer, not to the answer."


_WRITTEN_ESCAPE = re.compile(r"\\n(?![A-Za-z])|\\r\\n|\\u[0-9A-Fa-f]{4}|\\t(?=[가-힣\s])|\\\"")
_ABOUT_ESCAPES = re.compile(r"줄바꿈|줄 바꿈|개행|이스케이프|역슬래시|정규 ?(?:식|표현식)|문자열|\$")
# the whole answer as one field of JSON, in a fence or not
_JSON_WHOLE = re.compile(
    r"\s*(?:```(?:json)?\s*)?\{\s*\"(?:answer|response|output|reply|result|text|content|completion|assistant|답|답변|응답|결과)\"\s*:",
    re.IGNORECASE,
)
_END_OF_ANSWER = re.compile(
    r"[(\[<](?:답변|응답|출력|대화|생성) ?(?:끝|종료|완료)[)\]>]|\(End of (?:answer|response)\)", re.IGNORECASE
)
_COLON = r"(?: ?\d+)?(?=[ \t*]*[:：])"
_TURN = re.compile(  # at the start of a line, marks of Markdown before it
    rf"^[ \t>*]*(?:(?:human|user|assistant|bot|chatbot|AI|Q|answer|question|response|instruction|"
    rf"질문|답변|질문자|답변자|도우미|어시스턴트|챗봇|지시문|(?:사용자|새|새로운) 질문){_COLON}|"
    r"#+ ?(?:human|user|assistant|사용자|도우미)(?=[ \t]*$)|"
    r"[\[<＜](?:질문|답변|사용자|도우미|user|assistant|system|human)(?: ?\d+)?[\]>＞])[ \t*]*[:：]?\**",
    re.IGNORECASE | re.MULTILINE,
)
# what may also open a line of a list counts only where its partner does too
_FIRST_OF_TWO = re.compile(r"^[ \t>*]*(?:Q(?: ?\d+)?|도우미|어시스턴트|챗봇|AI|답변|모델)\**[:：.]", re.MULTILINE)
_SECOND_OF_TWO = re.compile(r"^[ \t>*]*(?:A(?: ?\d+)?|사용자)\**[:：.]", re.MULTILINE)
_ACRONYM = re.compile(r"^[ \t>*-]*[A-Z]{2,5}\**[:：]", re.MULTILINE)  # "AI: 인공지능" beside "ML: 기계 학습" is no turn
_TAG = re.compile(
    r"</?(?:think|thinking|thought|reasoning|answer|response|output|assistant|user|question|context|instruction|"
    r"br|p|div|span|b|i|u|em|strong|a|ul|ol|li|table|thead|tbody|tr|td|th|h[1-6]|hr|img|sup|sub|font|center|html|body|"
    r"code|pre|blockquote|script|style|tool_calls?|tool_response|function_calls?|scratchpad|analysis|reflection|final|solution|"
    r"질문|답변)(?:\s[^<>\n]{0,200})?/?>",
    re.IGNORECASE,
)
_ABOUT_MARKUP = re.compile(r"HTML|태그")
_ENTITY = re.compile(
    r"&(?:quot|amp|lt|gt|nbsp|apos|middot|hellip|[lr][sd]quo|[nm]dash|bull|times|copy|#\d{2,5}|#x[0-9a-f]{2,4});",
    re.IGNORECASE,
)


def check_leftover(answer: CheckedAnswer) -> Spans:
    prose = answer.prose
    for match in _turns(prose):
        turn = match[0].rstrip()
        yield match.start(), match.start() + len(turn), f"{turn.lstrip()} opens another turn of a conversation."
    if "<" in prose and not _ABOUT_MARKUP.search(prose):
        for match in _TAG.finditer(prose):
            yield *match.span(), f"{answer.text[match.start() : match.end()]} is markup."
    if "\\" in prose and not _ABOUT_ESCAPES.search(prose):
        for match in _WRITTEN_ESCAPE.finditer(prose):
            yield *match.span(), f"{match[0]} is a character written as an escape."
    if _JSON_WHOLE.match(answer.text) and "JSON" not in (answer.question or "").upper():
        yield 0, len(answer.text), "The answer is a field of JSON."
    for match in _END_OF_ANSWER.finditer(prose):
        yield *match.span(), f"{match[0]} tells that the answer ends."
    if "&" in prose:
        for match in _ENTITY.finditer(prose):
            yield *match.span(), f"{match[0]} is a character written for HTML."


def _turns(prose: str) -> Iterator[re.Match]:
    if not re.search(r"[:：\[<#]|^[ \t>*]*Q", prose, re.MULTILINE):
        return
    a_glossary = len(_ACRONYM.findall(prose)) > 1
    yield from (match for match in _TURN.finditer(prose) if not (a_glossary and match[0].strip(" \t>*").startswith("AI")))
    if _FIRST_OF_TWO.search(prose):
        yield from _SECOND_OF_TWO.finditer(prose)
