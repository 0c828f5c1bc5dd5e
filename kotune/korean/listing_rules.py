"""The baseline of the listings job: regular expressions, as a good engineer writes them in an afternoon.

`listing_by_rules` was tuned on the training texts alone, by reading its errors there three times. It needs no model and
is fast; it fails where words are misspelt, where another offer stands beside the one that counts, and on phrases nobody
foresaw.
"""

from __future__ import annotations

import re

from prompts import Deal, HouseKind, ListingRecord

# --- amounts ---------------------------------------------------------------------------------

_SINO = {name: digit for digit, name in enumerate("영일이삼사오육칠팔구")}
_UNITS = {"천": 1000, "백": 100, "십": 10}
_PARTICLE = "(?!고|구|에|예|었|면|라|요|며|니|지)"  # what follows 이 where it is no 2: 오백이고
_WORD = rf"(?:[일삼사오육칠팔구십백천]|이{_PARTICLE})"
# every repeat is bounded: a row of digits or of 일이삼 that never ends would be tried from each of its places to its end
_FIGURE = r"\d[\d,]{0,14}+"
_IN_DIGITS = (
    rf"{_FIGURE}(?:\.\d{{1,6}}+)?(?:억(?:\s?{_FIGURE}(?![\d,]{{0,15}}\s?(?:층|평|분|/|월))(?:천(?:\d백)?|백)?)?|천(?:\d백)?|백)?"
    r"(?:\s?만)?(?:\s?\d천)?(?:\s?원)?"
)
_IN_WORDS = rf"{_WORD}{{1,12}}+억?{_WORD}{{0,12}}+(?:만(?:{_WORD}천)?)?원?"
AMOUNT = rf"(?:{_IN_DIGITS}|{_IN_WORDS})"
_LONGEST_AMOUNT = 40  # characters


def amount_of(text: str) -> int | float | None:
    """Return the amount in 만원 that a text is (3억5천, 3.5억, 35,000, 350,000,000원, 삼억오천, 7만5천원), or None."""
    bare = re.sub(r"[\s,]", "", text)
    if len(bare) > _LONGEST_AMOUNT:
        return None
    if re.fullmatch(r"\d{4,}원", bare):
        return _whole(int(bare[:-1]) / 10_000)
    match = re.fullmatch(r"(?:(.+)억)?([^억만]*?)(만)?(?:(.)천)?원?", bare)
    if bare == "" or match is None:
        return None
    eok, low, man, thousands_of_won = match.groups()
    if thousands_of_won and not man:  # 5천 is 5000만, and the 5천 after 만 is half a 만
        low, thousands_of_won = f"{low}{thousands_of_won}천", None
    parts = [_number(part) if part else 0 for part in (eok, low, thousands_of_won)]
    read = [part for part in parts if part is not None]
    if len(read) < len(parts) or not (eok or low):
        return None
    return _whole(read[0] * 10_000 + read[1] + read[2] / 10)


