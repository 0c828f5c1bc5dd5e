"""Protects: both orders count, a run resumes without asking twice, raw replies stay, other judgments are never mixed in."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

from kotune.judging.judges import AnswerScore, JudgeReply, LLMJudge, PairVerdict, ReferenceJudge
from kotune.judging.judgments import compare, read_judgments, score
from kotune.line_file import hold
from kotune.teacher import client
from tests.support.endpoint import Endpoint, chat_completion
from utils import ROOT, CourseError, read_jsonl, write_jsonl

REFERENCE = "전입신고는 이사한 날부터 14일 이내에 해야 합니다."
GOOD, BAD = "전입신고는 이사한 날부터 14일 이내에 합니다.", "재산세는 소유자가 냅니다."


def rows(answer, count=3):
    return [{"id": f"q{i}", "question": f"질문 {i}", "answer": answer, "reference": REFERENCE} for i in range(count)]


@dataclass(frozen=True)
class Always:
    """Says one thing of everything, and remembers nothing."""

    verdict: str | None
    name: str = "always"
    fingerprint: str = "1"
    batch_size: int = 2

    def verdicts(self, pairs):
        return [PairVerdict(self.verdict, JudgeReply("raw", None if self.verdict else "schema")) for _ in pairs]

    def scores(self, singles):
        return [AnswerScore(None, JudgeReply("없음", "schema")) for _ in singles]


# --- both orders ---


def test_the_closer_answer_wins_in_either_order():
    judge = ReferenceJudge()
    assert [j.winner for j in compare(judge, rows(GOOD), rows(BAD))] == ["a"] * 3
    assert [j.winner for j in compare(judge, rows(BAD), rows(GOOD))] == ["b"] * 3
    assert [j.winner for j in compare(judge, rows(GOOD), rows(GOOD))] == ["tie"] * 3


def test_a_judge_that_always_takes_the_first_yields_ties_that_are_flips():
    for line in compare(Always("first"), rows(GOOD), rows(BAD)):
        assert (line.verdict_ab, line.verdict_ba, line.winner, line.flipped) == ("a", "b", "tie", True)


def test_each_verdict_is_read_in_its_own_order(endpoint, tmp_path):
    def answer(body):
        first = body["messages"][1]["content"].split("<first>\n")[1].split("\n</first>")[0]
        winner = "first" if "14일" in first else "second"
        return 200, chat_completion(json.dumps({"reason": "기한이 맞습니다.", "winner": winner}))

    endpoint(answer)
    judge = LLMJudge(client.connect("m", journal=tmp_path / "journal.jsonl"))
    judgments = compare(judge, rows(GOOD, 2), rows(BAD, 2), tmp_path / "j.jsonl")
    assert [(j.verdict_ab, j.verdict_ba, j.winner) for j in judgments] == [("a", "a", "a")] * 2
    line = read_jsonl(tmp_path / "j.jsonl")[0]
    assert json.loads(line["raw_ab"])["winner"] == "first" and json.loads(line["raw_ba"])["winner"] == "second"
    assert line["judge"] == "LLM (m)" and line["prompt"] and line["served_by"] == "m"


def test_one_order_without_a_verdict_is_no_judgment(endpoint, tmp_path):
    def answer(body):
        first = body["messages"][1]["content"].split("<first>\n")[1]
        good = json.dumps({"reason": "", "winner": "first"})
        return 200, chat_completion(good if first.startswith("전입") else "둘 다 좋네요")

    endpoint(answer)
    judge = LLMJudge(client.connect("m", journal=tmp_path / "journal.jsonl"))
    (line,) = compare(judge, rows(GOOD, 1), rows(BAD, 1))
    assert (line.status, line.winner, line.verdict_ab, line.verdict_ba) == ("unparsed", None, "a", None)
    assert (line.problem, line.raw_ba) == ("invalid_json", "둘 다 좋네요")


def test_a_blank_answer_loses_and_nobody_is_asked():
    a = [{"id": str(i), "question": "질문", "answer": text} for i, text in enumerate([" ", "답", ""])]
    b = [{"id": str(i), "question": "질문", "answer": text} for i, text in enumerate(["답", "\n", ""])]

    class Deaf(Always):
        def verdicts(self, pairs):
            raise AssertionError("it was asked")

    lines = compare(Deaf("first"), a, b)
    assert [(line.winner, line.problem) for line in lines] == [("b", "empty_a"), ("a", "empty_b"), ("tie", "empty_both")]
    assert not any(line.was_asked for line in lines)


# --- resuming ---


def test_what_is_judged_is_not_judged_again_and_no_line_changes(tmp_path):
    asked = []

    class Counting(ReferenceJudge):
        def verdicts(self, pairs):
            asked.extend(pair.question.id for pair in pairs)
            return super().verdicts(pairs)

    out = tmp_path / "j.jsonl"
    compare(Counting(), rows(GOOD, 2), rows(BAD, 2), out)
    before = out.read_bytes()
    judgments = compare(Counting(), rows(GOOD, 4), rows(BAD, 4), out)
    assert asked == ["q0", "q1"] * 2 + ["q2", "q3"] * 2
    assert out.read_bytes().startswith(before)
    assert read_judgments(out) == judgments


def test_an_unparsed_verdict_is_final_and_a_failed_one_is_asked_again(tmp_path):
    out = tmp_path / "j.jsonl"
    assert [line.status for line in compare(Always(None), rows(GOOD), rows(BAD), out)] == ["unparsed"] * 3
    assert [line.status for line in compare(Always("first"), rows(GOOD), rows(BAD), out)] == ["unparsed"] * 3

    class Down(Always):
        def verdicts(self, pairs):
            return [PairVerdict(None, JudgeReply(None, "server_error", failed=True)) for _ in pairs]

    out = tmp_path / "down.jsonl"
    assert [line.status for line in compare(Down(None), rows(GOOD), rows(BAD), out)] == ["failed"] * 3
    assert [line.winner for line in compare(Always("tie"), rows(GOOD), rows(BAD), out)] == ["tie"] * 3
    assert len(read_jsonl(out)) == 6 and [line.status for line in read_judgments(out)] == ["judged"] * 3


def test_a_question_that_was_left_out_is_judged_once_its_answer_is_there(tmp_path):
    out = tmp_path / "j.jsonl"
    first = compare(ReferenceJudge(), rows(GOOD, 3), rows(BAD, 2), out)
    assert [(line.status, line.problem) for line in first[2:]] == [("left_out", "only_in_a")]
    assert compare(ReferenceJudge(), rows(GOOD, 3), rows(BAD, 2), out) == first
    assert len(read_jsonl(out)) == 3
    assert [line.winner for line in compare(ReferenceJudge(), rows(GOOD, 3), rows(BAD, 3), out)] == ["a"] * 3


def test_another_judge_or_other_answers_are_refused(tmp_path):
    out = tmp_path / "j.jsonl"
    compare(ReferenceJudge(), rows(GOOD), rows(BAD), out)
    with pytest.raises(CourseError, match=r"holds verdicts of reference .* not of always \(1\); name another file"):
        compare(Always("first"), rows(GOOD), rows(BAD), out)
    with pytest.raises(CourseError, match="name another file"):
        compare(ReferenceJudge(tie_below=0.1), rows(GOOD), rows(BAD), out)
    with pytest.raises(CourseError, match=r"other texts for question 'q0'; name another file"):
        compare(ReferenceJudge(), rows(BAD), rows(BAD), out)
    with pytest.raises(CourseError, match=r"another question 'q2'"):
        compare(ReferenceJudge(), rows(GOOD, 2), rows(BAD, 2), out)


KILLED = """
import sys
from kotune import cli
cli.run(["judge", "--answers_a", sys.argv[1], "--answers_b", sys.argv[2], "--judge", "openai:m", "--out", sys.argv[3],
              "--journal", sys.argv[4]])
