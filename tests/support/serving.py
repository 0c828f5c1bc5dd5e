"""What the tests of serving share: a tiny model on disk, a backend that says what it is told to, servers in processes."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kotune.models.adapters import adapter_hash
from kotune.models.files import CACHE_VERSION, mark_complete
from kotune.recipes import LOCAL_GEMMA

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MODELS = ("tiny", "tiny-sft")
STARTS_S = 900  # no server takes as long on however slow a machine
KEY = "a-key-of-the-tests-0123456789"


def save_tiny_model(model, tokenizer, folder: Path) -> tuple[Path, Path]:
    """Save a model, and an adapter that changes what it says; return the folders of both."""
    base = folder / MODELS[0]
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    return base, save_tiny_adapter(model, folder / "sft", str(base), seed=1)


def save_tiny_adapter(model, folder: Path, base: str, seed: int) -> Path:
    """Save an adapter with weights of its own for a model that lies at `base`; return its folder."""
    import torch
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    adapted.unload()
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    return folder


def save_tiny_course(model, tokenizer, folder: Path) -> dict[str, str]:
    """Save a model in the place of the course's, adapters of it where a learner's own lie; return the settings for both."""
    base = folder / "cache" / f"gemma-3-270m-bf16-v{CACHE_VERSION}"
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    mark_complete(base)
    for seed, name in enumerate(("sft", "listings", "radiology"), start=1):
        adapter = save_tiny_adapter(model, folder / "outputs" / name, LOCAL_GEMMA, seed)
        (adapter / "run.json").write_text(json.dumps({"base": LOCAL_GEMMA, "adapter_sha256": adapter_hash(adapter)}))
    return {"COURSE_CACHE": str(folder / "cache"), "COURSE_OUTPUTS": str(folder / "outputs")}


class Script:
    """What the stand-in backend does with a request: pieces of text, a pause before each, and how it ends.

    For what a real server does not do when it is told to; what it does, `test_real_backend.py` has from llama.cpp.
    """

    def __init__(self, pieces=("확정", "일자는 ", "주민센터에서 ", "받습니다."), pause=0.0, ends="stop"):
        self.pieces, self.pause, self.ends = pieces, pause, ends  # ends: a reason, "break", or an HTTP status


class StandIn:
    """An OpenAI-compatible server on loopback that streams a script and counts who is being answered."""

    def __init__(self):
        self.script, self.requests, self.open = Script(), [], 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._say(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append({**body, "path": self.path, "authorization": self.headers.get("Authorization")})
                script = outer.script
                if isinstance(script.ends, int):
                    self._say(script.ends, {"error": {"message": f"no: {self.headers.get('Authorization')}"}})
                    return
                outer.open += 1
                try:
                    self._stream(body, script)
                except OSError:
                    self.close_connection = True
                finally:
                    outer.open -= 1

            def _stream(self, body, script):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                chat = self.path.endswith("/chat/completions")
                for piece in script.pieces:
                    time.sleep(script.pause)
                    self._event({"delta": {"content": piece}} if chat else {"text": piece}, None)
                self.close_connection = True
                if script.ends == "break":
                    return
                self._event({"delta": {}} if chat else {"text": ""}, script.ends)
                usage = {"prompt_tokens": 7, "completion_tokens": len(script.pieces), "total_tokens": 7 + len(script.pieces)}
                self._line({"choices": [], "usage": usage})
                self.wfile.write(b"data: [DONE]\n\n")

            def _event(self, choice, finish):
                self._line({"choices": [{"index": 0, "finish_reason": finish, **choice}]})

            def _line(self, event):
                self.wfile.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())
                self.wfile.flush()

            def _say(self, status, reply):
                payload = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.send_header("Connection", "close")  # a link kept open would outlive a server that is closed
                self.end_headers()
                self.wfile.write(payload)
                self.close_connection = True

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(happened, seconds=300):
    """Return whether something happens within some seconds; it is looked at again and again."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if happened():
            return True
        time.sleep(0.02)
    return False


def environment(**changes) -> dict:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "COURSE_RECIPE": "gemma-3-270m-cpu", **changes}


class ServerProcess:
    """`kotune serve`, or a stand-in for it, in a process of its own; its log is kept in a file."""

    def __init__(self, log: Path, *arguments, program: Sequence[str] = ("kotune", "serve"), **settings):
        self.port, self.log = free_port(), log
        self.url = f"http://127.0.0.1:{self.port}"
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program, "--port", str(self.port), *map(str, arguments)],
                cwd=ROOT, env=environment(**settings), stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        ends = time.monotonic() + STARTS_S
        while time.monotonic() < ends:
            if "The page:" in self.said:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.close()
        raise AssertionError(f"the server did not start:\n{self.said}")

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def taken(self) -> int:
        with urllib.request.urlopen(f"{self.url}/health", timeout=300) as reply:
            return json.load(reply)["taken"]

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        self.process.kill()
        self.process.wait()


def refused(*arguments, **settings) -> str:
    """Run serve.py with settings that it must refuse, and return the one sentence that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "kotune", "serve", *map(str, arguments)],
        cwd=ROOT, env=environment(**settings), capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "Traceback" not in done.stderr, done.stderr
    return re.sub(r"^error: ", "", last)
