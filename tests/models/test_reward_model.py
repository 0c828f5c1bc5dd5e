"""Protects: the reward model learns pairs, its head is saved with it, and a score does not depend on its batch."""

from dataclasses import replace

import pytest

from kotune.models import adapters, reward_model
from kotune.models.reward_model import PairAccuracy
from kotune.training import stages
from utils import CourseError


@pytest.fixture
def parent(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    """An SFT adapter to start from."""
    return stages.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft").adapter


def answers(pairs):
    return [pair["prompt"] for pair in pairs], [pair["chosen"][0]["content"] for pair in pairs]


@pytest.mark.slow
def test_it_learns_pairs_and_its_saved_head_gives_the_same_scores(
    tiny_model, tiny_recipe, tokenizer, pairs, parent, tmp_path
):
    recipe = replace(tiny_recipe, reward_epochs=40.0, reward_learning_rate=1e-2)
    model = adapters.merge_adapter(tiny_model, parent)
    result = stages.reward(recipe, pairs, model, tokenizer, parent=parent, output_dir=tmp_path / "reward", validation=pairs)
    assert result.log[0]["loss"] == pytest.approx(0.69, abs=0.05)  # the new head prefers nothing yet
    assert result.log[-1]["loss"] < 0.3
    assert result.figures["accuracy"] == 1
    assert result.figures["surface_baseline"]["pairs"] == len(pairs)  # what form alone finds stands beside it
    assert adapters._card(result.adapter)["parent_sha256"] == adapters.adapter_hash(parent)
    loaded = reward_model.load_reward_model(model, tokenizer, result.adapter)
    again = reward_model.pair_accuracy(loaded, tokenizer, pairs, recipe)
    assert again.accuracy == 1  # a head that was not saved would be a new random one


def test_a_score_does_not_depend_on_its_batch(tiny_model, tiny_recipe, tokenizer, pairs):
    classifier = reward_model.with_reward_head(tiny_model, tokenizer)
    prompts, texts = answers(pairs)
    together = reward_model.score(classifier, tokenizer, prompts, texts, tiny_recipe)
    alone = [
        reward_model.score(classifier, tokenizer, [prompt], [text], tiny_recipe)[0]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    assert together == pytest.approx(alone, abs=1e-4)
    assert len(set(together)) == len(together)


def test_the_answer_is_scored_on_the_rendered_conversation(tiny_model, tiny_recipe, tokenizer, pairs):
    """Parity: the ids that are scored are those that SFT and DPO train on."""
    from kotune.models.chat_template import render

    seen = []
    classifier = reward_model.with_reward_head(tiny_model, tokenizer)
    classifier.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].tolist()), with_kwargs=True
    )
    prompts, texts = answers(pairs[:1])
    reward_model.score(classifier, tokenizer, prompts, texts, tiny_recipe)
    assert seen[0][0] == render(tokenizer, pairs[0]["prompt"], pairs[0]["chosen"]).ids


def test_accuracy_is_told_by_kind_beside_that_of_length(monkeypatch, tokenizer, tiny_recipe, pairs):
    rows = [{**pair, "kind": "padded" if i < 3 else "rude"} for i, pair in enumerate(pairs)]
    rewards = [2.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0]  # chosen, then rejected: right, half, wrong, right
    monkeypatch.setattr(reward_model, "score", lambda *arguments: rewards)
    found = reward_model.pair_accuracy(None, tokenizer, rows, tiny_recipe)
    longer = [float(len(row["chosen"][0]["content"]) > len(row["rejected"][0]["content"])) for row in rows]
    assert found == PairAccuracy(
        4, 2.5 / 4, sum(longer) / 4, {"padded": (3, 0.5, sum(longer[:3]) / 3), "rude": (1, 1.0, longer[3])}
    )


def test_a_folder_without_an_adapter_is_named(tiny_model, tokenizer, tmp_path):
    with pytest.raises(CourseError, match="holds no adapter"):
        reward_model.load_reward_model(tiny_model, tokenizer, tmp_path)
