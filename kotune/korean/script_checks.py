"""Checks of the letters of an answer: none, too little Hangul, other scripts, loose jamo."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from kotune.korean.answer import CODE, HANGUL, HANGUL_RUN, LETTER, CheckedAnswer, Spans
from utils import normalized

FEWEST_LETTERS, LEAST_HANGUL = 20, 0.4
_NAMES = re.compile(r"(?<![\w-])[A-Z][A-Za-z0-9_-]*+,?(?= (?:and |of )?[A-Z]|[가-힣])")  # New York Stock Exchange is no leak


def check_empty(answer: CheckedAnswer) -> Spans:
    if not re.search(r"\w", answer.text):
        yield 0, len(answer.text), "The answer has no word."


def check_low_hangul(answer: CheckedAnswer) -> Spans:
    if 2 * sum(map(len, HANGUL_RUN.findall(answer.text))) >= len(answer.text):
        return  # the common case, without looking at each letter
    prose = normalized("NFD", _NAMES.sub("", CODE.sub("", answer.text)))
    hangul = len(HANGUL.findall(prose))
    total = len(LETTER.findall(prose)) + 2 * len(_WIDE.findall(answer.text))
    if total >= FEWEST_LETTERS and hangul < LEAST_HANGUL * total:
        yield 0, len(answer.text), f"Only {hangul / total:.0%} of the letters are Hangul, jamo counted one by one."


def scripts(text: str) -> dict[str, float]:
    """Return the share of each script among a text's letters: hangul, latin, hanja, kana, cyrillic, other.

    Jamo of either kind and NFD count as the Hangul that they are; digits, marks and emoji are no letters. All shares are 0
    for a text without letters.
    """
    counts = Counter(_script_of(letter) for letter in LETTER.findall(normalized("NFC", text)))
    total = counts.total() or 1
    return {name: counts[name] / total for name in ("hangul", "latin", "hanja", "kana", "cyrillic", "other")}


def _script_of(letter: str) -> str:
    if HANGUL.match(letter):
        return "hangul"
    return next((name for name, pattern in _SCRIPTS.items() if re.match(pattern, letter)), "other")


_HANJA = r"\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"


_KANA = r"\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"


_CYRILLIC = r"\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f"


_LATIN = r"A-Za-zªº\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a"


_SCRIPTS = {"latin": f"[{_LATIN}]", "hanja": f"[{_HANJA}]", "kana": f"[{_KANA}]", "cyrillic": f"[{_CYRILLIC}]"}


_WIDE = re.compile(rf"[{_HANJA}{_KANA}]")  # says as much as a Hangul syllable, of two or three jamo


_HANJA_RUN = re.compile(rf"[{_HANJA}]+(?:[\s，。、；：,]*[{_HANJA}]+)*")


_JAPANESE_OR_HANJA_RUN = re.compile(rf"[{_KANA}{_HANJA}]++")


_KANA_LETTER = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\uff66-\uff9d]")


_CYRILLIC_RUN = re.compile(rf"[{_CYRILLIC}]+(?:[ -][{_CYRILLIC}]+)*")


# Greek letters stand as symbols (α, μ, π) one by one; ª and the letters of Latin and phonetic use are no leak
_OTHER_RUN = re.compile(
    r"[\u0370-\u03ff\u1f00-\u1fff]{2,}|[\u0530-\u109f\u10a0-\u10ff\u1200-\u1bff\u2c00-\u2dff\u0e00-\u0eff\u0600-\u06ff]+"
    r"(?:[ ][\u0530-\u109f\u10a0-\u10ff\u1200-\u1bff\u2c00-\u2dff]+)*"
)


_PARTIES = frozenset("甲乙丙丁")  # the parties of a contract, the heavenly stems


_COUNTRIES = frozenset("美中日北韓英獨佛伊露")
_NEWS = _COUNTRIES | set("故前現新舊對反親與野女男老少大小上下全各檢警軍靑株")  # stands alone before a name: 故 김 선생
_NEWS_PAIRS = frozenset(("男女", "老少", "上下", "大小", "與野"))
_PREFIXES = frozenset("超非反脫親對第新舊前現全總準無未再各本") | _COUNTRIES  # stands on a word: 超고령사회, 第1조


_READING = re.compile(r"[가-힣]+(?: [가-힣]+)*$")


_NAMED_AS_HANJA = re.compile(r"한자(?:어|로|명)?[는은도]?:? ?$")


_GLOSS_AFTER = re.compile(r"\(([가-힣 ]+)")


_LONGEST_GLOSS = 80  # characters from the bracket to the run


def _is_gloss(text: str, start: int, end: int, *, same_length: bool) -> bool:
    """Return whether a run in brackets follows its Korean reading: 전세(傳貰), 도쿄(東京), 모스크바(Москва)."""
    opening = text.rfind("(", max(0, start - _LONGEST_GLOSS), start)
    if opening < 0 or ")" in text[opening:start] or HANGUL.search(text, opening + 1, start):
        return False
    reading = _READING.search(text[max(0, opening - 40) : opening].rstrip("’”'\"」』"))
    if reading is None:
        return False
    return not same_length or len(reading[0].replace(" ", "")) >= len(re.sub(r"\W", "", text[start:end]))


def check_hanja(answer: CheckedAnswer) -> Spans:
    text = answer.text
    for match in _HANJA_RUN.finditer(text):
        start, end = match.span()
        run = match[0]
        is_japanese = _KANA_LETTER.search(text[max(0, start - 1) : start] + text[end : end + 1])
        if is_japanese or _is_gloss(text, start, end, same_length=True):
            continue
        after = _GLOSS_AFTER.match(text, end)
        is_named = _NAMED_AS_HANJA.search(text[max(0, start - 6) : start]) or _is_quoted(text, start, end)
        named = len(run) <= 4 and is_named
        before, behind = text[max(0, start - 1) : start].strip(), text[end : end + 1]
        alone = run in _PARTIES or _is_of_the_news(run, before, behind)
        if (after and len(after[1].replace(" ", "")) >= len(run)) or named or alone:
            continue
        yield start, end, f"{run} is Hanja or Chinese without its Korean reading."


def _is_of_the_news(run: str, before: str, behind: str) -> bool:
    """Return whether Hanja stand as newspapers set them: 韓·美 금리, 超고령사회; before, behind: a character each."""
    if before not in ("", "·"):
        return False
    if behind.isspace() or behind in ("·", "로"):  # 大·中·小로
        return run in _NEWS or run in _NEWS_PAIRS or (len(run) <= 3 and _COUNTRIES.union("對反親").issuperset(run))
    return run in _PREFIXES and (HANGUL.match(behind) is not None or behind.isdecimal())


def _is_quoted(text: str, start: int, end: int) -> bool:
    return text[max(0, start - 1) : start] in tuple("‘'“\"「") and text[end : end + 1] in tuple("’'”\"」")


_NAMES_A_LANGUAGE = re.compile(r"[가-힣]{1,5}어(?:로|에서|의|는|인)? ?(?:인사말|표현|단어|낱말|말|원문|이름)?인?:? ?$")
_SAYS_WHAT_IT_IS = re.compile(r"[^.\n]{0,30}(?:뜻|의미|말|표현|글자|인사|단어|낱말|발음|읽|쓴|씁|적습|라고|라는|번역)")


def _is_shown(text: str, start: int, end: int) -> bool:
    """Return whether a run of another script is a gloss, or quoted and spoken of: 일본어 “すし”는 초밥이라는 말입니다."""
    if _is_gloss(text, start, end, same_length=False):
        return True
    if not _is_quoted(text, start, end):
        return False
    before = text[max(0, start - 20) : start - 1]
    return bool(_NAMES_A_LANGUAGE.search(before) or _SAYS_WHAT_IT_IS.match(text, end + 1))


def check_kana(answer: CheckedAnswer) -> Spans:
    if not _KANA_LETTER.search(answer.text):
        return
    for match in _JAPANESE_OR_HANJA_RUN.finditer(answer.text):
        if _KANA_LETTER.search(match[0]) and not _is_shown(answer.text, *match.span()):
            yield *match.span(), f"{match[0]} is Japanese."


def check_cyrillic(answer: CheckedAnswer) -> Spans:
    for match in _CYRILLIC_RUN.finditer(answer.text):
        if not _is_shown(answer.text, *match.span()):
            yield *match.span(), f"{match[0]} is Cyrillic."


def check_other_script(answer: CheckedAnswer) -> Spans:
    for match in _OTHER_RUN.finditer(answer.text):
        if not _is_shown(answer.text, *match.span()):
            name = unicodedata.name(match[0][0], "UNKNOWN").split()[0].capitalize()
            yield *match.span(), f"{match[0]} is in another script ({name})."


_LETTERS = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"  # Vietnamese and French too
_WORD = rf"[{_LETTERS}]++(?:['’][{_LETTERS}]++)*+(?:-[{_LETTERS}]++)*+"
_COMMANDS = frozenset(
    ("pip", "git", "npm", "docker", "sudo", "apt", "conda", "python", "cd", "curl", "brew", "uv", "kotune")
)


_LATIN_RUN = re.compile(rf"(?<![\w/.@\\$-])(?<![A-Za-z]['’]){_WORD}(?:[ ,;:]{{1,2}}{_WORD}){{2,}}")


_SMALL_WORDS = frozenset(("of", "and", "the", "for", "in", "on", "to", "a"))  # part of many a name


_TERMS = frozenset(("end to end", "peer to peer", "point of sale", "do it yourself", "state of the art"))


def check_latin_run(answer: CheckedAnswer) -> Spans:
    if not re.search(rf"[{_LETTERS}] [{_LETTERS}]", answer.text):
        return
    text = CODE.sub(lambda match: "\x01" * len(match[0]), answer.text)
    for match in _LATIN_RUN.finditer(text):
        start, end = match.span()
        words = match[0].split()
        lower = [word for word in words if word[0].islower() and word not in _SMALL_WORDS]
        is_gloss = text[max(0, start - 1) : start] == "(" and text[end : end + 1] in tuple("),") and len(words) <= 6
        is_shown = is_gloss or words[0] in _COMMANDS or (len(words) <= 8 and _is_quoted(text, start, end))
        if len(lower) >= 2 and not is_shown and match[0].lower() not in _TERMS:
            yield start, end, f"{len(words)} words run on in another language."


_LOOSE_JAMO = re.compile(
    r"(?:(?<=[가-힣])[ㄱ-ㅎㅏ-ㅣ]+(?=[가-힣])|([ㄱ-ㅎㅏ-ㅣ])\1+|[ㅋㅎㅠㅜㅇㄴㄷㅈㅅㄱ]{2,})[ㄱ-ㅎㅏ-ㅣ]*"
)


_ANY_JAMO = re.compile("[ㄱ-ㅎㅏ-ㅣ]")


_IN_ORDER = "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"


def check_loose_jamo(answer: CheckedAnswer) -> Spans:
    if not _ANY_JAMO.search(answer.text):
        return
    for match in _LOOSE_JAMO.finditer(answer.text):
        if len(match[0]) == 1 or match[0] not in _IN_ORDER:  # ㄱㄴㄷ 순서
            yield *match.span(), f"{match[0]} is no syllable: chat, or a broken one."
