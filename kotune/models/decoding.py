"""Answers of a model in memory to many prompts, or to one as it is written: rounds of `rounds`, sized to memory.

The longest prompts go first. A reply leaves when it has ended, and the next prompt takes its row; on a CPU in bfloat16 the
weights are packed once for all of it (`packing`), and the head is computed for each row's last token alone.

Greedy replies in float32 are those of transformers' `generate`, token for token. In bfloat16 a product's last bit depends on
how many rows it has, so where two tokens are nearly as likely, another batch may take the other one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256

from kotune.models import padded_batches
from kotune.models.chat_template import render, stop_ids
from kotune.models.loading import is_out_of_memory
from kotune.models.machine import Recipe
from kotune.models.packing import pack
from kotune.models.room import fewer_rows, rows_that_fit
from kotune.models.sampling import Sampling
from kotune.progress import bar
from prompts import Message

# of prompts, read in one pass: on a CPU a product of so many rows is as fast as one of more, a GPU is idle with so few
CPU_TOKENS, GPU_TOKENS = 512, 4096


@dataclass(frozen=True)
class Answer:
    """One generated reply: its text, its tokens, and whether it ended by itself or was cut at the limit."""

    text: str
    tokens: int
    ended: bool


def generate(model, tokenizer, prompts: Sequence[Sequence[Message]], recipe: Recipe, label: str = "answers") -> list[Answer]:
    """Answer every prompt greedily within the recipe's limits and return the answers in the prompts' order.

    Prompts go through the renderer of training.
    """
    rendered = [render(tokenizer, prompt).ids for prompt in prompts]
    answers: dict[int, Answer] = {}
    sampling = Sampling(max_tokens=recipe.max_new_tokens)
    with bar(len(rendered), label, "answer") as shown:
        for ended in decode(model, tokenizer, rendered, sampling, recipe.generation_batch):
            answers |= dict(ended)
            shown.update(len(ended))
    return [answers[i] for i in range(len(rendered))]


def stream(model, tokenizer, prompt: Sequence[Message], recipe: Recipe) -> Answer:
    """Answer one prompt greedily within the recipe's limit, printing the reply as it is written; return the answer."""
    pieces = write(model, tokenizer, render(tokenizer, prompt).ids, Sampling(max_tokens=recipe.max_new_tokens))
    while True:
        try:
            print(next(pieces), end="", flush=True)
        except StopIteration as end:
            print()
            return end.value


def decode(
    model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, max_rows: int
) -> Iterator[list[tuple[int, Answer]]]:
    """Yield the (index, Answer)s of replies as they end, the longest prompts first.

    prompts: token ids, (prompts, tokens). As many rows run at once as fit into memory, `max_rows` at most; if they do not
    fit after all, half as many go on. With a seed, what a row draws depends on the seed, its prompt, and how many equal
    prompts come before it: not on the other rows, nor on how many run at once. Stop texts are for `write`.

    Raises:
        CourseError: not even one prompt with its reply fits into memory.
    """
    for ended in replies(model, tokenizer, prompts, sampling, max_rows):
        yield [(i, _answer(tokenizer, tokens, by_itself)) for i, tokens, by_itself in ended]


def replies(
    model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, max_rows: int
) -> Iterator[list[tuple[int, list[int], bool]]]:
    """Yield (index, the reply's tokens, whether it ended by itself)s as replies end; `decode` makes texts of them."""
    if not _in_rounds(model, sampling):
        yield from padded_batches.replies(model, tokenizer, prompts, sampling, max_rows)
        return
    with _runner(model, tokenizer, most_rows=max_rows) as runner:
        batch = _Batch(runner, prompts, sampling)
        while batch.waiting or runner.running:
            if ended := batch.round():
                yield [(batch.places.pop(ticket), ticket.reply, ticket.finish == "stop") for ticket in ended]


