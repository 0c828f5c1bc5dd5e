"""A folder for a USB stick: the course, its wheels and its model, to be installed where there is no network.

    python dev/bundle/build.py                        into outputs/bundle and outputs/bundle.zip; says sizes first
    python dev/bundle/build.py --plan                 says them, and stops
    python dev/bundle/build.py --extra llm --also jupyterlab
    python dev/bundle/build.py -- --index-url https://download.pytorch.org/whl/cpu --extra-index-url https://pypi.org/simple

What follows `--` goes to pip as it is. The wheels are those of this platform and this Python, in the versions of
constraints.txt; `install.py`, which goes along, refuses another. Nothing is imported that is not part of Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
GOES_ALONG = ("install.py", "README.md", "README.ko.md")
EXTRAS = ("serve",)  # for the chat page and the class vote
# what a machine does once after it has installed: the packaged model is converted, so that no lesson waits for it
PREPARE = "from kotune.models.files import local_gemma; local_gemma()"
LARGEST = 5  # packages that the plan names
AT_ONCE = 8  # files that are asked for their size
WAITS_S = 30.0


class BundleError(Exception):
    """The bundle cannot be made; one sentence."""


@dataclass(frozen=True)
class Package:
    """A package that goes along: where pip finds it, its sum, and its size in bytes where the index says it."""

    name: str
    version: str
    url: str
    sha256: str | None
    size: int | None

    @property
    def pin(self) -> str:
        """Return the line that makes pip take exactly this version, and this file where its sum is known."""
        return f"{self.name}=={self.version}" + (f" --hash=sha256:{self.sha256}" if self.sha256 else "")


@dataclass(frozen=True)
class Plan:
    """What a bundle is to hold."""

    requirements: tuple[str, ...]
    extras: tuple[str, ...]
    also: tuple[str, ...]
    packages: tuple[Package, ...]
    files: tuple[str, ...]  # of the course, as git tracks them
    course_bytes: int
    zipped: bool

    @property
    def package_bytes(self) -> int:
        """The sizes that are known, together."""
        return sum(package.size or 0 for package in self.packages)

    @property
    def disk_bytes(self) -> int:
        """What the folder takes, and the zip beside it."""
        return (2 if self.zipped else 1) * (self.package_bytes + self.course_bytes)

    def lines(self, folder: Path) -> list[str]:
        """Return what is said before anything is downloaded."""
        largest = sorted(self.packages, key=lambda package: -(package.size or 0))[:LARGEST]
        unknown = [package.name for package in self.packages if package.size is None]
        said = [
            f"For {_machine()['platform']}, Python {_machine()['python']}:",
            f"1. download {len(self.packages)} packages, {_megabytes(self.package_bytes)}",
            *(f"   {package.name} {package.version}: {_megabytes(package.size)}" for package in largest if package.size),
            f"2. copy {len(self.files)} files of the course, {_megabytes(self.course_bytes)}",
            f"3. check that all of it installs without an index, into {folder}",
        ]
        if self.zipped:
            said.append(f"4. pack {folder.name}.zip beside it; disk needed for both: {_megabytes(self.disk_bytes)}")
        if unknown:
            said.append(f"The index does not say how large these are: {', '.join(unknown[:10])}.")
        return said


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _machine() -> dict[str, str]:
    """Return the machine and Python that wheels are made for."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), "platform": f"{platform.system()} {platform.machine()}"}


# --- what goes along -------------------------------------------------------------------------


def plan(
    root: Path, extras: Sequence[str] = EXTRAS, also: Sequence[str] = (), pip: Sequence[str] = (), *, zipped: bool = True
) -> Plan:
    """Find out what a bundle is to hold; nothing is downloaded but what pip needs to know of packages.

    Raises:
        BundleError: there is no such extra, the course is no git checkout, or pip finds no versions that go together.
    """
    wanted = _requirements(root, extras)
    files = _tracked(root)
    packages = tuple(_with_sizes(_resolve(root, [*wanted, *also], pip)))
    size = sum((root / file).stat().st_size for file in files)
    return Plan(tuple(wanted), tuple(extras), tuple(also), packages, files, size, zipped)


