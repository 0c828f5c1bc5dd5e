"""The shards of a command as tasks of Ray, on this machine or on a cluster: retried when a worker dies, and resumed.

Ray is an extra (`pip install -e .[ray]`). What is started here listens on 127.0.0.1 alone, reports nothing to anybody, has
no dashboard, and leaves nothing behind but the token that Ray asks of its workers (~/.ray/auth_token). A cluster's machines
have to see the same folder, because a shard is a file.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kotune.progress import bar
from kotune.shards import Shard, whole_file
from utils import CourseError, error_sentence, machine_error, relative

Run = Callable[[Namespace, Shard | None], list[Path]]
RETRIES = 3  # of a shard whose worker died; each goes on where the file ends
STARTS = 3  # of Ray on this machine: it gives itself half a minute, which a busy machine may miss
LONGEST_FOLDER = 40  # bytes: a socket's name has 107 at most, and Ray adds 66 to the folder's
OBJECT_STORE_BYTES = 100 * 2**20  # tasks hand over sentences; a third of the memory is what Ray would take


@dataclass(frozen=True)
class Resources:
    """Where tasks run, and what each of them takes."""

    address: str | None = None  # of a cluster; None starts Ray on this machine
    cpus: float = 1
    gpus: float = 0

    def require_sound(self) -> None:
        """Raise a CourseError for what no task can take."""
        for name, value, least in (("cpus", self.cpus, 0), ("gpus", self.gpus, 0)):
            if not least <= value < float("inf"):
                raise CourseError(f"--ray-{name} is {value}; pass 0 or more.")


@dataclass(frozen=True)
class ShardOutcome:
    """What came of one shard: its files, what it printed, and why it did not end where it did not."""

    files: list[Path]
    said: str
    problem: str | None = None


def run_shards(run: Run, chosen: Namespace, count: int, resources: Resources | None = None) -> list[list[Path]]:
    """Run a command's shards as tasks of Ray; return their files, in a list for each file that they are parts of.

    run: a function that a worker can import; it gets the options of the command line and the shard.

    Raises:
        CourseError: Ray is not installed or does not start, or shards failed; the others have ended, and their files stay.
    """
    resources = resources or Resources()
    resources.require_sound()
    if count < 1:
        raise CourseError(f"--ray is {count}; pass the number of shards, 1 or more.")
    ray = _import_ray()
    shards = [Shard(number, count) for number in range(1, count + 1)]
    with _cluster(ray, resources):
        task = ray.remote(_run_shard).options(
            num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=RETRIES, retry_exceptions=False
        )
        waiting = [(task.remote(run, chosen, shard, os.getcwd()), shard) for shard in shards]
        outcomes = dict(_outcomes(ray, waiting))
    problems = {shard: outcome.problem for shard, outcome in outcomes.items() if outcome.problem}
    if problems:
        first = min(problems, key=lambda shard: shard.number)
        more = f" ({len(problems) - 1} more of {count} shards failed)" if len(problems) > 1 else ""
        raise CourseError(f"Shard {first}: {problems[first]}{more}")
    return _by_whole([outcomes[shard] for shard in shards])


def _outcomes(ray: Any, waiting: list[tuple[Any, Shard]]) -> Iterator[tuple[Shard, ShardOutcome]]:
    """Yield what comes of each shard, as soon as it has ended."""
    with bar(len(waiting), "shards on Ray", "shard") as shown:
        while waiting:
            [ended], _ = ray.wait([task for task, _ in waiting], num_returns=1)
            shard = next(shard for task, shard in waiting if task == ended)
            waiting.remove((ended, shard))
            outcome = _outcome(ray, ended)
            for line in outcome.said.splitlines():
                print(f"[shard {shard}] {line}")
            shown.update(1)
            yield shard, outcome


def _outcome(ray: Any, ended: Any) -> ShardOutcome:
    try:
        return ray.get(ended)
    except ray.exceptions.RayTaskError as error:  # a fault of the course, with its traceback
        raise error.as_instanceof_cause() from None
    except ray.exceptions.OutOfMemoryError:
        lack = "its worker took more memory than its machine has; pass more shards, or fewer at once (--ray-cpus)."
        return ShardOutcome([], "", lack)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        again = f"it was tried {RETRIES + 1} times; run the same again, and it goes on where it was."
        return ShardOutcome([], "", f"its worker died ({reason}), and {again}")


def _run_shard(run: Run, chosen: Namespace, shard: Shard, folder: str) -> ShardOutcome:
    """Run one shard in a worker, in the folder of whoever asked."""
    said = io.StringIO()
    try:
        os.chdir(folder)  # on another machine it has to be the same shared folder
        with redirect_stdout(said):
            files = run(chosen, shard)
    except CourseError as error:
        return ShardOutcome([], said.getvalue(), str(error))
    except Exception as error:
        known = machine_error(error)
        if known is None:
            raise
        reason = error_sentence(known) if isinstance(known, OSError) else "its machine has too little memory for it."
        return ShardOutcome([], said.getvalue(), reason)
    return ShardOutcome([path.absolute() for path in files], said.getvalue())


def _by_whole(outcomes: list[ShardOutcome]) -> list[list[Path]]:
    groups: dict[Path, list[Path]] = {}
    for outcome in outcomes:
        for file in outcome.files:
            if not file.exists():
                raise CourseError(
                    f"{relative(file)} was written by a worker and is not on this machine; the machines of a cluster have "
                    "to see one folder: run this in it."
                )
            groups.setdefault(whole_file(file), []).append(file)
    return [*groups.values()]


# --- Ray itself ------------------------------------------------------------------------------


def _import_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray would report each start to its makers otherwise
    try:
        import ray
    except ImportError:
        raise CourseError(
            "--ray needs the package ray; run `pip install -e .[ray]`, or run each --shard yourself."
        ) from None
    return ray


@contextmanager
def _cluster(ray: Any, resources: Resources) -> Iterator[None]:
    """Connect to the cluster, or start Ray here and take every trace of it away again."""
    folder = None
    try:
        if resources.address is not None:
            _start(ray, address=resources.address, log_to_driver=False)
        else:
            folder = _short_folder()
            if folder is not None:  # a start that failed has processes that end, and write their logs, when this one does
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")  # half a minute is short for a busy machine
            _start(
                ray, include_dashboard=False, log_to_driver=False, object_store_memory=OBJECT_STORE_BYTES,
                num_cpus=_cores(resources), _node_ip_address="127.0.0.1", _temp_dir=folder,
            )  # fmt: skip
        yield
    finally:
        with suppress(Exception):
            ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _cores(resources: Resources) -> int:
    """Return the cores that Ray may hand out: those of this machine, or those of one task where it asks for more."""
    return max(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, int(resources.cpus)
    )


def _start(ray: Any, **options: Any) -> None:
    """Start Ray or connect to it.

    Raises:
        CourseError: it does not answer.
    """
    if ray.is_initialized():  # a notebook's own, perhaps
        raise CourseError("Ray runs in this process already; call ray.shutdown() first.")
    for left in reversed(range(STARTS)):
        try:
            ray.init(logging_level=logging.ERROR, **options)
            return
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()
            if left == 0 or "address" in options:
                reason = " ".join(str(error).split())[:200]
                where = f"at {options['address']} " if "address" in options else ""
                raise CourseError(
                    f"Ray {where}does not answer ({reason}); look after the cluster or the load of this machine, or run "
                    "each --shard yourself."
                ) from None


def _short_folder() -> str | None:
    """Return a new folder for Ray's sockets, whose names must be short; None where there are no such sockets (Windows).

    Raises:
        CourseError: no folder for temporary files has a name that is short enough.
    """
    if sys.platform == "win32":
        return None
    for parent in (os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), "/tmp"):
        if parent and _is_short(parent) and os.access(parent, os.W_OK):
            return tempfile.mkdtemp(prefix="ray-", dir=parent)
    raise CourseError(
        f"Ray needs a folder for temporary files whose name has at most {LONGEST_FOLDER - 13} letters, all of them ASCII; "
        "set RAY_TMPDIR to one."
    )


def _is_short(parent: str) -> bool:
    return parent.isascii() and len(f"{parent}/ray-12345678") <= LONGEST_FOLDER
