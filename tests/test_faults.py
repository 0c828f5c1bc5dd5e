"""Protects: what a file, a folder, a disk or a signal does to a command is one sentence, and loses nothing of the user's."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import utils
from kotune import cli, overrides
from kotune.judging import votes
from kotune.line_file import LineFile
from kotune.models import adapters
from kotune.training import runs
from utils import ROOT, CourseError, FileError, read_jsonl, write_json, write_jsonl

ROWS = [{"id": f"q{i}", "question": f"질문 {i}", "answer": "전입신고는 14일 이내에 합니다."} for i in range(3)]
VOTE = {
    "id": "v1", "question": "질문", "answer_a": "가", "answer_b": "나", "winner": "a", "models": {"a": "m1", "b": "m2"},
    "shown_first": "a", "time": "2026-01-01T00:00:00+00:00",
}  # fmt: skip
posix = pytest.mark.skipif(os.name != "posix", reason="pipes, modes and links are those of POSIX")


@pytest.fixture
def source(tmp_path):
    return write_jsonl(tmp_path / "a.jsonl", ROWS)


def started(code: str, *arguments, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", **options,
    )  # fmt: skip


# --- one sentence ----------------------------------------------------------------------------

PLACES = {
    "folder": lambda folder: (folder / "x").mkdir(),
    "pipe": lambda folder: os.mkfifo(folder / "x"),
    "circle": lambda folder: (folder / "x").symlink_to(folder / "x"),
    "circle of two": lambda folder: ((folder / "y").symlink_to(folder / "x"), (folder / "x").symlink_to(folder / "y")),
}
SAID = {"folder": "is a folder", "pipe": "is no plain file", "circle": "leads back", "circle of two": "leads back"}


@posix
@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("opened", [utils.read_text, lambda path: utils.write_atomic(path, "가"), LineFile])
def test_what_is_no_file_is_named_and_never_waited_for(kind, opened, tmp_path):
    PLACES[kind](tmp_path)
    with pytest.raises(FileError, match=SAID[kind]):
        opened(tmp_path / "x")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["가" * 100, "a.txt/x", "a.txt/x/y"])
@pytest.mark.parametrize("opened", [utils.read_text, lambda path: utils.write_atomic(path, "가"), LineFile])
def test_a_name_that_cannot_be_is_one_sentence(name, opened, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(FileError, match=r"too long|needs a folder where a file lies"):
        opened(tmp_path / name)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a.jsonl"), "a.jsonl may not be opened or changed"),
        (OSError(errno.EROFS, "Read-only file system", "a.jsonl"), "read-only disk"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EMFILE, "Too many open files", "a.jsonl"), "ulimit -n"),
        (OSError(errno.EIO, "Input/output error", "a.jsonl"), "Input/output error"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "A connection failed"),
        (OSError("not a model\nthat the hub knows"), "not a model that the hub knows"),
        (MemoryError(), "too little memory"),
        (Exception("Error while serializing: I/O error: No space left on device (os error 28)"), "the disk is full"),
        (Exception("Error while serializing: I/O error: Permission denied (os error 13)"), "may not be opened or changed"),
        (
            RuntimeError(
                "[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/3: file write failed"
            ),
            "not all was written, as on a full disk",
        ),
        (RuntimeError("Parent directory out/checkpoints/checkpoint-2 does not exist."), "does not exist"),
        (RuntimeError("can't start new thread"), "too little memory"),
        (RuntimeError("could not create a primitive"), "too little memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
            "too little memory",
        ),
        (Exception("Cannot allocate memory (os error 12)"), "too little memory"),
        (
            RuntimeError("unable to mmap 482656 bytes from file <model.safetensors>: Cannot allocate memory (12)"),
            "too little memory",
        ),
    ],
)
def test_what_the_system_says_ends_a_command_with_one_sentence(error, said, monkeypatch):
    def failing(chosen):
        raise error

    monkeypatch.setitem(cli.COMMANDS, "korean", cli.Command("x", cli.COMMANDS["korean"].add_options, failing))
    monkeypatch.setattr(cli, "_drop_output", lambda: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["korean", "x"])
    assert ended.value.code.startswith("error: ") and said in ended.value.code and "\n" not in ended.value.code


def test_what_is_no_fault_of_the_machine_keeps_its_traceback(monkeypatch):
    def failing(chosen):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setitem(cli.COMMANDS, "korean", cli.Command("x", cli.COMMANDS["korean"].add_options, failing))
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        cli.main(["korean", "x"])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp949", "ascii", "utf-8", "euc-kr", "latin-1"])
def test_any_character_is_printed_on_any_console(encoding):
    code = "from kotune import cli; cli._print_any_character(); print('한글 🏠 \\ud83d')"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    ).stdout.decode(encoding)
    assert "\\ud83d" in shown and ("한글" in shown) == (encoding in ("cp949", "utf-8", "euc-kr"))
    assert ("🏠" in shown) == (encoding == "utf-8") and ("\\U0001f3e0" in shown) == (encoding != "utf-8")


WAITING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from kotune import cli
from utils import atomic_path
def waiting(chosen):
    with atomic_path(chosen.answers):
        print('ready', flush=True)
        time.sleep(60)
cli.COMMANDS['korean'] = cli.Command('x', cli.COMMANDS['korean'].add_options, waiting)
cli.main(['korean', sys.argv[1]])
"""


