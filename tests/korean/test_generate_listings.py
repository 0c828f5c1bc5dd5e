"""Protects: advertisements whose texts say what their records say, files that are the seed's, and a regex that does not solve them."""

import re
from collections import Counter
from functools import cache
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.data.generate_listings import (
    AMOUNT_WRITERS,
    HELD_OUT_WORDING,
    PLACES,
    REGISTERS,
    ROWS,
    SEED,
    VARIANTS,
    WORDING,
    amount_in_words,
    generate,
    misspelt,
    native_korean,
    sino_korean,
    with_particles,
    write,
)
from kotune.data import pii, registry
from kotune.korean.listing_rules import amount_of, listing_by_rules
from kotune.korean.listings import FIELDS, parse_record, render_record, score
from prompts import LISTING
from utils import DATA

PARTS = tuple(ROWS)


@cache
def advertisements(seed=SEED):
    return generate(seed)


def all_of(seed=SEED):
    return list(chain.from_iterable(advertisements(seed).values()))


@cache
def rows(part):
    return registry.load_rows(f"listings_{part}")


def bare(text):
    return re.sub(r"\s", "", text)


# --- the files -------------------------------------------------------------------------------


def test_the_shipped_files_are_those_of_the_seed(tmp_path):
    write(tmp_path, SEED)
    for part in PARTS:
        name = f"listings_{part}.jsonl"
        assert (tmp_path / name).read_bytes() == (DATA / "listings" / name).read_bytes(), f"run {write.__module__}"
    assert {part: len(rows(part)) for part in PARTS} == ROWS


def test_every_row_has_the_prompt_and_a_record_in_its_one_form():
    for row in chain.from_iterable(rows(part) for part in PARTS):
        assert row["instruction"] == LISTING.system
        assert render_record(parse_record(row["output"])) == row["output"]


@pytest.mark.parametrize("seed", [SEED, 1])
def test_no_text_comes_twice_in_whatever_part(seed):
    texts = [re.sub(r"\W", "", one.text) for one in all_of(seed)]
    assert len(set(texts)) == len(texts)


def test_nothing_looks_like_personal_data():
    assert not [row["input"] for part in PARTS for row in rows(part) if pii.find(row["input"])]


# --- what is held out ------------------------------------------------------------------------


def test_the_test_has_places_and_registers_that_training_never_has():
    registers = {part: {one.register for one in advertisements()[part]} for part in PARTS}
    only_tests = {register["name"] for register in REGISTERS["test"]}
    assert only_tests <= registers["test"] and not only_tests & (registers["train"] | registers["validation"])
    dongs = {dong for entry in PLACES["test"] for dong in entry["dongs"]} - {d for e in PLACES["train"] for d in e["dongs"]}
    named = {
        part: sum(
            any(dong == word for word in (one.record.place or "").split() for dong in dongs)
            for one in advertisements()[part]
        )
        for part in PARTS
    }
    assert named["train"] == named["validation"] == 0 < 0.15 * ROWS["test"] < named["test"]


def test_no_phrase_that_is_held_out_is_drawn_from_for_training():
    shared = {(topic, phrase) for topic, phrases in phrases_of(WORDING) for phrase in phrases}
    held_out = [(topic, phrase) for topic, phrases in phrases_of(HELD_OUT_WORDING) for phrase in phrases]
    assert len(held_out) > 100 and not set(held_out) & shared


def phrases_of(table):
    for topic, variants in table.items():
        for value in variants.values():
            for phrases in [value] if isinstance(value, list) else value.values():
                yield topic, phrases


def test_held_out_topics_and_variants_are_those_of_the_wording():
    for topic, variants in HELD_OUT_WORDING.items():
        assert set(variants) <= set(WORDING[topic]), topic
    for topic, variants in VARIANTS.items():
        assert set(variants) == set(WORDING[topic]), topic


# --- texts and records -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", [SEED, 1, 2])
def test_a_text_says_every_statement_and_a_record_has_what_the_statements_state(seed):
    for one in all_of(seed):
        text = bare(one.text)
        assert all(bare(statement.words) in text for statement in one.statements), one
        stated = {name: value for statement in one.statements for name, value in statement.states.items()}
        assert one.record.model_dump() == {name: stated.get(name) for name in FIELDS}
        assert not set("{}") & set(one.text) and not re.search(r"<[^<>]*/[^<>]*>", one.text)


@pytest.mark.parametrize("seed", [SEED, 1, 2])
def test_two_statements_never_disagree(seed):
    for one in all_of(seed):
        for name in FIELDS:
            assert len({s.states[name] for s in one.statements if s.states.get(name) is not None}) <= 1, (name, one)


