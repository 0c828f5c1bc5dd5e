"""Checks of the end of an answer: cut short, and no end token."""

from __future__ import annotations

import re

from kotune.korean.answer import CheckedAnswer, Spans
from kotune.korean.leftover_checks import TOKENS
from kotune.korean.sentences import FINAL_MARKS, HIDDEN, Sentence
from kotune.korean.unfinished import has_a_clause_that_breaks_off, is_a_signature, is_cut_in_a_word, needs_another_word

_MARKS = r"[\s”’\"'」』)\]*_`|ㅋㅎㅠㅜ\u2190-\u21ff\u2300-\u2bff\ufe0f\U0001f000-\U0001faff]"
_AFTER_THE_END = re.compile(rf"(?<!{_MARKS}){_MARKS}++$")


_NEVER_LAST = tuple(",:;·、(/+=&,‘“「『(")


_OPENING, _CLOSING = re.compile("[“‘「『(]"), "”’」』)"


_BARE_MARK = re.compile(r"\s*+(?:\d{1,3}[.)]|[-*•])$")


_DECIMAL_POINT = re.compile(r"(?:^|\s)0\.$")


_ITEM_DANGLING = re.compile(  # "- 잔금: 서류를 넘기면서" is whole
    r"(?:[가-힣](?:을|를|의)|(?:^|\s)(?:및|또는|그리고|위한|대한|관한|통한|있는|하는|되는|않는|없는))$"
)


_OPEN_BOLD = re.compile(r"(?<![\w*])\*\*(?=[^\s*])[^*\n]*\Z")
_MOST_TOKENS = 64  # at the end of an answer; behind more of them nothing else can be told
_TOKEN_LAST, _LONGEST_TOKEN = re.compile(rf"(?:{TOKENS}|</?[a-z]{{1,10}} ?/?>)\Z", re.IGNORECASE), 50


def check_unfinished(answer: CheckedAnswer) -> Spans:
    text = _without_tokens_at_the_end(answer.text)
    if not text:
        return
    last_line = text.rfind("\n") + 1
    left_open = _left_open(text, last_line)
    if left_open:
        yield left_open[0], len(text), left_open[1]
        return
    core = _AFTER_THE_END.sub("", text)
    if not core or core[-1] in FINAL_MARKS:
        return
    if bold := _OPEN_BOLD.search(text, last_line):
        yield bold.start(), len(text), "A word in bold does not end."
        return
    reason = _why_unfinished(answer, core, last_line)
    if reason:
        yield _last_word(core), len(core), reason


def _without_tokens_at_the_end(text: str) -> str:
    end = len(text.rstrip())
    for _ in range(_MOST_TOKENS):
        match = _TOKEN_LAST.search(text, max(0, end - _LONGEST_TOKEN), end)
        if match is None:
            break
        end = match.start()
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end]


def _left_open(text: str, last_line: int) -> tuple[int, str] | None:
    """Return where something begins that the marks of a text leave open, and what it is."""
    if text.count("```") % 2:
        return text.rfind("```"), "A block of code does not end."
    if _BARE_MARK.match(text, last_line) or _is_bare_mark_in_line(text, last_line):
        return last_line, "The last item of the list is empty."
    opened = _OPENING.search(text, max(last_line, *(text.rfind(mark, last_line) for mark in _CLOSING)))
    if opened:
        return opened.start(), "A bracket or quotation does not end."
    if text[-1] in _NEVER_LAST:
        return _last_word(text), "The answer does not end here."
    if _DECIMAL_POINT.search(text[-3:]):
        return len(text) - 2, "The number breaks off at its decimal point."
    return None


def _is_bare_mark_in_line(text: str, last_line: int) -> bool:
    """Return whether a line of circled numbers ends in the next of them: ① 등기부 ② 계약서 ③."""
    last, before = text[-1], text[last_line:-1].rstrip()
    return "②" <= last <= "⑳" and chr(ord(last) - 1) in before and before[-1:].isalnum() and before[-1] not in "은는과와및①"


def _last_word(text: str) -> int:
    return max(text.rfind(" "), text.rfind("\n")) + 1


def _why_unfinished(answer: CheckedAnswer, core: str, last_line: int) -> str | None:
    """Return why a text without a final mark is cut short, or None where it may be a title, an item or a sentence."""
    last = answer.sentences[-1]
    is_remark = not answer.hidden[last.start : last.end].strip(HIDDEN)
    if is_remark or answer.levels[-1] or core.endswith(("|", "```")):
        return None
    fragment = core[last.start :] if last.start < len(core) else core
    if last.is_item:
        breaks_off = _ITEM_DANGLING.search(fragment[-30:]) or is_cut_in_a_word(fragment)
        return "The last item breaks off after a word that needs another." if breaks_off else None
    if needs_another_word(fragment):
        return "The answer breaks off after a word that needs another."
    if _follows_a_sentence(answer, last, last_line) and not is_a_signature(fragment):
        return "The last sentence has no end."
    hidden = answer.hidden[last.start :]
    return "The answer breaks off in a sentence." if has_a_clause_that_breaks_off(fragment, hidden) else None


def _follows_a_sentence(answer: CheckedAnswer, last: Sentence, last_line: int) -> bool:
    """Return whether a whole sentence stands before the last one in the same line."""
    before = answer.text[last_line : last.start].rstrip()
    return last.start > last_line and before.endswith(tuple(FINAL_MARKS)) and any(answer.levels[:-1])


def check_no_end_token(answer: CheckedAnswer) -> Spans:
    if answer.ended is False and answer.text.strip():
        text = answer.text.rstrip()
        yield _last_word(text), len(text), "The model did not end the answer: it was cut at the limit of tokens."
