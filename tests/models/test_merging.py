"""Protects: a merged model is its adapter in 16 bits, and the command fails where it is not."""

from dataclasses import replace

import pytest
import torch
import transformers

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


@pytest.mark.slow
def test_a_merge_that_died_in_the_middle_is_done_again(tuned, tiny_recipe, tmp_path, monkeypatch):
    folder, saved = tmp_path / "merged", transformers.PreTrainedModel.save_pretrained

    def dying(model, work, **options):
        saved(model, work, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(transformers.PreTrainedModel, "save_pretrained", dying)
        patched.setattr(loading.shutil, "rmtree", lambda *_, **__: None)  # one that is killed tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            merging.merge(tuned, folder, tiny_recipe)
    assert not (folder / "config.json").exists() and [path for path in folder.iterdir() if path.is_dir()]
    merging.merge(tuned, folder, tiny_recipe)
    assert (folder / "config.json").exists() and not [path for path in folder.iterdir() if path.is_dir()]
    assert "agreement" in read_json(folder / "merge.json")


@pytest.mark.slow
def test_a_new_merge_replaces_the_old_model_and_nothing_else(tiny_model, tokenizer, tmp_path):
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "notes.txt", "model-card.md"):
        (tmp_path / name).write_text("old")
    for name, inside in (("saving-abc12345", "model.safetensors"), ("saving-thesis", "chapter.txt")):
        (tmp_path / name).mkdir()
        (tmp_path / name / inside).write_text("x")
    loading.save_merged(tiny_model, tokenizer, tmp_path)
    found = {path.name for path in tmp_path.iterdir()}
    assert {"notes.txt", "model-card.md", "saving-thesis", "config.json", "model.safetensors", "tokenizer.json"} <= found
    assert not found & {"model-00001-of-00002.safetensors", "model.safetensors.index.json", "saving-abc12345"}


def test_what_cannot_be_merged_is_one_sentence(tuned, tiny_recipe, tmp_path):
    with pytest.raises(CourseError, match="has no adapter"):
        merging.merge(replace(tuned, adapters=()), tmp_path / "merged", tiny_recipe)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(CourseError, match="no earlier merge"):
        merging.merge(tuned, tmp_path / "full", tiny_recipe)
