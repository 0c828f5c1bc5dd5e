"""How each next token is chosen, and where a reply stops: one set of settings for batches, the server and the page."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, inf
from typing import Literal

from utils import CourseError

# the lowest and the highest value of each setting, both allowed
RANGES = {
    "max_tokens": (1, inf), "temperature": (0, 2), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2),
    "repetition_penalty": (0.01, inf), "top_p": (1e-6, 1), "top_k": (0, inf), "min_p": (0, 1), "beam_width": (1, 64),
    "length_penalty": (-10, 10),
}  # fmt: skip
# what a stranger may ask of the server; max_tokens is bounded by its limits, and it searches no beams
SERVED_RANGES = {
    **{name: RANGES[name] for name in ("temperature", "presence_penalty", "frequency_penalty", "top_p", "min_p")},
    "repetition_penalty": (0.5, 2),
    "top_k": (0, 262_144),  # the largest vocabulary
}

BLOCK = 512  # scores; the likeliest token is looked for in the block that holds the highest score
FIRST_LOOK = 1024  # tokens; what top_p or min_p leave is nearly always among them

Finish = Literal["stop", "length"]  # why a reply is over: the end of its turn or a stop text, or its limit


@dataclass(frozen=True)
class Sampling:
    """How a reply is decoded, with the names and meanings of vLLM's interface; greedy by default."""

    max_tokens: int = 256  # the reply's, at most
    temperature: float = 0.0  # 0 takes the likeliest token
    presence_penalty: float = 0.0  # subtracted once from the score of each token that the reply holds
    frequency_penalty: float = 0.0  # subtracted each time that the reply holds the token
    repetition_penalty: float = 1.0  # divides the scores of tokens that the prompt or the reply holds (arXiv 1909.05858)
    top_p: float = 1.0  # the smallest set of tokens that holds this share
    top_k: int = 0  # so many likeliest tokens; 0 for all
    min_p: float = 0.0  # tokens that are at least so likely, as a share of the likeliest one
    beam_width: int = 1  # 1 for no beam search
    length_penalty: float = 1.0  # the exponent of the length that a beam's log-probability is divided by
    seed: int | None = None
    stop: tuple[str, ...] = ()  # texts that end the reply and are not part of it

    def require_sound(self) -> None:
        """Raise a CourseError for a value out of range, or one that would have no effect beside the others."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                upper = "" if high == inf else f" to {high:g}"
                raise CourseError(f"{name} is {value:g}; it may be {low:g}{upper}{' or more' if high == inf else ''}.")
        if self.beam_width > 1 and self.temperature > 0:
            raise CourseError("Beam search draws nothing; leave temperature at 0, or beam_width at 1.")
        idle = [name for name in ("top_p", "top_k", "min_p", "seed") if getattr(self, name) != getattr(Sampling, name)]
        if self.temperature == 0 and idle:
            raise CourseError(f"{idle[0]} has no effect on greedy decoding; set a temperature above 0, or leave it out.")
        if self.beam_width == 1 and self.length_penalty != 1:
            raise CourseError("length_penalty weighs beams; set beam_width above 1, or leave it out.")

    @property
    def penalises(self) -> bool:
        """Whether scores depend on what was said before."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0


@dataclass(frozen=True)
class Progress:
    """What became of a reply since the last one: more text, and once, at the end, why it ended."""

    text: str
    tokens: int  # of the reply, so far
    finish: Finish | None = None  # None while it goes on
    prompt_tokens: int = 0  # known at the end


def penalise(scores, sampling: Sampling, prompt, reply):
    """Return next-token scores with the penalties for tokens that stand in the prompt and the reply.

    scores: (..., vocabulary); prompt, reply: token ids, (..., tokens), one row of each a row of scores.
    """
    import torch

    prompt, reply = (torch.as_tensor(ids, dtype=torch.long, device=scores.device) for ids in (prompt, reply))
    if sampling.repetition_penalty != 1:
        seen = torch.cat((prompt, reply), -1)
        found, factor = scores.gather(-1, seen), sampling.repetition_penalty
        scores = scores.scatter(-1, seen, torch.where(found > 0, found / factor, found * factor))
    if reply.shape[-1] and (sampling.presence_penalty or sampling.frequency_penalty):
        times = torch.zeros_like(scores).scatter_add_(-1, reply, torch.ones_like(reply, dtype=scores.dtype))
        less = sampling.presence_penalty + sampling.frequency_penalty * times.gather(-1, reply)
        scores = scores.scatter(-1, reply, scores.gather(-1, reply) - less)
    return scores


