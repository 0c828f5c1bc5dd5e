"""Write advertisements of Korean houses, rooms and shops, each with the record of what it says.

The data teaches one task: the text of an advertisement goes in, one line of JSON comes out (docs/listings.md). An
advertisement is drawn from facts: a fact becomes a statement in words, with the fields that it states, and the record is
what the statements state, so that text and record agree. No house and no person stands behind any of them.

    python dev/data/generate_listings.py        rewrite the files in data/listings
    python dev/data/generate_listings.py --wide 2000 --seed 1 --out wide.jsonl      more rows to train on, worded more widely
    python dev/data/generate_listings.py --hidden 60 --seed N --out FOLDER         texts.jsonl for teams, and key.jsonl

The tables lie beside it, in `listings/`: `places`, `offers` (what is offered, how often, between which bounds), `wording`
and `registers` (how whole texts are written). `wording_test`, the places and the registers
under `test` are drawn from for the test's texts alone, beside all others. Wide rows draw from the tables whose names end in
`_more` too, and never from what is held out for the test; no text of theirs stands in a shipped file.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import yaml

from kotune.data import pii
from kotune.korean.listings import FIELDS, SQUARE_METRES_OF_A_PYEONG, Value, render_record
from prompts import LISTING, ListingRecord
from utils import DATA, write_jsonl

TABLES = Path(__file__).with_name("listings")
SEED = 15  # of the files that the course ships
ROWS = {"train": 400, "validation": 100, "test": 200}
HELD_OUT_PHRASES = 0.25  # of the statements of a test's text that have one
HELD_OUT_PLACES = 0.4  # of the test's texts


def _read_table(name: str) -> dict:
    return yaml.safe_load((TABLES / f"{name}.yaml").read_text(encoding="utf-8"))


PLACES, OFFERS, REGISTERS = _read_table("places"), _read_table("offers"), _read_table("registers")
WORDING, HELD_OUT_WORDING = _read_table("wording"), _read_table("wording_test")
FALLBACKS = {"label": "terse", "tag": "terse", "terse": "sentence", "spoken": "casual", "casual": "sentence"}
# a topic, and its variants with their weights
VARIANTS = {
    "lease": {
        "plain": 58,
        "negotiable": 12,
        "no deposit": 4,
        "dearer before": 8,
        "another is gone": 7,
        "corrected": 6,
        "dearer last year": 5,
    },
    "short lease": {"plain": 1},
    "jeonse": {"plain": 50, "cheaper than before": 13, "or rent": 15, "vague": 6, "corrected": 16},
    "sale": {"plain": 44, "dearer before": 18, "with a tenant": 12, "vague": 6, "corrected": 20},
    "area": {"exclusive": 42, "both": 26, "plain": 20, "in both units": 7, "supply only": 5, "beside another": 12},
    "floor": {
        "own": 36,
        "own of total": 36,
        "in words": 16,
        "in words of total": 4,
        "basement": 3,
        "total only": 5,
        "beside another": 14,
    },
    "layout": {"rooms and bathrooms": 52, "rooms": 20, "bathrooms": 18, "rebuilt": 10},
    "maintenance": {"amount": 64, "none": 15, "in the rent": 6, "vague": 15, "beside another": 14},
    "pets": {"allowed": 32, "refused": 30, "open": 9, "beside": 11, "allowed in part": 9, "refused in other words": 9},
    "available": {"now": 36, "open": 22, "date": 30, "moved": 8, "relative": 5},
}
STATIONS = ("망원", "합정", "신림", "서현", "부평", "범어", "상수", "문정", "까치산", "광안", "사당")
SUBJECTS = re.compile(
    "융자|대출|역|주차|P|년|수리|1층|일층|에어컨|복비|중개|옆|실거래|대지|권리|청소비"
    "|햇빛|남향|엘리베이터|엘베|보증보험|버팀목|전세대출|분 거리"
)
MORE_SUBJECTS = re.compile(
    SUBJECTS.pattern
    + "|정류장|버스|옵션|풀옵|계약|마트|편의점|시세|층간|방음|학교|공원|냉장고|세탁기|CCTV|보안|도배|전입|수도"
    "|가스|난방|전기|전세|세대수|창고|옥상|남동향|남서향|햇살|해가|볕|채광|리모델링|인테리어|벌레|직거래|수수료|준공|사용승인|신축|건축"
    "|2층|HUG|버팀목|보증|시설|부가세|VAT|업종"
)
SAME_SUBJECTS = {  # of these a text speaks once as well
    "준공": "년", "사용승인": "년", "신축": "년", "건축": "년", "대출": "융자", "버스": "정류장", "풀옵": "옵션",
    "에어컨": "옵션", "냉장고": "옵션", "세탁기": "옵션", "엘베": "엘리베이터", "복비": "중개", "수수료": "중개",
    "직거래": "중개", "남동향": "남향", "남서향": "남향", "햇살": "채광", "햇빛": "채광", "해가": "채광", "볕": "채광",
    "도배": "수리", "리모델링": "수리", "인테리어": "수리", "HUG": "보증", "보증보험": "보증", "시설": "권리",
    "VAT": "부가세", "실거래": "시세", "옆": "시세",
}  # fmt: skip
MONEY_OF_DEALS = {"월세": "lease", "단기": "short lease", "전세": "jeonse", "매매": "sale"}


@dataclass(frozen=True)
class Tables:
    """What an advertisement is drawn from."""

    wording: dict
    places: list[dict]
    registers: list[dict]
    kinds: list[dict]
    deal_words: dict[str, list[str]]
    stations: Sequence[str]
    habits: dict[str, int]  # of writing amounts, with their weights
    subjects: re.Pattern[str]  # of what stands beside the fields; a text speaks of each once
    same_subjects: dict[str, str]


@dataclass(frozen=True)
class Statement:
    """A piece of an advertisement: its topic, its words, and what it states of the record."""

    topic: str
    words: str
    states: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Advertisement:
    """A text, the record of what it says, and the statements that it was put together from."""

    text: str
    record: ListingRecord
    statements: tuple[Statement, ...]
    register: str
    spaced: bool  # whether its spaces stand where they belong


# --- numbers in words ------------------------------------------------------------------------

DIGITS = "영일이삼사오육칠팔구"
TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")


def sino_korean(number: int) -> str:
    """Return a number up to 99,999,999 in Sino-Korean words: 35 is 삼십오, 35000 삼만오천."""
    if number >= 10_000:
        high, low = divmod(number, 10_000)
        return (sino_korean(high) if high > 1 else "") + "만" + (sino_korean(low) if low else "")
    words = ""
    for unit, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit, number = divmod(number, unit)
        if digit:
            words += ("" if digit == 1 and name else DIGITS[digit]) + name
    return words or "영"


def native_korean(number: int) -> str:
    """Return a number below 100 in native words as they stand before a counter: 한, 열두, 스무."""
    tens, ones = divmod(number, 10)
    return "스무" if number == 20 else TENS[tens] + ONES[ones]


# --- amounts ---------------------------------------------------------------------------------

HABITS = {"digits": 22, "comma": 8, "man": 22, "man won": 12, "short": 19, "won": 6, "words": 5, "decimal": 6}
MORE_HABITS = {"spaced short": 14, "short won": 12, "joined won": 12}
SLASH_HABITS = ("digits", "digits", "digits", "short", "comma")
TALK_HABITS = ("words", "words", "words", "words won", "digits", "short")


def amount_in_words(amount: int | float, habit: str) -> str:
    """Return an amount in 만원 as a writer of this habit writes it; a habit that does not fit falls back on another.

    Habits: digits (35000), comma (35,000), man (3억5000만), man won (3억 5,000만 원), short (3억5천), won (350,000,000원),
    words (삼억오천), words won (삼억오천만원), decimal (3.5억), spaced short (3억 5천), short won (3억5천만원),
    joined won (3억5000만원).
    """
    if isinstance(amount, float):
        return _with_thousands_of_won(amount, habit)
    if habit == "decimal" and (amount < 10_000 or amount % 1000):
        habit = "man"
    return AMOUNT_WRITERS[habit](*divmod(amount, 10_000))


def _joined(
    eok: int, rest: int, write_eok: Callable = str, write_rest: Callable = str, *, gap: str = "", end: str = ""
) -> str:
    """Return the parts above and below 억, each left out where it is 0."""
    high = f"{write_eok(eok)}억" if eok else ""
    low = f"{write_rest(rest)}{end}" if rest or not eok else ""
    return f"{high}{gap if high and low else ''}{low}"


def _short(amount: int) -> str:
    """Return an amount below 억 with 천 and 백, where it is a round one: 5천, 1천5백, 350."""
    thousands, rest = divmod(amount, 1000)
    hundreds, rest = divmod(rest, 100)
    if rest or not amount:
        return str(amount)
    return (f"{thousands}천" if thousands else "") + (f"{hundreds}백" if hundreds else "")


AMOUNT_WRITERS: dict[str, Callable[[int, int], str]] = {  # of the parts above and below 억
    "digits": lambda eok, rest: str(eok * 10_000 + rest),
    "comma": lambda eok, rest: f"{eok * 10_000 + rest:,}",
    "man": lambda eok, rest: _joined(eok, rest, end="만"),
    "man won": lambda eok, rest: _joined(eok, rest, write_rest="{:,}".format, gap=" ", end="만") + " 원",
    "short": lambda eok, rest: _joined(eok, rest, write_rest=_short),
    "won": lambda eok, rest: f"{(eok * 10_000 + rest) * 10_000:,}원",
    "words": lambda eok, rest: _joined(eok, rest, sino_korean, sino_korean),
    "words won": lambda eok, rest: _joined(eok, rest, sino_korean, sino_korean, end="만") + "원",
    "decimal": lambda eok, rest: f"{eok + rest / 10_000:g}억",
    "spaced short": lambda eok, rest: _joined(eok, rest, write_rest=_short, gap=" "),
    "short won": lambda eok, rest: _joined(eok, rest, write_rest=_short, end="만") + "원",
    "joined won": lambda eok, rest: _joined(eok, rest, end="만") + "원",
}


def _with_thousands_of_won(amount: float, habit: str) -> str:
    whole, thousands = int(amount), round(amount * 10) % 10
    if habit in ("won", "comma"):
        return f"{round(amount * 10_000):,}원"
    if habit in ("digits", "decimal"):
        return f"{amount:g}만"
    if habit.startswith("words"):
        return f"{sino_korean(whole)}만{sino_korean(thousands)}천원"
    return f"{whole}만{' ' if habit == 'man won' else ''}{thousands}천원"


# --- values of slots -------------------------------------------------------------------------


class Slot:
    """A value that a phrase writes; what follows the colon in its slot asks for another form of it."""

    def __init__(self, writer: Writer, value: Value):
        self.writer, self.value = writer, value

    def __format__(self, form: str) -> str:
        return str(self.value)


class Amount(Slot):
    """An amount: {x} as the writer writes amounts, {x:slash} short, for 500/45, {x:talk} as it is spoken."""

    def __format__(self, form: str) -> str:
        rng = self.writer.rng
        habit = (
            rng.choice(SLASH_HABITS) if form == "slash" else rng.choice(TALK_HABITS) if form == "talk" else self.writer.habit
        )
        return amount_in_words(self.value, habit)


class Maintenance(Slot):
    """A small amount a month, which is never written in 천 or 백."""

    def __format__(self, form: str) -> str:
        other = {"short": "man", "decimal": "digits", "words": "words won", "spaced short": "man", "short won": "joined won"}
        habit = other.get(self.writer.habit, self.writer.habit)
        habit = self.writer.rng.choice(("words won", "words won", "man", "man won")) if form == "talk" else habit
        return amount_in_words(self.value, habit)


class Area(Slot):
    """An area with its unit: 12평 or 59.97㎡; {x:talk} says 열두 평."""

    def __format__(self, form: str) -> str:
        number, unit = self.value[:-1], self.value[-1]
        if unit == "평":
            return f"{native_korean(int(number))} 평" if form == "talk" and int(number) < 60 else f"{number}평"
        return number + self.writer.square_metre


class Count(Slot):
    """A small number: {x:counted} is 두 개, 2개 or 둘."""

    def __format__(self, form: str) -> str:
        if form != "counted":
            return str(self.value)
        native = native_korean(self.value)
        return self.writer.rng.choice((f"{native} 개" if self.value > 1 else "하나", f"{self.value}개", f"{native}개"))


class Story(Slot):
    """A floor: {x:talk} says 삼 for 3; its words (반지하) stay as they are."""

    def __format__(self, form: str) -> str:
        return sino_korean(int(self.value)) if form == "talk" and str(self.value).isdigit() else str(self.value)


_PARTICLE = re.compile(r"<([^/<>]+)/([^/<>]+)>")
_READING = dict(zip("0123456789", DIGITS, strict=True))  # a number ends in 십, 백, 천, 만 or 영: each has a final consonant


def with_particles(text: str) -> str:
    """Put the form of each <이/가> that fits the sound before it: after a consonant the first, else the second."""
    while match := _PARTICLE.search(text):
        first, second = match.groups()
        final = _final_consonant(text[: match.start()])
        takes_second = final == 0 or (final == _RIEUL and first == "으로")
        text = text[: match.start()] + (second if takes_second else first) + text[match.end() :]
    return text


_RIEUL = 8


def _final_consonant(text: str) -> int:
    """Return the number of the final consonant of what is read last (0 for none): of a unit or a number, its reading."""
    bare = text.rstrip(") ㎡²%!")
    if text.rstrip(")").endswith(("㎡", "m2", "m²")):
        return 0  # 제곱미터
    last = bare[-1]
    last = _READING.get(last, last)
    return (ord(last) - 0xAC00) % 28 if "가" <= last <= "힣" else 0


# --- slips of the keyboard -------------------------------------------------------------------

_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_NEAR_VOWELS = dict(
    zip(
        "ㅏㅐㅓㅔㅕㅖㅗㅚㅛㅜㅟㅠㅡㅢㅣ",
        ("ㅑㅓ", "ㅔ", "ㅕㅏ", "ㅐ", "ㅓ", "ㅔ", "ㅓㅛ", "ㅙ", "ㅕ", "ㅠㅡ", "ㅣ", "ㅜ", "ㅜ", "ㅣ", "ㅡ"),
        strict=True,
    )
)
_NEAR_FINALS = {20: 19, 19: 20, 21: 4, 4: 21, 8: 4, 16: 17, 17: 16, 1: 0, 27: 0}  # ㅆ for ㅅ, ㄴ for ㅇ, ...
_WORD = re.compile(r"(?:\{[^}]*\}|<[^>]*>)|[가-힣]{2,}")


def misspelt(phrase: str, rng: random.Random) -> str:
    """Return a phrase with one syllable mistyped, in a word of two syllables or more and outside of its {slots}."""
    words = [match for match in _WORD.finditer(phrase) if match[0][0] not in "{<"]
    if not words:
        return phrase
    place = rng.randrange(*rng.choice(words).span())
    return phrase[:place] + _mistyped(phrase[place], rng) + phrase[place + 1 :]


def _mistyped(syllable: str, rng: random.Random) -> str:
    """Return a syllable with the key beside the right one for its vowel, or with another final consonant or none."""
    code = ord(syllable) - 0xAC00
    initial, vowel, final = code // 588, code // 28 % 21, code % 28
    if final in _NEAR_FINALS and rng.random() < 0.5:
        final = _NEAR_FINALS[final]
    elif near := _NEAR_VOWELS.get(_VOWELS[vowel]):
        vowel = _VOWELS.index(rng.choice(near))
    return chr(0xAC00 + initial * 588 + vowel * 28 + final)


# --- one advertisement -----------------------------------------------------------------------


@dataclass
class Writer:
    """Who writes an advertisement: the random numbers, the register, how amounts and areas are written."""

    rng: random.Random
    tables: Tables
    register: dict
    held_out: bool
    habit: str
    square_metre: str
    in_pyeong: bool
    careless: float  # how often a statement has a slip of the keyboard

    @property
    def manner(self) -> str:
        """The manner of the phrases: label, terse, sentence, casual, spoken or tag."""
        return self.register["manner"]

    def chance(self, percent: float) -> bool:
        """Return True so often."""
        return self.rng.random() * 100 < percent

    def pick(self, weights: dict[str, int]) -> str:
        """Return one of the keys by their weights."""
        return self.rng.choices(list(weights), list(weights.values()))[0]

    def phrase(self, topic: str, variant: str) -> str:
        """Return a phrase of a topic in this writer's manner; one that is held out from training where that may be."""
        held_out = _of_manner(HELD_OUT_WORDING.get(topic, {}).get(variant, {}), self.manner, strict=True)
        if self.held_out and held_out and self.rng.random() < HELD_OUT_PHRASES:
            return self.rng.choice(held_out)
        return self.rng.choice(_of_manner(self.tables.wording[topic][variant], self.manner))

    def say(self, topic: str, variant: str, slots: dict[str, Slot | str | int], states: dict[str, Value]) -> Statement:
        """Return a statement of a topic; a slip of the keyboard spares its slots, so that what it states stays clear."""
        phrase = self.phrase(topic, variant)
        if variant != "basement" and self.rng.random() < self.careless:  # 지하 is what it states
            phrase = misspelt(phrase, self.rng)
        words = with_particles(phrase.format(**slots))
        return Statement(topic, words, states)

    def edge(self, topic: str) -> str:
        """Return an opening or a closing, which may be empty."""
        return self.rng.choice(self.tables.wording[topic][self.manner])


