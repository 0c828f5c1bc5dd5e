"""A transformers engine for many readers at once: every reply that is running gets its next token in each round.

One thread owns the models. A round first reads waiting prompts, so many tokens at most, then takes one step for all
replies of each model together (continuous batching; Orca, OSDI 2022). Nobody waits for another's reply to end, and
none gets more tokens a second than another.

Measured on two cores with Gemma 3 270M, 16 prompts: `generate` 175 tokens/s, transformers' own continuous batching
51. The latter also has no second model beside the first.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from tokenizers.decoders import DecodeStream
from transformers import Cache

from kotune.models.chat_template import stop_ids
from kotune.models.sampling import Finish, Progress, Sampling, StopTexts, draw, penalise
from utils import CourseError

PREFILL_TOKENS = 512  # prompt tokens read in a round at most, so that running replies go on
CACHE_TOKENS = 65_536  # rows x columns of all keys and values together: 1.2 GB with Gemma 3 270M
ROW_STEP, WIDTH_STEP = 8, 128  # the cache grows in these steps, so that seldom anything is copied
SHOWN_STEP = 32  # attention sees columns in this step, because oneDNN compiles its products for each new shape


@dataclass(eq=False)
class Ticket:
    """One reply that was asked for; the engine alone changes it, but for `cancelled`."""

    model: str
    prompt: list[int]
    sampling: Sampling
    deliver: Callable[[Progress | Exception], None]
    cancelled: bool = False
    read: int = 0  # prompt tokens in the cache
    reply: list[int] = field(default_factory=list)
    detokenizer: DecodeStream = field(default_factory=lambda: DecodeStream(skip_special_tokens=True))
    stops: StopTexts = field(init=False)
    generator: torch.Generator | None = None

    def __post_init__(self):
        self.stops = StopTexts(self.sampling.stop)

    @property
    def width(self) -> int:
        """Columns of the cache that this reply may come to need."""
        return len(self.prompt) + self.sampling.max_tokens

    @property
    def last(self) -> int:
        """The token that the next step reads; the prompt's own last one begins the reply."""
        return self.reply[-1] if self.reply else self.prompt[-1]


