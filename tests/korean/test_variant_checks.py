"""Protects: what the Korean checks name and leave alone of variants that are written for each kind of fault met outside."""

from collections import Counter

import pytest

from kotune.korean.checks import check
from utils import ROOT, read_jsonl

VARIANTS = read_jsonl(ROOT / "tests" / "korean" / "variant_checks.jsonl")
FINDINGS = {  # what a row calls a check: what `check` calls its findings
    "particle": {"particle"},
    "banmal": {"mixed_speech", "banmal"},
    "speech": {"mixed_speech", "banmal"},
    "haeyo": {"mixed_polite"},
    "unfinished": {"unfinished"},
    "leftover": {"leftover", "template_marker"},
    "loop": {"repeated_sentence", "repeated_ngram", "repeated_characters"},
    "foreign": {"hanja", "kana", "cyrillic", "other_script", "latin_run", "low_hangul"},
    "echo": {"echo"},
    "spacing": {"spacing"},
}
LEAST_RECALL = {"particle": 0.96, "leftover": 0.97, "unfinished": 0.95, "echo": 0.87}  # where not all are found


@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_nothing_natural_is_named_and_hardly_a_fault_is_missed(name):
    rows = [row for row in VARIANTS if row["check"] == name]
    found = [check(row["text"], question=row.get("question")) for row in rows]
    named = [bool(FINDINGS[name] & {finding.check for finding in findings}) for findings in found]
    wrong = [row["text"] for row, is_named in zip(rows, named, strict=True) if is_named and not row["expected"]]
    missed = [row["text"] for row, is_named in zip(rows, named, strict=True) if row["expected"] and not is_named]
    assert wrong == []
    assert len(missed) <= (1 - LEAST_RECALL.get(name, 1)) * sum(row["expected"] for row in rows), missed


def test_the_variants_are_many_and_of_both_sorts():
    counts = Counter((row["check"], row["expected"]) for row in VARIANTS)
    assert {name for name, _ in counts} == set(FINDINGS)
    assert min(counts.values()) >= 8
    assert len({row["id"] for row in VARIANTS}) == len(VARIANTS)