def _of_manner(phrases: dict[str, list[str]], manner: str, strict: bool = False) -> list[str]:
    """Return the phrases of a manner, or of the manner that is nearest to it."""
    while manner not in phrases and not strict:
        manner = FALLBACKS[manner]
    return phrases.get(manner, [])


@dataclass(frozen=True)
class House:
    """What is offered, before anything is said of it."""

    deal: str
    kind: str
    word: str  # what the text calls the kind
    area: float  # in ㎡, 전용
    total_floors: int
    rooms: int | None
    bathrooms: int | None
    entry: dict

    @property
    def rooms_in_word(self) -> int | None:
        """How many rooms the word for the kind says: 2 of 빌라 투룸."""
        return next((rooms for name, rooms in OFFERS["rooms_of_words"].items() if name in self.word), None)


def _draw_house(rng: random.Random, tables: Tables) -> House:
    deal = rng.choices(list(OFFERS["deals"]), list(OFFERS["deals"].values()))[0]
    entries = [entry for entry in tables.kinds if deal in entry["deals"]]
    entry = rng.choices(entries, [entry["deals"][deal] for entry in entries])[0]
    word = rng.choice(entry["words"])
    house = House(deal, entry["kind"], word, 0, rng.randint(*entry["floors"]), None, None, entry)
    low, high = entry["rooms"]
    rooms = house.rooms_in_word or (rng.randint(low, high) if high else None)
    bathrooms = None if rooms is None else 1 if rooms == 1 else rng.choice((1, 1, 2) if rooms == 2 else (1, 2, 2))
    area = round(rng.uniform(*entry["area"]), rng.choice((0, 1, 2)))
    return House(deal, entry["kind"], word, area, house.total_floors, rooms, bathrooms, entry)


