"""The lock with hashes: every file that the index publishes of each pinned version, by its SHA-256.

    python dev/lock.py compare REPORT     what pip installed (pip install --report REPORT ...), beside the lock
    python dev/lock.py install [EXTRA]    the course, and extras of it, from files of the lock alone
    python dev/lock.py write              the lock again, from constraints.txt and pyproject.toml; needs `pip install uv`

`constraints.txt` holds versions alone, so that a machine may bring a torch of its own; `constraints-hashed.txt` stands
beside it and binds nobody who does not ask (docs/supply_chain.md). Nothing is imported that is not part of Python: the
middle command runs before anything is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "constraints-hashed.txt"
VERSIONS = ROOT / "constraints.txt"
EXTRAS = ("serve", "embeddings", "llm", "ray", "test", "book", "dev")  # gpu is left out: vllm pins a torch of its own
BUILDS = "setuptools"  # what a package without a wheel, and the course itself, are built with
HEADER = """\
# Every file that the index publishes of each version in constraints.txt, and of what some platforms need beside them, by its
# SHA-256. Written by dev/lock.py; what it is for: docs/supply_chain.md.
"""
_ENTRY = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))?(?: \\)?")


class LockError(Exception):
    """The lock, or what is compared with it, cannot be used; one sentence."""


@dataclass(frozen=True)
class Locked:
    """A pinned version: the platforms that it is for, the SHA-256 of each published file, and who asks for it."""

    name: str
    version: str
    marker: str | None
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as pip reads it, with every hash, and a comment on who asks for it."""
        named = f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")
        lines = " \\\n".join([named, *(f"    --hash=sha256:{sha256}" for sha256 in self.hashes)])
        return f"{lines}\n    # via {', '.join(self.wanted_by)}\n"


def canonical(name: str) -> str:
    """Return a package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(path: Path = LOCK) -> dict[str, Locked]:
    """Return every entry of the lock by its name.

    Raises:
        LockError: a line is none of an entry, or an entry has no hash.
    """
    entries: dict[str, dict] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if found := _ENTRY.fullmatch(line):
            entries[canonical(found["name"])] = last = {**found.groupdict(), "hashes": [], "wanted_by": []}
        elif text.startswith("--hash=sha256:") and entries:
            last["hashes"].append(text.removeprefix("--hash=sha256:").removesuffix("\\").strip())
        elif text.startswith("#"):
            if entries and line[0] == " ":  # "# via a, b", or, as uv writes it, "# via" and a line for each
                named = text.lstrip("# ").removeprefix("via").split(",")
                last["wanted_by"] += [canonical(one.split("(")[0].strip()) for one in named if "-c " not in one]
        elif text:
            raise LockError(f"{path.name}, line {number}, is no line of a lock ({text[:60]!r}); write it again.")
    if unhashed := [name for name, entry in entries.items() if not entry["hashes"]]:
        raise LockError(f"{path.name} has no hash for {', '.join(unhashed)}; write it again.")
    return {
        name: Locked(e["name"], e["version"], e["marker"], tuple(e["hashes"]), tuple(w for w in e["wanted_by"] if w))
        for name, e in entries.items()
    }


def roots(extras: Iterable[str], pyproject: Path = ROOT / "pyproject.toml") -> set[str]:
    """Return the names of what the course, and extras of it, ask for themselves.

    Raises:
        LockError: there is no such extra.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra in extras:
        if extra not in EXTRAS:
            raise LockError(f"There is no extra {extra!r} in the lock; it has {', '.join(EXTRAS)}.")
        asked += project["optional-dependencies"][extra]
    return {canonical(re.match(r"[\w.-]+", line)[0]) for line in asked}


def needed(lock: Mapping[str, Locked], wanted: set[str], without: set[str] = frozenset()) -> list[Locked]:
    """Return the entries that these names lead to, on any platform; not those in `without`, nor what they alone lead to."""
    reached = ({*wanted, BUILDS} & lock.keys()) - without
    while more := {
        name for name, entry in lock.items() if name not in reached | without and reached.intersection(entry.wanted_by)
    }:
        reached |= more
    return [lock[name] for name in sorted(reached)]


# --- what was installed ----------------------------------------------------------------------

PUBLISHED = "files that the lock knows"
ANOTHER_BUILD = "another build, from another index or made here"
ANOTHER_VERSION = "another version than the locked one"
NOT_LOCKED = "not in the lock"
UNKNOWN = "pip says no hash"
ANOTHER_FILE = "the locked version in a file that is not the published one"


