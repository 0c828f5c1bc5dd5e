"""Numbers of a Korean text as values with units: 3억 5천만 원, 두 달, 12개월, 절반, ’24. 1. 1., 제3조의2.

`quantities` reads them with their places; `is_same` says whether two of them are one quantity however they are written:
3억 5,000만 원 and 350,000,000원, 12개월 and 1년, 절반 and 50%, ’24 and 2024. 30일 and 30개월 are not, nor 제3조의2 and
제3조의4.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

# what a unit measures; COUNTS are of one family, since 서류 3종 and 서류 3개 are one
MONEY, DURATION, MONTHS, YEAR, MONTH, DAY, CLOCK = "money", "duration", "months", "year", "month", "day", "clock"
RATIO, POINTS, MULTIPLE, NUMBER, ARTICLE = "ratio", "points", "multiple", "number", "article"
THING = "things"
COUNTS = frozenset({THING, "people", "times", "floors", "age", "households"})


class Quantity(NamedTuple):  # a million of them are made three times as fast as of a frozen dataclass
    """A number with its unit: text[start:end] is how it is written.

    value is in the dimension's own unit (won, hours, months, shares of one); numeral is the number before the unit as it
    is written, None where that is a word (절반) or several parts (3억 5천만). in_words: written without digits (두 달).
    """

    value: Fraction
    unit: str
    dimension: str
    start: int
    end: int
    numeral: Fraction | None = None
    in_words: bool = False


def _split(words: str) -> list[str]:
    return words.split()


# --- units -----------------------------------------------------------------------------------


def _table(*rows: tuple[str, str, Fraction | int]) -> dict[str, tuple[str, Fraction]]:
    return {word: (dimension, Fraction(factor)) for words, dimension, factor in rows for word in words.split()}


_UNITS = _table(
    ("원 원정", MONEY, 1), ("달러", "dollars", 1), ("엔", "yen", 1), ("유로", "euros", 1),
    ("년 년간 해", MONTHS, 12), ("개월 개월간 달 달간", MONTHS, 1),
    ("주 주간 주일", DURATION, 168), ("일 일간", DURATION, 24), ("시간", DURATION, 1),
    ("분 분간", DURATION, Fraction(1, 60)),
    ("초 초간", DURATION, Fraction(1, 3600)), ("월", MONTH, 1), ("시", CLOCK, 1), ("분기", "quarter", 1),
    ("% 퍼센트 프로 ％", RATIO, Fraction(1, 100)), ("할", RATIO, Fraction(1, 10)),
    ("%p %포인트 %P 퍼센트포인트 포인트", POINTS, 1), ("bp bps 베이시스포인트", POINTS, Fraction(1, 100)),
    ("배", MULTIPLE, 1),
    ("㎡ m² m2 제곱미터 평방미터", "area", 1), ("평", "pyeong", 1),
    ("km 킬로미터 ㎞", "length", 1000), ("m 미터", "length", 1), ("cm ㎝ 센티미터 센티", "length", Fraction(1, 100)),
    ("mm ㎜ 밀리미터 밀리", "length", Fraction(1, 1000)), ("kg ㎏ 킬로그램", "weight", 1000), ("g 그램", "weight", 1),
    ("mg 밀리그램", "weight", Fraction(1, 1000)), ("톤", "weight", 1_000_000),
    ("명 인 사람 분", "people", 1), ("세 살", "age", 1), ("층", "floors", 1), ("회 번 차례", "times", 1),
    ("가구 세대", "households", 1),
    ("개 가지 단계 종 종류 항목 건 곳 군데 장 부 통 권 대 채 점 마리", THING, 1), ("번째", "ordinal", 1),
)  # fmt: skip
# of 분 as minutes and 분 as people, digits mean the first and words the second: 30분, 세 분
_UNITS["분"] = (DURATION, Fraction(1, 60))
_UNIT_WORDS = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
# "3분의", "4대보험", "2주택": what begins like a unit and is another word stays a plain number
_NO_UNIT = (
    r"(?!분의|인데|인지|인가|대보험|초과|월세|세입|세금|세율|주택|주식|부동산|통장|원룸|점포|회사|시장|건물|장기|종근)"
)
_UNIT_BEGINS = "".join({re.escape(word[0]) for word in _UNITS})  # most numbers have no unit: soon said
# what may stand on a number or its unit, where both end
_BEHIND = (
    r"(?![가-힣])|(?=은|는|이|가|을|를|과|와|의|에|로|까지|부터|도|씩|정도|동안|만|마다|간|째|안|이내|전|후|뒤|뿐|보다|입니|이다"
    r"|이고|이며|예요|이에요|인)"
)
# behind a blank a word may only begin like a unit (2억 회수), or look like one with a particle on it (9억 초과)
_APART = (
    rf"(?! (?:초과|할인|평가|해도|대로|주가|주의|개인|부과|명의(?:로|의|인|를|가|이|변)))"
    rf"(?= (?:여 ?)?(?:{_UNIT_WORDS})(?:{_BEHIND}|차|짜리|쯤|가량|이상|이하|미만|초과))"
)
_UNIT = rf"(?=[ 여{_UNIT_BEGINS}])(?:(?! )|{_APART} )(?:여 ?)?(?=[{_UNIT_BEGINS}]){_NO_UNIT}({_UNIT_WORDS})(?![A-Za-z])"

# --- numerals --------------------------------------------------------------------------------

# every repeat is bounded, so that reading takes the same time whatever a text holds
_FIGURE = r"(?:\d{1,3}(?:,\d{3}){1,6}+(?!\d)|\d{1,30}+)(?:\.\d{1,30}+)?"
_DIGITS = dict(zip("영일이삼사오육칠팔구", range(10), strict=True))
_TENS = {"십": 10, "백": 100, "천": 1_000}
_MYRIADS = {"만": 10**4, "억": 10**8, "조": 10**12}
_PART = rf"{_FIGURE} ?[십백천]{{0,2}}[만억조]|{_FIGURE} ?[십백천](?:{_FIGURE} ?[십백천]){{0,3}}[만억조]?"
# behind 만, 억, 조 a word may go on that has nothing to do with them: 10조합, 5만족, 3천호동
_GOES_ON = (
    r"(?![가-힣])|(?=원|명|평|여|개|건|대|호|톤|달러|엔|인|세대|가구|은|는|이|가|을|를|과|와|의|에|로|까지|부터|도|씩|정도|짜리"
    r"|보다|만|이하|미만|초과|입니|예요|였)"
)
# 123만 4567명: what is left below 만
_REST = rf"{_FIGURE}(?= ?원)|\d(?:,?\d{{3}}|\d\d)(?= ?(?:명|개|건|대|세대|가구|톤|호))"
_AMOUNT = re.compile(
    rf"(?<!\d)(?<!\d[,.])((?:{_PART})(?: ?(?:{_PART})){{0,5}}(?: ?(?:{_REST}))?(?:{_GOES_ON}))(?:(?!(?<=[억조])인){_UNIT})?"
)
_NUMERAL_TOKEN = re.compile(rf"({_FIGURE})|([영일이삼사오육칠팔구])|([십백천])|([만억조])")


_REMEMBERED = 4096  # a text has the same few numbers again and again, and a Fraction is slow to make


@lru_cache(_REMEMBERED)
def _whole(number: int) -> Fraction:
    return Fraction(number)


@lru_cache(_REMEMBERED)
def _figure(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


@lru_cache(_REMEMBERED)
def amount(text: str) -> Fraction:
    """Return a numeral in 십, 백, 천, 만, 억 and 조 as one number: 1천5백만 is 15000000, and 2억 5천 is 250000000."""
    total = section = Fraction(0)
    number: Fraction | None = None
    myriad = smallest = 0
    for figure, digit, ten, unit in _NUMERAL_TOKEN.findall(text):
        if figure or digit:
            number = _figure(figure) if figure else Fraction(_DIGITS[digit])
        elif ten:
            section += (1 if number is None else number) * _TENS[ten]
            number, smallest = None, _TENS[ten]
        else:
            section += number or 0
            myriad = _MYRIADS[unit]
            total += (section or 1) * myriad
            section, number, smallest = Fraction(0), None, 0
    if smallest and number is None and myriad == _MYRIADS["억"]:  # so it is said of prices
        section *= _MYRIADS["만"]
    return total + section + (number or 0)


# --- words for numbers -----------------------------------------------------------------------

_NATIVE_ONES = dict(zip(_split("한 두 세 네 다섯 여섯 일곱 여덟 아홉"), range(1, 10), strict=True))
_NATIVE_TENS = dict(zip(_split("열 스물 서른 마흔 쉰 예순 일흔 여든 아흔"), range(10, 100, 10), strict=True))
_NATIVE_ONE = rf"(?:{'|'.join(_NATIVE_ONES)}|[석넉](?= ?달))"  # 석 달, but 석명 is no three people
_NATIVE_ONES |= {"석": 3, "넉": 4}
_NATIVE = rf"(?:(?:{'|'.join(_NATIVE_TENS)}){_NATIVE_ONE}?|스무|{_NATIVE_ONE})"
_NATIVE_UNITS = {
    unit: _UNITS[unit]
    for unit in _split("달 해 시간 가지 단계 명 사람 번째 번 개 곳 군데 채 살 배 차례 주 장 부 통 권 대 마리 가구 층 시")
}
_NATIVE_UNITS["분"] = ("people", Fraction(1))
# written together these make no other word (세대, 한해, 네번 are left out)
_TOGETHER = _split("달 시간 가지 명 사람 배 살 차례 군데 개월")
# 1년 반은, but 2년 반도체
_BEHIND_HALF = r"(?=[은이을과의에만도]|으로|까지|부터|동안|마다|정도|가량|쯤|째|입니|$|[^가-힣])(?!이[사상중]|의사|도체)"
_NATIVE_APART = "|".join(sorted(_NATIVE_UNITS, key=len, reverse=True))
_NATIVE_NUMBER = re.compile(
    rf"(?<![가-힣])({_NATIVE})(?: ({_NATIVE_APART})|({'|'.join(_TOGETHER)}))(?: (반){_BEHIND_HALF})?(?:{_BEHIND})"
)
# 두세 달, 사나흘: what is said of a number and the next
_PAIRS = {
    "한두": (1, 2), "두세": (2, 3), "두서너": (2, 4), "서너": (3, 4), "너덧": (4, 5), "네댓": (4, 5), "네다섯": (4, 5),
    "대여섯": (5, 6), "예닐곱": (6, 7), "일고여덟": (7, 8), "여덟아홉": (8, 9),
}  # fmt: skip
_PAIR = re.compile(rf"(?<![가-힣])({'|'.join(_PAIRS)})(?: ({_NATIVE_APART}|개월)|({'|'.join(_TOGETHER)}))(?:{_BEHIND})")
_DAYS_IN_PAIRS = {
    "하루이틀": (1, 2), "하루 이틀": (1, 2), "이삼일": (2, 3), "이삼 일": (2, 3), "사나흘": (3, 4), "삼사일": (3, 4),
    "삼사 일": (3, 4), "네댓새": (4, 5), "사오일": (4, 5), "사오 일": (4, 5),
}  # fmt: skip
_PAIR_OF_DAYS = re.compile(rf"(?<![가-힣])({'|'.join(_DAYS_IN_PAIRS)})(?:{_BEHIND})")
_SINO_UNITS = _split("원 년간 년 개월 일간 일 주일 주 시간 퍼센트 프로 명 인 세대 세 평 개 건 가구 회 배 층")
_SINO = r"(?:[일이삼사오육칠팔구]?[십백천만억조] ?){1,8}+[일이삼사오육칠팔구]?"
_SINO_NUMBER = re.compile(rf"(?<![가-힣\d])({_SINO}) ?({'|'.join(_SINO_UNITS)})(?:{_BEHIND})")
# a single syllable is a number only here: 이 년 may be "this year", and 사 일 is no 4일
_SINO_DIGIT = re.compile(
    r"(?<![가-힣\d])(?:([일이삼사오육칠팔구]) ?(개월|퍼센트)|([일삼사오육칠팔구]) ?(주일|년)|([삼오육칠팔구]) (일|주|명))"
    rf"(?:{_BEHIND})"
)
_DAYS = dict(zip(_split("하루 이틀 사흘 나흘 닷새 엿새 이레 여드레 아흐레 열흘"), range(1, 11), strict=True)) | {"보름": 15}
_WHOLE_WORDS = {
    **{word: (DURATION, Fraction(24 * days)) for word, days in _DAYS.items()},
    "일주일": (DURATION, Fraction(168)),
    "반년": (MONTHS, Fraction(6)),
    "일년": (MONTHS, Fraction(12)),
    "정오": (CLOCK, Fraction(12)),
    "반 시간": (DURATION, Fraction(1, 2)),
    "반시간": (DURATION, Fraction(1, 2)),
    "절반": (RATIO, Fraction(1, 2)),
}
_WHOLE_WORD = re.compile(rf"(?<![가-힣])({'|'.join(_WHOLE_WORDS)})(?:{_BEHIND})")

# --- dates, articles, shares -----------------------------------------------------------------

_YEAR = r"(?:[’'‘`]\d\d|(?:19|20)\d\d)"
_DATE = re.compile(
    rf"(?<![\d.,])({_YEAR}|\d\d(?=\. ?\d{{1,2}}\. ?\d{{1,2}}\.))(?: ?[./-] ?| ?년 ?)"
    r"(\d{1,2})(?: ?[./-] ?| ?월 ?)(\d{1,2})(?: ?일|\.(?!\d))?(?!\d)"
)
_DATE_IN_ONE = re.compile(
    r"(?<![\d.,-])((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?![\d,.-]{0,8}\d)(?! ?(?:원|명|개|건|주))"
)
_YEAR_ALONE = re.compile(r"(?<![\d.,])(?:([’'‘`]\d\d)(?: ?년|\.)?|((?:19|20)\d\d) ?년(?!간))(?!\d)")
_MONTH_AND_DAY = re.compile(r"(?<![\d.,])(\d{1,2})월 ?(\d{1,2})일")
_ARTICLE = re.compile(r"제 ?(\d+) ?(조|항|호|목|장|절|편|관)(?: ?의 ?(\d+))?|(?<![\d.,])(\d+)조의 ?(\d+)")
_SHARE = re.compile(
    rf"(?<![가-힣\d])({_FIGURE}[십백천만]?|[이삼사오육칠팔구십백천만]{{1,4}}) ?분의"
    rf" ?({_FIGURE}|[일이삼사오육칠팔구십]{{1,4}})"
)
# 1/4 is a share where a share can be told, and no date: 3/4(월), 1/4분기
_SLASHED = re.compile(
    r"(?<![\d.,/])(\d{1,2}) ?/ ?(10|12|20|[2-9]|100|1,?000)(?![\d/.]{0,8}\d)(?! ?분기| ?\([월화수목금토일])"
    r"(?= ?(?:이상|이하|초과|미만|씩|만큼|까지|지분|수준|정도|가량|[을를이가은는로의만도,.)]|입니|\s|$))"
)
_YEARS_AND_MONTHS = re.compile(r"(?<![\d.,])(\d{1,2}) ?년 ?(\d{1,2}) ?개월")
_HOURS_AND_MINUTES = re.compile(r"(?<![\d.,])(\d{1,2}) ?시간 ?(\d{1,2}) ?분(?!의)")
_QUARTER = re.compile(r"(?<![\d.,/])([1-4]) ?/ ?4 ?분기")
_HALVES_OF_A_DAY = "오전|오후|새벽|아침|낮|저녁|밤"
_CLOCK = re.compile(
    rf"({_HALVES_OF_A_DAY}) ?(\d{{1,2}})(?: ?시(?!간)|:([0-5]\d)(?!\d))|(?<![\d:.,])(\d{{1,2}}):([0-5]\d)(?![\d:])"
)
_CLOCK_BEGINS = re.compile(rf"(?:{_HALVES_OF_A_DAY})(?= ?\d)|\d(?<!\d\d)(?=\d?:\d)")
_HALF_MORE = re.compile(rf" 반{_BEHIND_HALF}")
_LONGEST_NUMERAL = 40  # characters; what is longer is a code, not a value
_NUMERAL = re.compile(rf"(\d[\d,.]{{{_LONGEST_NUMERAL},}}|{_FIGURE}(?!\d)|\d+)(?:{_UNIT})?")
_RANGE = re.compile(r" ?[~∼～–-] ?")  # 1~2년: what stands before the mark has the unit behind it
_POINT_OF_LINE = re.compile(  # "1.", "(1)", "**1단계:" at the start of a line
    r"\n[^\S\n]*(?:[#>*•·-]{1,6}[^\S\n]+)?(?:\*\*)?"
    r"(?:\(?\d{1,3}[.)](?=[\s가-힣])|\[\d{1,2}\](?=\s)|\d{1,2}(?=: | [-–] )|\d{1,2}단계(?=[:：.)])|"
    r"(?:단계|[Ss]tep|STEP) ?\d{1,2}(?=[:：.)]))"
)
_POINT_IN_LINE = re.compile(r"\s\(?\d{1,2}\)(?=\s)")  # "가) 집 2) 땅", but no number at the end of a bracket: (총 14)
_KEYCAP = re.compile("[0-9]\ufe0f?\u20e3")
_BRACKETS = re.compile(r"\([^()\n]{0,200}\)")


# Most places of a text begin no number, and a pattern that looks behind itself first is slow to say so. Each is tried only
# where a run of digits or a word with one of these syllables begins, and only where the text has its signs at all.
_DIGITS_BEGIN = re.compile(r"\d(?<!\d\d)")
_YEAR_BEGINS = re.compile(r"[’'‘`\d](?<!\d\d)(?=\d)")
_ARTICLE_BEGINS = re.compile(r"[제\d](?<!\d\d)(?= ?\d|\d*+조의)")
_MYRIAD_SIGN = re.compile("[십백천만억조]")


def _first_syllables(*words: str) -> re.Pattern:
    return re.compile(rf"[{''.join({word[0] for word in words})}](?<![가-힣].)")


_WHOLE_WORD_BEGINS = re.compile("|".join(_WHOLE_WORDS))
_NATIVE_BEGINS = _first_syllables(*_NATIVE_TENS, *_NATIVE_ONES)
_SINO_BEGINS = _first_syllables(*_DIGITS, *_TENS, *_MYRIADS)
_PAIR_BEGINS = re.compile("|".join(_PAIRS))
_PAIR_OF_DAYS_BEGINS = re.compile("|".join(_DAYS_IN_PAIRS))


def _starts(begins: re.Pattern, text: str) -> list[int]:
    return [match.start() for match in begins.finditer(text)]


def _matches(pattern: re.Pattern, starts: Sequence[int], text: str) -> Iterator[re.Match]:
    """Yield what pattern.finditer(text) yields, tried only at the places where it may begin."""
    match, behind = pattern.match, 0
    for start in starts:
        if start >= behind and (found := match(text, start)):
            behind = found.end()
            yield found


def quantities(text: str) -> list[Quantity]:
    """Return the quantities of a text in order, but for the numbers that count the points of a list."""
    readers = _READERS if _DIGITS_BEGIN.search(text) else _READERS_OF_WORDS
    found: list[Quantity] = []
    taken = bytearray(len(text))
    for start, end in _points_of_lists(text):
        taken[start:end] = b"\1" * (end - start)
    for reader in readers:
        new = [quantity for quantity in reader(text) if taken.find(1, quantity.start, quantity.end) < 0]
        if reader is not readers[-1]:
            for quantity in new:
                taken[quantity.start : quantity.end] = b"\1" * (quantity.end - quantity.start)
        found += new
    return _with_units_of_ranges(text, sorted(found, key=attrgetter("start", "end")))


def _points_of_lists(text: str) -> list[tuple[int, int]]:
    lines = f"\n{text}"
    found = [(match.start(), match.end() - 1) for match in _POINT_OF_LINE.finditer(lines)]
    if ")" in text:
        found += [match.span() for match in _POINT_IN_LINE.finditer(text)]
    if "\u20e3" in text:
        found += [match.span() for match in _KEYCAP.finditer(text)]
    if not found or "(" not in text:
        return found
    bracketed = bytearray(len(text))
    for match in _BRACKETS.finditer(text):
        bracketed[match.start() : match.end()] = b"\1" * len(match[0])
    return [(start, end) for start, end in found if not bracketed[end - 1] or "(" in text[start:end]]


# --- readers: each yields one kind of quantity, from the surest to the plainest --------------


def _dates(text: str) -> Iterator[Quantity]:
    years = _starts(_YEAR_BEGINS, text)
    for match in itertools.chain(_matches(_DATE, years, text), _matches(_DATE_IN_ONE, years, text)):
        year, month, day = _year(match[1]), int(match[2]), int(match[3])
        if 1 <= month <= 12 and 1 <= day <= 31:
            for number, unit, dimension, group in ((year, "년", YEAR, 1), (month, "월", MONTH, 2), (day, "일", DAY, 3)):
                end = match.end() if group == 3 else match.end(group)
                value = _whole(number)
                yield Quantity(value, unit, dimension, match.start(group), end, value)
    for match in _matches(_MONTH_AND_DAY, _starts(_DIGITS_BEGIN, text), text) if "월" in text else ():
        yield _simple(match[1], "월", MONTH, match.start(1), match.end(1) + 1)
        yield _simple(match[2], "일", DAY, match.start(2), match.end())
    for match in _matches(_YEAR_ALONE, years, text):
        value = _whole(_year(match[1] or match[2]))
        yield Quantity(value, "년", YEAR, match.start(), match.end(), value)


def _year(written: str) -> int:
    year = int(written.lstrip("’'‘`"))
    return year if year > 99 else year + (2000 if year < 70 else 1900)


def _simple(written: str, unit: str, dimension: str, start: int, end: int) -> Quantity:
    value = _figure(written)
    return Quantity(value, unit, dimension, start, end, value)


def _clocks(text: str) -> Iterator[Quantity]:
    for match in _matches(_CLOCK, _starts(_CLOCK_BEGINS, text), text):
        half, hour, minutes = match[1], int(match[2] or match[4]), match[3] or match[5]
        if hour <= 24:
            end = match.end(2 if match[2] else 4)
            unit = _half_of_the_day(half, hour)
            value = hour + 12 if unit == "오후" and hour < 12 else hour
            yield Quantity(_whole(value), unit, CLOCK, match.start(), match.end() if minutes is None else end, _whole(hour))
            if minutes and int(minutes):
                yield Quantity(Fraction(int(minutes), 60), "분", DURATION, end + 1, match.end(), _whole(int(minutes)))
            elif minutes:
                yield Quantity(_whole(value), unit, CLOCK, end, match.end(), _whole(hour))  # the 00 is no number


def _half_of_the_day(word: str | None, hour: int) -> str:
    """Return 오전 or 오후 where a word or the hour itself says so, else 시: 밤 9시 is 오후, 새벽 2시 and 밤 2시 오전."""
    if word is None:
        return "오후" if hour > 12 else "시"
    if word in ("오전", "새벽", "아침"):
        return "오전"
    return "오전" if (word == "밤" and hour < 6) or (word == "낮" and 6 <= hour < 12) else "오후"


def _articles(text: str) -> Iterator[Quantity]:
    for match in _matches(_ARTICLE, _starts(_ARTICLE_BEGINS, text), text) if "제" in text or "조의" in text else ():
        number, kind, branch = (match[1], match[2], match[3]) if match[1] else (match[4], "조", match[5])
        if len(number) <= _LONGEST_NUMERAL:
            unit = f"{kind}의{branch}" if branch else kind
            value = _figure(number)
            yield Quantity(value, unit, ARTICLE, *match.span(), value)


def _shares(text: str) -> Iterator[Quantity]:
    for match in _SHARE.finditer(text) if "분의" in text else ():
        whole, part = amount(match[1]), amount(match[2])
        if whole:
            yield Quantity(part / whole, "분의", RATIO, *match.span(), in_words=not match[1][0].isdigit())


def _slashed(text: str) -> Iterator[Quantity]:
    for match in _matches(_SLASHED, _starts(_DIGITS_BEGIN, text), text) if "/" in text else ():
        part, whole = int(match[1]), int(match[2].replace(",", ""))
        if 0 < part < whole:
            yield Quantity(Fraction(part, whole), "/", RATIO, *match.span())


def _compounds(text: str) -> Iterator[Quantity]:
    for match in _matches(_YEARS_AND_MONTHS, _starts(_DIGITS_BEGIN, text), text) if "개월" in text else ():
        yield Quantity(Fraction(12 * int(match[1]) + int(match[2])), "개월", MONTHS, *match.span())
    for match in _matches(_HOURS_AND_MINUTES, _starts(_DIGITS_BEGIN, text), text) if "시간" in text else ():
        yield Quantity(Fraction(60 * int(match[1]) + int(match[2]), 60), "시간", DURATION, *match.span())
    for match in _matches(_QUARTER, _starts(_DIGITS_BEGIN, text), text) if "분기" in text else ():
        yield Quantity(_whole(int(match[1])), "분기", "quarter", *match.span(), _whole(int(match[1])))


def _numbers_in_words(text: str) -> Iterator[Quantity]:
    for match in _matches(_WHOLE_WORD, _starts(_WHOLE_WORD_BEGINS, text), text):
        dimension, value = _WHOLE_WORDS[match[1]]
        yield Quantity(value, match[1], dimension, *match.span(), in_words=True)
    for match in _matches(_NATIVE_NUMBER, _starts(_NATIVE_BEGINS, text), text):
        unit = match[2] or match[3]
        value, dimension, number = _native_measured(match[1], unit, match[4] is not None)
        yield Quantity(value, unit, dimension, *match.span(), number, in_words=True)
    yield from _pairs_in_words(text)
    sino = _starts(_SINO_BEGINS, text)
    for match in _matches(_SINO_NUMBER, sino, text):
        numeral, unit = match[1].strip(), match[2]
        alone = len(numeral) == 1 and not (numeral in "백천만" and unit in ("원", "명") and match[1].endswith(" "))
        if not alone and not ("조" in numeral and unit != "원"):  # 만일, 천년 and 구조 are words
            yield _in_words(amount(numeral), unit, match)
    for match in _matches(_SINO_DIGIT, sino, text):
        digit, unit = (group for group in match.groups() if group)
        yield _in_words(Fraction(_DIGITS[digit]), unit, match)


def _pairs_in_words(text: str) -> Iterator[Quantity]:
    for match in _matches(_PAIR_OF_DAYS, _starts(_PAIR_OF_DAYS_BEGINS, text), text):
        for days in _DAYS_IN_PAIRS[match[1]]:
            yield Quantity(_whole(24 * days), "일", DURATION, *match.span(), _whole(days), in_words=True)
    for match in _matches(_PAIR, _starts(_PAIR_BEGINS, text), text):
        unit = match[2] or match[3]
        dimension, factor = _NATIVE_UNITS.get(unit) or _UNITS[unit]
        for number in _PAIRS[match[1]]:
            yield Quantity(number * factor, unit, dimension, *match.span(), _whole(number), in_words=True)


@lru_cache(_REMEMBERED)
def _native_measured(written: str, unit: str, and_a_half: bool) -> tuple[Fraction, str, Fraction]:
    number = Fraction(_native(written)) + (Fraction(1, 2) if and_a_half else 0)
    dimension, factor = _NATIVE_UNITS.get(unit) or _UNITS[unit]
    return number * factor, dimension, number


def _native(written: str) -> int:
    if written == "스무":
        return 20
    ten = next((word for word in _NATIVE_TENS if written.startswith(word)), "")
    return _NATIVE_TENS.get(ten, 0) + _NATIVE_ONES.get(written[len(ten) :], 0)


def _in_words(number: Fraction, unit: str, match: re.Match) -> Quantity:
    dimension, factor = _UNITS[unit]
    if unit == "년" and 1900 <= number <= 2100:
        dimension, factor = YEAR, Fraction(1)
    return Quantity(number * factor, unit, dimension, *match.span(), number, in_words=True)


def _amounts(text: str) -> Iterator[Quantity]:
    for match in _matches(_AMOUNT, _starts(_DIGITS_BEGIN, text), text) if _MYRIAD_SIGN.search(text) else ():
        yield _with_unit(text, match)


def _plain_numbers(text: str) -> Iterator[Quantity]:
    for match in _matches(_NUMERAL, _starts(_DIGITS_BEGIN, text), text):
        if len(match[1]) > _LONGEST_NUMERAL:
            yield Quantity(Fraction(0), match[1], "code", *match.span(1))
        else:
            yield _with_unit(text, match)


def _with_unit(text: str, match: re.Match) -> Quantity:
    numeral, unit = match.groups("")
    start, end = match.span()
    half = _HALF_MORE.match(text, end) if unit and _UNITS[unit][0] in (MONTHS, DURATION) else None
    if half:
        end = half.end()
    value, unit, dimension, figure = _measured(numeral, unit, half is not None)
    return Quantity(value, unit, dimension, start, end, figure)


@lru_cache(_REMEMBERED)
def _measured(numeral: str, unit: str, and_a_half: bool) -> tuple[Fraction, str, str, Fraction | None]:
    """Return the value of a numeral with its unit, the unit, its dimension, and the figure where there is one alone."""
    figures = re.findall(_FIGURE, numeral)
    figure = _figure(figures[0]) if len(figures) == 1 and not and_a_half else None  # 5 in 5천만
    number = amount(numeral) + (Fraction(1, 2) if and_a_half else 0)
    if not unit:
        return number, numeral[-1] if numeral[-1] in "조천백" else "", NUMBER, figure
    dimension, factor = _UNITS[unit]
    return number * factor, unit, dimension, figure


_READERS = (_dates, _clocks, _articles, _shares, _slashed, _compounds, _numbers_in_words, _amounts, _plain_numbers)
_READERS_OF_WORDS = (_shares, _numbers_in_words)


def _with_units_of_ranges(text: str, found: list[Quantity]) -> list[Quantity]:
    for place in range(len(found) - 2, -1, -1):
        one, following = found[place], found[place + 1]
        if one.dimension != NUMBER or one.unit or following.dimension == NUMBER or following.numeral is None:
            continue
        if following.start - one.end <= 3 and _RANGE.fullmatch(text, one.end, following.start):
            factor = following.value / following.numeral if following.numeral else Fraction(0)
            dimension, unit = following.dimension, following.unit
            if _MYRIAD_SIGN.search(text, one.start, one.end):  # 1억~2억 원: the myriad is in both, the unit in one
                factor = _UNITS[unit][1]
            found[place] = Quantity(one.value * factor, unit, dimension, one.start, one.end, one.numeral)
    return found


# --- what is one quantity --------------------------------------------------------------------

Key = tuple[str | Fraction, ...]


def exact_key(quantity: Quantity) -> Key:
    """Return what a quantity is: equal for two of one dimension and value, however they are written."""
    if quantity.dimension in (ARTICLE, "code"):
        return quantity.dimension, quantity.unit, quantity.value
    if quantity.dimension == CLOCK and (
        quantity.unit not in ("시", "정오") or quantity.value > 12
    ):  # 오후 2시 is 14시, and not 오전 2시
        return quantity.dimension, "오전" if quantity.unit == "오전" else "오후", quantity.value
    return quantity.dimension, quantity.value


def loose_keys(quantity: Quantity) -> frozenset[Key]:
    """Return what a quantity may be called as well: 3명 is the 3 of a table, and 600원 its 600."""
    keys = {exact_key(quantity)}
    if quantity.numeral is not None and quantity.dimension != NUMBER:
        keys.add((NUMBER, quantity.numeral))
    if quantity.dimension == MONEY:
        keys.add((NUMBER, quantity.value))
    if quantity.dimension in COUNTS:
        keys |= {(count, quantity.value) for count in (COUNTS if quantity.dimension == THING else {THING})}
    if quantity.dimension == DURATION and quantity.unit == "일" and quantity.numeral is not None:
        keys.add((DAY, quantity.numeral))
    if quantity.dimension == CLOCK and quantity.numeral is not None:
        keys |= {(CLOCK, quantity.numeral), (CLOCK, quantity.value % 12)}
    if quantity.dimension == RATIO and quantity.value < 1:  # 25% of a table may be 0.25
        keys.add((NUMBER, quantity.value))
    if quantity.dimension == YEAR:  # 24년 may be 2024
        keys.add((MONTHS, quantity.value % 100 * 12))
    if quantity.dimension == NUMBER and quantity.unit == "조" and quantity.numeral is not None:  # 3조 may be an article
        keys.add((ARTICLE, "조", quantity.numeral))
    if quantity.dimension == NUMBER and quantity.unit in ("천", "백"):  # 연봉 9천: 9천만 원
        keys.add((MONEY, quantity.value * 10**4))
    return frozenset(keys)


def is_same(one: Quantity, other: Quantity) -> bool:
    """Return whether two quantities may be one; a number without a unit is any that is written with its figures."""
    return exact_key(one) in loose_keys(other) or exact_key(other) in loose_keys(one)


Way = tuple[str, str, str, Fraction | None]


def way_of_writing(quantity: Quantity, text: str) -> Way:
    """Return how a quantity is written: its letters, dimension, unit and numeral (두세 달 is written once, and is two)."""
    return text[quantity.start : quantity.end], quantity.dimension, quantity.unit, quantity.numeral


def different(found: Sequence[Quantity], text: str) -> dict[Way, Quantity]:
    """Return one quantity of each way of writing."""
    return {way_of_writing(one, text): one for one in found}
