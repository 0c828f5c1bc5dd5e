"""Where replies come from: models in this process, or any server that speaks OpenAI's interface.

A backend streams a reply as Progress and stops working on it as soon as nobody reads on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from kotune.models.chat_template import render, stop_ids
from kotune.models.sampling import Progress, Sampling
from kotune.models.sources import ModelSource, load, load_merged, lora_rank, own_bytes
from kotune.serving.child import Child
from kotune.serving.guard import LOOPBACK, Busy
from prompts import Message
from utils import CourseError, http_address, relative

MAX_CONTEXT = 2048
CONNECT_S = 5.0
SILENCE_S = 120.0  # the longest wait for a backend's next token
VLLM_START_S = 900.0
KEPT_S = 2.0  # an idle link to a backend on another machine; one on this machine costs nothing to open
PENALISED = 2**15  # tokens, so that a repetition counts in the whole conversation; llama.cpp looks at the last 64
LONGEST_LINE = 1_000_000  # bytes of one line of a stream; a backend that sends no line end would fill the memory
# how a finished reply is told, and how one that was cut; whatever else (abort, error, content_filter) ends no reply
ENDED = ("stop", "eos", "eos_token", "end_turn", "stop_sequence")
CUT = ("length", "max_tokens", "model_length")
log = logging.getLogger("serve")


class BackendError(CourseError):
    """A backend is down, broke off, or answered with an error."""


class BackendDown(BackendError):
    """A backend does not answer, or not as it should."""


class BackendBrokeOff(BackendError):
    """A backend did not bring a reply to its end."""


class BackendRefused(CourseError):
    """A backend does not take what was asked: the request is at fault, and not the backend."""


class PromptTooLong(CourseError):
    """A prompt with its reply does not fit into the model's context."""


@dataclass(frozen=True)
class ChatRequest:
    """A conversation to be continued by one model."""

    model: str
    messages: Sequence[Message]
    sampling: Sampling


class Backend(Protocol):
    """What the server needs of an engine."""

    name: str

    async def models(self) -> list[str]: ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[Progress]: ...

    async def occupancy(self) -> dict[str, int]: ...

    async def close(self) -> None: ...


def rendered(tokenizer, request: ChatRequest, max_context: int) -> list[int]:
    """Return a request's token ids, through the renderer of training.

    Raises:
        CourseError: the conversation cannot be rendered.
        PromptTooLong: the ids and the reply's limit are more than the context.
    """
    ids = render(tokenizer, request.messages).ids
    if len(ids) + request.sampling.max_tokens > max_context:
        raise PromptTooLong(
            f"The prompt has {len(ids)} tokens and the reply may take {request.sampling.max_tokens}, more than the "
            f"context of {max_context}; shorten the prompt or lower max_tokens."
        )
    return ids


# --- in this process -------------------------------------------------------------------------


