"""Protects: each file of tests/corpus/, which once was read wrong, lost in silence or stopped the course, is read right.

Inputs that are large and of one piece repeated, which once took minutes, are made and not kept: `tests/support/hostile.py`.
"""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import similarity
from kotune import overrides
from kotune.data import pii, readers, records, registry
from kotune.judging import votes
from kotune.korean import checks, contrasts, grounding
from kotune.serving import backends
from kotune.serving.api import ChatCompletionRequest
from kotune.teacher import batches, refusals, replies
from prompts import SEED_WORDS, Verdict
from utils import CourseError, read_jsonl, read_text

CORPUS = Path(__file__).parent / "corpus"
INDEX = CORPUS / "index.yaml"
CASES = yaml.safe_load(INDEX.read_text(encoding="utf-8"))
LONGEST_S = 20  # of the processor; a small workbook took over 90 s


# --- readers: each takes a path and returns what can be written in the index ------------------


def pairs(path: Path) -> list:
    return [[one["prompt"][-1]["content"], one["completion"][-1]["content"]] for one in registry.load(path)]


def turns(path: Path) -> list:
    return [
        [[turn["role"], turn["content"]] for turn in [*one["prompt"], *one["completion"]]] for one in registry.load(path)
    ]


def asked(path: Path) -> list:
    """Return what a model is shown of each row, and the reference."""
    found = [one for row in registry.read(path) for one in records.to_answer(row.value, row.place, "x")]
    return [[one["prompt"][-1]["content"], one.get("reference")] for one in found]


def report(path: Path) -> dict:
    found = registry.check(str(path), None, [])
    return {"rows": found.rows, "errors": found.errors, "doubtful": found.counts["warning", "doubtful"]}


def rendered(path: Path) -> list:
    from kotune.models.chat_template import render
    from tests.support.tiny_families import gemma_tokenizer

    tokenizer = gemma_tokenizer()
    return [len(render(tokenizer, one["prompt"], one["completion"]).ids) for one in registry.load(path)]


def reply(path: Path, schema=None) -> list:
    """Return a reply's answer, or what it spells out, and the class of its failure."""
    found = replies.read_completion(refusals.parsed_body(read_text(path)), schema)
    return [found.parsed.model_dump() if found.parsed else found.answer, found.failure]


def batch(path: Path) -> dict:
    ended = batches._Ended("completed")
    ended.read(read_text(path))
    outcomes = {key: batches._outcome(ended, key, None) for key in ended.lines}
    return {key: outcome.failure or outcome.answer for key, outcome in outcomes.items()}


def stream(path: Path) -> list:
    """Return a stream's text and how it ended."""

    async def chunks():
        yield path.read_bytes()

    async def events():
        return [backends.read_event(line) async for line in backends.stream_lines(chunks())]

    found = [event for event in asyncio.run(events()) if event]
    return ["".join(event.text for event in found), next((event.finish for event in found if event.finish), None)]


def by_line(read: Callable) -> Callable:
    return lambda path: [read(line) for line in read_text(path).splitlines()]


READERS = {
    "pairs": pairs,
    "turns": turns,
    "texts": lambda path: [one["text"] for one in registry.load(path)],
    "conclusions": lambda path: [row.value["Conclusion"] for row in readers.read(path)],
    "places": lambda path: [row.place.rpartition(", ")[2] for row in readers.read(path)],
    "ids": lambda path: [one["id"] for one in registry.load(path)],
    "questions to answer": asked,
    "check": report,
    "renderer": rendered,
    "reply": reply,
    "reply with seed words": lambda path: reply(path, SEED_WORDS.schema),
    "reply with a verdict": lambda path: reply(path, Verdict),
    "refusal": lambda path: refusals.words_of(refusals.parsed_body(read_text(path))),
    "batch": batch,
    "request": lambda path: ChatCompletionRequest.model_validate(json.loads(read_text(path))).request().messages,
    "stream": stream,
    "votes": lambda path: len(votes.read(path)),
    "run": lambda path: overrides.read_config(path).run,
    "checks": by_line(lambda line: sorted({found.check for found in checks.check(line)})),
    "checks of the whole": lambda path: sorted({found.check for found in checks.check(read_text(path))}),
    "particles": by_line(lambda line: [found.message for found in checks.check(line) if found.check == "particle"]),
    "numbers": lambda path: [grounding.unsupported_numbers(row["answer"], row["source"]) for row in read_jsonl(path)],
    "personal data": by_line(lambda line: [found.kind for found in pii.find(line)]),
    "redaction": by_line(pii.redact),
    "differences": lambda path: [contrasts.difference(row["a"], row["b"]) for row in read_jsonl(path)],
    "dedup": lambda path: len(similarity.deduplicate([one["text"] for one in registry.load(path)]).kept),
}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['file']}: {case['reader']}" for case in CASES])
def test_what_once_broke_something_is_read_right(case, capsys):
    path, read, started = CORPUS / case["file"], READERS[case["reader"]], time.process_time()
    if "sentence" in case:
        with pytest.raises(CourseError) as refused:
            read(path)
        assert case["sentence"] in str(refused.value) and "\n" not in str(refused.value)
    elif "value" in case:
        assert read(path) == case["value"]
    else:
        read(path)
    printed = capsys.readouterr().out
    assert [words for words in case.get("said", []) if words not in printed] == [], printed
    assert time.process_time() - started < LONGEST_S


def test_the_index_names_every_file_and_says_of_each_what_it_is():
    assert {case["file"] for case in CASES} == {path.name for path in CORPUS.iterdir()} - {INDEX.name}
    assert {case["reader"] for case in CASES} == set(READERS)
    for case in CASES:
        assert (
            {"file", "what", "broke", "reader"}
            <= set(case)
            <= {"file", "what", "broke", "reader", "value", "sentence", "said"}
        )
        assert case.keys() & {"value", "sentence", "said"}