def _requirements(root: Path, extras: Sequence[str]) -> list[str]:
    """Return what the course asks for, with these extras, and what its installation is built with."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    optional = project["project"].get("optional-dependencies", {})
    if unknown := [extra for extra in extras if extra not in optional]:
        raise BundleError(f"There is no extra {unknown[0]!r}; there are {', '.join(optional)}.")
    asked = [*project["project"].get("dependencies", []), *project.get("build-system", {}).get("requires", [])]
    return asked + [line for extra in extras for line in optional[extra]]


def _tracked(root: Path) -> tuple[str, ...]:
    """Return the files of the course: those that git tracks, and no environment, cache or output beside them."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    files = tuple(file for file in os.fsdecode(done.stdout).split("\0") if file and (root / file).is_file())
    if done.returncode or not files:
        raise BundleError(f"{root} is no git checkout; clone the repository, and make the bundle there.")
    return files


def _resolve(root: Path, wanted: Sequence[str], pip: Sequence[str]) -> list[Package]:
    """Return the packages that pip would install on an empty machine."""
    with tempfile.TemporaryDirectory() as work:
        asked, report = Path(work) / "asked.txt", Path(work) / "report.json"
        asked.write_text("".join(f"{line}\n" for line in wanted), encoding="utf-8")
        _pip("install", "--dry-run", "--ignore-installed", "--report", report, "-r", asked, *_constraints(root), *pip)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [_package(item) for item in found]


def _constraints(root: Path) -> list[str]:
    file = root / "constraints.txt"
    return ["-c", str(file)] if file.exists() else []


def _package(item: dict[str, Any]) -> Package:
    download = item["download_info"]
    archive = download.get("archive_info") or {}
    sha256 = (archive.get("hashes") or {}).get("sha256") or (archive.get("hash") or "").partition("sha256=")[2] or None
    return Package(item["metadata"]["name"], item["metadata"]["version"], download["url"], sha256, None)


def _with_sizes(packages: Sequence[Package]) -> list[Package]:
    with ThreadPoolExecutor(AT_ONCE) as asking:
        sizes = list(asking.map(_size, (package.url for package in packages)))
    return [
        Package(package.name, package.version, package.url, package.sha256, size)
        for package, size in zip(packages, sizes, strict=True)
    ]


def _size(url: str) -> int | None:
    """Return how large a file is, by its address; None where nobody says it."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "file":
            return Path(urllib.request.url2pathname(unquote(parts.path))).stat().st_size
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=WAITS_S) as reply:
            return int(reply.headers["content-length"])
    except (OSError, TypeError, ValueError):  # not reached, refused, or without a length
        return None


def _pip(*arguments: object) -> None:
    """Run pip, whose progress is shown.

    Raises:
        BundleError: it failed; it has said why.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    if subprocess.call(command, stdout=sys.stderr):
        raise BundleError(
            f"pip {arguments[0]} failed, for the reason that stands above; put that right, and run this again."
        )


# --- made ------------------------------------------------------------------------------------


def build(root: Path, folder: Path, planned: Plan, pip: Sequence[str] = (), prepare: str = PREPARE) -> None:
    """Make a bundle in a folder, and the zip beside it; what lies there from an earlier time is replaced.

    Raises:
        BundleError: the folder holds something else, the disk is too small, or a download failed.
    """
    require_room(folder, planned)
    _begin(folder)
    wheels = folder / "wheels"
    with tempfile.TemporaryDirectory() as work:
        pins = Path(work) / "pins.txt"
        hashed = all(package.sha256 for package in planned.packages)
        lines = [package.pin if hashed else f"{package.name}=={package.version}" for package in planned.packages]
        pins.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        _pip("wheel", "--no-deps", "--wheel-dir", wheels, "-r", pins, *pip)
    for file in planned.files:
        target = folder / "course" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / file, target)
    for name in GOES_ALONG:
        shutil.copy2(HERE / name, folder / name)
    check(folder, planned)
    _write_card(root, folder, planned, prepare)
    if planned.zipped:
        pack(folder)


