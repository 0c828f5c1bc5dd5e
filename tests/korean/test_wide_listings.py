"""Protects: wider rows to train on, which say what their records say, are the seed's, and stand in no shipped file nor draw from the test's tables."""

import json
import re
from functools import cache

import pytest

from dev.data.generate_listings import (
    AMOUNT_WRITERS,
    HELD_OUT_WORDING,
    PLACES,
    REGISTERS,
    WORDING,
    amount_in_words,
    bare,
    generate_wide,
    main,
    native_korean,
    shipped_texts,
    wide_tables,
)
from kotune.data import pii
from kotune.korean.listings import FIELDS, parse_record, render_record
from prompts import LISTING
from utils import DATA

ROWS = 1500


@cache
def advertisements(seed=1, rows=ROWS):
    return generate_wide(rows, seed)


def phrases_of(table, path=()):
    """Yield each list of phrases with where it stands: topic, variant, manner."""
    if isinstance(table, list):
        yield path, table
    else:
        for name, part in table.items():
            yield from phrases_of(part, (*path, name))


# --- the command -----------------------------------------------------------------------------


def test_the_command_writes_rows_in_their_one_form_and_the_same_for_a_seed(tmp_path):
    first, again, other = (tmp_path / name for name in ("first.jsonl", "again.jsonl", "other.jsonl"))
    for file, seed in ((first, "1"), (again, "1"), (other, "2")):
        main(["--wide", "120", "--seed", seed, "--out", str(file)])
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    rows = [json.loads(line) for line in first.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"listing-wide-{number:05}" for number in range(1, 121)]
    for row in rows:
        assert row["instruction"] == LISTING.system
        assert render_record(parse_record(row["output"])) == row["output"]


@pytest.mark.parametrize("arguments", [["--wide", "5"], ["--wide", "0", "--out", "x"], ["--out", "x"]])
def test_the_command_refuses_what_it_cannot_do(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--wide" in capsys.readouterr().err


# --- apart from what is shipped --------------------------------------------------------------


def test_no_text_comes_twice_or_stands_in_a_shipped_file():
    texts = [bare(one.text) for one in advertisements()]
    assert len(set(texts)) == len(texts) == ROWS
    assert len(list((DATA / "listings").glob("*.jsonl"))) == 5 and len(shipped_texts()) >= 700
    assert not shipped_texts() & set(texts)
    assert not [one.text for one in advertisements() if pii.find(one.text)]


def test_nothing_is_drawn_from_that_is_held_out_for_the_test():
    held_out = {path: set(phrases) for path, phrases in phrases_of(HELD_OUT_WORDING)}
    for path, phrases in phrases_of(wide_tables().wording):
        assert not held_out.get(path, set()) & set(phrases), path
    registers = REGISTERS["test"]
    assert not {one["name"] for one in wide_tables().registers} & {one["name"] for one in registers}
    assert not [
        (wide["name"], join)
        for wide in wide_tables().registers
        for one in registers
        for join in set(wide["joins"]) & set(one["joins"])
        if one["name"] == "semicolons"
    ]
    only_tests = {dong for entry in PLACES["test"] for dong in entry["dongs"]}
    only_tests -= {dong for entry in PLACES["train"] for dong in entry["dongs"]}
    assert not only_tests & {dong for entry in wide_tables().places for dong in entry["dongs"]}
    districts = {(city, entry["district"]) for entry in PLACES["test"] for city in entry["city"]}
    assert not districts & {(city, entry["district"]) for entry in wide_tables().places for city in entry["city"]}


# --- the tables ------------------------------------------------------------------------------


def test_every_topic_variant_and_manner_has_three_times_its_phrases():
    wide = dict(phrases_of(wide_tables().wording))
    for path, phrases in phrases_of(WORDING):
        assert len(set(wide[path])) >= 2.5 * len(set(phrases) - {""}), path
    assert set(wide) == {path for path, _ in phrases_of(WORDING)}


def test_a_phrase_has_the_slots_of_its_variant_alone():
    known = {}
    for path, phrases in phrases_of(WORDING):
        known.setdefault(path[:2], set()).update(slot for phrase in phrases for slot in re.findall(r"\{(\w+)", phrase))
    for path, phrases in phrases_of(wide_tables().wording):
        if path[0] in ("beside", "near", "available"):
            continue
        for phrase in phrases:
            assert set(re.findall(r"\{(\w+)", phrase)) <= known[path[:2]], (path, phrase)


# --- texts and records -----------------------------------------------------------------------


def test_a_record_has_what_the_statements_state_and_they_never_disagree():
    for one in advertisements():
        text = re.sub(r"\s", "", one.text)
        assert all(re.sub(r"\s", "", statement.words) in text for statement in one.statements), one
        stated = {name: value for statement in one.statements for name, value in statement.states.items()}
        assert one.record.model_dump() == {name: stated.get(name) for name in FIELDS}
        assert not set("{}") & set(one.text) and not re.search(r"<[^<>]*/[^<>]*>", one.text), one.text
        for name in FIELDS:
            assert len({s.states[name] for s in one.statements if s.states.get(name) is not None}) <= 1, (name, one)


def test_each_value_of_a_record_stands_in_its_statement():
    for one in advertisements():
        for statement in one.statements:
            words = re.sub(r"\s", "", statement.words)
            for name in {"deposit", "rent", "price", "maintenance"} & set(statement.states):
                amount = statement.states[name]
                forms = {re.sub(r"\s", "", amount_in_words(amount, habit)) for habit in AMOUNT_WRITERS}
                assert amount == 0 or any(form in words for form in forms), (name, statement)
            if "area" in statement.states:
                number = statement.states["area"][:-1]
                assert number in words or native_korean(int(number)) in words, statement
            if "place" in statement.states:
                assert statement.states["place"] in statement.words


def test_the_texts_are_far_more_various_than_the_shipped_ones():
    assert len({one.register for one in advertisements()}) >= 15
    assert len({one.record.place for one in advertisements()}) > 600
