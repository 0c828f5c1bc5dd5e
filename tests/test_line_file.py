"""Lines that several writers share: rewritten in one step, and read as a dictionary by key."""

import os
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass, replace

import pytest

from kotune.judging import votes
from kotune.line_file import KeyedLines, LineFile, hold, in_turn
from kotune.teacher.batches import BatchLog
from kotune.teacher.journal import ReplyStore
from utils import ROOT, CourseError, read_jsonl


def row(key: str, value: int) -> dict:
    return {"id": key, "value": value}


@dataclass(frozen=True)
class Checked:
    id: str
    value: int


def checked(line: dict, place: str) -> Checked:
    if line["value"] < 0:
        raise CourseError(f"{place}: negative; fix that line.")
    return Checked(line["id"], line["value"])


def test_a_rewritten_file_holds_what_others_wrote_and_can_be_appended_to(tmp_path):
    path = tmp_path / "lines.jsonl"
    mine, other = KeyedLines(path), KeyedLines(path)
    mine.append([row("b", 1), row("c", 2)])
    other.append([row("a", 3)])
    mine.rewrite(lambda: [mine.rows[key] for key in sorted(mine.rows)])
    assert [line["id"] for line in read_jsonl(path)] == ["a", "b", "c"]
    mine.append([row("d", 4)])
    mine.refresh()
    assert [line["id"] for line in read_jsonl(path)] == ["a", "b", "c", "d"] and list(mine.rows) == ["b", "c", "a", "d"]
    assert {file.name for file in tmp_path.iterdir()} <= {"lines.jsonl", "lines.jsonl.lock"}


def test_a_shorter_rewritten_file_is_no_file_cut_short(tmp_path):
    path = tmp_path / "lines.jsonl"
    lines = KeyedLines(path, keep="last")
    lines.append([row("a", 1), row("a", 2), row("b", 3)])
    lines.rewrite(lines.rows.values)
    lines.refresh()
    lines.append([row("c", 4)])
    assert read_jsonl(path) == [row("a", 2), row("b", 3), row("c", 4)]
    path.write_bytes(path.read_bytes() + b'{"value": 5}\n')
    with pytest.raises(CourseError, match=r"lines\.jsonl, line 4, has no id"):
        lines.refresh()


@pytest.mark.parametrize(
    ("keep", "value", "lines"),
    [("first", 1, 2), ("last", 3, 4), (lambda held, new: row("a", held["value"] + new["value"]), 6, 4)],
)
def test_which_line_of_a_key_counts(tmp_path, keep, value, lines):
    path = tmp_path / "lines.jsonl"
    file = KeyedLines(path, keep=keep)
    file.append([row("a", 1), row("a", 2)])
    file.append([row("a", 3), row("b", 9)])
    assert file.rows == {"a": row("a", value), "b": row("b", 9)}
    assert len(read_jsonl(path)) == lines
    assert KeyedLines(path, keep=keep).rows == file.rows
    assert isinstance(file, LineFile)


def test_rows_are_held_as_the_check_returns_them_and_refused_with_their_line(tmp_path):
    path = tmp_path / "lines.jsonl"
    KeyedLines(path, check=checked).append([row("a", 1)])
    assert KeyedLines(path, check=checked).rows == {"a": Checked("a", 1)}
    KeyedLines(path).append([row("b", -1)])
    with pytest.raises(CourseError, match=r"lines\.jsonl, line 2: negative"):
        KeyedLines(path, check=checked)


def test_any_field_may_be_the_key(tmp_path):
    file = KeyedLines(tmp_path / "lines.jsonl", key="name", keep="last")
    file.append([{"name": "a", "value": 1}, {"name": "a", "value": 2}])
    assert file.rows == {"a": {"name": "a", "value": 2}}


# --- who can read it -------------------------------------------------------------------------


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask():
    """Let every file be readable by all, unless somebody sees to it."""
    earlier = os.umask(0)
    yield
    os.umask(earlier)


on_posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")


@on_posix
@pytest.mark.parametrize("private", [True, False])
def test_a_private_file_is_its_owners_alone_from_the_first_byte(tmp_path, open_umask, private):
    path = tmp_path / "made" / "lines.jsonl"
    lines = LineFile(path, private=private)
    first = mode_of(path)
    lines.append([{"question": "확정일자는 어디에서 받나요?"}])
    with path.open("ab") as file:
        file.write(b'{"question": "torn')
    LineFile(path, private=private).rewrite(lambda: [{"a": 1}])
    modes = {first, mode_of(path), mode_of(path.with_name("lines.jsonl.torn"))}
    assert modes == ({0o600} if private else {0o666})


@on_posix
def test_a_mode_that_the_user_has_set_stays(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.touch()
    path.chmod(0o640)
    LineFile(path, private=True).append([{"a": 1}])
    assert mode_of(path) == 0o640


@on_posix
def test_journals_and_votes_are_private(tmp_path, open_umask):
    store = ReplyStore(tmp_path / "journal.jsonl")
    store.keep([{"key": "k", "text": "답"}, {"key": "l", "failure": "refused"}])
    BatchLog(tmp_path / "journal.jsonl")
    vote = replace(votes.pair("확정일자는?", ("a", "b")), answer_a="가", answer_b="나")
    votes.store(tmp_path / "votes.jsonl", vote.decided("first"))
    written = sorted(tmp_path.glob("*.jsonl"))
    assert [file.name for file in written] == ["batches.jsonl", "failures.jsonl", "journal.jsonl", "votes.jsonl"]
    assert {mode_of(file) for file in written} == {0o600}


# --- held for one run ------------------------------------------------------------------------


def test_a_second_run_is_told_that_the_first_goes_on(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    in_use = r"a\.jsonl is in use by a run that is going on; wait for its end, or pass another file"
    with hold(tmp_path / "a.jsonl", instead="another file"):
        for path in (tmp_path / "a.jsonl", tmp_path / "link.jsonl"):
            with pytest.raises(CourseError, match=in_use), hold(path, instead="another file"):
                pass
        with hold(tmp_path / "b.jsonl", instead="another file"):
            pass
    with hold(tmp_path / "a.jsonl", instead="another file"):
        pass


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL, by which a process dies without a last word")
def test_a_run_that_was_killed_lets_go(tmp_path):
    code = "import sys, time; from kotune.line_file import hold\nwith hold(sys.argv[1], instead=''): print('held', flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(CourseError, match="in use"), hold(tmp_path / "a", instead="another"):
        pass
    other.kill()
    other.communicate()
    with hold(tmp_path / "a", instead="another"):
        pass


def test_what_cannot_be_held_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    for name, said in (("가" * 100, "too long"), ("file/x", "needs a folder")):
        with pytest.raises(CourseError, match=said), hold(tmp_path / name, instead="another"):
            pass


def test_runs_that_write_several_files_do_so_in_turn(tmp_path):
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    inside, moments = threading.Event(), []

    def second():
        with in_turn(tmp_path / "link.jsonl"):  # the same file by another name
            moments.append("second")

    other = threading.Thread(target=second)
    with in_turn(tmp_path / "a.jsonl"):
        other.start()
        with in_turn(tmp_path / "b.jsonl"):  # what another file's runs do is nothing to these
            moments.append("beside")
        inside.wait(0.2)  # time in which the other could go wrong
        moments.append("first")
    other.join()
    assert moments == ["beside", "first", "second"]
