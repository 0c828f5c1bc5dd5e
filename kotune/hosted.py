"""The course on a machine of Colab's or Kaggle's: installed beside what is there, its results kept when the machine goes.

The first cell of a notebook fetches the course and calls `start`. Nothing here is imported before the installation that a
fresh machine lacks. What the machine itself needs keeps its version: Colab's page speaks to a kernel of exactly one.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kotune import mirror
from kotune.language import said
from utils import ROOT, CourseError

Host = Literal["Colab", "Kaggle"]
# What a kernel holds in memory or speaks through, and what has a build for the machine's GPU: all of it keeps its version.
KEPT = (
    "torch", "torchvision", "torchaudio", "numpy", "pandas",
    "ipykernel", "ipython", "ipywidgets", "jupyter-client", "pyzmq", "tornado", "traitlets",
)  # fmt: skip
RESULTS = "kotune"  # the folder of the results, in Drive or in what Kaggle keeps


@dataclass
class _Clock:
    """Which part of the start took how long."""

    began: float
    parts: list[tuple[str, float]]

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.parts.append((part, now - self.began - sum(seconds for _, seconds in self.parts)))

    def told(self) -> tuple[str, str]:
        """Return the seconds together, and those of each part."""
        total = sum(seconds for _, seconds in self.parts)
        return f"{total:.0f}", ", ".join(f"{part} {seconds:.0f}" for part, seconds in self.parts)


def host() -> Host | None:
    """Return whose machine this is; None for one's own. Kaggle's image is built on Colab's, so Kaggle is asked first."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "Kaggle"
    return "Colab" if "google.colab" in sys.modules else None


def start(began: float) -> None:
    """Install the course, bring earlier results back, keep new ones from now on, and say how long all of it took.

    began: `time.perf_counter()` from before the course was fetched.

    Raises:
        CourseError: pip cannot install the course.
    """
    where = host() or "Colab"
    clock = _Clock(began, [])
    clock.lap(said("fetched in", "받기"))
    before = versions(loaded_distributions())
    install()
    changed = sorted(name for name, version in versions(before).items() if version != before[name])
    clock.lap(said("installed in", "설치"))
    if where == "Kaggle":  # two GPUs would need a launcher; has no effect where torch is in use already
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    kept_in = keep_results(where)
    clock.lap(said("results in", "결과 연결"))
    seconds, parts = clock.told()
    print(
        said(
            f"The course is in {ROOT}, ready after {seconds} s ({parts}), with {where}'s own torch {_torch()}.",
            f"강의는 {ROOT}에 있고 준비에 {seconds}초 걸렸습니다({parts}). {where}의 torch {_torch()}는 그대로입니다.",
        )
    )
    print(kept_in)
    if changed:
        print(
            said(
                f"Restart the session and run from the top: {', '.join(changed)} changed while in use.",
                f"세션을 다시 시작하고 처음부터 실행하세요. 쓰고 있는 동안 바뀐 패키지: {', '.join(changed)}.",
            )
        )


def finish() -> None:
    """Copy what is new, and on Colab wait until Drive has uploaded all of it; for the end of a session."""
    if (there := mirror.mirror()) is None:
        print(said("No second place is set for the results.", "결과를 따로 보관할 곳이 정해져 있지 않습니다."))
        return
    if not there.keep():
        return
    if host() == "Colab":
        from google.colab import drive

        drive.flush_and_unmount()
        del os.environ[mirror.SETTING]
    print(said(f"All results lie in {there.root}.", f"모든 결과가 {there.root}에 있습니다."))


# --- the installation ------------------------------------------------------------------------


