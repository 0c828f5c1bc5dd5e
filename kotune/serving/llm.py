"""The command `kotune llm`: a real instruct model on this machine, for teacher and judge, behind OpenAI's interface.

    kotune llm                                   # the packaged model: joined, checked, served
    kotune llm --gguf outputs/merged-q8_0.gguf   # any other

llama.cpp (the wheel `xllamacpp`) serves on loopback, in a process that ends with this one however it ends.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from kotune.models.gguf_header import GgufHeader, read_header
from kotune.models.packaged_gguf import INSTALL_ALL, QWEN_CODER, gigabytes, packaged_gguf
from kotune.serving.child import Child
from kotune.serving.llama_server import HOST, LISTENS
from utils import OUTPUTS, CourseError, relative

PORT = 8080
CONTEXT = 8192  # tokens; what the course asks takes 4,000 at most, with the longest reply
LOG = OUTPUTS / "llm" / "server.log"
LOOK_S = 0.1  # between two looks at the server
# how llama.cpp's log says why it gave up: the time, E for an error, who says it
REASON = re.compile(r"^[\d.]+ E (?:\w+ +)?(?:\w+: )?(?:error loading model: )?(?P<said>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class LlamaSettings:
    """What a server is to hold, and how it answers where a request says nothing else.

    port: 0 for any that is free. temperature, seed: llama.cpp's own (0.8, and another seed each time) where None.
    """

    file: str
    name: str
    port: int = PORT
    context: int = CONTEXT
    threads: int = 1
    temperature: float | None = None
    seed: int | None = None


class RunningServer:
    """A server that answers at `base_url`."""

    def __init__(self, address: str, child: Child, log: Path):
        """Take the server's address, its process and its log."""
        self.base_url = f"{address}/v1"
        self._child, self._log = child, log

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._child.pid

    def wait(self) -> None:
        """Wait until the server ends.

        Raises:
            CourseError: it did, and not because this process ended it.
        """
        while self._child.running:
            time.sleep(LOOK_S)
        raise CourseError(
            f"The model's server ended in the middle ({_how(self._child.exit_code)}); {relative(self._log)} says why. What "
            "is in a journal stays: start kotune llm again, and run again what was asking it."
        )


@contextmanager
def running(settings: LlamaSettings, log: Path = LOG) -> Iterator[RunningServer]:
    """Lend a server that answers; it has ended when the block does, and ends with this process in any case.

    Raises:
        CourseError: llama.cpp is not installed, the port is taken, memory is short, or the file cannot be loaded.
    """
    require_llama_cpp()
    require_memory(read_header(settings.file), settings)
    require_free(settings.port)
    program = [sys.executable, "-m", "kotune.serving.llama_server", json.dumps(asdict(settings))]
    child = Child(program, log, os.environ)
    try:
        yield RunningServer(_address(child, settings, log), child, log)
    finally:
        child.end()


def _address(child: Child, settings: LlamaSettings, log: Path) -> str:
    """Return where the server listens, once it does."""
    while True:
        ended = not child.running  # before the log is read: what it wrote last is in there
        said = log.read_text(encoding="utf-8", errors="replace")
        for line in said.splitlines():
            if line.startswith(LISTENS):
                return line.removeprefix(LISTENS)
        if ended:
            reasons = REASON.findall(said)
            why = reasons[0].strip().rstrip(".") if reasons else _how(child.exit_code)
            raise CourseError(
                f"llama.cpp cannot serve {relative(settings.file)} ({why}); {relative(log)} says more: check the file, or "
                "name another."
            )
        time.sleep(LOOK_S)


def _how(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"exit code {code}"


# --- what is checked before ------------------------------------------------------------------


def require_llama_cpp() -> None:
    """Raise a CourseError if llama.cpp is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise CourseError(f"llama.cpp is not installed (the package xllamacpp); run {INSTALL_ALL}.")


def require_memory(header: GgufHeader, settings: LlamaSettings) -> None:
    """Raise a CourseError if a model needs more memory than is free."""
    import psutil

    needed, free = header.memory_bytes(settings.context), psutil.virtual_memory().available
    if free < needed:
        raise CourseError(
            f"{relative(settings.file)} needs {gigabytes(needed)} of memory with a context of {settings.context:,} tokens, "
            f"and {gigabytes(free)} are free; close other programs, or choose a shorter --context."
        )


def require_free(port: int) -> None:
    """Raise a CourseError if another program listens at a port of loopback."""
    with socket.socket() as probe:
        if os.name == "posix":  # on Windows this would let two programs listen at one port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CourseError(
                f"The server cannot listen on {HOST}:{port} ({reason}); choose another --port, or end the program there."
            ) from None


# --- the command -----------------------------------------------------------------------------


def llm_command(chosen: argparse.Namespace) -> None:
    """Find or join the model's file, serve it, and say how the course is told of it; returns only by an error."""
    for option in ("context", "threads"):
        if (given := getattr(chosen, option)) is not None and given < 1:
            raise CourseError(f"--{option} is {given}; give a number of at least 1.")
    require_llama_cpp()
    require_free(chosen.port)
    if chosen.gguf:
        file, name = Path(chosen.gguf), Path(chosen.gguf).stem
        header = read_header(file)
        print(f"{relative(file)}: {header.name or name}, {gigabytes(header.size)}, licence: {header.licence or 'not said'}")
    else:
        print(f"{QWEN_CODER.told}. Nothing is downloaded.", flush=True)
        file, name = packaged_gguf(say=_say), QWEN_CODER.model
        header = read_header(file)
    settings = LlamaSettings(str(file), name, chosen.port, _context(chosen.context, header), chosen.threads or _cores())
    print("Loading it ...", flush=True)
    with running(settings) as server:
        print(f"It answers at {server.base_url} until Ctrl-C ends it; its log: {relative(LOG)}.")
        print(f"{_where_lines_go()}\n")
        print("\n".join(environment_lines(server.base_url, name)))
        print("\nRequests are answered one after another; where many wait, TEACHER_TIMEOUT=7200 lets them.", flush=True)
        server.wait()


def _context(asked: int | None, header: GgufHeader) -> int:
    """Return the tokens of prompt and reply together: as asked, else what the course needs and the model knows.

    Raises:
        CourseError: the model was not trained for so many.
    """
    if asked and header.longest and asked > header.longest:
        raise CourseError(f"--context is {asked:,} and the model was trained for {header.longest:,} tokens; choose fewer.")
    return asked or min(CONTEXT, header.longest or CONTEXT)


def environment_lines(base_url: str, name: str) -> list[str]:
    """Return the two lines that make a server the course's teacher and judge, as this system's shell takes them."""
    values = {"OPENAI_BASE_URL": base_url, "TEACHER_MODEL": name}
    if os.name == "nt":
        return [f"set {key}={value}" for key, value in values.items()]
    return [f"export {key}={shlex.quote(value)}" for key, value in values.items()]


def _where_lines_go() -> str:
    """Return where the two lines go: `.env` knows `export`, as POSIX's shells do, and no `set`."""
    if os.name == "nt":
        return "In another command prompt, or without `set` as lines of .env:"
    return "In another terminal, or as lines of .env:"


def _say(step: str) -> None:
    print(step, flush=True)


def _cores() -> int:
    """Return the CPU's cores: threads that share one would wait for each other."""
    import psutil

    return psutil.cpu_count(logical=False) or os.cpu_count() or 1
