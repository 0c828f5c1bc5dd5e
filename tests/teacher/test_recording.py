"""What a model once said is replayed as that model's, whatever the settings name, and is mixed with nothing else."""

import pytest

from kotune import teacher
from kotune.judging.judges import LLMJudge
from kotune.teacher.recording import recording_key, write_recording
from tests.support.endpoint import chat_completion
from utils import CourseError

QUESTION = [{"role": "user", "content": "전세 계약은 몇 년인가요?"}]
CUT_SHORT = [{"role": "user", "content": "전세와 월세를 견주어 주세요."}]


def recorded(folder, name="some-model", answer="2년입니다."):
    """Write a recording of two replies, one of them cut at its length, and return its file."""
    source = f"{name} (SHA-256 0123456789ab), 2026-11-30"
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    rows = [
        {"key": recording_key(QUESTION, None), "content": answer, "usage": usage, "source": source},
        {
            "key": recording_key(CUT_SHORT, None),
            "content": "전세는",
            "finish_reason": "length",
            "usage": usage,
            "source": source,
        },
    ]
    return write_recording(rows, folder / f"{name}.jsonl")


def test_a_replay_asks_nobody_though_an_endpoint_is_set(tmp_path, endpoint):
    server = endpoint(lambda body: (200, chat_completion("다른 답")))
    who = teacher.replay(recorded(tmp_path), journal=tmp_path / "journal.jsonl")
    assert [reply.text for reply in who.ask([QUESTION])] == ["2년입니다."]
    assert not server.requests
    assert (who.model, who.endpoint.is_recording) == ("some-model", True)
    assert "0123456789ab" in who.endpoint.name  # who said it, by the file's hash


def test_a_reply_that_was_cut_when_it_was_recorded_fails_again(tmp_path):
    who = teacher.replay(recorded(tmp_path), journal=tmp_path / "journal.jsonl")
    (reply,) = who.ask([CUT_SHORT])
    assert (reply.failure, reply.parsed) == ("truncated", None)


def test_what_was_not_recorded_is_a_failure_with_a_reason(tmp_path):
    who = teacher.replay(recorded(tmp_path), journal=tmp_path / "journal.jsonl")
    (reply,) = who.ask([[{"role": "user", "content": "월세는요?"}]])
    assert "not in the recording" in reply.error


def test_two_models_in_one_journal_keep_their_own_replies(tmp_path):
    files = recorded(tmp_path, "one", "2년입니다."), recorded(tmp_path, "another", "1년입니다.")
    said = [teacher.replay(file, journal=tmp_path / "journal.jsonl").ask([QUESTION])[0].text for file in files]
    assert said == ["2년입니다.", "1년입니다."]


def test_judgments_by_a_replayed_model_are_not_mixed_with_those_of_the_course(tmp_path):
    one, another = (
        LLMJudge(teacher.replay(recorded(tmp_path, name), journal=tmp_path / "journal.jsonl")) for name in ("one", "another")
    )
    assert one.name == "LLM (one)"
    assert one.fingerprint != another.fingerprint


def test_a_recording_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(CourseError, match=r"nowhere\.jsonl"):
        teacher.replay(tmp_path / "nowhere.jsonl", journal=tmp_path / "journal.jsonl")