def _number(text: str) -> float | None:
    """Return a number in digits, in words or in both: 350, 1천5백, 천오백, 3.5."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    total = 0.0
    for digits, unit in re.findall(r"(\d+|[영일이삼사오육칠팔구])?([천백십])?", text):
        if digits or unit:
            total += float(_SINO.get(digits, digits) if digits else 1) * _UNITS.get(unit, 1)
    return total if re.fullmatch(r"[\d영일이삼사오육칠팔구천백십]+", text) else None


def _whole(amount: float) -> int | float:
    amount = round(amount, 1)
    return int(amount) if amount.is_integer() else amount


# --- the text made plainer -------------------------------------------------------------------

_MISSPELT = {  # the words that everything hangs on, with a wrong syllable
    "보증금": "보[가-힣]금|보증[가-힣]|보증 금",
    "관리비": "관[가-힣]비|관리[가-힣]|관리 비",
    "화장실": "화[가-힣]실|화장[가-힣]",
    "월세": "월새|웧세|원세|얼세",
    "전세": "전새|젼세",
    "매매": "매메|메매",
    "입주": "임주|입즈|입쥬",
    "욕실": "역실|요실|욕[신슬]",
}
_NATIVE = {"한": 1, "두": 2, "세": 3, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9}
_NATIVE_TENS = {"열": 10, "스물": 20, "스무": 20, "서른": 30, "마흔": 40, "쉰": 50}
_PYEONG_IN_WORDS = re.compile(rf"(?<![가-힣])({'|'.join(_NATIVE_TENS)})?({'|'.join(_NATIVE)})?(?=\s?평)")
_FLOOR_IN_WORDS = re.compile(r"([일이삼사오육칠팔구십]{1,9})(?=층)")
_PAIR = rf"{AMOUNT}\s?(?:/|에)\s?{AMOUNT}"
_GIVEN_UP = (  # what stands behind an amount that is not asked any more
    r"→|->|였는데|이었는데|받던 건데 지금은|인데 급매로|에 내놨다가|에 샀는데|하던 거|받으려다가|주고 산 집인데 급해서"
    r"|(?:이|가)?\s?(?:아니라|아니고|아님|정정|아 아니|아니)|나감|계약완료|\(완료\)|(?:짜리는?|방은|하던 방은) 나갔고"
)
_BEFORE = re.compile(rf"(?:{_PAIR}|{AMOUNT})\s?(?:{_GIVEN_UP}|에서(?=\s?{AMOUNT}\s?(?:으로|로|$|,|\s)))")
_OTHERS = re.compile(  # amounts of other things and of other houses, and what else belongs to them
    r"(?:융자금?|대출|권리금?|청소비|주차비|복비|가스비|실거래가?|실입주금|실투자금|시세|옆\s?\S{0,4}\s?\S{0,5}"
    r"|같은 건물 다른 방|세입자가?|세안고|현 임대|현재|새로 지은 데|월세 전환|분양가)"
    rf"[은는:이 ]{{0,3}}(?:보증금 )?{AMOUNT}(?:\s?[/에]\s?{AMOUNT})?|{AMOUNT} (?:들여|대출|냈)"
    r"|(?:주인|주인 세대)(?:은|이|는)?\s?\d{1,2}층|\d{1,2}층(?:이 아니라|은 나갔고|에 PC방|까지)|난방비?[은는]?\s?\d+만"
    r"|방\s?\d개?(?=를|였|이었|인데|→)|[가-힣]{1,3}동\s?(?=말고|옆|바로 옆|[과와] 붙)"
)


def _plain(text: str) -> str:
    """Return a text with floors and 평 in digits, and without the amounts of other things and of earlier times."""
    for word, misspelt in _MISSPELT.items():
        text = re.sub(misspelt, word, text)
    text = _PYEONG_IN_WORDS.sub(
        lambda match: str(_NATIVE_TENS.get(match[1], 0) + _NATIVE.get(match[2], 0)) if match[0] else "", text
    )
    text = _FLOOR_IN_WORDS.sub(lambda match: f"{_number(match[1]):.0f}", text)
    return _OTHERS.sub(" ", _BEFORE.sub(" ", text))


# --- the offer -------------------------------------------------------------------------------

_DEPOSIT = r"(?:임대)?보증금(?:은|:)?"
_PAIRS = [  # deposit and rent; the named groups may stand in either order
    re.compile(pattern)
    for pattern in (
        rf"{_DEPOSIT}\s*(?P<deposit>{AMOUNT})\D{{0,8}}?(?:월세|월|다달이|한 달)(?:는|가|:)?\s*(?P<rent>{AMOUNT})",
        rf"(?:월세|월|매달)(?:는|가)?\s*(?P<rent>{AMOUNT})(?:씩)?[^\d/]{{0,14}}?{_DEPOSIT}\s*(?P<deposit>{AMOUNT})",
        rf"보\s?(?P<deposit>{AMOUNT})\s?월\s?(?P<rent>{AMOUNT})",
        rf"(?P<deposit>{AMOUNT})\s?(?:/|에|-)\s?(?:월세\s?)?(?P<rent>{AMOUNT})(?!층|\d|일|년|대)",
    )
]
_NO_DEPOSIT = re.compile(rf"(?:무보증|보증금\s?(?:X|없|은 안 받))\D{{0,12}}?(?P<rent>{AMOUNT})")
_ONE_AMOUNT = {
    "전세": re.compile(rf"(?:전세(?:금|가|보증금)?|전)\s?(?:은|:|로)?\s*(?P<a>{AMOUNT})|(?P<b>{AMOUNT})(?:에)?\s?전세"),
    "매매": re.compile(
        rf"(?:매매(?:가|금액)?|매도가|희망가|급매|매)\s?(?:는|은|:|로)?\s*(?P<a>{AMOUNT})"
        rf"|(?P<b>{AMOUNT})(?:에)?\s?(?:매매|팝|팔아|팔려|파는|팔게|내놨)"
    ),
}
_VAGUE = re.compile(r"\s?(?:초반|중반|후반|대)")
_DEALS: dict[Deal, str] = {
    "단기": r"단기", "매매": rf"매매|급매|팝니다|팔아|팔려|파는|매도|(?<![가-힣])매\s?{AMOUNT}",
    "전세": rf"(?<!반)전세(?!대출)|(?<![가-힣])전\s?{AMOUNT}", "월세": "반전세|월세|임대|무보증|보증금",
}  # fmt: skip


def _deal(text: str) -> Deal | None:
    if "단기" in text and not re.search("단기도|단기 가능", text):
        return "단기"
    found = [(match.start(), deal) for deal, pattern in _DEALS.items() if (match := re.search(pattern, text))]
    return min(found)[1] if found else "월세" if _PAIRS[-1].search(text) else None


def _money(text: str, deal: Deal | None) -> dict[str, int | float | None]:
    """Return deposit, rent and price, as far as the deal has them."""
    if deal in ("전세", "매매"):
        found = _ONE_AMOUNT[deal].search(text)
        if found is None or _VAGUE.match(text, found.end()):
            return {}
        return {"deposit" if deal == "전세" else "price": amount_of(found["a"] or found["b"])}
    match = _NO_DEPOSIT.search(text)
    if match:
        return {"deposit": 0, "rent": amount_of(match["rent"])}
    match = next((match for pattern in _PAIRS if (match := pattern.search(text))), None)
    return {name: amount_of(match[name]) for name in ("deposit", "rent")} if match else {}


# --- the house -------------------------------------------------------------------------------

_KINDS: dict[HouseKind, str] = {  # the building first
    "아파트": "아파트|APT",
    "오피스텔": r"오피스텔|오피(?!스)",
    "빌라": "빌라|다세대|연립",
    "다가구": "다가구",
    "상가": "상가|점포|가게",
    "단독주택": "단독|전원주택|주택",
    "사무실": "사무실|오피스(?!텔)",
    "원룸": r"원룸|1\.5룸",
    "투룸": "투룸|2룸",
    "쓰리룸": "쓰리룸|3룸",
}
_ROOMS_OF: dict[HouseKind, int] = {"원룸": 1, "투룸": 2, "쓰리룸": 3}
_CITY = (
    r"(경기도?(?=\s?[가-힣]{2}시))?\s?"
    r"((?:서울|부산(?!진구)|대구|인천|대전|광주|울산|세종|수원|성남|고양|청주|김포|원주|강릉)(?:특별시|시)?)?"
)
_PLACE = re.compile(rf"{_CITY}\s?([가-힣]{{1,4}}구(?!합))?\s?([가-힣]{{1,3}}동(?![물네반구]))?")
_NO_PLACE = re.compile("매매|월세|전세|급매|임대|추천|운동|단기|직거래|급|쪽")
_UNIT = r"(?:평|㎡|m2|m²|제곱미터|헤베)"
_NUMBER_OF_AREA = r"(\d{1,3}(?:\.\d{1,2})?)"
_NOT_OWN = "".join(
    f"(?<!{words})"
    for words in ("공급", "공급 ", "분양", "분양 ", "분양은 ", "분양평수 ", "면적 ", "대지", "대지는 ", "면적은 ", "평수로 ")
)
_AREA = [
    re.compile(pattern)
    for pattern in (
        rf"(?:전용(?:면적)?|실평수?|실면적|실제로는|실)(?:은|이|는|로|:)?\s*{_NUMBER_OF_AREA}\s?({_UNIT})",
        rf"{_NOT_OWN}(?<![\d.]){_NUMBER_OF_AREA}\s?({_UNIT})",
    )
]
_N = r"(?<![\d,])(\d{1,2})"
_FLOORS = [
    (re.compile(pattern), form)
    for pattern, form in (
        (rf"{_N}\s?층?\s?/\s?(\d{{1,2}})\s?층", "{0}/{1}"),
        (r"해당층/총층: (\d{1,2})/(\d{1,2})", "{0}/{1}"),
        (rf"{_N}층\s?(?:건물\s?)?(?:중에?|의|에)\s?(\d{{1,2}})층(?!\s?에?\s?(?:편의점|카페|슈퍼))", "{1}/{0}"),
        (rf"{_N}층\s?\(총\s?(\d{{1,2}})층\)", "{0}/{1}"),
        (rf"{_N}층\s?(?:건물의|건물에|중에?|에서)\s?(저층|중층|고층|탑층)", "{1}/{0}"),
        (r"(저층|중층|고층|탑층)/(\d{1,2})층", "{0}/{1}"),
        (r"(반지하|옥탑|저층|중층|고층|탑층)", "{0}"),
        (r"지하\s?1층|B1", "지하1"),
        (rf"(?<!총)(?<!총 )(?<!총층수 ){_N}층(?!\s?(?:건물|짜리|에?\s?편의점|에?\s?카페|에?\s?슈퍼))", "{0}"),
    )
]
_COUNTS = {"하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "넷": 4, "네": 4, "다섯": 5}
_COUNT = r"(\d|하나|한|두|세|네|다섯)"
_ROOMS = re.compile(rf"(?:(?<!난)방|룸|구조: 방)(?:은|이|:|/욕실:|수/욕실수 :| 개수)?\s?{_COUNT}|(\d)룸\s?\d욕")
_BATHROOMS = re.compile(rf"(?:화장실|욕실|화|욕)(?:은|이|:)?\s?{_COUNT}|룸\s?(\d)욕|방/욕실: \d/(\d)|욕실수 : \d개/(\d)")
_MAINTENANCE = re.compile(rf"관(?:리비)?(?:는|가|:| :)?\s?(?:월\s?)?(?P<amount>{AMOUNT})(?!\s?[~에]\s?\d)")
_NO_MAINTENANCE = re.compile(
    r"관리비\S{0,3}\s?(?:X|무|없|0원|포함|안 받|따로 없|따로 받지|까지|월세에|월세포함)|월세에 관리비"
)
_PETS = "(?:반려동물|반려묘|애견|애완동물|애완|펫|동물|강아지|고양이|댕댕이|멍멍이|소형견)"
_REFUSED = re.compile(
    _PETS + r"[^\n./]{0,14}?(?:불가|X|사절|안 ?[돼되됩]|죄송|받지|어렵|힘들|없는 분|못 ?키|못합|NO|금지|들이지|싫)"
)
_ALLOWED = re.compile(_PETS + r"[^\n./]{0,14}?(?:가능|OK|됩|돼|환영|괜찮|상관|동반|살 수)")
_ALLOWED_IN_PART = re.compile(r"(?:고양이|냥이|소형견)(?:는|만|은)?\s?(?:O|가능|됩|돼|된|괜찮)|이제 가능|대형견만|큰 개만")
_OPEN = re.compile(_PETS + r"[^\n./]{0,10}?(?:문의|협의|상의|물어)")
_NOW = re.compile(r"즉시\s?입주|즉입|즉시|공실|바로\s?(?:입주|들어)|비어|당장|언제든|내일이라도|입주는 바로")
_AGREED = re.compile(r"(?:입주|날짜)\S{0,4}\s?:?\s?(?:날짜는?\s?)?(?:상호 ?|서로 ?)?(?:날짜 ?)?(?:협의|조율|맞춰)")
_DAY = (
    r"(?:(?P<year>20\d\d|2\d)(?:년\s?|\.))?(?<!\d)(?P<month>1[0-2]|0?[1-9])"
    r"(?:월\s?(?:(?P<day>\d{1,2})일)?|[/.](?P<other_day>\d{1,2})(?!\d|억|층|평))"
)
_DATES = [
    re.compile(_DAY + r"\s?(?:초순?|중순|말경?)?\s?(?:쯤|에|부터|이후|이면|로|\s)*(?:입주|이후|집이|이사|들어|되고|부터)"),
    re.compile(r"(?:입주|입주가능일|입주일)\s?(?:는|:)?\s?" + _DAY),
]


def listing_by_rules(text: str) -> ListingRecord:
    """Return the record that the rules read in an advertisement."""
    plain = _plain(text)
    deal = _deal(plain)
    money = _money(plain, deal)
    return ListingRecord(
        deal=deal,
        kind=_kind(plain),
        place=_place(plain),
        deposit=_integer(money.get("deposit")),
        rent=_integer(money.get("rent")),
        price=_integer(money.get("price")),
        area=_area(plain),
        floor=_floor(plain),
        rooms=_rooms(plain),
        bathrooms=_count(_BATHROOMS, plain),
        maintenance=_maintenance(plain),
        pets=_pets(plain),
        available=_available(plain),
    )


def _integer(amount: int | float | None) -> int | None:
    return amount if isinstance(amount, int) else None


def _kind(text: str) -> HouseKind | None:
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, text)), None)


def _place(text: str) -> str | None:
    for match in _PLACE.finditer(_NO_PLACE.sub(" ", text)):
        if match[3] or match[4]:
            return " ".join(part for part in match.groups() if part)
    return None


def _area(text: str) -> str | None:
    match = next((match for pattern in _AREA if (match := pattern.search(text))), None)
    return f"{match[1]}{'평' if match[2] == '평' else '㎡'}" if match else None


def _floor(text: str) -> str | None:
    for pattern, form in _FLOORS:
        match = pattern.search(text)
        if match:
            return form.format(*match.groups())
    return None


def _rooms(text: str) -> int | None:
    for kind, rooms in _ROOMS_OF.items():
        if re.search(_KINDS[kind], text):
            return rooms
    return _count(_ROOMS, text)


def _count(pattern: re.Pattern, text: str) -> int | None:
    match = pattern.search(text)
    found = next((group for group in match.groups() if group), None) if match else None
    return None if found is None else _COUNTS.get(found) or int(found)


def _maintenance(text: str) -> int | float | None:
    if _NO_MAINTENANCE.search(text):
        return 0
    match = _MAINTENANCE.search(text)
    return amount_of(match["amount"]) if match else None


def _pets(text: str) -> bool | None:
    if _ALLOWED_IN_PART.search(text) and not re.search("가능하냐|되냐", text):
        return True
    if _REFUSED.search(text):
        return False
    return True if _ALLOWED.search(text) and not _OPEN.search(text) else None


def _available(text: str) -> str | None:
    match = next((match for pattern in _DATES if (match := pattern.search(text))), None)
    if match:
        day = match["day"] or match["other_day"]
        parts = [f"20{match['year'][-2:]}" if match["year"] else "", f"{int(match['month']):02}"]
        parts.append(f"{int(day):02}" if day and 1 <= int(day) <= 31 else "")
        return "-".join(part for part in parts if part)
    if re.search("즉시 입주는 어렵|바로는 안", text):
        return "협의"
    return "즉시" if _NOW.search(text) else "협의" if _AGREED.search(text) else None
