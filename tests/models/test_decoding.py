"""Protects: answers come back in order, sliced by tokens, say how they ended, and survive a lack of memory."""

from dataclasses import replace

import pytest
import torch

from kotune.models import decoding as decoding_module
from kotune.models.chat_template import render, stop_ids
from kotune.models.decoding import decode
from kotune.models.sampling import Sampling, penalise
from utils import CourseError


def prompts_of(records):
    return [record["prompt"] for record in records]


def test_a_batch_answers_as_one_by_one(tiny_model, tiny_recipe, tokenizer, records):
    together = decoding_module.generate(tiny_model, tokenizer, prompts_of(records), tiny_recipe)
    alone = decoding_module.generate(tiny_model, tokenizer, prompts_of(records), replace(tiny_recipe, generation_batch=1))
    assert [a.text for a in together] == [a.text for a in alone]
    backwards = decoding_module.generate(tiny_model, tokenizer, prompts_of(records)[::-1], tiny_recipe)
    assert backwards[::-1] == together


def test_a_reply_is_printed_as_it_is_written(tiny_model, tiny_recipe, tokenizer, records, capsys):
    prompt = prompts_of(records)[0]
    shown = decoding_module.stream(tiny_model, tokenizer, prompt, tiny_recipe)
    assert shown == decoding_module.generate(tiny_model, tokenizer, [prompt], tiny_recipe)[0]
    assert shown.text in capsys.readouterr().out


def test_a_model_that_never_ends_is_cut_and_says_so(tiny_model, tiny_recipe, tokenizer, records):
    answers = decoding_module.generate(tiny_model, tokenizer, prompts_of(records), tiny_recipe)
    assert all(a.tokens == tiny_recipe.max_new_tokens and not a.ended for a in answers)


def test_the_end_of_turn_ends_an_answer_and_is_not_in_its_text(tokenizer):
    end = stop_ids(tokenizer)[-1]
    ids = tokenizer.encode("model이라는 낱말", add_special_tokens=False)
    answer = decoding_module.read_reply(tokenizer, [*ids, end, tokenizer.pad_token_id], stop_ids(tokenizer))
    assert answer == decoding_module.Answer("model이라는 낱말", len(ids), True)
    assert not decoding_module.read_reply(tokenizer, ids, stop_ids(tokenizer)).ended


def test_memory_that_runs_out_halves_the_batch_and_nothing_is_lost(tiny_model, tokenizer, records, monkeypatch, capsys):
    """The first batches raise what CUDA raises; the answers are those of an undisturbed run, none twice."""
    prompts = [render(tokenizer, record["prompt"]).ids for record in records]
    sampling = Sampling(max_tokens=4)
    expected = dict(pair for batch in decode(tiny_model, tokenizer, prompts, sampling, 1) for pair in batch)
    plain, sizes = tiny_model.generate, []

    def generate(input_ids, **options):
        sizes.append(len(input_ids))
        if len(input_ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return plain(input_ids=input_ids, **options)

    monkeypatch.setattr(tiny_model, "generate", generate)
    found = [pair for batch in decode(tiny_model, tokenizer, prompts, sampling, 4) for pair in batch]
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert len(found) == len(prompts) and dict(found) == expected
    assert "memory ran out with 4 rows at once; going on with 2" in capsys.readouterr().out


def test_a_prompt_that_does_not_fit_alone_is_one_sentence(tiny_model, tokenizer, monkeypatch):
    def generate(**_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(tiny_model, "generate", generate)
    with pytest.raises(CourseError, match="Memory ran out with one prompt of 3 tokens"):
        list(decode(tiny_model, tokenizer, [[2, 105, 107]], Sampling(), 4))


def test_an_error_that_is_not_of_memory_is_not_hidden(tiny_model, tokenizer, monkeypatch):
    def generate(**_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(tiny_model, "generate", generate)
    with pytest.raises(RuntimeError, match="shapes"):
        list(decode(tiny_model, tokenizer, [[2, 105, 107]], Sampling(), 4))


def test_batches_are_sized_to_memory(tiny_model, tokenizer, monkeypatch):
    narrow = decoding_module.rows_that_fit(tiny_model, 100, Sampling())
    assert decoding_module.rows_that_fit(tiny_model, 1000, Sampling()) < narrow
    assert decoding_module.rows_that_fit(tiny_model, 100, Sampling(beam_width=4)) < narrow / 3
    with pytest.raises(CourseError, match=r"A prompt of 1,000,000 tokens .* takes [\d.]+ GiB and [\d.]+ are free"):
        decoding_module.rows_that_fit(tiny_model, 1_000_000, Sampling())
    monkeypatch.setattr(decoding_module, "rows_that_fit", lambda *_: 2)
    batches = list(decode(tiny_model, tokenizer, [[2, 105, 107]] * 5, Sampling(max_tokens=1), 4))
    assert [len(batch) for batch in batches] == [2, 2, 1]


def test_penalties_count_the_reply_alone_as_the_server_does(tokenizer):
    """Equal to the server's own penalties, row by row, prompt and padding not counted."""
    torch.manual_seed(0)
    scores, ids = torch.randn(2, 50), torch.tensor([[7, 7, 9, 3, 3, 4], [0, 9, 9, 5, 6, 7]])
    settings = {"presence_penalty": 0.5, "frequency_penalty": 0.25, "repetition_penalty": 1.3}
    [processor] = decoding_module.processors(Sampling(**settings), width=3)
    expected = [
        penalise(row, Sampling(**settings), prompt[:3], prompt[3:]) for row, prompt in zip(scores, ids.tolist(), strict=True)
    ]
    torch.testing.assert_close(processor(ids, scores), torch.stack(expected))


@pytest.mark.slow
def test_a_repetition_penalty_changes_a_reply_and_a_seed_repeats_one(tiny_model, tokenizer, records):
    prompts = [render(tokenizer, record["prompt"]).ids for record in records]

    def said(**settings):
        batches = decode(tiny_model, tokenizer, prompts, Sampling(max_tokens=6, **settings), 2)
        return dict(pair for batch in batches for pair in batch)

    drawn = {"temperature": 1.5, "top_k": 50, "min_p": 0.01}
    assert said(**drawn, seed=1) == said(**drawn, seed=1) != said(**drawn, seed=2)
    assert said(frequency_penalty=2.0) != said() != said(repetition_penalty=5.0)