def kept_versions() -> dict[str, str]:
    """Return the version of each package that stays as it is: those of `KEPT`, and what Colab's own package pins.

    One that is too old for the course is not among them: pip brings a newer one, and `start` tells to restart.
    """
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name

    pinned: Iterable[str] = ()
    with suppress(importlib.metadata.PackageNotFoundError):
        pinned = importlib.metadata.requires("google-colab") or ()
    names = {canonicalize_name(Requirement(line).name) for line in pinned if "==" in line}
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = [Requirement(line) for line in tomllib.load(file)["project"]["dependencies"]]
    fits: dict[str, SpecifierSet] = {canonicalize_name(one.name): one.specifier for one in wanted}
    held = versions(sorted({*KEPT, *names}))
    return {
        name: version for name, version in held.items() if name not in fits or fits[name].contains(version, prereleases=True)
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each of these packages that is there."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def loaded_distributions() -> set[str]:
    """Return the packages of which this kernel has imported something."""
    tops = {name.partition(".")[0] for name in sys.modules}
    return {owner for top, owners in importlib.metadata.packages_distributions().items() if top in tops for owner in owners}


def install() -> None:
    """Install the course from its folder with pip, under the versions that stay.

    Raises:
        CourseError: pip failed; its last lines are printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "kept.txt")
        kept = [f"{name}=={version}\n" for name, version in kept_versions().items()]
        constraints.write_text("".join(kept), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "-q", "-e", str(ROOT), "-c", str(constraints)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        print("\n".join((done.stdout + done.stderr).strip().splitlines()[-12:]))
        raise CourseError(
            f"pip could not install the course (exit code {done.returncode}, its last lines stand above); see 'When it does "
            "not start' in colab_guide.md."
        )
    importlib.invalidate_caches()


def _torch() -> str:
    return versions(["torch"]).get("torch", "-")


# --- the results -----------------------------------------------------------------------------


def keep_results(where: Host) -> str:
    """Open the second place for results, bring back what it holds, and copy after each cell; return what to tell.

    `COURSE_MIRROR` names a folder, or `none`; without it, it is a folder in Drive on Colab, and one that Kaggle keeps.
    """
    if os.environ.get(mirror.SETTING) in ("", None, *_chosen):
        try:
            os.environ[mirror.SETTING] = str(_place(where) / RESULTS)
            _chosen[:] = [os.environ[mirror.SETTING]]
        except Exception as error:  # Colab's errors of mounting share no base class
            reason = " ".join(str(error).split()) or type(error).__name__
            return said(
                f"Drive is not connected ({reason}), so results go with this machine; run this cell again to connect it.",
                f"Drive에 연결하지 못해({reason}) 이 컴퓨터와 함께 결과도 사라집니다. 연결하려면 이 셀을 다시 실행하세요.",
            )
    there = mirror.open_again()
    if there is None:
        return said("Results go with this machine.", "결과는 이 컴퓨터와 함께 사라집니다.")
    told = said(f"Results are copied to {there.root}.", f"결과는 {there.root}에도 복사됩니다.")
    _after_each_cell(mirror.keep)
    try:
        back = there.restore()
    except CourseError as error:
        return f"{told} {CourseError.in_edition(str(error))}"
    there.keep()
    if back.files:
        told += said(
            f" {back.files} files of earlier sessions were brought back ({back.size / 2**20:.1f} MB).",
            f" 이전 세션의 파일 {back.files}개를 가져왔습니다({back.size / 2**20:.1f} MB).",
        )
    if back.refused:
        told += said(
            f" {len(back.refused)} are not what was copied and were left there: {', '.join(back.refused[:3])}.",
            f" 복사한 내용과 달라 가져오지 않은 파일이 {len(back.refused)}개 있습니다: {', '.join(back.refused[:3])}.",
        )
    return told


def _place(where: Host) -> Path:
    """Return the folder that outlives this machine; on Colab, Drive is connected for it."""
    if where == "Kaggle":
        return Path(os.environ.get("KAGGLE_WORKING_DIR") or "/kaggle/working")
    from google.colab import drive

    mounted = ROOT.parent / "drive"  # /content/drive
    drive.mount(str(mounted))
    return mounted / "MyDrive"


_chosen: list[str] = []  # the place that this module chose, and may connect again
_following: list[Callable[..., None]] = []


def _after_each_cell(act: Callable[[], None]) -> None:
    """Call something after each cell that runs, in a notebook."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or _following:
        return

    def follow(*_result: object) -> None:
        act()

    shell.events.register("post_run_cell", follow)
    _following.append(follow)
