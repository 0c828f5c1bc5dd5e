"""Protects: nobody comes in without the key, from another site's page, under another name, or with too large a body."""

import asyncio
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.serving.guard import (
    LOOPBACK,
    WRONG_KEYS_A_MINUTE,
    Busy,
    Door,
    Guard,
    Limits,
    Sender,
    Slots,
    WrongKeys,
    address_of,
    check_binding,
    content_security_policy,
    new_cookie,
    split_host,
    valid_cookie,
)
from tests.support.serving import KEY
from utils import CourseError

PATHS = ("/", "/generate", "/docs-assets/", "/health", "/sign-in")


def ask(
    door=None, method="POST", path="/generate", headers=None, parts=(b"{}",), kind="http", limits=None, pause=0.0,
    query=b"", client="127.0.0.1", guard=None, reads=None,
):  # fmt: skip
    """Send one request through a guard; return (status, headers, body). reads: gets what the application behind it read."""
    door = door or Door(PATHS, {"/generate": "POST"}, ("/health", "/sign-in"), LOOPBACK, None)
    read, sent, waiting = [] if reads is None else reads, [], list(parts)

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        while True:
            try:
                message = await receive()
            except Exception:  # as FastAPI does, which makes a 400 of whatever is raised while it reads
                await send({"type": "http.response.start", "status": 400, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            read.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": [(b"server", b"x")]})
        await send({"type": "http.response.body", "body": b"in"})

    async def receive():
        await asyncio.sleep(pause)
        if kind == "websocket":
            return {"type": "websocket.connect"}
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    given_headers = {"host": "127.0.0.1:8000", **(headers or {})}
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query,
        "client": (client, 50000),
        "headers": [(k.encode(), v.encode()) for k, v in given_headers.items()],
    }
    guard = guard or Guard(None, door, limits or Limits())
    guard.app = application
    asyncio.run(guard(scope, receive, send))
    if kind == "websocket":
        return sent[0]["type"], {}, b""
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}, body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "LocalHost:8000"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "localhost:"}, 200),
        ({"host": "[::1]"}, 200),
        ({"host": "localhost:8000", "x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}, 200),
        ({"host": "evil.example:8000"}, 421),
        ({"host": "evil.example:8000", "x-forwarded-host": "localhost:8000", "forwarded": "host=localhost"}, 421),
        ({"host": "localhost.evil.example"}, 421),
        ({"host": "evil-localhost"}, 421),
        ({"host": "localhost.:8000"}, 421),  # the same name by the rules of DNS; no browser needs it
        ({"host": "localhost.localdomain"}, 421),
        ({"host": "127.0.0.2"}, 421),
        ({"host": "127.1:8000"}, 421),  # other notations of the address, which browsers write as 127.0.0.1
        ({"host": "2130706433"}, 421),
        ({"host": "0x7f000001"}, 421),
        ({"host": "0177.0.0.1"}, 421),
        ({"host": "0.0.0.0:8000"}, 421),
        ({"host": "[::]:8000"}, 421),
        ({"host": "[0:0:0:0:0:0:0:1]:8000"}, 421),
        ({"host": "[::ffff:127.0.0.1]:8000"}, 421),
        ({"host": "[::1%25lo]:8000"}, 421),
        ({"host": "::1"}, 421),
        ({"host": "evil.example@127.0.0.1:8000"}, 421),  # what a lenient reader takes for a user's name
        ({"host": "127.0.0.1:8000@evil.example"}, 421),
        ({"host": "localhost/evil.example"}, 421),
        ({"host": "localhost?evil.example"}, 421),
        ({"host": "localhost#evil.example"}, 421),
        ({"host": "localhost\\evil.example"}, 421),
        ({"host": "localhost:8000:evil.example"}, 421),
        ({"host": "localhost:8000, evil.example"}, 421),
        ({"host": "localhost evil.example"}, 421),
        ({"host": "local\thost"}, 421),
        ({"host": "[::1]evil.example"}, 421),
        ({"host": "localhost:" + "0" * 400}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "[::1"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:9000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[bad"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"content-length": "300000"}, 413),
        ({"content-length": "9" * 30}, 413),
    ],
)
def test_on_loopback_the_browser_is_watched(headers, status):
    assert ask(headers=headers)[0] == status


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
        {"host": "evil.example:8000", "origin": "http://evil.example:8000", "sec-fetch-site": "same-origin"},
        {"host": "evil.example@127.0.0.1:8000"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_another_sites_page_opens_no_socket(headers):
    assert ask(kind="websocket", path="/", headers=headers)[0] == "websocket.close"
    assert ask(kind="websocket", path="/")[0] == "websocket.accept"


def test_no_more_sockets_than_allowed_and_a_closed_one_counts_no_more():
    assert ask(kind="websocket", path="/", limits=Limits(sockets=0))[0] == "websocket.close"


def test_what_is_not_served_is_not_found():
    assert ask(path="/project/file")[0] == 404
    assert ask(path="/docs-assets/x.js", method="GET")[0] == 200
    assert ask(path="/docs-assets")[0] == 404
    status, headers, _ = ask(method="GET")
    assert (status, headers["allow"]) == (405, "POST")


def test_a_body_that_grows_past_its_limit_or_comes_too_slowly_is_refused():
    assert ask(parts=(b"x" * 60, b"y" * 60), limits=Limits(body_bytes=100))[0] == 413
    assert ask(parts=(b"x" * 60, b"y" * 30), limits=Limits(body_bytes=100))[0] == 200
    assert ask(parts=(b"x",) * 10, pause=0.05, limits=Limits(body_s=0.1))[0] == 408
    assert ask(parts=(b"x" * 101,), limits=Limits(body_bytes=100))[0] == 413
    assert ask(parts=(b"x",) * 101, limits=Limits(body_bytes=100))[0] == 413


def test_a_body_in_chunks_reaches_the_application_whole():
    read = []
    assert ask(parts=("확정".encode(), "일자".encode()), reads=read)[0] == 200
    assert b"".join(read).decode() == "확정일자"


def test_no_path_forges_a_line_of_the_log(caplog):
    with caplog.at_level("INFO", logger="serve"):
        ask(method="GET", path="/x\nGET /health 200\x1b[2J 한글")
    assert [record.getMessage().split(" 404 ")[0] for record in caplog.records] == [
        "GET /x%0AGET%20/health%20200%1B%5B2J%20%ED%95%9C%EA%B8%80"
    ]


LOCKED = Door(PATHS, {}, ("/health", "/sign-in"), None, KEY)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer {KEY}"}, 200),
        ({"authorization": f"Bearer {KEY}x"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer 열쇠"}, 401),
        ({"cookie": f"course_session={new_cookie(KEY)}"}, 200),
        ({"cookie": f"course_session={new_cookie(KEY, now=0)}"}, 401),
        ({"cookie": f"course_session={new_cookie('another-key-of-the-tests')}"}, 401),
        ({"cookie": "course_session=99999999999.0"}, 401),
        ({"cookie": "course_session=;;="}, 401),
        ({"host": "any.example", "authorization": f"Bearer {KEY}"}, 200),
    ],
)
def test_with_a_key_only_who_has_it_comes_in(headers, status):
    assert ask(LOCKED, headers=headers)[0] == status
    assert ask(LOCKED, path="/health", method="GET", headers=headers)[0] == 200
    assert (ask(LOCKED, kind="websocket", path="/", headers=headers)[0] == "websocket.accept") == (status == 200)


def test_the_page_asks_for_the_key_and_gives_a_cookie_for_it():
    status, headers, body = ask(LOCKED, method="GET", path="/")
    assert status == 401 and b"<form" in body and "default-src 'self'" in headers["content-security-policy"]
    status, headers, _ = ask(LOCKED, path="/sign-in", parts=(f"key={KEY}".encode(),))
    assert status == 303 and "HttpOnly; SameSite=Strict" in headers["set-cookie"] and KEY not in headers["set-cookie"]
    cookie = headers["set-cookie"].split(";")[0]
    assert ask(LOCKED, headers={"cookie": cookie})[0] == 200
    assert ask(LOCKED, path="/sign-in", parts=(b"key=wrong",))[0] == 401
    assert ask(LOCKED, path="/sign-in", parts=(b"\xff\xfe%",))[0] == 401
    assert ask(LOCKED, path="/sign-in", headers={"origin": "https://evil.example"}, parts=(f"key={KEY}".encode(),))[0] == 403


@given(st.text(max_size=80))
def test_no_text_is_a_valid_cookie(text):
    assert not valid_cookie(text, KEY)


@given(st.text(max_size=40))
def test_no_host_breaks_the_guard(text):
    assert isinstance(split_host(text), str)


def test_replies_forbid_what_comes_from_elsewhere():
    _, headers, _ = ask()
    assert headers["x-content-type-options"] == "nosniff" and "server" not in headers
    policy = content_security_policy("<script>\nconst a = 1;\n</script>", "127.0.0.1:8000")
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0] and "'sha256-" in policy
    assert "ws://127.0.0.1:8000" in policy
    assert "evil" not in content_security_policy(host="x; script-src evil")


@pytest.mark.parametrize(
    ("host", "key", "said"),
    [("0.0.0.0", None, "needs --api_key"), ("127.0.0.1", "short", "16 ASCII"), ("0.0.0.0", "열쇠" * 20, "16 ASCII")],
)
def test_the_network_needs_a_key_that_cannot_be_guessed(host, key, said):
    with pytest.raises(CourseError, match=said):
        check_binding(host, key)
    check_binding("127.0.0.1", None)
    check_binding("0.0.0.0", KEY)


def test_slots_are_counted_and_given_back_however_a_reply_ends():
    slots = Slots(Limits(concurrent=1))
    with slots.take(), pytest.raises(Busy, match="ask again in") as caught, slots.take():
        pass
    assert 1 <= caught.value.retry_after_s <= 60 and slots.taken == 0
    with pytest.raises(ZeroDivisionError), slots.take():
        raise ZeroDivisionError
    with slots.take():
        assert slots.taken == 1


@pytest.mark.parametrize(
    ("one", "another", "bound"),
    [
        (Sender(page="가"), Sender(page="나"), 4),
        (Sender("127.0.0.1", "가"), Sender("127.0.0.1", "나"), 4),
        (Sender("192.168.0.7"), Sender("192.168.0.8"), 16),
        (Sender("192.168.0.7"), Sender("127.0.0.1"), 16),
        (Sender("2001:db8::1"), Sender("::1"), 16),
        (Sender("fe80::1%eth0"), Sender("fe80::2%eth0"), 16),
    ],
)
def test_no_page_and_no_address_takes_all_slots(one, another, bound):
    slots = Slots(Limits())
    with ExitStack() as held:
        for _ in range(bound):
            held.enter_context(slots.take(one))
        with pytest.raises(Busy, match=f"{bound} replies under way"), slots.take(one):
            pass
        held.enter_context(slots.take(another))
    for _ in range(bound + 1):  # all were given back
        with slots.take(one):
            pass
    assert slots.taken == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", None])
def test_behind_a_proxy_of_this_machine_all_slots_can_be_had(address):
    slots = Slots(Limits())
    with ExitStack() as held:
        for _ in range(64):
            held.enter_context(slots.take(Sender(address)))
        assert slots.taken == 64


def test_many_pages_of_one_address_share_its_slots():
    slots = Slots(Limits())
    with ExitStack() as held:
        for number in range(16):
            held.enter_context(slots.take(Sender("192.168.0.7", f"page {number}")))
        with pytest.raises(Busy, match="This address"), slots.take(Sender("192.168.0.7", "one more")):
            pass


# --- wrong keys ------------------------------------------------------------------------------


RIGHT = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"headers": {"authorization": "Bearer wrong"}},
        {"headers": {"authorization": f"Basic {KEY}"}},
        {"headers": {"authorization": f"Bearer {KEY}x"}},
        {"headers": {"authorization": ""}},
        {"path": "/sign-in", "parts": (b"key=wrong",)},
        {"path": "/sign-in", "parts": (b"",)},
    ],
)
def test_who_guesses_is_held_up_and_the_right_key_always_gets_in(wrong):
    guard = Guard(None, LOCKED, Limits())
    said = [ask(LOCKED, guard=guard, **wrong)[0] for _ in range(WRONG_KEYS_A_MINUTE + 2)]
    assert said == [401] * WRONG_KEYS_A_MINUTE + [429] * 2
    assert ask(LOCKED, guard=guard, headers=RIGHT)[0] == 200
    assert ask(LOCKED, guard=guard, path="/sign-in", parts=(f"key={KEY}".encode(),))[0] == 303
    assert ask(LOCKED, guard=guard, headers={"cookie": f"course_session={new_cookie(KEY)}"})[0] == 200
    assert ask(LOCKED, guard=guard, client="192.168.0.9", **wrong)[0] == 401  # another address has tries of its own


