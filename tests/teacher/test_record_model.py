"""Protects: what a real model said is recorded once, with its name, hash and date, and says the same when it is replayed."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest

from dev import record_model
from dev.record_model import ANSWERS, PARTS, SINGLE_WORDS, SPOILT, Asked, Model, ask, build, keep_answers, record, spread
from kotune.judging.calibration import list_probe, load_calibration
from kotune.judging.judges import LLMJudge, ShownPair
from kotune.korean.tasks import TASKS
from kotune.teacher import generation, preferences
from kotune.teacher.client import connect
from kotune.teacher.journal import ReplyStore
from kotune.teacher.replies import as_request, journal_key
from prompts import GROUNDED_ANSWER, SEED_WORDS, GroundedAnswer, Verdict
from tests.models.test_gguf_header import write as write_front
from tests.support.endpoint import chat_completion
from utils import DATA, CourseError, read_json, read_jsonl, read_text, write_jsonl

SAID = json.dumps({"answer": "주민센터에서 받습니다.", "document_id": "doc-003"}, ensure_ascii=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in the place of those that the script writes into."""
    monkeypatch.setattr(record_model, "WORK", tmp_path / "work")
    monkeypatch.setattr(record_model, "COMPARED_ANSWERS", tmp_path / "compared_answers.jsonl")
    for name in ("OPENAI_BASE_URL", "TEACHER_MODEL", "RECORD"):  # set by the script, and as before afterwards
        monkeypatch.setenv(name, "")
    return tmp_path


@pytest.fixture
def model(folder):
    """A model whose file has no weights: nothing can be asked of it."""
    return Model(write_front(folder / "m.gguf"), "m", "M 1B", "ab" * 32, "apache-2.0")


def journalled(folder, model, *said: tuple[Asked, str], at="2026-11-30T01:02:03+00:00", **failed):
    """Write replies as an earlier run of the script leaves them in its journal, or, with a failure, beside it."""
    rows = [
        {"key": journal_key(model.name, one.request, one.schema), "text": text, "usage": None, "usd": None, "at": at,
         "seconds": 2.0, **failed}
        for one, text in said
    ]  # fmt: skip
    ReplyStore(folder / "work" / f"{model.name}-{model.sha256[:12]}.jsonl").keep(rows)


def replayed(folder, recording, asked: list[Asked]):
    """Return what the course's client gets for these requests out of a recording."""
    return connect(journal=folder / "replay.jsonl", recording=recording).ask([one.request for one in asked], asked[0].schema)


# --- what is asked ---------------------------------------------------------------------------


def test_the_parts_ask_what_the_lessons_ask_and_as_much_as_is_wanted():
    parts = build(["seed_words", "seed_groups", "answers", "tasks", "spoilt"], None)
    assert len(parts["seed_words"]) == SINGLE_WORDS >= 60
    assert len(parts["answers"]) == ANSWERS >= 200 and len({one.about for one in parts["answers"]}) == ANSWERS
    words = [line for line in read_text(DATA / "seed_words.txt").split("\n") if line]
    assert [list(one.request.messages) for one in parts["seed_groups"]] == generation.seed_requests(words)
    assert [one.about.rpartition("-")[0] for one in parts["tasks"]] == list(TASKS)
    kinds = [one.about.partition(":")[0] for one in parts["spoilt"]]
    assert len(kinds) == SPOILT >= 40 and {kinds.count(kind) for kind in preferences.KINDS} == {6, 7}


def test_a_judge_is_shown_each_calibration_pair_in_both_orders_by_two_prompts(tmp_path):
    labelled = load_calibration()
    pairs = [one.pair for one in [*labelled, *list_probe(labelled)]]
    guided, unguided = PARTS["calibration"](), PARTS["calibration_unguided"]()
    assert len(guided) == len(unguided) == 2 * len(pairs)
    judge = LLMJudge(connect(journal=tmp_path / "journal.jsonl"))
    shown = [ShownPair(pair.question, *sides) for pair in pairs[:3]
             for sides in ((pair.answer_a, pair.answer_b), (pair.answer_b, pair.answer_a))]  # fmt: skip
    assert judge.estimate(shown)[0].requests == 6
    for (first, second), pair in zip(list(pairwise(guided))[::2], pairs, strict=True):
        said = [one.request.messages[-1]["content"] for one in (first, second)]
        assert pair.question.reference in said[0] and said[0] != said[1]
        assert said[0].index(pair.answer_a) < said[0].rindex(pair.answer_b)
        assert said[1].index(pair.answer_b) < said[1].rindex(pair.answer_a)
    assert not any("<모범 답안>" in one.request.messages[-1]["content"] for one in unguided)
    assert len({json.dumps(one.request.messages) for one in [*guided, *unguided]}) == 4 * len(pairs)


