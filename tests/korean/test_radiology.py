"""Protects: radiology reports whose texts and facts agree, possible anatomy, and planted errors that are one error each."""

import json
import math
import random
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.data.generate_radiology import (
    BILATERAL_PLACES,
    ERROR_KINDS,
    INSTRUCTIONS,
    PAIRS_OF_A_KIND,
    STUDIES,
    TEST_ROWS,
    TRAIN_ROWS,
    applicable_kinds,
    generate,
    plant_error,
    write,
)
from kotune.data import registry
from kotune.korean.radiology import Fact, compare_facts, fact_scores, facts_in
from utils import DATA

SEEDS = (0, 1, 7, 42, 2024)
FILES = ("radiology_train.jsonl", "radiology_test.jsonl", "radiology_preference.jsonl")

SIDED = {
    "nodule", "ground-glass nodule", "ground-glass opacity", "consolidation", "atelectasis", "bronchiectasis",
    "emphysema", "calcified granuloma", "pleural effusion", "pneumothorax", "apical pleural thickening", "rib fracture",
    "renal cyst", "renal stone", "ureter stone", "hydronephrosis", "adrenal nodule", "white matter change",
    "lacunar infarct", "microbleed", "encephalomalacia", "meningioma", "arachnoid cyst", "sinusitis", "retention cyst",
    "mastoid effusion",
}  # fmt: skip
UNSIDED = {
    "cardiomegaly", "aortic calcification", "pericardial effusion", "coronary artery calcification", "fatty liver",
    "gallstone", "gallbladder polyp", "splenomegaly", "pancreatic cyst", "colonic diverticulosis", "brain atrophy",
}  # fmt: skip
SIDES_OF_SITES = {
    "middle lobe": {"right"},
    "lateral segment of middle lobe": {"right"},
    "medial segment of middle lobe": {"right"},
    "apical segment of upper lobe": {"right"},
    "posterior segment of upper lobe": {"right"},
    "apicoposterior segment of upper lobe": {"left"},
    "lingular segment of upper lobe": {"left"},
}


@cache
def reports_of(seed):
    return generate(TRAIN_ROWS + TEST_ROWS, seed)


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rouge_l(one: list[str], other: list[str]) -> float:
    """ROUGE-L F1 of two lists of words, by the bit-parallel longest common subsequence."""
    places = {word: sum(1 << i for i, own in enumerate(one) if own == word) for word in set(one)}
    row = ones = (1 << len(one)) - 1
    for word in other:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & ones
    return 2 * (len(one) - row.bit_count()) / (len(one) + len(other))


# --- reports ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_gives_the_same_reports_and_another_seed_gives_others(seed):
    assert generate(40, seed) == reports_of(seed)[:40]
    assert generate(40, seed + 1) != reports_of(seed)[:40]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_text_is_distinct(seed):
    reports = reports_of(seed)
    for texts in ({r.id for r in reports}, {r.conclusion for r in reports}, {r.findings for r in reports}):
        assert len(texts) == len(reports)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_few_findings_nearly_repeat_another(seed):
    words = [report.findings.lower().replace(".", "").replace(",", "").split() for report in reports_of(seed)]
    near = {j for (_, one), (j, other) in combinations(enumerate(words), 2) if rouge_l(one, other) > 0.7}
    assert len(near) <= 0.02 * len(words)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_findings_state_exactly_the_facts(seed):
    for report in reports_of(seed):
        assert facts_in(report.findings) == set(report.facts), report


@pytest.mark.parametrize("seed", SEEDS)
def test_the_conclusion_states_exactly_the_facts(seed):
    for report in reports_of(seed):
        assert facts_in(report.conclusion) == set(report.facts), report


@pytest.mark.parametrize("seed", SEEDS)
def test_a_report_has_one_to_three_facts_and_two_to_six_sentences(seed):
    for report in reports_of(seed):
        assert 1 <= len(report.facts) <= 3
        assert 2 <= report.findings.count(". ") + 1 <= 6
        assert report.findings.endswith(".") and "  " not in report.findings + report.conclusion
        assert not set("{}") & set(report.instruction + report.conclusion + report.findings)