SHIPPED = Tables(
    WORDING, PLACES["train"], REGISTERS["train"], OFFERS["kinds"], OFFERS["deal_words"], STATIONS, HABITS, SUBJECTS, {}
)


@cache
def wide_tables() -> Tables:
    """Return the tables of training with what `_more` adds to them, less the phrases that are held out for the test."""
    more_places, more_offers = _read_table("places_more"), _read_table("offers_more")
    wording = _with_more(WORDING, _read_table("wording_more"), HELD_OUT_WORDING)
    kinds = [entry | {"words": entry["words"] + more_offers["words"].get(entry["kind"], [])} for entry in OFFERS["kinds"]]
    deal_words = {deal: words + more_offers["deal_words"].get(deal, []) for deal, words in OFFERS["deal_words"].items()}
    return Tables(
        wording,
        PLACES["train"] + more_places["places"],
        REGISTERS["train"] + _read_table("registers_more")["registers"],
        kinds,
        deal_words,
        (*STATIONS, *more_places["stations"]),
        HABITS | MORE_HABITS,
        MORE_SUBJECTS,
        SAME_SUBJECTS,
    )


def _with_more(old: Any, more: Any, held_out: Any) -> Any:
    """Return phrases with more of them, in whatever depth of topics, variants and manners; none that is held out."""
    if isinstance(more, list):
        return (old or []) + [phrase for phrase in more if phrase not in (held_out or [])]
    old, held_out = old or {}, held_out or {}
    return old | {name: _with_more(old.get(name), added, held_out.get(name)) for name, added in more.items()}


