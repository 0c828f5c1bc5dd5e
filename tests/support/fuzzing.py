"""Requests to the server made of its own document, as no client would write them."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
          "response_headers_conformance", "unsupported_method")  # fmt: skip


@dataclass(frozen=True)
class Fuzzed:
    """What came of it: the exit code, how many requests were made, and what was printed."""

    code: int
    requests: int
    said: str


def fuzz(url: str, folder: Path, examples: int, seed: int, key: str | None = None) -> Fuzzed:
    """Send so many requests to each operation of a server's document, with its key if it has one; check what comes back."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json", "--no-color",
               "--max-examples", str(examples), "--seed", str(seed), "--checks", ",".join(CHECKS),
               *(["--header", f"Authorization: Bearer {key}"] if key else [])]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    counts = re.findall(r"(\d+) generated", done.stdout)
    return Fuzzed(done.returncode, int(counts[-1]) if counts else 0, done.stdout)
