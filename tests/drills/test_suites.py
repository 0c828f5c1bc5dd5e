"""Protects: the tests pass each time, on one core, under any language, in a folder with a space and Korean letters in its name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drills.drill import FULL, ROOT, SIZE, TABLE, drill

FEW = [
    "tests/test_utils.py",
    "tests/test_line_file.py",
    "tests/test_cli.py",
    "tests/data/test_corpus.py",
    "tests/data/test_registry.py",
]
KOREAN_LOCALES = {"ko_KR.UTF-8": "UTF-8", "ko_KR.EUC-KR": "EUC-KR"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository in a folder with such a name."""
    folder = tmp_path_factory.mktemp("copies") / "내 자료, 강의 1"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("what belongs to the repository is asked of git")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def korean(tmp_path_factory):
    """Where Korean locales lie, in UTF-8 and in the older encoding; those of the system may lack them."""
    folder = tmp_path_factory.mktemp("locales")
    for name, charmap in KOREAN_LOCALES.items():
        command = ["localedef", "--no-archive", "-i", "ko_KR", "-f", charmap, folder / name]
        try:
            subprocess.run(command, capture_output=True, check=False)
        except OSError:
            break
    return {
        name: {"LC_ALL": name, "LANG": name, "LOCPATH": str(folder)} for name in KOREAN_LOCALES if (folder / name).exists()
    }


PLAIN = {"LC_ALL": "C", "LANG": "C"}
# without what Python does by itself under LANG=C, whose console then takes ASCII alone
STRICT = {**PLAIN, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


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
def test_a_few_tests_elsewhere(copy):
    with drill("tests in another place") as tally:
        done = subprocess.run(
            on_one_core(pytest_of(FEW)),
            cwd=copy,
            env=environment(STRICT),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        tally.tried += 1
        if done.returncode != 0:
            tally.crashed.append(done.stdout[-3000:] + done.stderr[-500:])


@pytest.mark.skipif(SIZE is not FULL, reason="hours: make drill runs them")
def test_make_test_again_and_again(copy, korean):
    """`make test` in the copy, with this environment and without a step that would install the copy into it."""
    venv = Path(sys.prefix)
    command = ["make", "test", f"VENV={venv}", "-o", venv / "testing", "-o", venv / "installed"]
    languages = [PLAIN, *korean.values()]
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