@pytest.mark.parametrize("seed", SEEDS)
def test_anatomy_holds(seed):
    for report in reports_of(seed):
        for fact in report.facts:
            assert_possible(fact)
        text = report.conclusion + report.findings
        assert not any(wrong in text for wrong in ("left middle lobe", "LML", "right lingula", "right gallbladder"))


def assert_possible(fact):
    """Fail for a side or site that the body does not have."""
    if fact.side is None:
        assert fact.finding not in SIDED and "lobe" not in fact.site
    else:
        assert fact.finding not in UNSIDED and not fact.site.endswith("of liver")
        assert fact.side in SIDES_OF_SITES.get(fact.site, {"right", "left", "bilateral"})


def test_a_kind_has_enough_phrasings():
    for study in STUDIES:
        assert all(len(set(kind.sentences)) >= 5 for kind in study.kinds)
        assert all(len(set(negative.phrases)) >= 4 for negative in study.negatives)
        assert len({kind.finding for kind in study.kinds}) == len(study.kinds)
    assert len(set(INSTRUCTIONS)) >= 8


def test_a_negative_names_findings_that_exist():
    known = {kind.finding for study in STUDIES for kind in study.kinds}
    assert all(negative.rules_out <= known for study in STUDIES for negative in study.negatives)


def test_a_negative_states_no_fact():
    for study in STUDIES:
        for negative in study.negatives:
            assert not any(facts_in(phrase) for phrase in negative.phrases), negative


def test_every_bilateral_place_is_written_in_words():
    sites = {
        site
        for study in STUDIES
        for kind in study.kinds
        for side, site in kind.places
        if side == "bilateral" and any("{place}" in pattern for pattern in kind.sentences + kind.impressions)
    }
    assert sites <= set(BILATERAL_PLACES)


# --- planted errors --------------------------------------------------------------------------


def planted(seed, kind):
    """Return each report that a kind of error applies to, with the facts of the findings that hold the error."""
    rng = random.Random(seed)
    chosen = [report for report in reports_of(seed) if kind in applicable_kinds(report)]
    return [(report, facts_in(plant_error(report, kind, rng))) for report in chosen]


def the_changed(report, facts):
    """Return the one fact that is gone and the one that has come."""
    (gone,), (come,) = set(report.facts) - facts, facts - set(report.facts)
    return gone, come


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_side_changes_one_side(seed):
    for report, facts in planted(seed, "side"):
        gone, come = the_changed(report, facts)
        assert {gone.side, come.side} == {"right", "left"} and replace(come, side=gone.side) == gone
        assert_possible(come)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_lobe_changes_one_lobe(seed):
    for report, facts in planted(seed, "lobe"):
        gone, come = the_changed(report, facts)
        assert gone.site.rpartition(" of ")[2] != come.site and replace(come, site=gone.site) == gone
        assert come.site.endswith(("lobe", "lung zone"))
        assert_possible(come)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_size_changes_one_size_by_half_or_more(seed):
    for report, facts in planted(seed, "size"):
        gone, come = the_changed(report, facts)
        assert max(gone.size_mm, come.size_mm) >= 1.5 * min(gone.size_mm, come.size_mm)
        assert replace(come, size_mm=gone.size_mm) == gone


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_size_keeps_every_other_word(seed):
    rng = random.Random(seed)
    for report in reports_of(seed):
        if "size" in applicable_kinds(report):
            pairs = zip(report.findings.split(), plant_error(report, "size", rng).split(), strict=True)
            different = [(one, other) for one, other in pairs if one != other]
            assert all(one[0].isdigit() or one.lower() in ("a", "an") for one, _ in different)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_invented_finding_is_one_fact_at_a_site_the_report_does_not_have(seed):
    for report, facts in planted(seed, "invented_finding"):
        (come,) = facts - set(report.facts)
        assert set(report.facts) < facts
        assert come.site not in {fact.site for fact in report.facts}
        assert come.finding not in {fact.finding for fact in report.facts}
        assert_possible(come)


