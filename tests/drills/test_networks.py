"""Protects: without a network, behind a wall, a proxy that refuses, or before an endpoint that never ends, a command does.

What could not be asked is one sentence, is paid for once, and is asked as soon as somebody answers.
"""

import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.drills.drill import FULL, SIZE, drill, some
from tests.drills.writers import WITH_MODEL, WITHOUT_MODEL, clear, contents, names
from tests.support.endpoint import Endpoint, chat_completion

ASKED = 3
LONG_S = SIZE.stall_s + 900  # for who waits until an endpoint that stalls has answered
IMPATIENT = [] if SIZE is FULL else [["tests.support.troubles:be_impatient"]]
NOWHERE = "http://teacher.invalid/v1"


def body_of(question: str) -> bytes:
    return json.dumps(chat_completion(question)).encode()


# --- how an endpoint may be slow; each writes to the wire -----------------------------------


def head(handler, length: int) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length)
    handler.wfile.flush()


def drops(handler, parts, pause: float) -> None:
    """Write one part after another until the reader has gone."""
    try:
        for part in parts:
            handler.wfile.write(part)
            handler.wfile.flush()
            time.sleep(pause)
    except OSError:
        handler.close_connection = True


def until_gone(handler) -> None:
    """Say no more until the reader has gone: on a machine that is slow it may go late, and must not be answered before."""
    with suppress(OSError):
        while handler.connection.recv(4096):
            pass
    handler.close_connection = True


def says_nothing(handler, whole: bytes) -> None:
    until_gone(handler)


def is_late(handler, whole: bytes) -> None:
    time.sleep(SIZE.stall_s)
    head(handler, len(whole))
    handler.wfile.write(whole)


def stops_after_its_head(handler, whole: bytes) -> None:
    head(handler, len(whole))
    until_gone(handler)


