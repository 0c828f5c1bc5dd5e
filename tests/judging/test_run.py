"""Protects: the command line compares two files, says the price first, and ends in one sentence where it cannot."""

import json
import os
import subprocess
import sys

import pytest

from kotune import cli, judging
from tests.support.endpoint import chat_completion
from utils import DATA, ROOT, CourseError, read_json, read_jsonl, write_jsonl

GOOD, BAD = "전입신고는 이사한 날부터 14일 이내에 합니다.", "재산세는 소유자가 냅니다."


@pytest.fixture
def files(tmp_path):
    """Two answers files of six questions, of which A is the better; A has one question more."""
    reference = "전입신고는 이사한 날부터 14일 이내에 해야 합니다."
    rows = [{"id": f"q{i}", "question": f"질문 {i}", "answer": GOOD, "reference": reference} for i in range(7)]
    a = write_jsonl(tmp_path / "a.jsonl", rows)
    b = write_jsonl(tmp_path / "b.jsonl", [row | {"answer": BAD} for row in rows[:6]])
    return ["--answers_a", str(a), "--answers_b", str(b), "--out", str(tmp_path / "report.json")]


@pytest.mark.slow
def test_the_reference_judge_from_the_command_line(files, tmp_path, capsys):
    cards = ["--html", str(tmp_path / "card.html"), "--png", str(tmp_path / "card.png")]
    cli.run(["judge", *files, "--judge", "reference", "--calibrate", *cards, "--name_a", "SFT 모델"])
    report = read_json(tmp_path / "report.json")
    found = [report[name] for name in ("n_asked", "n_judged", "unparsed", "wins", "ties", "losses", "left_out")]
    assert found == [7, 6, 0, 6, 0, 0, 1] and report["win_rate"] == 1 and report["flip_rate"] == 0
    assert report["interval"][0] < 0.7 and report["p_value"] == pytest.approx(2 / 64)
    assert report["calibration"]["n"] == 228 and "wrong_number" in report["warning"]
    assert report["left_out_ids"] == {"only_in_a": ["q6"]} and report["name_a"] == "SFT 모델"
    said = capsys.readouterr().out
    assert "warning: reference" in said and "left out, only_in_a: q6 (1)" in said
    assert "SFT 모델" in (tmp_path / "card.html").read_text(encoding="utf-8") and (tmp_path / "card.png").exists()
    judgments = tmp_path / "report.reference_ROUGE-L_on_morphemes.judgments.jsonl"
    assert len(read_jsonl(judgments)) == 7
    kept = judgments.read_bytes()
    cli.run(["judge", *files, "--judge", "reference"])
    assert judgments.read_bytes() == kept
    assert "was not calibrated" in read_json(tmp_path / "report.json")["warning"]


@pytest.mark.slow
def test_votes_on_some_of_the_pairs_correct_the_win_rate(tmp_path, capsys):
    rows = [{"id": f"q{i}", "question": f"질문 {i}", "answer": GOOD, "reference": GOOD} for i in range(30)]
    a, b = (
        write_jsonl(tmp_path / "a.jsonl", rows),
        write_jsonl(tmp_path / "b.jsonl", [row | {"answer": BAD} for row in rows]),
    )
    cast = write_jsonl(tmp_path / "votes.jsonl", [{"id": f"q{i}", "vote": "A", "winner": "ab"[i % 2]} for i in range(20)])
    files = ["--answers_a", str(a), "--answers_b", str(b), "--out", str(tmp_path / "report.json"), "--judge", "reference"]
    cli.run(["judge", *files, "--votes", str(cast)])
    report = read_json(tmp_path / "report.json")
    assert report["win_rate"] == 1 and report["corrected"]["by"] == "votes" and report["corrected"]["n"] == 20
    assert report["corrected"]["win_rate"] == pytest.approx(0.5)  # a judge that never says B adds nothing to ten of each
    assert "it takes 20 votes of people for the truth" in capsys.readouterr().out
    with pytest.raises(CourseError, match="holds no votes"):
        cli.run(["judge", *files, "--votes", str(tmp_path / "none.jsonl")])


