"""`kotune serve` with an engine that it starts itself: a stand-in for the command `vllm`, on the path."""

import os
import sys
from pathlib import Path

from kotune import cli
from kotune.models.sources import ModelSource
from kotune.serving import app, backends
from tests.support.serving import MODELS, free_port


def start(asked):
    """Start the engine as the command does on a GPU; its log lies beside the votes."""
    found = [ModelSource(MODELS[0], "base", ())]
    log = Path(os.environ["ENGINE_LOG"])
    backend = backends.VllmBackend(found, "base", None, port=free_port(), max_context=512, log=log)
    print(f"engine: {backend.process.pid}", flush=True)
    return backend, {}


if __name__ == "__main__":
    app.start_backend = start
    cli.main(["serve", *sys.argv[1:]])
