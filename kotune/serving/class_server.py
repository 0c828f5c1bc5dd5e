"""A blind vote of a class: phones vote on pairs, the projector shows the tally. `kotune serve --class` starts it.

    kotune serve --class                                                         on this machine, to try it
    SERVE_API_KEY=... kotune serve --class --host 0.0.0.0                        for a room; the phones ask for the key
    kotune serve --class outputs/eval/judgments.jsonl --name_a SFT --name_b base

No model is loaded. The tally lies at an address that is drawn at the start and stands in the terminal alone: a room that
sees how it votes votes with the others.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import re
import secrets
import socket
from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from kotune.judging.class_votes import OUT, BallotBox, ClassPairs, TooManyPhones, judged_pairs, known_pairs
from kotune.judging.judges import Side
from kotune.judging.votes import BALLOTS, LABELS
from kotune.serving.class_pages import ballot_page, language_of, problem_page, tally_page
from kotune.serving.guard import LOOPBACK, Door, Guard, Limits
from utils import CourseError, relative

PHONE = "class_phone"  # the cookie by which a phone is known
PHONE_S = 24 * 3600
_WORD = re.compile("[0-9a-f]{32}")
MOST_BALLOTS = 100
NOT_OF_A_CLASS = ("model_path", "compare_with", "backend", "documents", "ranking")
log = logging.getLogger("serve")


@dataclass(frozen=True)
class Addresses:
    """Where the pages of one vote lie; whoever knows the word of the tally may read and close it."""

    word: str

    @property
    def tally(self) -> str:
        """The projector's page."""
        return f"/tally/{self.word}"

    @property
    def close(self) -> str:
        """What closes the vote."""
        return f"{self.tally}/close"

    def door(self, api_key: str | None) -> Door:
        """Return which requests come in. The tally needs no key: nobody guesses its address."""
        methods = {"/": "GET", "/vote": "POST", self.tally: "GET", self.close: "POST"}
        hosts = None if api_key else LOOPBACK
        return Door((*methods, "/sign-in"), methods, ("/sign-in", self.tally, self.close), hosts, api_key)


def create_app(box: BallotBox, addresses: Addresses) -> FastAPI:
    """Return the application: the ballot at /, votes at /vote, and the tally at its own address."""
    app = FastAPI(title="A class votes", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def ballot(request: Request, note: str = "") -> Response:
        phone = _phone(request)
        reply = _page(ballot_page(box, phone or "", _language(request), note))
        if phone is None:
            reply.set_cookie(PHONE, secrets.token_hex(16), max_age=PHONE_S, httponly=True, samesite="lax")
        return reply

    @app.post("/vote")
    async def vote(request: Request) -> Response:
        language, phone = _language(request), _phone(request)
        if phone is None:
            return _page(problem_page(language, "cookies"), 403)
        fields = _fields(await request.body())
        if fields.get("shown") not in LABELS.values() or box.pair(phone, fields.get("pair", "")) is None:
            return _page(problem_page(language, "wrong"), 422)
        try:
            taken = box.cast(phone, fields["pair"], cast(Side, fields["shown"]))
        except TooManyPhones as error:
            log.warning("%s", error)
            return _page(problem_page(language, "full"), 429)
        except CourseError as error:
            log.warning("A vote could not be stored: %s", error)
            return _page(problem_page(language, "not_stored"), 500)
        return RedirectResponse("/" if taken or box.is_closed else "/?note=again", 303)

    @app.get(addresses.tally)
    async def tally(request: Request) -> Response:
        return _page(tally_page(box, _language(request), addresses.close))

    @app.post(addresses.close)
    async def close(request: Request) -> Response:
        try:
            box.close()
        except CourseError as error:
            log.warning("The room's verdicts could not be written: %s", error)
        return RedirectResponse(addresses.tally, 303)

    return app


def _language(request: Request) -> str:
    return language_of(request.headers.get("accept-language"))


def _phone(request: Request) -> str | None:
    """Return the word by which a phone is known, or None for one that has none yet."""
    word = request.cookies.get(PHONE, "")
    return word if _WORD.fullmatch(word) else None


def _fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form; the last of equal ones counts, and what is no form has none."""
    try:
        read = parse_qs(body.decode("utf-8"), max_num_fields=10)
    except ValueError:  # too many fields, or no text
        return {}
    return {name: values[-1] for name, values in read.items()}


def _page(html: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(html, status, headers={"cache-control": "no-store"})


# --- the command -----------------------------------------------------------------------------


def class_command(asked: argparse.Namespace, api_key: str | None) -> None:
    """Check the settings of a class vote, draw its pairs, and serve until the process is told to end."""
    from kotune.serving.app import bind
    from kotune.serving.connections import told_to_end

    for name in NOT_OF_A_CLASS:
        if getattr(asked, name) is not None:
            raise CourseError(f"--class serves a vote and no model; leave --{name} out.")
    with told_to_end(), contextlib.closing(bind(asked.host, asked.port)) as listening:
        box = BallotBox(_pairs(asked), asked.votes or OUT)
        asyncio.run(_run(box, asked.host, api_key, listening))


def _pairs(asked: argparse.Namespace) -> ClassPairs:
    count = BALLOTS if asked.ballots is None else asked.ballots
    if not 1 <= count <= MOST_BALLOTS:
        raise CourseError(f"--ballots is {count}; choose 1 to {MOST_BALLOTS}.")
    seed = asked.ballot_seed or 0
    if asked.class_pairs:
        return judged_pairs(asked.class_pairs, count, seed, (asked.name_a or "A", asked.name_b or "B"))
    if asked.name_a or asked.name_b:
        raise CourseError("--name_a and --name_b name the sides of judgments; name their file behind --class.")
    return known_pairs(count, seed)


async def _run(box: BallotBox, host: str, api_key: str | None, listening: socket.socket) -> None:
    from kotune.serving.connections import Server, address_shown, config_for

    limits, addresses = Limits(), Addresses(secrets.token_hex(16))
    guarded = Guard(create_app(box, addresses), addresses.door(api_key), limits)
    address = address_shown(host, listening)
    if box.votes:
        held = f"{relative(box.file.path)} has {len(box.votes)} votes already"
        print(f"{held}; the vote goes on. Name other --votes for a new one.")
    for line in _announcement(address, host, listening.getsockname()[1], addresses):
        print(line, flush=True)
    server = Server(config_for(guarded, limits), None)
    await server.serve(sockets=[listening])
    if server.interrupted:
        raise KeyboardInterrupt


def _announcement(address: str, host: str, port: int, addresses: Addresses) -> list[str]:
    """Return what the teacher reads at the start: where phones go, and where the tally is."""
    reach = _outward_address() if host in ("0.0.0.0", "::") else None
    phones = (
        [f"For the phones, if this machine's address is the one of the room's network: http://{reach}:{port}"]
        if reach
        else []
    )
    local = f"http://127.0.0.1:{port}" if host in ("0.0.0.0", "::") else address
    return [f"The page: {address}", *phones, f"The tally, for you alone: {local}{addresses.tally}"]


def _outward_address() -> str | None:
    """Return this machine's address in its network; None where it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of no machine (RFC 5737); connecting a datagram socket sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return None
