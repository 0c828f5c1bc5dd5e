"""Protects: what the course's own models said is whole, theirs, and as good as the lessons say."""

import json

import pytest

from kotune.data import registry
from kotune.korean import listings, zero_shot
from kotune.korean.listing_rules import listing_by_rules
from kotune.korean.radiology_form import score_reports
from kotune.models.adapters import adapter_hash
from kotune.models.files import GGUF_SHA256
from utils import ASSETS, DATA, read_json, read_jsonl

RECORDED = DATA / "recorded"
ABOUT = read_json(RECORDED / "own_models.json")
SETS = {
    "listings": ("listings_validation", "listings_test", "listings_handwritten"),
    "radiology": ("radiology_test",),
    "reviews": ("reviews_test",),
}


def replies(job, name, by):
    return [row for row in read_jsonl(RECORDED / f"{job}_replies.jsonl") if (row["set"], row["by"]) == (name, by)]


@pytest.mark.parametrize("job", ABOUT)
def test_replies_are_those_of_the_shipped_adapter_on_the_packaged_model(job):
    about = ABOUT[job]
    folder = ASSETS / job
    assert about["adapter_sha256"] == adapter_hash(folder) == read_json(folder / "run.json")["adapter_sha256"]
    assert about["base_gguf_sha256"] == GGUF_SHA256
    assert about["date"] >= "2026-11"


@pytest.mark.parametrize("job", SETS)
def test_every_row_of_a_set_has_one_reply_of_each_model_in_its_order(job):
    for name in SETS[job]:
        ids = [row["id"] for row in registry.load_rows(name)]
        for by in ("base", "three examples", "tuned"):
            assert [row["id"] for row in replies(job, name, by)] == ids, (name, by)


def exact_share(by, name):
    rows = registry.load_rows(name)
    given = (
        [listings.render_record(listing_by_rules(row["input"])) for row in rows]
        if by == "rules"
        else [row["reply"] for row in replies("listings", name, by)]
    )
    return listings.score(given, [row["output"] for row in rows])


@pytest.mark.parametrize("name", ["listings_test", "listings_handwritten"])
def test_the_tuned_model_reads_more_listings_right_than_what_needs_no_training(name):
    """The intervals must not touch: the lesson says that training won."""
    tuned = exact_share("tuned", name)
    for by in ("base", "three examples", "rules"):
        assert tuned.exact_interval[0] > exact_share(by, name).exact_interval[1], by


def test_most_reports_have_their_facts_and_their_form():
    rows = registry.load_rows("radiology_test")
    conclusions, findings = [row["input"] for row in rows], [row["output"] for row in rows]
    given = replies("radiology", "radiology_test", "tuned")
    tuned = score_reports([r["reply"] for r in given], findings, conclusions, [r["ended"] for r in given])
    copied = score_reports(conclusions, findings, conclusions, [True] * len(rows))
    assert tuned.both >= 50
    assert copied.both < 10


def test_film_reviews_are_told_apart_better_than_by_one_word():
    rows = registry.load_rows("reviews_test")
    items = [zero_shot.Item(row["id"], (row["instruction"],), row["output"]) for row in rows]
    tuned, base = (
        zero_shot.zero_shot_report(
            "sentiment", items, [row["reply"] for row in replies("reviews", "reviews_test", by)]
        ).strict
        for by in ("tuned", "base")
    )
    one_word = zero_shot.zero_shot_report("sentiment", items, ["긍정"] * len(rows)).strict
    assert tuned.interval[0] > one_word.interval[1] > base.macro_f1


def test_no_training_row_repeats_a_held_out_advertisement():
    """To the letter, spaces and marks aside; the generator's own rows are drawn with the same care."""

    def bare(row):
        return "".join(filter(str.isalnum, row["input"]))

    trained = {bare(row) for name in ("listings_train", "listings_written") for row in registry.load_rows(name)}
    for name in SETS["listings"]:
        assert not trained & {bare(row) for row in registry.load_rows(name)}, name


def test_pairs_of_own_samples_are_ranked_by_the_checker():
    due = {row["id"]: row for row in read_jsonl(RECORDED / "listings_pairs.jsonl")}
    assert len(due) >= 30
    for row in due.values():
        assert row["right_fields"][0] > row["right_fields"][1]
        json.loads(row["chosen"])
