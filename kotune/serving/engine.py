"""A transformers engine for many readers at once: rounds of `kotune.models.rounds` in a thread that owns the models.

A round first reads waiting prompts, so many tokens at most, then takes one step for all replies of each model together.
Nobody waits for another's reply to end, and none gets more tokens a second than another.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence

import torch

from kotune.models.chat_template import stop_ids
from kotune.models.packing import pack
from kotune.models.rounds import ROW_STEP, ReplyText, Runner, Ticket, extent, own_generator
from kotune.models.sampling import Progress, Sampling
from utils import CourseError

PREFILL_TOKENS = 512  # prompt tokens read in a round at most, so that running replies go on
CACHE_TOKENS = 65_536  # rows x columns of all keys and values together: 1.2 GB with Gemma 3 270M


class LocalEngine:
    """Models in memory under one tokenizer, and the thread that runs them.

    The models are the engine's alone: where their weights are packed (`kotune.models.packing`), the plain ones are given
    back. `submit` and `cancel` may be called from any thread; replies are delivered from the engine's own.
    """

    def __init__(self, models: dict[str, torch.nn.Module], tokenizer, cache_tokens: int = CACHE_TOKENS):
        self.tokenizer = tokenizer
        self.ends = set(stop_ids(tokenizer))
        self.cache_tokens = cache_tokens
        self.runners: dict[str, Runner] = {}
        self.waiting: deque[tuple[str, Ticket]] = deque()
        self.wake = threading.Condition()
        self.closed = False
        for name, model in models.items():
            self.add(name, model)
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.thread.start()

    def add(self, name: str, model: torch.nn.Module) -> None:
        """Take a further model up; replies of the others go on."""
        packed = pack(model.eval(), beside=[runner.packed for runner in self.runners.values()])
        packed.release(model)
        runner = Runner(model, self.ends, packed)
        self.runners = {**self.runners, name: runner}  # the thread goes through the old ones at this moment

    def submit(
        self, model: str, prompt: Sequence[int], sampling: Sampling, deliver: Callable[[Progress | Exception], None]
    ) -> Ticket:
        """Ask for a reply; `deliver` gets its Progress, the last with a `finish`, or an exception.

        Raises:
            CourseError: beams are asked for, or this prompt with its reply is longer than the whole cache.
        """
        if sampling.beam_width > 1:
            raise CourseError("The server searches no beams; leave beam_width at 1, or use kotune infer.")
        generator = own_generator(sampling, self.runners[model].model.device)
        ticket = Ticket(list(prompt), sampling, ReplyText(self.tokenizer, sampling.stop), deliver, generator)
        if ROW_STEP * ticket.width > self.cache_tokens:
            raise CourseError(
                f"The prompt ({len(prompt)} tokens) and its reply (up to {sampling.max_tokens}) do not fit into the "
                f"engine's memory ({self.cache_tokens // ROW_STEP} tokens a reply); shorten the prompt or lower max_tokens."
            )
        with self.wake:
            if self.closed:
                raise CourseError("The engine is closed; start the server again.")
            self.waiting.append((model, ticket))
            self.wake.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Take a reply out before the next round; nothing more is delivered."""
        ticket.cancelled = True
        with self.wake:
            self.wake.notify()

    @property
    def occupancy(self) -> tuple[int, int]:
        """How many replies are running and waiting."""
        return sum(len(runner.running) for runner in self.runners.values()), len(self.waiting)

    def close(self) -> None:
        """End the thread after the round that it is in."""
        with self.wake:
            self.closed = True
            self.wake.notify()
        self.thread.join()

    # --- the engine's own thread -------------------------------------------------------------

    def _run(self) -> None:
        with torch.inference_mode():
            while self._wait():
                for runner in self.runners.values():
                    try:
                        runner.drop_cancelled()
                        runner.read_prompts(PREFILL_TOKENS)
                        runner.speak()
                    except Exception as error:  # out of memory, most likely: its readers learn of it, others go on
                        traceback.print_exc()
                        _fail(runner, error)

    def _wait(self) -> bool:
        """Wait for work and admit it; return False once the engine is closed."""
        with self.wake:
            self.wake.wait_for(lambda: self.closed or self.waiting or any(r.running for r in self.runners.values()))
            if self.closed:
                return False
            while self.waiting:
                model, ticket = self.waiting[0]
                if not ticket.cancelled:
                    if not self._fits(model, ticket):
                        break  # first come, first served: what stands behind waits too, so that none starves
                    self.runners[model].add(ticket)
                self.waiting.popleft()
            return True

    def _fits(self, model: str, ticket: Ticket) -> bool:
        if not any(runner.running for runner in self.runners.values()):
            return True
        needed = 0
        for name, runner in self.runners.items():
            rows, width = extent([*runner.running, ticket] if name == model else runner.running)
            needed += rows * width
        return needed <= self.cache_tokens


def _fail(runner: Runner, error: Exception) -> None:
    for ticket in runner.clear():
        if ticket.deliver and not ticket.cancelled:
            ticket.deliver(error)