def write_advertisement(rng: random.Random, held_out: bool, tables: Tables = SHIPPED) -> Advertisement:
    """Return an advertisement; with `held_out` it may have phrases, places and registers that training never has."""
    registers = tables.registers + (REGISTERS["test"] if held_out else [])
    writer = Writer(
        rng,
        tables,
        rng.choices(registers, [register["weight"] for register in registers])[0],
        held_out,
        rng.choices(list(tables.habits), list(tables.habits.values()))[0],
        rng.choice(("㎡", "㎡", "㎡", "m2", "m²", " ㎡", "제곱미터")),
        rng.random() < 0.55,
        rng.choice((0, 0, 0, 0.08, 0.15, 0.3)),
    )
    house = _draw_house(rng, tables)
    statements = _draw_statements(writer, house)
    stated = {name: value for statement in statements for name, value in statement.states.items()}
    record = ListingRecord(**{name: stated.get(name) for name in FIELDS})
    plain = _put_together(writer, statements)
    text = _without_spaces(plain, rng) if writer.chance(16) and writer.manner != "spoken" else plain
    return Advertisement(text, record, tuple(statements), writer.register["name"], text == plain)


_LET = re.compile("세입자|세안고|끼고|현 임대|임대 중|월세 .* 나오")  # a house for sale that is let has no date to move in