"""


@pytest.mark.slow
def test_killed_half_way_an_llm_is_asked_only_for_what_is_missing(tmp_path):
    def answer(body):
        time.sleep(0.05)
        return 200, chat_completion(json.dumps({"reason": "", "winner": "first"}), usage=(100, 10))

    server = Endpoint(answer)
    write_jsonl(tmp_path / "a.jsonl", [row | {"answer": f"{GOOD} {i}"} for i, row in enumerate(rows(GOOD, 80))])
    write_jsonl(tmp_path / "b.jsonl", rows(BAD, 80))
    arguments = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "out.json", "journal.jsonl")]
    command = [sys.executable, "-c", KILLED, *arguments]
    environment = os.environ | {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "none", "TEACHER_PRICE": "1,1"}
    journal = tmp_path / "journal.jsonl"
    with (tmp_path / "killed.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=said)
    # on a loaded machine the journal's first line may come late: a run killed before it has nothing to keep
    while process.poll() is None and (len(server.requests) < 60 or not journal.exists() or not journal.stat().st_size):
        time.sleep(0.01)
    assert process.poll() in (None, 0), (tmp_path / "killed.txt").read_text(encoding="utf-8")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept, before = journal.read_bytes().count(b"\n"), len(server.requests)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    sent = len(server.requests)
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (report["n_asked"], report["n_judged"], report["ties"], report["flip_rate"]) == (80, 80, 80, 1.0)
    # what was on disk is not asked again, however slow the disk; some of the killed run's requests may come in late
    assert kept > 0 and 160 - kept <= sent - before <= 160 - kept + 16
    assert "are in the journal already" in done.stdout
    assert len(read_jsonl(tmp_path / "out.LLM_m.judgments.jsonl")) == 80
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert len(server.requests) == sent
    server.server.shutdown()
    server.server.server_close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"id": "q0", "answer": "?"}, "line 1, is no line of judgment answers"),
        ({"id": "q0", "status": "judged", "verdict_ab": "A"}, "field verdict_ab: holds 'A', not a, b or tie"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, line, said):
    path = write_jsonl(tmp_path / "j.jsonl", [line])
    with pytest.raises(CourseError, match=said):
        read_judgments(path)
    with pytest.raises(CourseError, match=said):
        compare(ReferenceJudge(), rows(GOOD), rows(BAD), path)


def test_a_file_that_another_run_writes_is_refused_to_a_second(tmp_path):
    out = tmp_path / "j.jsonl"
    with hold(out, instead="another"), pytest.raises(CourseError, match=r"j\.jsonl is in use by a run that is going on"):
        compare(ReferenceJudge(), rows(GOOD), rows(BAD), out)
    assert len(compare(ReferenceJudge(), rows(GOOD), rows(BAD), out)) == len(rows(GOOD))


# --- single answers ---


def test_scores_are_kept_and_resumed_likewise(tmp_path):
    out = tmp_path / "s.jsonl"
    first = score(ReferenceJudge(), [*rows(GOOD, 2), {"id": "blank", "question": "질문", "answer": "  "}], out)
    assert [line.status for line in first] == ["judged", "judged", "unparsed"] and first[2].problem == "empty"
    assert first[0].score > 0.5
    kept = out.read_bytes()
    again = score(ReferenceJudge(), [*rows(GOOD, 3), {"id": "blank", "question": "질문", "answer": "  "}], out)
    assert out.read_bytes().startswith(kept) and len(read_jsonl(out)) == 4
    assert [line.id for line in again] == ["q0", "q1", "q2", "blank"]
    assert [line.problem for line in score(Always(None), rows(GOOD, 1))] == ["schema"]
    with pytest.raises(CourseError, match="name another file"):
        score(ReferenceJudge(), rows(BAD, 2), out)
