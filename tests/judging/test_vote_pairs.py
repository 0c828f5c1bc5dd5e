"""Protects: what people preferred becomes the pairs that DPO takes, once each, and every other vote is counted with its reason."""

import unicodedata
from collections import Counter
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune import cli
from kotune.data import registry
from kotune.judging import votes
from kotune.judging.vote_pairs import preference_pairs, read_votes
from kotune.judging.votes import Vote
from tests.judging.test_comparison import judged
from utils import CourseError, read_jsonl, write_jsonl

GOOD, BAD = "이사한 날부터 14일 이내에 해야 합니다.", "언제든지 하면 돼요."
QUESTION = "전입신고는 언제까지 해야 하나요?"


def vote(winner, a=GOOD, b=BAD, question=QUESTION, **changes):
    """A vote cast on the page; each has an id of its own."""
    cast = replace(
        votes.pair(question, ("sft", "base")), answer_a=a, answer_b=b, winner=winner, time="2025-03-01T09:00:00+00:00"
    )
    return replace(cast, **changes)


def turned(cast):
    """The same vote, had the other model been called a."""
    winner = {"a": "b", "b": "a"}.get(cast.winner, cast.winner)
    models = {"a": cast.models["b"], "b": cast.models["a"]}
    return replace(cast, answer_a=cast.answer_b, answer_b=cast.answer_a, winner=winner, models=models)


def test_a_vote_becomes_the_preferred_answer_over_the_other():
    one, other = vote("a"), vote("b", question="전세란?")
    made = preference_pairs([one, other])
    assert made.left_out == []
    assert made.records[0] == {
        "id": one.id,
        "prompt": [{"role": "user", "content": QUESTION}],
        "chosen": [{"role": "assistant", "content": GOOD}],
        "rejected": [{"role": "assistant", "content": BAD}],
        "source": "votes: sft over base",
    }
    assert made.records[1]["chosen"][0]["content"] == BAD and made.records[1]["source"] == "votes: base over sft"


@pytest.mark.parametrize(
    ("cast", "reasons"),
    [
        ([vote("tie")], {"tie": 1}),
        ([vote(None)], {"no_winner": 1}),
        ([vote("a", b=" \u200b")], {"blank_answer": 1}),
        ([vote("a", b=unicodedata.normalize("NFD", f"{GOOD}\n"))], {"same_answers": 1}),
        ([vote("a", question=" ")], {"no_question": 1}),
        ([vote("a"), vote("b"), vote("a")], {"conflict": 3}),
        ([vote("a"), turned(vote("b"))], {"conflict": 2}),
    ],
)
def test_what_is_no_preference_makes_no_pair_and_has_its_reason(cast, reasons):
    made = preference_pairs(cast)
    assert (made.records, made.reasons) == ([], Counter(reasons))


def test_votes_of_several_people_on_a_pair_that_agree_are_one_pair():
    cast = [vote("a"), turned(vote("a", b=f" {BAD}\n")), vote("a"), vote("tie"), vote("a", b="모릅니다.")]
    made = preference_pairs(cast)
    assert [record["id"] for record in made.records] == [cast[0].id, cast[4].id]
    assert made.reasons == {"again": 2, "tie": 1}


def test_the_same_question_from_other_passages_is_another_pair():
    given = [
        [{"role": "system", "content": "공손히."}, {"role": "user", "content": f"{QUESTION}\n\n[{n}] 글"}] for n in "12"
    ]
    made = preference_pairs([vote("a", prompt=given[0]), vote("b", prompt=given[1])])
    assert [record["prompt"] for record in made.records] == given


few = st.sampled_from(["가.", "나.", "다.", " 나. ", "", unicodedata.normalize("NFD", "가.")])
anyhow = st.builds(
    Vote, st.sampled_from(["1", "2", "2-2"]), st.sampled_from(["왜?", "어디?"]), few, few,
    st.sampled_from(["a", "b", "tie", None]), st.just({"a": "sft", "b": "base"}), st.sampled_from(["a", "b"]),
)  # fmt: skip


