"""Protects: what Windows lacks, its paths and its consoles stop no command; a stand-in for Windows, which is not here."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import types

import pytest

from kotune import overrides
from kotune.serving import child
from kotune.teacher import claims
from utils import ROOT, CourseError, read_jsonl, read_text, write_jsonl

ROWS = [{"id": f"q{i}", "question": f"질문 {i}", "answer": "전입신고는 14일 이내에 합니다."} for i in range(3)]
OURS = [*(ROOT / "kotune").rglob("*.py"), ROOT / "utils.py", ROOT / "similarity.py", ROOT / "prompts.py"]
MODULES = ("resource", "fcntl", "termios", "pwd", "grp", "tty", "pty", "syslog")
SIGNALS = ("SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV", "SIGBREAK")  # all that Windows has
IN_OS = (
    "fork", "forkpty", "mkfifo", "mknod", "killpg", "getpgid", "setsid", "setpgid", "nice", "fchmod", "fchown", "chown", "getuid",
    "geteuid", "setuid", "uname", "wait", "waitid", "sysconf", "statvfs", "posix_spawn", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC",
    "O_DIRECTORY", "WNOHANG", "sched_getaffinity", "getloadavg",
)  # fmt: skip
# `os.uname` stays, and `os.fork`: libraries as they are installed here call them by themselves
AS_ON_WINDOWS = f"""
import builtins, os, signal, sys, types
true_import = builtins.__import__
def as_there(name, scope=None, *rest, **options):
    if str((scope or {{}}).get('__name__')).split('.')[0] not in ('kotune', 'utils', 'similarity', 'prompts'):
        return true_import(name, scope, *rest, **options)
    if name.split('.')[0] in {MODULES!r}:
        raise ImportError(name)
    if name == 'msvcrt':
        return types.SimpleNamespace()
    if name == 'kotune.teacher.claims':  # asks for the system, and not what it has
        sys.platform, here = 'win32', sys.platform
        try:
            return true_import(name, scope, *rest, **options)
        finally:
            sys.platform = here
    return true_import(name, scope, *rest, **options)
builtins.__import__ = as_there
for name in ('mkfifo', 'killpg', 'getpgid', 'setsid', 'nice', 'fchmod', 'getuid', 'geteuid', 'O_NOFOLLOW'):
    if hasattr(os, name): delattr(os, name)
for name in [name for name in dir(signal) if name.startswith('SIG') and name[3].isalpha() and name not in {SIGNALS!r}]:
    delattr(signal, name)
"""


@pytest.fixture
def source(tmp_path):
    return write_jsonl(tmp_path / "a.jsonl", ROWS)


def run(code: str, *arguments, **settings) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, env={**os.environ, **settings}, capture_output=True,
        check=False, timeout=600,
    )  # fmt: skip


# --- what it lacks ---------------------------------------------------------------------------


@pytest.mark.slow
def test_commands_run_without_what_windows_lacks(source, tmp_path):
    code = AS_ON_WINDOWS + (
        "import shutil; assert shutil.which('make') is None\n"
        "from kotune import cli\n"
        "file, out = sys.argv[1:]\n"
        "for command in (['data', 'check', file], ['data', 'convert', file, out + '/o.jsonl', '--to', 'qa'],\n"
        "                ['data', 'scan', file, '--out', out + '/s.jsonl'], ['data', 'dedup', file, out + '/d.jsonl'],\n"
        "                ['korean', file], ['licences', '--out', out + '/l.csv'],\n"
        "                ['judge', '--pairs', out + '/pairs.jsonl', '--judge', 'reference', '--out', out + '/r.json']):\n"
        "    cli.run(command)\n"
        "from kotune.training.runs import process_peak_gib; assert process_peak_gib() > 0\n"
        "from kotune.serving.connections import SIGNALS, raise_descriptor_limit\n"
        "from kotune.serving.guard import Limits; assert raise_descriptor_limit(Limits()) == Limits().connections\n"
        "assert {number.name for number in SIGNALS} == {'SIGINT', 'SIGTERM'}\n"
        "cli.main(['--help'])"
    )
    pair = {"input1": "질문", "completion1": "가나다", "input2": "질문", "completion2": "라마바", "reference": "가나다"}
    write_jsonl(tmp_path / "pairs.jsonl", [pair])
    (tmp_path / "no programs").mkdir()
    done = run(code, source, tmp_path, PATH=str(tmp_path / "no programs"))
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert len(read_jsonl(tmp_path / "o.jsonl")) == 3 and (tmp_path / "r.json").exists()


def parts_of(tree):
    """Yield each node of a module, and whether it stands where something else is done where a name is missing."""

    def visit(node, guarded):
        yield node, guarded
        asks = isinstance(node, ast.If | ast.IfExp) and any(
            words in ast.unparse(node.test) for words in ("sys.platform", "os.name", "hasattr(")
        )
        for part in ast.iter_child_nodes(node):
            yield from visit(part, guarded or asks or isinstance(node, ast.Try))

    yield from visit(tree, False)


def missing_there(node):
    """Return the name of what a node asks for and Windows does not have."""
    if isinstance(node, ast.Import):
        return next((alias.name for alias in node.names if alias.name.split(".")[0] in MODULES), None)
    if isinstance(node, ast.ImportFrom):
        return node.module if (node.module or "").split(".")[0] in MODULES else None
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        name, module = node.attr, node.value.id
        return name if (module == "os" and name in IN_OS) or (module == "signal" and _is_foreign_signal(name)) else None
    return None


def _is_foreign_signal(name):
    return name.startswith("SIG") and name[3].isalpha() and name not in SIGNALS


def test_no_module_asks_for_what_windows_lacks_without_a_way_round():
    found = []
    for path in OURS:
        for node, guarded in parts_of(ast.parse(read_text(path))):
            if not guarded and (name := missing_there(node)):
                found.append(f"{path.name}:{node.lineno} {name}")
    assert found == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import resource", ["resource"]), ("from fcntl import lockf", ["fcntl"]), ("os.fork()", ["fork"]), ("x = signal.SIGKILL", ["SIGKILL"]),
        ("try:\n import resource\nexcept ImportError: pass", []), ("if hasattr(os, 'killpg'):\n os.killpg(1, 2)", []),
        ("signal.SIG_IGN, signal.SIGTERM, getattr(signal, 'SIGHUP', None)", []), ("def f():\n return os.getuid()", ["getuid"]),
    ],
)  # fmt: skip
def test_the_look_at_modules_sees_what_it_is_for(code, found):
    assert [
        missing_there(node) for node, guarded in parts_of(ast.parse(code)) if not guarded and missing_there(node)
    ] == found


def test_a_program_that_was_started_ends_where_there_are_no_groups(tmp_path, monkeypatch):
    windows = types.SimpleNamespace(name="nt")  # neither killpg nor a shell to watch
    monkeypatch.setattr(child, "os", windows)
    started = child.Child([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log", os.environ)
    assert started.running
    started.end()
    assert not started.running


class LocksOfWindows(types.ModuleType):
    """The module `msvcrt`, whose locks hold against the process itself too, and stand where the file's place is."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self):
        super().__init__("msvcrt")
        self.held = set()

    def locking(self, descriptor, mode, number):
        place = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        assert number == 1
        if (place in self.held) != (mode == self.LK_UNLCK):
            raise PermissionError(13, "Permission denied")
        self.held ^= {place}


