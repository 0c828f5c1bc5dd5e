"""Protects: a blind vote counts for the model that was preferred, whichever side it stood on, and no vote is lost."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import votes
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
    cast = [votes.pair(f"질문 {n}\n둘째 줄 🏠", ("sft", "base")).decided("tie") for n in range(40)]
    threads = [threading.Thread(target=votes.store, args=(path, vote)) for vote in cast]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(votes.read(path), key=lambda v: v.id) == sorted(cast, key=lambda v: v.id)


def test_a_judge_reads_the_winners(tmp_path):
    import judging

    path = tmp_path / "votes.jsonl"
    for pressed in ("first", "first", "tie"):
        votes.store(path, votes.pair("질문", ("sft", "base")).decided(pressed))
    judged = [judging.Judgment(vote.id, None, None, vote.winner) for vote in votes.read(path)]
    assert judging.report("people", judged).n_judged == 3


def test_another_file_is_refused_with_its_row(tmp_path):
    path = tmp_path / "votes.jsonl"
    votes.store(path, votes.pair("질문", ("sft", "base")).decided("tie"))
    with path.open("a") as file:
        file.write('{"id": "x"}\n')
    with pytest.raises(CourseError, match="row 2"):
        votes.read(path)