def compare(report: Mapping, lock: Mapping[str, Locked]) -> dict[str, list[str]]:
    """Return what pip reports to have installed, `name version`, by what the lock says of it; the course itself is left out.

    Raises:
        LockError: it is no report of pip.
    """
    found: dict[str, list[str]] = {}
    try:
        for item in report["install"]:
            name, version = item["metadata"]["name"], item["metadata"]["version"]
            if "dir_info" not in item["download_info"]:
                kind = _kind(version, _hash_of(item["download_info"]), lock.get(canonical(name)))
                found.setdefault(kind, []).append(f"{name} {version}")
    except (KeyError, TypeError, AttributeError):
        raise LockError("This is no report of pip; make one with `pip install --report FILE ...`.") from None
    return found


def _hash_of(download: Mapping) -> str | None:
    archive = download.get("archive_info") or {}
    older = (archive.get("hash") or "").partition("sha256=")[2]
    return (archive.get("hashes") or {}).get("sha256") or older or None


def _kind(version: str, sha256: str | None, locked: Locked | None) -> str:
    if locked is None:
        return NOT_LOCKED
    if sha256 in locked.hashes:
        return PUBLISHED
    if version.partition("+")[0] != locked.version:
        return ANOTHER_VERSION
    if "+" in version:
        return ANOTHER_BUILD
    return ANOTHER_FILE if sha256 else UNKNOWN


def summary(found: Mapping[str, Sequence[str]]) -> str:
    """Return a line on how many files the lock knows, and one for each kind that it does not."""
    total, known = sum(map(len, found.values())), len(found.get(PUBLISHED, ()))
    if not total:
        return "pip has installed nothing new"
    lines = [f"{known} of {total} installed packages are {PUBLISHED} ({LOCK.name})"]
    return "\n".join(lines + [f"{kind}: {', '.join(names)}" for kind, names in found.items() if kind != PUBLISHED])


def compare_command(report: Path) -> int:
    """Print what a report of pip holds; 1 where a locked version came in a file that was never published."""
    try:
        found = compare(json.loads(report.read_text(encoding="utf-8")), read())
    except OSError as error:
        raise LockError(f"{report} cannot be read ({error.strerror}); make it with `pip install --report`.") from None
    except ValueError:
        raise LockError(f"{report} is no JSON; make it with `pip install --report`.") from None
    print(summary(found))
    return 1 if found.get(ANOTHER_FILE) else 0


# --- from the lock alone ---------------------------------------------------------------------


def install_command(extras: Sequence[str], without: Sequence[str]) -> int:
    """Install the course from files of the lock alone; pip compares each before anything of it runs.

    Raises:
        LockError: what is to be left out is not there already.
    """
    left_out = {canonical(name) for name in without}
    for name in left_out:
        try:
            print(f"{name} {metadata.version(name)} stays as it is; its file is compared with nothing.")
        except metadata.PackageNotFoundError:
            raise LockError(
                f"{name} is not installed; install it first, from where you trust, or leave --without out."
            ) from None
    lock = read()
    chosen = needed(lock, roots(extras), left_out)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    with tempfile.TemporaryDirectory() as folder:
        for name, entries in (("builds", [lock[BUILDS]]), ("course", chosen)):
            file = Path(folder) / f"{name}.txt"
            file.write_text("".join(str(entry) for entry in entries), encoding="utf-8")
            # what a build needs is installed by now: in an isolation of its own it would come unhashed
            code = subprocess.call([*pip, "--require-hashes", "--no-build-isolation", "-r", str(file)])
            if code:
                return code
    code = subprocess.call([*pip, "--no-build-isolation", "--no-index", "-e", str(ROOT)])
    return code or subprocess.call([sys.executable, "-m", "pip", "check"])


# --- written again ---------------------------------------------------------------------------


def write_command() -> int:
    """Write the lock by uv, which finds versions for every platform and Python at once, from the index that pip asks."""
    index = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    ).stdout.strip()
    settings = {**os.environ, **({"UV_DEFAULT_INDEX": index} if index else {})}
    command = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11", "--no-header", "--quiet"]
    command += ["--constraints", VERSIONS.name, "--generate-hashes"]
    command += [word for extra in EXTRAS for word in ("--extra", extra)]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / LOCK.name
        try:
            code = subprocess.call([*command, "--output-file", str(written)], cwd=ROOT, env=settings)
        except FileNotFoundError:
            raise LockError("uv is not on the path; run `pip install uv` first.") from None
        if code:
            return code
        LOCK.write_text(HEADER + "".join(map(str, read(written).values())), encoding="utf-8", newline="\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser("compare", help="compare a report of pip with the lock")
    comparing.add_argument("report", type=Path)
    installing = commands.add_parser("install", help="install the course from files of the lock alone")
    installing.add_argument("extras", nargs="*", metavar="EXTRA", help=f"of {', '.join(EXTRAS)}")
    installing.add_argument("--without", action="append", default=[], metavar="NAME", help="it is here already, as torch")
    commands.add_parser("write", help="write the lock again (needs uv)")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "compare":
            return compare_command(chosen.report)
        return install_command(chosen.extras, chosen.without) if chosen.command == "install" else write_command()
    except LockError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
