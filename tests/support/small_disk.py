"""A folder on a disk that is too small: a tmpfs where one can be mounted, else a limit on the size of files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ENOUGH = "size=256m"


@dataclass
class SmallDisk:
    """A folder, and what must befall a command so that it finds the disk full there."""

    folder: Path
    is_mounted: bool
    troubles: list[list] = field(default_factory=list)

    def enlarge(self) -> None:
        """Make room, as somebody does who was told that the disk is full."""
        self.troubles = []
        if self.is_mounted:
            subprocess.run(["mount", "-o", f"remount,{ENOUGH}", self.folder], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[SmallDisk]:
    """Lend a disk of so many KiB, a multiple of four, at a folder that is made for it."""
    folder.mkdir(parents=True)
    mounted = sys.platform == "linux" and _mount(folder, kib)
    try:
        yield SmallDisk(folder, mounted, [] if mounted else [["tests.support.troubles:limit_file_size", kib * 1024]])
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def _mount(folder: Path, kib: int) -> bool:
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], capture_output=True, check=False
        )
    except OSError:  # there is no such command
        return False
    return done.returncode == 0
