"""What a server lets in: whose requests, how large, how many at once, and for how long.

`Guard` stands before the whole application, page and sockets included; `Slots` counts the replies that are running.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import ipaddress
import json
import logging
import math
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from utils import CourseError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "course_session"
COOKIE_S = 12 * 3600
SHORTEST_KEY = 16
LONGEST_PATH = 1_000  # bytes; a file's path has 4,096 bytes at most
LONGEST_ORIGIN = 300  # characters of a host with its scheme and port; a name has 253 at most
TOO_MANY_TRIES = 429, "Too many wrong keys from this address; wait a minute.", "too_many_tries"
WRONG_KEYS_A_MINUTE = 10  # of one address
ADDRESSES = 10_000  # whose wrong keys are remembered
log = logging.getLogger("serve")


@dataclass(frozen=True)
class Limits:
    """The limits of a server; sizes in bytes or characters, times in seconds."""

    connections: int = 1_024
    head_s: float = 10.0  # from a connection's first moment, or a request's first byte, to the end of its head
    body_bytes: int = 262_144
    body_s: float = 15.0
    message_characters: int = 32_000
    messages: int = 100
    max_tokens: int = 1_024
    concurrent: int = 64
    page_slots: int = 4  # of one page; two models side by side take two
    address_slots: int = 16  # of one address that is not this machine's own
    sockets: int = 256  # pages at once, by WebSocket or long polling
    answer_s: float = 300.0
    shutdown_s: float = 20.0  # for running replies, once the server is told to end
    reader_s: float = 30.0  # the longest that a reader of a stream may take nothing


class Busy(CourseError):
    """All slots are taken; `retry_after_s` says when one is likely to be free."""

    def __init__(self, sentence: str, retry_after_s: int):
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Sender:
    """Who asks: the address that a request came from, and the page, where it came from one; None where not known."""

    address: str | None = None
    page: str | None = None


NOBODY = Sender()


class Slots:
    """Counts running replies, in all, of each page and of each address; one more than there may be is refused, not queued.

    Addresses of this machine have no bound of their own: behind a proxy all come from one.
    """

    def __init__(self, limits: Limits):
        self.number = limits.concurrent
        self.taken = 0
        self._bounds = {"page": limits.page_slots, "address": limits.address_slots}
        self._of: Counter[tuple[str, str]] = Counter()
        self._lasted: deque[float] = deque([2.0], maxlen=50)

    @contextmanager
    def take(self, sender: Sender = NOBODY) -> Iterator[None]:
        """Hold a slot.

        Raises:
            Busy: none is free, or the sender has as many as it may have.
        """
        wait = max(1, min(60, math.ceil(sum(self._lasted) / len(self._lasted) / self.number * 4)))
        if self.taken >= self.number:
            raise Busy(f"All {self.number} slots are taken; ask again in {wait} s.", wait)
        keys = _keys(sender)
        for kind, name in keys:
            if self._of[kind, name] >= self._bounds[kind]:
                raise Busy(f"This {kind} has {self._bounds[kind]} replies under way, as many as it may; wait for one.", wait)
        self.taken += 1
        self._of.update(keys)
        started = time.monotonic()
        try:
            yield
        finally:
            self.taken -= 1
            self._of.subtract(keys)
            self._of += Counter()  # forgets those that have none left
            self._lasted.append(time.monotonic() - started)


def _keys(sender: Sender) -> list[tuple[str, str]]:
    keys = [("page", sender.page)] if sender.page else []
    return [*keys, ("address", sender.address)] if sender.address and not is_loopback(sender.address) else keys


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own; what is no address is not."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return (getattr(known, "ipv4_mapped", None) or known).is_loopback


class WrongKeys:
    """Counts wrong keys of each address within a minute. The right key is never held up by them."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._cleaned = 0.0  # when those of more than a minute ago were last forgotten

    def add(self, address: str) -> bool:
        """Count one more; return whether there were too many before it."""
        now = time.monotonic()
        if len(self._times) >= ADDRESSES and now - self._cleaned > 1:  # a look at all of them for each would be the attack
            self._cleaned = now
            self._times = {known: times for known, times in self._times.items() if now - times[-1] < 60}
        if len(self._times) >= ADDRESSES and address not in self._times:
            return True  # so many addresses at once are one guesser with a network of them
        times = self._times.setdefault(address, deque(maxlen=WRONG_KEYS_A_MINUTE))
        many = len(times) == WRONG_KEYS_A_MINUTE and now - times[0] < 60
        if not many:
            times.append(now)
        return many