class _Batch:
    """Prompts that wait for a row of a runner, the longest first, and which of them each running reply answers."""

    def __init__(self, runner, prompts: Sequence[Sequence[int]], sampling: Sampling):
        self.runner, self.prompts, self.sampling = runner, prompts, sampling
        self.samplings = _own_samplings(prompts, sampling)
        self.waiting: deque[int] = deque()
        self.places: dict = {}
        self._queue(range(len(prompts)))

    def round(self) -> list:
        """Fill the rows and take a step; return the tickets that have ended, none where memory ran out.

        Raises:
            CourseError: not even one prompt with its reply fits into memory.
        """
        import torch

        try:
            self._admit()
            with torch.inference_mode():
                _read(self.runner)
                return self.runner.speak()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        self._start_again()  # out here, because an error holds what its frames held
        return []

    def _admit(self) -> None:
        running = self.runner.running
        while self.waiting and len(running) < self.runner.most_rows:
            widest = max(len(self.prompts[self.waiting[0]]), *(len(ticket.prompt) for ticket in running), 0)
            if len(running) >= rows_that_fit(self.runner.model, widest, self.sampling):
                break
            place = self.waiting.popleft()
            ticket = _ticket(self.runner.model, self.prompts[place], self.samplings[place])
            self.places[ticket] = place
            self.runner.add(ticket)

    def _start_again(self) -> None:
        """Go on with half of the rows, and with the replies of all from their beginning."""
        stopped = [self.places.pop(ticket) for ticket in self.runner.clear()]
        width = max(len(self.prompts[place]) for place in stopped)
        self.runner.most_rows = fewer_rows(self.runner.model, len(stopped), width, self.sampling)
        self._queue(stopped)

    def _queue(self, places: Iterable[int]) -> None:
        # what does not fit shows at once, and not after an hour
        self.waiting = deque(sorted([*places, *self.waiting], key=lambda place: -len(self.prompts[place])))


def decode_tokens(model, tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
    """Return the tokens of the reply to each prompt, its end token left out; all prompts at once, where memory allows."""
    found = [one for ended in replies(model, tokenizer, prompts, sampling, len(prompts)) for one in ended]
    return [tokens for _, tokens, _ in sorted(found)]


def write(model, tokenizer, prompt: Sequence[int], sampling: Sampling) -> Generator[str, None, Answer]:
    """Yield the pieces of one reply as they are written, and return its Answer; what rounds cannot do comes whole.

    A seed draws what it draws in `decode`. A stop text ends the reply and is not part of it.
    """
    if not _in_rounds(model, sampling):
        [[(_, answer)]] = decode(model, tokenizer, [prompt], sampling, 1)
        yield answer.text
        return answer
    import torch

    from kotune.models.rounds import ReplyText

    pieces: list[str] = []
    shown = ""
    ticket = _ticket(model, prompt, _own_samplings([prompt], sampling)[0])
    ticket.text = text = ReplyText(tokenizer, sampling.stop)
    ticket.deliver = lambda progress: pieces.append(progress.text)
    with _runner(model, tokenizer, most_rows=1) as runner:
        runner.add(ticket)
        while not ticket.finish:
            with torch.inference_mode():
                _read(runner)
                runner.speak()
            said = "".join(pieces)
            pieces.clear()
            if said:
                shown += said
                yield said
    whole = shown if text.stops.stopped else tokenizer.decode(ticket.reply, skip_special_tokens=True)
    if whole != shown and whole.startswith(shown):  # the beginning of a character, which the limit cut
        yield whole[len(shown) :]
    return Answer(whole.strip(), len(ticket.reply), ticket.finish == "stop")


def read_reply(tokenizer, tokens: Sequence[int], ends: Collection[int]) -> Answer:
    """Return the reply that generated tokens stand for, up to the first end token."""
    return _answer(tokenizer, *padded_batches.until_end(tokens, ends))


def _answer(tokenizer, tokens: Sequence[int], by_itself: bool) -> Answer:
    return Answer(tokenizer.decode(tokens, skip_special_tokens=True).strip(), len(tokens), by_itself)


def _in_rounds(model, sampling: Sampling) -> bool:
    from kotune.models.rounds import can_run

    return sampling.beam_width == 1 and can_run(model)


@contextmanager
def _runner(model, tokenizer, most_rows: int) -> Iterator:
    """Give a runner of a model in evaluation mode, with its weights packed where memory allows; then all is as before."""
    from kotune.models.rounds import Runner

    was_training = model.training
    model.eval()
    try:
        yield Runner(model, stop_ids(tokenizer), pack(model), most_rows)
    finally:
        if was_training:
            model.train()


def _read(runner) -> None:
    """Read all prompts to their end before anybody speaks: no reader waits for a first token here."""
    budget = GPU_TOKENS if runner.model.device.type == "cuda" else CPU_TOKENS
    while runner.reading:
        runner.read_prompts(budget)


def _ticket(model, prompt: Sequence[int], sampling: Sampling):
    from kotune.models.rounds import Ticket, own_generator

    return Ticket(list(prompt), sampling, generator=own_generator(sampling, model.device))


def _own_samplings(prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Sampling]:
    """Return each prompt's settings, which differ in the seed alone where there is one.

    With one seed for all, equal prompts would get equal replies; with one by place, a run that goes on where another was
    killed would draw otherwise.
    """
    if sampling.seed is None:
        return [sampling] * len(prompts)
    times: Counter[tuple[int, ...]] = Counter()
    found = []
    for prompt in map(tuple, prompts):
        said = repr((sampling.seed, prompt, times[prompt])).encode()
        found.append(replace(sampling, seed=int.from_bytes(sha256(said).digest()[:7])))
        times[prompt] += 1
    return found
