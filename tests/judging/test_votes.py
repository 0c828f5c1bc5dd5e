"""Protects: a voter cannot tell the sides, a vote counts for the system that was preferred, is not lost, and can be judged."""

import csv
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune import cli, judging
from kotune.judging import votes
from kotune.judging.judges import PairVerdict
from kotune.judging.judgments import Judgment
from tests.judging.test_comparison import judged
from utils import CourseError, read_json, read_jsonl, write_jsonl


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
    counted = judging.report(votes.judgments(cast_votes))
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
    people = judging.read_judgments(folder / "judgments.jsonl")
    assert people == votes.judgments(votes.read(tmp_path / "votes.jsonl")[:3])

    class ForA:
        name, fingerprint, batch_size = "for a", "1", 8

        def verdicts(self, shown):
            return [PairVerdict("first" if pair.first == "받습니다." else "second") for pair in shown]

    verdicts = judging.compare(ForA(), folder / "a.jsonl", folder / "b.jsonl")
    assert [line.winner for line in verdicts] == ["a"] * 3
    agreed = votes.agreement(votes.read_winners(tmp_path / "votes.jsonl"), verdicts)
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


def test_votes_from_before_the_prompt_was_kept_are_read_and_none_counts_twice(tmp_path):
    path = tmp_path / "votes.jsonl"
    cast(path, ["first", "tie"])
    rows = [{name: value for name, value in row.items() if name != "prompt"} for row in read_jsonl(path)]
    write_jsonl(path, rows)
    assert [vote.prompt for vote in votes.read(path)] == [None, None]
    with pytest.raises(CourseError, match=r"The vote '.*' stands twice in .*votes.jsonl; give each vote once"):
        cli.run(["votes", str(path), str(path), "--out", str(tmp_path / "out")])


# --- votes in a notebook or a CSV file ---


@pytest.fixture
def judgments():
    answers = ["=1+1", "- 첫째\n- 둘째", "-1+1", '쉼표, "따옴표"', "@x"]
    return [judged(i, "a", "a", a=answers[i % 5], b=f"B의 답 {i}", question=f"질문 {i}") for i in range(30)]


def fill_in(path, vote):
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, votes.COLUMNS)
        writer.writeheader()
        writer.writerows({**row, "vote": vote(row)} for row in rows)


def test_a_voter_who_always_finds_system_a_agrees_fully(judgments, tmp_path):
    ballots = votes.draw(judgments, seed=3)
    path, key = tmp_path / "votes.csv", tmp_path / "key.json"
    votes.write_csv(ballots, path, key)
    assert path.read_bytes().startswith("\ufeff".encode())
    assert "system" not in path.read_text(encoding="utf-8") and set(read_json(key).values()) == {"a", "b"}
    fill_in(path, lambda row: "b" if row["answer_A"].startswith("B의") else " A ")
    winners = votes.read_csv(path, key)
    assert winners == {ballot.id: "a" for ballot in ballots} and len(winners) == 10
    found = votes.agreement(winners, judgments)
    assert (found.n, found.share, found.ac1) == (10, 1.0, 1.0)


def test_no_cell_is_a_formula_and_lists_stay_as_they_are(judgments, tmp_path):
    path = votes.write_csv(votes.draw(judgments, 30), tmp_path / "v.csv", tmp_path / "k.json")
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-1"))]
    assert "'=1+1" in cells and "- 첫째\n- 둘째" in cells


@given(st.integers(0, 10_000))
def test_the_sides_are_drawn_by_a_coin_and_a_vote_is_mapped_back(seed):
    lines = [judged(i, "a", "b", a=f"가 {i}", b=f"나 {i}") for i in range(12)]
    ballots = votes.draw(lines, 6, seed)
    assert ballots == votes.draw(lines, 6, seed) and len({ballot.id for ballot in ballots}) == 6
    for ballot in ballots:
        assert {ballot.first[0], ballot.second[0]} == {"가", "나"}
        assert ballot.decided("first").winner == ("a" if ballot.first.startswith("가") else "b")
        assert {ballot.decided(shown).winner for shown in ("first", "second", "tie")} == {"a", "b", "tie"}
        assert ballot.shown_first not in repr(ballot).replace(ballot.id, "").split("'")
        assert repr(ballot).index(ballot.first) < repr(ballot).index(ballot.second)  # in the order shown


