"""Sentences of a Korean text with their places; what stands in quotation marks or brackets ends none of them.

Everything here takes time in proportion to the text, whatever its characters: each pattern starts once a run of marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

HIDDEN = "\x01"  # stands for each quoted character, so that places stay as they are
FINAL_MARKS = ".!?…。~！？"
_CLOSING_MARKS = "”’\"')」』]*_"

LIST_MARK = re.compile(r"\s*+(?:[-•*·▪○●◦–]|\d{1,3}[.)]|[①-⑳]|[가나다라마바사아자차카타파하][.)]|#{1,6})\s")
_MARK_STARTS = frozenset("-•*·▪○●◦–#0123456789①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳가나다라마바사아자차카타파하")
_LONGEST_MARK = 4
_ONLY_A_MARK = re.compile(r"(?:\d{1,3}[.)]|[가나다라마바사아자차카타파하][.)]|[A-Za-z]\d{0,2}[.)])$")
QUOTATION = r"“[^“”\n]*+”|‘[^‘’\n]*+’|「[^「」\n]*+」|『[^『』\n]*+』|\"[^\"\n]*+\"|(?<![A-Za-z\d])'[^'\n]*+'(?![A-Za-z])"
_QUOTED = re.compile(rf"{QUOTATION}|\([^()\n]*+\)|\[[^\[\]\n]*+\]|`[^`\n]++`")
_WITHIN_A_DATE = (  # 2024. 1. 31. 현재, 2024.1.31. 현재, 2024.3. 기준
    r"(?<=\d\.)(?= \d{1,2}\.)|(?<=\d\. \d\.)(?= )|(?<=\d\. \d\d\.)(?= )|"
    r"(?<=\d\.\d\.\d\.)(?= )|(?<=\d\.\d\d\.\d\.)(?= )|(?<=\d\.\d\.\d\d\.)(?= )|(?<=\d\.\d\d\.\d\d\.)(?= )|"
    r"(?<=[12]\d\d\d\.\d\.)(?= )|(?<=[12]\d\d\d\.\d\d\.)(?= )"
)
# marks behind the end: brackets and quotation marks, notes, what is invisible, and what a chat adds
_BEHIND = (
    rf"{HIDDEN}{re.escape(_CLOSING_MARKS)}¹²³\u2070-\u2079\u200b\u2060\ufeff\ufe0f"
    r"ㅋㅎㅠㅜ^\u2600-\u27bf\U0001f000-\U0001faff"
)
_BEHIND_THE_END = re.compile(rf"(?<![\s{_BEHIND}])[\s{_BEHIND}]++\Z")
_NO_END = r"(?!이?라[고는며]|하[고며]|란|한국)"  # 왜?라고, and no sentence mark
_END = re.compile(
    rf"(?<![{FINAL_MARKS}])(?!(?<=\s)~)[{FINAL_MARKS}]++[{_BEHIND}]*+(?=\s|\Z)(?!{_WITHIN_A_DATE})|"  # 3 ~ 4일 goes on
    # a blank may be missing where nothing else can be meant
    rf"(?<![{FINAL_MARKS}])[。！？]++[{_BEHIND}]*+(?=[^\s{FINAL_MARKS}]){_NO_END}|"
    rf"(?<=[다요죠까])\.(?=[가-힣]){_NO_END}|(?<=[가-힣])[?!]++(?=[가-힣]){_NO_END}|\n\s*+"
)
_ABBREVIATION = re.compile(r"(?<![A-Za-z])(?:Mrs?|Ms|Dr|Prof|St|vs|cf|[JS]r|Ph\.D|[A-Za-z]\.[A-Za-z])\.\Z")
_BEFORE_A_NUMBER = re.compile(r"(?<![A-Za-z])(?:[Nn]o|pp?|[Vv]ol|[Ff]ig|[Ss]ec|[Aa]rt)\.\Z")
_LONGEST_ABBREVIATION = 8


class Sentence(NamedTuple):
    """A sentence: text[start:end] of the text, and whether it is an item of a list."""

    start: int
    end: int
    is_item: bool


def hide_quotations(text: str) -> str:
    """Return a text, as long as before, with HIDDEN for each character in quotation marks or brackets."""
    return _QUOTED.sub(lambda match: HIDDEN * len(match[0]), text)


def split_sentences(text: str, hidden: str | None = None) -> list[Sentence]:
    """Return the sentences of a text in order: each ends in a final mark before a space, or with its line.

    hidden: `hide_quotations(text)`, where it is already known.
    """
    hidden = hide_quotations(text) if hidden is None else hidden
    found: list[Sentence] = []
    is_item, opens_a_line, start, mark = False, True, 0, None
    for end, behind, ends_a_line in _ends(hidden):
        part = hidden[start:end]
        stripped = part.strip()
        if stripped:
            if opens_a_line:
                is_item = stripped[0] in _MARK_STARTS and LIST_MARK.match(hidden, start, end + 1) is not None
            if len(stripped) <= _LONGEST_MARK and _ONLY_A_MARK.match(stripped):  # "1." opens the sentence behind it
                mark = start if mark is None else mark
            else:
                first = start if stripped == part else start + part.index(stripped[0])
                found.append(Sentence(first if mark is None else mark, first + len(stripped), is_item))
                mark = None
        start, opens_a_line = behind, ends_a_line
    if mark is not None:
        found.append(Sentence(mark, len(hidden.rstrip()), True))
    return found


def _ends(hidden: str) -> Iterator[tuple[int, int, bool]]:
    """Yield where each sentence ends, where the next begins, and whether a line ends between them."""
    for match in _END.finditer(hidden):
        start, end = match.span()
        if hidden[start] == "." and _is_abbreviation(hidden, start):
            continue
        ends_a_line = hidden[start] == "\n"
        yield start if ends_a_line else end, end, ends_a_line
    yield len(hidden), len(hidden), True


def _is_abbreviation(hidden: str, point: int) -> bool:
    """Return whether the point at a place belongs to an abbreviation, and another word follows: Mr. Kim, No. 3."""
    following = hidden[point + 1 : point + 3].strip(" ")
    if not following or following[0] == "\n":
        return False
    first, behind = max(0, point - _LONGEST_ABBREVIATION), point + 1
    found = _ABBREVIATION.search(hidden, first, behind)
    return bool(found or (following[0].isdecimal() and _BEFORE_A_NUMBER.search(hidden, first, behind)))


def sentence_texts(text: str) -> list[str]:
    """Return the sentences of a text as strings."""
    return [text[sentence.start : sentence.end] for sentence in split_sentences(text)]


def has_final_mark(text: str) -> bool:
    """Say whether a text ends in a final mark, brackets and quotation marks behind it aside."""
    return _BEHIND_THE_END.sub("", text).endswith(tuple(FINAL_MARKS))
