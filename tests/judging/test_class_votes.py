"""Protects: in a class each phone has one vote a pair, sees the sides by lot, and is counted for the answer that it preferred."""

import threading
from collections import Counter

import pytest

from kotune.judging import class_votes, judgments, votes
from kotune.judging.class_votes import BallotBox, ClassPairs, TooManyPhones
from kotune.judging.judges import PairVerdict
from tests.judging.test_comparison import judged
from utils import CourseError, read_jsonl, write_jsonl

PHONES = [f"{number:032x}" for number in range(30)]


@pytest.fixture
def pairs():
    lines = [judged(number, "a", "a", a=f"답 {number}", b=f"다른 답 {number}") for number in range(5)]
    return ClassPairs(votes.draw(lines), lines, ("SFT", "base"))


def press(box, phone, pair, side):
    """Vote for a or b, or neither, wherever it stands for this phone."""
    seen = box.pair(phone, pair.id)
    shown = side if side == "tie" else "first" if seen.shown_first == side else "second"
    return box.cast(phone, pair.id, shown)


def test_a_vote_counts_for_the_answer_that_was_preferred_wherever_it_stood(pairs, tmp_path):
    box = BallotBox(pairs, tmp_path / "votes.jsonl")
    for number, phone in enumerate(PHONES[:6]):
        for pair in pairs.votes:
            assert press(box, phone, pair, "a" if number < 4 else "b")
    found = class_votes.tally(box)
    assert (found.phones, found.votes) == (6, 30)
    assert all(one.counts == Counter(a=4, b=2) and one.winner == "a" for one in found.pairs)
    assert found.agreement.share == 1 and found.agreement.n == 5 and found.agreement.kappa is None  # all say a


def test_the_sides_are_drawn_by_lot_for_each_phone_and_stay(pairs, tmp_path):
    box = BallotBox(pairs, tmp_path / "votes.jsonl")
    seen = [box.pair(phone, pair.id) for phone in PHONES for pair in pairs.votes]
    assert seen == [box.pair(phone, pair.id) for phone in PHONES for pair in pairs.votes]
    first = Counter(vote.shown_first for vote in seen)
    assert 45 < first["a"] < 105  # of 150, and the same in each run
    for pair in pairs.votes:
        assert {box.pair(phone, pair.id).shown_first for phone in PHONES} == {"a", "b"}
    assert seen[0].first == (seen[0].answer_a if seen[0].shown_first == "a" else seen[0].answer_b)


def test_a_room_that_takes_whatever_stands_first_is_seen_as_such_and_decides_little(pairs, tmp_path):
    box = BallotBox(pairs, tmp_path / "votes.jsonl")
    for phone in PHONES[:7]:
        for pair in pairs.votes:
            box.cast(phone, pair.id, "first")
    found = class_votes.tally(box)
    assert found.first_chosen == found.decided == 35
    assert {one.winner for one in found.pairs} != {"a"}


def test_one_phone_has_one_vote_a_pair_and_the_first_counts(pairs, tmp_path):
    box = BallotBox(pairs, tmp_path / "votes.jsonl")
    pair = pairs.votes[0]
    assert press(box, PHONES[0], pair, "a") and not press(box, PHONES[0], pair, "b")
    assert len(box.waiting(PHONES[0])) == 4 and len(box.waiting(PHONES[1])) == 5
    again = BallotBox(pairs, tmp_path / "votes.jsonl")  # the server was started again in the middle
    assert not press(again, PHONES[0], pair, "b")
    assert [row["winner"] for row in read_jsonl(tmp_path / "votes.jsonl")] == ["a"]
    assert not press(again, PHONES[0], pairs.votes[0], "tie") and again.pair(PHONES[0], "no such pair") is None


