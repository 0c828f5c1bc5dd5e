"""What a reasoning model writes before its answer, as it comes where the server does not take it out of the text."""

from __future__ import annotations

import re
from typing import NamedTuple

# Opening and closing marks, as models write them: DeepSeek, Qwen and many more; Claude and Nova; EXAONE Deep; Reka; Seed;
# Magistral; Kimi; OpenThinker; Command A; MedGemma. A kind is what opening and closing mark have in common.
MARK = re.compile(
    r"(?=[<\[◁])(?:"
    r"<(?P<tag_end>/?)(?P<tag>think(?:ing)?|thoughts?|reasoning|seed:think)(?:\s[^<>]{0,80})?>|"
    r"\[(?P<bracket_end>/?)(?P<bracket>THINK)\]|"
    r"◁(?P<triangle_end>/?)(?P<triangle>think)▷|"
    r"<\|(?:begin|(?P<thought_end>end))_of_(?P<thought>thought)\|>|"
    r"<\|(?:START|(?P<command_end>END))_(?P<command>THINKING)\|>|"
    r"<(?P<unused>unused9)(?:4|(?P<unused_end>5))>)",
    re.IGNORECASE,
)
STEMS = re.compile("think|thought|reasoning|unused9", re.IGNORECASE)  # a text without any has no mark
# gpt-oss writes in channels; a server that drops special tokens leaves their names in the text
HARMONY = re.compile(r"\s*(?:<\|start\|>assistant\s*)?<\|channel\|>")
HARMONY_FINAL = re.compile(r"<\|channel\|>final(?:\s*<\|constrain\|>\w+)?\s*<\|message\|>")
HARMONY_NAMES = re.compile(r"\s*analysis(?=[A-Z\W]|[^\x00-\x7f])")
HARMONY_FINAL_NAMES = "assistantfinal"
# what else stands around the answer of such models
BEFORE = re.compile(r"(?:<\|begin_of_solution\|>|<\|START_RESPONSE\|>|[\s\ufeff\u200b])+")
AFTER = ("<|end_of_solution|>", "<|END_RESPONSE|>", "<|return|>", "<|end|>")
ANSWER = re.compile(r"<answer>(.*)</answer>", re.DOTALL | re.IGNORECASE)
QUOTES = "`'\"‘’“”「」『』"
BLANK = " \t\r\ufeff\u200b"
MENTIONED_WITHIN = 40  # characters on one line: "what stands between <think> and </think>" is no reasoning


def without_reasoning(text: str) -> str:
    """Return a reply without its reasoning, with or without the opening mark; a text without any comes back as it is.

    What is only reasoning gives an empty text. A mark that the answer speaks of (in quotation marks, in code, on one
    line with its other half) is no reasoning.
    """
    if HARMONY.match(text):
        finals = list(HARMONY_FINAL.finditer(text))
        return _bare(text[finals[-1].end() :]) if finals else ""
    if HARMONY_NAMES.match(text) and HARMONY_FINAL_NAMES in text:
        return _bare(text.rpartition(HARMONY_FINAL_NAMES)[2])
    kept = _outside_marks(text)
    return text if kept is None else _bare(kept)


class _Mark(NamedTuple):
    start: int
    end: int
    kind: str
    closes: bool


def _mark(found: re.Match) -> _Mark:
    kind = found.lastgroup or ""
    form = kind.removesuffix("_end")
    return _Mark(found.start(), found.end(), f"{form} {found[form].lower()}", bool(found[f"{form}_end"]))


def _outside_marks(text: str) -> str | None:
    """Return what stands outside of all blocks of reasoning; None where there is no such block."""
    if not STEMS.search(text):
        return None
    marks = [_mark(found) for found in MARK.finditer(text)]
    ends = _ends(marks)
    kept: list[str] = []
    mentioned: set[str] = set()
    inside: str | None = None
    begin, fences, counted, is_found = 0, 0, 0, False
    for mark, end in zip(marks, ends, strict=True):
        fences, counted = fences + text.count("```", counted, mark.start), mark.start
        if inside is not None:
            if mark.closes and mark.kind == inside:
                inside, begin = None, mark.end
        elif _is_quoted(text, mark):
            mentioned.add(mark.kind)
        elif not mark.closes:
            if fences % 2 == 0 and _opens_a_block(text, mark, end):
                kept.append(text[begin : mark.start])
                inside, is_found = mark.kind, True
            else:
                mentioned.add(mark.kind)
        elif mark.kind not in mentioned:  # the prompt's template has opened it
            kept, begin, is_found = [], mark.end, True
    if not is_found:
        return None
    return "".join(kept) if inside is not None else "".join([*kept, text[begin:]])


def _ends(marks: list[_Mark]) -> list[int | None]:
    """Return, for each mark, where the next closing mark of its kind begins."""
    following: dict[str, int] = {}
    ends: list[int | None] = []
    for mark in reversed(marks):
        ends.append(following.get(mark.kind))
        if mark.closes:
            following[mark.kind] = mark.start
    return ends[::-1]


def _is_quoted(text: str, mark: _Mark) -> bool:
    return mark.start > 0 and mark.end < len(text) and text[mark.start - 1] in QUOTES and text[mark.end] in QUOTES


def _opens_a_block(text: str, mark: _Mark, end: int | None) -> bool:
    """Return whether an opening mark begins a line, or a block that is too long to be a mention of the marks."""
    place = mark.start
    while place and text[place - 1] in BLANK:
        place -= 1
    if place == 0 or text[place - 1] in "\n>":
        return True
    return end is not None and (end - mark.end > MENTIONED_WITHIN or "\n" in text[mark.end : end])


def _bare(text: str) -> str:
    """Return an answer without the marks around it."""
    before = BEFORE.match(text)
    text = text[before.end() if before else 0 :].rstrip()
    end = len(text)
    while text.endswith(AFTER, 0, end):
        end -= next(len(mark) for mark in AFTER if text.endswith(mark, 0, end))
        while end and text[end - 1].isspace():
            end -= 1
    text = text[:end]
    wrapped = ANSWER.fullmatch(text)
    return wrapped[1].strip() if wrapped else text
