"""Protects: what `make bundle` makes installs where there is no network, and says so in one sentence where it cannot.

The course of these tests is a tiny one whose three packages are made here; pip is pointed at an index that is not there.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dev.bundle import build as bundle
from utils import ROOT, read_text

HERE = ROOT / "dev" / "bundle"
BACKEND = '''
"""Builds an editable wheel of the folder, with nothing that would have to be fetched for it."""
import pathlib, zipfile

def get_requires_for_build_editable(config_settings=None):
    return []

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "tiny_course-1.0-py3-none-any.whl"
    requires = "".join(f"Requires-Dist: {one}\\n" for one in ("tiny-one", 'tiny-three; extra == "serve"'))
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        info = "tiny_course-1.0.dist-info"
        wheel.writestr("tiny_course.pth", str(pathlib.Path.cwd()) + "\\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny-course\\nVersion: 1.0\\nProvides-Extra: serve\\n" + requires)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", f"tiny_course.pth,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n{info}/RECORD,,\\n")
    return name
'''
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny-course"
version = "1.0"
dependencies = ["tiny-one"]

[project.optional-dependencies]
serve = ["tiny-three"]
"""


def make_wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """Write a wheel with one module, which holds the version."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {r}\n" for r in requires
    )
    texts = {
        f"{module}.py": f"version = {version!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, text in texts.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}\n")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as wheel:
        for path, text in texts.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/RECORD", "".join(lines) + f"{info}/RECORD,,\n")
    return target


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A checkout of a tiny course, and the wheels that an index would have: of one package two versions."""
    folder = tmp_path_factory.mktemp("한글 폴더")
    root = folder / "checkout"
    root.mkdir()
    for name, text in {
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND,
        "constraints.txt": "tiny-two==1.0\n",
        "lesson.ipynb": "a lesson",
        "data/자료.txt": "data",
        ".gitignore": "outputs/\n",
        "outputs/secret.txt": "a learner's own",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    index = folder / "index"
    make_wheel(index, "tiny-one", "1.0", "tiny-two")
    make_wheel(index, "tiny-two", "1.0")
    make_wheel(index, "tiny-two", "2.0")
    make_wheel(index, "tiny-three", "3.1")
    return root, ["--no-index", "--find-links", str(index)]


@pytest.fixture(scope="module")
def made(course, tmp_path_factory):
    """A bundle of it, in a folder whose name has a space."""
    root, pip = course
    folder = tmp_path_factory.mktemp("stick") / "my bundle"
    planned = bundle.plan(root, ("serve",), pip=pip)
    bundle.build(root, folder, planned, pip, prepare="import pathlib; pathlib.Path('prepared').touch()")
    return folder, planned


@pytest.fixture
def copied(made, tmp_path):
    """The same bundle, to be damaged."""
    with zipfile.ZipFile(made[0].with_name("my bundle.zip")) as packed:
        packed.extractall(tmp_path)
    return tmp_path / "my bundle"


def install(folder: Path, target: Path, **settings):
    """Run install.py where no index can be reached, and whoever looks for one would fail."""
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "KOTUNE_LANG": "en"}
    own = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, folder / "install.py", target], capture_output=True, text=True, check=False,
        env={**own, **nowhere, **settings}, cwd=folder.parent,
    )  # fmt: skip


@pytest.mark.slow
def test_sizes_and_steps_are_said_before_anything_is_fetched(made, tmp_path):
    _, planned = made
    said = "\n".join(planned.lines(tmp_path / "stick"))
    assert {(package.name, package.version) for package in planned.packages} == {
        ("tiny-one", "1.0"), ("tiny-two", "1.0"), ("tiny-three", "3.1"),
    }  # fmt: skip
    assert all(package.size and package.size > 300 for package in planned.packages)
    assert "1. download 3 packages, 0.0 MB" in said and "3. check that all of it installs without an index" in said
    assert planned.disk_bytes == 2 * (planned.package_bytes + planned.course_bytes)
    assert set(planned.files) == {
        "pyproject.toml",
        "backend.py",
        "constraints.txt",
        "lesson.ipynb",
        "data/자료.txt",
        ".gitignore",
    }


@pytest.mark.slow
def test_the_bundle_holds_the_locked_wheels_the_course_and_both_readmes_and_the_zip_is_the_same(made, copied):
    folder, _ = made
    wheels = sorted(path.name.split("-py3")[0] for path in (folder / "wheels").iterdir())
    assert wheels == ["tiny_one-1.0", "tiny_three-3.1", "tiny_two-1.0"]
    assert not (folder / "course" / "outputs").exists()

    def texts(where):
        return {path.relative_to(where): path.read_bytes() for path in where.rglob("*") if path.is_file()}

    assert texts(copied) == texts(folder)
    assert {"install.py", "README.md", "README.ko.md", "bundle.json"} <= {path.name for path in folder.iterdir()}
    card = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert len(card["sha256"]) == 3 + 6 and card["extras"] == ["serve"]