def test_comparisons_are_those_of_the_newest_answers_in_a_folder(folder):
    with pytest.raises(CourseError, match="--answers"):
        PARTS["comparisons"]()
    for name in ("base", "SFT", "DPO"):
        rows = [
            {"id": f"q{n}", "question": f"질문 {n}", "reference": "정답", "answer": f"{name} {n}" * (n > 0)}
            for n in range(3)
        ]
        write_jsonl(folder / f"answers_real_estate_{name}_1234.jsonl", rows)
    keep_answers(folder)
    asked = PARTS["comparisons"]()
    assert len(asked) == 2 * 2 * 2  # comparisons x questions with two answers x orders
    assert {one.about for one in asked} == {"comparison: q1", "comparison: q2"}
    assert "SFT 1" in asked[0].request.messages[-1]["content"] and "base 1" in asked[0].request.messages[-1]["content"]


def test_spread_takes_items_at_even_distances():
    assert spread(range(10), 4) == [0, 2, 5, 7] and spread("ab", 5) == ["a", "b"] and spread([], 3) == []


# --- what is kept ----------------------------------------------------------------------------


def test_a_journalled_reply_is_recorded_with_name_hash_and_date_and_replays_as_it_was(folder, model):
    asked = build(["answers"], 2)["answers"][:1]
    journalled(folder, model, (asked[0], SAID))
    record(model, {"answers": asked}, folder / "m.jsonl", threads=1, tokens=64)
    (row,) = read_jsonl(folder / "m.jsonl")
    assert row["source"] == "M 1B (SHA-256 abababababab), 2026-11-30" and row["content"] == SAID
    about = read_json(folder / "m.json")
    assert about["sha256"] == "ab" * 32 and about["licence"] == "apache-2.0"
    assert about["settings"]["seed"] == record_model.SEED
    assert about["parts"]["answers"] == {
        "requests": 1, "recorded": 1, "failed": {}, "dates": ["2026-11-30"], "seconds_a_request": 2.0,
        "seconds_are": "the median", "threads": 1, "max_completion_tokens": 64,
    }  # fmt: skip
    (reply,) = replayed(folder, folder / "m.jsonl", asked)
    assert reply.error is None and reply.parsed == GroundedAnswer.model_validate_json(SAID)


def test_bad_replies_are_recorded_and_bad_again_when_replayed(folder, model):
    asked = build(["answers"], 3)["answers"]
    journalled(folder, model, (asked[0], SAID))
    journalled(folder, model, (asked[1], "전세"), failure="invalid_json", error="no JSON")
    journalled(folder, model, (asked[2], '{"answer": "주민'), failure="truncated", error="cut")
    record(model, {"answers": asked}, folder / "m.jsonl", threads=1, tokens=64)
    assert read_json(folder / "m.json")["parts"]["answers"]["failed"] == {"invalid_json": 1, "truncated": 1}
    assert [reply.failure for reply in replayed(folder, folder / "m.jsonl", asked)] == [None, "invalid_json", "truncated"]


def test_what_is_recorded_is_not_asked_again_without_the_journal(folder, model):
    asked = build(["answers"], 1)["answers"]
    journalled(folder, model, (asked[0], SAID))
    record(model, {"answers": asked}, folder / "m.jsonl", threads=1, tokens=64)
    for file in (folder / "work").iterdir():
        file.unlink()
    before = (folder / "m.jsonl").read_bytes()
    record(model, {"answers": asked}, folder / "m.jsonl", threads=1, tokens=64)  # its file cannot be served
    assert (folder / "m.jsonl").read_bytes() == before
    assert read_json(folder / "m.json")["parts"]["answers"]["seconds_a_request"] == 2.0


