"""Protects: the tests pass each time, on one core, under any language, in a folder with a space and Korean letters in its name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drills.drill import FULL, ROOT, SIZE, TABLE, drill

FEW = ["tests/test_utils.py", "tests/test_line_file.py", "tests/test_corpus.py", "-k", "not renderer"]
KOREAN = "ko_KR.UTF-8"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository in a folder with such a name."""
    folder = tmp_path_factory.mktemp("copies") / "내 자료, 강의 1"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("what belongs to the repository is asked of git")
    large = () if SIZE is FULL else ("data", "assets")  # a few tests only read there
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists() and not name.startswith(tuple(f"{one}/" for one in large)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in large:
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def languages(tmp_path_factory):
    """The environments of LANG=C and of Korean, whose locale is made here, because a system may lack it."""
    folder = tmp_path_factory.mktemp("locales")
    plain = {"LC_ALL": "C", "LANG": "C"}
    try:
        subprocess.run(
            ["localedef", "--no-archive", "-i", "ko_KR", "-f", "UTF-8", folder / KOREAN], capture_output=True, check=False
        )
    except OSError:
        return [plain]
    korean = {"LC_ALL": KOREAN, "LANG": KOREAN, "LOCPATH": str(folder)}
    return [plain, korean] if (folder / KOREAN).exists() else [plain]


def environment(language: dict[str, str]) -> dict[str, str]:
    own = ("LC_", "LANG", "PYTEST_", "COURSE_", "DRILL", "PYTHONPATH", "PYTHONUTF8", "PYTHONIOENCODING")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "OMP_NUM_THREADS": "1", **language}


def on_one_core(command: list) -> list:
    return [*(["taskset", "-c", str(min(os.sched_getaffinity(0)))] if shutil.which("taskset") else []), *map(str, command)]


def pytest_of(files: list[str]) -> list:
    plain = ["-q", "-p", "no:nbval", "-p", "no:xdist", "--override-ini", "addopts=-p tests.plugin -p no:cacheprovider"]
    return [sys.executable, "-m", "pytest", *files, *plain]


@pytest.mark.skipif(SIZE.suites > 0, reason="the full form runs all tests")
def test_a_few_tests_elsewhere(copy, languages):
    with drill("tests in another place") as tally:
        done = subprocess.run(
            on_one_core(pytest_of(FEW)),
            cwd=copy,
            env=environment(languages[-1]),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        tally.tried += 1
        if done.returncode != 0:
            tally.crashed.append(done.stdout[-3000:] + done.stderr[-500:])


@pytest.mark.skipif(SIZE is not FULL, reason="hours: make drill runs them")
def test_make_test_again_and_again(copy, languages):
    """`make test` in the copy, with this environment and without a step that would install the copy into it."""
    venv = Path(sys.prefix)
    command = ["make", "test", f"VENV={venv}", "-o", venv / "testing", "-o", venv / "installed"]
    with drill("make test: one core, LANG=C and ko_KR, a space and Korean letters") as tally:
        for number in range(SIZE.suites):
            log = TABLE.parent / "drills" / f"make_test_{number}.txt"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as said:
                code = subprocess.run(
                    on_one_core(command), cwd=copy, env=environment(languages[number % len(languages)]), stdout=said,
                    stderr=subprocess.STDOUT, check=False,
                ).returncode  # fmt: skip
            tally.tried += 1
            if code != 0:
                tally.crashed.append(f"run {number}: see {log}")
