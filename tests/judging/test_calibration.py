"""Protects: a judge is measured by kind and as it is used, its leanings of form show, and a weak one carries a warning."""

from dataclasses import dataclass

import pytest

from kotune.judging.calibration import CALIBRATION, LIST_KIND, calibrate, list_probe, load_calibration
from kotune.judging.judges import JudgeReply, PairVerdict, ReferenceJudge
from kotune.judging.judgments import Tally
from utils import CourseError, read_jsonl, write_jsonl

LABELLED = load_calibration()


@dataclass(frozen=True)
class By:
    """A judge by a rule on the pair as shown."""

    rule: object
    name: str = "rule"
    fingerprint: str = "1"
    batch_size: int = 50

    def verdicts(self, pairs):
        return [PairVerdict(self.rule(pair), JudgeReply("raw")) for pair in pairs]


def longer(pair):
    gap = len(pair.first) - len(pair.second)
    return "tie" if gap == 0 else "first" if gap > 0 else "second"


def knowing(pair):
    """The judge that is always right: it looks the verdict up."""
    for one in LABELLED:
        if {pair.first, pair.second} == {one.pair.answer_a, one.pair.answer_b}:
            if one.right == "tie":
                return "tie"
            better = one.pair.answer_a if one.right == "a" else one.pair.answer_b
            return "first" if pair.first == better else "second"
    return "tie"


def preference(found, name):
    return next(one for one in found.preferences if one.name == name)


def test_a_judge_that_is_always_right_clears_the_bar_and_leans_nowhere():
    found = calibrate(By(knowing))
    assert (found.n, found.right, found.accuracy, found.warning, found.flips) == (228, 228, 1.0, "", 0)
    assert len(found.kinds) == 9 and all(kind.passes and kind.n >= 18 for kind in found.kinds)
    assert not any(one.biased for one in found.preferences)
    assert found.better == Tally(208, 0, 0)  # the twenty ties have no better side
    assert found.table().loc["all", "clears the bar"]


@pytest.mark.slow
def test_the_reference_judge_is_blind_to_numbers_and_facts_and_says_so():
    found = calibrate(ReferenceJudge())
    by_kind = {kind.kind: kind for kind in found.kinds}
    for kind in ("off_topic", "wrong_language", "fluent_empty", "echo", "padded"):
        assert by_kind[kind].passes
    for kind in ("wrong_number", "wrong_fact"):
        assert not by_kind[kind].passes and kind in found.warning
    assert found.flip_rate == 0 and preference(found, "the first place").share == 0.5
    assert preference(found, "lists").n == 0  # the same words: never a choice


def test_leanings_of_form_are_measured():
    first = calibrate(By(lambda pair: "first"))
    assert preference(first, "the first place").share == 1 and preference(first, "the first place").biased
    assert first.better == Tally(0, 208, 0)
    assert first.flip_rate == 1 and first.accuracy == pytest.approx(20 / 228)  # every disagreement is a tie
    by_length = preference(calibrate(By(longer)), "the longer")
    assert by_length.share == 1 and by_length.fair < 0.6 and by_length.biased
    lists = calibrate(By(lambda pair: "first" if pair.first.startswith("- ") else "second"))
    assert preference(lists, "lists").share == 1 and preference(lists, "lists").n == 20


def test_two_judges_are_compared_on_the_pairs_of_the_accuracy():
    right, leaning = calibrate(By(knowing)), calibrate(By(lambda pair: "first"))
    assert set(right.verdicts) == {one.pair.question.id for one in LABELLED}
    agreed = right.agreement(leaning)
    assert agreed.n == 228 and agreed.share == pytest.approx(20 / 228)  # the flips are ties, as twenty pairs are
    assert agreed.kappa == pytest.approx(0) and agreed.ac1 < 0
    assert "verdicts" not in right.row()


def test_the_probe_for_lists_holds_the_same_words():
    for one in list_probe(LABELLED):
        prose, bullets = sorted((one.pair.answer_a, one.pair.answer_b), key=lambda text: text.startswith("- "))
        assert one.kind == LIST_KIND and one.right == "tie"
        assert " ".join(line.removeprefix("- ") for line in bullets.split("\n")).split() == prose.split()
        assert bullets.count("\n") >= 1


def test_an_unreadable_verdict_is_wrong_and_counted():
    found = calibrate(By(lambda pair: None if "14일" in pair.first + pair.second else knowing(pair)))
    assert found.unparsed == 228 - found.right > 0
    assert found.better.losses == found.better.ties == 0 < found.better.wins < 208  # no verdict: nothing for either side
    with pytest.raises(CourseError, match="has not one verdict on the calibration set"):
        calibrate(By(lambda pair: None))


def test_it_resumes(tmp_path):
    out = tmp_path / "c.jsonl"
    first = calibrate(By(knowing), out=out)
    kept = out.read_bytes()
    assert calibrate(By(lambda pair: "first"), out=out) == first  # nothing was asked
    assert out.read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "A"}, r"c.jsonl, line 2, field verdict: 'A' is not first, second or tie"),
        ({"kind": None}, r"line 2, field kind: a calibration pair needs a text"),
        ({"second": " "}, r"line 2, field second"),
        ({"id": "jc-001"}, r"line 2, field id: 'jc-001' was used before"),
    ],
)
def test_a_malformed_calibration_file_is_one_sentence(tmp_path, change, said):
    one, two = read_jsonl(CALIBRATION)[:2]
    path = write_jsonl(tmp_path / "c.jsonl", [one, two | change])
    with pytest.raises(CourseError, match=said):
        calibrate(ReferenceJudge(), path)