def test_what_another_model_said_is_never_mixed_in(folder, model):
    asked = build(["answers"], 1)["answers"]
    journalled(folder, model, (asked[0], SAID))
    record(model, {"answers": asked}, folder / "m.jsonl", threads=1, tokens=64)
    other = replace(model, sha256="cd" * 32)
    with pytest.raises(CourseError, match=r"holds what M 1B \(SHA-256 abababababab\), 2026-11-30 said.*--out"):
        record(other, {"answers": asked}, folder / "m.jsonl", threads=1, tokens=64)


def test_replies_to_requests_that_are_made_no_more_go_with_a_whole_run(folder, model, capsys):
    asked = build(["answers"], 2)["answers"]
    journalled(folder, model, *((one, SAID) for one in asked))
    record(model, {"answers": asked}, folder / "m.jsonl", threads=1, tokens=64)
    record(model, {"answers": asked[:1]}, folder / "m.jsonl", threads=1, tokens=64)
    assert len(read_jsonl(folder / "m.jsonl")) == 2
    record(model, {"answers": asked[:1]}, folder / "m.jsonl", threads=1, tokens=64, is_all=True)
    assert len(read_jsonl(folder / "m.jsonl")) == 1 and "1 replies to requests" in capsys.readouterr().out


def test_a_request_without_a_reply_stops_the_run_and_what_was_said_stays(folder, endpoint, monkeypatch):
    """A bad reply is one; a server that fails is none."""

    def answer(body):
        if "넷째" in body["messages"][-1]["content"]:
            return 400, {"error": {"message": "the context is too short"}}
        return 200, chat_completion(SAID if "둘째" not in body["messages"][-1]["content"] else "전세")

    monkeypatch.setenv("OPENAI_BASE_URL", endpoint(answer).url)
    who = connect("m", journal=folder / "work" / "m.jsonl", concurrency=1)
    asked = [Asked(as_request(text), GROUNDED_ANSWER.schema, text) for text in ("첫째", "둘째", "셋째", "넷째")]
    with pytest.raises(CourseError, match=r"1 of 4 requests of answers have no reply .*too short.*these alone"):
        ask(who, "answers", asked)
    assert len(who.journal.rows) == 2
    ask(who, "answers", asked[:3])  # the second is no JSON, and says so again


def test_a_part_that_is_named_and_cannot_be_made_is_an_error_and_else_is_said(folder, capsys):
    with pytest.raises(CourseError, match="compared_answers"):
        build(["comparisons"], None)
    assert "comparisons" not in build([], 1)
    assert "comparisons: left out. " in capsys.readouterr().out


@pytest.mark.slow
def test_a_real_server_is_asked_once_and_replies_that_were_cut_are_cut_when_replayed(folder, capsys, monkeypatch):
    """A tiny model with random weights: its replies keep to the schema, and few come to their end."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    from kotune.models.gguf_export import to_gguf
    from tests.support import tiny_families

    network, tokenizer = tiny_families.make("gemma 3")
    network.config.max_position_embeddings = 8192  # of rotations, which need no weights
    network.save_pretrained(folder / "tiny")
    tokenizer.save_pretrained(folder / "tiny")
    arguments = [
        "calibration",
        "--most",
        "2",
        "--tokens",
        "12",
        "--threads",
        "1",
        "--gguf",
        str(to_gguf(folder / "tiny", "f16")),
    ]
    record_model.main(arguments)
    assert "calibration: 2 of 2 recorded (2 truncated)" in capsys.readouterr().out
    (recording,) = (folder / "work").glob("tiny-f16.jsonl")
    log = (folder / "work" / "server.log").read_bytes()
    record_model.main(arguments)
    assert (folder / "work" / "server.log").read_bytes() == log  # no server was started
    (about,) = (folder / "work").glob("*.json")
    assert read_json(about)["parts"]["calibration"]["failed"] == {"truncated": 2}
    asked = PARTS["calibration"]()[:2]
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    replies = replayed(folder, recording, asked)
    assert [reply.failure for reply in replies] == ["truncated"] * 2 and asked[0].schema is Verdict
    assert replies[0].raw == next(row["content"] for row in read_jsonl(recording) if row["about"] == asked[0].about)


def test_the_journal_key_is_the_teachers(folder, monkeypatch):
    """What the script looks up is what the client wrote."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    who = connect("m", journal=folder / "journal.jsonl")
    request = as_request(generation.seed_requests(["전세"], 1)[0])
    assert who.connection.key_of(request, SEED_WORDS.schema) == journal_key("m", request, SEED_WORDS.schema)
