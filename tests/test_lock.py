"""Protects: the lock with hashes holds what the course installs, and a file that was never published does not pass for one."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement

from dev import lock
from utils import ROOT, read_text

LOCKED = lock.read()


def entry(name, *wanted_by, version="1.0", marker=None, hashes=("a" * 64,)):
    return lock.Locked(name, version, marker, hashes, wanted_by)


def test_each_version_of_the_constraints_stands_in_the_lock_with_its_hashes():
    pinned = dict(line.split("==") for line in read_text(ROOT / "constraints.txt").splitlines())
    assert {lock.canonical(name): version for name, version in pinned.items()} == {
        name: one.version for name, one in LOCKED.items() if name in set(map(lock.canonical, pinned))
    }
    # what it has beside them is for some platforms, or builds packages
    assert [
        name for name in LOCKED.keys() - set(map(lock.canonical, pinned)) - {lock.BUILDS} if not LOCKED[name].marker
    ] == []
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for one in LOCKED.values() for sha256 in one.hashes)


def test_the_lock_leads_from_what_the_project_asks_for_to_everything_in_it():
    assert lock.roots(lock.EXTRAS) <= LOCKED.keys()
    assert lock.needed(LOCKED, lock.roots(lock.EXTRAS)) == [LOCKED[name] for name in sorted(LOCKED)]
    project = tomllib.loads(read_text(ROOT / "pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *(line for extra in lock.EXTRAS for line in extras[extra])]:
        asked = Requirement(line)
        assert asked.specifier.contains(LOCKED[lock.canonical(asked.name)].version, prereleases=True), line


def test_an_entry_is_written_as_it_is_read(tmp_path):
    entries = {
        "a-b": entry("A_b", "course", "c", marker="sys_platform == 'win32' and python_version < '3.13'", hashes=("1" * 64, "2" * 64)),
        "c": entry("c", "course"),
    }  # fmt: skip
    (tmp_path / "lock.txt").write_text(lock.HEADER + "".join(map(str, entries.values())), encoding="utf-8")
    assert lock.read(tmp_path / "lock.txt") == entries


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("torch>=2.6\n", "line 1, is no line of a lock"),
        ("torch==2.13.0\n    --hash=md5:00\n", "line 2, is no line of a lock"),
        ("torch==2.13.0\nnumpy==2.4.6 \\\n    --hash=sha256:00\n", "no hash for torch"),
    ],
)
def test_what_is_no_lock_is_one_sentence(text, said, tmp_path):
    (tmp_path / "lock.txt").write_text(text)
    with pytest.raises(lock.LockError, match=said):
        lock.read(tmp_path / "lock.txt")


def test_what_is_left_out_takes_along_what_it_alone_needs():
    held = {
        "course-needs": entry("course-needs", "course"),
        "torch": entry("torch", "course", "course-needs"),
        "cuda": entry("cuda", "torch"),
        "numpy": entry("numpy", "torch", "course-needs"),
        "a-test-needs": entry("a-test-needs", "course"),
        lock.BUILDS: entry(lock.BUILDS, "torch"),
    }
    wanted = {"course-needs", "torch"}
    assert [one.name for one in lock.needed(held, wanted)] == ["course-needs", "cuda", "numpy", lock.BUILDS, "torch"]
    assert [one.name for one in lock.needed(held, wanted, {"torch"})] == ["course-needs", "numpy", lock.BUILDS]
    with pytest.raises(lock.LockError, match="no extra 'gpu'"):
        lock.roots(["gpu"])


@pytest.mark.parametrize(
    ("version", "archive", "kind"),
    [
        ("1.0", {"hashes": {"sha256": "a" * 64}}, lock.PUBLISHED),
        ("1.0", {"hash": f"sha256={'a' * 64}"}, lock.PUBLISHED),  # pip 22.2
        ("1.0", {"hashes": {"sha256": "b" * 64}}, lock.ANOTHER_FILE),
        ("1.0+cpu", {"hashes": {"sha256": "b" * 64}}, lock.ANOTHER_BUILD),
        ("1.1", {"hashes": {"sha256": "b" * 64}}, lock.ANOTHER_VERSION),
        ("1.1+cpu", {"hashes": {"sha256": "b" * 64}}, lock.ANOTHER_VERSION),
        ("1.0", {}, lock.UNKNOWN),
        ("1.0", None, lock.UNKNOWN),
        ("1.0", {"hashes": {"md5": "a" * 32}}, lock.UNKNOWN),
    ],
)
def test_what_pip_reports_is_held_against_the_lock(version, archive, kind):
    item = {"metadata": {"name": "A.b", "version": version}, "download_info": {"url": "x", "archive_info": archive}}
    course = {"metadata": {"name": "course", "version": "1"}, "download_info": {"url": "x", "dir_info": {"editable": True}}}
    assert lock.compare({"install": [item, course]}, {"a-b": entry("a_b")}) == {kind: [f"A.b {version}"]}
    assert lock.compare({"install": [item]}, {}) == {lock.NOT_LOCKED: [f"A.b {version}"]}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"install": 3}', '{"install": [{}]}', '{"install": ["x"]}', None])
def test_what_is_no_report_is_one_sentence_and_exit_code_1(text, tmp_path, capsys):
    if text is not None:
        (tmp_path / "pip.json").write_text(text)
    assert lock.main(["compare", str(tmp_path / "pip.json")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and "pip install --report" in said


def test_nothing_is_installed_that_is_not_compared_first(monkeypatch, tmp_path):
    calls = []

    def call(command, code=0):
        calls.append([*command, *([read_text(command[-1])] if "-r" in command else [])])
        return code

    monkeypatch.setattr(subprocess, "call", call)
    assert lock.main(["install", "serve", "--without", "PyYAML"]) == 0
    builds, course, itself, check = calls
    for asked in (builds, course):
        assert {"--require-hashes", "--no-deps", "--no-build-isolation"} <= set(asked)
    assert re.findall(r"^\S+(?===)", builds[-1], re.M) == [lock.BUILDS]
    names = re.findall(r"^\S+(?===)", course[-1], re.M)
    assert {"torch", "fastapi"} <= set(names) and not {"pyyaml", "pytest"} & set(names)
    assert {"--no-index", "--no-deps", "--no-build-isolation", "-e"} <= set(itself) and check[-1] == "check"
    calls.clear()
    monkeypatch.setattr(subprocess, "call", lambda command: call(command, 1))
    assert lock.main(["install"]) == 1 and len(calls) == 1


def test_what_is_to_be_kept_must_be_there(capsys):
    assert lock.main(["install", "--without", "none-of-this-name"]) == 1
    assert "none-of-this-name is not installed; install it first" in capsys.readouterr().err


# --- pip itself ------------------------------------------------------------------------------


def make_wheel(folder, text):
    """Write the wheel of a package of one line; return its SHA-256."""
    about = {
        "METADATA": "Metadata-Version: 2.1\nName: a-b\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files = {"a_b.py": text, **{f"a_b-1.0.dist-info/{name}": content for name, content in about.items()}}
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip('=')},{len(content)}"
        for name, content in files.items()
    ]
    files["a_b-1.0.dist-info/RECORD"] = "\n".join([*lines, "a_b-1.0.dist-info/RECORD,,", ""])
    with zipfile.ZipFile(folder / "a_b-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name), content)
    return hashlib.sha256((folder / "a_b-1.0-py3-none-any.whl").read_bytes()).hexdigest()


def pip(folder, *arguments):
    settings = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(folder), "PIP_NO_INDEX": "1"}
    options = ["--report", folder / "pip.json", "--target", folder / "here"]
    command = [sys.executable, "-m", "pip", "install", "-q", *map(str, [*options, *arguments])]
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_pip_refuses_a_wheel_that_was_changed_and_without_hashes_it_is_found_afterwards(tmp_path):
    published = {"a-b": entry("a-b", hashes=(make_wheel(tmp_path, "kind = 'published'\n"),))}
    (tmp_path / "asked.txt").write_text(str(published["a-b"]), encoding="utf-8")
    make_wheel(tmp_path, "kind = 'changed!!'\n")
    refused = pip(tmp_path, "--require-hashes", "-r", tmp_path / "asked.txt")
    assert refused.returncode and "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "here").exists()
    assert pip(tmp_path, "a-b==1.0").returncode == 0
    report = json.loads(read_text(tmp_path / "pip.json"))
    assert lock.compare(report, published) == {lock.ANOTHER_FILE: ["a-b 1.0"]}