def test_two_servers_on_one_file_lose_no_vote_and_count_none_twice(pairs, tmp_path):
    boxes = [BallotBox(pairs, tmp_path / "votes.jsonl") for _ in range(2)]

    def vote(box):
        for phone in PHONES[:10]:
            for pair in pairs.votes[:2]:
                press(box, phone, pair, "b")

    threads = [threading.Thread(target=vote, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read_jsonl(tmp_path / "votes.jsonl")
    assert len(rows) == len({row["vote"] for row in rows}) == 20


def test_nobody_who_reads_the_file_can_vote_as_another(pairs, tmp_path):
    box = BallotBox(pairs, tmp_path / "votes.jsonl")
    press(box, PHONES[7], pairs.votes[0], "a")
    assert PHONES[7] not in (tmp_path / "votes.jsonl").read_text(encoding="utf-8")
    assert (tmp_path / "votes.jsonl").stat().st_mode & 0o077 == 0


def test_a_closed_vote_takes_no_more_and_leaves_the_rooms_verdicts_for_a_judge(pairs, tmp_path):
    box = BallotBox(pairs, tmp_path / "votes.jsonl")
    first, second, third = pairs.votes[:3]
    for phone, one, other in zip(PHONES[:3], "aab", ("tie", "b", "a"), strict=True):
        press(box, phone, first, one)
        press(box, phone, second, other)
    room = box.close()
    assert not press(box, PHONES[9], third, "a") and len(box.votes) == 6
    # two of three; one each, which is a tie; and nothing on a pair without a vote
    assert votes.read_winners(room) == {first.id: "a", second.id: "tie"}
    assert votes.agreement(votes.read_winners(room), pairs.judgments).n == 2


def test_what_the_file_of_another_class_holds_is_refused(pairs, tmp_path):
    box = BallotBox(pairs, tmp_path / "votes.jsonl")
    press(box, PHONES[0], pairs.votes[0], "a")
    lines = [
        judged(number, "a", "a", a=f"새 답 {number}", b="다른 답") for number in range(10)
    ]  # the model was trained anew
    with pytest.raises(CourseError, match=r"line 1, is a vote on another pair .* name another file with --votes"):
        BallotBox(ClassPairs(votes.draw(lines), lines, None), tmp_path / "votes.jsonl")
    for row in ({"vote": "x"}, {"id": "q1", "winner": "a"}):
        write_jsonl(tmp_path / "other.jsonl", [row])
        with pytest.raises(CourseError, match=r"line 1, is no vote of a class; name another file"):
            BallotBox(pairs, tmp_path / "other.jsonl")


def test_a_script_that_is_a_new_phone_each_time_comes_to_an_end(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(class_votes, "MOST_PHONES", 3)
    box = BallotBox(pairs, tmp_path / "votes.jsonl")
    for phone in PHONES[:3]:
        press(box, phone, pairs.votes[0], "a")
    with pytest.raises(TooManyPhones, match="3 phones have voted"):
        press(box, PHONES[3], pairs.votes[0], "a")
    assert press(box, PHONES[0], pairs.votes[1], "a")  # whoever is in the room goes on


def test_without_a_file_the_class_votes_on_pairs_whose_better_answer_is_known():
    known = class_votes.known_pairs(count=4, seed=1)
    assert len(known.votes) == 4 and known.judge.startswith("reference")
    rows = {row["id"]: row for row in read_jsonl(class_votes.CALIBRATION)}
    for vote in known.votes:
        row = rows[vote.id]
        assert row["verdict"] != "tie" and vote.answer_a == row[row["verdict"]]
    assert {line.id for line in known.judgments} == {vote.id for vote in known.votes}
    assert all(line.winner in ("a", "b", "tie") for line in known.judgments)


def test_pairs_that_the_judge_has_no_verdict_on_are_not_voted_on(tmp_path):
    class Silent:
        name, fingerprint, batch_size = "silent on q1", "1", 8

        def verdicts(self, shown):
            return [PairVerdict(None if "1" in pair.first + pair.second else "first") for pair in shown]

    questions = [{"id": f"q{n}", "question": f"질문 {n}", "answer": f"답 {n}"} for n in range(3)]
    others = [{**row, "answer": f"다른 {row['answer']}"} for row in questions]
    judgments.compare(Silent(), questions, others, tmp_path / "judgments.jsonl")
    drawn = class_votes.judged_pairs(tmp_path / "judgments.jsonl", 10, 0, ("A", "B"))
    assert {vote.id for vote in drawn.votes} == {"q0", "q2"}