def test_an_llm_with_its_price_first_its_scores_and_a_second_opinion(files, tmp_path, endpoint, monkeypatch, capsys):
    monkeypatch.setenv("TEACHER_PRICE", "1,2")
    seen = []

    def answer(body):
        seen.append(capsys.readouterr().out)
        user = body["messages"][1]["content"]
        if "<답변>" in user:
            return 200, chat_completion(json.dumps({"reason": "", "score": 9 if "14일" in user.split("<답변>")[1] else 2}))
        if "질문 5" in user:
            return 200, chat_completion("판정하지 않겠습니다.")
        return 200, chat_completion(json.dumps({"reason": "앞의 답입니다.", "winner": "first"}))

    endpoint(answer)
    paid = ["--journal", str(tmp_path / "journal.jsonl"), "--budget_usd", "5"]
    cli.run(["judge", *files, "--judge", "openai:m", "--scores", "--second_judge", "reference", *paid])
    first = seen[0]
    assert first.index("LLM (m): what it will cost") < first.index("12 requests to m")
    assert "13 requests to m" in first and "USD" in first
    report = read_json(tmp_path / "report.json")
    counts = [report[name] for name in ("n_asked", "n_judged", "unparsed", "ties", "flip_rate")]
    assert counts == [7, 5, 1, 5, 1.0] and report["problems"] == {"invalid_json": 1}
    assert [(one["side"], one["n"], one["mean"]) for one in report["scores"]] == [("A", 7, 9.0), ("B", 6, 2.0)]
    assert report["problem_ids"] == {"invalid_json": ["q5"]}
    assert report["second_judges"][0]["report"]["wins"] == 6 and report["second_judges"][0]["agreement"]["n"] == 5
    assert report["disagreements"][0]["between"] == "orders"
    kept = [line for line in read_jsonl(tmp_path / "report.LLM_m.judgments.jsonl") if line["id"] == "q5"]
    assert kept[0]["raw_ab"] == kept[0]["raw_ba"] == "판정하지 않겠습니다."


def test_an_llm_can_be_shown_no_reference(files, tmp_path, endpoint):
    server = endpoint(lambda body: (200, chat_completion(json.dumps({"reason": "앞의 답입니다.", "winner": "first"}))))
    journal = str(tmp_path / "journal.jsonl")
    cli.run(["judge", *files, "--judge", "openai:m", "--without_reference", "--journal", journal])
    assert server.requests and not any(
        "모범 답안" in request["body"]["messages"][-1]["content"] for request in server.requests
    )
    assert read_json(tmp_path / "report.json")["judge"] == "LLM (m, without reference)"


def test_a_judge_that_fails_half_way_is_counted_named_and_asked_again_for_that_alone(
    files, tmp_path, endpoint, monkeypatch, capsys
):
    from kotune.teacher import endpoint as endpoint_module

    monkeypatch.setattr(endpoint_module, "MAX_RETRIES", 0)
    broken = True

    def answer(body):
        user = body["messages"][1]["content"]
        if "질문 2" in user and broken:
            return 503, {"error": {"message": "overloaded"}}
        if "질문 4" in user:
            return 400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}
        return 200, chat_completion(
            json.dumps({"reason": "", "winner": "first" if GOOD in user.split("</first>")[0] else "second"})
        )

    server = endpoint(answer)
    command = [*files, "--judge", "openai:m", "--journal", str(tmp_path / "journal.jsonl")]
    cli.run(["judge", *command])
    report = read_json(tmp_path / "report.json")
    assert [report[name] for name in ("n_asked", "n_judged", "unparsed", "failed", "wins")] == [7, 4, 1, 1, 4]
    assert report["problem_ids"].pop("too_long") == ["q4"] and list(report["problem_ids"].values()) == [["q2"]]
    assert "too_long: q4 (1)" in capsys.readouterr().out
    judgments = tmp_path / "report.LLM_m.judgments.jsonl"
    kept, sent, broken = judgments.read_bytes(), len(server.requests), False
    cli.run(["judge", *command])
    report = read_json(tmp_path / "report.json")
    assert [report[name] for name in ("n_judged", "unparsed", "failed")] == [5, 1, 0]
    assert len(server.requests) == sent + 2 and judgments.read_bytes().startswith(kept)


