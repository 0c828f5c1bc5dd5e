"""Weights are read from safetensors alone, and those of a folder with a list of sums only as they were written."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from unittest import mock

from utils import CourseError, errors_of, relative

SAFETENSORS = ".safetensors"
PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json", "adapter_model.bin")
_ONE_AT_A_TIME = threading.RLock()  # of two threads that patch, the later one would put the first one's patch back
_WHY = "which is unpickled as it is read, and a pickle can run any program"


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, which is read in pieces."""
    with errors_of(path), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_of(folder: str | Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder by its name, in order of names."""
    return {path.name: sha256_of(path) for path in sorted(Path(folder).iterdir()) if path.is_file()}


def changed_files(folder: str | Path, sums: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Return which of these files are missing, or are not those that the sums were taken of.

    A file is read once in a process: after that only where its size, its times or its place on the disk changed.
    """
    return [name for name in names if _sum_now(Path(folder) / name) != sums[name]]


def _sum_now(path: Path) -> str | None:
    if not path.is_file():
        return None
    found = path.stat()
    return _sum_of(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@lru_cache(maxsize=64)
def _sum_of(path: Path, *stamp: int) -> str:
    return sha256_of(path)


def refuse_pickles(folder: str | Path) -> None:
    """Raise a CourseError if a folder has weights in no other form than one that is unpickled as it is read."""
    folder = Path(folder)
    if any(folder.glob(f"*{SAFETENSORS}")):
        return
    for pattern in PICKLED:
        for found in sorted(folder.glob(pattern)):
            raise CourseError(
                f"{relative(folder)} holds its weights as {found.name}, {_WHY}; pass one with weights in safetensors, or "
                "save it as such with save_pretrained, in an environment of its own, if you trust it."
            )


@contextmanager
def never_unpickled(name: str | Path) -> Iterator[None]:
    """Let whatever would unpickle weights in this block end with a CourseError, by whichever way a library came there."""
    import torch

    def refuse(file: object, *rest: object, **options: object) -> None:
        shown = Path(file).name if isinstance(file, str | Path) else "a file"
        raise CourseError(f"{name} holds weights as {shown}, {_WHY}; pass one with weights in safetensors.")

    with _ONE_AT_A_TIME, mock.patch.object(torch, "load", refuse):
        yield
