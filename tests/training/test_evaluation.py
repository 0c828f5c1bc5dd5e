"""Protects: the health report's figures are what they say, and a DPO run that went wrong is called so."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trl.trainer.dpo_trainer import DataCollatorForPreference

from kotune.models import adapters
from kotune.training import encoding, evaluation, stages
from kotune.training.evaluation import PreferenceHealth, repetition, verdict

HEALTHY = PreferenceHealth(
    pairs=40, answers=20, margin=0.4, accuracy=0.75, chosen_change=-0.02, rejected_change=-0.1, kl=0.05,
    length_before=90, length_after=95, repetition_before=0.05, repetition_after=0.06, ended_before=0.9, ended_after=0.9,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        ({}, "healthy", "the margin grew to 0.40 with 75%"),
        ({"chosen_change": -0.7}, "collapse", "lost 0.70 nats a token"),
        ({"kl": 1.5}, "collapse", "KL from the reference is 1.50"),
        ({"repetition_after": 0.4}, "collapse", "from 5% to 40%"),
        ({"ended_after": 0.3}, "collapse", "from 90% to 30%"),
        ({"length_after": 200}, "length-gaming", "2.22 times as long"),
        ({"length_after": 40}, "length-gaming", "0.44 times as long"),
        ({"length_before": 0}, "length-gaming", "from 0 to 95 characters"),
        ({"length_before": 0, "length_after": 0}, "healthy", "from 0 to 0 characters"),
        ({"accuracy": 0.5}, "no effect", "50% of the held-out pairs"),
        ({"accuracy": 0.3, "length_after": 300, "kl": 3.0}, "collapse", "KL"),
    ],
)
def test_the_verdict_names_what_is_wrong(change, name, words):
    judged = verdict(replace(HEALTHY, **change))
    assert judged.verdict == name
    assert words in " ".join(judged.reasons)
    json.dumps(judged.row(), allow_nan=False)  # as the run card stores it


@given(st.lists(st.sampled_from(["전세", "월세는", "보증금을", "집"]), max_size=40))
def test_repetition_is_the_share_of_ngrams_seen_before(words):
    share = repetition(" ".join(words))
    assert 0 <= share < 1
    if len(words) > 4:
        assert repetition(" ".join(words * 3)) > 0.5
    assert repetition(" ".join(f"{word}{place}" for place, word in enumerate(words))) == 0


@pytest.mark.slow
def test_kl_is_that_of_the_full_distributions(tiny_model, tiny_recipe, tokenizer, pairs):
    adapted = adapters.add_adapter(tiny_model, tiny_recipe).eval()
    rows = encoding.encode_preference(pairs, tokenizer, 128).rows
    collate = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    rows = [{**row, "ref_chosen_logps": 0.0, "ref_rejected_logps": 0.0} for row in rows]
    batch = {
        name: values.chunk(2)[0] for name, values in collate(rows).items()
        if name in ("input_ids", "attention_mask", "completion_mask")
    }  # fmt: skip
    with torch.no_grad():
        assert evaluation.token_kl(adapted, **batch).abs().max() < 1e-6
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.3)
        found = evaluation.token_kl(adapted, **batch)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        policy = torch.log_softmax(adapted(**inputs).logits.float(), -1)
        with adapted.disable_adapter():
            reference = torch.log_softmax(adapted(**inputs).logits.float(), -1)
    whole = (policy.exp() * (policy - reference)).sum(-1)[:, :-1]
    assert torch.allclose(found, whole[batch["completion_mask"][:, 1:].bool()], atol=1e-4)
    assert found.min() > -1e-5
    assert found.mean() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("learning_rate", "epochs", "expected"), [(2e-6, 20.0, "healthy"), (0.5, 20.0, "collapse")])
def test_a_learning_rate_that_breaks_the_model_is_seen(
    learning_rate, epochs, expected, tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path
):
    tiny_model.model.embed_tokens.weight.data.mul_(20)  # so that the head, which is tied to it, can be sure of a token
    recipe = replace(tiny_recipe, dpo_epochs=epochs, dpo_learning_rate=learning_rate)
    parent = stages.sft(recipe, records, tiny_model, tokenizer, tmp_path / "sft").adapter
    model = adapters.merge_adapter(tiny_model, parent)
    result = stages.dpo(recipe, pairs, model, tokenizer, tmp_path / "dpo", parent=parent, validation=pairs)
    health = result.figures["health"]
    assert health["verdict"] == expected, health["reasons"]
    last = result.validation[-1]
    assert health["accuracy"] == pytest.approx(last["eval_rewards/accuracies"], abs=0.26)
    assert result.figures["best_validation_loss"] == min(row["eval_loss"] for row in result.validation)
