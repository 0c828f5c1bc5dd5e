"""Personal data in Korean text, found by its form: numbers of persons, phones, e-mails, accounts, cards, plates, addresses.

A scan by form finds what is written in the usual ways, and now and then a number that only looks so. It is a net for
mistakes, no proof that a text holds no personal data: names are not looked for. How sure it is stands in
docs/korean_checks.md.

How a text is read: full-width characters, dashes of any kind, decomposed Hangul and invisible characters count as what
they show. A number that could be several things is what the nearest word before it says: an account after a bank or
계좌, nobody's number after 법인 (a company's). Time grows with the length of the text, whatever it holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from kotune.data.addresses import find_addresses
from utils import write_jsonl


@dataclass(frozen=True)
class Finding:
    """What looks like personal data: its kind, and where it stands in the text."""

    kind: str
    start: int
    end: int
    value: str = field(repr=False)

    @property
    def covered(self) -> str:
        """Return the text found with all but its ends covered, to be shown."""
        return self.value[:2] + re.sub(r"[^\W_]", "*", self.value[2:-2]) + self.value[-2:]


# --- a text as it reads ----------------------------------------------------------------------

_DASHES = "‐‑‒–—―−﹘﹣ㅡ"
_LOOKS_LIKE = str.maketrans(
    {chr(0xFF01 + place): chr(0x21 + place) for place in range(94)}  # full width
    | dict.fromkeys(_DASHES, "-")
    | dict.fromkeys("\t\u00a0\u2002\u2003\u2007\u2009\u202f\u3000", " ")
)
# invisible characters, and syllables in decomposed jamo
_CLUSTER = re.compile("[\u00ad\u200b-\u200f\u2060\ufe0f\ufeff]|[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?")


@dataclass(frozen=True)
class _Reading:
    """A text as a reader sees it, and where each of its characters stands in the original."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        return self.starts[start], self.ends[end - 1]


def _read(text: str) -> _Reading:
    if text.isascii() or not _CLUSTER.search(text):
        return _Reading(text.translate(_LOOKS_LIKE), range(len(text)), range(1, len(text) + 1))
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _CLUSTER.finditer(text):
        begin, end = match.span()
        pieces.append(text[done:begin])
        starts.extend(range(done, begin))
        ends.extend(range(done + 1, begin + 1))
        if match[0] >= "\u1100" and match[0] < "\u1200":
            pieces.append(unicodedata.normalize("NFC", match[0]))
            starts.append(begin)
            ends.append(end)
        done = end
    pieces.append(text[done:])
    starts.extend(range(done, len(text)))
    ends.extend(range(done + 1, len(text) + 1))
    return _Reading("".join(pieces).translate(_LOOKS_LIKE), starts, ends)


# --- what stands around a number -------------------------------------------------------------

_LABEL_WORDS = {
    "account": "은행 뱅크 계좌 통장 농협 수협 신협 새마을금고 우체국 예금주 송금",
    "card": "카드",
    "passport": "여권 passport Passport PASSPORT",
    "licence": "면허",
    "business": "사업자",
    "corporate": "법인 등기번호",
    "resident": "주민 외국인등록 생년",
    "plate": "차량 자동차 번호판 차번호",
    "other": "전화 팩스 상담 고객센터 콜센터 문의 접수 사건 심사 신청 관리번호 고유번호 우편 운송장 주문 승인번호",
}
_LABEL_OF = {word: label for label, words in _LABEL_WORDS.items() for word in words.split()}
_LABELS = re.compile("|".join(_LABEL_OF))
_REACH = 24  # characters before a number in which a word may say what it is


def _before(text: str, start: int) -> str:
    """Return what stands in the same line before a place, as far as a label reaches."""
    return text[max(0, start - _REACH) : start].rpartition("\n")[2]


@lru_cache(maxsize=4096)
def _label_in(before: str) -> str | None:
    words = _LABELS.findall(before)
    return _LABEL_OF[words[-1]] if words else None


