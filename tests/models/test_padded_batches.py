"""Protects: beams, which transformers searches, come back in order, survive a lack of memory, and count as rounds do."""

import pytest
import torch

from kotune.models import padded_batches
from kotune.models.chat_template import render
from kotune.models.decoding import decode, write
from kotune.models.sampling import Sampling, penalise
from utils import CourseError

BEAMS = Sampling(max_tokens=4, beam_width=2)


@pytest.fixture
def prompts(tokenizer, records):
    return [render(tokenizer, record["prompt"]).ids for record in records]


def answers(model, tokenizer, prompts, rows):
    return [pair for batch in decode(model, tokenizer, prompts, BEAMS, rows) for pair in batch]


def test_beams_are_those_of_generate(tiny_model, tokenizer, prompts):
    found = dict(answers(tiny_model, tokenizer, prompts, 3))
    for place, prompt in enumerate(prompts):
        with torch.inference_mode():
            output = tiny_model.generate(input_ids=torch.tensor([prompt]), max_new_tokens=4, num_beams=2, do_sample=False)
        assert found[place].text == tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True).strip()
    assert list(write(tiny_model, tokenizer, prompts[0], BEAMS)) == [found[0].text]  # whole, at the end


def test_memory_that_runs_out_halves_the_batch_and_nothing_is_lost(tiny_model, tokenizer, prompts, monkeypatch, capsys):
    expected = dict(answers(tiny_model, tokenizer, prompts, 1))
    plain, sizes = tiny_model.generate, []

    def generate(input_ids, **options):
        sizes.append(len(input_ids))
        if len(input_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return plain(input_ids=input_ids, **options)

    monkeypatch.setattr(tiny_model, "generate", generate)
    found = answers(tiny_model, tokenizer, prompts, 4)
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert len(found) == len(prompts) and dict(found) == expected
    assert "memory ran out with 4 rows at once; going on with 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "raised", "says"),
    [
        ("DefaultCPUAllocator: can't allocate memory", CourseError, "Memory ran out with one prompt of 3 tokens"),
        ("shapes do not match", RuntimeError, "shapes"),
    ],
)
def test_only_a_lack_of_memory_is_told_as_one(tiny_model, tokenizer, monkeypatch, error, raised, says):
    def generate(**_):
        raise RuntimeError(error)

    monkeypatch.setattr(tiny_model, "generate", generate)
    with pytest.raises(raised, match=says):
        answers(tiny_model, tokenizer, [[2, 105, 107]], 4)


def test_penalties_count_the_reply_alone_as_the_server_does():
    """Equal to the server's own penalties, row by row, prompt and padding not counted."""
    torch.manual_seed(0)
    scores, ids = torch.randn(2, 50), torch.tensor([[7, 7, 9, 3, 3, 4], [0, 9, 9, 5, 6, 7]])
    settings = {"presence_penalty": 0.5, "frequency_penalty": 0.25, "repetition_penalty": 1.3}
    [processor] = padded_batches.processors(Sampling(**settings), width=3)
    expected = [
        penalise(row, Sampling(**settings), prompt[:3], prompt[3:]) for row, prompt in zip(scores, ids.tolist(), strict=True)
    ]
    torch.testing.assert_close(processor(ids, scores), torch.stack(expected))
