"""The speech level that a Korean sentence ends in, and so whether a text is polite.

Levels: 합쇼체 (합니다, 하십시오), 해요체 (해요, 하죠), 해라체 (한다: the plain style of books) and 해체 (해, 하지: 반말).
A sentence that ends in a noun, as headings and list items do, has none, nor has an ending that fits several levels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from kotune.korean.banmal import WITH_L, is_hae, speaks_to_someone, syllables_with_final
from kotune.korean.sentences import HIDDEN, Sentence, has_final_mark, hide_quotations, split_sentences

HAPSYO, HAEYO, HAERA, HAE = "합쇼체", "해요체", "해라체", "해체"
POLITE_LEVELS, PLAIN_LEVELS = (HAPSYO, HAEYO), (HAERA, HAE)

_MARKS = rf"[\s{HIDDEN}.!?…。~！？^*_`”’\"'」』)\]ㅋㅎㅠㅜ\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
_BEHIND_THE_ENDING = re.compile(rf"(?<!{_MARKS}){_MARKS}++\Z")  # each run of marks is tried once
_FULL_STOP = re.compile(rf"[{HIDDEN}\s”’\"')」』\]]*+[.!?。！？](?!\.)")  # no ellipsis: 확인하여 …
_TAIL = 14  # characters: no ending is longer

_WITH_B = syllables_with_final(17)
_ANSWER = re.compile(r"^(?:네|예|응|아니요|아니오|아뇨|글쎄요|맞아요|그래요)$")
_HAPSYO = re.compile(rf"(?:{_WITH_B}(?:니다|니까|시다)|{_WITH_B}니다만|십시오|십시요|소서)$")
_HAEYO = re.compile(r"[가-힣](?:요|죠)$|^죠$")
_NOUNS_IN_YO = re.compile(r"(?:^|\s)(?:불?필요|중요|수요|개요|소요|강요|주요|동요|담요|가요|민요|긴요|요요|총수요|해요체)$")
_HAERA = re.compile(r"[가-힣]다$|[하으거]라$")  # 하라 is how exams and laws order, and speaks to nobody
_NOUNS_IN_DA = re.compile(
    r"(?:^|\s)(?:\S*(?:바다|베란다|마다|보다|에다|우간다|르완다|네바다|어젠다|아젠다|버뮤다|프로파간다|프라다)|판다|캐나다|"
    r"소다|사이다|람다|수다|혼다|레다|부다|과다|다|모두\s?다|둘\s?다)$"
)


def level_of(sentence: str) -> str | None:
    """Return the speech level in which a sentence ends, or None where it ends in a noun or is only a yes or no."""
    tail, marks = _tail_of(sentence)
    return _level_of_tail(tail, "?" in marks, _FULL_STOP.match(marks) is not None)


@lru_cache(maxsize=4096)  # a text that loops costs no more than another
def _level_of_tail(tail: str, asks: bool, ended: bool) -> str | None:
    if len(tail) < 2 or _ANSWER.match(tail):
        return None
    last = tail[-1]
    if last in "다까만오요서" and _HAPSYO.search(tail):
        return HAPSYO
    if last in "요죠":
        return None if _NOUNS_IN_YO.search(tail) else HAEYO if _HAEYO.search(tail) else None
    if last == "다":
        return HAERA if _HAERA.search(tail) and not _NOUNS_IN_DA.search(tail) else None
    if (last == "라" and _HAERA.search(tail)) or speaks_to_someone(tail, asks=asks):
        return HAERA
    return HAE if is_hae(tail, ended=ended) else None


def is_banmal(sentence: str, level: str | None) -> bool:
    """Say whether a sentence of a level is 반말: 해체, or 해라체 that orders, proposes or asks (가라, 쉬자, 모르니?)."""
    if level != HAERA:
        return level == HAE
    tail, marks = _tail_of(sentence)
    return speaks_to_someone(tail, asks="?" in marks)


def _tail_of(sentence: str) -> tuple[str, str]:
    """Return the end of a sentence without the marks behind it, and the marks."""
    core = sentence.rstrip(" .!?…")
    last = core[-1:]
    if not ("가" <= last <= "힣" or (last.isascii() and last.isalnum())):  # neither is a mark
        core = _BEHIND_THE_ENDING.sub("", sentence)
    return core[-_TAIL:], sentence[len(core) :]


# 하세요, 할까요, 하시군요 and 할게요 have no counterpart among 합니다
_WITHOUT_A_FORMAL_TWIN = re.compile(rf"(?:[셔세까군]|{WITH_L}게)요$")
_FORMULA = re.compile(
    r"(?:^|\s)(?:감사|고맙|반갑|죄송|미안|안녕하|수고하|축하|환영|부탁|알겠)[가-힣 ]{0,6}(?:니다|니까|요)$|"
    r"(?:그렇습니다|맞습니다|맞아요|그래요)$"
)


def is_of_either_polite_level(sentence: str) -> bool:
    """Say whether a polite sentence is at home among 합니다 and among 해요: 하세요, 할까요?, 감사합니다."""
    tail, marks = _tail_of(sentence)
    return "?" in marks or bool(_WITHOUT_A_FORMAL_TWIN.search(tail) or _FORMULA.search(tail))


def levels_of(hidden: str, sentences: Sequence[Sentence]) -> list[str | None]:
    """Return each sentence's speech level; an item of a list has one only where it ends in a final mark.

    hidden: the text as `hide_quotations` returns it, so that what others say gives no sentence its level.
    """
    return [_level_in_text(hidden[sentence.start : sentence.end], is_item=sentence.is_item) for sentence in sentences]


_LABELLED = re.compile(r"\W{0,4}(?:제목|주제|요약|결론|결과|답|정답|핵심|요점|근거|이유|판단|참고|주의|예|예시)\W{0,3}:\s")


def _level_in_text(stretch: str, *, is_item: bool) -> str | None:
    if (is_item or _LABELLED.match(stretch)) and not has_final_mark(stretch):
        level = None if is_item else level_of(stretch)
        return level if level != HAERA or is_banmal(stretch, level) else None  # "결론: 신고가 필요하다" is a note
    return level_of(stretch)


def is_polite(text: str) -> bool:
    """Say whether at least one sentence of a text is in 합쇼체 or 해요체, quotations aside."""
    hidden = hide_quotations(text)
    return any(level in POLITE_LEVELS for level in levels_of(hidden, split_sentences(text, hidden)))