@given(st.lists(anyhow, max_size=12))
def test_every_vote_is_a_pair_or_has_a_reason_and_the_sides_names_change_nothing(tmp_path_factory, cast):
    made = preference_pairs(cast)
    assert len(made.records) + len(made.left_out) == len(cast)
    assert preference_pairs([turned(one) for one in cast]).records == made.records
    again = [one.vote for one in made.left_out if one.reason != "again"]
    assert preference_pairs(again).records == []
    texts = [(r["prompt"][0]["content"], r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in made.records]
    assert len({(q, *sorted(unicodedata.normalize("NFC", text).strip() for text in sides)) for q, *sides in texts}) == len(
        texts
    )
    if made.records:
        path = tmp_path_factory.mktemp("votes") / "pairs.jsonl"
        assert registry.load(write_jsonl(path, made.records)) == made.records


def test_the_command_writes_what_dpo_reads_and_says_and_keeps_the_rest(tmp_path, capsys):
    page, other = tmp_path / "votes.jsonl", tmp_path / "somebody_else.jsonl"
    talk = [{"role": "system", "content": "공손히."}, {"role": "user", "content": "전세란?"}]
    for cast in (vote("a"), vote("tie"), vote("b", question="전세란?", prompt=talk), vote("b", question="월세란?")):
        votes.store(page, cast)
    votes.store(other, vote("a"))
    votes.store(other, vote("a", question="월세란?"))
    out = tmp_path / "pairs.jsonl"
    cli.run(["votes", str(page), str(other), "--to", "dpo", "--out", str(out)])
    said = capsys.readouterr().out
    assert "2 pairs of 6 votes" in said
    assert "left out, conflict: 2 (of those who voted on the pair" in said and "left out, tie: 1" in said
    records = registry.load(out)
    assert [(len(record["prompt"]), record["chosen"][0]["content"]) for record in records] == [(1, GOOD), (2, BAD)]
    assert set(records[0]) == {"id", "prompt", "chosen", "rejected", "source"}
    left_out = read_jsonl(tmp_path / "pairs.jsonl.left_out.jsonl")
    assert Counter(row["reason"] for row in left_out) == {"conflict": 2, "tie": 1, "again": 1}
    cli.run(["votes", str(other), "--to", "dpo", "--out", str(out)])
    assert len(registry.load(out)) == 2 and not (tmp_path / "pairs.jsonl.left_out.jsonl").exists()


def test_a_notebooks_votes_become_pairs(tmp_path):
    path = tmp_path / "votes.jsonl"
    drawn = votes.draw([judged(i, "a", "a", a=f"가 {i}", b=f"나 {i}", question=f"질문 {i}") for i in range(4)], 4)
    buttons = votes.widget(drawn, path).children[2].children
    for press in (0, 1, 2, 0):
        buttons[press].click()
    made = preference_pairs(list(read_votes(path)))
    assert made.reasons == {"tie": 1}
    preferred = [
        one.first if press == 0 else one.second for one, press in zip(drawn, (0, 1, 2, 0), strict=True) if press != 2
    ]
    assert [record["chosen"][0]["content"] for record in made.records] == preferred
    assert {record["source"] for record in made.records} == {"votes"}


def test_what_is_no_vote_is_refused_with_its_line(tmp_path):
    path = tmp_path / "votes.jsonl"
    whole = {"shown_first": "a", "prompt": [{"role": "user", "content": "왜?"}]}
    for row in (
        asdict(judged(1, "a", "a", a="가", b="나")),  # of a judge, which is no person
        {"id": "1", "answer": "가"},
        {"id": "1", "winner": "c", "vote": "C"},
        {"id": "1", "winner": "a", "question": "왜?", "answer_a": "가", "answer_b": 3, **whole},
        {"id": "1", "winner": "a", "question": "왜?", "answer_a": "가", "answer_b": "나", **whole, "prompt": [3]},
    ):
        write_jsonl(path, [asdict(vote("a")), row])
        with pytest.raises(CourseError, match="line 2, is no vote of the page or of a notebook"):
            cli.run(["votes", str(path), "--to", "dpo", "--out", str(tmp_path / "pairs.jsonl")])
    assert not (tmp_path / "pairs.jsonl").exists()


def test_votes_that_make_no_pair_at_all_are_one_sentence(tmp_path):
    path = write_jsonl(tmp_path / "votes.jsonl", [{"id": "q1", "vote": "A", "winner": "b"}, asdict(vote("tie"))])
    with pytest.raises(CourseError, match=r"None of 2 votes makes a pair to learn from \(no_question 1, tie 1\)"):
        cli.run(["votes", str(path), "--to", "dpo", "--out", str(tmp_path / "pairs.jsonl")])
    with pytest.raises(CourseError, match=r"votes.jsonl is the input"):
        cli.run(["votes", str(path), "--to", "dpo", "--out", str(path)])


@pytest.mark.slow
def test_dpo_runs_on_the_pairs_of_votes(tiny_recipe, tiny_model, tokenizer, tmp_path):
    from kotune.training import stages

    page, out = tmp_path / "votes.jsonl", tmp_path / "pairs.jsonl"
    for number, winner in enumerate("abab"):
        votes.store(page, vote(winner, question=f"{QUESTION} {number}"))
    cli.run(["votes", str(page), "--to", "dpo", "--out", str(out)])
    recipe = replace(tiny_recipe, dpo_epochs=2.0)
    result = stages.dpo(recipe, str(out), tiny_model, tokenizer, tmp_path / "dpo")
    assert (result.adapter / "run.json").exists()
