"""The way of every request, of the page as of the interface, to the backend: slots, time-outs, sources, one log line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from kotune.data.retrieval import Library, OpenBookPrompt
from kotune.models.sampling import Progress
from kotune.serving.backends import Backend, ChatRequest
from kotune.serving.guard import NOBODY, Limits, Sender, Slots
from kotune.serving.jobs import JOBS, Job
from utils import CourseError


class TooLate(CourseError):
    """A reply was not finished in its time."""


class Closing(CourseError):
    """The server is ending, and a reply is not begun any more, or not finished."""


class UnknownModel(CourseError):
    """A request names a model that is not served."""


class Desk:
    """Answers requests through a backend, so many at once and so long at most.

    roles: what models are for, by their names, where this is known.
    """

    def __init__(
        self, backend: Backend, limits: Limits, library: Library | None = None, roles: Mapping[str, str] | None = None
    ):
        self.backend, self.limits, self.library = backend, limits, library
        self.roles = dict(roles or {})
        self.jobs: dict[str, Job] = {name: JOBS[role] for name, role in self.roles.items() if role in JOBS}
        self.slots = Slots(limits)
        self.models: list[str] = []
        self._closes = float("inf")  # when running replies are ended, in the loop's time; infinite until the server ends
        self._waiting: set[asyncio.Timeout] = set()

    async def open(self) -> None:
        """Learn the models' names.

        Raises:
            CourseError: the backend does not answer, or serves none.
        """
        self.models = await self.backend.models()
        if not self.models:
            raise CourseError(f"The backend ({self.backend.name}) serves no model; load one there.")

    @property
    def chat_models(self) -> list[str]:
        """The models without a job, the base first."""
        return [name for name in self.models if name not in self.jobs]

    @property
    def default_model(self) -> str:
        """The model that answers where none is named: the tuned one, which stands last."""
        return self.chat_models[-1]

    def close_within(self, seconds: float) -> None:
        """Begin no reply any more, and end in so many seconds those that are running."""
        closes = asyncio.get_running_loop().time() + seconds
        if closes >= self._closes:
            return
        self._closes = closes
        for wait in self._waiting:
            if not wait.expired() and (wait.when() or closes) >= closes:
                wait.reschedule(closes)

    async def stream(self, request: ChatRequest, sender: Sender = NOBODY) -> AsyncGenerator[Progress]:
        """Yield a reply as it is written; whoever stops reading (or goes away) frees its slot.

        Raises:
            UnknownModel, Busy, PromptTooLong, BackendError, TooLate, Closing: before the first piece, or in mid-reply.
            CourseError: a model with a job is asked otherwise than it was trained.
        """
        if self._closes < float("inf"):
            raise Closing("The server is ending; ask again once it is back.")
        if request.model not in self.models:
            served = ", ".join(self.models)
            raise UnknownModel(f"The model {request.model!r:.100} is not served here; choose one of {served}.")
        if request.model in self.jobs:
            request = replace(request, messages=self.jobs[request.model].prompt_of(request.messages))
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.limits.answer_s
        with self.slots.take(sender):
            async with aclosing(self.backend.stream(request)) as pieces:
                while True:
                    try:
                        async with asyncio.timeout_at(min(ends, self._closes)) as wait:
                            self._waiting.add(wait)
                            progress = await anext(pieces)
                    except StopAsyncIteration:
                        return
                    except TimeoutError:
                        if self._closes < ends:
                            raise Closing("The server is ending, and this reply was not finished in time.") from None
                        raise TooLate(f"The reply was not finished within {self.limits.answer_s:g} s.") from None
                    finally:
                        self._waiting.discard(wait)
                    yield progress

    async def sources(self, question: str) -> OpenBookPrompt:
        """Return a question with the passages found for it.

        Raises:
            CourseError: the server was started without documents.
        """
        if self.library is None:
            raise CourseError("This server has no documents; start it with --documents docs.jsonl.")
        return await asyncio.to_thread(self.library.ask, question)
