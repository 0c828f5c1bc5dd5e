"""Protects: both engines give the same answers through one interface, and refuse what they lack.

vLLM itself needs a GPU; its path runs against `support/standins/vllm`, which has its names and no others.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kotune.answering.engines import EngineChoice, TransformersEngine, VllmEngine, open_engine
from kotune.models import sources
from kotune.models.chat_template import end_of_turn_id, render, stop_ids
from kotune.models.sampling import Sampling
from tests.support.serving import save_tiny_model
from utils import CourseError


@pytest.fixture
def tuned(tiny_model, tiny_recipe, tokenizer, tmp_path):
    """A tiny base with an adapter, as found on disk, and the recipe to load it with."""
    _, adapter = save_tiny_model(tiny_model, tokenizer, tmp_path)
    return sources.find(str(adapter), tiny_recipe)


@pytest.fixture
def vllm_here(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support" / "standins"))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
        del sys.modules[name]


@pytest.fixture
def prompts(tokenizer, records):
    return [render(tokenizer, record["prompt"]).ids for record in records]


def answers_of(engine, prompts):
    found = dict(pair for batch in engine.answers(prompts) for pair in batch)
    assert sorted(found) == list(range(len(prompts)))
    return [found[i] for i in range(len(prompts))]


@pytest.mark.slow
def test_vllm_answers_as_transformers_with_the_adapter_on(tuned, tiny_recipe, prompts, vllm_here):
    sampling = Sampling(max_tokens=8)
    ours = answers_of(TransformersEngine(tuned[-1], tiny_recipe, sampling), prompts)
    engine = VllmEngine(tuned[-1], sampling)
    assert answers_of(engine, prompts) == ours
    base = answers_of(VllmEngine(tuned[0], sampling), prompts)
    assert base == answers_of(TransformersEngine(tuned[0], tiny_recipe, sampling), prompts) != ours
    [(given, parameters, lora)] = engine.llm.asked
    assert [prompt["prompt_token_ids"] for prompt in given] == prompts  # ids: its own template never has a say
    assert parameters.stop_token_ids == stop_ids(engine.tokenizer)
    assert Path(lora.lora_path).is_absolute()  # a relative one would be taken for a hub name
    assert engine.llm.generation_config == "vllm" and engine.llm.max_lora_rank == 8


@pytest.mark.slow
def test_the_ten_parameters_reach_vllm(tuned, prompts, vllm_here, monkeypatch):
    sampling = Sampling(9, 0.7, 0.1, 0.2, 1.3, 0.8, 40, 0.05, seed=3)
    engine = VllmEngine(tuned[-1], sampling)
    kept = []
    monkeypatch.setattr(engine.llm, "generate", lambda prompts, parameters, **_: kept.append(parameters) or [])
    engine._sampled(prompts)
    same = ("max_tokens", "temperature", "presence_penalty", "frequency_penalty", "repetition_penalty", "top_p", "top_k",
            "min_p", "seed")  # fmt: skip
    assert {name: getattr(kept[0], name) for name in same} == {name: getattr(sampling, name) for name in same}


@pytest.mark.slow
def test_beam_search_ends_at_the_end_of_a_turn_in_vllm_too(tuned, tiny_recipe, prompts, vllm_here):
    sampling = Sampling(max_tokens=8, beam_width=3)
    engine = VllmEngine(tuned[-1], sampling)
    assert engine.llm.end == end_of_turn_id(engine.tokenizer)  # vLLM's beams end at the tokenizer's own end token
    assert engine.tokenizer.eos_token_id != engine.llm.end
    found = answers_of(engine, prompts)
    assert [answer.text for answer in found] == [
        answer.text for answer in answers_of(TransformersEngine(tuned[-1], tiny_recipe, sampling, 1), prompts)
    ]


@pytest.mark.slow
def test_one_prompt_streams_what_a_batch_says(tuned, tiny_recipe, prompts, vllm_here):
    for sampling in (Sampling(max_tokens=8), Sampling(max_tokens=8, beam_width=2), Sampling(8, 0.9, top_k=5, seed=1)):
        engine = TransformersEngine(tuned[-1], tiny_recipe, sampling)
        pieces = list(engine.stream(prompts[0]))
        again = "".join(engine.stream(prompts[0]))
        assert "".join(pieces).strip() == again.strip()
        if sampling.temperature == 0:
            assert again.strip() == answers_of(engine, prompts[:1])[0].text
    whole = VllmEngine(tuned[-1], Sampling(max_tokens=8))
    assert list(whole.stream(prompts[0])) == [answers_of(whole, prompts[:1])[0].text]


@pytest.mark.slow
def test_what_fails_while_streaming_is_said(tuned, tiny_recipe, prompts):
    engine = TransformersEngine(tuned[-1], tiny_recipe, Sampling(max_tokens=8))
    with pytest.raises(IndexError):
        list(engine.stream([10_000_000]))  # no such token: an error of the thread that generates


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "sampling", "says"),
    [
        (EngineChoice(tensor_parallel=2), Sampling(), "no --tensor_parallel_size"),
        (EngineChoice("vllm"), Sampling(), "needs a CUDA GPU"),
        (EngineChoice(max_rows=0), Sampling(), "--batch_size is 0"),
        (EngineChoice(), Sampling(top_p=0.9), "top_p has no effect on greedy"),
        (EngineChoice(), Sampling(length_penalty=2), "length_penalty weighs beams"),
        (EngineChoice(), Sampling(beam_width=2, temperature=1), "Beam search draws nothing"),
        (EngineChoice(), Sampling(temperature=3), "temperature is 3; it may be 0 to 2"),
        (EngineChoice(), Sampling(max_tokens=0), "max_tokens is 0; it may be 1 or more"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_loading(choice, sampling, says, tuned, tiny_recipe):
    with pytest.raises(CourseError, match=says):
        open_engine(choice, replace(tuned[-1], base="no/such/model"), tiny_recipe, sampling)


def test_what_vllm_lacks_is_refused_by_name(tuned, vllm_here, tiny_recipe):
    with pytest.raises(CourseError, match="beam search has no repetition_penalty"):
        VllmEngine(tuned[-1], Sampling(beam_width=2, repetition_penalty=1.2))
    stacked = replace(tuned[-1], adapters=tuned[-1].adapters * 2)
    with pytest.raises(CourseError, match="stands on another adapter"):
        VllmEngine(stacked, Sampling())
    with pytest.raises(CourseError, match="batches itself"):
        open_engine(EngineChoice("vllm", max_rows=4), tuned[-1], replace(tiny_recipe, device="cuda"), Sampling())


def test_without_vllm_the_error_says_so(tuned):
    with pytest.raises(CourseError, match=r"vLLM is not installed.*pip install -e '\.\[gpu\]'"):
        VllmEngine(tuned[-1], Sampling())


@pytest.mark.slow
def test_an_adapter_on_4_bit_weights_stays_on_top(tuned, tiny_recipe, prompts):
    recipe = replace(tiny_recipe, quantization="nf4")
    engine = TransformersEngine(tuned[-1], recipe, Sampling(max_tokens=4))
    assert engine.model.peft_config and len(answers_of(engine, prompts)) == len(prompts)
    with pytest.raises(CourseError, match="merge them first"):
        TransformersEngine(replace(tuned[-1], adapters=tuned[-1].adapters * 2), recipe, Sampling())