def _round_up(number: int, step: int) -> int:
    """Return the least multiple of a step that is not below a number."""
    return -(-number // step) * step


class SlotCache(Cache):
    """Keys and values of the running replies of one model: a row ("slot") each, columns by position.

    Rows are written in place: a reply joins, grows and leaves without a copy of the others.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device):
        super().__init__(layers=[])
        self.dtype, self.device = dtype, device
        self.rows = self.width = 0
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self.first = self.shown = 0
        self.positions = torch.empty(0)

    def fit(self, rows: int, width: int) -> None:
        """Have at least so many rows and columns, and at most twice the memory that they need; what is held stays."""
        spacious = self.rows * self.width > 2 * rows * width
        if rows <= self.rows and width <= self.width and not spacious:
            return
        if not spacious:
            rows, width = max(rows, self.rows), max(width, self.width)
        kept_rows, kept_width = min(rows, self.rows), min(width, self.width)
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                fresh = old.new_zeros(rows, old.shape[1], width, old.shape[3])
                fresh[:kept_rows, :, :kept_width] = old[:kept_rows, :, :kept_width]
                tensors[layer] = fresh
        self.rows, self.width = rows, width

    def point(self, first: int, positions: torch.Tensor) -> None:
        """Say where the next forward pass writes: rows from `first` on, columns `positions`, (rows, tokens)."""
        self.first, self.positions = first, positions
        self.shown = min(_round_up(int(positions.max()) + 1, SHOWN_STEP), self.width)

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        """Write a layer's new keys and values, (rows, heads, tokens, size), and return all that its rows hold."""
        if layer_idx == len(self.keys):
            _, heads, _, size = key_states.shape
            # zeros, because a masked column still enters the sum with weight 0, and 0 x NaN is NaN
            shape = (self.rows, heads, self.width, size)
            self.keys.append(torch.zeros(shape, dtype=self.dtype, device=self.device))
            self.values.append(torch.zeros(shape, dtype=self.dtype, device=self.device))
        rows = torch.arange(self.first, self.first + len(key_states), device=self.device)[:, None]
        held = []
        for tensor, states in ((self.keys[layer_idx], key_states), (self.values[layer_idx], value_states)):
            tensor[rows, :, self.positions] = states.transpose(1, 2)
            held.append(tensor[self.first : self.first + len(states), :, : self.shown])
        return held[0], held[1]

    def move(self, source: int, target: int) -> None:
        """Copy one row onto another."""
        for tensor in (*self.keys, *self.values):
            tensor[target] = tensor[source]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the columns in use."""
        return self.shown

    def clear(self) -> None:
        """Give the memory back."""
        self.keys, self.values, self.rows, self.width, self.shown = [], [], 0, 0, 0


def extent(tickets: Sequence[Ticket]) -> tuple[int, int]:
    """Return the rows and columns of a cache for these replies."""
    return _round_up(len(tickets), ROW_STEP), _round_up(max((t.width for t in tickets), default=0), WIDTH_STEP)


class Runner:
    """One model with its running replies: its first `speaking` rows write, those after them read their prompts."""

    def __init__(self, model) -> None:
        self.model = model.eval()
        self.decoder = model.get_decoder()
        self.config = model.config.get_text_config()
        self.cache = SlotCache(model.dtype, model.device)
        self.running: list[Ticket] = []
        self.speaking = 0

    def remove(self, row: int) -> None:
        """Free a row; those that speak close up from their end, those that are read keep their order."""
        if row < self.speaking:
            self.speaking -= 1
            self._move(self.speaking, row)
            row = self.speaking
        for later in range(row + 1, len(self.running)):
            self._move(later, later - 1)
        self.running.pop()
        if not self.running:
            self.cache.clear()

    def _move(self, source: int, target: int) -> None:
        if source != target:
            self.cache.move(source, target)
            self.running[target] = self.running[source]

    def read_prompts(self, budget: int) -> None:
        """Read up to `budget` tokens of prompts into the cache; the last token of each is left for its first step."""
        readers, sizes = [], []
        for ticket in self.running[self.speaking :]:
            if budget <= 0:
                break
            size = min(len(ticket.prompt) - 1 - ticket.read, budget)
            readers.append(ticket)
            sizes.append(size)
            budget -= size
        if any(sizes):
            longest = max(sizes)
            tokens = [t.prompt[t.read : t.read + n] + [0] * (longest - n) for t, n in zip(readers, sizes, strict=True)]
            # what is written past a prompt's end is hidden by the mask until its own token is written there
            self._forward(self.speaking, tokens, [t.read for t in readers])
        for ticket, size in zip(readers, sizes, strict=True):
            ticket.read += size
            if ticket.read == len(ticket.prompt) - 1:
                self.speaking += 1  # readers stand in order, and only the last can be left half read

    def step(self) -> torch.Tensor:
        """Return the next token's scores for every reply that speaks, (replies, vocabulary), in float32."""
        speakers = self.running[: self.speaking]
        starts = [len(t.prompt) - 1 + len(t.reply) for t in speakers]
        hidden = self._forward(0, [[t.last] for t in speakers], starts)
        logits = self.model.get_output_embeddings()(hidden[:, -1].contiguous()).float()
        cap = getattr(self.config, "final_logit_softcapping", None)
        return torch.tanh(logits / cap) * cap if cap else logits

    def _forward(self, first: int, tokens: list[list[int]], starts: list[int]) -> torch.Tensor:
        device = self.model.device
        ids = torch.tensor(tokens, device=device)
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(ids.shape[1], device=device)
        rows, width = extent(self.running)
        self.cache.fit(rows, max(width, _round_up(int(positions.max()) + 1, WIDTH_STEP)))
        self.cache.point(first, positions)
        return self.decoder(
            input_ids=ids,
            attention_mask=self._masks(positions),
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state

    def _masks(self, positions: torch.Tensor):
        """Return what each token may look at, (rows, 1, tokens, columns), for each kind of layer that the model has."""
        columns = torch.arange(self.cache.shown, device=positions.device)
        seen = columns <= positions[:, None, :, None]
        if "sliding_attention" not in (getattr(self.config, "layer_types", None) or ()):
            return self._added(seen)
        near = seen & (columns > positions[:, None, :, None] - self.config.sliding_window)
        return {"full_attention": self._added(seen), "sliding_attention": self._added(near)}

    def _added(self, allowed: torch.Tensor) -> torch.Tensor:
        lowest = torch.finfo(self.model.dtype).min
        return torch.zeros(allowed.shape, dtype=self.model.dtype, device=allowed.device).masked_fill(~allowed, lowest)


class LocalEngine:
    """Models in memory under one tokenizer, and the thread that runs them.

    `submit` and `cancel` may be called from any thread; replies are delivered from the engine's own.
    """

    def __init__(self, models: dict[str, torch.nn.Module], tokenizer, cache_tokens: int = CACHE_TOKENS):
        self.tokenizer = tokenizer
        self.ends = set(stop_ids(tokenizer))
        self.cache_tokens = cache_tokens
        self.runners = {name: Runner(model) for name, model in models.items()}
        self.waiting: deque[Ticket] = deque()
        self.wake = threading.Condition()
        self.closed = False
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.thread.start()

    def add(self, name: str, model: torch.nn.Module) -> None:
        """Take a further model up; replies of the others go on."""
        self.runners = {**self.runners, name: Runner(model)}  # the thread goes through the old ones at this moment

    def submit(self, model: str, prompt: Sequence[int], sampling: Sampling, deliver) -> Ticket:
        """Ask for a reply; `deliver` gets its Progress, the last with a `finish`, or an exception.

        Raises:
            CourseError: beams are asked for, or this prompt with its reply is longer than the whole cache.
        """
        if sampling.beam_width > 1:
            raise CourseError("The server searches no beams; leave beam_width at 1, or use kotune infer.")
        ticket = Ticket(model, list(prompt), sampling, deliver)
        if ROW_STEP * ticket.width > self.cache_tokens:
            raise CourseError(
                f"The prompt ({len(prompt)} tokens) and its reply (up to {sampling.max_tokens}) do not fit into the "
                f"engine's memory ({self.cache_tokens // ROW_STEP} tokens a reply); shorten the prompt or lower max_tokens."
            )
        if sampling.temperature > 0:
            device = self.runners[model].model.device
            ticket.generator = torch.Generator(device)
            ticket.generator.manual_seed(sampling.seed) if sampling.seed is not None else ticket.generator.seed()
        with self.wake:
            if self.closed:
                raise CourseError("The engine is closed; start the server again.")
            self.waiting.append(ticket)
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
                        self._round(runner)
                    except Exception as error:  # out of memory, most likely: its readers learn of it, others go on
                        traceback.print_exc()
                        self._fail(runner, error)

    def _wait(self) -> bool:
        """Wait for work and admit it; return False once the engine is closed."""
        with self.wake:
            self.wake.wait_for(lambda: self.closed or self.waiting or any(r.running for r in self.runners.values()))
            if self.closed:
                return False
            while self.waiting:
                ticket = self.waiting[0]
                if not ticket.cancelled:
                    if not self._fits(ticket):
                        break  # first come, first served: what stands behind waits too, so that none starves
                    self.runners[ticket.model].running.append(ticket)
                self.waiting.popleft()
            return True

    def _fits(self, ticket: Ticket) -> bool:
        if not any(runner.running for runner in self.runners.values()):
            return True
        needed = 0
        for name, runner in self.runners.items():
            rows, width = extent([*runner.running, ticket] if name == ticket.model else runner.running)
            needed += rows * width
        return needed <= self.cache_tokens

    def _round(self, runner: Runner) -> None:
        for row in reversed(range(len(runner.running))):
            if runner.running[row].cancelled:
                runner.remove(row)
        if len(runner.running) > runner.speaking:
            runner.read_prompts(PREFILL_TOKENS)
        if not runner.speaking:
            return
        scores = runner.step()
        likeliest = scores.argmax(-1).tolist()
        ended = []
        for row, ticket in enumerate(runner.running[: runner.speaking]):
            token = self._choose(ticket, scores[row], likeliest[row])
            if self._advance(ticket, token):
                ended.append(row)
        for row in reversed(ended):
            runner.remove(row)

    def _choose(self, ticket: Ticket, scores: torch.Tensor, likeliest: int) -> int:
        if ticket.sampling.temperature == 0 and not ticket.sampling.penalises:
            return likeliest
        if ticket.sampling.penalises:
            scores = penalise(scores, ticket.sampling, ticket.prompt, ticket.reply)
        return int(draw(scores, ticket.sampling, ticket.generator))

    def _advance(self, ticket: Ticket, token: int) -> bool:
        """Add a token to a reply and deliver what it says; return whether the reply is over."""
        finish: Finish | None = None
        if token in self.ends:
            text, finish = ticket.stops.rest(), "stop"
        else:
            ticket.reply.append(token)
            # a syllable that is spelt in bytes comes once its last byte is there
            text = ticket.stops.feed(ticket.detokenizer.step(self.tokenizer.backend_tokenizer, token) or "")
            if ticket.stops.stopped:
                finish = "stop"
            elif len(ticket.reply) >= ticket.sampling.max_tokens:
                text, finish = text + ticket.stops.rest(), "length"
        if not ticket.cancelled and (text or finish):
            ticket.deliver(Progress(text, len(ticket.reply), finish, len(ticket.prompt)))
        return finish is not None

    def _fail(self, runner: Runner, error: Exception) -> None:
        for ticket in runner.running:
            if not ticket.cancelled:
                ticket.deliver(error)
        runner.running, runner.speaking = [], 0
        runner.cache.clear()
