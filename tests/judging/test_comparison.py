"""Protects: the report counts everything once, mirrors when the sides are swapped, and reproduces the worked example."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.judging.calibration import calibrate
from kotune.judging.comparison import report, scores_behind, summarise
from kotune.judging.judges import PairVerdict, ReferenceJudge
from kotune.judging.judgments import Judgment, ScoreLine, compare
from utils import CourseError

SWAP = {"a": "b", "b": "a", "tie": "tie", None: None}


def judged(number, ab, ba, a="가" * 10, b="나" * 10, **other):
    winner = ab if ab == ba else "tie"
    return Judgment(f"q{number}", "judged", ab, ba, winner, judge="j", fingerprint="1", answer_a=a, answer_b=b, **other)


def swapped(line):
    """The same judgment with A and B changed over: what was shown first as A was shown second."""
    problem = {"empty_a": "empty_b", "empty_b": "empty_a", "only_in_a": "only_in_b"}.get(line.problem, line.problem)
    return replace(
        line, verdict_ab=SWAP[line.verdict_ba], verdict_ba=SWAP[line.verdict_ab], winner=SWAP[line.winner],
        answer_a=line.answer_b, answer_b=line.answer_a, raw_ab=line.raw_ba, raw_ba=line.raw_ab, problem=problem,
    )  # fmt: skip


def fifteen():
    """The reference course's 15 questions: 10 consistent wins, 3 losses, and 2 pairs that changed with the order."""
    verdicts = [("a", "a")] * 10 + [("b", "b")] * 3 + [("a", "b")] * 2
    return [judged(number, *pair, a="가" * (20 + number)) for number, pair in enumerate(verdicts)]


def test_the_reference_courses_fifteen_questions():
    result = report(fifteen())
    assert (result.n_asked, result.n_judged, result.wins, result.ties, result.losses) == (15, 15, 10, 2, 3)
    assert f"{result.win_rate:.1%}" == "73.3%"
    assert f"{result.p_value:.2f}" == "0.09"
    assert result.interval[0] < 0.55 and result.flips == 2 and result.flip_rate == pytest.approx(2 / 15)
    assert (result.first_place, result.first_place_of) == (2, 2)
    assert result.questions_needed > 15


VERDICT = st.sampled_from(["a", "b", "tie"])
LINE = st.one_of(
    st.tuples(VERDICT, VERDICT, st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["unparsed", "left_out", "empty_a", "failed"]),
)


def build(drawn):
    lines = [judged("first", "a", "tie")]
    for number, one in enumerate(drawn):
        if isinstance(one, tuple):
            ab, ba, a, b = one
            lines.append(judged(number, ab, ba, "가" * a, "나" * b))
        elif one == "empty_a":
            lines.append(judged(number, "b", "b", a="", problem="empty_a"))
        else:
            problem = "only_in_a" if one == "left_out" else "schema"
            lines.append(
                Judgment(f"q{number}", one, problem=problem, judge="j", fingerprint="1", answer_a="가", answer_b="나")
            )
    return lines


@given(st.lists(LINE, max_size=30))
@settings(deadline=None)
def test_swapping_the_sides_everywhere_mirrors_the_report(drawn):
    lines = build(drawn)
    one, other = report(lines), report([swapped(line) for line in lines])
    assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
    assert one.win_rate == pytest.approx(1 - other.win_rate, abs=1e-12)
    assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]), abs=1e-12)
    assert (one.mean_length_a, one.mean_length_b) == (other.mean_length_b, other.mean_length_a)
    for same in ("n_asked", "n_answered", "n_judged", "unparsed", "failed", "left_out", "p_value", "flips", "flip_rate",
                 "flip_interval", "first_place", "first_place_of", "longer_won", "longer_won_of", "questions_needed"):  # fmt: skip
        assert getattr(one, same) == getattr(other, same)
    renamed = {"empty_a": "empty_b", "only_in_a": "only_in_b"}
    for named in ("problem_ids", "left_out_ids"):
        assert {renamed.get(name, name): ids for name, ids in getattr(one, named).items()} == getattr(other, named)
    fitted, mirrored = one.length_controlled, other.length_controlled
    if fitted.win_rate is not None:
        assert fitted.win_rate == pytest.approx(1 - mirrored.win_rate, abs=1e-12)
        assert fitted.interval == pytest.approx((1 - mirrored.interval[1], 1 - mirrored.interval[0]), abs=1e-12)


