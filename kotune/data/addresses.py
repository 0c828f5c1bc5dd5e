"""Addresses of a building in Korean text: a city, county or district that there is, then a road or quarter with its number.

The name of a place alone ("강남구의 아파트") is no address. Names are checked against the list of cities, counties and
districts, so that "계약 시 추가로 3" is none either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# The cities (시), counties (군) and districts (구) of South Korea, without the last syllable, as of 2024.
_CITIES = """
가평 강릉 거제 경산 경주 계룡 고양 공주 과천 광명 광양 광주 구리 구미 군산 군포 김제 김천 김포 김해 나주 남양주 남원
논산 당진 동두천 동해 목포 문경 밀양 보령 부천 사천 삼척 상주 서귀포 서산 성남 세종 속초 수원 순천 시흥 아산 안동 안산
안성 안양 양산 양주 여수 여주 영주 영천 오산 용인 원주 의왕 의정부 이천 익산 전주 정읍 제주 제천 진주 창원 천안 청주
춘천 충주 태백 통영 파주 평택 포천 포항 하남 화성 서울 부산 대구 인천 대전 울산
"""
_COUNTIES = """
가평 강진 강화 거창 고령 고성 고창 고흥 곡성 괴산 구례 군위 금산 기장 남해 단양 달성 담양 무안 무주 보성 보은 봉화
부안 부여 산청 서천 성주 순창 신안 양구 양양 양평 연천 영광 영덕 영동 영암 영양 영월 예산 예천 옥천 옹진 완도 완주
울릉 울주 울진 음성 의령 의성 인제 임실 장성 장수 장흥 정선 증평 진도 진안 진천 창녕 철원 청도 청송 청양 칠곡 태안
평창 하동 함안 함양 함평 합천 해남 홍성 홍천 화순 화천 횡성
"""
_DISTRICTS = """
강남 강동 강북 강서 관악 광진 구로 금천 노원 도봉 동대문 동작 마포 서대문 서초 성동 성북 송파 양천 영등포 용산 은평
종로 중 중랑 금정 남 동 동래 부산진 북 사상 사하 서 수영 연제 영도 해운대 달서 수성 계양 남동 미추홀 부평 연수 광산
대덕 유성 장안 권선 팔달 영통 수정 중원 분당 만안 동안 상록 단원 덕양 일산동 일산서 처인 기흥 수지 상당 서원 흥덕 청원
동남 서북 완산 덕진 의창 성산 마산합포 마산회원 진해 원미 소사 오정
"""
_PROVINCES = "경기 강원 충북 충남 전북 전남 경북 경남 충청북 충청남 전라북 전라남 경상북 경상남 제주"
_METROPOLES = "서울 부산 대구 인천 광주 대전 울산 세종"


def _names(stems: str, *suffixes: str) -> set[str]:
    return {stem + suffix for stem in stems.split() for suffix in suffixes}


CITIES, DISTRICTS = tuple(_CITIES.split()), tuple(_DISTRICTS.split())  # without 시 and 구
_AREAS = (
    _names(_CITIES, "시")
    | _names(_COUNTIES, "군")
    | _names(_DISTRICTS, "구")
    | _names(_METROPOLES, "특별시", "광역시", "특별자치시")
)
_ABOVE = _AREAS | _names(_PROVINCES, "", "도", "특별자치도") | set(_METROPOLES.split())

# a number of a building, not of years, households or a share
_UNIT = (
    r"년|월|일|%|퍼센트|만|억|천|조|개|명|세대|가구|평|㎡|제곱|구역|단지|차|건|호선|배|위|곳|채|주|회|번째|분|시간|시|원|"
    r"층|인 ?(?:가구|용|실|이)|km|m\b"
)
# 황금동 2룸: no number of a building has another noun on it
_ENDS = r"(?![가-힣])|(?=번지|호|층|동|에|의|은|는|이|으?로|입니|인|을|를|과|와|도|까지|부터|예요)"
_NUMBER = (  # 성수동2가 is a quarter
    rf"(?:지하 ?|산 ?)?[0-9]{{1,4}}(?:-[0-9]{{1,4}})?(?![0-9-]|\.[0-9])(?!가)(?! ?(?:{_UNIT}))(?:{_ENDS})"
)
_ROAD = r"[가-힣A-Za-z][가-힣A-Za-z0-9·]{0,12}(?:로|길)(?: [0-9]{1,4}번길)?"
_QUARTER = r"[가-힣][가-힣0-9]{0,6}[동리가]"
# what may follow: the quarter in brackets, the house, the floor
_REST = (
    r"(?: ?번지)?(?:,? ?\([가-힣0-9, ]{2,20}\))?(?:,? ?(?:[가-힣A-Za-z0-9]{1,12} )?(?:[0-9A-Za-z가-힣]{1,4}동 ?)?"
    r"[0-9]{1,4}호(?!선)|,? ?(?:지하 ?)?[0-9]{1,2}층)?"
)
_PLACE = rf"(?:[가-힣]{{1,6}}[구읍면동리] ?){{0,3}}(?:{_ROAD}|{_QUARTER}) ?{_NUMBER}{_REST}"
_AFTER_AREA = re.compile(rf"[시군구] {_PLACE}")
_CITY_ROAD = r"(?:서울|부산|대구|인천|광주|대전|울산) [가-힣]{1,10}(?:대로|로[0-9]{1,3}번?길)"
_AFTER_CITY = re.compile(  # 세종 has no districts; in the others a road is told by its own name
    rf"(?<![가-힣])(?:세종 {_ROAD}|{_CITY_ROAD}) ?{_NUMBER}{_REST}"
)
_AFTER_LABEL = re.compile(rf"(?:주소|거주지|자택|사는 곳)(?:[은는이가:]| ){{0,3}}({_PLACE})")
_LOT = re.compile(r"[동리가로] ?[0-9]{1,4}(?:-[0-9]{1,4})?번지")


def find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of every address in a text; where two overlap, both."""
    behind = 0
    while match := _AFTER_AREA.search(text, behind):
        behind = match.start() + 1  # in 대구 중구 the first 구 is of no district, and the second is
        area = _word_before(text, behind)
        if text[area:behind] in _AREAS:
            yield _with_province(text, area), match.end()
            behind = match.end()
    for match in _AFTER_CITY.finditer(text):
        yield match.span()
    for match in _AFTER_LABEL.finditer(text):
        yield match.span(1)
    for match in _LOT.finditer(text):
        start = _word_before(text, match.start() + 1)
        if match.start() - start >= 1:  # a quarter has a name: not "1동 123번지"
            yield start, match.end()


def _word_before(text: str, end: int) -> int:
    """Return where the Hangul word that ends here begins, at most ten characters before."""
    start = end
    while start > max(0, end - 10) and "가" <= text[start - 1] <= "힣":
        start -= 1
    return start


def _with_province(text: str, start: int) -> int:
    """Return where the address begins: at its area, or at the city above it and the province above that."""
    for _ in range(2):
        if not text.startswith(" ", start - 1):
            break
        above = _word_before(text, start - 1)
        if text[above : start - 1] not in _ABOVE:
            break
        start = above
    return start