@posix
@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [("SIGTERM", 1), ("SIGHUP", 1), ("SIGINT", 130)])
def test_a_signal_leaves_the_old_file_and_no_temporary_one(sent, code, tmp_path):
    (tmp_path / "a.txt").write_text("old")
    child = started(WAITING, tmp_path / "a.txt")
    assert child.stdout.readline() == "ready\n"
    child.send_signal(getattr(signal, sent))
    _, said = child.communicate(timeout=600)
    assert child.returncode == code and said.count("\n") == (code == 1) and (sent in said) == (code == 1)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


# --- files written whole ---------------------------------------------------------------------


def test_of_writers_at_once_one_wins_whole(tmp_path):
    path = tmp_path / "x.jsonl"
    texts = [letter * 200_000 for letter in "가나다라마"]
    writers = [threading.Thread(target=utils.write_atomic, args=(path, text)) for text in texts for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert path.read_text(encoding="utf-8") in texts
    assert path.read_text(encoding="utf-8") in texts and [one.name for one in tmp_path.iterdir()] == ["x.jsonl"]


@posix
def test_a_file_keeps_its_mode_and_a_link_what_it_names(tmp_path):
    (tmp_path / "private.txt").write_text("old")
    (tmp_path / "private.txt").chmod(0o600)
    (tmp_path / "link.txt").symlink_to(tmp_path / "private.txt")
    utils.write_atomic(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "private.txt").read_text() == "new"
    assert (tmp_path / "private.txt").stat().st_mode & 0o777 == 0o600
    mask = os.umask(0o077)
    try:
        assert utils.write_atomic(tmp_path / "mine.txt", "x").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(mask)


def test_a_name_that_just_fits_is_written(tmp_path):
    name = "가" * 80 + ".json"  # 245 bytes: with an ending of its own it would be too long
    write_json(tmp_path / name, {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == [name]


# --- outputs that are inputs -----------------------------------------------------------------

COMMANDS = {
    "korean": ["korean", "IN", "--out", "OUT"],
    "scan": ["data", "scan", "IN", "--out", "OUT"],
    "convert": ["data", "convert", "IN", "OUT", "--to", "qa"],
    "dedup": ["data", "dedup", "IN", "OUT"],
    "judge, judgments": ["judge", "--answers_a", "IN", "--answers_b", "OTHER", "--judge", "reference", "--out", "R.json", "--judgments", "OUT"],
    "judge, page": ["judge", "--answers_a", "OTHER", "--answers_b", "IN", "--judge", "reference", "--out", "R.json", "--html", "OUT"],
    "judge, journal": ["judge", "--answers_a", "IN", "--answers_b", "OTHER", "--judge", "reference", "--out", "R.json", "--journal", "OUT"],
    "judge, pairs": ["judge", "--pairs", "IN", "--judge", "reference", "--out", "R.json", "--judgments", "OUT"],
    "votes, pairs": ["votes", "OTHER", "IN", "--to", "dpo", "--out", "OUT"],
}  # fmt: skip


def linked(link, folder: Path) -> str:
    link(folder)
    return str(folder / "b.jsonl")


SAME = {
    "itself": lambda folder: str(folder / "a.jsonl"),
    "by a detour": lambda folder: f"{folder}/../{folder.name}/a.jsonl",
    "by a link": lambda folder: linked(lambda f: (f / "b.jsonl").symlink_to(f / "a.jsonl"), folder),
    "by a hard link": lambda folder: linked(lambda f: os.link(f / "a.jsonl", f / "b.jsonl"), folder),
    "relative": lambda folder: os.path.relpath(folder / "a.jsonl"),
}


@posix
@pytest.mark.parametrize("way", SAME)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_is_an_input_is_refused_and_the_input_stays(command, way, source, tmp_path):
    other = write_jsonl(tmp_path / "other.jsonl", ROWS)
    before = source.read_bytes()
    names = {"IN": str(source), "OUT": SAME[way](tmp_path), "OTHER": str(other), "R.json": str(tmp_path / "r.json")}
    with pytest.raises(CourseError, match="is the input"):
        cli.run([names.get(word, word) for word in COMMANDS[command]])
    assert source.read_bytes() == before and not (tmp_path / "r.json").exists()


def test_files_beside_an_output_are_outputs_too(source, tmp_path):
    for name, target in (("o.dropped.jsonl", "o.jsonl"), ("o.spared.jsonl", "o.jsonl")):
        read = write_jsonl(tmp_path / name, ROWS)
        with pytest.raises(CourseError, match="is the input"):
            cli.run(["data", "dedup", str(read), str(tmp_path / target)])
    read = write_jsonl(tmp_path / "o.jsonl.left_out.jsonl", ROWS)
    with pytest.raises(CourseError, match="is the input"):
        cli.run(["data", "convert", str(read), str(tmp_path / "o.jsonl"), "--to", "qa"])
    assert read_jsonl(read) == ROWS
    with pytest.raises(CourseError, match="two things at once"):
        utils.require_other_files([], [tmp_path / "\u1100\u1161.json", tmp_path / "x" / ".." / "\uac00.json"])
    with pytest.raises(CourseError, match="is the input"):  # a file of a folder that is read whole
        cli.run(["data", "convert", str(tmp_path), str(source), "--to", "qa"])


# --- votes -----------------------------------------------------------------------------------


class FullDisk:
    """A file whose disk takes so many bytes of a write, and then none."""

    def __init__(self, file, room: int):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part, self.room = self.file.write(bytes(data[: self.room])), 0
        return part

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 7, 60])
def test_a_vote_on_a_full_disk_is_said_to_be_lost_and_leaves_no_half(room, tmp_path, monkeypatch):
    path, opened = tmp_path / "votes.jsonl", Path.open
    first, second, third = (votes.pair(f"질문 {n}", ("sft", "base")).decided("first") for n in range(3))
    votes.store(path, first)

    def full(self, mode="r", *rest, **options):
        file = opened(self, mode, *rest, **options)
        return FullDisk(file, room) if self.name == "votes.jsonl" and options.get("buffering") == 0 else file

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(FileError, match="the disk is full"):
            votes.store(path, second)
    assert votes.read(path) == [first]
    votes.store(path, third)
    assert votes.read(path) == [first, third] and not (tmp_path / "votes.jsonl.torn").exists()


@posix
@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path):
    code = (
        "import resource, sys; from kotune.line_file import LineFile; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "lines = LineFile(sys.argv[1]); lines.append([{'a': 1}])\n"
        "try: lines.append([{'a': 'x' * 500}])\n"
        "except OSError as error: print(error)\n"
        "lines.append([{'a': 2}])"
    )
    child = started(code, tmp_path / "a.jsonl")
    said, error = child.communicate(timeout=600)
    assert child.returncode == 0, error
    assert "ulimit -f" in said and read_jsonl(tmp_path / "a.jsonl") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "changed",
    [
        {"models": ["m1", "m2"]}, {"models": None}, {"models": {}}, {"models": {"a": 1, "b": 2}}, {"models": {"a": "", "b": "m"}},
        {"winner": ["a"]}, {"winner": None}, {"winner": {}}, {"id": 3}, {"id": [1]}, {"answer_a": 3}, {"answer_b": None},
        {"shown_first": "c"}, {"shown_first": []}, {"question": None}, {"time": 3}, {"more": 1},
    ],
)  # fmt: skip
def test_a_malformed_vote_is_named_by_its_row(changed, tmp_path):
    write_jsonl(tmp_path / "v.jsonl", [VOTE, {**VOTE, **changed}])
    with pytest.raises(CourseError, match="row 2, is no vote"):
        votes.read(tmp_path / "v.jsonl")