def test_nothing_parsed_is_one_sentence_and_the_raw_replies_are_kept(files, tmp_path, endpoint):
    endpoint(lambda body: (200, chat_completion("A")))
    with pytest.raises(CourseError, match=r"None of 7 judgments has a verdict \(most often: invalid_json\)"):
        cli.run(["judge", *files, "--judge", "openai:m", "--journal", str(tmp_path / "journal.jsonl")])
    assert [line.get("raw_ab") for line in read_jsonl(tmp_path / "report.LLM_m.judgments.jsonl")] == ["A"] * 6 + [None]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "gpt-4o"], r"The judge 'gpt-4o' is unknown; choose reference, reward or openai:MODEL"),
        (["--judge", "openai:"], r"The judge 'openai:' is unknown"),
        (["--judge", "openai:gpt-4o-mini"], r"needs an endpoint: set OPENAI_API_KEY"),
        (["--judge", "reward", "--reward_model", "nowhere"], r"nowhere holds no run.json of the reward model"),
        (["--judge", "reference", "--second_judge", "reference"], r"A judge is named twice"),
        (["--judge", "reference", "--png", "card.pdf"], r"card.pdf does not end in .png"),
        (["--judge", "reference", "--calibrate", "--calibration", "nowhere.jsonl"], r"nowhere.jsonl does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(files, arguments, said):
    with pytest.raises(CourseError, match=said):
        cli.run(["judge", *files, *arguments])


def test_it_ends_with_one_line_and_not_a_traceback(files, tmp_path):
    write_jsonl(tmp_path / "b.jsonl", [{"id": "q0", "question": "질문 0"}])
    command = [sys.executable, "-m", "kotune", "judge", *files, "--judge", "reference"]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.strip().startswith("error: ") and done.stderr.strip().count("\n") == 0
    assert "b.jsonl, line 1, field answer: missing" in done.stderr


@pytest.mark.slow
def test_every_stage_is_reached_through_the_module(tmp_path):
    """As the notebook calls it, on the shipped questions."""
    questions = read_jsonl(DATA / "real_estate_evaluation.jsonl")[:5]

    def echo(prompts):
        return [prompt[0]["content"] for prompt in prompts]

    def cite(prompts):
        return [next(q["reference"] for q in questions if q["question"] == prompt[0]["content"]) for prompt in prompts]

    judge = judging.ReferenceJudge()
    for name, answerer in (("a", cite), ("b", echo)):
        judging.answer(answerer, questions, tmp_path / f"{name}.jsonl")
    lines = judging.compare(judge, tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "j.jsonl")
    found = judging.report(tmp_path / "j.jsonl", judging.calibrate(judge))
    assert found == judging.report(lines, judging.calibrate(judge)) and found.wins == 5
    card = judging.make_card("인용", "메아리", found, lines, scores=judging.scores_behind(lines))
    assert card.scores[0].mean == 1.0


# --- two answers in one row ---

QUESTION = "전입신고는 언제까지 해야 하나요?"


@pytest.fixture
def pairs(tmp_path):
    """Five questions with two answers each, as the real-estate course keeps them; the second is the better."""
    rows = [
        {"input1": f"{QUESTION} {i}", "completion1": f"\n\n{BAD}", "input2": f"{QUESTION} {i}", "completion2": f"{GOOD}\n"}
        for i in range(5)
    ]
    return write_jsonl(tmp_path / "eval_dataset.jsonl", rows)


def test_a_file_of_pairs_is_judged_in_both_orders_and_goes_on_where_it_was(pairs, tmp_path, endpoint):
    def answer(body):
        user = body["messages"][1]["content"]
        if f"{QUESTION} 3" in user:
            return 400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}
        if "<답변>" in user:
            return 200, chat_completion(json.dumps({"reason": "", "score": 9 if GOOD in user else 2}))
        better = "first" if GOOD in user.split("</first>")[0] else "second"
        return 200, chat_completion(json.dumps({"reason": "14일을 말합니다.", "winner": better}))

    server = endpoint(answer)
    card = ["--html", str(tmp_path / "card.html"), "--journal", str(tmp_path / "journal.jsonl"), "--scores"]
    command = ["judge", "--pairs", str(pairs), "--judge", "openai:m", "--out", str(tmp_path / "report.json"), *card]
    cli.run([*command, "--name_a", "base", "--name_b", "조정한 모델"])
    report = read_json(tmp_path / "report.json")
    found = [report[name] for name in ("n_asked", "n_judged", "wins", "losses", "flip_rate", "name_a", "name_b")]
    assert found == [5, 4, 0, 4, 0, "base", "조정한 모델"]
    assert report["problem_ids"] == {"too_long": ["eval_dataset-00004"]}
    assert [(one["n"], one["mean"]) for one in report["scores"]] == [(4, 2.0), (4, 9.0)]
    assert "조정한 모델" in (tmp_path / "card.html").read_text(encoding="utf-8")
    sent = len(server.requests)
    cli.run(command)
    assert len(server.requests) == sent
    report = read_json(tmp_path / "report.json")
    assert (report["name_a"], report["name_b"], report["losses"]) == ("completion1", "completion2", 4)


def test_a_judge_by_references_says_which_rows_have_none(pairs, tmp_path, capsys):
    command = ["judge", "--pairs", str(pairs), "--judge", "reference", "--out", str(tmp_path / "report.json")]
    with pytest.raises(CourseError, match=r"line 1, field reference: missing, as in all of the 5 pairs, .* take the judge"):
        cli.run(command)
    rows = read_jsonl(pairs)
    write_jsonl(pairs, [row | ({} if number in (1, 3) else {"reference": GOOD}) for number, row in enumerate(rows)])
    cli.run(command)
    said = capsys.readouterr().out
    assert "2 of 5 pairs have no reference" in said and "eval_dataset.jsonl, line 2, line 4\n" in said
    report = read_json(tmp_path / "report.json")
    assert (report["n_judged"], report["losses"]) == (3, 3)
    assert report["problem_ids"] == {"no_reference": ["eval_dataset-00002", "eval_dataset-00004"]}


def test_pairs_stand_for_both_answers_files(pairs, files, tmp_path):
    out = ["--judge", "reference", "--out", str(tmp_path / "report.json")]
    with pytest.raises(CourseError, match="--pairs holds the answers of both sides"):
        cli.run(["judge", *files, *out, "--pairs", str(pairs)])
    with pytest.raises(CourseError, match="nothing to compare; name --answers_a and --answers_b, or --pairs"):
        cli.run(["judge", *files[:2], *out])
    with pytest.raises(CourseError, match=r"eval_dataset.jsonl is the input"):
        cli.run(["judge", "--pairs", str(pairs), *out, "--judgments", str(pairs)])
