"""A reply as a stream of server-sent events, in the form of OpenAI's chunks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Callable

from starlette.responses import StreamingResponse

from kotune.models.sampling import Progress
from kotune.serving.api import Chunks
from utils import CourseError

log = logging.getLogger("serve")


class EventStream(StreamingResponse):
    """Server-sent events whose source is closed as soon as the client is gone or reads no more, not when it is collected."""

    def __init__(self, events: AsyncGenerator[str], reader_s: float):
        super().__init__(
            events, media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"}
        )
        self.events, self.reader_s = events, reader_s

    async def __call__(self, scope, receive, send) -> None:
        async def in_time(message) -> None:
            async with asyncio.timeout(self.reader_s):
                await send(message)

        try:
            await super().__call__(scope, receive, in_time)
        except TimeoutError:
            log.info("A reader took nothing for %g s; its reply is ended.", self.reader_s)
        finally:
            await self.events.aclose()


async def completion_events(
    first: Progress, stream: AsyncGenerator[Progress], chunks: Chunks, problem_event: Callable[[CourseError], dict]
) -> AsyncGenerator[str]:
    """Yield a reply as events, each a line `data:` with JSON, and `[DONE]` at the end.

    problem_event: what is sent of an error in the middle of the reply, when its status has long been sent.
    """

    def lines(progress: Progress) -> str:
        return "".join(_event(chunk) for chunk in chunks.of(progress))

    async with contextlib.aclosing(stream) as pieces:
        yield lines(first)
        try:
            async for progress in pieces:
                yield lines(progress)
        except CourseError as error:
            yield _event(problem_event(error))
        yield "data: [DONE]\n\n"


def _event(body: dict) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
