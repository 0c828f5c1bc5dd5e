"""Protects: a merged model is its adapter in 16 bits, and the command fails where it is not."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from kotune import cli
from kotune.models import loading, merging, sources
from kotune.models.chat_template import end_of_turn_id, render, stop_ids
from tests.support.serving import save_tiny_model
from utils import CourseError, read_json

CONVERTER = """\
import sys
from pathlib import Path
from gguf import GGUFWriter
folder, target = Path(sys.argv[1]), sys.argv[sys.argv.index("--outfile") + 1]
assert (folder / "tokenizer.json").exists() and sys.argv[sys.argv.index("--outtype") + 1] == "bf16"
writer = GGUFWriter(target, "gemma3")
{lines}
writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
"""


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


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """Return a function that puts a stand-in for llama.cpp's converter where the setting points; it writes real GGUF."""

    def put(lines):
        (tmp_path / "llama.cpp").mkdir(exist_ok=True)
        (tmp_path / "llama.cpp" / "convert_hf_to_gguf.py").write_text(CONVERTER.format(lines=lines))
        monkeypatch.setenv(merging.CONVERTER_FOLDER, str(tmp_path / "llama.cpp"))

    return put


@pytest.mark.slow
def test_gguf_ends_where_the_model_does_and_brings_its_template(tuned, tmp_path, converter, tokenizer, monkeypatch, capsys):
    from gguf import GGUFReader

    monkeypatch.setenv("COURSE_RECIPE", "gemma-3-270m-cpu")
    command = ["merge", "--model_path", str(tuned.adapters[0]), "--merged_weights_path", str(tmp_path / "m"), "--to", "gguf"]
    template = f"writer.add_chat_template({json.dumps(tokenizer.chat_template)})"
    converter(f"writer.add_eos_token_id(1)\n{template}")  # what the real one writes: the end of a document
    cli.run(command)
    assert "m-bf16.gguf: for llama.cpp" in capsys.readouterr().out
    fields = GGUFReader(tmp_path / "m-bf16.gguf").fields
    assert fields[merging.GGUF_END].contents() == end_of_turn_id(tokenizer) != 1
    assert fields[merging.GGUF_TEMPLATE].contents() == tokenizer.chat_template
    for lines, says in (
        (template, r"has no tokenizer\.ggml\.eos_token_id"),
        ("writer.add_eos_token_id(1)", r"has no tokenizer\.chat_template"),
        ("sys.exit('no such model')", "no such model"),
    ):
        converter(lines)
        with pytest.raises(CourseError, match=says):
            merging.to_gguf(tmp_path / "m", merging.converter())


def test_without_the_converter_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(merging.CONVERTER_FOLDER, "")
    with pytest.raises(CourseError, match=r"git clone https://github\.com/ggml-org/llama\.cpp.*LLAMA_CPP"):
        cli.run(["merge", "--to", "gguf"])
    monkeypatch.setenv(merging.CONVERTER_FOLDER, str(tmp_path))
    with pytest.raises(CourseError, match=r"holds no convert_hf_to_gguf\.py"):
        merging.converter()


def test_the_command_finds_it_on_the_path(monkeypatch, tmp_path):
    command = tmp_path / "convert-hf-to-gguf"
    command.write_text(f"#!{sys.executable}\n")
    command.chmod(0o755)
    monkeypatch.setenv(merging.CONVERTER_FOLDER, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert merging.converter() == [str(command)]
