"""Protects: weights come from safetensors alone, so that no file of a stranger runs a program as it is loaded."""

import json
import os
import pickle
import threading

import pytest

from kotune.models import adapters, files, loading, sources, weight_files
from kotune.models.reward_model import load_reward_model
from kotune.recipes import RECIPES
from tests.support.serving import save_tiny_model
from utils import CourseError


class Program:
    """A pickle that makes a folder as it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def folders(tmp_path):
    """The folders of a model and of an adapter on it, by their names; nothing in these tests may come to read the weights."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder, weights in ((base, "model.safetensors"), (adapter, "adapter_model.safetensors")):
        folder.mkdir()
        (folder / weights).write_bytes(b"weights" * 100)
    for name in ("config.json", "tokenizer.json"):
        (base / name).write_text("{}")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    return base, adapter


def pickled(folder, name):
    """Put a pickle in the place of a folder's weights; return the folder that it makes where anything reads it."""
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    (folder / name).write_bytes(pickle.dumps(Program(folder / "it ran")))
    return folder / "it ran"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"])
def test_a_model_in_a_pickle_is_refused_by_name_and_not_read(folders, tiny_recipe, name):
    base, adapter = folders
    ran = pickled(base, name)
    for read in (
        lambda: files.model_path(str(base)),
        lambda: loading.load_model(tiny_recipe, str(base)),
        lambda: sources.find(str(base), RECIPES["gemma-3-270m-cpu"]),
        lambda: sources.find(str(adapter), RECIPES["gemma-3-270m-cpu"]),
    ):
        with pytest.raises(CourseError, match=f"holds its weights as {name}, which is unpickled"):
            read()
    assert not ran.exists()


def test_an_adapter_in_a_pickle_is_refused_by_name_and_not_read(folders):
    _, adapter = folders
    ran = pickled(adapter, "adapter_model.bin")
    for read in (
        lambda: adapters.load_adapter(None, adapter),
        lambda: adapters.merge_adapter(None, adapter),
        lambda: adapters.require_base(adapter, "gemma-3-270m"),
        lambda: load_reward_model(None, None, adapter),
        lambda: sources.find(str(adapter), RECIPES["gemma-3-270m-cpu"]),
    ):
        with pytest.raises(CourseError, match=r"holds its weights as adapter_model\.bin, which is unpickled"):
            read()
    assert not ran.exists()


@pytest.mark.slow
def test_no_other_way_leads_to_a_pickle(tiny_model, tokenizer, tiny_recipe, tmp_path):
    """One may lie beside whole weights, and a configuration may name it."""
    base, _ = save_tiny_model(tiny_model, tokenizer, tmp_path)
    for name in ("pytorch_model.bin", "adapter_model.bin"):
        (base / name).write_bytes(pickle.dumps(Program(base / "it ran")))
    loading.load_model(tiny_recipe, str(base))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "transformers_weights": "adapter_model.bin"}))
    with pytest.raises(CourseError, match=r"holds weights as adapter_model\.bin, which is unpickled"):
        loading.load_model(tiny_recipe, str(base))
    assert not (base / "it ran").exists()


def test_the_hub_is_not_asked_to_convert_a_model_of_somebody_else(monkeypatch):
    monkeypatch.delenv("DISABLE_SAFETENSORS_CONVERSION", raising=False)
    files.prepare_libraries()
    assert os.environ["DISABLE_SAFETENSORS_CONVERSION"] == "1"


def test_threads_that_load_at_once_leave_torch_as_it_was():
    import torch

    before, met = torch.load, threading.Barrier(4)

    def load():
        met.wait()
        for _ in range(50):
            with weight_files.never_unpickled("x"):
                assert torch.load is not before

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.load is before


def test_an_adapter_that_is_not_its_run_cards_is_refused(folders):
    _, adapter = folders
    card = {"base": "gemma-3-270m", "adapter_sha256": adapters.adapter_hash(adapter)}
    (adapter / "run.json").write_text(json.dumps(card))
    adapters.require_weights(adapter)
    weights = bytearray((adapter / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (adapter / "adapter_model.safetensors").write_bytes(weights)
    with pytest.raises(CourseError, match=r"are not those that its run\.json tells of"):
        adapters.merge_adapter(None, adapter)
    (adapter / "run.json").unlink()
    adapters.require_weights(adapter)