@pytest.mark.parametrize("name", ["../../x", "..", "가" * 300, "a/b:c*?", "half \ud83d of an emoji"])
def test_votes_on_any_models_are_written_inside_the_folder(name, tmp_path):
    write_jsonl(tmp_path / "v.jsonl", [{**VOTE, "models": {"a": name, "b": "m2"}}])
    cli.run(["votes", str(tmp_path / "v.jsonl"), "--out", str(tmp_path / "out")])
    inside = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in inside if path.suffix != ".turn"} == {"a.jsonl", "b.jsonl", "judgments.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == {"v.jsonl", "out"}


def test_long_names_that_begin_alike_have_folders_of_their_own(tmp_path):
    pairs = [{"a": "가" * 60 + end, "b": "m2"} for end in "나다"]
    write_jsonl(tmp_path / "v.jsonl", [{**VOTE, "id": pair["a"], "models": pair} for pair in pairs])
    cli.run(["votes", str(tmp_path / "v.jsonl"), "--out", str(tmp_path / "out")])
    assert len([*(tmp_path / "out").iterdir()]) == 2


# --- a run's folder and file -----------------------------------------------------------------


def test_a_finished_run_deletes_by_name_alone(tmp_path):
    folder = tmp_path / "checkpoints"
    for name in ("checkpoint-3", "checkpoint-best", "checkpoint-3-copy", "mine"):
        (folder / name).mkdir(parents=True)
    for name in ("experiment.json", "held.lock", "notes.txt"):
        (folder / name).write_text("x")
    adapters._delete_checkpoints(folder)
    assert {path.name for path in folder.iterdir()} == {"checkpoint-best", "checkpoint-3-copy", "mine", "notes.txt"}
    (tmp_path / "other" / "checkpoint-1").mkdir(parents=True)
    adapters._delete_checkpoints(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_users_folder_is_not_taken_for_a_killed_runs(tmp_path):
    for name, inside in (
        ("saving-thesis", "chapter.txt"),
        ("saving-abc12345", "adapter_config.json"),
        ("saving-note", None),
    ):
        if inside is None:
            (tmp_path / name).write_text("x")
            continue
        (tmp_path / name).mkdir()
        (tmp_path / name / inside).write_text("x")
    assert [path.name for path in tmp_path.iterdir() if adapters._is_unfinished(path)] == ["saving-abc12345"]


def test_an_output_folder_that_cannot_be_replaced_is_said_before_the_training(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CourseError, match="is no folder"):
        adapters.require_replaceable(tmp_path / "file")
    for name in ("run.json", "loss.png"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "run.json").touch()
        if name == "loss.png":
            (tmp_path / "out" / name).mkdir()
            with pytest.raises(CourseError, match=r"loss\.png is a folder where a run writes a file"):
                adapters.require_replaceable(tmp_path / "out")


def test_a_users_checkpoint_is_none_of_the_runs(tmp_path):
    write_json(tmp_path / "experiment.json", {"stage": "sft"})
    for name in ("checkpoint-best", "checkpoint-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").write_text("x")
    runs.mark_whole(tmp_path / "checkpoint-2")
    found = runs.resume_point(tmp_path, {"stage": "sft"})
    assert (found.checkpoint.name, found.skipped) == ("checkpoint-2", [])


@pytest.mark.parametrize(
    ("line", "held"),
    [
        ("output_dir: 2024_11_28", "2024_11_28"), ("output_dir: 2024-11-28", "2024-11-28"), ("output_dir: 1e3", "1e3"),
        ("output_dir: 0o17", "0o17"), ("output_dir: yes", "yes"), ("output_dir: 1_0.50", "1_0.50"), ("output_dir: 12:30:45", "12:30:45"),
        ("output_dir: 'quoted'", "quoted"), ("output_dir:", None),
    ],
)  # fmt: skip
def test_a_folder_is_called_as_the_file_spells_it(line, held, tmp_path):
    (tmp_path / "c.yaml").write_text(line + "\n")
    assert overrides.read_config(tmp_path / "c.yaml").run == {"output_dir": held}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("output_dir: [a]", "output_dir is a list"), ("train_dataset: {a: b}", "train_dataset is a dict"),
        ('output_dir: "a\\0b"', "no path can have"), ('output_dir: "\\ud83d"', "no path can have"),
        ("[" * 3000, "nested too deep"), ("output_dir: &a [*a]", "no valid YAML"),
    ],
)  # fmt: skip
def test_a_file_that_names_no_path_is_one_sentence(text, said, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(CourseError, match=said):
        overrides.read_config(tmp_path / "c.yaml")
    (tmp_path / "c.json").write_text(json.dumps({"output_dir": 2024}))
    with pytest.raises(CourseError, match="output_dir is a int"):
        overrides.read_config(tmp_path / "c.json")
