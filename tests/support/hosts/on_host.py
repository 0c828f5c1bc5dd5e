"""Run cells as a host's kernel does: `on_host.py CELL [CELL ...]`, with what is simulated in SIMULATED_HOST."""

import json
import os
import shutil
import sys
import types
from pathlib import Path

HOST = json.loads(os.environ["SIMULATED_HOST"])


def mount(mountpoint: str) -> None:
    """Connect Drive, or fail in Colab's words."""
    if HOST["drive"] != "mounts":
        raise ValueError(HOST["drive"])
    Path(mountpoint, "MyDrive").mkdir(parents=True, exist_ok=True)
    print(f"Mounted at {mountpoint}")
    MOUNTED.append(mountpoint)


def flush_and_unmount() -> None:
    """Take Drive away: what is left is an empty folder."""
    for mountpoint in MOUNTED:
        shutil.move(mountpoint, f"{mountpoint}.uploaded")


MOUNTED: list[str] = []
if HOST["name"] == "colab":
    google, colab, drive = (types.ModuleType(name) for name in ("google", "google.colab", "google.colab.drive"))
    drive.mount, drive.flush_and_unmount = mount, flush_and_unmount
    google.colab, colab.drive = colab, drive
    sys.modules |= {"google": google, "google.colab": colab, "google.colab.drive": drive}
for name in HOST["loaded"]:
    sys.modules[name] = types.ModuleType(name)
namespace = {"__name__": "__main__"}
for cell in sys.argv[1:]:
    exec(compile(cell, "<cell>", "exec"), namespace)
