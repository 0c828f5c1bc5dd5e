"""Protects: what docs/korean_checks.md promises of each check, on rows written before its rules, on cut text, in linear time."""

import random
import time
from collections import Counter

import pytest

from kotune.data import registry
from kotune.korean.checks import check
from kotune.korean.task_styles import bullet_problems, sentence_problems
from utils import DATA, ROOT, read_json, read_jsonl

BLIND = read_jsonl(ROOT / "tests" / "korean" / "blind_checks.jsonl")
LEAST_PRECISION, LEAST_RECALL = 0.97, 0.93
SAME_FAMILY = {"leftover": {"leftover", "template_marker"}}


def is_named(name, text):
    if name == "bullet":
        return any(bullet_problems(text))
    if name == "sentence":
        return any(sentence_problems(text))
    return bool(SAME_FAMILY.get(name, {name}) & {finding.check for finding in check(text)})


@pytest.mark.parametrize("name", sorted({row["check"] for row in BLIND}))
def test_precision_and_recall_on_rows_written_before_the_rules(name):
    rows = [row for row in BLIND if row["check"] == name]
    outcomes = Counter((row["expected"], is_named(name, row["text"])) for row in rows)
    right, wrong, missed = outcomes[True, True], outcomes[False, True], outcomes[True, False]
    assert right + missed >= 9 and wrong + outcomes[False, False] >= 8
    assert right >= LEAST_PRECISION * (right + wrong)
    assert right >= LEAST_RECALL * (right + missed)


# --- ends as a limit of tokens leaves them ---------------------------------------------------


def prefixes(texts, n, rng):
    """Yield beginnings of texts that stop within a sentence."""
    texts = [text for text in texts if len(text) > 40]
    while n:
        text = rng.choice(texts)
        end = rng.randrange(10, len(text) - 4)
        cut = text[:end].rstrip()
        if "가" <= cut[-1] <= "힣" and not text[end:].startswith(("다.", "요.")):
            n -= 1
            yield cut


@pytest.mark.parametrize(
    ("texts", "least"),
    [
        ([row["answer"] for row in registry.load_rows("real_estate_train")], 0.72),
        ([row["output"] for row in read_json(DATA / "medical_dialogues.json")], 0.82),
    ],
    ids=["real estate", "medical"],
)
def test_most_answers_that_a_limit_of_tokens_cut_are_named(texts, least):
    cuts = list(prefixes(texts, 400, random.Random(3)))
    assert sum(is_named("unfinished", cut) for cut in cuts) >= least * len(cuts)


def test_titles_items_and_sentences_without_a_mark_are_not_unfinished():
    whole = [row["title"] for row in read_jsonl(DATA / "documents.jsonl")]
    for row in read_jsonl(DATA / "recorded" / "authored_tasks.jsonl"):
        # options, and the answer that is one of them, are fragments by design where the question is "why": 묽어지지 않게 하려고
        options = row["reply"].get("choices", [])
        for field in row["reply"].values():
            whole += [text for text in (field if isinstance(field, list) else [field]) if text not in options]
    lines = (DATA / "pretraining.txt").read_text(encoding="utf-8").splitlines()
    whole += [line[:-1] for line in lines if line.endswith("다.")]
    named = [text for text in dict.fromkeys(whole) if is_named("unfinished", text)]
    assert len(named) <= 0.002 * len(whole), named


# --- time ------------------------------------------------------------------------------------

MEGABYTE = 1_000_000
HOSTILE = (
    "<", "“", "‘", "(", "[", "`", ".", "!", "#", "_", "1. ", "- ", "&", "@", "{", "\n", " ", "가 ", "은행", "질문:\n", "漢字", "あ", "ㅋ", "Д ",
    "a'b", "A-", "합니다. ", "기다려. ", "받아 ", "aGVsbG8", "2024. 1. ", "<p ", "<pad>",
)  # fmt: skip


def repeated(unit):
    return unit * (MEGABYTE // len(unit.encode()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        *map(repeated, HOSTILE),
        "<" + " " * MEGABYTE, "가" + " " * MEGABYTE + "x", "“" + "가" * 300_000, "가." + "”" * 300_000 + "x", "." * MEGABYTE + "x",
        "(" + "漢" * 300_000, "あ" + "漢" * 300_000, "질문" + " " * MEGABYTE + "x", "(" * 500_000 + ")",
    ],
    ids=lambda text: repr(text[:6]),
)  # fmt: skip
def test_a_megabyte_of_anything_is_checked_in_linear_time(text):
    started = time.process_time()
    check(text, question="전세는 어떤 계약인가요?", source="보증금은 3억 원이다.", ended=False)
    assert time.process_time() - started < 10  # about a second where nothing else runs; a square takes minutes