def _draw_statements(writer: Writer, house: House) -> list[Statement]:
    """Draw what is said, in the order of the text: the head, then facts and other matters."""
    homes, amounts = house.kind not in ("상가", "사무실"), _amounts(writer.rng, house)
    said = {name: writer.chance(percent) for name, percent in OFFERS["stated"].items()}
    facts = [
        _area(writer, house) if said["area"] else None,
        _floor(writer, house) if said["floor"] else None,
        _layout(writer, house) if said["layout"] and homes else None,
        _maintenance(writer, house) if said["maintenance"] and house.kind != "단독주택" else None,
        _pets(writer) if said["pets"] and homes and (house.deal != "매매" or writer.chance(40)) else None,
        _available(writer) if said["available"] else None,
        *_beside(writer, house, amounts),
    ]
    money = _money(writer, house, amounts)
    facts = [fact for fact in facts if fact and not (_LET.search(money.words) and fact.topic == "available")]
    if writer.chance(65):
        writer.rng.shuffle(facts)
    facts.insert(0 if writer.chance(65) else writer.rng.randint(0, len(facts)), money)
    head = _head(writer, house, said["place"], said["kind"], said["deal_in_head"])
    return [head, *facts] if head else facts


def _head(writer: Writer, house: House, place: bool, kind: bool, deal: bool) -> Statement | None:
    """Return the first statement: the place, the kind and the deal, as far as they are said there."""
    variant = " ".join(name for name, said in (("place", place), ("kind", kind), ("deal", deal)) if said)
    if not variant:
        return None
    states: dict[str, Value] = {}
    slots: dict[str, str] = {}
    if place:
        states["place"], slots["place"] = _place(writer)
    if kind:
        slots["kind"], states["kind"] = house.word, house.kind
        if house.rooms_in_word:
            states["rooms"] = house.rooms_in_word
    if deal:
        words = writer.tables.deal_words[house.deal]
        slots["deal"], states["deal"] = writer.rng.choice(words), house.deal
    return writer.say("head", variant, slots, states)


def _place(writer: Writer) -> tuple[str, str]:
    """Return a place and the words that name it, which may name another beside it."""
    rng = writer.rng
    entry = rng.choice(PLACES["test"] if writer.held_out and rng.random() < HELD_OUT_PLACES else writer.tables.places)
    city, district = rng.choice(entry["city"]), entry["district"]
    dong, other_dong = rng.sample(entry["dongs"], 2)
    parts = rng.choices(([dong], [district, dong], [city, district, dong], [city, district or dong]), (38, 30, 24, 8))[0]
    place = " ".join(part for part in parts if part)
    if writer.manner == "tag" or place.split()[-1] != dong or not writer.chance(18):
        return place, place
    phrase = rng.choice(writer.tables.wording["near"][writer.manner])
    return place, with_particles(phrase.format(place=place, dong=other_dong, station=rng.choice(writer.tables.stations)))


# --- money -----------------------------------------------------------------------------------


def _rounded(value: float, step: int) -> int:
    return max(step, round(value / step) * step)


def _money(writer: Writer, house: House, amounts: dict[str, int]) -> Statement:
    """Return the statement of the offer, which always tells the deal as well."""
    topic = MONEY_OF_DEALS[house.deal]
    variant = writer.pick(VARIANTS[topic])
    slots: dict = {name: Amount(writer, value) for name, value in amounts.items()}
    slots |= {"months": writer.rng.randint(1, 6), "base": writer.rng.randint(1, 9)}
    slots["part"] = writer.rng.choice(("초반", "중반", "후반"))
    states: dict[str, Value] = {"deal": house.deal}
    if variant != "vague":
        named = {
            "lease": ("deposit", "rent"),
            "short lease": ("deposit", "rent"),
            "jeonse": ("deposit",),
            "sale": ("price",),
        }
        states |= {name: amounts[name] for name in named[topic]}
    if variant == "no deposit":
        states["deposit"] = 0
    return writer.say(topic, variant, slots, states)


