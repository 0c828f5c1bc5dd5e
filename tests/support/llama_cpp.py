"""llama.cpp in this process, asked over its own interface on loopback."""

import json
import socket
import urllib.request
from pathlib import Path


class LlamaCpp:
    """A GGUF file loaded into llama.cpp: what it tokenises, renders, computes and answers."""

    def __init__(self, file: Path, context: int = 256):
        import xllamacpp

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel = str(file), context, 1
        params.port, params.n_gpu_layers, params.warmup, params.verbosity = port, 0, False, -1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
        self.server = xllamacpp.Server(params)
        self.address = self.server.listening_address

    def ask(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(
            f"{self.address}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            return json.load(response)

    def tokens(self, text: str, first: bool = False) -> list[int]:
        """Return a text's token ids, special tokens read as such; `first` adds the first token where the file says so."""
        return self.ask("/tokenize", {"content": text, "add_special": first, "parse_special": True})["tokens"]

    def rendered(self, messages) -> str:
        """Return the prompt that the file's own template makes of messages."""
        return self.ask("/apply-template", {"messages": messages})["prompt"]

    def log_probabilities(self, ids: list[int], size: int) -> list[float]:
        """Return the next token's log probability for each token of the vocabulary."""
        said = self.ask("/completion", {
            "prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": size, "ignore_eos": False, "cache_prompt": False,
        })  # fmt: skip
        found = {one["id"]: one["logprob"] for one in said["completion_probabilities"][0]["top_logprobs"]}
        return [found[number] for number in range(size)]

    def next_token(self, ids: list[int]) -> int:
        """Return the likeliest next token."""
        return self.ask("/completion", {"prompt": ids, "n_predict": 1, "temperature": 0, "return_tokens": True})["tokens"][0]

    def reply(self, messages, tokens: int) -> tuple[list[int], str]:
        """Return the greedy reply to a conversation as token ids, and why it ended."""
        said = self.ask("/completion", {
            "prompt": self.rendered(messages), "n_predict": tokens, "temperature": 0, "return_tokens": True,
            "repeat_penalty": 1.0, "cache_prompt": False,
        })  # fmt: skip
        return said["tokens"], said["stop_type"]