@pytest.mark.parametrize("seed", [SEED, 1, 2])
def test_each_amount_of_a_record_stands_in_its_statement(seed):
    for one in all_of(seed):
        for statement in one.statements:
            for name in {"deposit", "rent", "price", "maintenance"} & set(statement.states):
                amount = statement.states[name]
                forms = {bare(amount_in_words(amount, habit)) for habit in AMOUNT_WRITERS}
                assert amount == 0 or any(form in bare(statement.words) for form in forms), (name, statement)
            if "area" in statement.states:
                number = statement.states["area"][:-1]
                native = native_korean(int(number)) if number.isdigit() and int(number) < 100 else number
                assert number in statement.words or native in statement.words
            if "place" in statement.states:
                assert statement.states["place"] in statement.words
            if statement.states.get("kind"):
                assert statement.topic == "head"


def test_every_variant_of_every_topic_is_drawn_and_each_field_is_often_null():
    wordy = 0
    for name in FIELDS:
        null = sum(getattr(one.record, name) is None for one in advertisements()["train"])
        assert 0.02 * ROWS["train"] < null < 0.95 * ROWS["train"] or name == "deal", (name, null)
    wordy = Counter(one.record.deal for one in all_of())
    assert set(wordy) == {"월세", "전세", "매매", "단기"} and min(wordy.values()) >= 30


def test_a_dropped_space_never_joins_two_numbers():
    for one in all_of():
        if not one.spaced:
            apart = [bare(statement.words) for statement in one.statements]
            for first, second in pairwise(apart):
                if first[-1].isdigit() and second[0].isdigit():
                    assert first + second not in one.text


# --- words -----------------------------------------------------------------------------------


@given(amount=st.integers(1, 200_000), habit=st.sampled_from(sorted(AMOUNT_WRITERS)))
def test_an_amount_is_read_back_from_every_notation(amount, habit):
    assert amount_of(amount_in_words(amount, habit)) == amount


@given(tenths=st.integers(10, 500).filter(lambda tenths: tenths % 10), habit=st.sampled_from(sorted(AMOUNT_WRITERS)))
def test_an_amount_with_thousands_of_won_is_read_back(tenths, habit):
    assert amount_of(amount_in_words(tenths / 10, habit)) == tenths / 10


@pytest.mark.parametrize(
    ("amount", "habit", "words"),
    [
        (35000, "man won", "3억 5,000만 원"), (35000, "short", "3억5천"), (35000, "decimal", "3.5억"), (35000, "comma", "35,000"),
        (35000, "won", "350,000,000원"), (35000, "words", "삼억오천"), (500, "short", "5백"), (1000, "words", "천"),
        (10000, "words", "일억"), (45, "words won", "사십오만원"), (36510, "man", "3억6510만"), (7.5, "man", "7만5천원"),
    ],
)  # fmt: skip
def test_notations_are_those_that_people_use(amount, habit, words):
    assert amount_in_words(amount, habit) == words
    assert amount_of(words) == amount


@pytest.mark.parametrize(
    ("number", "sino", "native"),
    [(1, "일", "한"), (10, "십", "열"), (11, "십일", "열한"), (20, "이십", "스무"), (35, "삼십오", "서른다섯")],
)
def test_numbers_in_words(number, sino, native):
    assert (sino_korean(number), native_korean(number)) == (sino, native)
    assert sino_korean(11_111) == "만천백십일"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("500<이에요/예요>", "500이에요"), ("45<이에요/예요>", "45예요"), ("12평<이라/라>", "12평이라"), ("84㎡<이에요/예요>", "84㎡예요"),
        ("5천<으로/로>", "5천으로"), ("오백만원<이고/고>", "오백만원이고"), ("1만<으로/로>", "1만으로"), ("3월 7일<으로/로>", "3월 7일로"),
        ("반지하<이에요/예요>", "반지하예요"), ("10000<이고/고>", "10000이고"),
    ],
)  # fmt: skip
def test_a_particle_fits_what_is_read_before_it(text, right):
    assert with_particles(text) == right


@given(seed=st.integers())
def test_a_slip_of_the_keyboard_changes_one_syllable_and_spares_the_slots(seed):
    import random

    phrase = "보증금은 {deposit}<이고/고> 월세는 {rent}입니다."
    slipped = misspelt(phrase, random.Random(seed))
    assert len(slipped) == len(phrase) and sum(a != b for a, b in zip(phrase, slipped, strict=True)) <= 1
    assert slipped.count("{deposit}<이고/고>") == slipped.count("{rent}") == 1


# --- the baseline ----------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "low", "high"), [("validation", 0.6, 0.8), ("test", 0.4, 0.6)])
def test_the_rules_neither_solve_the_job_nor_break(part, low, high):
    found = score(
        [render_record(listing_by_rules(row["input"])) for row in rows(part)], [row["output"] for row in rows(part)]
    )
    assert low <= found.exact / found.n <= high
    assert found.valid == found.n and found.field_share > 0.9


@given(
    text=st.text(
        st.sampled_from("보증금 월세전매12345억천만원/에층평㎡m2방화실.,일이삼한두관리비입주협의즉시동구\n"), max_size=80
    )
)
def test_the_rules_read_a_record_in_every_text(text):
    assert parse_record(render_record(listing_by_rules(text))) == listing_by_rules(text)
