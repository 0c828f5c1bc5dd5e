"""Where Chainlit 2.12 is not what the chat page needs: a function for each place, to be looked at when it is upgraded."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from pydantic import BaseModel, Field, ValidationError

from kotune.serving.api import misfit_sentence
from utils import CourseError, read_json, write_json

if TYPE_CHECKING:
    from chainlit.session import WebsocketSession
    from fastapi import FastAPI

RETURN_S = 5.0  # a phone that changes its network has so long to come back before its answer is stopped
QUIET = {
    "CHAINLIT_ENV_FILE": ".no-env",
    "TRACELOOP_TELEMETRY": "false",
    "TRACELOOP_TRACING_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
# Chainlit's own entries that say nothing on this page, by translation path
RETITLED = {
    "ko": {"chat.watermark": "이 답변은 틀릴 수 있습니다. 중요한 내용은 확인하세요."},
    "en-US": {"chat.watermark": "Answers may be wrong. Check what matters."},
}


def set_environment(folder: Path) -> None:
    """Set what counts once Chainlit is imported: it would copy .env into the environment, and report its use."""
    os.environ.update(QUIET, CHAINLIT_APP_ROOT=str(folder), CHAINLIT_ROOT_PATH="")


def silence() -> None:
    """Keep Chainlit's log and one needless warning off the server's terminal."""
    for name in ("chainlit", "socketio", "engineio"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # it asks for the profiles once more from inside its running loop, gives up, and warns
    warnings.filterwarnings("ignore", "coroutine '_register", RuntimeWarning)


def write_translations(folder: Path) -> None:
    """Write the page's two languages into an empty folder: Chainlit's own with `RETITLED` entries."""
    chainlit = importlib.util.find_spec("chainlit")  # found, not imported: the environment is not set yet
    packaged = Path(str(chainlit and chainlit.origin)).parent / "translations"
    folder.mkdir(parents=True)
    for language, changes in RETITLED.items():
        translation = read_json(packaged / f"{language}.json")
        for path, text in changes.items():
            *parents, last = path.split(".")
            entry = translation
            for parent in parents:
                entry = entry[parent]
            entry[last] = text
        write_json(folder / f"{language}.json", translation)


def without_outside_links(page: str) -> str:
    """Return a page's HTML without what it would load from, or say of, another host."""
    return re.sub(r"<(?:link|meta|script)\b[^>]*https?://[^>]*>(?:\s*</script>)?", "", page)


class SessionCookie(BaseModel):
    """Which page a browser has, as the page tells the server so."""

    session_id: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$")


class PressedButton(BaseModel):
    """A button of the page that was pressed."""

    sessionId: str = Field(max_length=64)
    action: dict[str, Any]


Sent = TypeVar("Sent", bound=BaseModel)


def _read(model: type[Sent], body: bytes) -> Sent:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise CourseError(misfit_sentence(first["loc"], first["type"], first["msg"])) from None


def add_checked_routes(app: FastAPI, server) -> None:
    """Look at what a browser sends before Chainlit's own handlers do, which fail (500) at what they do not expect."""
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse

    async def set_session_cookie(request):
        _read(SessionCookie, await request.body())
        response = JSONResponse({"message": "Session cookie set"})
        await server.set_session_cookie(request, response)
        return response

    async def call_action(request):
        from chainlit.action import Action
        from chainlit.session import WebsocketSession
        from chainlit.types import CallActionRequest

        pressed = _read(PressedButton, await request.body())
        if WebsocketSession.get_by_id(pressed.sessionId) is None:
            raise HTTPException(404, "That page is open no more; load it again.")
        try:
            Action(**pressed.action)
        except (TypeError, ValueError):
            raise CourseError("action: is none of this page's buttons; load the page again.") from None
        return await server.call_action(CallActionRequest(action=pressed.action, sessionId=pressed.sessionId), None)

    app.add_route("/set-session-cookie", set_session_cookie, methods=["POST"])
    app.add_route("/project/action", call_action, methods=["POST"])


def replace_stop_handler(server) -> None:
    """Let the stop button end the answer in silence: Chainlit's own handler writes an English message."""
    server.sio.on("stop", _stop)


async def _stop(sid: str) -> None:
    from chainlit.context import init_ws_context
    from chainlit.session import WebsocketSession

    session = WebsocketSession.get(sid)
    if session:
        init_ws_context(session)
        if session.current_task:
            session.current_task.cancel()


def page_session() -> WebsocketSession:
    """Return the session of the page that the running handler serves."""
    from chainlit.context import context
    from chainlit.session import WebsocketSession

    session = context.session
    if not isinstance(session, WebsocketSession):  # Chainlit's other sessions are of chats without a page
        raise TypeError(f"A {type(session).__name__} has no page.")
    return session


_ANSWERS: WeakKeyDictionary[WebsocketSession, set[asyncio.Task]] = WeakKeyDictionary()


def count_as_answer() -> None:
    """Let the running task end with its page; Chainlit knows the last one alone, where a page asks several at once."""
    task = asyncio.current_task()
    if task is not None:
        tasks = _ANSWERS.setdefault(page_session(), set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def stop_answer_of_a_closed_page() -> None:
    """End the answers of the page that has just gone, unless it is back in time; Chainlit lets them run on."""
    session = page_session()
    wait = 0 if session.to_clear else RETURN_S  # "to clear": a new chat was asked for
    asyncio.get_running_loop().call_later(wait, _stop_unless_back, session, session.socket_id)


def _stop_unless_back(session, socket: str) -> None:
    if session.socket_id == socket:
        for task in list(_ANSWERS.get(session, ())):
            task.cancel()
