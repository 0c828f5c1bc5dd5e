"""In what two Korean texts that look alike may still differ: numbers, negation, parties, kinds of one thing, what is asked.

ROUGE-L counts shared words. "보증금 2억 원" and "보증금 5억 원", "받으면" and "안 받으면", "임대인이 임차인에게" and
"임차인이 임대인에게" share nearly all of theirs, and each asks for another answer. `difference` says so, and is handed to
`similarity.deduplicate`, which then keeps both. It is cautious in one direction: where it errs, a repeat stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from kotune.data import addresses
from kotune.korean.numbers import Key, exact_key, loose_keys, quantities
from utils import normalized


@dataclass(frozen=True)
class Contrast:
    """What a text says of the things in which texts that look alike differ."""

    numbers: tuple[Key, ...]  # values with their dimensions, in order
    called: tuple[frozenset[Key], ...]  # what each of them may be called as well: 2억 and 2억 원
    negations: int
    parties: tuple[tuple[str, str], ...]  # who, and "to" or "from" where the particle says so, in order
    kinds: Mapping[int, frozenset[str]]  # of each family of words, those that stand in the text
    bounds: tuple[str, ...]  # 이상, 이하, 초과, 미만, in order
    latin: frozenset[str]  # words in Latin letters: DSR, LTV
    asked: frozenset[str]  # question words


# --- numbers ---------------------------------------------------------------------------------

_OPENING = re.compile(r"^\s*(?:질문|문의|q)?\s?\d{0,3}\s?[.):]\s")  # "Q1. " before a question asks nothing
_LONGEST_READ = 20_000  # characters; what is longer is no question, and its figures are compared as they are written
_FIGURE = re.compile(r"\d+")


def _numbers(text: str) -> tuple[tuple[Key, ...], tuple[frozenset[Key], ...]]:
    if len(text) > _LONGEST_READ:
        figures = tuple((figure,) for figure in _FIGURE.findall(text))
        return figures, tuple(frozenset((figure,)) for figure in figures)
    found = quantities(text)
    return tuple(map(exact_key, found)), tuple(map(loose_keys, found))


def _numbers_differ(one: Contrast, two: Contrast) -> bool:
    if one.numbers == two.numbers:
        return False
    if len(one.numbers) != len(two.numbers):
        return True
    pairs = zip(one.numbers, one.called, two.numbers, two.called, strict=True)
    return not all(key in theirs or other in ours for key, ours, other, theirs in pairs)


# --- negation --------------------------------------------------------------------------------

_NEGATION = re.compile(
    r"(?=[않없싫지아안못미무비불])(?:않|없|싫(?=어|은|다|습|으)|지 ?(?:말[고아라지]|마[세시라])|아니|아닌|아닐|아닙|"
    r"(?<![가-힣])안 (?!에|의|으로|쪽)|"  # not 안에, inside
    r"(?<![가-힣])안(?:되|돼|된|될|됩|받|하|해|했|한|할|합|줘|줬|준|줄|돌려|갚|지[키켜]|나[가와]|들어|살|맞|팔)|"
    r"(?<![가-힣])못|(?<=지 )못|(?<=지)못|"
    # words that deny by their first syllable
    r"(?<![가-힣])(?:미(?:등기|납|신고|이행|분양|완성|지급|반환|동의|거주)|무(?:주택|허가|보증|담보|효|상|권리)|"
    r"비(?:과세|조정|거주|규제|대면)|불(?:법|가|이행|허|합격|포함|필요)))"
)


# --- parties and kinds -----------------------------------------------------------------------

_PARTIES = """
임대인 집주인 건물주
임차인 세입자
매도인 파는사람
매수인 사는사람
양도인
양수인
전대인
전차인
채권자
채무자
증여자
수증자
피상속인
상속인
전세권자
전세권설정자
저당권자
공인중개사 중개사 중개인
시행사
시공사
원고
피고
위임인
수임인
도급인
수급인
사업주 사용자
근로자
신청인
상대방
낙찰자 매수신고인
경매신청인
남편
아내
부모
자녀
의사
환자
"""
_PARTY_OF = {word: line.split()[0] for line in _PARTIES.strip().splitlines() for word in line.split()}
_longest_first = "|".join(sorted(_PARTY_OF, key=len, reverse=True))
# who gets and from whom it comes; the other particles leave it open who acts on whom
_PARTY = re.compile(
    rf"(?<![가-힣])(?=[가-힣])({_longest_first})(?:들)?"
    r"(?:(에게서|한테서|으?로부터)|(에게|한테|께(?!서)|에 대(?:한|해|하여)))?"
)

# Words of one family, as an eojeol begins: those that mean the same joined by =, a space in a word written as _. Two texts
# that name different members of a family ask different things.
_FAMILIES = """
전세 월세 반전세 매매
전세권 저당권 근저당권 임차권 지상권 지역권 유치권 질권 가등기 가압류 가처분 압류
취득세 재산세 양도소득세=양도세 종합부동산세=종부세 상속세 증여세 등록면허세 부가가치세=부가세 종합소득세 지방소득세 인지세
필요비 유익비
계약금 중도금 잔금
아파트 오피스텔 빌라 다세대 다가구 단독주택 상가 토지 원룸 고시원 연립
갑구 을구 표제부
전입신고 확정일자
상속 증여
이전등기 말소등기 보존등기 설정등기
설정 말소 변경
신축 구축
신규 갱신
신청 취소=철회
체결 해지 해제 갱신
가입 탈퇴=해지
원금 이자
개인 법인
단독 공동
재개발 재건축 리모델링
변동금리 고정금리
일시불 할부 분할
임대차계약 매매계약
내용증명 지급명령 소액심판
토지대장 건축물대장 등기부
토지=땅 건물
일주택 이주택 삼주택
국민주택 민영주택 민간주택 공공주택
일반공급 특별공급
가계약 본계약
주거용 업무용 상업용 영업용
경매 공매
단기 장기
국내 해외=외국
현금 카드
선순위 후순위
원룸 투룸 쓰리룸
자동 수동
미성년 성년=성인
신혼부부 청년 고령자=노인 다자녀 대학생
장남 차남 장녀 차녀
봄 여름 가을_=가을에 겨울
월요일 화요일 수요일 목요일 금요일 토요일 일요일
어제 오늘 내일
첫째=첫_번째 둘째=두_번째 셋째=세_번째 넷째=네_번째 마지막
늦으=늦은=늦게=늦어=늦춰 빠르=빨리=일찍=이르
많으=많은=많이=많아=많다 적으면=적은=적게=적어서=적다
크면=큰_=커지 작으면=작은_=작아지
길면=긴_=길어지 짧으면=짧은=짧아지
높으면=높은=높이=높아 낮으면=낮은
넓으면=넓은=넓어 좁으면=좁은=좁아
담보대출 신용대출 전세대출
온라인=인터넷 방문 우편
대면 비대면
작년=지난해 올해 내년
상반기 하반기
오전 오후
평일 주말
전에=이전에=전까지=전_ 후에=뒤에=이후에=후_=뒤_
올리=올려=올라=오르=인상=상승 내리=내려=내렸=내린=내릴=낮추=낮춰=낮아=떨어=인하=하락
늘리=늘려=늘어=증가 줄이=줄여=줄어=감소
팔_=팔면=팔려=팔고=파는=판_=매도 살_때=사면=사려=사고=사는=산_=매수=매입=구입
들어갈=들어가=들어올=들어오=입주 나갈=나가=나올=퇴거
빌려주=빌려줄=임대하 빌리=빌릴=빌려=임차하
주는=줄_때=주면 받는=받을_때=받으면
이기=이긴=승소 지면=진_=패소
찬성 반대
최고 최저
최대 최소
비싼=비싸 싼_=싸게=저렴
남성=남자 여성=여자
아버지 어머니
서울 부산 대구 인천 광주 대전 울산 세종 경기 강원 제주
수도권 지방=비수도권
도시 농촌=시골
"""
_FAMILY_OF: dict[str, list[tuple[int, str]]] = {}
_ALSO_WORDS = "이천 사천 구리 고양 공주 경주 양산 진주 화성 광명 동해 안성 상주"  # these need their 시
_CITIES = (f"{city}시" if city in _ALSO_WORDS else f"{city}시={city}" for city in addresses.CITIES if city not in _FAMILIES)
_PLACES = (" ".join(sorted(f"{district}구" for district in addresses.DISTRICTS)), " ".join(_CITIES))
for _number, _line in enumerate([*_FAMILIES.strip().splitlines(), *_PLACES]):
    for _names in _line.replace("_", "\0").split():
        for _name in _names.replace("\0", " ").split("="):
            _FAMILY_OF.setdefault(_name, []).append((_number, _names))
_KIND = re.compile("(?<![가-힣])(?=[가-힣])(?:" + "|".join(sorted(_FAMILY_OF, key=len, reverse=True)) + ")")
_LATIN = re.compile("(?<![a-z0-9])[a-z]{2,}")
_BOUND = re.compile(r"(?<=[가-힣0-9%]) ?(이상|이하|초과|미만)")
_ASKED = {
    "when": re.compile(r"언제|며칠|몇 ?(?:일|월|년|시)(?![가-힣])"),
    "where": re.compile(r"어디|어느 (?:곳|기관)"),
    "who": re.compile("누구|누가"),
    "how much": re.compile("얼마"),
    "why": re.compile("왜(?![가-힣])|이유"),
    "how": re.compile("어떻게|방법|절차"),
    "what": re.compile("무엇|뭐|뭔|무슨"),
}


@lru_cache(maxsize=65_536)
def contrast(text: str) -> Contrast:
    """Return what a text says of the things in which texts that look alike differ."""
    plain = _OPENING.sub("", normalized("NFKC", text).lower())
    numbers, called = _numbers(plain)
    return Contrast(
        numbers=numbers,
        called=called,
        negations=len(_NEGATION.findall(plain)),
        parties=tuple(
            (_PARTY_OF[name], "from" if source else "to" if target else "") for name, source, target in _PARTY.findall(plain)
        ),
        kinds=_kinds(plain),
        bounds=tuple(_BOUND.findall(plain)),
        latin=frozenset(_LATIN.findall(plain)),
        asked=frozenset(name for name, pattern in _ASKED.items() if pattern.search(plain)),
    )


def difference(text: str, other: str) -> str | None:
    """Return in what two texts differ, so that one is no repeat of the other; None where nothing is known to differ.

    "numbers" and "negation" must be equal. "parties", "kinds" (취득세, 재산세) and "what is asked" (언제, 어디) differ
    where both texts name some and not the same.
    """
    one, two = contrast(text), contrast(other)
    if _numbers_differ(one, two) or one.bounds != two.bounds:
        return "numbers"
    if one.negations != two.negations:
        return "negation"
    if _parties_differ(one.parties, two.parties):
        return "parties"
    if _kinds_differ(one, two):
        return "kinds"
    if one.asked and two.asked and not one.asked & two.asked:
        return "what is asked"
    return None


def _kinds(text: str) -> dict[int, frozenset[str]]:
    """Return what a text names of each family of words, families without any left out."""
    found: dict[int, set[str]] = {}
    for word in _KIND.findall(text):
        for family, name in _FAMILY_OF[word]:
            found.setdefault(family, set()).add(name)
    return {family: frozenset(names) for family, names in found.items()}


def _parties_differ(one: tuple[tuple[str, str], ...], two: tuple[tuple[str, str], ...]) -> bool:
    """Return whether both name parties, and either none in common or the common ones in other places."""
    common = {name for name, _ in one} & {name for name, _ in two}
    if not common:
        return bool(one and two)
    return [party for party in one if party[0] in common] != [party for party in two if party[0] in common]


def _kinds_differ(one: Contrast, two: Contrast) -> bool:
    """Return whether both name words of a family, or words in Latin letters, and not the same."""
    if one.latin and two.latin and one.latin != two.latin:
        return True
    return any(one.kinds[family] != two.kinds[family] for family in one.kinds.keys() & two.kinds.keys())
