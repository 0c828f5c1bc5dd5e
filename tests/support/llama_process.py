"""llama.cpp's server in a process of its own, with several slots, which a test may kill and start again at the same port.

`kotune.serving.llama_server` is the product's, with one slot and its own settings; this one is what a user may have running.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from tests.support.serving import ROOT, free_port

LISTENS = "The server listens."
MODEL = "tiny"
CONTEXT = 4096  # tokens of a slot


class LlamaProcess:
    """A GGUF file behind llama.cpp's server; its log is kept in a file, over all its starts."""

    def __init__(self, file: Path, log: Path, key: str, slots: int = 2):
        self.port, self.key, self.log = free_port(), key, log
        self.settings = {"file": str(file), "port": self.port, "key": key, "slots": slots}
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.process = None
        self.endless = False

    def start(self, endless: bool = False) -> None:
        """Start it; `endless` replies go on until they are cut."""
        before = len(self.said)
        self.endless = endless
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.llama_process", json.dumps({**self.settings, "endless": endless})],
                cwd=ROOT, env={**os.environ, "LLAMA_SERVER_SLOTS_DEBUG": "1"}, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        while LISTENS not in self.said[before:]:
            assert self.process.poll() is None, self.said[before:]
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def slots(self) -> list[dict]:
        """Return what it says of its slots: whether each is at work, and the last prompt and settings there."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/slots", headers={"Authorization": f"Bearer {self.key}"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def busy(self) -> int:
        """Return how many replies it is writing."""
        return sum(slot["is_processing"] for slot in self.slots())

    def last(self) -> dict:
        """Return the slot of its latest request."""
        return max(self.slots(), key=lambda slot: slot.get("id_task", -1))


def main(arguments: list[str]) -> None:
    """Serve a GGUF file until the process is ended."""
    import xllamacpp

    wanted = json.loads(arguments[0])
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = wanted["file"], {MODEL}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], wanted["port"], [wanted["key"]]
    params.n_parallel, params.n_ctx = wanted["slots"], CONTEXT * wanted["slots"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib, params.ui, params.endpoint_slots, params.warmup = 0, False, True, False
    params.sampling.ignore_eos = wanted["endless"]
    server = xllamacpp.Server(params)  # returns when the model is loaded
    os.write(1, f"\n{LISTENS}\n".encode())
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main(sys.argv[1:])
