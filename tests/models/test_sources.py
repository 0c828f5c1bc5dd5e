"""Protects: a path stands for the right weights and adapters, and what is missing is said before anything is loaded."""

import json
import shutil

import pytest
import torch

from kotune.models import sources
from kotune.models.machine import RECIPES
from kotune.models.sources import ModelSource
from tests.support.serving import save_tiny_model
from utils import ASSETS, CourseError

RECIPE = RECIPES["gemma-3-270m-cpu"]


@pytest.fixture
def folders(tiny_model, tokenizer, tmp_path):
    return save_tiny_model(tiny_model, tokenizer, tmp_path)


def test_an_adapter_comes_with_its_base(folders):
    base, adapter = folders
    assert sources.find(str(adapter), RECIPE) == [
        ModelSource("tiny", str(base)),
        ModelSource("tiny-sft", str(base), (adapter,)),
    ]
    assert sources.find(str(base), RECIPE) == [ModelSource("tiny", str(base))]


def test_the_default_is_the_courses_own(monkeypatch, tmp_path):
    monkeypatch.setattr("kotune.models.adapters.OUTPUTS", tmp_path)
    assert [m.name for m in sources.find(None, RECIPE)] == ["gemma-3-270m", "gemma-3-270m-sft"]


def test_a_dpo_adapter_stands_on_the_very_sft_adapter_that_it_was_trained_from(tmp_path):
    found = sources.find(str(ASSETS / "dpo"), RECIPE)[-1]
    assert found == ModelSource("gemma-3-270m-dpo", "gemma-3-270m", (ASSETS / "sft", ASSETS / "dpo"))
    card = json.loads((ASSETS / "dpo" / "run.json").read_text())
    shutil.copytree(ASSETS / "dpo", tmp_path / "dpo")
    (tmp_path / "dpo" / "run.json").write_text(json.dumps({**card, "parent_sha256": "f" * 64}))
    with pytest.raises(CourseError, match="trained on top of another adapter"):
        sources.find(str(tmp_path / "dpo"), RECIPE)


def test_names_differ_and_nothing_is_held_twice(folders):
    both = sources.find(str(folders[1]), RECIPE)
    other = ModelSource("tiny-sft", both[0].base, (folders[0],))
    assert [m.name for m in sources.combine(both, both, [other])] == ["tiny", "tiny-sft", "tiny-sft-2"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda base: (base / "tokenizer.json").unlink(), "without tokenizer"),
        (lambda base: (base / "config.json").unlink(), "holds no model"),
        (shutil.rmtree, "is no folder"),
    ],
)
def test_what_is_missing_is_named(folders, spoil, said):
    spoil(folders[0])
    with pytest.raises(CourseError, match=said):
        sources.find(str(folders[0]), RECIPE)


@pytest.mark.slow
def test_the_embedding_is_held_once_and_both_models_speak_for_themselves(folders, tiny_recipe, tokenizer):
    base, adapter = folders
    loaded, _ = sources.load(sources.find(str(adapter), tiny_recipe), tiny_recipe)
    one, other = loaded.values()
    assert one.get_input_embeddings().weight.data_ptr() == other.get_input_embeddings().weight.data_ptr()
    assert one.get_output_embeddings().weight.data_ptr() == other.get_output_embeddings().weight.data_ptr()
    from peft import PeftModel

    from kotune.models.loading import load_model

    adapted = PeftModel.from_pretrained(load_model(tiny_recipe, str(base)), adapter)
    ids = torch.tensor([tokenizer.encode("확정일자는 어디에서 받나요?")])
    with torch.inference_mode():
        assert torch.allclose(other(ids).logits, adapted(ids).logits, atol=1e-4)
        assert not torch.allclose(one(ids).logits, other(ids).logits, atol=1e-2)
