"""Commands that a worker of Ray can import, some of which end their worker."""

import os
import signal
from argparse import Namespace
from pathlib import Path

from kotune.shards import Shard
from utils import CourseError, write_jsonl


def write(chosen: Namespace, shard: Shard) -> list[Path]:
    """Write a line, and say so; where a file DEADLY is there, take it away and die as a lost machine does."""
    folder = Path(chosen.folder)
    deadly = folder / f"deadly-{shard.number}"
    if deadly.exists():
        deadly.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (folder / f"refused-{shard.number}").exists():
        raise CourseError(f"{shard} is refused; name another.")
    print(f"written by {shard}, {os.environ['RAY_USAGE_STATS_ENABLED']}")
    return [write_jsonl(shard.file(folder / "한글.jsonl"), [{"shard": str(shard)}])]