def test_an_error_that_does_not_apply_is_refused():
    report = next(report for report in reports_of(0) if "size" not in applicable_kinds(report))
    with pytest.raises(ValueError, match="'size'"):
        plant_error(report, "size", random.Random(0))


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_files_hold_a_split_without_overlap_and_equal_numbers_of_pairs(seed, tmp_path):
    write(tmp_path, seed)
    train, test, preference = (rows_of(tmp_path / name) for name in FILES)
    assert (len(train), len(test)) == (TRAIN_ROWS, TEST_ROWS)
    for field in ("id", "input", "output"):
        assert not {row[field] for row in train} & {row[field] for row in test}
    assert not {facts_of(row) for row in train} & {facts_of(row) for row in test}
    assert Counter(row["kind"] for row in preference) == dict.fromkeys(ERROR_KINDS, PAIRS_OF_A_KIND)
    by_id = {row["id"]: row for row in train}
    assert len({row["id"] for row in preference}) == len(preference)
    for row in preference:
        source = by_id[row["id"]]
        assert row["prompt"] == f"{source['instruction']}\n\n{source['input']}"
        assert row["chosen"] == source["output"] != row["rejected"]


def facts_of(row):
    return frozenset(facts_in(row["input"]))


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        write(folder, 7)
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in FILES)


# --- the parser on texts that the generator does not write -----------------------------------


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", set()),
        ("No nodule in the RUL.", set()),
        ("Pneumothorax is not seen in either lung.", set()),
        ("R/O pneumonia, RLL.", {Fact("consolidation", "right", "lower lobe")}),
        ("Consolidation in RLL, R/O pneumonia", {Fact("consolidation", "right", "lower lobe")}),
        ("A 12 x 9 mm nodule in the LUL.", {Fact("nodule", "left", "upper lobe", 12)}),
        ("1.2cm GGN, lingula of LUL", {Fact("ground-glass nodule", "left", "lingular segment of upper lobe", 12)}),
        ("RLL superior segment nodule, 7mm", {Fact("nodule", "right", "superior segment of lower lobe", 7)}),
        ("GGO, both upper lobes", {Fact("ground-glass opacity", "bilateral", "upper lobe")}),
        (
            "A 7 mm nodule in the RUL and a 5 mm calcified granuloma in the LLL.",
            {Fact("nodule", "right", "upper lobe", 7), Fact("calcified granuloma", "left", "lower lobe", 5)},
        ),
        (
            "A 7 mm nodule in the RUL and a 9 mm nodule in the LLL.",
            {Fact("nodule", "right", "upper lobe", 7), Fact("nodule", "left", "lower lobe", 9)},
        ),
        ("Rt. renal stone, 4 mm, no change", {Fact("renal stone", "right", "kidney", 4, "unchanged")}),
        ("Small Rt. pleural effusion without pneumothorax.", {Fact("pleural effusion", "right", "pleural space")}),
        ("No pneumothorax, but small left pleural effusion.", {Fact("pleural effusion", "left", "pleural space")}),
        ("Nodule, left middle lobe", {Fact("nodule", "left", "middle lobe")}),
        ("GB polyp, not seen on the prior study.", {Fact("gallbladder polyp", None, "gallbladder", None, "new")}),
        ("The liver shows increased echogenicity, suggesting fatty liver.", {Fact("fatty liver", None, "liver")}),
        ("A 2 cm cyst in the right kidney.", {Fact("renal cyst", "right", "kidney", 20)}),
        ("A 2 cm cyst in S6.", {Fact("hepatic cyst", None, "segment 6 of liver", 20)}),
        ("The heart is not enlarged.", set()),
    ],
)  # fmt: skip
def test_the_parser_reads_texts_of_others(text, facts):
    assert facts_in(text) == facts


def test_the_shipped_files_are_what_the_generator_writes(tmp_path):
    from dev.data.generate_radiology import SEED
    from kotune.data.excel import read_sheet

    write(tmp_path, seed=SEED)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (DATA / "radiology" / name).read_bytes()
    name = "radiology_test.xlsx"
    assert list(read_sheet(tmp_path / name)) == list(read_sheet(DATA / "radiology" / name))


REFERENCE = "1) 7 mm nodule in the RUL. 2) Small Rt. pleural effusion. 3) Cardiomegaly."


