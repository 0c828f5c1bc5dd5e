"""Colab and Kaggle as far as the first cell sees them: their Python's packages, their modules, pip, and a place for results."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from utils import ROOT

LISTS = Path(__file__).parent
DRIVER = LISTS / "on_host.py"


@dataclass(frozen=True)
class Machine:
    """What a host says of itself: its Python, the version of each package, and those that google-colab pins."""

    python: str
    packages: dict[str, str]
    pinned: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> Machine:
        """Read a host's list: colab or kaggle."""
        text = (LISTS / f"{name}.txt").read_text(encoding="utf-8")
        python = re.search(r"^# Python (\S+)$", text, re.M)
        pinned = re.search(r"^# google-colab pins: (.+)$", text, re.M)
        assert python
        packages = dict(line.split("==") for line in text.splitlines() if line and not line.startswith("#"))
        return cls(python[1], packages, tuple(pinned[1].split(", ")) if pinned else ())


@dataclass
class Host:
    """A simulated machine under a folder; `run` puts a cell to it as a fresh kernel would."""

    name: str  # colab or kaggle
    folder: Path
    machine: Machine
    loaded: tuple[str, ...] = ("numpy", "matplotlib")  # what the kernel imported before the first cell
    upgraded: dict[str, str] = field(default_factory=dict)  # what pip changes
    drive: str = "mounts"  # or the words with which mounting fails
    pip_fails: bool = False

    @property
    def course(self) -> Path:
        return self.folder / "course"

    @property
    def results(self) -> Path:
        """Return the folder that outlives the machine."""
        return self.folder / ("drive/MyDrive" if self.name == "colab" else "working") / "kotune"

    def run(self, cell: str, *after: str, repository: str | None = None, **environment: str) -> subprocess.CompletedProcess:
        """Run a cell, and then others, in a process that finds this machine around it."""
        site = self._install_packages()
        given = {
            "KOTUNE_LANG": "en", "COURSE_FOLDER": str(self.course), "PYTHONPATH": str(site), "PYTHONIOENCODING": "utf-8",
            "SIMULATED_HOST": json.dumps({
                "name": self.name, "loaded": self.loaded, "upgraded": self.upgraded, "drive": self.drive,
                "pip_fails": self.pip_fails, "site": str(site), "told": str(self.folder / "pip.json"),
            }),
        }  # fmt: skip
        if repository is not None:
            given["COURSE_REPOSITORY"] = repository
        if self.name == "kaggle":
            given |= {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "KAGGLE_WORKING_DIR": str(self.folder / "working")}
        own = ("COURSE_", "KAGGLE_", "KOTUNE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return subprocess.run(
            [sys.executable, str(DRIVER), cell, *after],
            cwd=self.folder, env={**kept, **given, **environment}, capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip

    def pip(self) -> dict:
        """Return what pip was called with: its arguments, and the lines of its constraints."""
        return json.loads((self.folder / "pip.json").read_text(encoding="utf-8"))

    def renew(self) -> None:
        """Take the machine away as a session that ends does; what outlives it stays."""
        shutil.rmtree(self.course)

    def _install_packages(self) -> Path:
        """Write the metadata of the machine's packages, and a pip that changes nothing else, where Python looks first."""
        site = self.folder / "site"
        if site.exists():
            return site
        for name, version in self.machine.packages.items():
            info = site / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir(parents=True)
            requires = [f"Requires-Dist: {one}=={self.machine.packages[one]}" for one in self.machine.pinned]
            lines = [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                f"Version: {version}",
                *(requires if name == "google-colab" else []),
            ]
            (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
            (info / "top_level.txt").write_text(f"{name}\n", encoding="utf-8")
        (site / "pip").mkdir()
        (site / "pip" / "__init__.py").touch()
        (site / "pip" / "__main__.py").write_text(PIP, encoding="utf-8")
        return site


# writes down how it was called, and puts other versions into the metadata
PIP = """\
import json, os, pathlib, sys
host = json.loads(os.environ["SIMULATED_HOST"])
kept = pathlib.Path(sys.argv[sys.argv.index("-c") + 1]).read_text(encoding="utf-8").splitlines()
pathlib.Path(host["told"]).write_text(json.dumps({"arguments": sys.argv[1:], "kept": kept}), encoding="utf-8")
if host["pip_fails"]:
    print("ERROR: ResolutionImpossible: numpy", file=sys.stderr)
    sys.exit(1)
for name, version in host["upgraded"].items():
    for info in pathlib.Path(host["site"]).glob(f"{name}-*.dist-info"):
        text = (info / "METADATA").read_text(encoding="utf-8")
        (info / "METADATA").write_text(text.replace(f"Version: {info.name[len(name) + 1 : -10]}\\n", f"Version: {version}\\n"))
        info.rename(info.with_name(f"{name}-{version}.dist-info"))
"""


def public_copy(folder: Path) -> str:
    """Make a repository of the package as it lies here, and return an address that git clones."""
    for name in ("utils.py", "pyproject.toml"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "kotune", folder / "kotune", ignore=shutil.ignore_patterns("__pycache__"))
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "The course"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder.as_uri()