def likeliest(scores):
    """Return the likeliest token for each row of scores, (..., vocabulary), the first of those that are equal; (...).

    As `argmax`, which on a CPU goes from score to score; the highest one of a block it finds in whole registers, and of
    262,144 tokens so in a fraction of the time.
    """
    block = gcd(scores.shape[-1], BLOCK)
    if block < BLOCK // 8:  # a vocabulary of an odd size
        return scores.argmax(-1)
    blocks = scores.unflatten(-1, (-1, block))
    first = blocks.amax(-1).argmax(-1, keepdim=True)
    within = blocks.gather(-2, first.unsqueeze(-1).expand(*first.shape, block)).squeeze(-2).argmax(-1)
    return first.squeeze(-1) * block + within


def draw(scores, sampling: Sampling, generator=None):
    """Return a token for each row of scores: the likeliest at temperature 0, else one that is drawn.

    scores: (..., vocabulary); returns token ids, (...). Drawn is one of the top_k likeliest, of those one in the smallest
    set that holds top_p, and none that is less likely than min_p times the likeliest. generator: torch's; None takes the
    global one.
    """
    if sampling.temperature == 0:
        return likeliest(scores)
    scores = scores.float() / sampling.temperature
    if not sampling.top_k and sampling.top_p >= 1 and not sampling.min_p:
        return _draw_index(scores.softmax(-1), generator)
    shares, tokens = _likeliest(scores, sampling)
    least = sampling.min_p * shares[..., :1]
    shares = shares.masked_fill((shares.cumsum(-1) - shares >= sampling.top_p) | (shares < least), 0)  # the first stays
    return tokens.gather(-1, _draw_index(shares, generator).unsqueeze(-1)).squeeze(-1)


def _likeliest(scores, sampling: Sampling):
    """Return (shares, token ids), the likeliest first, of at least those that may be drawn."""
    if sampling.top_k:
        best, tokens = scores.topk(min(sampling.top_k, scores.shape[-1]))
        return best.softmax(-1), tokens
    total = scores.logsumexp(-1, keepdim=True)
    for count in (FIRST_LOOK, scores.shape[-1]):  # sorting a whole vocabulary takes fifty times as long
        best, tokens = scores.topk(min(count, scores.shape[-1]))
        shares = (best - total).exp()
        is_enough = (shares.sum(-1) >= sampling.top_p) | (shares[..., -1] < sampling.min_p * shares[..., 0])
        if is_enough.all():
            break
    return shares, tokens


def _draw_index(shares, generator):
    """Return for each row an index, drawn in proportion to its shares.

    By the running sum: `torch.multinomial` draws a number for each of the 262,144 tokens, and takes ten times as long.
    """
    import torch

    sums = shares.cumsum(-1)
    total = sums[..., -1:]
    device = shares.device if generator is None else generator.device
    place = torch.rand(total.shape, generator=generator, device=device).to(shares.device) * total
    place = torch.minimum(place, torch.nextafter(total, torch.zeros_like(total)))  # rounding must not reach the end
    return torch.searchsorted(sums, place, right=True).squeeze(-1)


class StopTexts:
    """Passes a reply's pieces on until a stop text stands in it; what may be the start of one is held back."""

    def __init__(self, stops: tuple[str, ...]):
        self.stops = stops
        self.held = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """Return what is safe to show after one more piece."""
        self.held += piece
        found = [place for place in (self.held.find(stop) for stop in self.stops) if place >= 0]
        if found:
            self.stopped = True
            shown, self.held = self.held[: min(found)], ""
            return shown
        keep = max((_overlap(self.held, stop) for stop in self.stops), default=0)
        shown, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return shown

    def rest(self) -> str:
        """Return what was held back, once the reply is over."""
        held, self.held = self.held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of a text that a stop text begins with."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