def _amounts(rng: random.Random, house: House) -> dict[str, int]:
    """Draw the amounts of an offer, and others that may stand beside it: dearer ones, and another way to let."""
    if house.deal == "매매":
        price = _rounded(house.area * rng.uniform(250, 1300), rng.choice((500, 1000, 1000, 100)))
        more = _rounded(price * rng.uniform(0.1, 0.6), 500)
        return {"price": price, "old": _dearer(price, rng), "more": more, "less": rng.randrange(40, 150, 10)}
    if house.deal == "전세":
        deposit = _rounded(house.area * rng.uniform(150, 700), rng.choice((500, 500, 1000, 100)))
        more = _rounded(deposit * rng.uniform(0.2, 0.6), 500)
        return {"deposit": deposit, "old": _dearer(deposit, rng), "more": more, "less": rng.randrange(20, 90, 5)}
    rent = _rounded(18 + house.area * rng.uniform(0.6, 2.2), rng.choice((5, 5, 5, 1)))
    small = (100, 100, 100, 200, 300) if house.deal == "단기" else (100, 200, 300, 300, 500, 500, 500, 1000, 1000)
    large = (1500, 2000, 3000, 5000, 7000, 10000, 15000, 20000)
    drawn = rng.choice(small if house.area < 30 or house.deal == "단기" or rng.random() < 0.3 else (1000, *large))
    deposit = drawn if house.deal == "단기" or drawn >= 4 * rent else _rounded(10 * rent, 500)
    return {
        "deposit": deposit,
        "rent": rent,
        "old_rent": rent + rng.choice((3, 5, 5, 10)),
        "more": deposit * 2 if deposit < 3000 else deposit + rng.choice((1000, 2000, 5000)),
        "less": rent - min(rent - 5, rng.choice((5, 5, 10))),
    }


def _dearer(amount: int, rng: random.Random) -> int:
    return _rounded(amount * rng.uniform(1.03, 1.2), 500 if amount >= 5000 else 100) + 500


# --- the house -------------------------------------------------------------------------------


def _area(writer: Writer, house: House) -> Statement:
    variant = writer.pick(VARIANTS["area"])
    pyeong = max(3, round(house.area / SQUARE_METRES_OF_A_PYEONG))
    in_pyeong = writer.in_pyeong and variant != "in both units"
    area = f"{pyeong}평" if in_pyeong else f"{house.area:g}㎡"
    supply = house.area * writer.rng.uniform(1.2, 1.45)
    supply_words = (
        f"{round(supply / SQUARE_METRES_OF_A_PYEONG) + 1}평" if in_pyeong else f"{supply:.{writer.rng.choice((0, 1, 2))}f}㎡"
    )
    minor = f"{max(1, pyeong // 5)}평" if in_pyeong else f"{house.area / 5:.1f}㎡"
    slots = {
        "area": Area(writer, area),
        "supply": Area(writer, supply_words),
        "minor": Area(writer, minor),
        "pyeong": f"{pyeong}평",
    }
    return writer.say("area", variant, slots, {} if variant == "supply only" else {"area": area})


def _floor(writer: Writer, house: House) -> Statement:
    variant = writer.pick(VARIANTS["floor"])
    total, tall = house.total_floors, house.total_floors > 7
    floor: str | int = writer.rng.randint(1, total)
    if variant.startswith("in words"):
        low = ("탑층",) if house.kind in ("상가", "사무실") else ("반지하", "반지하", "옥탑", "탑층")
        floor = writer.rng.choice(("저층", "중층", "고층", "고층", "탑층") if tall else low)
        variant = "in words" if not tall else variant
    if (variant == "basement" and tall) or (variant == "beside another" and total < 2):
        variant = "own"
    other = writer.rng.choice([story for story in range(1, max(total, 2) + 1) if story != floor])
    stated = {
        "own of total": f"{floor}/{total}", "in words of total": f"{floor}/{total}", "basement": "지하1", "total only": None,
    }.get(variant, str(floor))  # fmt: skip
    slots = {"floor": Story(writer, floor), "total": Story(writer, total), "other_floor": Story(writer, other)}
    return writer.say("floor", variant, slots, {"floor": stated} if stated else {})


def _layout(writer: Writer, house: House) -> Statement:
    known = house.kind in ("원룸", "투룸", "쓰리룸") or house.rooms_in_word
    variant = "bathrooms" if house.rooms == 1 and writer.chance(70) else writer.pick(VARIANTS["layout"])
    if known and variant == "rooms":
        variant = "rooms and bathrooms"
    if variant == "rebuilt" and house.rooms == 1:
        variant = "rooms and bathrooms"
    slots = {"rooms": Count(writer, house.rooms), "bathrooms": Count(writer, house.bathrooms), "more_rooms": house.rooms + 1}
    stated = {"rooms": ("rooms",), "bathrooms": ("bathrooms",)}.get(variant, ("rooms", "bathrooms"))
    return writer.say("layout", variant, slots, {name: getattr(house, name) for name in stated})


def _maintenance(writer: Writer, house: House) -> Statement:
    variant = writer.pick(VARIANTS["maintenance"])
    if variant == "in the rent" and house.deal in ("전세", "매매"):
        variant = "none"
    low, high = house.entry["maintenance"]
    amount: int | float = writer.rng.randint(low, high)
    if writer.chance(12):
        amount += 0.5
    slots = {"maintenance": Maintenance(writer, amount), "low": low, "high": high + 2}
    stated: dict[str, Value] = {"maintenance": {"none": 0, "in the rent": 0, "vague": None}.get(variant, amount)}
    return writer.say("maintenance", variant, slots, {name: value for name, value in stated.items() if value is not None})


