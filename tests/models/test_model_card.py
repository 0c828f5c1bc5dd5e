"""Protects: a card says what the run card says and no path of this machine; the hub is asked on request alone, privately."""

import base64
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kotune.cli import run
from kotune.models.model_card import model_card, push
from utils import ASSETS, CourseError, read_json, read_text

LISTINGS = ASSETS / "listings"


class Hub:
    """A stand-in of the hub on loopback, for nothing may be sent to the real one: it takes a repository and a commit."""

    def __init__(self, private=True, refuses=False):
        hub = self
        self.created, self.sent, self.private, self.refuses = [], {}, private, refuses

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def answer(self, body, status=200):
                told = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def do_GET(self):
                self.answer({"id": "a/b", "private": hub.private, "sha": "0" * 40, "siblings": [], "tags": []})

            def do_POST(self):
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                if hub.refuses:
                    return self.answer({"error": "Invalid credentials"}, 401)
                if self.path.endswith("/repos/create"):
                    hub.created.append(json.loads(sent))
                    return self.answer({"url": f"{hub.address}/a/b"})
                if "/preupload/" in self.path:
                    files = [one["path"] for one in json.loads(sent)["files"]]
                    return self.answer(
                        {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in files]}
                    )
                if "/commit/" in self.path:
                    for line in map(json.loads, sent.splitlines()):
                        if line["key"] == "file":
                            hub.sent[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                    return self.answer({"commitUrl": f"{hub.address}/a/b/commit/0", "commitOid": "0" * 40, "success": True})
                return self.answer({})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hub(monkeypatch):
    """Return a function that starts a hub on loopback and sends huggingface_hub there."""
    started = []

    def start(**settings):
        from huggingface_hub import constants

        started.append(Hub(**settings))
        monkeypatch.setattr(constants, "ENDPOINT", started[-1].address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def adapter(folder):
    shutil.copytree(LISTINGS, folder)
    (folder / "notes of mine.txt").write_text("not for the hub", encoding="utf-8")
    return folder


def test_a_card_says_what_the_run_card_says():
    told, card = model_card(LISTINGS, ["listings: 159 of 200, base 0"]), read_json(LISTINGS / "run.json")
    assert told.startswith("---\nbase_model: google/gemma-3-270m\n")
    for part in (
        "license: gemma",
        "6,116 rows",
        "- listings: 159 of 200, base 0",
        "| lora_r | 16 |",
        card["adapter_sha256"],
    ):
        assert part in told


def test_a_card_names_no_path_of_the_machine(tmp_path):
    assert str(tmp_path) not in model_card(adapter(tmp_path / "보증금 adapter"))


def test_without_results_the_card_says_that_nothing_was_measured():
    assert "Nothing was stated" in model_card(LISTINGS)


def test_an_adapter_on_another_says_so():
    assert "on top of another adapter (SHA-256 `" in model_card(ASSETS / "dpo")


def test_the_command_writes_the_card_beside_the_adapter_and_asks_nobody(tmp_path, hub):
    server, folder = hub(), adapter(tmp_path / "mine")
    assert run(["card", str(folder), "--result", "radiology: 58 of 60, base 0"]) == 0
    assert "- radiology: 58 of 60, base 0" in read_text(folder / "README.md")
    assert not server.created


def test_what_is_pushed_is_private_and_the_adapter_alone(tmp_path, hub, capsys):
    server, folder = hub(), adapter(tmp_path / "mine")
    assert run(["card", str(folder), "--push", "a/b"]) == 0
    assert [one["visibility"] for one in server.created] == ["private"]
    assert set(server.sent) == {"README.md", "run.json", "adapter_config.json", "adapter_model.safetensors"}
    assert server.sent["adapter_model.safetensors"] == (folder / "adapter_model.safetensors").read_bytes()
    assert "pushed, private" in capsys.readouterr().out


def test_a_public_repository_is_sent_nothing(tmp_path, hub):
    server = hub(private=False)
    with pytest.raises(CourseError, match="is public on the hub"):
        push(adapter(tmp_path / "mine"), "a/b")
    assert not server.sent


def test_a_hub_that_refuses_is_one_sentence(tmp_path, hub):
    hub(refuses=True)
    with pytest.raises(CourseError, match="hf auth login"):
        push(adapter(tmp_path / "mine"), "a/b")


@pytest.mark.parametrize("name", ["alone", "a/b/c", "/b", "a/"])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(tmp_path, hub, name):
    server = hub()
    with pytest.raises(CourseError, match="USER/NAME"):
        push(adapter(tmp_path / "mine"), name)
    assert not server.created


def test_a_folder_without_an_adapter_is_one_sentence(tmp_path):
    with pytest.raises(CourseError, match="holds no run"):
        model_card(tmp_path)