TEXT = st.text(alphabet="가나다 14일.", max_size=12)


@given(st.lists(st.tuples(st.sampled_from(["both", "a", "b", "other"]), TEXT, TEXT), min_size=1, max_size=12), st.booleans())
@settings(deadline=None, max_examples=60)
def test_swapping_the_answers_files_mirrors_the_report(drawn, leans):
    """From the files on: pairing, both orders, a judge that leans to the first place or none, and the report."""

    class Longer:
        name, fingerprint, batch_size = "longer", "1", 3

        def verdicts(self, pairs):
            gaps = [len(pair.first) - len(pair.second) + 2 * leans for pair in pairs]
            return [PairVerdict("tie" if gap == 0 else "first" if gap > 0 else "second") for gap in gaps]

    a, b = [], [{"id": "z", "question": "물음", "answer": "나"}]
    a.append(b[0] | {"answer": "가나다"})
    for number, (where, one, other) in enumerate(drawn):
        row = {"id": str(number), "question": "물음"}
        if where != "b":
            a.append(row | {"answer": one})
        if where != "a":
            b.append(row | {"answer": other, "question": "다른 물음" if where == "other" else "물음"})
    one, other = report(compare(Longer(), a, b)), report(compare(Longer(), b, a))
    assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
    assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]), abs=1e-12)
    for same in ("n_asked", "n_answered", "n_judged", "left_out", "p_value", "flips", "first_place", "longer_won"):
        assert getattr(one, same) == getattr(other, same)


@given(st.lists(LINE, max_size=30))
@settings(deadline=None)
def test_everything_that_was_asked_is_counted_once(drawn):
    lines = build(drawn)
    result = report(lines)
    assert result.n_asked == len(lines) == result.n_judged + result.unparsed + result.failed + result.left_out
    assert result.wins + result.ties + result.losses == result.n_judged
    assert sum(map(len, result.left_out_ids.values())) == result.left_out
    without = [line.id for line in lines if line.status != "left_out" and line.problem]
    assert sorted(one for ids in result.problem_ids.values() for one in ids) == sorted(without)
    assert result.problems == {problem: len(ids) for problem, ids in result.problem_ids.items()}


def test_a_report_needs_a_verdict_of_one_judge():
    unread = Judgment("q1", "unparsed", problem="schema", judge="j", fingerprint="1")
    with pytest.raises(CourseError, match=r"None of 2 judgments has a verdict \(most often: schema\)"):
        report([unread, replace(unread, id="q2")])
    with pytest.raises(CourseError, match="are of 2 judges"):
        report([unread, judged(1, "a", "a", served_by="m"), replace(judged(2, "a", "a"), judge="k")])


@pytest.mark.slow
def test_a_judge_below_the_bar_or_not_calibrated_is_marked_in_the_report():
    rows = [{"id": "1", "question": "질문", "answer": "14일 이내에 합니다.", "reference": "14일 이내에 해야 합니다."}]
    other = [rows[0] | {"answer": "재산세입니다."}]
    judgments = compare(ReferenceJudge(), rows, other)
    assert "was not calibrated" in report(judgments).warning
    calibration = calibrate(ReferenceJudge())
    assert "wrong_number 19 of 50" in report(judgments, calibration).row()["warning"]
    with pytest.raises(CourseError, match="calibrate the judge that judged"):
        report(compare(ReferenceJudge(tie_below=0.3), rows, other), calibration)


def test_scores_are_summarised_with_what_has_none():
    lines = [ScoreLine(str(i), "judged", float(i), judge="j") for i in range(1, 11)]
    summary = summarise("A", [*lines, ScoreLine("x", "unparsed", problem="schema", judge="j")])
    assert (summary.n, summary.without, summary.mean) == (10, 1, 5.5)
    assert summary.interval[0] < 4 and summary.interval[1] > 7
    with pytest.raises(CourseError, match="None of 1 answers of A has a score"):
        summarise("A", [ScoreLine("x", "unparsed", judge="j")])
    behind = scores_behind([judged(1, "a", "a", raw_ab={"first": 0.5, "second": 0.2})])
    assert [one.mean for one in behind] == [0.5, 0.2]
    assert scores_behind([judged(1, "a", "a", raw_ab="text")]) is None
