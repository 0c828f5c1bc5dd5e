"""Protects: a voter cannot tell the sides, a vote counts for the right system, and what is malformed is one sentence."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.judging import blind_vote
from kotune.judging.blind_vote import agreement, draw, read_csv, write_csv
from kotune.judging.judgments import Judgment
from tests.judging.test_comparison import judged
from utils import CourseError, read_json


@pytest.fixture
def judgments():
    answers = ["=1+1", "- 첫째\n- 둘째", "-1+1", '쉼표, "따옴표"', "@x"]
    return [judged(i, "a", "a", a=answers[i % 5], b=f"B의 답 {i}", question=f"질문 {i}") for i in range(30)]


def fill_in(path, vote):
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, blind_vote.COLUMNS)
        writer.writeheader()
        writer.writerows({**row, "vote": vote(row)} for row in rows)


def test_a_voter_who_always_finds_system_a_agrees_fully(judgments, tmp_path):
    ballots = draw(judgments, seed=3)
    path, key = tmp_path / "votes.csv", tmp_path / "key.json"
    write_csv(ballots, path, key)
    assert path.read_bytes().startswith("\ufeff".encode())
    assert "system" not in path.read_text(encoding="utf-8") and set(read_json(key).values()) == {"a", "b"}
    fill_in(path, lambda row: "b" if row["answer_A"].startswith("B의") else " A ")
    votes = read_csv(path, key)
    assert votes == {ballot.id: "a" for ballot in ballots} and len(votes) == 10
    found = agreement(votes, judgments)
    assert (found.n, found.share, found.ac1) == (10, 1.0, 1.0)


def test_no_cell_is_a_formula_and_lists_stay_as_they_are(judgments, tmp_path):
    path = write_csv(draw(judgments, 30), tmp_path / "v.csv", tmp_path / "k.json")
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-1"))]
    assert "'=1+1" in cells and "- 첫째\n- 둘째" in cells


@given(st.integers(0, 10_000))
def test_the_sides_are_drawn_by_a_coin_and_a_vote_is_mapped_back(seed):
    lines = [judged(i, "a", "b", a=f"가 {i}", b=f"나 {i}") for i in range(12)]
    ballots = draw(lines, 6, seed)
    assert ballots == draw(lines, 6, seed) and len({ballot.id for ballot in ballots}) == 6
    for ballot in ballots:
        assert {ballot.answer_a[0], ballot.answer_b[0]} == {"가", "나"}
        assert ballot.system("A") == ("a" if ballot.answer_a.startswith("가") else "b")
        assert {ballot.system("A"), ballot.system("B"), ballot.system("tie")} == {"a", "b", "tie"}
        assert ballot.system_of_a not in repr(ballot).replace(ballot.id, "").split("'")


def test_pairs_that_are_not_worth_a_vote_are_not_drawn():
    same = judged(1, "tie", "tie", a="같은 답", b="같은 답")
    blank = judged(2, "b", "b", a=" ", b="답")
    assert [ballot.id for ballot in draw([same, blank, judged(3, "a", "a")])] == ["q3"]
    with pytest.raises(CourseError, match="no pair of two different answers"):
        draw([same, blank])


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
        read_csv(path, key)


def test_votes_are_never_written_over_and_korean_ties_count(judgments, tmp_path, capsys):
    path, key = tmp_path / "votes.csv", tmp_path / "key.json"
    ballots = draw(judgments, 3)
    write_csv(ballots, path, key)
    with pytest.raises(CourseError, match="is there already, and may hold votes"):
        write_csv(ballots, path, key)
    fill_in(path, lambda row: "무승부" if row["number"] == "1" else "")
    assert read_csv(path, key) == {ballots[0].id: "tie"}
    assert "2 of 3 pairs have no vote" in capsys.readouterr().out
    with pytest.raises(CourseError, match="no key of a vote"):
        other = tmp_path / "other.json"
        other.write_text("[1]", encoding="utf-8")
        read_csv(path, other)


def test_the_widget_keeps_each_vote_and_goes_on_where_it_stopped(tmp_path):
    lines = [judged(i, "a", "a", a=f"가 {i} <script>", b=f"나 {i}", question="질문 & 답") for i in range(4)]
    ballots, out = draw(lines, 4), tmp_path / "votes.jsonl"
    where, shown, buttons = blind_vote.widget(ballots, out).children
    assert "<script>" not in shown.value and "질문 &amp; 답" in shown.value
    buttons.children[0].click()
    buttons.children[1].click()
    where, shown, buttons = blind_vote.widget(ballots, out).children
    assert where.value == "2 / 4"
    buttons.children[2].click()
    buttons.children[2].click()
    assert all(button.disabled for button in buttons.children)
    expected = [ballots[0].system("A"), ballots[1].system("B"), "tie", "tie"]
    assert blind_vote.read_votes(out) == dict(zip((ballot.id for ballot in ballots), expected, strict=True))


def test_agreement_needs_a_pair_that_both_judged():
    unread = Judgment("q1", "unparsed", judge="j", fingerprint="1", answer_a="가", answer_b="나")
    with pytest.raises(CourseError, match="Not one pair"):
        agreement({"q1": "a"}, [unread])
    with pytest.raises(CourseError, match="holds no votes"):
        blind_vote.read_votes("outputs/none.jsonl")
