"""Protects: both orders count, swapping sides mirrors the report, unread verdicts are a class of their own."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import judging
import teacher
from judging import Judgment, Question, compare, report
from tests.conftest import chat_completion

QUESTIONS = [Question(f"q{i}", f"질문 {i}", "전입신고는 이사한 날부터 14일 이내에 해야 합니다.") for i in range(3)]
GOOD = ["전입신고는 이사한 날부터 14일 이내에 합니다."] * 3
BAD = ["재산세는 소유자가 냅니다."] * 3


@dataclass(frozen=True)
class Always:
    verdict: str | None
    name: str = "always"

    def verdicts(self, pairs):
        return [self.verdict] * len(pairs)


def test_the_reference_judge_prefers_the_closer_answer_in_either_order():
    judge = judging.ReferenceJudge()
    assert [j.winner for j in compare(judge, QUESTIONS, GOOD, BAD)] == ["a"] * 3
    assert [j.winner for j in compare(judge, QUESTIONS, BAD, GOOD)] == ["b"] * 3
    assert [j.winner for j in compare(judge, QUESTIONS, GOOD, GOOD)] == ["tie"] * 3


def test_a_judge_that_always_takes_the_first_yields_ties_and_flips():
    result = report("x", compare(Always("first"), QUESTIONS, GOOD, BAD))
    assert (result.wins, result.ties, result.losses) == (0, 3, 0)
    assert result.flip_rate == 1
    assert result.win_rate == 0.5


def test_unread_verdicts_are_counted_and_in_no_rate():
    judgments = [*compare(Always(None), QUESTIONS, GOOD, BAD), Judgment("w", "a", "a", "a")]
    result = report("x", judgments)
    assert (result.n_asked, result.n_judged, result.unparsed, result.win_rate) == (4, 1, 3, 1.0)
    with pytest.raises(ValueError, match="None of 3"):
        report("x", judgments[:3])


def test_answers_of_different_number_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        compare(Always("tie"), QUESTIONS, GOOD, BAD[:2])


VERDICT = st.sampled_from(["a", "b", "tie"])


@given(st.lists(st.tuples(VERDICT, VERDICT), min_size=1, max_size=30))
def test_swapping_the_sides_mirrors_the_report(verdicts):
    def build(mapping):
        rows = []
        for i, pair in enumerate(verdicts):
            ab, ba = (mapping[verdict] for verdict in pair)
            rows.append(Judgment(str(i), ab, ba, ab if ab == ba else "tie"))
        return report("x", rows)

    one = build({"a": "a", "b": "b", "tie": "tie"})
    other = build({"a": "b", "b": "a", "tie": "tie"})
    assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
    assert one.win_rate == pytest.approx(1 - other.win_rate)
    assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]))
    assert one.flip_rate == other.flip_rate


def test_the_interval_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(1)
    names = np.array(["a", "tie", "b"])
    covered = 0
    for _ in range(300):
        drawn = generator.choice(names, size=60, p=[0.5, 0.2, 0.3])
        judgments = [Judgment(str(i), winner, winner, winner) for i, winner in enumerate(drawn)]
        result = report("x", judgments, seed=int(generator.integers(1e6)))
        covered += result.interval[0] <= 0.6 <= result.interval[1]
    assert 0.91 <= covered / 300 <= 0.98


def test_an_llm_judge_that_cannot_be_asked_says_why(endpoint):
    from utils import CourseError

    endpoint(lambda body: (401, {"error": {"message": "no"}}))
    with pytest.raises(CourseError, match="refused the key"):
        compare(judging.LLMJudge(teacher.connect()), QUESTIONS, GOOD, BAD)


def test_an_llm_judge_reads_each_order_through_the_schema(endpoint):
    def answer(body):
        text = body["messages"][1]["content"]
        first = text.split("<first>\n")[1].split("\n</first>")[0]
        if "14일" not in text.split("<first>")[1]:
            return 200, chat_completion("둘 다 좋네요")  # no verdict
        winner = "first" if "14일" in first else "second"
        return 200, chat_completion(json.dumps({"reason": "기한이 맞습니다.", "winner": winner}))

    endpoint(answer)
    judge = judging.LLMJudge(teacher.connect())
    judgments = compare(judge, QUESTIONS, [GOOD[0], BAD[1], BAD[2]], [BAD[0], GOOD[1], BAD[2]])
    assert [j.winner for j in judgments] == ["a", "b", None]
