"""Protects: replies are those of transformers' own generate, come back whole, and survive a lack of memory."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kotune.models import decoding as decoding_module
from kotune.models import padded_batches
from kotune.models.chat_template import render, stop_ids
from kotune.models.decoding import decode, decode_tokens, write
from kotune.models.rounds import Runner
from kotune.models.sampling import Sampling
from tests.support import tiny_families
from utils import CourseError

LONGER_THAN_A_WINDOW = 40
PENALTIES = [{}, {"repetition_penalty": 1.5}, {"presence_penalty": 1.0, "frequency_penalty": 0.5}]


def prompts_of(records):
    return [record["prompt"] for record in records]


@lru_cache
def family_of(name):
    """Return a tiny model of a family and its tokenizer; `mistral` has a window in all layers and no list of kinds."""
    if name != "mistral":
        return tiny_families.make(name)
    from transformers import MistralConfig, MistralForCausalLM

    _, tokenizer = tiny_families.make("llama 2")
    torch.manual_seed(0)
    config = MistralConfig(vocab_size=len(tokenizer) + 3, **tiny_families.SHAPE, head_dim=16, sliding_window=8)
    model = MistralForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.2)
    return model, tokenizer


@st.composite
def cases(draw):
    """Return (family, prompts as token ids, settings, rows at once, end tokens): enough ends that rows leave unevenly."""
    family = draw(st.sampled_from([*tiny_families.FAMILIES, "mistral"]))
    tokens = st.integers(3, len(family_of(family)[1]) - 1)
    prompts = draw(st.lists(st.lists(tokens, min_size=1, max_size=LONGER_THAN_A_WINDOW), min_size=1, max_size=7))
    sampling = Sampling(max_tokens=draw(st.integers(1, 12)), **draw(st.sampled_from(PENALTIES)))
    every = draw(st.sampled_from([3, 7, 1000]))
    return family, prompts, sampling, draw(st.integers(1, 8)), list(range(2, len(family_of(family)[1]), every))


def alone(model, tokenizer, prompt, sampling, ends):
    """Return what transformers' generate says to one prompt, without padding, and whether it ended."""
    with torch.inference_mode():
        output = model.generate(
            input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), eos_token_id=ends,
            pad_token_id=0, logits_processor=padded_batches.processors(sampling, len(prompt)),
            **padded_batches.generation_arguments(sampling),
        )  # fmt: skip
    tokens, ended = padded_batches.until_end(output[0, len(prompt) :].tolist(), ends)
    return decoding_module.Answer(tokenizer.decode(tokens, skip_special_tokens=True).strip(), len(tokens), ended)


@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(cases())
def test_greedy_replies_are_those_of_generate_whatever_stands_beside_them(monkeypatch, case):
    family, prompts, sampling, rows, ends = case
    model, tokenizer = family_of(family)
    monkeypatch.setattr(decoding_module, "stop_ids", lambda _: ends)
    found = [one for ended in decode(model, tokenizer, prompts, sampling, rows) for one in ended]
    assert sorted(place for place, _ in found) == list(range(len(prompts)))
    assert dict(found) == {i: alone(model, tokenizer, ids, sampling, ends) for i, ids in enumerate(prompts)}


def test_a_batch_answers_as_one_by_one(tiny_model, tiny_recipe, tokenizer, records):
    together = decoding_module.generate(tiny_model, tokenizer, prompts_of(records), tiny_recipe)
    one_by_one = decoding_module.generate(
        tiny_model, tokenizer, prompts_of(records), replace(tiny_recipe, generation_batch=1)
    )
    assert [a.text for a in together] == [a.text for a in one_by_one]
    backwards = decoding_module.generate(tiny_model, tokenizer, prompts_of(records)[::-1], tiny_recipe)
    assert backwards[::-1] == together


def test_a_reply_is_printed_as_it_is_written(tiny_model, tiny_recipe, tokenizer, records, capsys):
    prompt = prompts_of(records)[0]
    shown = decoding_module.stream(tiny_model, tokenizer, prompt, tiny_recipe)
    assert shown == decoding_module.generate(tiny_model, tokenizer, [prompt], tiny_recipe)[0]
    printed = capsys.readouterr().out
    assert printed.strip() == shown.text and printed.endswith("\n")


