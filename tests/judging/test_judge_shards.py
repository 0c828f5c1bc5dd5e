"""Protects: verdicts made in parts are one process's file byte for byte, a killed part goes on, and the report comes of all."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune import cli
from kotune.data.shard_files import merge
from kotune.judging.judges import ReferenceJudge
from kotune.judging.judgments import compare, judge_pairs, score, side_by_side
from kotune.shards import Shard
from tests.support.endpoint import chat_completion
from tests.support.parts import ANY_ROWS, COUNTS, TEXTS, rows, tear
from utils import CourseError, read_json, read_jsonl, write_jsonl

GOOD, BAD = "전입신고는 이사한 날부터 14일 이내에 합니다.", "재산세는 소유자가 냅니다."


@pytest.mark.slow
@ANY_ROWS
@given(rows("answer", most=10), COUNTS, st.lists(TEXTS, min_size=10, max_size=10), st.data())
def test_merged_shards_are_one_processs_files_byte_for_byte(made, count, others, data):
    judge = ReferenceJudge(batch_size=2)
    a = [{"id": f"row {place}", "question": "질문", "reference": GOOD, **row} for place, row in enumerate(made)]
    b = [row | {"answer": other} for row, other in zip(a, others, strict=False)][: max(1, len(a) - 1)]
    b += [{"id": "b만", "question": "질문", "answer": "답"}]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(judge, a, b, folder / "whole.jsonl")
        score(judge, a, folder / "scores.jsonl")
        paired = side_by_side(a, b)
        for number in range(1, count + 1):
            shard = Shard(number, count)
            for _ in range(2):  # the second time after a kill
                judge_pairs(judge, paired.pairs, paired.left_out, folder / "parts.jsonl", shard)
                score(judge, a, folder / "part_scores.jsonl", shard)
                file = shard.file(folder / "parts.jsonl")
                kept = file.read_bytes()
                tear(file, data.draw(st.integers(0, len(kept.splitlines()))))
            judge_pairs(judge, paired.pairs, paired.left_out, folder / "parts.jsonl", shard)
            assert file.read_bytes() == kept
        for whole, part in (("whole", "parts"), ("scores", "part_scores")):
            merge([Shard(number, count).file(folder / f"{part}.jsonl") for number in range(1, count + 1)], None)
            assert (folder / f"{part}.jsonl").read_bytes() == (folder / f"{whole}.jsonl").read_bytes()


@pytest.fixture
def files(tmp_path):
    """Two answers files of six questions, of which A is the better; A has one question more."""
    made = [{"id": i, "question": f"질문 {i}", "answer": GOOD, "reference": GOOD} for i in range(7)]
    a = write_jsonl(tmp_path / "a.jsonl", made)
    b = write_jsonl(tmp_path / "b.jsonl", [row | {"answer": BAD} for row in made[:6]])
    return ["--answers_a", str(a), "--answers_b", str(b)]


def test_an_llm_is_asked_once_for_each_pair_within_its_part_of_the_budget(files, tmp_path, endpoint, monkeypatch, capsys):
    monkeypatch.setenv("TEACHER_PRICE", "1,2")
    server = endpoint(lambda body: (200, chat_completion(json.dumps({"reason": "앞", "winner": "first"}))))
    call = [
        "judge",
        *files,
        "--judge",
        "openai:m",
        "--journal",
        str(tmp_path / "journal.jsonl"),
        "--budget_usd",
        "5",
        "--out",
    ]
    cli.run([*call, str(tmp_path / "whole.json")])
    asked = len(server.requests)
    for number in (1, 2):
        cli.run([*call, str(tmp_path / "parts.json"), "--shard", f"{number}/2"])
        assert (tmp_path / f"journal.shard-{number}-of-2.jsonl").exists() and not (tmp_path / "parts.json").exists()
    assert len(server.requests) == 2 * asked  # both parts together ask what the whole did
    shards = [str(tmp_path / f"parts.LLM_m.judgments.shard-{number}-of-2.jsonl") for number in (1, 2)]
    cli.run(["data", "merge", *shards])
    assert "7 lines of 2 shards, 1 of them left_out" in capsys.readouterr().out
    assert (tmp_path / "parts.LLM_m.judgments.jsonl").read_bytes() == (tmp_path / "whole.LLM_m.judgments.jsonl").read_bytes()
    cli.run([*call, str(tmp_path / "parts.json")])
    assert len(server.requests) == 2 * asked  # the report asks nobody
    assert read_json(tmp_path / "parts.json")["win_rate"] == read_json(tmp_path / "whole.json")["win_rate"]
    assert {row["id"] for row in read_jsonl(shards[0])} | {row["id"] for row in read_jsonl(shards[1])} == set("0123456")


def test_a_part_of_the_budget_is_all_that_a_shard_may_spend(files, tmp_path, endpoint, monkeypatch):
    monkeypatch.setenv("TEACHER_PRICE", "1000,2000")
    server = endpoint(lambda body: (200, chat_completion(json.dumps({"reason": "앞", "winner": "first"}))))
    paid = ["--journal", str(tmp_path / "journal.jsonl"), "--budget_usd", "0.001"]
    for number in (1, 2):
        with pytest.raises(CourseError, match=r"budget of USD 0.0005"):
            cli.run(
                ["judge", *files, "--judge", "openai:m", "--out", str(tmp_path / "r.json"), *paid, "--shard", f"{number}/2"]
            )
    assert not server.requests


def test_what_belongs_to_the_report_is_refused_with_a_shard(files, tmp_path):
    call = ["judge", *files, "--judge", "reference", "--out", str(tmp_path / "r.json"), "--shard", "1/2"]
    for flags in (["--calibrate"], ["--html", "a.html"], ["--png", "a.png"], ["--votes", "v.jsonl"]):
        with pytest.raises(CourseError, match=rf"{flags[0]} belongs to the report"):
            cli.run([*call, *flags])