def _pets(writer: Writer) -> Statement:
    variant = writer.pick(VARIANTS["pets"])
    states: dict[str, Value] = {"pets": variant.startswith("allowed")}
    return writer.say("pets", variant, {}, states if variant.startswith(("allowed", "refused")) else {})


def _available(writer: Writer) -> Statement:
    variant = writer.pick(VARIANTS["available"])
    (words, date), (other_words, _) = _date(writer.rng), _date(writer.rng)
    stated = {"now": "즉시", "open": "협의", "relative": None}.get(variant, date)
    slots = {"date": words, "other_date": other_words}
    return writer.say("available", variant, slots, {"available": stated} if stated else {})


def _date(rng: random.Random) -> tuple[str, str]:
    """Return a date as an advertisement writes it, and as the record does."""
    month, day, year = rng.randint(1, 12), rng.randint(1, 28), rng.choice((2026, 2027))
    form = rng.choices(("month", "part", "day", "year"), (22, 38, 30, 10))[0]
    if form == "month":
        return f"{month}월", f"{month:02}"
    if form == "part":
        return f"{month}월{rng.choice((' ', ''))}{rng.choice(('초', '중순', '말', '말경', '초순'))}", f"{month:02}"
    if form == "day":
        return rng.choice((f"{month}월 {day}일", f"{month}월{day}일", f"{month}/{day}")), f"{month:02}-{day:02}"
    short = year % 100
    if rng.random() < 0.5:
        return rng.choice((f"{year}년 {month}월", f"{short}년 {month}월")), f"{year}-{month:02}"
    return rng.choice((f"{year}.{month}.{day}", f"{short}.{month:02}.{day:02}")), f"{year}-{month:02}-{day:02}"


def _beside(writer: Writer, house: House, amounts: dict[str, int]) -> list[Statement]:
    """Draw what is no field: the station, the year of the building, parking, loans, what the neighbours pay."""
    topics = ["any", "any", "any"]
    topics += {"월세": ["lease"], "단기": ["lease"], "매매": ["sale"], "전세": ["jeonse"]}.get(house.deal, [])
    topics += ["shop"] if house.kind == "상가" else []
    chosen = writer.rng.sample(topics, min(len(topics), writer.rng.choices((0, 1, 2, 3, 4), (14, 28, 30, 20, 8))[0]))
    statements: list[Statement] = []
    spoken_of: set[str] = set()
    for variant in chosen:
        statement = writer.say("beside", variant, _beside_slots(writer, amounts), {})
        found = writer.tables.subjects.findall(statement.words)
        subjects = {writer.tables.same_subjects.get(subject, subject) for subject in found} or {statement.words}
        if not subjects & spoken_of:  # a text has a loan, or has none
            spoken_of |= subjects
            statements.append(statement)
    return statements


def _beside_slots(writer: Writer, amounts: dict[str, int]) -> dict:
    rng = writer.rng
    return {
        **{name: Amount(writer, amount) for name, amount in amounts.items()},
        "other": Amount(writer, rng.choice((500, 800, 1000, 2000, 3000, 5000, 8000, 12000, 15000))),
        "station": rng.choice(writer.tables.stations),
        "minutes": rng.randint(2, 12),
        "built": rng.randint(1994, 2024),
        "month": rng.randint(1, 12),
        "cars": rng.randint(1, 2),
        "land": rng.randint(20, 80),
    }


# --- the text --------------------------------------------------------------------------------


def _put_together(writer: Writer, statements: Sequence[Statement]) -> str:
    """Return the statements as one text in the writer's register."""
    rng, register = writer.rng, writer.register
    pieces = [writer.edge("opening"), *(statement.words for statement in statements), writer.edge("closing")]
    pieces = [piece for piece in pieces if piece]
    join, mark = rng.choice(register["joins"]), rng.choice(register.get("marks", [""]))
    if mark == "#":
        pieces = [re.sub(r"(?<!\d) | (?!\d)", "", piece) for piece in pieces]
    lone = 1 if register.get("lone_head") and statements[0].topic == "head" else 0
    marked = [
        piece if number < lone else f"{number - lone + 1}. {piece}" if mark == "1. " else mark + piece
        for number, piece in enumerate(pieces)
    ]
    if "fillers" in register:
        marked = [
            f"{piece} {rng.choice(register['fillers'])}" if writer.chance(20) else piece for piece in marked[:-1]
        ] + marked[-1:]
    return join.join(marked)


_SPACE = re.compile(r"(?<![0-9억천백만,])(?<=\S) (?=\S)|(?<=[억천백만,]) (?=[^0-9\s])|(?<=[0-9]) (?=[^0-9\s])")


def _without_spaces(text: str, rng: random.Random) -> str:
    """Return a text with some or all of its spaces dropped, but for those that keep two numbers apart."""
    share = rng.choice((0.4, 0.7, 1.0))
    return _SPACE.sub(lambda match: "" if rng.random() < share else match[0], text)


# --- files -----------------------------------------------------------------------------------


