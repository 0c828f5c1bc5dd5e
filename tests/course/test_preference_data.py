"""Protects: a shipped preference pair is wrong in the way that its kind says, and in nothing that form would give away."""

import re
from collections import Counter
from difflib import SequenceMatcher

import pytest

from kotune.data import registry
from kotune.korean.grounding import unsupported_numbers
from kotune.korean.script_checks import scripts
from kotune.korean.sentences import has_final_mark, sentence_texts
from kotune.korean.speech_levels import POLITE_LEVELS, is_polite, level_of
from kotune.teacher.filters import foreign_words
from similarity import deduplicate, find_overlap

SCOLDING = re.compile(r"몰라\?|[그이]것도 모르|기본도|왜 물어|당연한 걸|한심|답답하|바보|멍청|할 줄 알았어|누가 .*줬?대\?")
TAUTOLOGY = re.compile(r"(?:말 그대로|중요하고 또 중요|바로 그 여러 가지)")
ROWS = registry.load_rows("real_estate_preference")


def of_kind(kind):
    return [row for row in ROWS if row["kind"] == kind]


def changed(row):
    """Return the stretches of words in which the sides differ: (words of the chosen side, words of the rejected one)."""
    sides = [row[side].split() for side in ("chosen", "rejected")]
    matcher = SequenceMatcher(None, *sides, autojunk=False)
    return [(sides[0][a:b], sides[1][c:d]) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]


def test_a_wrong_fact_is_one_stretch_of_a_few_words():
    for row in of_kind("wrong_fact"):
        stretches = changed(row)
        assert len(stretches) == 1, row["id"]
        assert max(map(len, stretches[0])) <= 5, row["id"]


def test_an_answer_off_topic_is_polite_and_a_good_answer_to_another_question():
    rows = of_kind("off_topic")
    for row in rows:
        levels = [level_of(sentence) for sentence in sentence_texts(row["rejected"])]
        assert levels[-1] in POLITE_LEVELS, row["id"]
    both_ways = {(row["chosen"], row["rejected"]) for row in rows}
    assert sum((rejected, chosen) in both_ways for chosen, rejected in both_ways) >= 0.6 * len(rows)


def test_what_is_cut_short_is_the_good_answer_up_to_a_late_place():
    for row in of_kind("cut_short"):
        assert row["chosen"].startswith(row["rejected"]), row["id"]
        assert 0.5 <= len(row["rejected"]) / len(row["chosen"]) < 1, row["id"]
        assert not has_final_mark(row["rejected"]), row["id"]


def test_a_foreign_word_slips_into_a_korean_sentence():
    scripts_seen = Counter()
    for row in of_kind("wrong_language"):
        new = foreign_words(row["rejected"]) - foreign_words(row["chosen"])
        assert 1 <= len(new) <= 2, row["id"]
        assert scripts(row["rejected"])["hangul"] > 0.7, row["id"]
        assert len(changed(row)) <= 2, row["id"]
        scripts_seen.update(name for name in ("latin", "hanja", "kana") if any(scripts(word)[name] for word in new))
    assert min(scripts_seen.values()) >= 4
    assert len(scripts_seen) == 3


def test_padding_adds_no_number_and_keeps_its_tone():
    for row in of_kind("padded"):
        assert is_polite(row["rejected"]), row["id"]
        assert not unsupported_numbers(row["rejected"], row["chosen"]), row["id"]
        assert not TAUTOLOGY.search(row["rejected"]), row["id"]
    listed = sum("\n" in row["rejected"] for row in of_kind("padded"))
    assert 0.3 <= listed / len(of_kind("padded")) <= 0.7


def test_curt_answers_do_not_scold():
    for row in of_kind("rude"):
        assert not SCOLDING.search(row["rejected"]), row["id"]
        assert not unsupported_numbers(row["rejected"], row["prompt"] + row["chosen"]), row["id"]


@pytest.mark.parametrize("kind", ["wrong_fact", "off_topic", "wrong_language", "rude"])
def test_neither_side_of_a_kind_is_the_longer_one_as_a_rule(kind):
    longer = sum(len(row["chosen"]) > len(row["rejected"]) for row in of_kind(kind))
    shorter = sum(len(row["chosen"]) < len(row["rejected"]) for row in of_kind(kind))
    assert 0.4 <= longer / (longer + shorter) <= 0.6


def test_a_wrong_number_is_larger_as_often_as_smaller():
    larger = smaller = 0
    for row in of_kind("wrong_fact"):
        for right, wrong in zip(*(re.findall(r"\d+", row[side]) for side in ("chosen", "rejected")), strict=False):
            larger += int(wrong) > int(right)
            smaller += int(wrong) < int(right)
    assert 0.4 <= larger / (larger + smaller) <= 0.6


def test_most_pairs_differ_in_content_alone():
    counts = Counter(row["kind"] for row in ROWS)
    assert counts["wrong_fact"] >= 0.45 * len(ROWS)
    assert counts["wrong_fact"] + counts["off_topic"] >= 0.7 * len(ROWS)
    assert min(counts.values()) >= 20


def test_the_pairs_kept_back_have_every_kind_in_its_share():
    whole, kept_back = (Counter(row["kind"] for row in rows) for rows in (ROWS, ROWS[-60:]))
    for kind, count in whole.items():
        assert kept_back[kind] == pytest.approx(60 * count / len(ROWS), abs=3), kind


@pytest.mark.slow
def test_sft_has_not_seen_the_chosen_side_of_half_the_pairs():
    trained = [row for name in ("real_estate_train", "counsel_train") for row in registry.load_rows(name)]
    questions = {row.get("question", row.get("instruction")) for row in trained}
    answers = [row.get("answer", row.get("output")) for row in trained]
    new = [row for row in ROWS if row["prompt"] not in questions]
    assert len(new) >= 0.5 * len(ROWS)
    for unit in ("eojeol", "morpheme"):
        assert not find_overlap([row["chosen"] for row in new], answers, 0.8, unit=unit)
        assert not find_overlap([row["prompt"] for row in new], sorted(questions), 0.8, unit=unit)


@pytest.mark.parametrize("unit", ["eojeol", "morpheme"])
def test_no_held_out_question_is_asked(unit):
    held_out = [
        row.get("question", row.get("instruction"))
        for name in ("real_estate_evaluation", "real_estate_validation", "counsel_evaluation", "counsel_validation")
        for row in registry.load_rows(name)
    ]
    prompts = [row["prompt"] for row in ROWS]
    assert not find_overlap(prompts, held_out, 0.7, unit=unit)
    assert not deduplicate(prompts, 0.7).dropped
