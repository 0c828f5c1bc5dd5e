"""Protects: the fast log-probabilities and their gradient are those of a plain log-softmax."""

import pytest
import torch
import torch.nn.functional as F

from kotune.training import losses
from utils import CourseError


@pytest.mark.parametrize("tokens", [1, 7, 8, losses.HEAD_ROWS, losses.HEAD_ROWS + 3])
def test_values_and_gradient_equal_log_softmax(tokens):
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


@pytest.mark.slow
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
