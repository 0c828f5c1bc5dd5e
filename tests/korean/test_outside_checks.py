"""Protects: what docs/korean_checks.md promises on rows whose writer had seen neither the rules nor their cases."""

from collections import Counter

import pytest

import similarity
from kotune.data import pii
from kotune.korean.checks import check
from kotune.korean.contrasts import difference
from utils import ROOT, read_jsonl

CHECKS = read_jsonl(ROOT / "tests" / "korean" / "outside_checks.jsonl")
REPEATS = read_jsonl(ROOT / "tests" / "data" / "blind_repeats.jsonl")
FINDINGS = {  # what the writer calls a check: what `check` calls its findings
    "particle": {"particle"},
    "mixed_speech": {"mixed_speech", "banmal"},
    "haeyo_among_hapsyo": {"mixed_polite"},
    "unfinished": {"unfinished"},
    "leftover": {"leftover", "template_marker"},
    "repetition": {"repeated_sentence", "repeated_ngram", "repeated_characters"},
    "foreign": {"hanja", "kana", "cyrillic", "other_script", "latin_run", "low_hangul"},
    "number": {"unsupported_number"},
}
LEAST = {  # precision and recall, slightly under what was measured; no rule may be fitted to these rows
    "particle": (0.98, 0.88),
    "mixed_speech": (0.93, 0.93),
    "haeyo_among_hapsyo": (0.98, 0.88),
    "unfinished": (0.96, 0.88),
    "leftover": (0.95, 0.78),
    "repetition": (0.89, 0.83),
    "foreign": (0.9, 0.93),
    "number": (0.93, 0.91),
    "pii": (0.98, 0.89),
}


def is_named(row):
    if row["check"] == "pii":
        return bool(pii.find(row["text"]))
    return bool(FINDINGS[row["check"]] & {finding.check for finding in check(row["text"], source=row.get("source"))})


@pytest.mark.parametrize("name", sorted({row["check"] for row in CHECKS}))
def test_precision_and_recall_on_rows_of_another_writer(name):
    outcomes = Counter((bool(row["expected"]), is_named(row)) for row in CHECKS if row["check"] == name)
    right, wrong, missed = outcomes[True, True], outcomes[False, True], outcomes[True, False]
    assert right + missed >= 20 and wrong + outcomes[False, False] >= 20
    precision, recall = LEAST[name]
    assert right >= precision * (right + wrong)
    assert right >= recall * (right + missed)


# repeats dropped at least, and different questions dropped at most, of 60 each: (unit, differ, repeats, different)
DROPPED = [
    ("eojeol", None, 6, 44),
    ("eojeol", difference, 6, 15),
    ("morpheme", None, 31, 55),
    ("morpheme", difference, 29, 19),
]


@pytest.mark.parametrize(("unit", "differ", "repeats", "different"), DROPPED)
def test_different_questions_of_another_writer_are_dropped_less_often(unit, differ, repeats, different):
    dropped = [row for row in REPEATS if similarity.deduplicate([row["a"], row["b"]], 0.7, unit, differ=differ).dropped]
    assert sum(row["same"] for row in dropped) >= repeats
    assert sum(not row["same"] for row in dropped) <= different
