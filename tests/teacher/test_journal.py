"""Protects: a journal survives a torn line, another process's lines, and being written by several at once."""

import json
import multiprocessing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.teacher.journal import FailureLog, Journal
from utils import CourseError


def row(key, text="답", usd=0.5):
    return {"key": key, "text": text, "usd": usd}


def test_what_was_written_is_there_again(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    journal.append([row("a", "전세란\n집을 빌리는 것"), row("b")])
    again = Journal(tmp_path / "j.jsonl")
    assert again.rows == journal.rows
    assert again.spent_usd == 1.0


def test_a_key_is_written_once(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    journal.append([row("a", "처음")])
    journal.append([row("a", "다음"), row("b")])
    assert Journal(tmp_path / "j.jsonl").rows["a"]["text"] == "처음"
    assert (tmp_path / "j.jsonl").read_text().count("\n") == 2


@settings(max_examples=60)
@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=4), cut=st.integers(1, 400))
def test_a_torn_last_line_is_mended_wherever_it_was_cut(tmp_path_factory, texts, cut):
    path = tmp_path_factory.mktemp("torn") / "j.jsonl"
    Journal(path).append([row(str(i), text) for i, text in enumerate(texts)])
    whole = path.read_bytes()
    kept = whole[: max(0, len(whole) - cut)]
    path.write_bytes(kept)
    journal = Journal(path)
    complete = [json.loads(line) for line in kept.split(b"\n")[:-1]]
    last = kept.split(b"\n")[-1]
    try:
        complete.append(json.loads(last))
    except ValueError:
        assert not last or path.with_name("j.jsonl.torn").read_bytes() == last + b"\n"
    assert list(journal.rows.values()) == complete
    journal.append([row("new")])
    assert list(Journal(path).rows.values()) == [*complete, row("new")]


def test_the_torn_line_is_reported_and_kept(tmp_path, capsys):
    path = tmp_path / "j.jsonl"
    Journal(path).append([row("a")])
    with path.open("a") as file:
        file.write('{"key": "b", "te')
    Journal(path)
    assert "16 bytes were moved to j.jsonl.torn" in capsys.readouterr().out
    assert (tmp_path / "j.jsonl.torn").read_text() == '{"key": "b", "te\n'


def test_a_line_torn_by_another_process_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.append([row("a")])
    with path.open("a") as file:  # the other process dies in the middle of its line
        file.write('{"key": "b", "te')
    journal.append([row("c")])
    assert list(Journal(path).rows) == ["a", "c"]


@pytest.mark.parametrize(("line", "words"), [("{broken", "line 2, is not a JSON"), ('{"text": "가"}', "line 2, has no key")])
def test_a_bad_line_in_the_middle_is_named(tmp_path, line, words):
    path = tmp_path / "j.jsonl"
    path.write_text(f"{json.dumps(row('a'))}\n{line}\n{json.dumps(row('b'))}\n")
    with pytest.raises(CourseError, match=words):
        Journal(path)


def _write(path, writer):
    journal = Journal(path)
    for i in range(60):
        journal.append([row(f"{writer}-{i}", "가" * 300), row(f"shared-{i}", str(writer))])


@pytest.mark.slow
def test_several_processes_write_at_once(tmp_path):
    path = tmp_path / "j.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, writer)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == len({line["key"] for line in lines}) == 4 * 60 + 60


def test_each_sees_what_the_other_wrote(tmp_path):
    one, other = Journal(tmp_path / "j.jsonl"), Journal(tmp_path / "j.jsonl")
    one.append([row("a")])
    other.append([row("b")])
    assert set(other.rows) == {"a", "b"}


def test_a_journal_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "j.jsonl").mkdir()
    with pytest.raises(CourseError, match=r"j\.jsonl (cannot be (written|read)|is a folder)"):
        Journal(tmp_path / "j.jsonl")


def test_failures_are_kept_every_time_and_add_up(tmp_path):
    log = FailureLog(tmp_path / "failures.jsonl")
    log.append([row("a", usd=0.25)])
    log.append([row("a", usd=0.25), row("b", usd=None)])
    assert FailureLog(tmp_path / "failures.jsonl").spent_usd == log.spent_usd == 0.5
    assert len((tmp_path / "failures.jsonl").read_text().splitlines()) == 3