class LocalBackend:
    """Models in memory, run by `LocalEngine` in a separate thread, so that no socket waits for a matrix product.

    further: models of the same base that are loaded when somebody first asks for them.
    """

    def __init__(
        self, models: list[ModelSource], recipe, max_context: int = MAX_CONTEXT, further: Sequence[ModelSource] = ()
    ):
        from kotune.serving.engine import LocalEngine

        self.recipe = recipe
        self.loaded, self.tokenizer = load(models, recipe)
        limits = [m.config.get_text_config().max_position_embeddings for m in self.loaded.values()]
        self.max_context = min(max_context, *limits)
        self.further = {served.name: served for served in further}
        self.loading: dict[str, asyncio.Task[None]] = {}
        self.names = [*self.loaded, *self.further]
        self.engine = LocalEngine(self.loaded, self.tokenizer)
        self.name = f"transformers on {recipe.device} in {recipe.dtype}"

    async def models(self) -> list[str]:
        """Return the models' names, the base first."""
        return self.names

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Progress]:
        """Yield a reply as it is written."""
        ids = rendered(self.tokenizer, request, self.max_context)
        await self._require_loaded(request.model)
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Progress | Exception]()

        def deliver(progress: Progress | Exception) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is going down
                loop.call_soon_threadsafe(queue.put_nowait, progress)

        ticket = self.engine.submit(request.model, ids, request.sampling, deliver)
        try:
            while True:
                progress = await queue.get()
                if isinstance(progress, Exception):
                    raise BackendError(f"The engine failed ({_first_line(progress)}); ask again, for less.")
                yield progress
                if progress.finish:
                    return
        finally:
            self.engine.cancel(ticket)

    async def _require_loaded(self, name: str) -> None:
        """Load a further model unless it is there; who asks meanwhile waits for the same load.

        Raises:
            BackendError: it cannot be loaded; the next who asks tries again.
        """
        if name in self.loaded:
            return
        if name not in self.loading:
            self.loading[name] = asyncio.create_task(asyncio.to_thread(self._load, self.further[name]))
        task = self.loading[name]
        try:
            await asyncio.shield(task)  # whoever goes away takes no model from the others
        except Exception as error:
            raise BackendError(f"The model {name} could not be loaded ({_first_line(error)}).") from None
        finally:
            if task.done():
                self.loading.pop(name, None)

    def _load(self, served: ModelSource) -> None:
        started = time.monotonic()
        beside = list(self.loaded.values())
        model = load_merged(served, self.recipe, beside)
        own = own_bytes(model, beside)  # before the engine puts the weights into an order of its own
        self.engine.add(served.name, model)
        self.loaded = {**self.loaded, served.name: model}
        log.info(
            "%s was asked for and loaded in %.1f s; its own weights take %.0f MB.",
            served.name, time.monotonic() - started, own / 1e6,
        )  # fmt: skip

    async def occupancy(self) -> dict[str, int]:
        """Return how many replies are running and waiting."""
        running, waiting = self.engine.occupancy
        return {"running": running, "waiting": waiting}

    async def close(self) -> None:
        """End the engine's thread."""
        await asyncio.to_thread(self.engine.close)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


# --- over HTTP -------------------------------------------------------------------------------


async def stream_lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[str]:
    """Yield the lines of server-sent events, which end in LF, CR or both; U+2028, U+0085 and their like are text.

    httpx splits at those too, and so cuts a reply's JSON in two. Source: HTML standard, "Server-sent events".

    Raises:
        ValueError: a line is longer than `LONGEST_LINE`.
    """
    held, length, after_cr = [], 0, False  # the pieces of a line whose end is still to come
    async for chunk in chunks:
        data = chunk[1:] if after_cr and chunk.startswith(b"\n") else chunk  # a CR and its LF may come apart
        after_cr = chunk.endswith(b"\r") if chunk else after_cr
        first, *others = re.split(rb"\r\n|\r|\n", data)
        held.append(first)
        length += len(first)
        for following in others:
            yield b"".join(held).decode("utf-8", "replace")
            held, length = [following], len(following)
        if length > LONGEST_LINE:
            raise ValueError("a line without an end")
    if length:
        yield b"".join(held).decode("utf-8", "replace")


@dataclass(frozen=True)
class Event:
    """What one event of a streamed chat completion says; None where it says nothing of it."""

    text: str = ""
    finish: str | None = None
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    error: object = None


def read_event(line: str) -> Event | None:
    """Return what a line of a stream says, None where it is none of a reply's; a bare JSON object counts as well.

    Raises:
        ValueError, AttributeError, TypeError: it is no chat completion's.
    """
    said = line[5:] if line.startswith("data:") else line if line.startswith("{") else ""
    if not said.strip() or said.strip() == "[DONE]":
        return None
    try:
        event = json.loads(said)
    except RecursionError:  # a hundred thousand brackets
        raise ValueError("JSON that is too deep") from None
    usage = event.get("usage") or {}
    text, finish = "", None
    for choice in event.get("choices") or ():
        turn = choice.get("delta") or choice.get("message") or {}
        text += choice.get("text") or _plain(turn.get("content"))
        finish = choice.get("finish_reason") or finish
    error = event.get("error") or (event if event.get("object") == "error" else None)
    return Event(
        text,
        None if finish is None else str(finish),
        _count(usage.get("completion_tokens")),
        _count(usage.get("prompt_tokens")),
        error,
    )


