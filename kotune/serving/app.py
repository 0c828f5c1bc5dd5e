"""Serve models on this machine: a chat page, `/generate`, and OpenAI's interface, in one application.

    make serve                                             # the chat models of the course, and those that do one job
    kotune serve --model_path outputs/sft                  # an adapter (with its base), a merged model, a hub name
    kotune serve --backend http://127.0.0.1:11434/v1       # Ollama, vLLM, llama.cpp, in the place of an own engine
    kotune serve --documents data/documents.jsonl          # answers from documents, and names them
    kotune serve --class                                   # no model: a blind vote of a class, see `class_server`

The page is at /, the interface's documentation at /docs. Loopback only, unless --host says otherwise and a key is set.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from kotune.data.records import with_input
from kotune.data.retrieval import Library, OpenBookPrompt, open_library
from kotune.models import sources as served_models
from kotune.models.files import load_tokenizer, model_path
from kotune.models.machine import Recipe, choose
from kotune.models.sampling import Progress
from kotune.models.sources import ModelSource
from kotune.serving import jobs
from kotune.serving.api import (
    ChatCompletion,
    ChatCompletionRequest,
    Chunks,
    GenerateReply,
    GenerateRequest,
    Health,
    ModelCard,
    ModelList,
    NamedSource,
    ProblemReply,
    WholeReply,
    misfit_sentence,
    usage,
    whole_completion,
)
from kotune.serving.backends import (
    Backend,
    BackendError,
    ChatRequest,
    LocalBackend,
    RemoteBackend,
    VllmBackend,
    has_vllm,
)
from kotune.serving.desk import Closing, Desk, TooLate, UnknownModel
from kotune.serving.event_stream import EventStream, completion_events
from kotune.serving.guard import (
    LOOPBACK,
    Busy,
    Door,
    Guard,
    Limits,
    Sender,
    address_of,
    check_binding,
    content_security_policy,
    problem,
)
from kotune.serving.page_texts import ENGLISH
from utils import OUTPUTS, CourseError, setting

PORT = 8000
VOTES = OUTPUTS / "serve" / "votes.jsonl"
METHODS = {
    "/generate": "POST", "/v1/chat/completions": "POST", "/v1/models": "GET", "/health": "GET", "/docs": "GET",
    "/openapi.json": "GET",
}  # fmt: skip
# status and code of what a request can meet; whatever else is a CourseError is the request's own fault
STATUS = {
    Busy: (429, "busy"),
    UnknownModel: (404, "model_not_found"),
    TooLate: (504, "timeout"),
    Closing: (503, "server_closing"),
    BackendError: (502, "backend_error"),
}
REFUSALS = {
    400: "the body is no text",
    401: "the key is missing or wrong",
    403: "the request comes from another site's page",
    404: "there is no such model",
    408: "the body came too slowly",
    413: "the body is too large",
    421: "the Host is none of this server's names",
    422: "a field is wrong, or the prompt is longer than the context",
    429: "all slots are taken; see Retry-After",
    502: "the backend failed",
    503: "the server is ending",
    504: "the reply took too long",
}


def answers(*statuses: int) -> dict[int | str, dict]:
    """Return the errors of a route for its documentation."""
    return {status: {"model": ProblemReply, "description": REFUSALS[status]} for status in statuses}


GUARDED = (401, 403, 408, 413, 421)
STREAMED: dict[int | str, dict] = {
    200: {"content": {"text/event-stream": {}}, "description": "whole, or as server-sent events"}
}
log = logging.getLogger("serve")


class ClientGone(Exception):
    """The client closed its connection before the reply."""


async def unless_gone(request: Request, work):
    """Return what `work` returns, or cancel it once the client has gone away."""

    async def gone():
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        leaving.cancel()
        working.cancel()
        with contextlib.suppress(BaseException):
            await working


async def collect_reply(stream: AsyncGenerator[Progress]) -> WholeReply:
    """Return a streamed reply as a whole."""
    text, last = [], None
    async with contextlib.aclosing(stream) as pieces:
        async for last in pieces:
            text.append(last.text)
    if last is None or last.finish is None:
        raise BackendError("The reply ended without a reason; ask again.")
    return WholeReply("".join(text), last.finish, usage(last))


def create_app(desk: Desk, lifespan=None) -> FastAPI:
    """Return the application with its interface; the page is mounted behind it (`page.mount`)."""
    app = FastAPI(
        title="Korean instruction tuning: the course's server",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        description="One reply a request, greedy unless asked otherwise; prompts are rendered as in training.",
    )
    _add_interface(app, desk)
    _add_documentation(app)
    _add_errors(app)
    _name_models(app, desk.models)
    return app


def _add_interface(app: FastAPI, desk: Desk) -> None:
    @app.post("/generate", responses=answers(*GUARDED, 400, 404, 422, 429, 502, 503, 504))
    async def generate(request: Request, body: GenerateRequest) -> GenerateReply:
        """Answer an instruction."""
        model = body.model or desk.default_model
        instruction, text = body.system, with_input(body.instruction, body.input)
        if model in desk.jobs and body.use_documents:
            raise CourseError(f"{model} takes its text alone; leave use_documents out.")
        if model in desk.jobs and body.input.strip() and not instruction.strip():
            instruction, text = body.instruction, body.input
        asked = await desk.sources(text) if body.use_documents else OpenBookPrompt(text, ())
        system = [{"role": "system", "content": instruction}] if instruction.strip() else []
        messages = [*system, {"role": "user", "content": asked.content}]
        stream = desk.stream(ChatRequest(model, messages, body.sampling(body.max_tokens)), _sender(request))
        text, finish, used = await unless_gone(request, collect_reply(stream))
        sources = [NamedSource(number=s.number, id=s.id, title=s.title, score=s.score) for s in asked.sources]
        ranking = desk.library.ranking if desk.library and body.use_documents else None
        return GenerateReply(
            text=text.strip(), model=model, finish_reason=finish, usage=used, sources=sources, ranking=ranking
        )

    @app.post("/v1/chat/completions", responses=answers(*GUARDED, 400, 404, 422, 429, 502, 503, 504) | STREAMED,
              response_model=ChatCompletion)  # fmt: skip
    async def chat_completions(request: Request, body: ChatCompletionRequest):
        """Go on with a conversation, whole or as a stream of server-sent events."""
        stream = desk.stream(body.request(), _sender(request))
        if not body.stream:
            reply = await unless_gone(request, collect_reply(stream))
            return JSONResponse(whole_completion(body.model, reply).model_dump())
        # the first piece decides the status: nothing has been sent when a backend turns out to be down
        first = await unless_gone(request, anext(stream))
        chunks = Chunks(body.model, bool(body.stream_options and body.stream_options.include_usage))
        return EventStream(completion_events(first, stream, chunks, _problem_event), desk.limits.reader_s)

    @app.get("/v1/models", responses=answers(*GUARDED), response_model_exclude_none=True)
    async def list_models() -> ModelList:
        """List the models, the base first, and say what each is for."""
        made, about = int(started), {name: ENGLISH.roles[role] for name, role in desk.roles.items()}
        cards = [
            ModelCard(id=name, created=made, owned_by=desk.backend.name, description=about.get(name)) for name in desk.models
        ]
        return ModelList(data=cards)

    @app.get("/health", responses=answers(403, 408, 413, 421, 502))
    async def health() -> Health:
        """Say whether the backend answers."""
        await desk.backend.occupancy()
        return Health(backend=desk.backend.name, models=desk.models, slots=desk.slots.number, taken=desk.slots.taken)

    started = time.time()


def _sender(request: Request) -> Sender:
    return Sender(address_of(request.scope))


def _problem_event(error: CourseError) -> dict:
    status, code = status_of(error)
    return problem(status, str(error), code)


def _name_models(app: FastAPI, names: list[str]) -> None:
    """Write the names of the models into the interface's description, so that nobody has to guess one."""
    described = app.openapi

    def with_names() -> dict:
        document = described()
        schemas = document["components"]["schemas"]
        schemas["ChatCompletionRequest"]["properties"]["model"]["enum"] = names
        schemas["GenerateRequest"]["properties"]["model"]["anyOf"][0]["enum"] = names
        return document

    app.openapi = with_names  # type: ignore[method-assign]


