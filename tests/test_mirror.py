"""Protects: a second place for results gets only verified copies, comes back whole, and never stops a run."""

import errno
import json
import os
import shutil

import pytest

from kotune import mirror as mirrors
from kotune.mirror import INDEX, PART, Mirror
from utils import CourseError


@pytest.fixture
def outputs(tmp_path):
    """Outputs with a run that has two checkpoints, and a file beside it."""
    folder = tmp_path / "outputs"
    for step in (1, 2):
        checkpoint = folder / "sft" / "checkpoints" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "weights").write_bytes(bytes([step]) * 5000)
        (checkpoint / "complete.json").write_text('{"weights": 5000}')
    (folder / "sft" / "checkpoints" / "experiment.json").write_text("{}")
    (folder / "figures.json").write_text('{"loss": 1.5}')
    return folder


@pytest.fixture
def drive(outputs, tmp_path):
    return Mirror(tmp_path / "drive" / "kotune", outputs).open()


def names(folder):
    """Return the files in a folder but for what belongs to the mirror itself, by their paths."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}


def test_what_is_there_is_copied_once_and_changes_again(drive, outputs, monkeypatch):
    assert drive.keep()
    assert names(drive.root) == names(outputs)
    assert (drive.root / "figures.json").read_text() == '{"loss": 1.5}'
    copied = []
    monkeypatch.setattr(mirrors, "_copy_bytes", lambda *paths: copied.append(paths) or pytest.fail("all is there"))
    assert drive.keep()
    monkeypatch.undo()
    (outputs / "figures.json").write_text('{"loss": 0.5}')
    assert drive.keep()
    assert (drive.root / "figures.json").read_text() == '{"loss": 0.5}'


def test_a_copy_gets_its_name_once_it_was_read_back_and_is_the_same(drive, outputs, monkeypatch, capsys):
    def losing(source, target):
        found = copy_bytes(source, target)
        with open(target, "r+b") as file:  # as a disk that loses what was written
            file.truncate(max(0, found[0] - 1))
        return found

    copy_bytes = mirrors._copy_bytes
    monkeypatch.setattr(mirrors, "_copy_bytes", losing)
    assert not drive.keep()
    assert names(drive.root) == set()
    assert not list(drive.root.rglob(f"{PART}*"))
    assert "others are read back" in capsys.readouterr().out
    monkeypatch.setattr(mirrors, "_copy_bytes", copy_bytes)
    assert drive.keep()
    assert "takes copies again" in capsys.readouterr().out
    assert names(drive.root) == names(outputs)


def test_what_says_that_a_checkpoint_is_whole_is_copied_behind_its_files(drive, outputs, monkeypatch):
    order = []
    copy = Mirror._copy
    monkeypatch.setattr(Mirror, "_copy", lambda self, path: (order.append(path.name), copy(self, path)))
    weights = outputs / "sft" / "checkpoints" / "checkpoint-2" / "weights"
    os.utime(weights.with_name("complete.json"), ns=(weights.stat().st_mtime_ns + 10,) * 2)
    drive.keep(outputs / "sft")
    assert order.index("weights") < order.index("complete.json")
    assert "figures.json" not in order  # not of this run


def test_checkpoints_that_are_gone_here_go_there_and_nothing_else_does(drive, outputs):
    drive.keep()
    checkpoints = outputs / "sft" / "checkpoints"
    (drive.root / "sft" / "checkpoints" / "checkpoint-best").mkdir()  # a user's own
    shutil.rmtree(checkpoints / "checkpoint-1")
    drive.keep(outputs / "sft")
    there = {path.name for path in (drive.root / "sft" / "checkpoints").iterdir()}
    assert there == {"checkpoint-2", "checkpoint-best", "experiment.json"}
    (outputs / "figures.json").unlink()
    drive.keep()
    assert (drive.root / "figures.json").exists()
    shutil.rmtree(checkpoints)  # the run has ended
    (outputs / "sft" / "run.json").write_text("{}")
    drive.keep(outputs / "sft")
    assert {path.name for path in (drive.root / "sft").iterdir()} == {"run.json"}


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "is full"), (errno.EDQUOT, "is full"), (errno.EIO, "cannot be written"), (errno.ENOTCONN, "cannot be")],
)
def test_a_mirror_that_fails_is_told_once_and_catches_up(number, words, drive, outputs, monkeypatch, capsys):
    def failing(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    assert [drive.keep(), drive.keep(outputs / "sft")] == [False, False]
    told = capsys.readouterr().out
    assert words in told
    assert "the run goes on" in told
    assert told.count("\n") == 1
    assert not list(drive.root.rglob(f"{PART}*"))
    monkeypatch.undo()
    assert drive.keep()
    assert names(drive.root) == names(outputs)


def test_a_drive_that_was_unmounted_is_not_made_anew_on_this_disk(drive, outputs, capsys):
    drive.keep()
    shutil.rmtree(drive.root)
    assert not drive.keep()
    assert "is gone" in capsys.readouterr().out
    assert not drive.root.exists()


def test_a_fresh_machine_gets_everything_back_and_copies_none_of_it_again(drive, outputs, tmp_path, monkeypatch):
    drive.keep()
    fresh = Mirror(drive.root, tmp_path / "fresh").open()
    back = fresh.restore()
    assert (back.files, back.refused) == (6, ())
    assert names(tmp_path / "fresh") == names(outputs)
    assert back.size == sum(path.stat().st_size for path in outputs.rglob("*") if path.is_file())
    monkeypatch.setattr(Mirror, "_copy", lambda self, path: pytest.fail(f"{path} is there already"))
    assert fresh.keep()
    assert fresh.restore().files == 0


def test_what_is_here_is_never_replaced_by_a_copy(drive, outputs):
    drive.keep()
    (outputs / "figures.json").write_text("newer")
    shutil.rmtree(outputs / "sft")
    assert drive.restore().files == 5
    assert (outputs / "figures.json").read_text() == "newer"


def test_a_file_that_is_not_what_was_copied_stays_away_and_is_named(drive, tmp_path):
    drive.keep()
    weights = drive.root / "sft" / "checkpoints" / "checkpoint-2" / "weights"
    weights.write_bytes(weights.read_bytes()[:-1])  # an upload that broke off
    (drive.root / "stranger.txt").write_text("nobody copied this")
    fresh = Mirror(drive.root, tmp_path / "fresh").open()
    back = fresh.restore()
    assert set(back.refused) == {"sft/checkpoints/checkpoint-2/weights", "stranger.txt"}
    assert not (tmp_path / "fresh" / "stranger.txt").exists()
    assert not list((tmp_path / "fresh").rglob(f"{PART}*"))


def test_a_torn_line_of_the_index_costs_one_copy_and_no_other(drive, outputs, tmp_path):
    drive.keep()
    index = drive.root / INDEX
    index.write_bytes(index.read_bytes()[:-9])
    (outputs / "later.json").write_text("1")
    again = Mirror(drive.root, outputs).open()
    assert again.keep()
    assert Mirror(drive.root, tmp_path / "fresh").open().restore().refused == ()


def test_another_process_knows_what_was_copied(drive, outputs, monkeypatch):
    other = Mirror(drive.root, outputs).open()
    drive.keep()
    monkeypatch.setattr(Mirror, "_copy", lambda self, path: pytest.fail(f"{path} is there already"))
    assert other.keep()


def test_locks_unfinished_files_and_large_ones_are_not_copied(drive, outputs, monkeypatch, capsys):
    monkeypatch.setattr(mirrors, "LARGEST", 4000)
    (outputs / "held.lock").touch()
    (outputs / ".figures.1234.json").write_text("half")
    (outputs / "sft" / "saving-x").mkdir()
    (outputs / "sft" / "saving-x" / "run.json").write_text("{}")
    assert drive.keep()
    assert drive.keep()
    assert names(drive.root) == {name for name in names(outputs) if "lock" not in name and "saving" not in name and "weights" not in name}  # fmt: skip
    assert capsys.readouterr().out.count("checkpoint-1/weights has") == 1


def test_a_folder_outside_the_outputs_is_told_and_not_copied(drive, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    assert not drive.keep(tmp_path / "elsewhere")
    assert "lies outside" in capsys.readouterr().out


def test_a_mirror_within_what_it_copies_is_refused(outputs):
    with pytest.raises(CourseError, match="name a folder elsewhere"):
        Mirror(outputs / "copy", outputs).open()


@pytest.mark.parametrize("named", ["", "none", "NONE"])
def test_without_a_second_place_nothing_happens(named, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_MIRROR", named)
    mirrors.keep()
    assert mirrors.mirror() is None
    assert capsys.readouterr().out == ""


def test_a_place_that_cannot_be_opened_is_told_once_and_stops_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path / "file" / "kotune"))
    monkeypatch.setattr(mirrors, "_mirrors", {})
    mirrors.keep()
    mirrors.keep()
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert "needs a folder" in told
    assert "alone" in told


def test_the_sentences_are_korean_in_the_korean_edition(drive, monkeypatch, capsys):
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    shutil.rmtree(drive.root)
    assert not drive.keep()
    assert "실행은 계속됩니다" in capsys.readouterr().out


def test_an_index_line_holds_what_a_copy_is_verified_by(drive):
    drive.keep()
    lines = [json.loads(line) for line in (drive.root / INDEX).read_text(encoding="utf-8").splitlines() if line]
    assert {frozenset(line) for line in lines} == {frozenset(("path", "size", "sha256", "mtime_ns"))}
