"""Particles that do not fit the sound before them: 사람는 for 사람은, 학교으로 for 학교로, DSR는 for DSR은.

은/는, 이/가, 을/를, 과/와 and 으로/로 are chosen by whether the word before ends in a consonant (받침). A form that does
not fit is an error, but only where the word is a noun: 있는, 지은, 나이, 국가 and 효과 end in the same syllables. No
analyser is asked. Some forms are particles and nothing else (를 after a consonant); for the others a syllable that no
verb stem and no suffix has, or the list of nouns in `data/nouns.txt`, must say so. What stays in doubt is not named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from utils import DATA, read_text

VOWEL, RIEUL, CONSONANT = "vowel", "rieul", "consonant"  # how a word ends; ㄹ counts as a vowel before (으)로
_ENDS_IN_CONSONANT, _ENDS_IN_ANY_CONSONANT = frozenset({CONSONANT}), frozenset({CONSONANT, RIEUL})
_ENDS_IN_VOWEL, _ENDS_IN_VOWEL_OR_RIEUL = frozenset({VOWEL}), frozenset({VOWEL, RIEUL})
WRONG_AFTER = {
    "은": _ENDS_IN_VOWEL, "이": _ENDS_IN_VOWEL, "을": _ENDS_IN_VOWEL, "과": _ENDS_IN_VOWEL,
    "는": _ENDS_IN_ANY_CONSONANT, "가": _ENDS_IN_ANY_CONSONANT, "를": _ENDS_IN_ANY_CONSONANT, "와": _ENDS_IN_ANY_CONSONANT,
    "으로": _ENDS_IN_VOWEL_OR_RIEUL, "로": _ENDS_IN_CONSONANT,
}  # fmt: skip
PARTNER = {
    "은": "는", "는": "은", "이": "가", "가": "이", "을": "를", "를": "을", "과": "와", "와": "과",
    "으로": "로", "로": "으로",
}  # fmt: skip


class ParticleError(NamedTuple):
    """Where a particle does not fit: the word with its particle is text[start:end]."""

    start: int
    end: int
    found: str
    right: str


# --- how a word sounds at its end ------------------------------------------------------------

# 영, 일, 이, 삼, ...: numbers are read in Sino-Korean; one that ends in 0 is read 십, 백, 천, 만 or 억
_DIGIT_ENDS = {**dict.fromkeys("036", CONSONANT), **dict.fromkeys("178", RIEUL), **dict.fromkeys("2459", VOWEL)}
_LETTER_ENDS = {**dict.fromkeys("ABCDEFGHIJKOPQSTUVWXYZ", VOWEL), "L": RIEUL, "R": RIEUL, "M": CONSONANT, "N": CONSONANT}
_UNIT = re.compile(r"\d\s?(?:[kcm]?m[²³]?|m[lL]|[KMGT]B|[kMG]?Hz|k?Wh?)$")  # ends in 미터, 리터, 바이트, 헤르츠, 와트
_SYMBOL_ENDS = dict.fromkeys("%℃㎡㎥㎞㎝㎜㎖㎘ℓ$°", VOWEL)
# spelled letter by letter (디에스알) unless it can be read as a word (나토, 집 for ZIP)
_ACRONYM = re.compile(r"(?<![A-Za-z0-9])[A-Z](?:[A-Z&/-]*[A-Z])?$")
_SINGLE_LETTER = re.compile(r"(?<![A-Za-z0-9])[a-z]$")
_READ_AS_A_WORD = re.compile(r"[B-DF-HJ-NP-TV-Z]+[AEIOU]+[BCDFGKPST]$")
_NUMBER = re.compile(r"(?<![A-Za-z])(?<![A-Za-z]-)\d[\d,.]*$")


def sound_after(text: str) -> str | None:
    """Return how a text ends when read aloud: "vowel", "rieul" or "consonant"; None where that is open."""
    last = text[-1:]
    if "가" <= last <= "힣":
        final = (ord(last) - 0xAC00) % 28
        return VOWEL if final == 0 else RIEUL if final == 8 else CONSONANT
    if last in _SYMBOL_ENDS:
        return _SYMBOL_ENDS[last]
    if last in _DIGIT_ENDS:
        number = _NUMBER.search(text[-24:])
        return _DIGIT_ENDS[last] if number and not number[0].replace(",", "").endswith("0" * 12) else None  # 조
    if _UNIT.search(text[-8:]):
        return VOWEL
    if last.isascii() and last.isalpha():
        return _letter_end(text[-24:])
    return None


def _letter_end(text: str) -> str | None:
    acronym = _ACRONYM.search(text) or _SINGLE_LETTER.search(text)
    if not acronym or re.search(r"\d\s?\w$", text):
        return None
    letters = acronym[0]
    open_to_reading = len(letters) >= 4 and re.search("[AEIOU]", letters)
    if open_to_reading or _READ_AS_A_WORD.search(letters):
        return None
    return _LETTER_ENDS[letters[-1].upper()]


# --- words that only look like a noun with a particle ----------------------------------------


def _words(text: str) -> list[str]:
    return text.split()


# last syllables of the stems of verbs and adjectives that end in a consonant: 먹는, 읽는, 붙잡는
_STEMS = frozenset(
    "있없않먹받읽앉잡찾닫믿묻걷듣싣얻뜯벗씻웃솟앗낫짓긋붓잇젓늦맞맺찢꽂짖젖쫓좇볶깎닦섞묶꺾낚겪엮갚덮엎짚놓넣낳쌓찧닿땋끊잃앓끓꿇뚫긁늙맑밝붉갉얽굶곪닮옮밟핥훑읊"
    "얹줍굽눕돕깁접집씹입잡뽑업꼽품담감참남넘숨심뿜안신죽속녹썩막박적찍식익삭묵맡붙뱉뻗딛굳돋쏟컫붇긷솎닳곯쓿삶빗빚뺏잊갖빻뵙금듬찮같높많좋싶검춥낡삼눋멎잦잣흩얕옅엷얇넓짧굵묽젊짙덥쉽줏궂낮"
)
_SSANG_SIOT = 20  # 었, 겠, 았 and all others with ㅆ: only verbs
# ㅅ that falls out: 짓다 -> 지은, 지을
_IRREGULAR = frozenset(
    _words(
        "나 더나 이 뒤이 연이 줄이 부 퍼부 쏟아부 들이부 그 내리그 저 휘저 내저 가로저 지 새로지 잘못지 "
        "갓지 손수지 직접지 함께지 못다지 결론지 관련지 특징지 구분지 규정지 마무리지 매듭지 한정지 결정지 "
        "연관지 짝지 죄지 판가름지 이름지 농사지 집지 밥지 미소지 눈물지 한숨지 좌우지 단정지 확정지 결부지 "
        "일단락지 무리지 줄지 웃음지 마침표지"
    )
)
_NAMES = frozenset(
    _words("하은 지은 시은 예은 다은 가은 나은 서은 주은 채은 혜은 세은 태은 소은 재은 고은 보은 유은 아은 수은 효은")
)
_SURNAMES = frozenset("김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구")
_AUTUMN = frozenset(_words("가을 늦가을 초가을 올가을 한가을 지난가을 노을 저녁노을 붉은노을 고을 마을"))
# 이, 과, 가, 로 as the last syllable of a noun of its own
_WHOLE = frozenset(
    _words(
        "추이 부이 터이 그이 저이 이이 무이 소이 기이 수이 해이 에세이 법가 음가 약가 병가 뭔가 누군가 "
        "언젠가 어딘가 무언가 왠가 인가 제멋대로 별로 홀로"
    )
)
_SUFFIXES = tuple(
    _words(
        "나이 아이 차이 사이 오이 종이 구이 높이 길이 넓이 깊이 먹이 놀이 세대차이 국가 작가 평가 물가 증가 참가 "
        "정가 원가 단가 상가 인가 강가 길가 창가 갓가 닷가 냇가 음악가 건축가 예술가 전문가 자본가 소설가 작곡가 "
        "성악가 탐험가 발명가 정치가 비평가 평론가 미술가 수집가 번역가 분석가 혁명가 활동가 운동가 여행가 "
        "사상가 문학가 법률가 사업가 기업가 은행가 감정가 낙찰가 매각가 분양가 시장가 거래가 판매가 할인가 "
        "경매가 최저가 도매가 매입가 기준가 예정가 계약가 공급가 주택가 대학가 학원가 식당가 상점가 노력가 "
        "정복가 저술가 교육가 역술가 애국가 대식가 미식가 만물가 적정가 감정평가 유리창가 대표작가 효과 사과 "
        "초과 부과 투과 여과 내과 외과 치과 아과 후과 소아과 세무과 총무과 복지과 다과 제과 모과 이과 교과 고과 "
        "무과 미과 화과 사회과 피부과 비뇨기과 도시과 주거과 기계과 전기과 전자과 간호과 요리과 관리과 경제과 "
        "장미과 고양이과 국어과 영어과 경로 통로 진로 선로 항로 원로 근로 종로 난로 폭로 장로 공로 연로 탄로 "
        "판로 행로 관로 책로 산책로 입로 진입로 등산로 순환로 보행로 간선로 접근로 출입로 풍로 협로 신작로 "
        "용광로 농로 접속로 합류로 중앙로 첼로"
    )
)
# last syllables after which 이 ends no noun or adverb (에세이, 새로이, 반가이 have others)
_NO_WORD_IN_I = frozenset("자지주수터트스드크프츠즈르그료표계례회의부비시기리치미피서처허대채체초후투")
_NO_WORD_IN_GA = frozenset("것람님쪽율률들")
_NO_WORD_IN_RO = frozenset("것람님쪽법음액점권")
# nouns of one syllable, by the particle that makes no other word with them
_SHORT = {
    "은": frozenset("너코뼈피배차키표해개뇌폐비파귀뒤때초"),
    "이": frozenset("코뼈표뇌폐개귀"),
    "과": frozenset("너저코배비차뼈피키"),
    "가": frozenset("집돈책땅값옷꽃밥것빚짐벽몸"),
    "로": frozenset("집책돈법값밥옷꽃손몸것빚벽앞옆밖안"),
}


@cache
def _nouns() -> frozenset[str]:
    return frozenset(read_text(DATA / "nouns.txt").split())


def is_noun(word: str) -> bool:
    """Return whether a word of two syllables or more is a listed noun, or a compound that ends in one."""
    nouns = _nouns()
    return word in nouns or any(word[-size:] in nouns for size in range(2, len(word) - 1))


def _is_error(stem: str, particle: str, after: str) -> bool:
    """Return whether a Hangul word is surely a noun with a particle, given that the particle does not fit."""
    word = stem + particle
    if word in _WHOLE or word in _nouns() or word in _SUFFIXES:
        return False
    if word.endswith(_SUFFIXES) and stem not in _nouns():  # 온실효과, but 식사과
        return False
    if particle in ("은", "을") and (stem in _IRREGULAR or word in _AUTUMN or _is_name(word)):
        return False
    return _RULES[particle](stem, after)


def _is_name(word: str) -> bool:
    return word in _NAMES or (len(word) == 3 and word[0] in _SURNAMES and word[1:] in _NAMES)


def _after_eun(stem: str, particle: str) -> bool:
    if len(stem) == 1:
        return particle == "을" or stem in _SHORT["은"]
    return stem[-1] != "지" or stem == "까지" or is_noun(stem)  # X짓다 has more members than the list above


def _after_neun(stem: str) -> bool:
    last = stem[-1]
    if (ord(last) - 0xAC00) % 28 == _SSANG_SIOT:
        return False
    return last not in _STEMS or is_noun(stem)


def _by_last_syllable(stem: str, particle: str, free: frozenset[str]) -> bool:
    if len(stem) == 1:
        return stem in _SHORT[particle]
    return stem[-1] in free or is_noun(stem)


_RULES = {
    "은": lambda stem, after: _after_eun(stem, "은"),
    "을": lambda stem, after: _after_eun(stem, "을") and not stem.endswith("마"),  # 마을
    "는": lambda stem, after: _after_neun(stem),
    "를": lambda stem, after: stem != "들",  # 들르다
    "와": lambda stem, after: True,
    "으로": lambda stem, after: True,
    "이": lambda stem, after: _by_last_syllable(stem, "이", _NO_WORD_IN_I),
    "가": lambda stem, after: _by_last_syllable(stem, "가", _NO_WORD_IN_GA) and stem[-1] != "인",  # 임대인가?
    "과": lambda stem, after: _by_last_syllable(stem, "과", frozenset()),
    # a street has its number behind it: 시민로 12
    "로": lambda stem, after: _by_last_syllable(stem, "로", _NO_WORD_IN_RO) and not re.match(r"\s?\d", after),
}


# --- the scan --------------------------------------------------------------------------------

_CANDIDATE = re.compile(r"([가-힣]*)([은는이가을를과와로])(?![가-힣A-Za-z0-9])")
_LONGER = re.compile(r"([가-힣]*)(?<=[가-힣)\]}”’\"'0-9A-Z%])(으로|로)(?:써|서|부터|는|도|만|까지)(?![가-힣A-Za-z0-9])")
_BOTH_FORMS = re.compile(r"\((?:은|는|이|가|을|를|과|와|로|으로)\)|/(?:은|는|이|가|을|를|과|와|로|으로)(?![가-힣])")
_CLOSING = ")]}”’\"'」』》〉】*`_"
_HANJA = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]$")
_OPENING = {")": "(", "]": "[", "}": "{"}


def particle_errors(text: str) -> Iterator[ParticleError]:
    """Yield each particle that does not fit the word, number or acronym before it, in order; the text is NFC."""
    found = [error for match in _CANDIDATE.finditer(text) if (error := _judge(text, match, match[2]))]
    if "으로" in text or "로" in text:
        found += [error for match in _LONGER.finditer(text) if (error := _judge(text, match, match[2]))]
    return iter(sorted(found))


def _judge(text: str, match: re.Match, particle: str) -> ParticleError | None:
    stem = match[1]
    if particle == "로" and stem.endswith("으"):
        stem, particle = stem[:-1], "으로"
    end = match.end()
    if stem:
        sound = sound_after(stem)
        if sound not in WRONG_AFTER[particle]:
            return None
        after = text[end : end + 3]
        if not _is_error(stem, particle, after) or _BOTH_FORMS.match(text, end):
            return None
        start = match.start()
        while start and text[start - 1] in "0123456789,.":  # 2만원를
            start -= 1
        before = text[start : match.start()] + stem
        return ParticleError(start, end, text[start:end], before + PARTNER[particle] + text[match.end(2) : end])
    start = match.start()
    if not start or _BOTH_FORMS.match(text, end):
        return None
    sounds = _sounds_before(text, start)
    if not sounds or not all(sound in WRONG_AFTER[particle] for sound in sounds):
        return None
    first = max(text.rfind(" ", 0, start), text.rfind("\n", 0, start)) + 1
    return ParticleError(first, end, text[first:end], text[first:start] + PARTNER[particle] + text[match.end(2) : end])


def _sounds_before(text: str, end: int) -> list[str]:
    """Return how the text before a lone particle may be read: a gloss in brackets may be read, or passed over."""
    bare = text[:end].rstrip(_CLOSING)
    closers = text[len(bare) : end]
    if not closers:
        return _known(sound_after(bare))
    readings = [bare.rstrip(".?!,")]
    for closer in closers:
        if closer not in _OPENING:
            continue
        opening = text.rfind(_OPENING[closer], 0, len(bare))
        if opening < 0:  # "1)이 경우": the mark of a list
            return []
        inside = text[opening + 1 : len(bare)]
        before = text[:opening].rstrip(_CLOSING)
        if inside in ("으", "이"):  # 집(으)로, 사과(이)가
            return []
        if not before or before[-1].isspace():
            return [] if len(inside) < 3 else _known(sound_after(readings[0]))
        readings = [before] if _HANJA.search(inside) else [*readings, before]  # Hanja is read as the word before it
    sounds = [sound_after(reading) for reading in readings]
    return [] if None in sounds else [sound for sound in sounds if sound]


def _known(sound: str | None) -> list[str]:
    return [sound] if sound else []
