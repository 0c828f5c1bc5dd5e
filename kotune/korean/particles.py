"""Particles that do not fit the sound before them: 사람는 for 사람은, 학교으로 for 학교로, LTV은 for LTV는.

은/는, 이/가, 을/를, 과/와, 으로/로, 이나/나, 이라고/라고, 이란/란, 이에요/예요, 이랑/랑 and the like are chosen by
whether the word before ends in a consonant (받침). A form that does not fit is an error, but only where the word is a noun:
있는, 지은, 나이, 국가 and 효과 end in the same syllables. No analyser is asked. Some forms are particles and nothing else
(를 after a consonant); for the others the nouns of `data/nouns.txt` must say so, and the words of `particle_words.yaml`
must not say no. What can be read in two ways (DSR는 and DSR은, AIR, 5kg) and what stays in doubt is not named.

After a vowel 이며, 이든, 이라도 are no errors: they are forms of 이다 that need not be shortened (의사이며).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from utils import DATA, read_text

VOWEL, RIEUL, CONSONANT = "vowel", "rieul", "consonant"  # how a word ends; ㄹ counts as a vowel before (으)로
_CLOSED, _OPEN = frozenset({CONSONANT, RIEUL}), frozenset({VOWEL})
PAIRS = (  # after a consonant, after a vowel
    ("은", "는"), ("이", "가"), ("을", "를"), ("과", "와"), ("으로", "로"), ("이나", "나"), ("이라고", "라고"),
    ("이라는", "라는"), ("이란", "란"), ("이라도", "라도"), ("이라서", "라서"), ("이랑", "랑"), ("이며", "며"),
    ("이든", "든"), ("이에요", "예요"),
)  # fmt: skip
PARTNER = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
_FITS = {form: sounds for pair in PAIRS for form, sounds in zip(pair, (_CLOSED, _OPEN), strict=True)}
_FITS |= {"으로": frozenset({CONSONANT}), "로": frozenset({VOWEL, RIEUL})}
_TAILS = {"으로": ("서", "써", "부터", "는", "도", "만", "까지", "의"), "이라고": ("도", "는")}
_TAILS |= {PARTNER[form]: tails for form, tails in _TAILS.items()}


class ParticleError(NamedTuple):
    """Where a particle does not fit: the word with its particle is text[start:end]."""

    start: int
    end: int
    found: str
    right: str


# --- how a word sounds at its end ------------------------------------------------------------

# how far back a word, a bracket or a number is looked for: what is longer is no word, and time must not grow with the text
_REACH = 120
_NOTHING: frozenset[str] = frozenset()
_V, _R, _C = frozenset({VOWEL}), frozenset({RIEUL}), frozenset({CONSONANT})
# 영, 일, 이, 삼, ...: numbers are read in Sino-Korean; one that ends in 0 is read 십, 백, 천, 만 or 억
_DIGIT_SOUNDS = {**dict.fromkeys("036", _C), **dict.fromkeys("178", _R), **dict.fromkeys("2459", _V)}
# names of the letters; R is read 아르 or 알
_LETTER_SOUNDS = {**dict.fromkeys("ABCDEFGHIJKOPQSTUVWXYZ", _V), "L": _R, "R": _V | _R, "M": _C, "N": _C}
# ends in 미터, 리터, 바이트, 헤르츠, 와트; 59A, 220V and 5G end in a vowel whatever they stand for
_UNIT = re.compile(r"\d\s?(?:[kcm]?m[²³]?|m[lL]|[KMGT]B|[kMG]?Hz|k?Wh?)$|\d[ABCDEGVW]$")
_OTHER_UNIT = re.compile(r"\d\s?\w$|\d\s?[km]?g$")  # 5kg: 킬로그램 or 킬로
_SYMBOLS = "%％℃㎡㎥㎞㎝㎜㎖㎘ℓ$°"
# ①은, and 1번은: with 번 all end in a consonant, and of the digits these do
_CLOSED_CIRCLES = dict(zip("①③⑥⑦⑧⑩⓵⓷", "13678013", strict=True))
_NUMBER = re.compile(r"(?<![A-Za-z%$~_])(?<![A-Za-z]-)\d[\d,.]*$")
_FRACTION = re.compile(r"(\d+) ?/ ?(\d+)$")
# no part of an address, a file name or code: http://a.b/fhs, http.postbuffer, --files-from
_LATIN = re.compile(r"(?<![A-Za-z0-9\\%$_{./<>@#:=-])[A-Za-z](?:[A-Za-z&'-]*[A-Za-z])?$")
_PLACEHOLDER = re.compile(r"(?:O+|X+)$", re.IGNORECASE)
# how English words end in Korean: a final l, m, n, ng is one, and most others are read with a vowel of their own (버스)
_ENGLISH = (
    (re.compile(r"l$|[bcdfkp]le$|(?<![so])tle$|(?:file|style|mobile|module|rule|schedule|console|scale|profile|sale)$"), _R),
    (re.compile(r"[aeiouy]ng$|[mn]$"), _C),
    (re.compile(r"[aiouyfhjsvwxz]$|[aeo]r$|[^aeiouyd]d$|[^aeiouyt]t$|[lrns]k$|[lrmst]p$"), _V),
)


def sounds_after(text: str) -> frozenset[str]:
    """Return how a text may end when read aloud, of "vowel", "rieul" and "consonant"; empty where that is open."""
    last = text[-1:]
    if "가" <= last <= "힣":
        return _syllable_sound(last)
    if (last and last in _SYMBOLS) or text.endswith("%p") or _UNIT.search(text[-8:]):
        return _V
    if last in _CLOSED_CIRCLES:
        return _C | _DIGIT_SOUNDS[_CLOSED_CIRCLES[last]]
    if last in _DIGIT_SOUNDS:
        return _digit_sounds(text[-_REACH:])
    if last.isascii() and last.isalpha():
        return _latin_sounds(text[-_REACH:])
    return _NOTHING


def _syllable_sound(syllable: str) -> frozenset[str]:
    final = (ord(syllable) - 0xAC00) % 28
    return _V if final == 0 else _R if final == 8 else _C


def _digit_sounds(text: str) -> frozenset[str]:
    if fraction := _FRACTION.search(text):  # 1/2 is read 이분의 일, or from left to right
        return _DIGIT_SOUNDS[fraction[1][-1]] | _DIGIT_SOUNDS[fraction[2][-1]]
    number = _NUMBER.search(text)
    if not number:
        return _NOTHING
    zeros = len(number[0]) - len(number[0].replace(",", "").rstrip("0")) - number[0].count(",")
    if zeros >= 12:
        return _V if zeros < 16 else _NOTHING  # 조
    return _DIGIT_SOUNDS[number[0].rstrip(".,")[-1]]


def _latin_sounds(text: str) -> frozenset[str]:
    word = _LATIN.search(text)
    if not word or _OTHER_UNIT.search(text) or _PLACEHOLDER.match(word[0]):
        return _NOTHING
    letters = word[0]
    spelled = _LETTER_SOUNDS[letters[-1].upper()]
    if letters in _words("acronyms") or len(letters) == 1 or not re.search("[AEIOUaeiou]", letters):
        return spelled
    read = next((sounds for pattern, sounds in _ENGLISH if pattern.search(letters.lower())), _NOTHING)
    if not read:
        return _NOTHING
    return read if len(letters) > 4 and not letters.isupper() else read | spelled


# --- words -----------------------------------------------------------------------------------

_LONGEST_WORD = 8  # syllables
# answers repeat their words, and a model that loops repeats whole lines: what was judged once is not judged again
_REMEMBERED = 4096


@cache
def _nouns() -> frozenset[str]:
    return frozenset(read_text(DATA / "nouns.txt").split())


@cache
def _word_lists() -> dict:
    import yaml

    return yaml.safe_load(Path(__file__).with_name("particle_words.yaml").read_text(encoding="utf-8"))


@cache
def _words(name: str) -> frozenset[str]:
    return frozenset(_word_lists()[name].split())


@cache
def _syllables(name: str) -> frozenset[str]:
    return frozenset("".join(_word_lists()[name].split()))


@cache
def _by_form(name: str, form: str) -> frozenset[str]:
    return frozenset(_word_lists()[name].get(form, ""))


@lru_cache(_REMEMBERED)
def is_noun(word: str) -> bool:
    """Return whether a word is a listed noun, a compound that ends in one, or one with an ending such as 일: 추징일."""
    return _listed_end(word, _nouns()) > 0 or (
        word[-1:] in _syllables("noun_endings") and _listed_end(word[:-1], _nouns()) > 0
    )


def _listed_end(word: str, listed: frozenset[str]) -> int:
    """Return how many syllables the longest end of a word has that is in a list, of two at least; 0 where none is."""
    return next((size for size in range(min(len(word), _LONGEST_WORD), 1, -1) if word[-size:] in listed), 0)


@lru_cache(_REMEMBERED)
def _is_other_word(stem: str, form: str, list_name: str) -> bool:
    """Return whether a word ends in one that only looks like a noun with the form: 제조원가; not 동일세대원가, 식사과."""
    word, nouns = stem + form, _nouns()
    size = max(_listed_end(word, _words(list_name)), _listed_end(word, nouns))
    if not size:
        return False
    noun = _listed_end(stem, nouns)
    surely_a_noun = noun >= 3 or noun == len(stem)
    return not (surely_a_noun and noun + len(form) > size)


# --- which words are surely nouns with a particle that does not fit --------------------------


_ONES = "한|두|세|네|다섯|여섯|일곱|여덟|아홉"
_NATIVE_NUMBER = re.compile(rf"(?<![가-힣])(?:{_ONES}|석|넉|(?:열|스물|서른|마흔|쉰)(?:{_ONES})?|스무|몇|여러) $")


class _Candidate(NamedTuple):
    """A Hangul word with a form that does not fit its stem; `before` and `after` are what stands around the word."""

    stem: str
    form: str
    before: str
    after: str

    @property
    def follows_a_number(self) -> bool:
        return self.before[-1:].isdigit() or bool(_NATIVE_NUMBER.search(self.before))

    @property
    def ends_the_sentence(self) -> bool:
        return not re.match(r"[^\S\n]*[가-힣A-Za-z0-9“‘\"'(]", self.after)


_SSANG_SIOT = 20  # 었, 겠, 았 and all others with ㅆ: only verbs


def _is_counter(word: _Candidate) -> bool:
    return word.follows_a_number and word.stem in _words("counters")


def _by_last_syllable(word: _Candidate) -> bool:
    if len(word.stem) == 1:
        return word.stem in _by_form("short", word.form)
    return word.stem[-1] in _by_form("free", word.form) or is_noun(word.stem)


def _is_name(word: _Candidate) -> bool:
    name = word.stem + word.form
    alone = name in _words("given")
    if not alone and not (len(name) == 3 and name[0] in _syllables("surnames") and name[1:] in _words("given")):
        return False
    if word.stem not in _nouns():
        return True
    return _is_titled(word)


def _start_of(text: str, pattern: str) -> str:
    match = re.match(pattern, text)
    return match[0] if match else ""


def _is_titled(word: _Candidate) -> bool:
    around = (word.before.rstrip().rsplit(" ", 1)[-1], _start_of(word.after, r"\s?[가-힣]*").lstrip())
    return any(near.startswith(tuple(_words("titles"))) for near in around if near)


def _is_way(word: _Candidate) -> bool:
    """Return whether the stem is the 수 of 할 수 있다, as in 할 수은 없다."""
    opens = len(word.before) > 1 and _syllable_sound(word.before[-2]) == _R if word.before.endswith(" ") else False
    return word.stem == "수" and opens and bool(re.match(r" [있없]", word.after))


def _wrong_eun(word: _Candidate) -> bool:
    if len(word.stem) == 1:
        is_stacked = word.stem in _words("stacked") and word.before[-1:] not in ("", " ", "\n")
        # 저은 for 저는: it is also a form of 젓다, but not without an object before it
        starts = word.stem == "저" and re.search(r"(?:^|[.!?:]\s|^\s*-\s)$", word.before) and not _is_titled(word)
        return is_stacked or bool(starts) or _is_way(word) or word.stem in _by_form("short", word.form)
    if word.stem in _words("irregular") or _is_name(word):
        return False
    return word.stem[-1] != "지" or word.stem == "까지" or is_noun(word.stem)  # X짓다 has more members than the list


def _wrong_eul(word: _Candidate) -> bool:
    if len(word.stem) == 1:
        return word.stem not in _syllables("not_before_eul")
    return _wrong_eun(word) and not _is_other_word(word.stem, "을", "eul") and not word.stem.endswith("마")  # 마을


# nothing that one could pick up (집다) stands before: the start of a sentence, or a word that points at a noun
_NO_OBJECT = re.compile(r"(?:^|[\n.!?,]|(?:^|\s)(?:이|그|저|새|우리|제|내|네|한|두|그런|이런))\s*$")
_PICKS = re.compile(r"\s(?:것|법|힘|방법|도구|데|사람|순간|동작|손|일|중|게|건)")


def _wrong_neun(word: _Candidate) -> bool:
    last = word.stem[-1]
    if (ord(last) - 0xAC00) % 28 == _SSANG_SIOT:
        return False
    if word.stem in ("집", "빚"):  # 젓가락으로 집는, but "집는 넓습니다" and "우리 집는"
        return bool(_NO_OBJECT.search(word.before)) and not _PICKS.match(word.after)
    return last not in _syllables("stems") or is_noun(word.stem)


def _wrong_wa(word: _Candidate) -> bool:
    if word.ends_the_sentence or word.stem in _words("comes"):
        return False
    return len(word.stem) > 1 or word.stem in _by_form("short", "와")


def _wrong_i(word: _Candidate) -> bool:
    if word.stem.endswith("자"):  # 세입자이, but 반포자이
        return word.stem in _nouns() or _listed_end(word.stem, _nouns()) >= 3
    if _is_way(word):
        return True
    if word.stem + "이" in _words("i_whole"):
        return False
    return not _is_other_word(word.stem, "이", "i") and _by_last_syllable(word)


# the ending -ㄴ가 asks and doubts; 인가 is also a permission
_ASKING = re.compile(
    r"\s*(?:$|[?.!,”’\"'…]|하는|하고|하며|했|합|하던|싶|보[다네지]|봐|봅|요|아닌|아니|혹은|또는|의심|의문|궁금|모르|여부)"
)
_PERMITTED = re.compile(
    r"\s*(?:신청|심사|절차|고시|취득|승인|획득|기준|조건|[전후](?:에|\s)|이[후전]|과정|단계|당시|시점|변경|취소)"
)


def _wrong_ga(word: _Candidate) -> bool:
    if word.stem.endswith("인"):
        if not _listed_end(word.stem, _words("persons")) or _ASKING.match(word.after) or _PERMITTED.match(word.after):
            return False
        sentence = _start_of(word.after, r"[^.!?\n]*[.!?]?")
        return not re.search(r"[ㄴ은는인]가(?![가-힣])|\?|[까지]\s*$", sentence)
    return not _is_other_word(word.stem, "가", "ga") and _by_last_syllable(word)


def _wrong_gwa(word: _Candidate) -> bool:
    if re.match(r"[-(\d)\]·:|]", word.after) or word.ends_the_sentence or _is_other_word(word.stem, "과", "gwa"):
        return False
    office = re.match(r"\s([가-힣]+)", word.after)
    return not (office and office[1].startswith(tuple(_words("offices")))) and _by_last_syllable(word)


def _wrong_ro(word: _Candidate) -> bool:
    if re.match(r"\s?\d", word.after):  # a street has its number behind it: 시민로 12
        return False
    return not _is_other_word(word.stem, "로", "ro") and _by_last_syllable(word)


def _wrong_ina(word: _Candidate) -> bool:
    """Return whether 이나 joins two nouns, as in 전세이나 월세를: in "이 집은 아파트이나 ..." it is a form of 이다."""
    stands_alone = re.search(r"(?:^|[.!?\n,면고서때로])\s*$", word.before)
    joins = re.match(r" [가-힣]+(?:을|를|의|로|에|에서|에게|와|과)(?![가-힣])", word.after)
    return bool(stands_alone) and is_noun(word.stem) and not _is_other_word(word.stem, "이", "i") and bool(joins)


def _joins(word: _Candidate) -> bool:
    return bool(re.match(r" [가-힣]+", word.after))


def _wrong_na(word: _Candidate) -> bool:
    return _names_a_noun(word) and word.stem not in _words("nada") and _joins(word)


def _wrong_deun(word: _Candidate) -> bool:
    return _names_a_noun(word) and word.stem not in _words("deulda") and _joins(word)


def _names_a_noun(word: _Candidate) -> bool:
    return (ord(word.stem[-1]) - 0xAC00) % 28 != _SSANG_SIOT and is_noun(word.stem)


_DEFINES = re.compile(r"[^.!?\n]*(?:말한|말합|말해|말하|뜻|의미|일컫|가리키|무엇|뭐|뭔|무슨|어떤)")


def _wrong_ran(word: _Candidate) -> bool:
    return is_noun(word.stem) and not _is_other_word(word.stem, "란", "ran") and bool(_DEFINES.match(word.after))


def _wrong_iran(word: _Candidate) -> bool:
    return (
        is_noun(word.stem)
        and not _is_other_word(word.stem, "이", "i")
        and not _listed_end(word.stem + "이란", _words("iran"))
    )


def _wrong_after_noun(list_name: str) -> Callable[[_Candidate], bool]:
    def is_wrong(word: _Candidate) -> bool:
        return is_noun(word.stem) and not _is_other_word(word.stem, word.form, list_name)

    return is_wrong


def _wrong_after_vowel(word: _Candidate) -> bool:
    return is_noun(word.stem) and not _is_other_word(word.stem, "이", "i")


_RULES: dict[str, Callable[[_Candidate], bool]] = {
    "은": _wrong_eun,
    "는": _wrong_neun,
    "을": _wrong_eul,
    "를": lambda word: word.stem != "들",  # 들르다
    "이": _wrong_i,
    "가": _wrong_ga,
    "과": _wrong_gwa,
    "와": _wrong_wa,
    "으로": lambda word: True,
    "로": _wrong_ro,
    "이나": _wrong_ina,
    "나": _wrong_na,
    "이라고": lambda word: is_noun(word.stem),
    "라고": _wrong_after_noun("ra"),
    "이라는": lambda word: is_noun(word.stem),
    "라는": _wrong_after_noun("ra"),
    "라도": _wrong_after_noun("ra"),
    "라서": _wrong_after_noun("ra"),
    "이란": _wrong_iran,
    "란": _wrong_ran,
    "이랑": _wrong_after_vowel,
    "랑": _wrong_after_noun("rang"),
    "며": _names_a_noun,
    "든": _wrong_deun,
    "이에요": _wrong_after_vowel,
    "예요": lambda word: len(word.stem) > 1 or word.stem in _by_form("short", "예요"),
}


# --- the scan --------------------------------------------------------------------------------

_RUN = re.compile(r"(?<![가-힣])[가-힣]++(?![A-Za-z0-9])")
_BOTH_FORMS = re.compile(r"\((?:은|는|이|가|을|를|과|와|로|으로)\)|/(?:은|는|이|가|을|를|과|와|로|으로)(?![가-힣])")
_CLOSING = ")]}”’\"'」』》〉】*`_"
_HANJA = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]$")
_OPENING = {")": "(", "]": "[", "}": "{"}
_AFTER_MARKS = frozenset({"은", "는", "이", "가", "을", "를", "과", "와", "으로", "로", "예요", "란", "랑"})


@cache
def _endings() -> dict[str, list[tuple[str, str]]]:
    """Return the endings of words, longest first, with the form in each, by their last syllable: 으로부터 with 으로."""
    endings = [(form + tail, form) for form in PARTNER for tail in ("", *_TAILS.get(form, ()))]
    by_last: dict[str, list[tuple[str, str]]] = {}
    for ending, form in sorted(endings, key=lambda pair: -len(pair[0])):
        by_last.setdefault(ending[-1], []).append((ending, form))
    return by_last


def particle_errors(text: str) -> Iterator[ParticleError]:
    """Yield each particle that does not fit the word, number or acronym before it, in order; the text is NFC."""
    found = []
    for match in _RUN.finditer(text):
        if (misfit := _misfit(match[0][-_LONGEST_END:])) and (error := _judge(text, *match.span(), *misfit)):
            found.append(error)
    return iter(sorted(found))


_LONGEST_END = 16  # syllables; an ending and the syllable before it are shorter


@lru_cache(_REMEMBERED)  # most words of a text are words of the next
def _misfit(word: str) -> tuple[str, str] | None:
    """Return the ending of a word and the particle in it, where it stands alone or does not fit the syllable before it."""
    for ending, form in _endings().get(word[-1], ()):
        if word == ending:
            return ending, form
        if word.endswith(ending):
            return None if _syllable_sound(word[-len(ending) - 1]) <= _FITS[form] else (ending, form)
    return None


def _judge(text: str, start: int, end: int, ending: str, form: str) -> ParticleError | None:
    stem_end = end - len(ending)
    if stem_end == start:
        return _judge_lone(text, start, end, form)
    if not _is_wrong(text, start, stem_end, end, form):
        return None
    first = start
    while first and first > start - _REACH and text[first - 1] in "0123456789,.":  # 2만원를
        first -= 1
    return _error(text, first, stem_end, end, form)


def _is_wrong(text: str, start: int, stem_end: int, end: int, form: str) -> bool:
    if form not in _RULES or _BOTH_FORMS.match(text, end):
        return False
    stem = text[max(start, stem_end - 2 * _LONGEST_WORD) : stem_end]
    is_counted = stem != "인" and stem in _words("counters") and text[max(0, start - 1) : start].isdigit()
    if not is_counted and (stem + form in _nouns() or text[start:end] in _nouns()):  # 분가 is a noun, but not in 30분가
        return False
    return _is_surely_wrong(stem, form, text[max(0, start - _REACH) : start], text[end : end + _REACH])


@lru_cache(_REMEMBERED)
def _is_surely_wrong(stem: str, form: str, before: str, after: str) -> bool:
    word = _Candidate(stem, form, before, after)
    return _is_counter(word) or _RULES[form](word)


def _judge_lone(text: str, start: int, end: int, form: str) -> ParticleError | None:
    if form not in _AFTER_MARKS or not start or text[start - 1].isspace():
        return None
    window = text[max(0, start - _REACH) : start]
    first = _start_of_wrong(window, form)
    return None if first is None or _BOTH_FORMS.match(text, end) else _error(text, start - first, start, end, form)


@lru_cache(_REMEMBERED)
def _start_of_wrong(window: str, form: str) -> int | None:
    """Return how far before its end the word of a window starts that the form does not fit; None where it fits or may."""
    if form == "가" and re.search(r"[로동가문]\s?\d$", window):  # 종로 3가
        return None
    sounds = _sounds_before(window)
    if not sounds or sounds & _FITS[form]:
        return None
    return len(window) - 1 - max(window.rfind(" "), window.rfind("\n"))


def _error(text: str, first: int, stem_end: int, end: int, form: str) -> ParticleError:
    tail = text[stem_end + len(form) : end]
    return ParticleError(first, end, text[first:end], text[first:stem_end] + PARTNER[form] + tail)


def _sounds_before(text: str) -> frozenset[str]:
    """Return how the text before a lone particle may be read: a gloss in brackets may be read, or passed over."""
    bare = text.rstrip(_CLOSING)
    closers = text[len(bare) :]
    if not closers:
        return sounds_after(bare)
    readings = [bare.rstrip(".?!,")]
    for closer in closers:
        if closer not in _OPENING:
            continue
        opening = text.rfind(_OPENING[closer], 0, len(bare))
        if opening < 0:  # "1)이 경우": the mark of a list
            return _NOTHING
        inside = text[opening + 1 : len(bare)]
        if (
            inside in ("으", "이") or re.search(r"[()%{]", inside) or inside.startswith("이하")
        ):  # 집(으)로, (이하 “...”이라 한다)
            return _NOTHING
        apart = text[:opening].rstrip()
        before = apart.rstrip(_CLOSING)
        if not before:
            return _NOTHING if len(inside) < 3 else sounds_after(readings[0])
        if len(apart) < opening and len(inside) < 3:
            return _NOTHING
        # Hanja is read as the word before it
        readings = [before] if _HANJA.search(inside) else [*readings, before]
    sounds = [sounds_after(reading) for reading in readings]
    return frozenset().union(*sounds) if all(sounds) else _NOTHING