def test_pairs_that_are_not_worth_a_vote_are_not_drawn():
    same = judged(1, "tie", "tie", a="같은 답", b="같은 답")
    blank = judged(2, "b", "b", a=" ", b="답")
    assert [ballot.id for ballot in votes.draw([same, blank, judged(3, "a", "a")])] == ["q3"]
    with pytest.raises(CourseError, match="no pair of two different answers"):
        votes.draw([same, blank])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,vote\nq1,C\n", r"votes.csv, line 2, field vote: 'C' is not A, B or tie"),
        ("id,vote\nzz,A\n", r"line 2, field id: 'zz' is not in"),
        ("id,vote\nq1,A\nq1,B\n", r"line 3, field id: 'q1' was voted on before"),
        ("id,vote\nq1,\n", r"holds no vote yet"),
        ("number,answer\n1,A\n", r"has no columns id and vote"),
    ],
)
def test_a_malformed_vote_is_one_sentence(tmp_path, text, said):
    path, key = tmp_path / "votes.csv", tmp_path / "key.json"
    path.write_text(text, encoding="utf-8")
    key.write_text('{"q1": "a"}', encoding="utf-8")
    with pytest.raises(CourseError, match=said):
        votes.read_csv(path, key)


def test_votes_are_never_written_over_and_korean_ties_count(judgments, tmp_path, capsys):
    path, key = tmp_path / "votes.csv", tmp_path / "key.json"
    ballots = votes.draw(judgments, 3)
    votes.write_csv(ballots, path, key)
    with pytest.raises(CourseError, match="is there already, and may hold votes"):
        votes.write_csv(ballots, path, key)
    fill_in(path, lambda row: "무승부" if row["number"] == "1" else "")
    assert votes.read_csv(path, key) == {ballots[0].id: "tie"}
    assert "2 of 3 pairs have no vote" in capsys.readouterr().out
    with pytest.raises(CourseError, match="no key of a vote"):
        other = tmp_path / "other.json"
        other.write_text("[1]", encoding="utf-8")
        votes.read_csv(path, other)


def test_the_widget_keeps_each_vote_and_goes_on_where_it_stopped(tmp_path):
    lines = [judged(i, "a", "a", a=f"가 {i} <script>", b=f"나 {i}", question="질문 & 답") for i in range(4)]
    ballots, out = votes.draw(lines, 4), tmp_path / "votes.jsonl"
    where, shown, buttons = votes.widget(ballots, out).children
    assert "<script>" not in shown.value and "질문 &amp; 답" in shown.value
    buttons.children[0].click()
    buttons.children[1].click()
    where, shown, buttons = votes.widget(ballots, out).children
    assert where.value == "2 / 4"
    buttons.children[2].click()
    buttons.children[2].click()
    assert all(button.disabled for button in buttons.children)
    expected = [ballots[0].decided("first").winner, ballots[1].decided("second").winner, "tie", "tie"]
    assert votes.read_winners(out) == dict(zip((ballot.id for ballot in ballots), expected, strict=True))


def test_agreement_needs_a_pair_that_both_judged():
    unread = Judgment("q1", "unparsed", judge="j", fingerprint="1", answer_a="가", answer_b="나")
    with pytest.raises(CourseError, match="Not one pair"):
        votes.agreement({"q1": "a"}, [unread])
    with pytest.raises(CourseError, match="holds no votes"):
        votes.read_winners("outputs/none.jsonl")
