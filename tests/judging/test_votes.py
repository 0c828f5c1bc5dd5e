"""Protects: a blind vote counts for the model that was preferred, whichever side it stood on, is not lost, and can be judged."""

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune import cli
from kotune.judging import blind_vote, run, votes
from kotune.judging.judges import PairVerdict
from utils import CourseError


@given(st.sampled_from(["first", "second", "tie"]), st.sampled_from(["a", "b"]))
def test_a_vote_goes_to_the_model_that_was_pressed(pressed, shown_first):
    vote = votes.Vote("1", "질문", "가", "나", None, {"a": "sft", "b": "base"}, shown_first, None)
    on_screen = {"first": shown_first, "second": {"a": "b", "b": "a"}[shown_first], "tie": "tie"}
    assert vote.decided(pressed).winner == on_screen[pressed]
    assert (vote.decided(pressed).answer_a, vote.decided(pressed).models) == (vote.answer_a, vote.models)


def test_either_side_comes_first_by_lot():
    assert {votes.pair("질문", ("sft", "base")).shown_first for _ in range(60)} == {"a", "b"}


def test_votes_cast_at_once_are_all_kept(tmp_path):
    path = tmp_path / "serve" / "votes.jsonl"
    pressed = [votes.pair(f"질문 {n}\n둘째 줄 🏠", ("sft", "base")).decided("tie") for n in range(40)]
    threads = [threading.Thread(target=votes.store, args=(path, vote)) for vote in pressed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(votes.read(path), key=lambda v: v.id) == sorted(pressed, key=lambda v: v.id)


def cast(path, pressed, models=("sft", "base"), answers=("받습니다.", "모릅니다.")):
    """Store one vote after another, as the page does."""
    for number, shown in enumerate(pressed):
        vote = votes.pair(f"{number}번 질문", models).decided(shown)
        votes.store(path, replace(vote, answer_a=answers[0], answer_b=answers[1]))


def test_votes_are_counted_as_a_judges_verdicts_are(tmp_path):
    cast(tmp_path / "votes.jsonl", ["first", "second", "first", "tie"])
    cast_votes = votes.read(tmp_path / "votes.jsonl")
    counted = run.report(votes.judgments(cast_votes))
    winners = [vote.winner for vote in cast_votes]
    assert (counted.wins, counted.losses, counted.ties) == (winners.count("a"), winners.count("b"), 1)
    assert counted.judge == "people (sft against base)" and counted.problems == {"seen_in_one_order": 4}
    assert counted.flip_interval == (0, 1)  # nobody saw both orders, so nothing is known of flips


def test_a_judge_decides_on_what_people_voted_on_and_is_compared_with_them(tmp_path, capsys):
    cast(tmp_path / "votes.jsonl", ["first"] * 3)
    cast(tmp_path / "votes.jsonl", ["second"], models=("org/dpo", "base"))
    cli.run(["votes", str(tmp_path / "votes.jsonl"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "sft against base: " in said and "org/dpo against base: " in said
    folder = tmp_path / "out" / "sft_against_base"
    people = run.read_judgments(folder / "judgments.jsonl")
    assert people == votes.judgments(votes.read(tmp_path / "votes.jsonl")[:3])

    class ForA:
        name, fingerprint, batch_size = "for a", "1", 8

        def verdicts(self, shown):
            return [PairVerdict("first" if pair.first == "받습니다." else "second") for pair in shown]

    judged = run.compare(ForA(), folder / "a.jsonl", folder / "b.jsonl")
    assert [line.winner for line in judged] == ["a"] * 3
    agreed = blind_vote.agreement(blind_vote.read_votes(tmp_path / "votes.jsonl"), judged)
    assert agreed.n == 3
    assert (tmp_path / "out" / "org_dpo_against_base" / "a.jsonl").exists()


def test_another_file_is_refused_with_its_row(tmp_path):
    path = tmp_path / "votes.jsonl"
    votes.store(path, votes.pair("질문", ("sft", "base")).decided("tie"))
    with path.open("a") as file:
        file.write('{"id": "x"}\n')
    with pytest.raises(CourseError, match="row 2"):
        votes.read(path)
    votes.store(tmp_path / "open.jsonl", votes.pair("질문", ("sft", "base")))
    with pytest.raises(CourseError, match="row 1"):
        votes.read(tmp_path / "open.jsonl")