def generate(seed: int) -> dict[str, list[Advertisement]]:
    """Return the advertisements of each part; no text comes twice, in whatever part.

    A text with what the course's own scan takes for an address (흑석동 2룸) is drawn again, so that the files stay clean.
    """
    seen: set[str] = set()
    parts: dict[str, list[Advertisement]] = {}
    for part, rows in ROWS.items():
        rng = random.Random(f"{part} {seed}")
        parts[part] = []
        while len(parts[part]) < rows:
            advertisement = write_advertisement(rng, held_out=part == "test")
            if _is_new(advertisement.text, seen):
                parts[part].append(advertisement)
    return parts


def bare(text: str) -> str:
    """Return what is compared to tell whether a text comes twice: its letters and digits."""
    return re.sub(r"\W", "", text)


# 동작구 흑석동 2룸 once passed for an address, 대구 수성구 황금동 2룸 did not; the shipped rows stay those of their seed
_ROOMS_BEHIND_A_QUARTER = re.compile(
    r"(?<!대)(?<!대구 [가-힣]{2})[시군구] (?:[가-힣]{1,6}[구읍면동리] ?){0,3}[가-힣]{1,7}동 ?[0-9](?:\.5)?룸"
)


def _is_new(text: str, seen: set[str]) -> bool:
    """Tell whether a text may stand in a file, and note it among those seen if so."""
    line = " ".join(text.split())
    if bare(text) in seen or pii.find(text) or pii.find(line) or _ROOMS_BEHIND_A_QUARTER.search(line):
        return False
    seen.add(bare(text))
    return True


def generate_wide(rows: int, seed: int) -> list[Advertisement]:
    """Return advertisements to train on from all tables but those held out; none has the text of a shipped row."""
    seen = shipped_texts()
    rng = random.Random(f"wide {seed}")
    advertisements: list[Advertisement] = []
    while len(advertisements) < rows:
        advertisement = write_advertisement(rng, held_out=False, tables=wide_tables())
        if _is_new(advertisement.text, seen):
            advertisements.append(advertisement)
    return advertisements


def shipped_texts() -> set[str]:
    """Return the bare texts of all files in data/listings."""
    files = sorted((DATA / "listings").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {bare(json.loads(line)["input"]) for line in lines}


def wide_rows(rows: int, seed: int) -> list[dict[str, str]]:
    """Return wide advertisements as rows of a file."""
    return [_row(f"listing-wide-{number:05}", one) for number, one in enumerate(generate_wide(rows, seed), 1)]


def write_wide(file: Path | str, rows: int, seed: int) -> None:
    """Write a file of wide rows."""
    write_jsonl(Path(file), wide_rows(rows, seed))


def generate_hidden(rows: int, seed: int) -> list[Advertisement]:
    """Return advertisements worded as the test's, whose texts stand in no shipped file: who has the seed has the records."""
    seen = shipped_texts()
    rng = random.Random(f"hidden {seed}")
    advertisements: list[Advertisement] = []
    while len(advertisements) < rows:
        advertisement = write_advertisement(rng, held_out=True)
        if _is_new(advertisement.text, seen):
            advertisements.append(advertisement)
    return advertisements


def write_hidden(folder: Path | str, rows: int, seed: int) -> None:
    """Write the texts that teams are given, and the key that they are not."""
    key = [_row(f"hidden-{number:03}", one) for number, one in enumerate(generate_hidden(rows, seed), 1)]
    write_jsonl(Path(folder) / "key.jsonl", key)
    write_jsonl(Path(folder) / "texts.jsonl", [{name: row[name] for name in ("id", "instruction", "input")} for row in key])
    print(f"{Path(folder) / 'texts.jsonl'}: {rows} listings to hand out; keep key.jsonl and the seed {seed} to yourself")


def write(folder: Path | str, seed: int) -> None:
    """Write the training, validation and test files."""
    for part, advertisements in generate(seed).items():
        rows = [_row(f"listing-{part}-{number:03}", one) for number, one in enumerate(advertisements, 1)]
        write_jsonl(Path(folder) / f"listings_{part}.jsonl", rows)


def _row(identity: str, advertisement: Advertisement) -> dict[str, str]:
    return {
        "id": identity,
        "instruction": LISTING.system,
        "input": advertisement.text,
        "output": render_record(advertisement.record),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the shipped files, with --wide more rows to train on, or with --hidden texts for teams and their key."""
    parser = argparse.ArgumentParser(description="Write advertisements with their records.")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--wide", type=int, metavar="ROWS", help="write so many rows drawn from the wider tables")
    more.add_argument(
        "--hidden", type=int, metavar="ROWS", help="write so many for a leaderboard: texts.jsonl and key.jsonl"
    )
    parser.add_argument("--seed", type=int, help=f"of the wide rows (default: {SEED}), or of the hidden ones (yours alone)")
    parser.add_argument("--out", type=Path, metavar="PATH", help="where the wide rows go, or the folder of the hidden ones")
    options = parser.parse_args(arguments)
    rows = options.wide if options.hidden is None else options.hidden
    if rows is None:
        if options.out:
            parser.error("--out goes with --wide ROWS or --hidden ROWS")
        write(DATA / "listings", seed=SEED)
    elif rows < 1 or options.out is None:
        parser.error("--wide and --hidden take a number of rows above 0, and --out PATH")
    elif options.hidden is None:
        write_wide(options.out, rows, SEED if options.seed is None else options.seed)
    elif options.seed is None:
        parser.error("--hidden takes a --seed of your own: whoever knows it can make the key")
    else:
        write_hidden(options.out, rows, options.seed)


if __name__ == "__main__":
    main()
