"""Protects: what a pass computes is bounded, prompts pass no head, and the cache holds what is needed and little more."""

import pytest
import torch

from kotune.models.rounds import ROW_STEP, WIDTH_STEP, Runner, SlotCache, Ticket
from kotune.models.sampling import Sampling

END = 1


def ticket(tokens, most=4):
    return Ticket([2] * tokens, Sampling(max_tokens=most))


@pytest.fixture
def runner(tiny_model):
    with torch.inference_mode():
        yield Runner(tiny_model, [END])


@pytest.fixture
def passes(runner, monkeypatch):
    """The (rows, tokens) of each pass, and whether it was the whole model's, head included."""
    seen, forward = [], runner._forward
    monkeypatch.setattr(runner, "_forward", lambda module, first, tokens, starts, **options: (
        seen.append((len(tokens), len(tokens[0]), module is runner.model)),
        forward(module, first, tokens, starts, **options),
    )[1])  # fmt: skip
    return seen


def test_a_pass_over_prompts_computes_no_more_than_its_budget_and_no_head(runner, passes):
    for tokens in (6, 6, 6, 60, 3, 3):
        runner.add(ticket(tokens))
    while runner.reading:
        runner.read_prompts(20)
    assert passes == [(3, 5, False), (1, 20, False), (1, 20, False), (1, 19, False), (2, 2, False)]
    assert all(rows * tokens <= 20 for rows, tokens, _ in passes)
    runner.speak()
    assert passes[-1] == (6, 1, True)


def test_a_prompt_of_one_token_has_nothing_to_be_read(runner, passes):
    runner.add(ticket(1))
    runner.read_prompts(20)
    assert passes == [] and runner.speaking == 1
    runner.speak()
    assert len(runner.running[0].reply) == 1


def test_the_cache_grows_with_what_is_written_and_not_with_what_may_come(runner):
    runner.add(ticket(10, most=2000))
    runner.read_prompts(64)
    runner.speak()
    assert (runner.cache.rows, runner.cache.width) == (ROW_STEP, WIDTH_STEP)
    runner.most_rows = 1  # known: no row is kept ready
    runner.cache.clear()
    runner.running[0].read, runner.speaking = 0, 0
    runner.read_prompts(64)
    assert (runner.cache.rows, runner.cache.width) == (1, WIDTH_STEP)


def test_what_a_row_holds_is_kept_when_the_cache_grows_and_shrinks():
    cache = SlotCache(torch.float32, torch.device("cpu"))
    cache.fit(2, 4)
    cache.point(0, torch.arange(3)[None].expand(2, 3), 2)
    states = torch.arange(12.0).reshape(2, 1, 3, 2)
    cache.update(states, -states, 0)
    for rows, width in ((8, 256), (2, 3)):
        cache.fit(rows, width)
        assert cache.keys[0].shape == (rows, 1, width, 2)
        assert torch.equal(cache.keys[0][:2, :, :3], states) and torch.equal(cache.values[0][:2, :, :3], -states)


def test_who_leaves_lets_the_others_keep_what_they_have(runner):
    tickets = [ticket(3, most) for most in (2, 9, 1, 9)]
    alone = []
    for own in tickets:
        single = Runner(runner.model, [END])
        single.add(Ticket(own.prompt, own.sampling))
        while single.running:
            single.read_prompts(64)
            alone += [left.reply for left in single.speak()]
    for own in tickets:
        runner.add(own)
    while runner.running:
        runner.read_prompts(64)
        runner.speak()
    assert [own.reply for own in tickets] == alone
    assert runner.cache.keys == [] and runner.speaking == 0