def test_a_model_that_never_ends_is_cut_and_says_so(tiny_model, tiny_recipe, tokenizer, records):
    answers = decoding_module.generate(tiny_model, tokenizer, prompts_of(records), tiny_recipe)
    assert all(a.tokens == tiny_recipe.max_new_tokens and not a.ended for a in answers)


def test_the_end_of_turn_ends_an_answer_and_is_not_in_its_text(tokenizer):
    end = stop_ids(tokenizer)[-1]
    ids = tokenizer.encode("model이라는 낱말", add_special_tokens=False)
    answer = decoding_module.read_reply(tokenizer, [*ids, end, tokenizer.pad_token_id], stop_ids(tokenizer))
    assert answer == decoding_module.Answer("model이라는 낱말", len(ids), True)
    assert not decoding_module.read_reply(tokenizer, ids, stop_ids(tokenizer)).ended


def test_who_has_ended_leaves_and_the_next_prompt_takes_the_row(tiny_model, tokenizer, monkeypatch):
    """No step has a row for a reply that is over while prompts wait, and the cache never has more rows than were allowed."""
    rows, lengths = [], iter([5, 1, 2, 1, 3, 1, 1])
    monkeypatch.setattr(decoding_module, "_ticket", lambda model, prompt, sampling, plain=decoding_module._ticket: plain(
        model, prompt, replace(sampling, max_tokens=next(lengths))))  # fmt: skip
    step = Runner.step
    monkeypatch.setattr(Runner, "step", lambda self: rows.append((self.speaking, self.cache.rows)) or step(self))
    found = [one for ended in decode(tiny_model, tokenizer, [[2, 105, 107]] * 7, Sampling(), 3) for one in ended]
    assert sorted(answer.tokens for _, answer in found) == [1, 1, 1, 1, 2, 3, 5]
    assert sum(speaking for speaking, _ in rows[1:]) + 3 == 14  # one row a token, and none besides
    assert [speaking for speaking, _ in rows] == [3, 3, 3, 3, 2]
    assert max(held for _, held in rows[1:]) == 3


def test_memory_that_runs_out_halves_the_rows_and_nothing_is_lost(tiny_model, tokenizer, records, monkeypatch, capsys):
    """The first steps raise what CUDA raises; the answers are those of an undisturbed run, none twice."""
    prompts = [render(tokenizer, record["prompt"]).ids for record in records]
    sampling = Sampling(max_tokens=4)
    expected = dict(pair for ended in decode(tiny_model, tokenizer, prompts, sampling, 1) for pair in ended)
    step, sizes = Runner.step, []

    def fail(self):
        sizes.append(self.speaking)
        if self.speaking > 1 and len(self.running[0].reply) == 1:  # in the middle of their replies
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return step(self)

    monkeypatch.setattr(Runner, "step", fail)
    found = [pair for ended in decode(tiny_model, tokenizer, prompts, sampling, 4) for pair in ended]
    assert sizes == [4, 4, 2, 2, *[1] * 16]
    assert len(found) == len(prompts) and dict(found) == expected
    assert "memory ran out with 4 rows at once; going on with 2" in capsys.readouterr().out


def test_a_prompt_that_does_not_fit_alone_is_one_sentence(tiny_model, tokenizer, monkeypatch):
    def step(_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Runner, "step", step)
    with pytest.raises(CourseError, match="Memory ran out with one prompt of 3 tokens"):
        list(decode(tiny_model, tokenizer, [[2, 105, 107]], Sampling(), 4))


def test_an_error_that_is_not_of_memory_is_not_hidden_and_leaves_the_model_as_it_was(tiny_model, tokenizer, monkeypatch):
    def step(self):
        assert not self.model.training
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Runner, "step", step)
    tiny_model.train()
    with pytest.raises(RuntimeError, match="shapes"):
        list(decode(tiny_model, tokenizer, [[2, 105, 107]], Sampling(), 4))
    assert tiny_model.training


