"""A side of a benchmark in a process of its own, so that its peak memory and its caches are its alone."""

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

import psutil

from kotune.training.runs import process_peak_gib
from utils import ROOT

RESULT = "result: "
QUIET = {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}


def peak_gib() -> float:
    """Return the peak memory of this process in GiB."""
    return round(process_peak_gib(), 2)


def hand_over(figures: dict) -> None:
    """Print a side's figures for `measured`."""
    print(RESULT + json.dumps(figures))


def measured(script: str, side: str, environment: dict[str, str] | None = None) -> dict:
    """Run `script --side side` in a process of its own; print and return what it hands over."""
    command = [sys.executable, script, "--side", side]
    variables = {**os.environ, **QUIET, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    found = [line for line in done.stdout.splitlines() if line.startswith(RESULT)]
    if not found:
        sys.exit(f"{side} failed:\n{done.stdout}{done.stderr}")
    print(f"{side}: {found[0].removeprefix(RESULT)}", flush=True)
    return json.loads(found[0].removeprefix(RESULT))


def peak_gib_of(command: Sequence[str]) -> float:
    """Run a command in the repository; return the most memory that it held, in GiB.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            held = process.memory_info()
            peak = max(peak, held.rss, getattr(held, "peak_wset", 0))
        time.sleep(0.01)  # what is held for a shorter time escapes, outside Windows
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak / 2**30


def about(packages: Sequence[str] = ()) -> dict:
    """Return date, machine and versions of packages of a measurement."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in packages},
    }
