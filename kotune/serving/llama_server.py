"""The program around llama.cpp's server; `kotune.serving.llm` starts it in a process of its own, and ends it.

    python -m kotune.serving.llama_server '{"file": "model.gguf", "name": "mine", "port": 8080, ...}'

llama.cpp ends its process where it meets a fault, which a command in the same process could not put into a sentence.
"""

from __future__ import annotations

import json
import os
import sys
import threading

HOST = "127.0.0.1"
LISTENS = "The server listens at "  # before its address, on a line of the log


def main(arguments: list[str]) -> None:
    """Serve a GGUF file until the process is ended."""
    import xllamacpp

    wanted = json.loads(arguments[0])
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = wanted["file"], {wanted["name"]}
    params.hostnames, params.port = [HOST], wanted["port"]
    params.n_ctx, params.n_parallel = wanted["context"], 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = wanted["threads"]
    params.cache_ram_mib = 0  # conversations that ended are kept in up to 8 GiB otherwise
    params.cors_origins = ""  # no page of another site reads replies
    params.ui = params.endpoint_slots = False
    if wanted["temperature"] is not None:
        params.sampling.temp = wanted["temperature"]
    if wanted["seed"] is not None:
        params.sampling.seed = wanted["seed"]
    server = xllamacpp.Server(params)  # returns when the model is loaded
    # in one write and on a line of its own, whatever llama.cpp's threads are writing meanwhile
    os.write(1, f"\n{LISTENS}{server.listening_address}\n".encode())
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
