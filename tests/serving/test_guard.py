"""Protects: nobody comes in without the key, from another site's page, under another name, or with too large a body."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.serving.guard import (
    LOOPBACK,
    Busy,
    Door,
    Guard,
    Limits,
    Slots,
    check_binding,
    content_security_policy,
    new_cookie,
    split_host,
    valid_cookie,
)
from tests.support.serving import KEY
from utils import CourseError

PATHS = ("/", "/generate", "/docs-assets/", "/health", "/sign-in")


def ask(door=None, method="POST", path="/generate", headers=None, parts=(b"{}",), kind="http", limits=None, pause=0.0):
    """Send one request through a guard; return (status, headers, body) and what the application behind it read."""
    door = door or Door(PATHS, {"/generate": "POST"}, ("/health", "/sign-in"), LOOPBACK, None)
    read, sent, waiting = [], [], list(parts)

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        while True:
            message = await receive()
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
        "headers": [(k.encode(), v.encode()) for k, v in given_headers.items()],
    }
    asyncio.run(Guard(application, door, limits or Limits())(scope, receive, send))
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
        ({"host": "evil.example:8000"}, 421),
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
    "headers", [{"origin": "https://evil.example"}, {"host": "evil.example"}, {"sec-fetch-site": "cross-site"}]
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
    slots = Slots(1)
    with slots.take(), pytest.raises(Busy, match="ask again in") as caught, slots.take():
        pass
    assert 1 <= caught.value.retry_after_s <= 60 and slots.taken == 0
    with pytest.raises(ZeroDivisionError), slots.take():
        raise ZeroDivisionError
    with slots.take():
        assert slots.taken == 1