def test_processes_share_work_by_the_locks_of_windows(tmp_path, monkeypatch):
    locks = LocksOfWindows()

    def claims_of_a_process():
        spec = importlib.util.spec_from_file_location("claims_on_windows", claims.__file__)
        module = importlib.util.module_from_spec(spec)
        with monkeypatch.context() as windows:
            windows.setitem(sys.modules, "msvcrt", locks)
            windows.setattr(sys, "platform", "win32")
            spec.loader.exec_module(module)
        return module.Claims(tmp_path / "journal.jsonl")

    one, other = claims_of_a_process(), claims_of_a_process()
    assert one.take("a") and not other.take("a") and other.take("b") and not one.take("b")
    assert len(locks.held) == 2
    one.release("a")
    assert other.take("a")
    other.release_all()
    assert not locks.held and one.take("a")
    one.release_all()


# --- its paths -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [r'output_dir: "C:\new\test"', r'output_dir: "outputs\test"', '{"output_dir": "C:\\temp"}'])
def test_a_backslash_that_became_a_control_character_is_said(text, tmp_path):
    file = tmp_path / ("c.json" if text[0] == "{" else "c.yaml")
    file.write_text(text)
    with pytest.raises(CourseError, match=r"output_dir holds a control character .* write / in the place"):
        overrides.read_config(file)


@pytest.mark.parametrize(
    "text",
    [
        r"output_dir: C:\new\model",
        r"output_dir: 'C:\new\model'",
        r'output_dir: "C:\\new\\model"',
        r'{"output_dir": "C:\\new\\model"}',
    ],
)
def test_a_path_of_windows_is_read_as_it_is_written(text, tmp_path):
    file = tmp_path / ("c.json" if text[0] == "{" else "c.yaml")
    file.write_text(text)
    assert overrides.read_config(file).run == {"output_dir": r"C:\new\model"}


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="asks git for the files")
def test_every_file_of_the_repository_has_a_name_that_windows_takes_and_line_ends_that_stay():
    def git(*arguments):
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True)
        return done.stdout.decode().split("\0")[:-1]

    names = git("ls-files", "-z")
    reserved = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
    for name in names:
        assert not set(name) & set('<>:"\\|?*') and len(name) < 150, name
        assert all(part[-1] not in " ." and part.split(".")[0].lower() not in reserved for part in name.split("/")), name
    assert len({name.lower() for name in names}) == len(names)
    told = git("check-attr", "-z", "eol", "--", *names)
    assert set(told[2::3]) == {"lf"}  # sums are taken of data, recordings and prompts


# --- its consoles ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("console", ["cp949", "cp1252"])
def test_what_a_command_says_appears_on_a_console_of_windows(console, tmp_path):
    file = write_jsonl(
        tmp_path / "전세 🏠.jsonl", [{"id": "a", "question": "뭐예요?", "answer": "좋아요 🏠 좋아요 🏠 좋아요 🏠 좋아요 🏠"}]
    )
    code = (
        "import sys; from kotune import cli\n"
        "try: cli.main(['data', 'dedup', sys.argv[1], sys.argv[1] + '.kept.jsonl'])\n"
        "except SystemExit: cli.main(['korean', sys.argv[1] + '없음 🏠'])"
    )
    done = run(code, file, PYTHONIOENCODING=console, PYTHONUTF8="0")
    said, error = done.stdout.decode(console), done.stderr.decode(console)
    assert done.returncode == 1 and "Traceback" not in error and error.count("\n") == 1, error
    assert ("전세" in said and "없음" in error) == (console == "cp949")
    assert "\\U0001f3e0" in said and "\\U0001f3e0" in error and "does not exist" in error