def check_binding(host: str, api_key: str | None) -> None:
    """Raise a CourseError if a server would be open to the network without a key, or with one that can be guessed."""
    if api_key is not None and (len(api_key) < SHORTEST_KEY or not api_key.isascii() or not api_key.isprintable()):
        raise CourseError(
            f"--api_key must be {SHORTEST_KEY} ASCII characters or more; make one with `openssl rand -hex 16`."
        )
    if host not in LOOPBACK and not api_key:
        raise CourseError(
            f"--host {host} opens the server to the network, so it needs --api_key (or SERVE_API_KEY); "
            "make one with `openssl rand -hex 16`."
        )


def same_key(given: str, key: str) -> bool:
    """Compare a key in a time that does not tell how much of it was right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), key.encode())


def new_cookie(key: str, now: float | None = None) -> str:
    """Return a session's cookie: when it ends, and the key's signature over that."""
    ends = str(int((time.time() if now is None else now) + COOKIE_S))
    return f"{ends}.{_sign(key, ends)}"


def valid_cookie(cookie: str, key: str, now: float | None = None) -> bool:
    """Return whether a cookie was made with this key and has not ended."""
    ends, _, signature = cookie.partition(".")
    if not ends.isascii() or not ends.isdigit() or not same_key(signature, _sign(key, ends)):
        return False
    return int(ends) > (time.time() if now is None else now)


def _sign(key: str, ends: str) -> str:
    return hmac.new(key.encode(), f"page session until {ends}".encode(), hashlib.sha256).hexdigest()


def has_key(headers: dict[str, str], key: str) -> bool:
    """Return whether a request brings the key, in its Authorization header or as a session's cookie."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and same_key(given.strip(), key):
        return True
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and valid_cookie(cookie.value, key)


HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{0,5})?")


def split_host(value: str) -> str:
    """Return the name in a Host header, without port and brackets, in lower case; "" where it is malformed (RFC 9110, 7.2).

    A user's name, a path or a second port is malformed: what reads those otherwise would find another name than this.
    """
    found = HOST.fullmatch(value.lower()) if len(value) <= LONGEST_ORIGIN and value.isascii() else None
    return (found[1] or found[2]) if found else ""


# --- the guard -------------------------------------------------------------------------------

SIGN_IN = """<!doctype html><html lang="ko"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>로그인 · Sign in</title>
<style>body{font-family:sans-serif;max-width:22rem;margin:20vh auto;padding:0 1rem;line-height:1.6}
input,button{font:inherit;width:100%;padding:.6rem;margin:.3rem 0;box-sizing:border-box}</style>
<form method="post" action="/sign-in"><label>서버의 키를 넣어 주세요. / Enter the server's key.
<input name="key" type="password" autocomplete="current-password" required autofocus></label>
<button>들어가기 / Sign in</button><p role="alert">$problem</p></form></html>"""


Refusal = tuple[int, str, str]  # status, sentence, code