def _plain(content: object) -> str:
    """Return a turn's text, which comes whole or in parts; parts that are no text, such as reasoning, are none of it."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    if content is not None and not isinstance(content, str):
        raise TypeError("a content that is no text")
    return content or ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


class WholeCharacters:
    """Joins halves of characters (UTF-16 surrogates) that came in two pieces; one without its other half is U+FFFD."""

    def __init__(self) -> None:
        self.half = ""

    def feed(self, text: str) -> str:
        """Return the whole characters of a further piece."""
        if not text:
            return ""
        text, self.half = self.half + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self.half = text[:-1], text[-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class RemoteBackend:
    """A server that speaks OpenAI's interface: vLLM, Ollama, llama.cpp.

    With a tokenizer, prompts are rendered here and sent as token ids to /completions, so that training and serving
    cannot part; vLLM takes them. Without one, messages go to /chat/completions and the server's own template.
    """

    def __init__(self, url: str, api_key: str | None = None, tokenizer=None, max_context: int = MAX_CONTEXT):
        import httpx2

        self.url = http_address(url, "--backend")
        self.tokenizer, self.max_context, self.api_key = tokenizer, max_context, api_key
        parts = urlsplit(self.url)
        self.name = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self.client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx2.Timeout(SILENCE_S, connect=CONNECT_S),
            # llama.cpp and uvicorn close a link that was idle for 5 s; one that is taken up in that moment is a request lost
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=0 if parts.hostname in LOOPBACK else 64,
                keepalive_expiry=KEPT_S,
            ),
            trust_env=parts.hostname not in LOOPBACK,  # a proxy has no business between two programs of one machine
        )

    async def models(self) -> list[str]:
        """Return the names that the server lists."""
        import httpx2

        try:
            response = await self.client.get(f"{self.url}/models", timeout=CONNECT_S)
            if response.is_success:
                return [str(model["id"]) for model in response.json()["data"]]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise self._down(error) from None
        raise BackendError(self._refused(response.status_code, response.text))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Progress]:
        """Yield a reply as it comes; a stream that ends without a reason broke off."""
        import httpx2

        path, body = self._body(request)
        tokens, finish, prompt_tokens, characters = 0, None, 0, WholeCharacters()
        try:
            async with self.client.stream("POST", f"{self.url}{path}", json=body) as response:
                if not response.is_success:
                    await response.aread()
                    raise self._refusal(response)
                async for line in stream_lines(response.aiter_bytes()):
                    event = read_event(line)
                    if event is None:
                        continue
                    if event.error:
                        raise BackendError(self._refused(500, json.dumps({"error": event.error}, ensure_ascii=False)))
                    tokens = event.completion_tokens or tokens
                    prompt_tokens = event.prompt_tokens or prompt_tokens
                    finish = event.finish or finish
                    if text := characters.feed(event.text):
                        tokens += 1
                        yield Progress(text, tokens)
        except (httpx2.HTTPError, ValueError, AttributeError, TypeError) as error:
            if tokens:
                raise self._broke_off() from None
            raise self._down(error) from None
        if finish in CUT or finish in ENDED:
            yield Progress("", tokens, "length" if finish in CUT else "stop", prompt_tokens)
            return
        raise self._broke_off() if finish is None else BackendBrokeOff(
            f"The backend at {self.name} did not finish the reply (finish_reason {finish!r:.60}); ask again, or otherwise."
        )  # fmt: skip

    def _refusal(self, response) -> CourseError:
        """Return the error that stands for a status: the client's fault where the backend says so."""
        if response.status_code == 429:
            after = response.headers.get("retry-after", "")
            return Busy("The backend is busy; ask again later.", int(after) if re.fullmatch("[0-9]{1,4}", after) else 5)
        said = self._refused(response.status_code, response.text)
        return BackendRefused(said) if response.status_code in (400, 413, 422) else BackendError(said)

    async def occupancy(self) -> dict[str, int]:
        """Raise a BackendError if the server does not answer; how busy it is, it does not say."""
        await self.models()
        return {}

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    def _body(self, request: ChatRequest) -> tuple[str, dict]:
        sampling = request.sampling
        body = {
            "model": request.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        # beyond OpenAI's own interface, or seldom set: sent only where asked for
        optional = {
            "top_k": sampling.top_k, "min_p": sampling.min_p, "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty, "stop": list(sampling.stop), "seed": sampling.seed,
        }  # fmt: skip
        body.update({name: value for name, value in optional.items() if value not in (0, None, [])})
        if sampling.seed == 0:
            body["seed"] = 0
        if sampling.repetition_penalty != 1:
            body["repetition_penalty"] = sampling.repetition_penalty
        if self.tokenizer is None:
            if sampling.repetition_penalty != 1:  # llama.cpp passes over vLLM's name for it
                body["repeat_penalty"], body["repeat_last_n"] = sampling.repetition_penalty, PENALISED
            return "/chat/completions", {**body, "messages": list(request.messages)}
        ids = rendered(self.tokenizer, request, self.max_context)
        return "/completions", {**body, "prompt": ids, "stop_token_ids": stop_ids(self.tokenizer)}

    def _down(self, error: Exception) -> BackendError:
        return BackendDown(
            f"The backend at {self.name} does not answer as it should ({type(error).__name__}); start it, or check "
            "--backend."
        )

    def _broke_off(self) -> BackendError:
        return BackendBrokeOff(f"The backend at {self.name} broke off in the middle of the reply; ask again.")

    def _refused(self, status: int, said: str) -> str:
        with contextlib.suppress(ValueError, AttributeError, TypeError, RecursionError):
            error = json.loads(said)
            error = error.get("error") or error.get("detail") or error
            said = error if isinstance(error, str) else str(error.get("message", said))
        if self.api_key:
            said = said.replace(self.api_key, "[key]")
        return f"The backend at {self.name} answered with status {status} ({' '.join(said.split())[:200]})."


# --- vLLM, started here ----------------------------------------------------------------------


def vllm_command(models: list[ModelSource], weights: str, port: int, max_context: int) -> list[str]:
    """Return the command that serves a base and its adapters on loopback.

    Raises:
        CourseError: an adapter stands on another; vLLM puts one on the base.
    """
    base = next((m.name for m in models if not m.adapters), "base")
    command = ["vllm", "serve", weights, "--host", "127.0.0.1", "--port", str(port), "--served-model-name", base,
               "--max-model-len", str(max_context), "--generation-config", "vllm",
               "--load-format", "safetensors"]  # fmt: skip
    adapted = [m for m in models if m.adapters]
    for model in adapted:
        if len(model.adapters) > 1:
            raise CourseError(
                f"{relative(model.adapters[-1])} stands on another adapter, and vLLM puts one on the base; "
                "merge it first (kotune merge) and serve the merged model."
            )
    if adapted:
        # as many at once as there are: with vLLM's default of one, two adapters side by side would take turns
        command += ["--enable-lora", "--max-loras", str(len(adapted)), "--max-lora-rank", str(lora_rank(adapted))]
        command += ["--lora-modules"]
        command += [f"{m.name}={m.adapters[0].resolve()}" for m in adapted]  # a relative path would be a hub name
    return command


class VllmBackend(RemoteBackend):
    """A `vllm serve` that this process started and ends with it.

    Experimental: tested with a stand-in of the command alone, never with vLLM.
    """

    def __init__(self, models: list[ModelSource], weights: str, tokenizer, *, port: int, max_context: int, log: Path):
        key = secrets.token_hex(16)
        super().__init__(f"http://127.0.0.1:{port}/v1", key, tokenizer, max_context)
        self.name = "vLLM"
        self.log = log
        # the key goes by the environment: a command line can be read by every user of the machine
        settings = {"VLLM_API_KEY": key, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        self.process = Child(vllm_command(models, weights, port, max_context), log, {**os.environ, **settings})

    async def ready(self) -> None:
        """Wait until the models are loaded.

        Raises:
            CourseError: vLLM ended, or took too long; its last line says why.
        """
        ends = time.monotonic() + VLLM_START_S
        while time.monotonic() < ends:
            if not self.process.running:
                lines = self.log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise CourseError(f"vLLM ended while it started ({lines[-1][:200]}); see {relative(self.log)}.")
            with contextlib.suppress(BackendError):
                await self.models()
                return
            await asyncio.sleep(0.5)
        await self.close()
        raise CourseError(f"vLLM was not ready within {VLLM_START_S:g} s; see {relative(self.log)}.")

    def _down(self, error: Exception) -> BackendError:
        if self.process.running:
            return super()._down(error)
        return BackendDown(f"vLLM has ended ({relative(self.log)} says why); start the server again.")

    async def close(self) -> None:
        """End vLLM and close the connections."""
        self.process.end()  # first, and without an await: a task that is cancelled comes no further
        await super().close()


def has_vllm() -> bool:
    """Return whether the command `vllm` is on the path."""
    return shutil.which("vllm") is not None