def _label(text: str, start: int) -> str | None:
    """Return what the nearest word before a number calls it."""
    return _label_in(_before(text, start))


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Return whether a number is no part of a longer one, of a code with dashes, or of a decimal."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    joints = "-" if "-" in text[start:end] else "-."
    if before[-1:].isdecimal() or (before[-1:] in joints and before[-1:] and before[:-1].isdecimal()):
        return False
    # a code of letters and digits may go on with a letter
    return not (after[:1].isdecimal() or (after[:1] in joints and after[1:].isascii() and after[1:].isalnum()))


_DATE = re.compile(
    r"(?:19|20)[0-9]{2}(?:-(?:0?[1-9]|1[0-2])-(?:0?[1-9]|[12][0-9]|3[01])(?![0-9])|"
    r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{0,6}$)"  # without dashes: a time of day may follow
)
_YEARS = re.compile(r"(?:(?:19|20)[0-9]{2}[ -]?)+$")
_HUNDREDS = re.compile("(?:[0-9]{2}00[ -]*){4}$")
_AMOUNT = re.compile(r" ?(?:원|만|억|개|명|건|회|년|월|일|%|㎡|주\b|달러)")


def _luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others (ISO/IEC 7812)."""
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(digits, start=len(digits) % 2))
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


# --- kinds -----------------------------------------------------------------------------------

Spans = Iterator[tuple[int, int]]

# 생년월일, then 1 to 8 for century, sex and citizenship (주민등록번호, 외국인등록번호)
_RESIDENT = re.compile(
    r"[0-9](?<![0-9]{2})[0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]) {0,2}-? {0,2}[1-8][0-9]{6}(?![0-9])"
)
_COMPANY_AFTER = re.compile(" ?[(]?법인")
_GOODS = re.compile(r"(?:바코드|ISBN|EAN|(?:상품|제품|품목|자재) ?(?:번호|코드)|품번)[^0-9\n]{0,8}$", re.IGNORECASE)
_LICENCE = re.compile(
    r"[0-9](?<![0-9]{2})[0-9](?:-[0-9]{2}-[0-9]{6}-| [0-9]{2} [0-9]{6} )[0-9]{2}(?![0-9])|"
    r"[0-9](?<![0-9]{2})[0-9]{11}(?![0-9])|"
    r"[서부대인광울경강충전제][울산구천주전기원북남주][ -]{0,2}[0-9]{2}-[0-9]{6}-[0-9]{2}(?![0-9])"
)
_BUSINESS = re.compile(r"[0-9](?<![0-9]{2})[0-9]{2}(?:-[0-9]{2}-[0-9]{5}|[0-9]{7}| [0-9]{2} [0-9]{5})(?![0-9])")
_CARD = re.compile(
    r"[0-9](?<![0-9]{2})[0-9]{3}(?:(?P<joint> - |[ .-]?)[0-9]{4}(?P=joint)[0-9]{4}(?P=joint)[0-9]{4}|"
    r"(?P<six>[ -]?)[0-9]{6}(?P=six)[0-9]{5})(?![0-9])"  # American Express has 4, 6 and 5
)
_AT = r"(?:@| @ | ?(?:\([aA][tT]\)|\[[aA][tT]\]|\{[aA][tT]\}|골뱅이|앳) ?)"
_DOT = r"(?:\.| ?(?:\([dD][oO][tT]\)|\[[dD][oO][tT]\]|\{[dD][oO][tT]\}) ?| (?:점|닷|쩜) )"
_EMAIL = re.compile(
    # the name is in Latin letters, or in Hangul where nothing else stands before the sign
    rf"(?:[A-Za-z0-9._%+-](?<![A-Za-z0-9._%+-]{{2}})[A-Za-z0-9._%+-]*+{_AT}|[가-힣]{{1,20}}@)"
    rf"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?|[가-힣]{{1,20}}){_DOT}){{1,6}}(?:[A-Za-z]{{2,24}}|한국)|"
    r"[A-Za-z0-9._%+-](?<![A-Za-z0-9._%+-]{2})[A-Za-z0-9._%+-]*+ (?:at|AT) [A-Za-z0-9-]{1,63}"
    r"(?: (?:dot|DOT) [A-Za-z0-9-]{2,63}){1,3}"
)
_JOINT = r"(?:[ .·_/-]{0,3}|에 ?| ?다시 ?)"  # 010에 1234에 5678, 010 다시 1234 다시 5678: as it is said
_MOBILE = re.compile(
    r"(?:\(01[016789]\)|01[016789]\)?|[oO]1[oO]|\(\+?82\)[ -]{0,2}\(?0?\)?1[016789]|"
    r"(?:\+|00)82[ -]{0,2}(?:\(0\) ?|0)?1[016789]|82[ -]{0,2}0?1[016789])"
    rf"{_JOINT}[0-9]{{3,4}}{_JOINT}[0-9]{{4}}(?![0-9])"
)
_SPOKEN = "[0-9공영일이삼사오육칠팔구]"
_MOBILE_SPOKEN = re.compile(rf"[0공영][1일][016-9공영일육칠팔구]{_JOINT}{_SPOKEN}{{3,4}}{_JOINT}{_SPOKEN}{{4}}(?!{_SPOKEN})")
_AREA_CODE = "(?:2|[3-6][1-5]|70|50[0-9])"
_PHONE = re.compile(
    rf"(?:\(0{_AREA_CODE}\)|0{_AREA_CODE}\)?|(?:\+|00)82[ -]{{0,2}}(?:\(0\) ?|0)?{_AREA_CODE}|82[ -]{{1,2}}0?{_AREA_CODE})"
    r"[ .·/-]{0,3}[0-9]{3,4}[ .·/-]{0,3}[0-9]{4}(?![0-9])"
)
_ACCOUNT = re.compile(r"[0-9](?<![0-9]{2})(?:[0-9]{1,5}(?:[ -][0-9]{1,8}){1,4}|[0-9]{9,15})(?![0-9])")
_ACCOUNT_WORD = re.compile("계좌|통장")
_OTHER_NUMBER = re.compile("(?<!계좌)(?<!계좌 )(?<!통장)(?<!통장 )번호(?!.*(?:은행|뱅크|계좌|통장))")  # 은행 고시번호
_YEAR_FIRST = re.compile("(?:19|20)[0-9]{2}-")  # as files and notices are numbered
_BANK = "(?:국민|신한|우리|하나|기업|카카오|토스|케이|외환|씨티|IBK|KB|NH|SC|SC제일)"
_BANK_BEFORE = re.compile(_BANK + "[ :]{0,2}$")
_BANK_NAMED = re.compile("(?:은행|뱅크|농협|수협|신협|새마을금고|우체국)[ :]{0,2}$")
_BANK_AFTER = re.compile(rf"[^\n0-9]{{0,6}}?(?:예금주|입금|송금|이체|{_BANK}(?![가-힣]{{3}}))")
# of today, of 2008 to 2021, and before
_PASSPORT = re.compile(
    r"[A-Za-z](?<![A-Za-z0-9]{2})(?:[ -]?[0-9]{3}[A-Za-z][0-9]{4}|[ -]?[0-9]{4}[ -]?[0-9]{4}|[A-Za-z]?[ -]?[0-9]{7})"
    r"(?![A-Za-z0-9])"
)
# the letters of private, hired, delivery, rented, diplomatic and military cars
_PLATE = re.compile(
    r"[0-9](?<![0-9]{2})[0-9]{1,2}[ -]?"
    r"[가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주아바사자배하허호국합육해공]"
    r"[ -]?[0-9]{4}(?![0-9])"
)
_PLATE_PLACE = re.compile(r"(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주) ?$")
_COUNTERS = "조주부도로호수배구국"  # letters of plates that also stand behind a number of things
_CAR = re.compile(r"[^\n]{0,8}?(?:차량|번호판|승용차|자동차|차주)")


def _residents(text: str) -> Spans:
    for match in _RESIDENT.finditer(text):
        if _stands_alone(text, *match.span()) and not _is_companys(text, match) and not _is_of_goods(text, match):
            yield match.span()


def _is_of_goods(text: str, match: re.Match) -> bool:
    return match[0].isdecimal() and _GOODS.search(_before(text, match.start())) is not None


def _is_companys(text: str, match: re.Match) -> bool:
    label = _label(text, match.start())
    return label == "corporate" or (label is None and bool(_COMPANY_AFTER.match(text, match.end())))


def _licences(text: str) -> Spans:
    for match in _LICENCE.finditer(text):
        if ("-" in match[0] or _label(text, match.start()) == "licence") and _stands_alone(text, *match.span()):
            yield match.span()


def _businesses(text: str) -> Spans:
    for match in _BUSINESS.finditer(text):
        label = _label(text, match.start())
        named = label == "business" or ("-" in match[0] and label not in ("account", "other"))
        if named and not (" " in match[0] and _AMOUNT.match(text, match.end())) and _stands_alone(text, *match.span()):
            yield match.span()


def _cards(text: str) -> Spans:
    for match in _CARD.finditer(text):
        if _YEARS.match(match[0]) or not _stands_alone(text, *match.span()):
            continue
        in_groups = match["joint"] in ("-", " ", " - ") and not _HUNDREDS.match(match[0])
        if in_groups or _is_card(re.sub("[ .-]", "", match[0]), _label(text, match.start())):
            yield match.span()


def _is_card(digits: str, label: str | None) -> bool:
    return label == "card" or (label != "account" and digits[0] in "34569" and _luhn(digits))


def _emails(text: str) -> Spans:
    yield from (match.span() for match in _EMAIL.finditer(text))


def _mobiles(text: str) -> Spans:
    for pattern in (_MOBILE, _MOBILE_SPOKEN):
        for match in pattern.finditer(text):
            if _stands_alone(text, *match.span()):
                yield match.span()


def _phones(text: str) -> Spans:
    yield from (match.span() for match in _PHONE.finditer(text) if _stands_alone(text, *match.span()))


def _accounts(text: str) -> Spans:
    for match in _ACCOUNT.finditer(text):
        number = match[0]
        if not 10 <= sum(map(str.isdecimal, number)) <= 16 or not _stands_alone(text, *match.span()):
            continue
        if _DATE.match(number) or _YEARS.match(number) or _AMOUNT.match(text, match.end()):
            continue
        if _is_account(number, text, match):
            yield match.span()


def _is_account(number: str, text: str, match: re.Match) -> bool:
    """Return whether what stands around a number says that it is an account."""
    before = _before(text, match.start())
    label = _label_in(before)
    if label == "account" and not _OTHER_NUMBER.search(before):
        if _ACCOUNT_WORD.search(before) or (" " in number and _BANK_NAMED.search(before)):
            return True
        return " " not in number and not _YEAR_FIRST.match(number)
    named = _BANK_BEFORE.search(before) or _BANK_AFTER.match(text, match.end())
    is_written_so = "-" in number or bool(number.isdecimal() and _BANK_BEFORE.search(before))
    return label in (None, "account") and bool(named) and is_written_so and not _YEAR_FIRST.match(number)


def _passports(text: str) -> Spans:
    for match in _PASSPORT.finditer(text):
        if _label(text, match.start()) == "passport":
            yield match.span()


def _plates(text: str) -> Spans:
    for match in _PLATE.finditer(text):
        start, end = match.span()
        before = _before(text, start)
        if before.endswith("제") or _AMOUNT.match(text, end):
            continue
        place = _PLATE_PLACE.search(before)
        hyphenated = "-" in match[0] and not set(match[0]) & set(_COUNTERS)
        plain = (
            match[0].isalnum()
            or (hyphenated and " " not in match[0])
            or (match[0][:3].isdecimal() and match[0][3] not in _COUNTERS)
        )
        if plain or place or _label(text, start) == "plate" or _CAR.match(text, end):
            yield start - (len(place[0]) if place else 0), end


# in the order in which a place with two meanings is decided
_FINDERS: dict[str, Callable[[str], Spans]] = {
    "resident number": _residents,
    "driving licence": _licences,
    "card number": _cards,
    "e-mail": _emails,
    "mobile phone": _mobiles,
    "phone": _phones,
    "business number": _businesses,
    "account number": _accounts,
    "passport": _passports,
    "plate": _plates,
    "address": find_addresses,
}
KINDS = tuple(_FINDERS)
_WORTH_A_LOOK = re.compile(r"[0-9@]|[공영]일|골뱅이|앳|[(\[{]at[)\]}]| dot ", re.IGNORECASE)
_TOO_LONG = re.compile("[0-9][0-9-]{24,}")  # a number of more than 25 characters is of no kind


# --- finding ---------------------------------------------------------------------------------


def find(text: str) -> list[Finding]:
    """Return what looks like personal data in a text, in order, each place counted once."""
    reading = _read(text)
    if not _WORTH_A_LOOK.search(reading.text):
        return []
    plain = _TOO_LONG.sub(lambda match: "#" * len(match[0]), reading.text)
    taken = bytearray(len(plain))
    found: list[Finding] = []
    for kind, finder in _FINDERS.items():
        for start, end in finder(plain):
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\1" * (end - start)
                begin, stop = reading.span(start, end)
                found.append(Finding(kind, begin, stop, text[begin:stop]))
    return sorted(found, key=lambda finding: finding.start)


def redact(text: str) -> str:
    """Return a text with each find replaced by its kind in brackets, and all else to the letter."""
    pieces: list[str] = []
    done = 0
    for finding in find(text):
        pieces += text[done : finding.start], f"[{finding.kind}]"
        done = finding.end
    return "".join([*pieces, text[done:]])


def scan(rows: Sequence[dict], fields: Iterable[str]) -> list[dict]:
    """Return a row a find: {"row", "field", "kind", "covered"}; `row` counts from 1."""
    names = list(fields)
    return [
        {"row": number, "field": name, "kind": finding.kind, "covered": finding.covered}
        for number, row in enumerate(rows, start=1)
        for name in names
        for finding in find(str(row.get(name) or ""))
    ]


def count(findings: Sequence[dict]) -> dict[str, int]:
    """Return how many finds of each kind there are, kinds without any included."""
    counts = Counter(finding["kind"] for finding in findings)
    return {kind: counts[kind] for kind in KINDS}


def text_fields(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (field, text) for every text in a row, those in lists and objects as `messages[0].content`."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from text_fields(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from text_fields(inner, f"{name}[{place}]")


def scan_rows(rows: Iterable[dict]) -> Iterator[dict]:
    """Yield a line a find in all texts of rows: `row` from 1, `field`, `kind`, and `start` and `end` in the field's text."""
    for number, row in enumerate(rows, start=1):
        for name, text in text_fields(row):
            for finding in find(text):
                yield {"row": number, "field": name, "kind": finding.kind, "start": finding.start, "end": finding.end}


def scan_file(name_or_path: str | Path, out: str | Path | None = None) -> dict[str, int]:
    """Scan every text of a data set for personal data; return the finds of each kind, and write a line a find to `out`.

    The lines name places and hold no personal data themselves.

    Raises:
        CourseError: the data set cannot be read, or the output is the input.
    """
    from kotune.data import registry

    if out is not None:
        registry.require_other_outputs(name_or_path, out)
    lines = list(scan_rows(row.value for row in registry.read(name_or_path)))
    if out is not None:
        write_jsonl(out, lines)
    return count(lines)