@pytest.mark.slow
def test_it_installs_without_a_network_goes_on_and_leaves_a_learners_file_alone(made, tmp_path):
    target = tmp_path / "내 강의"
    done = install(made[0], target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[:2] for line in done.stdout.splitlines() if re.match(r"\d\. ", line)] == ["1.", "2.", "3.", "4."]
    python = target / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "import tiny_one, tiny_two, tiny_three, backend; print(tiny_two.version, tiny_three.version, backend.__file__)"
    said = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert said.split(maxsplit=2)[:2] == ["1.0", "3.1"] and Path(said.split(maxsplit=2)[2].strip()).parent == target
    assert (target / "prepared").exists() and (target / "data" / "자료.txt").read_text(encoding="utf-8") == "data"
    (target / "lesson.ipynb").write_text("my answers", encoding="utf-8")
    (target / "backend.py").unlink()
    again = install(made[0], target, KOTUNE_LANG="ko")
    assert again.returncode == 0 and "이미 있던 파일 5개는 그대로 두었습니다." in again.stdout
    assert (target / "lesson.ipynb").read_text(encoding="utf-8") == "my answers" and (target / "backend.py").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_file_that_a_stick_has_damaged_is_found_before_anything_is_made(copied, tmp_path, damage):
    wheel = next((copied / "wheels").glob("tiny_two*"))
    wheel.write_bytes(wheel.read_bytes()[:-1]) if damage == "cut" else wheel.unlink()
    done = install(copied, tmp_path / "target")
    assert done.returncode == 1 and not (tmp_path / "target").exists()
    assert done.stderr == f"error: wheels/{wheel.name} is missing or not as it was made; copy the bundle again.\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_card", "said"),
    [
        ({"python": "3.9"}, "is for Python 3.9"),
        ({"platform": "Windows AMD64"}, "is for Windows AMD64"),
        (None, "no whole bundle"),
    ],
)
def test_a_bundle_for_another_machine_is_refused_in_one_sentence(copied, tmp_path, of_card, said):
    card = json.loads((copied / "bundle.json").read_text(encoding="utf-8"))
    (copied / "bundle.json").write_text(json.dumps({**card, **of_card} if of_card else {}), encoding="utf-8")
    done = install(copied, tmp_path / "target")
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "target").exists()
    assert install(copied, tmp_path / "target", KOTUNE_LANG="ko").stderr.startswith("오류: ")


@pytest.mark.slow
def test_a_folder_with_other_files_is_not_written_to(made, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    done = install(made[0], tmp_path)
    assert done.returncode == 1 and "holds other files" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_what_cannot_be_made_is_one_sentence(course, tmp_path):
    root, pip = course
    with pytest.raises(bundle.BundleError, match="no extra 'gpu'; there are serve"):
        bundle.plan(root, ("gpu",), pip=pip)
    with pytest.raises(bundle.BundleError, match="pip install failed"):
        bundle.plan(root, (), ("nobody-has-this",), pip)
    with pytest.raises(bundle.BundleError, match="is no git checkout"):
        (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
        bundle.plan(tmp_path, (), pip=pip)


def test_the_disk_and_the_folder_are_looked_at_before_the_download(tmp_path):
    package = bundle.Package("large", "1.0", "https://index.example/large.whl", None, 10**15)
    planned = bundle.Plan(("large",), (), (), (package,), (), 0, zipped=True)
    with pytest.raises(bundle.BundleError, match=r"needs 2,000,000,000\.0 MB"):
        bundle.build(ROOT, tmp_path / "stick", planned)
    (tmp_path / "photo.jpg").touch()
    nothing = bundle.Plan((), (), (), (), (), 0, zipped=False)
    with pytest.raises(bundle.BundleError, match="holds files that are no bundle"):
        bundle.build(ROOT, tmp_path, nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    assert "The index does not say how large these are: large." in "\n".join(
        bundle.Plan((), (), (), (bundle.Package("large", "1", "", None, None),), (), 0, zipped=False).lines(tmp_path)
    )


def test_both_readmes_have_the_same_commands_and_both_languages_the_same_sentences():
    english, korean = (re.findall(r"`[^`]+`", read_text(HERE / name)) for name in ("README.md", "README.ko.md"))
    assert sorted(english) == sorted(one.replace("폴더", "FOLDER") for one in korean)
    said: dict = {}
    texts = read_text(HERE / "install.py").split("SAID = ", 1)[1].split("\n\n\nclass", 1)[0]
    exec(f"said.update({texts})", {"said": said})
    for key, (english_text, korean_text) in said.items():
        fields = re.findall(r"{[\w.:]*}", english_text)
        assert sorted(fields) == sorted(re.findall(r"{[\w.:]*}", korean_text)) and re.search("[가-힣]", korean_text), key
