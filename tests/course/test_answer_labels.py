"""Protects: the labels of a real model's answers belong to these answers, are settled, and give the figures of the data card."""

from collections import Counter

import pytest

from dev.record_model import answers
from kotune import teacher
from kotune.stats import agree
from kotune.teacher import generation
from prompts import GROUNDED_ANSWER
from utils import DATA, read_jsonl, read_text

RECORDED = DATA / "recorded"
LABELS = ("usable", "form", "content")


@pytest.fixture(scope="module")
def labels():
    return read_jsonl(RECORDED / "answer_labels.jsonl")


@pytest.fixture(scope="module")
def card():
    """The data card with its lines joined."""
    return " ".join(read_text(DATA / "README.md").split())


@pytest.mark.slow
def test_the_labels_are_of_the_recorded_answers_in_their_order(labels):
    assert [row["question"] for row in labels] == [asked.about for asked in answers()]


def test_every_answer_has_two_labels_and_a_settled_one_which_is_one_of_them(labels):
    for row in labels:
        assert {row["verdict"], row["second"], row["settled"]} <= set(LABELS), row
        assert row["settled"] in (row["verdict"], row["second"]), row
        assert ("settled_why" in row) == (row["verdict"] != row["second"]), row
        assert row["second_why"] and ("why" in row or row["verdict"] != "content"), row


def test_the_readers_agree_as_the_data_card_says(labels, card):
    by = [dict(enumerate(row[reader] for row in labels)) for reader in ("verdict", "second")]
    told = agree(*by, LABELS)
    low, high = told.kappa_interval
    agreed = sum(told.table[place][place] for place in range(len(LABELS)))
    assert (
        f"they agree on {agreed} ({told.share:.0%}; Cohen's kappa {told.kappa:.2f}, 95% interval {low:.2f} to {high:.2f})"
        in card
    )
    assert Counter((row["verdict"], row["second"]) for row in labels if "settled_why" in row) == {("content", "form"): 4}
    assert all((row["verdict"] == "usable") == (row["second"] == "usable") for row in labels)


@pytest.mark.slow
def test_the_filters_reject_of_each_label_what_the_data_card_says(labels, card, tmp_path):
    """Fails when a filter, the passages that are found or a label changed: read the lesson's text again then."""
    documents = read_jsonl(DATA / "documents.jsonl")
    requests = generation.answer_requests([row["question"] for row in labels], documents)
    model = teacher.replay(RECORDED / "qwen2.5-coder-1.5b-instruct.jsonl", journal=tmp_path / "journal.jsonl")
    replies = model.ask([request.messages for request in requests], GROUNDED_ANSWER.schema)
    kept = {row["question"] for row in generation.collect_answers(requests, replies, documents)}
    of_label = Counter(row["settled"] for row in labels)
    rejected = Counter(row["settled"] for row in labels if row["question"] not in kept)
    form, content = of_label["form"], of_label["content"]
    assert f"{form} answers are broken in form, {content} are wrong in content, and one is usable" in card
    assert (of_label["usable"], rejected["usable"]) == (1, 0)
    assert f"reject {rejected['form']} of the {form} and {rejected['content']} of the {content}" in card
    assert f"{rejected.total()} of {form + content} bad answers" in card