def test_who_has_no_key_yet_is_not_held_up():
    guard = Guard(None, LOCKED, Limits())
    for _ in range(2 * WRONG_KEYS_A_MINUTE):
        assert ask(LOCKED, guard=guard, method="GET", path="/")[0] == 401
        assert ask(LOCKED, guard=guard, headers={"cookie": f"course_session={new_cookie(KEY, now=0)}"})[0] == 401
    assert ask(LOCKED, guard=guard, headers={"authorization": "Bearer wrong"})[0] == 401


def test_too_many_tries_are_told_on_the_page_in_korean_too():
    guard = Guard(None, LOCKED, Limits())
    for _ in range(WRONG_KEYS_A_MINUTE + 1):
        status, headers, body = ask(LOCKED, guard=guard, path="/sign-in", parts=(b"key=wrong",))
    assert status == 429 and "text/html" in headers["content-type"] and "1분 뒤에" in body.decode()


def test_wrong_keys_of_ever_new_addresses_fill_no_memory():
    wrong = WrongKeys()
    for number in range(20_000):
        wrong.add(f"2001:db8::{number:x}")
    assert len(wrong._times) <= 10_000


# --- sockets, and what another site's page can ask -------------------------------------------

SOCKET = "/ws/socket.io/"


def page_door(taken=0):
    return Door((*PATHS, SOCKET), {}, (), LOOPBACK, None, open_sockets=lambda: taken)


