"""How each next token is chosen, and where a reply stops: the sampling parameters of the server."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """The parameters of one reply, with their meaning in OpenAI's and vLLM's interfaces; greedy by default.

    temperature: 0 takes the likeliest token. top_k: 0 for all. stop: texts that end the reply and are not part of it.
    repetition_penalty divides the scores of tokens that the prompt or the reply holds (arXiv 1909.05858); presence
    and frequency penalties are subtracted for those that the reply holds, once or for each time.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def penalises(self) -> bool:
        """Whether scores depend on what was said before."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0


@dataclass(frozen=True)
class Progress:
    """What became of a reply since the last one: more text, and once, at the end, why it ended.

    tokens: of the reply, so far. finish: None while it goes on; "stop" at the end of the turn or at a stop text; "length"
    at the limit. prompt_tokens: known at the end.
    """

    text: str
    tokens: int
    finish: str | None = None
    prompt_tokens: int = 0


def penalise(scores, sampling: Sampling, prompt: list[int], reply: list[int]):
    """Return scores, (vocabulary,), with the penalties for tokens that stand in the prompt and the reply."""
    import torch

    scores = scores.clone()
    if sampling.repetition_penalty != 1:
        seen = torch.tensor(sorted({*prompt, *reply}), device=scores.device)
        factor = sampling.repetition_penalty
        scores[seen] = torch.where(scores[seen] > 0, scores[seen] / factor, scores[seen] * factor)
    counts = Counter(reply)
    if counts:
        said = torch.tensor(list(counts), device=scores.device)
        times = torch.tensor(list(counts.values()), dtype=scores.dtype, device=scores.device)
        scores[said] -= sampling.presence_penalty + sampling.frequency_penalty * times
    return scores


def draw(scores, sampling: Sampling, generator) -> int:
    """Draw a token from scores, (vocabulary,): the top_k likeliest, of these the smallest set that holds top_p."""
    import torch

    if sampling.temperature == 0:
        return int(scores.argmax())
    scores = scores / sampling.temperature
    if not sampling.top_k and sampling.top_p >= 1:
        return int(torch.multinomial(scores.softmax(-1), 1, generator=generator))
    # sorting all 262,144 takes 15 ms; the largest alone take under one
    best, tokens = scores.topk(min(sampling.top_k or len(scores), len(scores)))
    shares = best.softmax(-1)
    shares[shares.cumsum(-1) - shares >= sampling.top_p] = 0  # the first token always stays
    return int(tokens[torch.multinomial(shares, 1, generator=generator)])


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
