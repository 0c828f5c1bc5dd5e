"""Protects: one cell starts the course on a simulated Colab and Kaggle, breaks neither, and keeps results from the start.

The machines are simulated in `tests/support/hosts`: the list of packages that each publishes, `google.colab` and pip as
stand-ins, and a real git. Nothing of this was run on the real ones.
"""

import re
import sys
import tomllib
import types

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kotune import hosted, mirror
from kotune.first_cells import NOTEBOOKS, Repository, fetches, fetching_cell
from tests.support.hosts import Host, Machine, public_copy
from utils import ROOT, read_json

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CELL = fetching_cell(None, "en")
WRITES = "from utils import OUTPUTS, write_json; write_json(OUTPUTS / 'figures.json', {'loss': 1}); from kotune import mirror; mirror.keep()"


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    return public_copy(tmp_path_factory.mktemp("public") / "course.git")


@pytest.fixture
def colab(tmp_path):
    return Host("colab", tmp_path, Machine.read("colab"))


@pytest.fixture
def kaggle(tmp_path):
    return Host("kaggle", tmp_path, Machine.read("kaggle"), loaded=("numpy", "matplotlib"))


# --- the machines' lists ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["colab", "kaggle"])
def test_the_course_runs_on_the_python_of_the_machine(name):
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(Machine.read(name).python)


def test_what_colab_itself_needs_is_new_enough_for_the_course():
    """A later ipykernel or ipywidgets than Colab's cuts its page off from the kernel: their ranges have to take Colab's."""
    machine = Machine.read("colab")
    installed = {canonicalize_name(name): version for name, version in machine.packages.items()}
    stays = {canonicalize_name(name) for name in (*hosted.KEPT, *machine.pinned)}
    wanted = {canonicalize_name(one.name): one for one in map(Requirement, PROJECT["dependencies"])}
    assert {"ipykernel", "ipywidgets", "torch", "numpy", "pandas"} <= stays & set(wanted) & set(installed)
    too_old = [name for name in stays & set(wanted) & set(installed) if not wanted[name].specifier.contains(installed[name])]
    assert too_old == []


# --- the cell --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_first_cell_of_a_notebook_starts_the_course_on_colab(name, colab, repository):
    cells = ["".join(cell["source"]) for cell in read_json(ROOT / f"{name}.ipynb")["cells"] if cell["cell_type"] == "code"]
    assert fetches(cells[0])
    done = colab.run(cells[0], "import kotune; print('from', kotune.__file__)", repository=repository)
    assert done.returncode == 0, done.stderr
    assert f"The course is in {colab.course}" in done.stdout
    assert re.search(r"ready after \d+ s \(fetched in \d+, installed in \d+, results in \d+\)", done.stdout)
    assert "with Colab's own torch 2.11.0+cu128" in done.stdout
    assert f"from {colab.course}" in done.stdout  # the copy that was fetched
    assert f"Results are copied to {colab.results}." in done.stdout
    assert "Restart" not in done.stdout


@pytest.mark.slow
def test_pip_keeps_what_colab_needs_and_installs_the_rest(colab, repository):
    assert colab.run(CELL, repository=repository).returncode == 0
    pip = colab.pip()
    assert pip["arguments"][:4] == ["install", "-q", "-e", str(colab.course)]
    kept = dict(line.split("==") for line in pip["kept"])
    listed = {canonicalize_name(name): version for name, version in colab.machine.packages.items()}
    assert kept == {name: listed[name] for name in kept}
    assert set(kept) >= {canonicalize_name(name) for name in colab.machine.pinned}
    assert {"torch", "numpy", "ipykernel", "ipywidgets", "pyzmq"} <= set(kept)
    assert not {"transformers", "peft", "datasets", "openai"} & set(kept)  # of these the course needs later ones


@pytest.mark.slow
def test_the_address_that_badges_write_is_fetched(colab, repository):
    written = fetching_cell(Repository("somebody/course"), "en").replace("https://github.com/somebody/course", repository)
    done = colab.run(written)
    assert done.returncode == 0, done.stderr
    assert (colab.course / "kotune" / "hosted.py").exists()


@pytest.mark.parametrize("which", ["en", "ko"])
@pytest.mark.parametrize("name", ["colab", "kaggle"])
def test_without_an_address_the_cell_says_what_to_set(which, name, request):
    done = request.getfixturevalue(name).run(fetching_cell(None, which))
    assert done.returncode == 1
    assert re.search("RuntimeError: .*COURSE_REPOSITORY.*Kaggle", done.stderr)