def handshake(taken, query=b"EIO=4&transport=polling", **options):
    options = {"method": "GET", "path": SOCKET, "limits": Limits(sockets=3)} | options
    return ask(page_door(taken), query=query, **options)[0]


@pytest.mark.parametrize(
    "query", [b"EIO=4&transport=polling", b"EIO=4", b"EIO=4&transport=polling&sid=", b"sid", b"", b"\xff"]
)
def test_sockets_of_both_transports_are_bounded_together(query):
    assert handshake(2, query) == 200 and handshake(3, query) == 429
    assert handshake(3, query, kind="websocket") == "websocket.close"
    assert handshake(2, query, kind="websocket") == "websocket.accept"
    assert handshake(3, query, path="/health") == 200


@pytest.mark.parametrize("query", [b"EIO=4&transport=polling&sid=abc", b"sid=abc&EIO=4&transport=websocket"])
def test_a_page_that_is_open_goes_on_while_all_sockets_are_taken(query):
    assert handshake(3, query) == 200 and handshake(3, query, method="POST") == 200
    assert handshake(3, query, kind="websocket") == "websocket.accept"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"path": SOCKET, "sec-fetch-mode": "no-cors"}, 403),  # <img src=...>
        ({"path": SOCKET, "sec-fetch-mode": "cors"}, 403),
        ({"path": SOCKET, "sec-fetch-mode": "navigate"}, 403),  # <iframe>, or a window that is opened again and again
        ({"path": "/ws/socket.io", "sec-fetch-mode": "navigate"}, 403),
        ({"path": "/health", "sec-fetch-mode": "no-cors"}, 403),
        ({"path": "/docs-assets/x.js", "sec-fetch-mode": "no-cors"}, 403),
        ({"path": "/", "sec-fetch-mode": "no-cors"}, 403),
        ({"path": "/"}, 403),
        ({"path": "/", "sec-fetch-mode": "navigate"}, 200),  # a link was followed
        ({"path": "/", "sec-fetch-mode": "navigate", "method": "POST"}, 403),  # a form was sent
    ],
)
def test_another_sites_page_can_link_here_and_nothing_else(site, asked, status):
    headers = {name: value for name, value in asked.items() if name.startswith("sec-")}
    door = Door((*PATHS, SOCKET, "/ws/socket.io"), {}, (), LOOPBACK, None)
    got = ask(door, asked.get("method", "GET"), asked["path"], {"sec-fetch-site": site, **headers}, query=b"EIO=4")[0]
    assert got == status


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_servers_own_page_opens_its_socket(site):
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "cors"}
    assert ask(page_door(), "GET", SOCKET, headers, query=b"EIO=4&transport=polling")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/docs-assets/\x00", "/docs-assets/a\x00.js", "/docs-assets/a\nb", "/docs-assets/\x7f", f"/docs-assets/{'a' * 256}",
     f"/docs-assets/{'가' * 86}", f"/docs-assets/{'a/' * 600}", f"/docs-assets/{'가/' * 300}"],
)  # fmt: skip
def test_what_can_be_no_file_is_not_looked_for(path):
    assert ask(method="GET", path=path)[0] == 404
    assert ask(method="GET", path="/docs-assets/확정일자 안내.js")[0] == 200


def test_an_address_is_known_where_the_system_tells_it():
    assert address_of({"client": ("::1", 5)}) == "::1" and address_of({"client": None}) is address_of({}) is None