def content_security_policy(page: str = "", host: str = "") -> str:
    """Return a policy under which a page loads and runs nothing but this server's own; its inline scripts by their hash."""
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)])
    sockets = f" ws://{host} wss://{host}" if re.fullmatch(r"[\w.:\[\]-]+", host) else ""
    return (
        f"default-src 'self'; script-src {allowed}; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'{sockets}; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def problem(status: int, sentence: str, code: str) -> dict:
    """Return an error's body as OpenAI's clients read it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": sentence, "type": kind, "param": None, "code": code}}


@dataclass(frozen=True)
class Door:
    """Which requests come in: the paths that exist, those that need no key, the names that the server goes by.

    methods: the one method of a path of the interface; behind it the page would answer to any other. socket: the path
    where pages open their sockets. open_sockets: how many are open, by either transport.
    """

    paths: tuple[str, ...]  # exact, or a prefix where it ends in /
    methods: dict[str, str]
    open_paths: tuple[str, ...]
    hosts: tuple[str, ...] | None  # None: any, because a key is asked for
    api_key: str | None
    socket: str = "/ws/socket.io"
    open_sockets: Callable[[], int] = lambda: 0

    def has(self, path: str) -> bool:
        """Return whether a path is served at all."""
        # a file's name has 255 bytes at most and no control character; Chainlit looks for the file without looking at that
        if re.search(r"[\x00-\x1f\x7f]", path) or any(len(part.encode(errors="replace")) > 255 for part in path.split("/")):
            return False
        return len(path.encode(errors="replace")) <= LONGEST_PATH and any(
            path == known or (known.endswith("/") and len(known) > 1 and path.startswith(known)) for known in self.paths
        )

    def opens_socket(self, scope) -> bool:
        """Return whether a request is a handshake, by which a page gets a socket of either transport."""
        return scope["path"].rstrip("/") == self.socket and "sid" not in parse_qs(
            scope.get("query_string", b"").decode("latin-1")
        )


class Guard:
    """ASGI middleware: host and origin, key, path, size and time of the body, headers of the reply, one line of log.

    On loopback without a key the browser is the danger: a page of another site may send requests here (CSRF), or have
    its own name point to this machine (DNS rebinding). So the Host must be one of this server's names, and an Origin,
    where there is one, must be the same. A GET without an Origin, as of a picture, is known by what the browser says of it.
    """

    def __init__(self, app, door: Door, limits: Limits):
        self.app, self.door, self.limits = app, door, limits
        self.sockets = 0
        self.wrong_keys = WrongKeys()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refuse(scope, headers)
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send, refusal)
        else:
            await self._http(scope, receive, send, headers, refusal)

    def _refuse(self, scope, headers: dict[str, str]) -> Refusal | None:
        """Return the status, sentence and code of a refusal that needs no look at the body."""
        return (
            self._refuse_sender(scope, headers)
            or self._refuse_address(scope)
            or self._refuse_stranger(scope, headers)
            or self._refuse_size(scope, headers)
        )

    def _refuse_sender(self, scope, headers: dict[str, str]) -> Refusal | None:
        host = split_host(headers.get("host", ""))
        if self.door.hosts is not None and host not in self.door.hosts:
            return 421, "This server does not go by that name; use 127.0.0.1 or localhost.", "wrong_host"
        origin = headers.get("origin")
        if (origin and urlsplit_safe(origin) != headers.get("host", "").lower()) or self._is_cross_site(scope, headers):
            return 403, "Requests from other sites' pages are refused.", "wrong_origin"
        return None

    def _is_cross_site(self, scope, headers: dict[str, str]) -> bool:
        """Return whether a browser says that another site's page asks; following a link to a page is no such request."""
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            return False  # "same-site" is another port of this machine
        followed = scope.get("method") in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        return scope["type"] == "websocket" or not followed or self.door.opens_socket(scope)

    def _refuse_address(self, scope) -> Refusal | None:
        if not self.door.has(scope["path"]):
            return 404, "There is nothing at this address; see /docs.", "not_found"
        method = self.door.methods.get(scope["path"])
        if method and scope.get("method") != method:
            return 405, f"This address takes {method} alone.", "method_not_allowed"
        return None

    def _refuse_stranger(self, scope, headers: dict[str, str]) -> Refusal | None:
        key = self.door.api_key
        if not key or scope["path"] in self.door.open_paths or has_key(headers, key):
            return None
        if "authorization" in headers and self.wrong_keys.add(address_of(scope) or ""):
            return TOO_MANY_TRIES
        return 401, "The key is missing or wrong; send it as `Authorization: Bearer KEY`.", "invalid_api_key"

    def _refuse_size(self, scope, headers: dict[str, str]) -> Refusal | None:
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > self.limits.body_bytes):
            return self._too_large
        taken = max(self.sockets, self.door.open_sockets())
        if self.door.opens_socket(scope) and taken >= self.limits.sockets:
            return 429, f"{taken} pages are open, as many as may be; close one, or come again later.", "too_many_sockets"
        return None

    @property
    def _too_large(self) -> Refusal:
        return 413, f"The body is larger than {self.limits.body_bytes} bytes; shorten it.", "too_large"

    async def _socket(self, scope, receive, send, refusal) -> None:
        if refusal is None and self.sockets >= self.limits.sockets:  # an upgrade, which is no handshake
            refusal = 429, "Too many pages are open.", "too_many_sockets"
        if refusal is not None:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[2]})
            return
        self.sockets += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.sockets -= 1

    async def _http(self, scope, receive, send, headers, refusal) -> None:
        started, shown = time.monotonic(), {"status": 0}

        async def answer(message):
            if message["type"] == "http.response.start":
                shown["status"] = message["status"]
                message = {**message, "headers": with_safe_headers(message["headers"], headers.get("host", ""))}
            await send(message)

        try:
            body = None if refusal else await self._body(receive)
            if isinstance(body, tuple):
                refusal = body
            if refusal is not None:
                await self._say(answer, scope, *refusal)
            elif not isinstance(body, bytes):
                shown["status"] = 499  # gone before the whole body had come
            elif self.door.api_key and scope["path"] == "/sign-in":
                await self._sign_in(scope, body, answer, self.door.api_key)
            else:
                await self.app(scope, _replayed(body, receive), answer)
        finally:
            # neither the query nor a header: they may hold a key
            path = quote(scope["path"])[:80]  # no control character: a line break would forge a line
            log.info("%s %s %s %.0f ms", scope["method"], path, shown["status"], 1000 * (time.monotonic() - started))

    async def _body(self, receive) -> bytes | Refusal | None:
        """Return a request's whole body, a refusal where it is too large or too slow, or None where the client has gone.

        It is read here and not as the application asks for it: there, what is raised in between becomes an error of its own.
        """
        body = b""
        try:
            async with asyncio.timeout(self.limits.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self.limits.body_bytes:
                        return self._too_large
                    if not message.get("more_body", False):
                        return body
        except TimeoutError:
            return 408, f"The body did not come within {self.limits.body_s:g} s.", "too_slow"

    async def _say(self, send, scope, status: int, sentence: str, code: str) -> None:
        if status == 401 and scope["path"] == "/" and scope["method"] == "GET":
            await self._show_sign_in(send, 401, "")
            return
        if status == 429 and scope["path"] == "/sign-in":
            said = "틀린 키를 너무 많이 넣었습니다. 1분 뒤에 다시 해 주세요. / Too many wrong keys; wait a minute."
            await self._show_sign_in(send, status, said)
            return
        extra = [(b"www-authenticate", b"Bearer")] if status == 401 else []
        if status == 429:
            extra.append((b"retry-after", b"60"))
        if status == 405:
            extra.append((b"allow", self.door.methods[scope["path"]].encode()))
        body = json.dumps(problem(status, sentence, code)).encode()
        await respond(send, status, body, "application/json", extra)

    async def _sign_in(self, scope, body: bytes, send, key: str) -> None:
        if scope["method"] != "POST":
            await respond(send, 303, b"", "text/plain", [(b"location", b"/")])
            return
        given = parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0]
        if not same_key(given, key):
            if self.wrong_keys.add(address_of(scope) or ""):
                await self._say(send, scope, *TOO_MANY_TRIES)
            else:
                await self._show_sign_in(send, 401, "키가 맞지 않습니다. / That is not the key.")
            return
        cookie = f"{COOKIE}={new_cookie(key)}; HttpOnly; SameSite=Strict; Path=/; Max-Age={COOKIE_S}"
        await respond(send, 303, b"", "text/plain", [(b"location", b"/"), (b"set-cookie", cookie.encode())])

    async def _show_sign_in(self, send, status: int, said: str) -> None:
        page = SIGN_IN.replace("$problem", html.escape(said)).encode()
        await respond(send, status, page, "text/html; charset=utf-8")


def address_of(scope) -> str | None:
    """Return the address that a request or a socket came from."""
    client = scope.get("client")
    return client[0] if client else None


def _replayed(body: bytes, receive):
    """Return a `receive` that gives a body which was read already, then what comes after: that the client goes away."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed():
        return waiting.pop() if waiting else await receive()

    return replayed


def urlsplit_safe(origin: str) -> str:
    """Return the host and port of an Origin in lower case; "null" and what is malformed is no host."""
    if len(origin) > LONGEST_ORIGIN:
        return ""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def with_safe_headers(headers, host: str) -> list[tuple[bytes, bytes]]:
    """Return a reply's headers with those that keep a browser from running or sending what it should not."""
    kept = [(name, value) for name, value in headers if name.lower() not in (b"server", b"access-control-allow-origin")]
    present = {name.lower() for name, _ in kept}
    wanted = {
        b"content-security-policy": content_security_policy(host=host).encode(),
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"same-origin",  # under no-referrer a browser sends forms with `Origin: null`
        b"cross-origin-resource-policy": b"same-origin",
    }
    return [*kept, *((name, value) for name, value in wanted.items() if name not in present)]


async def respond(send, status: int, body: bytes, content_type: str, extra: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Send a whole reply."""
    head = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