def require_room(folder: Path, planned: Plan) -> None:
    """Raise a BundleError if the disk has too little room."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < planned.disk_bytes:
        raise BundleError(
            f"{folder} needs {_megabytes(planned.disk_bytes)}, and {_megabytes(free)} are free; make room, name another "
            "folder, or pass --no-zip."
        )


def _begin(folder: Path) -> None:
    """Empty a folder of an earlier bundle, and of nothing else."""
    card = folder / "bundle.json"
    if folder.exists() and any(folder.iterdir()) and not card.exists():
        raise BundleError(f"{folder} holds files that are no bundle; name another folder.")
    for name in ("wheels", "course"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    card.write_text("{}\n", encoding="utf-8")  # of a bundle that is being made


def _write_card(root: Path, folder: Path, planned: Plan, prepare: str) -> None:
    """Write what install.py goes by: the machine, the extras, and the sum of each file on the way to it."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    files = sorted(path for name in ("wheels", "course") for path in (folder / name).rglob("*") if path.is_file())
    card = {
        **_machine(),
        "commit": commit.stdout.strip() if not commit.returncode else None,
        "extras": planned.extras,
        "also": planned.also,
        "prepare": prepare,
        "sha256": {path.relative_to(folder).as_posix(): _sha256(path) for path in files},
    }
    (folder / "bundle.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(folder: Path, planned: Plan) -> None:
    """Let pip find everything in the bundle, with no index.

    Raises:
        BundleError: something is missing in it.
    """
    with tempfile.TemporaryDirectory() as work:
        asked = Path(work) / "asked.txt"
        asked.write_text("".join(f"{line}\n" for line in (*planned.requirements, *planned.also)), encoding="utf-8")
        offline = ("--no-index", "--find-links", folder / "wheels", "--dry-run", "--ignore-installed", "--quiet")
        _pip("install", *offline, "-r", asked, *_constraints(folder / "course"))


def pack(folder: Path) -> Path:
    """Pack a bundle into a zip beside it; wheels are packed already, so nothing is made smaller."""
    target = folder.with_name(f"{folder.name}.zip")
    unfinished = target.with_name(f".{target.name}.unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, Path(folder.name) / path.relative_to(folder))
    os.replace(unfinished, target)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what is to be done, and do it; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    own, pip = given[:end], given[end + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="What follows -- goes to pip.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "outputs" / "bundle")
    parser.add_argument("--extra", action="append", default=[], help=f"of pyproject.toml, beside {', '.join(EXTRAS)}")
    parser.add_argument("--also", action="append", default=[], help="a package that is not locked, such as jupyterlab")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and stop")
    parser.add_argument("--no-zip", "--no_zip", action="store_true", help="the folder alone")
    chosen = parser.parse_args(own)
    folder = chosen.folder.resolve()
    try:
        extras = tuple(dict.fromkeys([*EXTRAS, *chosen.extra]))
        print(
            "Asking the index which packages go together; this downloads nothing but what it must know of them ...",
            flush=True,
        )
        planned = plan(ROOT, extras, chosen.also, pip, zipped=not chosen.no_zip)
        print("\n".join(planned.lines(folder)), flush=True)
        if chosen.plan:
            return 0
        build(ROOT, folder, planned, pip)
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or folder} cannot be read or written ({error.strerror}).", file=sys.stderr)
        return 1
    print(f"Made: {folder}" + ("" if chosen.no_zip else f" and {folder.name}.zip") + "; its README.md says how to install.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