def test_rows_are_sized_to_memory(tiny_model, tokenizer, monkeypatch):
    rows, step = [], Runner.step
    monkeypatch.setattr(Runner, "step", lambda self: rows.append(self.speaking) or step(self))
    monkeypatch.setattr(decoding_module, "rows_that_fit", lambda model, width, _: {3: 2, 2: 3}[width])
    prompts = [[2, 105, 107]] * 2 + [[2, 105]] * 3
    list(decode(tiny_model, tokenizer, prompts, Sampling(max_tokens=1), 4))
    assert rows == [2, 3]  # shorter prompts leave room for more


@pytest.mark.slow
def test_a_seed_repeats_a_row_whatever_else_is_drawn(tiny_model, tokenizer, records):
    prompts = [render(tokenizer, record["prompt"]).ids for record in records]
    drawn = {"max_tokens": 6, "temperature": 1.5, "top_k": 50, "min_p": 0.01}

    def said(asked, rows=2, **settings):
        sampling = Sampling(**drawn, **settings)
        found = dict(pair for ended in decode(tiny_model, tokenizer, asked, sampling, rows) for pair in ended)
        return [found[i] for i in range(len(asked))]

    first = said(prompts, seed=1)
    assert said(prompts, seed=1) == said(prompts, rows=4, seed=1) == first != said(prompts, seed=2)
    assert said(prompts[2:], seed=1) == first[2:]  # as a run that goes on, or a shard
    again = said([prompts[0]] * 3, seed=1)
    assert again[0] == first[0] and len(set(again)) == 3  # a prompt that is asked three times is drawn three times
    assert "".join(write(tiny_model, tokenizer, prompts[1], Sampling(**drawn, seed=1))).strip() == first[1].text


def test_stop_texts_end_what_is_written_as_it_is_read(tiny_model, tokenizer):
    prompt = [2, 105, 107]
    [tokens] = decode_tokens(tiny_model, tokenizer, [prompt], Sampling(max_tokens=12))
    whole = tokenizer.decode(tokens, skip_special_tokens=True)
    stop = whole[4:6]
    assert "".join(write(tiny_model, tokenizer, prompt, Sampling(max_tokens=12))) == whole
    assert "".join(write(tiny_model, tokenizer, prompt, Sampling(max_tokens=12, stop=(stop,)))) == whole[: whole.index(stop)]


@pytest.mark.parametrize("attention", ["eager", "flash_attention_2"])
def test_a_model_whose_attention_takes_no_masks_is_run_by_one_that_does(tiny_model, tokenizer, attention):
    expected = decode_tokens(tiny_model, tokenizer, [[2, 105, 107], [2, 9]], Sampling(max_tokens=6))
    tiny_model.config._attn_implementation = attention
    assert decode_tokens(tiny_model, tokenizer, [[2, 105, 107], [2, 9]], Sampling(max_tokens=6)) == expected
    assert tiny_model.config._attn_implementation == attention


def test_layers_that_rounds_do_not_know_are_left_to_transformers(tiny_model, tokenizer, monkeypatch):
    expected = decode_tokens(tiny_model, tokenizer, [[2, 105, 107], [2, 9]], Sampling(max_tokens=6))
    monkeypatch.setattr("kotune.models.rounds.KINDS", {"full_attention"})  # the model has sliding ones too
    monkeypatch.setattr(Runner, "step", lambda _: pytest.fail("rounds ran"))
    assert decode_tokens(tiny_model, tokenizer, [[2, 105, 107], [2, 9]], Sampling(max_tokens=6)) == expected


def test_an_adapter_on_top_is_heard_and_can_be_switched_off(tokenizer):
    from peft import LoraConfig, get_peft_model

    model, _ = tiny_families.make("gemma 3")
    prompts, sampling = [[2, 9, 30, 31], [2, 12]], Sampling(max_tokens=8)
    base = decode_tokens(model, tokenizer, prompts, sampling)
    torch.manual_seed(1)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")).eval()
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    found = decode_tokens(adapted, tokenizer, prompts, sampling)
    for prompt, said in zip(prompts, found, strict=True):
        assert said == padded_batches.generate_batch(adapted, tokenizer, [prompt], sampling)[0]
    with adapted.disable_adapter():
        assert decode_tokens(adapted, tokenizer, prompts, sampling) == base != found
