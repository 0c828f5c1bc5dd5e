"""Protects: a merged model is its adapter in 16 bits, and the command fails where it is not."""

from dataclasses import replace

import pytest
import torch

from kotune.models import loading, merging, sources
from kotune.models.chat_template import render, stop_ids
from tests.support.serving import save_tiny_model
from utils import CourseError, read_json


@pytest.fixture
def tuned(tiny_model, tiny_recipe, tokenizer, tmp_path):
    _, adapter = save_tiny_model(tiny_model, tokenizer, tmp_path)
    return sources.find(str(adapter), tiny_recipe)[-1]


@pytest.mark.slow
def test_a_merged_model_is_whole_in_16_bits_and_like_its_adapter(tuned, tiny_recipe, tokenizer, tmp_path):
    folder, comparison = merging.merge(tuned, tmp_path / "merged", tiny_recipe)
    assert comparison.agreement > 0.95 and comparison.prompts == len(merging.PROMPTS)
    config = read_json(folder / "config.json")
    assert config.get("dtype", config.get("torch_dtype")) == "bfloat16" and "quantization_config" not in config
    again, its_tokenizer = loading.load_model(tiny_recipe, str(folder)), loading.load_tokenizer(str(folder))
    assert again.generation_config.eos_token_id == stop_ids(tokenizer)
    messages = [{"role": "system", "content": "짧게."}, {"role": "user", "content": "전세란?"}]
    assert render(its_tokenizer, messages) == render(tokenizer, messages)
    assert read_json(folder / "merge.json")["agreement"] == comparison.agreement
    merging.merge(tuned, folder, tiny_recipe)  # an earlier merge may be replaced


@pytest.mark.slow
def test_an_adapter_of_4_bit_training_merges_into_whole_weights(tuned, tiny_recipe, tmp_path):
    folder, _ = merging.merge(tuned, tmp_path / "merged", replace(tiny_recipe, quantization="nf4"))
    expected, _ = merging.merge(tuned, tmp_path / "expected", tiny_recipe)
    from safetensors.torch import load_file

    ours, theirs = (load_file(path / "model.safetensors") for path in (folder, expected))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs) and ours.keys() == theirs.keys()


@pytest.mark.slow
def test_a_merge_that_went_wrong_fails(tuned, tiny_recipe, tmp_path, monkeypatch):
    """The adapter is left out of what is saved, as by a merge that forgets it."""
    monkeypatch.setattr(merging, "merge_adapter", lambda model, adapter: model)
    with pytest.raises(CourseError, match=r"is not what its adapter is \([\d.]+% of \d+ greedy tokens agree"):
        merging.merge(tuned, tmp_path / "merged", tiny_recipe)


def test_what_cannot_be_merged_is_one_sentence(tuned, tiny_recipe, tmp_path):
    with pytest.raises(CourseError, match="has no adapter"):
        merging.merge(replace(tuned, adapters=()), tmp_path / "merged", tiny_recipe)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(CourseError, match="no earlier merge"):
        merging.merge(tuned, tmp_path / "full", tiny_recipe)