@pytest.mark.slow
def test_a_second_run_fetches_nothing(colab, repository):
    assert colab.run(CELL, repository=repository).returncode == 0
    done = colab.run(CELL, repository="file:///nowhere")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_kaggle_is_known_though_its_image_is_colabs_and_keeps_results(kaggle, repository):
    kaggle.upgraded = {"numpy": "2.4.0", "matplotlib": "3.11.0"}
    done = kaggle.run(CELL, "import os; print('GPU', os.environ['CUDA_VISIBLE_DEVICES'])", WRITES, repository=repository)
    assert done.returncode == 0, done.stderr
    assert "with Kaggle's own torch" in done.stdout
    assert "GPU 0" in done.stdout  # two would need a launcher
    assert "Restart the session and run from the top: matplotlib, numpy changed while in use." in done.stdout
    assert not {"numpy", "matplotlib"} & {line.split("==")[0] for line in kaggle.pip()["kept"]}  # too old for the course
    assert (kaggle.results / "figures.json").exists()


@pytest.mark.slow
def test_a_fresh_colab_has_the_results_of_the_last_one(colab, repository):
    assert colab.run(CELL, WRITES, repository=repository).returncode == 0
    colab.renew()
    done = colab.run(
        CELL, "print((OUT := __import__('utils').OUTPUTS), (OUT / 'figures.json').read_text())", repository=repository
    )
    assert done.returncode == 0, done.stderr
    assert "1 files of earlier sessions were brought back" in done.stdout
    assert '"loss": 1' in done.stdout


@pytest.mark.slow
def test_a_drive_that_is_refused_is_one_sentence_and_the_course_starts(colab, repository):
    colab.drive = "mount failed: credential propagation was unsuccessful"
    done = colab.run(CELL, WRITES, repository=repository)
    assert done.returncode == 0, done.stderr
    assert f"Drive is not connected ({colab.drive}), so results go with this machine" in done.stdout
    assert (colab.course / "outputs" / "figures.json").exists()


@pytest.mark.slow
def test_drive_can_be_left_out(colab, repository):
    done = colab.run(CELL, repository=repository, COURSE_MIRROR="none")
    assert done.returncode == 0, done.stderr
    assert "Mounted" not in done.stdout
    assert "Results go with this machine." in done.stdout


@pytest.mark.slow
def test_the_end_of_a_session_waits_for_drive(colab, repository):
    done = colab.run(CELL, WRITES, "from kotune import hosted; hosted.finish()", repository=repository)
    assert done.returncode == 0, done.stderr
    assert f"All results lie in {colab.results}." in done.stdout
    assert (colab.folder / "drive.uploaded" / "MyDrive" / "kotune" / "figures.json").exists()


@pytest.mark.slow
def test_where_pip_fails_its_last_lines_and_one_sentence_are_shown(colab, repository):
    colab.pip_fails = True
    done = colab.run(CELL, repository=repository)
    assert done.returncode == 1
    assert "ResolutionImpossible: numpy" in done.stdout
    assert "pip could not install the course (exit code 1" in done.stderr


@pytest.mark.slow
def test_the_korean_edition_starts_in_korean(colab, repository):
    done = colab.run(fetching_cell(None, "ko"), repository=repository, KOTUNE_LANG="ko")
    assert done.returncode == 0, done.stderr
    assert "준비에" in done.stdout
    assert "결과는" in done.stdout


# --- parts -----------------------------------------------------------------------------------


def test_results_are_copied_after_each_cell_and_registered_once(monkeypatch):
    registered = []
    shell = types.SimpleNamespace(events=types.SimpleNamespace(register=lambda event, act: registered.append((event, act))))
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(hosted, "_following", [])
    copied = []
    hosted._after_each_cell(lambda: copied.append(1))
    hosted._after_each_cell(lambda: copied.append(2))
    ((event, act),) = registered
    assert event == "post_run_cell"
    act("the result of a cell")
    assert copied == [1]


def test_a_machine_of_ones_own_is_no_host(monkeypatch):
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    assert hosted.host() is None


def test_without_a_second_place_the_end_says_so(monkeypatch, capsys):
    monkeypatch.delenv("COURSE_MIRROR", raising=False)
    assert mirror.mirror() is None
    hosted.finish()
    assert "No second place" in capsys.readouterr().out
