"""Protects: a run card says what a run was made of, well enough to make it again."""

import json
import sys
from dataclasses import asdict, replace

import pytest

from kotune.data.records import data_hash
from kotune.training import runs, stages
from kotune.training.runs import LIBRARIES


@pytest.mark.slow
def test_a_run_leaves_its_card(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    records[1]["completion"] = [{"role": "assistant", "content": "아주 긴 답변입니다. " * 40}]
    recipe = replace(tiny_recipe, max_length=96, seed=7)
    stages.sft(recipe, records[:3], tiny_model, tokenizer, tmp_path / "sft", validation=records)
    card = json.loads((tmp_path / "sft" / "run.json").read_text())
    assert (card["stage"], card["base"], card["parent"]) == ("sft", recipe.model, None)
    assert card["recipe"] == json.loads(json.dumps(asdict(recipe)))
    assert card["recipe"]["seed"] == 7
    assert (card["data_sha256"], card["validation_sha256"]) == (data_hash(records[:3]), data_hash(records))
    assert (card["data_rows"], card["validation_rows"], card["left_out"]) == (3, 4, ["r1", "r1"])
    assert card["versions"].keys() == {"python", *LIBRARIES}
    assert "cores" in card["device"]
    figures = card["figures"]
    assert figures["minutes"] >= 0
    assert 0.1 < figures["peak_memory_gib"] < 100
    assert figures["too_long"] == 1
    assert {"steps", "first_loss", "last_loss", "best_validation_loss", "completion_tokens_per_s"} <= figures.keys()


def test_the_hash_is_of_rows_and_their_order(records):
    assert data_hash(records) == data_hash([dict(reversed(record.items())) for record in records])
    assert data_hash(records) != data_hash(records[::-1])
    assert data_hash(records) != data_hash(records[:3])


def test_the_peak_of_memory_is_known_without_the_module_that_windows_lacks(monkeypatch):
    with_module = runs.process_peak_gib()
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows: importing it fails
    without = runs.process_peak_gib()
    assert 0.05 < without <= with_module + 0.05
