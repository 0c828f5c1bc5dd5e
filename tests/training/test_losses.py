"""Protects: the fast log-probabilities and their gradient are those of a plain log-softmax."""

import pytest
import torch
import torch.nn.functional as F

from kotune.models import memory
from kotune.training import losses
from utils import CourseError


@pytest.mark.parametrize("part", [None, 1, 16])
@pytest.mark.parametrize("tokens", [0, 1, 7, 195])
def test_values_and_gradient_equal_log_softmax(tokens, part, monkeypatch):
    """The head is read in parts, of which the last is smaller and each may raise the maximum."""
    if part:
        monkeypatch.setattr(memory, "SMALLEST_PART", part)
        monkeypatch.setattr(memory, "LARGEST_PART", part)
    torch.manual_seed(tokens)
    hidden = torch.randn(tokens, 16, dtype=torch.float64, requires_grad=True)
    head = torch.randn(50, 16, dtype=torch.float64)
    targets = torch.randint(50, (tokens,))
    weights = torch.randn(tokens, dtype=torch.float64)  # DPO weighs each row differently

    expected = F.log_softmax(hidden @ head.T, dim=-1).gather(1, targets[:, None])[:, 0]
    (expected_gradient,) = torch.autograd.grad((weights * expected).sum(), hidden)
    ours = losses.token_logprobs(hidden, head, targets)
    (gradient,) = torch.autograd.grad((weights * ours).sum(), hidden)

    assert torch.allclose(ours.double(), expected, atol=1e-5)
    assert torch.allclose(gradient, expected_gradient, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(losses.token_logprobs(hidden, head, targets), ours)


def test_logits_far_apart_neither_overflow_nor_vanish(monkeypatch):
    monkeypatch.setattr(memory, "LARGEST_PART", 2)
    monkeypatch.setattr(memory, "SMALLEST_PART", 2)
    logits = torch.tensor([-200.0, 90.0, 200.0, -90.0, 199.0])
    hidden = torch.ones(5, 1, requires_grad=True)
    ours = losses.token_logprobs(hidden, logits[:, None], torch.arange(5))
    assert torch.allclose(ours, F.log_softmax(logits, dim=-1), rtol=1e-5)
    ours.sum().backward()
    assert torch.allclose(hidden.grad[:, 0], logits - (logits.softmax(-1) * logits).sum(), rtol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_head_is_read_in_parts_that_fit_and_never_in_none(device):
    for tokens in (0, 1, 100, 350, 5_000, 10**6):
        part = memory.head_part(tokens, device)
        assert memory.SMALLEST_PART <= part <= memory.LARGEST_PART
        assert part & (part - 1) == 0  # so that it divides Gemma's vocabulary
        assert tokens * part <= max(memory.head_logits(device), tokens * memory.SMALLEST_PART)


def test_completion_logprobs_equal_the_models_own_logits(tiny_model, tokenizer, records):
    from kotune.training.stages import encode_supervised

    rows = encode_supervised(records, tokenizer, 128).rows
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows])
    labels = torch.tensor([row["labels"] + [-100] * (width - len(row["labels"])) for row in rows])
    mask = (torch.arange(width) < torch.tensor([[len(row["labels"])] for row in rows])).long()
    with torch.no_grad():
        logits = tiny_model(input_ids=ids, attention_mask=mask).logits
        logprobs, at = losses.completion_logprobs(tiny_model, ids, mask, labels)
    expected = -F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")  # 0 where ignored
    assert torch.allclose(losses.sum_by_row(logprobs, at, len(rows)), expected.sum(1), atol=1e-3)


def test_a_model_that_caps_its_logits_is_refused(tiny_model):
    tiny_model.config.final_logit_softcapping = 30.0
    one = torch.ones(1, 2, dtype=torch.long)
    with pytest.raises(CourseError, match="Gemma 2"):
        losses.completion_logprobs(tiny_model, one, one, one)