def _add_documentation(app: FastAPI) -> None:
    import fastapi_offline

    app.mount("/docs-assets", StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static"))

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url="/docs-assets/swagger-ui-bundle.js",
            swagger_css_url="/docs-assets/swagger-ui.css",
            swagger_favicon_url="/docs-assets/favicon.png",
        )
        text = bytes(page.body).decode()
        return HTMLResponse(text, headers={"content-security-policy": content_security_policy(text)})


def status_of(error: CourseError) -> tuple[int, str]:
    """Return the HTTP status and the code of an error."""
    for kind, (status, code) in STATUS.items():
        if isinstance(error, kind):
            return status, code
    return 422, "invalid_request"


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(CourseError)
    async def course_error(_: Request, error: CourseError) -> JSONResponse:
        status, code = status_of(error)
        headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Busy) else {}
        return JSONResponse(problem(status, str(error), code), status, headers)

    @app.exception_handler(RequestValidationError)
    async def wrong_field(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        shown = misfit_sentence(first["loc"][1:], first["type"], first["msg"])
        return JSONResponse(problem(422, shown, "invalid_request"), 422)

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(problem(error.status_code, str(error.detail), "http_error"), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def fault(*_) -> JSONResponse:
        return JSONResponse(problem(500, "The server has a fault; its log says which.", "internal_error"), 500)

    @app.exception_handler(ClientGone)
    async def nobody(*_) -> JSONResponse:
        return JSONResponse(problem(499, "The client went away.", "client_gone"), 499)


# --- the command -----------------------------------------------------------------------------


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        CourseError: the port is in use or not allowed, or the host is no address of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # with the protocol named, asyncio switches Nagle's algorithm off; it held each first piece back for 40 ms
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CourseError(
            f"The server cannot listen on {host}:{port} ({reason}); choose another --port, or end the program there."
        ) from None
    return listening


@dataclass(frozen=True)
class Offer:
    """The models that a server is to have: those loaded at once, those on first use, and what each is for, where known."""

    chat: list[ModelSource]
    with_jobs: list[ModelSource]
    roles: dict[str, str]  # a model's name -> "base", "tuned" or its job


def choose_models(asked: argparse.Namespace, recipe: Recipe) -> Offer:
    """Return the models that the settings name; where they name none, the course's, and those that do one job.

    Raises:
        CourseError: a model is not there, or two do not go together.
    """
    chat = served_models.find(asked.model_path, recipe)
    if asked.compare_with:
        chat = served_models.combine(served_models.find(asked.compare_with, recipe)[-1:], chat[-1:])
    if asked.model_path:
        return Offer(chat, [], {})
    found = jobs.find_models(recipe)
    if recipe.device == "cuda" and has_vllm():
        for name in [name for name, source in found.items() if len(source.adapters) > 1]:
            print(f"The {name} model is left out: its adapter stands on another, and vLLM puts one on the base.", flush=True)
            del found[name]
    every = served_models.combine(chat, list(found.values()))
    with_jobs = every[len(chat) :]
    roles = {chat[-1].name: "tuned", **dict(zip((source.name for source in with_jobs), found, strict=True))}
    return Offer(chat, with_jobs, roles if asked.compare_with else {chat[0].name: "base", **roles})


def start_backend(asked: argparse.Namespace) -> tuple[Backend, dict[str, str]]:
    """Return the backend that the settings name, its models loaded (vLLM goes on loading), and what each model is for.

    Raises:
        CourseError: a setting is wrong, or a model cannot be loaded.
    """
    if asked.backend:
        if asked.model_path or asked.compare_with:
            raise CourseError("--backend serves its own models; leave --model_path and --compare_with out.")
        return RemoteBackend(asked.backend, setting("SERVE_BACKEND_KEY"), max_context=asked.max_context), {}
    choice = choose()
    offer = choose_models(asked, choice.recipe)
    print(f"{', '.join(m.name for m in offer.chat)}: {choice.reason}", flush=True)
    if choice.recipe.device == "cuda" and has_vllm():
        found = [*offer.chat, *offer.with_jobs]
        print(served_models.VLLM_EXPERIMENTAL, flush=True)
        with contextlib.closing(bind("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        bases = {m.base for m in found}
        if len(bases) > 1:
            raise CourseError("vLLM serves one base model; leave --compare_with out, or compare adapters of one base.")
        weights, log_file = model_path(found[-1].base, weights=True), OUTPUTS / "serve" / "vllm.log"
        tokenizer = load_tokenizer(found[-1].base)
        backend = VllmBackend(found, weights, tokenizer, port=port, max_context=asked.max_context, log=log_file)
        return backend, offer.roles
    if offer.with_jobs:
        print(f"{', '.join(m.name for m in offer.with_jobs)}: loaded when first asked for", flush=True)
    return LocalBackend(offer.chat, choice.recipe, asked.max_context, offer.with_jobs), offer.roles


async def run(
    asked: argparse.Namespace, api_key: str | None, listening: socket.socket, page_folder: Path, library: Library | None
) -> None:
    """Serve until the process is told to end."""
    from kotune.serving import page as chat_page
    from kotune.serving.connections import Server, address_shown, config_for

    limits = Limits(concurrent=asked.concurrent)
    backend, roles = start_backend(asked)
    try:
        desk = Desk(backend, limits, library, roles)
        if isinstance(backend, VllmBackend):
            await backend.ready()
        await desk.open()
        app = create_app(desk)
        open_sockets = chat_page.mount(app, desk, asked.votes or VOTES, page_folder)
        hosts = None if api_key else LOOPBACK  # with a key a page under another name has nothing to show
        paths = (*METHODS, "/docs-assets/", "/sign-in", *chat_page.PATHS)
        door = Door(paths, METHODS, ("/health", "/sign-in"), hosts, api_key, open_sockets=open_sockets)
        config = config_for(Guard(app, door, desk.limits), limits)
        address = address_shown(asked.host, listening)
        print(f"The page: {address}   documentation: {address}/docs   backend: {backend.name}", flush=True)
        server = Server(config, desk)
        await server.serve(sockets=[listening])
    finally:
        await backend.close()
    if server.interrupted:
        raise KeyboardInterrupt


OF_A_CLASS = ("ballots", "ballot_seed", "name_a", "name_b")  # options that have no effect without --class


def require_class_options_unset(asked: argparse.Namespace) -> None:
    """Raise a CourseError where an option of a class vote is given without --class."""
    for name in OF_A_CLASS:
        if getattr(asked, name) is not None:
            raise CourseError(f"--{name} is of a class vote; pass --class too, or leave it out.")


def serve_command(asked: argparse.Namespace) -> None:
    """Read the settings, check them before a model is loaded, and serve."""
    from kotune.serving.connections import told_to_end

    api_key = asked.api_key or setting("SERVE_API_KEY")
    check_binding(asked.host, api_key)
    if not 1 <= asked.concurrent <= 1024:
        raise CourseError(f"--concurrent is {asked.concurrent}; choose 1 to 1024.")
    if asked.ranking and not asked.documents:
        raise CourseError("--ranking says how passages are found; name their file with --documents, or leave it out.")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    if asked.class_pairs is not None:
        from kotune.serving.class_server import class_command

        class_command(asked, api_key)
        return
    require_class_options_unset(asked)
    with (
        told_to_end(),
        contextlib.closing(bind(asked.host, asked.port)) as listening,
        tempfile.TemporaryDirectory(prefix="page-") as folder,
    ):
        # before the loop runs, which would let Ctrl-C wait until all passages are embedded
        library = open_library(asked.documents, asked.ranking) if asked.documents else None
        asyncio.run(run(asked, api_key, listening, Path(folder), library))