def stops_in_the_middle(handler, whole: bytes) -> None:
    head(handler, len(whole))
    handler.wfile.write(whole[: len(whole) // 2])
    handler.wfile.flush()
    until_gone(handler)


def trickles_its_reply(handler, whole: bytes) -> None:
    head(handler, 10**6)
    drops(handler, (b" " for _ in range(10**6)), SIZE.stall_s / 40)


def trickles_its_head(handler, whole: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    drops(handler, (b"X-Wait: %d\r\n" % number for number in range(10**6)), SIZE.stall_s / 40)


def sends_spaces_first(handler, whole: bytes) -> None:
    """Some providers do, so that nothing on the way takes the connection for a dead one."""
    spaces = 20
    head(handler, len(whole) + spaces)
    drops(handler, [b" "] * spaces + [whole], SIZE.stall_s / spaces)


# kind of endpoint -> how it writes, the patience of who asks, whether an answer comes within it
SLOW = {
    "stalls": (says_nothing, SIZE.patience_s, False),
    "stalls after its head": (stops_after_its_head, SIZE.patience_s, False),
    "stalls in the middle of a reply": (stops_in_the_middle, SIZE.patience_s, False),
    "trickles": (trickles_its_reply, SIZE.patience_s, False),
    "trickles its head": (trickles_its_head, SIZE.patience_s, False),
    "stalls, and is waited for": (is_late, LONG_S, True),
    "sends spaces before its reply": (sends_spaces_first, LONG_S, True),
}


def ask(bench, journal, **settings):
    return bench.nursery.start(journal, ASKED, ASKED, call="tests.support.deeds:ask", **{**bench.settings, **settings})


def goes_on(tally, bench, journal, kind):
    """Ask again where somebody answers; nothing may be missing then."""
    ended = ask(bench, journal).wait()
    held = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    if ended.code != 0 or len({json.loads(line)["text"] for line in held}) != ASKED:
        tally.lost.append(f"{kind}: not all was asked once there was a network: {ended}")


def test_endpoints_that_stall_and_trickle(bench, tmp_path):
    servers = {
        kind: Endpoint(lambda body, write=write: lambda handler: write(handler, body_of(body["messages"][-1]["content"])))
        for kind, (write, _, _) in SLOW.items()
    }
    with drill("endpoints that stall and trickle") as tally:
        journals = {kind: clear(tmp_path / kind) / "journal.jsonl" for kind in SLOW}
        commands = {
            kind: ask(bench, journals[kind], OPENAI_BASE_URL=servers[kind].url, TEACHER_TIMEOUT=patience)
            for kind, (_, patience, _) in SLOW.items()
        }
        for kind, (_, patience, is_answered) in SLOW.items():
            ended = commands[kind].wait(patience + 900)
            tally.tried += ASKED
            if not ended.is_plain or (ended.code == 0) != is_answered:
                tally.crashed.append(f"{kind}: {ended}")
            if len(servers[kind].requests) > ASKED:
                tally.lost.append(f"{kind}: {len(servers[kind].requests)} requests were paid for where {ASKED} were wanted")
            goes_on(tally, bench, journals[kind], kind)
    for server in servers.values():
        server.server.shutdown()
        server.server.server_close()


# --- no way out ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["all", "dns only"])
def test_no_network(kind, bench, tmp_path):
    teachers = {
        "a server": {"OPENAI_BASE_URL": NOWHERE},
        "a server with TLS": {"OPENAI_BASE_URL": NOWHERE.replace("http:", "https:")},
        "OpenAI": {"OPENAI_BASE_URL": "", "OPENAI_API_KEY": "sk-of-nobody", "TEACHER_MODEL": "gpt-4o-mini"},
    }
    with drill(f"no network: {kind}") as tally:
        cut = {"troubles": [["tests.support.troubles:cut_network", kind], *IMPATIENT], "TEACHER_TIMEOUT": SIZE.patience_s}
        journals = {name: clear(tmp_path / name) / "journal.jsonl" for name in teachers}
        commands = {name: ask(bench, journals[name], **settings, **cut) for name, settings in teachers.items()}
        for name, command in commands.items():
            ended = command.wait()
            tally.tried += ASKED
            if not ended.is_plain or ended.code == 0:
                tally.crashed.append(f"{name}: {ended}")
            if name != "OpenAI":  # whose model is another than that of the endpoint here
                goes_on(tally, bench, journals[name], name)
        for writer in some(WITHOUT_MODEL, len(kind)):  # what asks nobody beyond this machine goes on as ever
            ended = bench.run(writer, out := clear(tmp_path / writer.name), **cut)
            tally.tried += 1
            if not bench.went_well(writer, ended, out):
                tally.lost.append(f"{writer.name} needs a network: {ended}")


def test_models_on_this_machine_need_no_network(model_bench, tmp_path):
    """Libraries that are not told to stay offline look for files on the hub, as on a learner's machine."""
    writers = some(WITH_MODEL, 1)
    with drill(f"no network: {names(writers)}") as tally:
        cut = [["tests.support.troubles:cut_network", "all"], ["tests.support.troubles:go_online"]]
        for writer in writers:
            ended = model_bench.run(writer, out := clear(tmp_path / writer.name), troubles=cut)
            tally.tried += 1
            if not model_bench.went_well(writer, ended, out):
                tally.lost.append(f"{writer.name} needs a network: {ended}")


@pytest.mark.skipif(SIZE is not FULL, reason="the hub's client tries for long before it gives up")
@pytest.mark.parametrize("kind", ["all", "dns only"])
def test_a_model_of_the_hub_without_a_network(kind, model_bench):
    with drill(f"no network: a model of the hub, {kind}") as tally:
        cut = [["tests.support.troubles:cut_network", kind], ["tests.support.troubles:go_online"]]
        for command in (
            ["infer", "--prompt", "전세란?", "--model_path", "nobody/nothing"],
            ["infer", "--prompt", "전세란?", "--model_path", "nothing"],
            ["merge", "--model_path", "nobody/nothing"],
            ["sft", "--train_dataset", model_bench.given / "train.jsonl", "--model_path", "nobody/nothing"],
        ):
            ended = model_bench.nursery.run(*command, troubles=cut)
            tally.tried += 1
            if not ended.is_plain or ended.code == 0:
                tally.crashed.append(f"{' '.join(map(str, command))}: {ended}")


# --- a proxy ---------------------------------------------------------------------------------


@contextmanager
def proxy(status: int | None):
    """Lend a proxy that refuses with a status, or closes each connection without a word, and the requests that it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def refuse(self):
            got.append(self.path)
            if status is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            page = "<html><body>이 사이트는 차단되었습니다.</body></html>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Proxy-Authenticate", 'Basic realm="company"')
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_CONNECT = do_POST = do_GET = refuse

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


def test_a_proxy_that_refuses(bench, tmp_path):
    with drill("a proxy that refuses") as tally, ExitStack() as proxies:
        asking = {}
        for status in (403, 407, 502, None):
            for scheme in ("http", "https"):
                address, got = proxies.enter_context(proxy(status))
                names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
                asking[f"{status} to {scheme}"] = got, ask(
                    bench, clear(tmp_path / f"{status}{scheme}") / "journal.jsonl", NO_PROXY="", no_proxy="",
                    OPENAI_BASE_URL=NOWHERE.replace("http:", f"{scheme}:"), TEACHER_TIMEOUT=LONG_S,
                    troubles=[["tests.support.troubles:cut_network", "all"], *IMPATIENT], **dict.fromkeys(names, address),
                )  # fmt: skip
        for kind, (got, command) in asking.items():
            ended = command.wait()
            tally.tried += ASKED
            if not ended.is_plain or ended.code == 0 or not got:
                tally.crashed.append(f"{kind}, {len(got)} requests: {ended}")
        for writer in WITHOUT_MODEL:  # an endpoint on this machine is asked directly
            if writer.name == "teacher":
                ended = bench.run(writer, out := clear(tmp_path / "local"), HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="")
                tally.tried += ASKED
                if not bench.went_well(writer, ended, out):
                    tally.lost.append(f"a proxy is asked for what is on this machine: {ended}, {contents(out)}")