@pytest.mark.parametrize(
    ("report", "kept", "changed", "dropped", "added"),
    [
        (REFERENCE, 3, [], 0, 0),
        ("A 7 mm nodule in the LUL. Small right pleural effusion. Cardiomegaly.", 2, [("side",)], 0, 0),
        ("A 9 mm nodule in the left lower lobe. Small right pleural effusion.", 1, [("side", "site", "size_mm")], 1, 0),
        ("A 7 mm nodule in the right upper lobe. Emphysema in both upper lobes.", 1, [], 2, 1),
        ("A 7 mm ground-glass nodule in the RUL. Rt. pleural effusion. Cardiomegaly.", 2, [("finding",)], 0, 0),
        ("No active lung lesion.", 0, [], 3, 0),
        ("", 0, [], 3, 0),
    ],
)
def test_what_a_report_keeps_changes_drops_and_adds(report, kept, changed, dropped, added):
    compared = compare_facts(report, REFERENCE)
    assert (len(compared.kept), len(compared.dropped), len(compared.added)) == (kept, dropped, added)
    assert [change.fields for change in compared.changed] == changed
    assert compared.exact == (report == REFERENCE)
    assert compared.n_reference == 3


def test_of_several_of_one_finding_the_nearest_are_paired():
    compared = compare_facts(
        "A 5 mm nodule in the LLL. A 7 mm nodule in the RUL.", "A 4 mm nodule in the LLL. An 8 mm nodule in the RUL."
    )
    assert [(c.reference.site, c.report.site, c.fields) for c in compared.changed] == [
        ("lower lobe", "lower lobe", ("size_mm",)), ("upper lobe", "upper lobe", ("size_mm",)),
    ]  # fmt: skip


def test_facts_summed_over_reports_by_hand():
    # kept 1 + 0 + 1, changed 0 + 1 + 0, dropped 1 + 0 + 0, added 0 + 0 + 1
    scores = fact_scores(
        ["Cardiomegaly.", "3 mm stone in the left kidney.", "Fatty liver. Splenomegaly."],
        ["Cardiomegaly. Rt. pleural effusion.", "3 mm stone in the right kidney.", "Fatty liver."],
    )
    assert (scores.kept, scores.changed, scores.dropped, scores.added) == (2, 1, 1, 1)
    assert (scores.precision, scores.recall, scores.f1) == (2 / 4, 2 / 4, 1 / 2)
    assert scores.exact_rate == 0 and scores.n == 3 == len(scores.rows)
    assert scores.changed_fields == {"finding": 0, "side": 1, "site": 0, "size_mm": 0, "change": 0}
    nothing = fact_scores(["No lesion."], ["No change."])
    assert nothing.exact_rate == 1 and math.isnan(nothing.precision) and math.isnan(nothing.f1)


def test_shipped_reports_are_exact_and_planted_errors_are_one_difference():
    rows = registry.load_rows("radiology_test")
    whole = fact_scores([row["output"] for row in rows], [row["input"] for row in rows])
    assert whole.exact_rate == whole.f1 == 1
    rng = random.Random(0)
    named = {"side": "side", "lobe": "site", "size": "size_mm"}
    for report in generate(120, 3):
        for kind in applicable_kinds(report):
            compared = compare_facts(plant_error(report, kind, rng), report.conclusion)
            if kind == "invented_finding":
                assert (len(compared.added), len(compared.changed), len(compared.dropped)) == (1, 0, 0)
            else:
                (change,) = compared.changed
                assert change.fields == (named[kind],) and not compared.added and not compared.dropped


facts = st.builds(
    Fact,
    st.sampled_from(["nodule", "consolidation"]),
    st.sampled_from(["right", "left"]),
    st.sampled_from(["upper lobe", "lower lobe"]),
)


@given(st.sets(facts, max_size=5), st.sets(facts, max_size=5))
@settings(max_examples=100, deadline=None)
def test_every_fact_of_either_side_is_counted_once(wanted, stated):
    def written(those):
        return " ".join(f"A {f.finding} in the {f.side} {f.site}." for f in those)

    assert facts_in(written(wanted)) == wanted
    compared = compare_facts(written(stated), written(wanted))
    assert {*compared.kept, *compared.dropped, *(c.reference for c in compared.changed)} == wanted
    assert {*compared.kept, *compared.added, *(c.report for c in compared.changed)} == stated
    assert (compared.n_reference, compared.n_report) == (len(wanted), len(stated))
    swapped = compare_facts(written(wanted), written(stated))
    assert (len(swapped.added), len(swapped.dropped)) == (len(compared.dropped), len(compared.added))
