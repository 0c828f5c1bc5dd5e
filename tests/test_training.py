"""Protects: what is trained on, that the fast loss is TRL's, and that DPO starts from its own reference."""

import math

import pytest
import torch
from datasets import Dataset

import adapters
import trainers
import training
from prompts import END_OF_TURN
from utils import CourseError


def test_labels_are_the_answer_and_its_end(tokenizer, records):
    encoded = training.encode_supervised(records, tokenizer, 128)
    for row, record in zip(encoded.rows, records, strict=True):
        learnt = tokenizer.decode([label for label in row["labels"] if label != -100])
        assert learnt == record["completion"][0]["content"] + END_OF_TURN


def test_a_row_that_is_too_long_is_named_and_not_cut(tokenizer, records, capsys):
    records[1]["completion"] = [{"role": "assistant", "content": "아주 긴 답변입니다. " * 40}]
    encoded = training.encode_supervised(records, tokenizer, 64)
    assert encoded.too_long == ["r1"]
    assert len(encoded.rows) == 3
    with pytest.raises(CourseError, match="longer than 3 tokens"):
        training.encode_supervised(records, tokenizer, 3)


def test_every_surface_has_the_same_ids(tokenizer, records, pairs):
    supervised = training.encode_supervised(records, tokenizer, 128).rows
    preference = training.encode_preference(pairs, tokenizer, 128).rows
    for sft_row, dpo_row, record in zip(supervised, preference, records, strict=True):
        prompt = tokenizer.apply_chat_template(record["prompt"], add_generation_prompt=True, return_dict=False)
        assert dpo_row["prompt_ids"] == prompt
        assert dpo_row["prompt_ids"] + dpo_row["chosen_ids"] == sft_row["input_ids"]


def four_losses(trainer_class, config, rows, *, tiny_model, tiny_recipe, tokenizer):
    """Return the losses of four steps from the same adapter, and leave the model as it was."""
    torch.manual_seed(0)
    model = adapters.add_adapter(tiny_model, tiny_recipe)
    trainer = trainer_class(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    model.unload()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def test_the_loss_is_trls(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_list(training.encode_supervised(records, tokenizer, 128).rows)
    arguments = training._arguments(tiny_recipe, tmp_path, 4, 1e-3, 1.0)
    arguments["lr_scheduler_type"] = "constant"
    arguments["max_steps"] = 4
    setting = {"tiny_model": tiny_model, "tiny_recipe": tiny_recipe, "tokenizer": tokenizer}
    kinds = {"ours": trainers.CompletionSFTTrainer, "trl": SFTTrainer}
    figures = {name: four_losses(kind, SFTConfig(**arguments), rows, **setting) for name, kind in kinds.items()}
    assert figures["ours"] == pytest.approx(figures["trl"], rel=1e-3)
    assert figures["ours"][-1] < figures["ours"][0]


def test_sft_learns_and_its_merged_adapter_keeps_it(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    from dataclasses import replace

    recipe = replace(tiny_recipe, epochs=30.0, learning_rate=3e-2, lora_r=16)
    before = training.held_out_loss(tiny_model, tokenizer, records, recipe)
    result = training.sft(recipe, records, tiny_model, tokenizer, tmp_path / "sft")
    assert training.held_out_loss(tiny_model, tokenizer, records, recipe) == pytest.approx(before)  # base untouched
    merged = adapters.merge_adapter(tiny_model, result.adapter)
    after = training.held_out_loss(merged, tokenizer, records, recipe)
    assert after < before - 0.2  # the narrow model's random head is frozen, which leaves it little room
    assert result.log[-1]["loss"] == pytest.approx(after, rel=0.1)
    card = adapters._card(result.adapter)
    assert card["stage"] == "sft"
    assert card["data_rows"] == 4
    assert card["adapter_sha256"] == adapters.adapter_hash(result.adapter)


def test_a_loss_that_is_no_number_stops_the_run(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    tiny_model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(CourseError, match="The loss is nan at step 1"):
        training.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft")
    assert not (tmp_path / "sft" / "run.json").exists()


def test_dpo_starts_at_ln_2_and_raises_the_margin(tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path):
    from dataclasses import replace

    recipe = replace(tiny_recipe, dpo_epochs=20.0)
    parent = training.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft").adapter
    model = adapters.merge_adapter(tiny_model, parent)
    rows = training.encode_preference(pairs, tokenizer, 128).rows
    reference = training.reference_logprobs(model, rows, tokenizer, recipe)
    assert training.preference_loss(model, reference, tokenizer, recipe)["loss"] == pytest.approx(math.log(2))
    result = training.dpo(recipe, pairs, model, tokenizer, parent=parent, output_dir=tmp_path / "dpo")
    assert result.log[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert result.log[0]["rewards/margins"] == pytest.approx(0, abs=1e-3)
    tuned = adapters.merge_adapter(model, result.adapter)
    now = training.preference_loss(tuned, reference, tokenizer, recipe)
    assert now["loss"] < math.log(2)
    assert now["accuracy"] == 1
    assert adapters._card(result.adapter)["parent_sha256"] == adapters.adapter_hash(parent)


def test_the_dpo_loss_is_trls(tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path):
    from trl import DPOConfig, DPOTrainer

    arguments = training._arguments(tiny_recipe, tmp_path, 4, 1e-2, 1.0)
    arguments.update(lr_scheduler_type="constant", max_steps=4)
    rows = training.encode_preference(pairs, tokenizer, 128).rows
    rows = Dataset.from_list(training.reference_logprobs(tiny_model, rows, tokenizer, tiny_recipe))
    text = Dataset.from_list([{side: pair[side] for side in ("prompt", "chosen", "rejected")} for pair in pairs])
    setting = {"tiny_model": tiny_model, "tiny_recipe": tiny_recipe, "tokenizer": tokenizer}
    figures = {
        "ours": four_losses(trainers.CompletionDPOTrainer, DPOConfig(**arguments), rows, **setting),
        "trl": four_losses(DPOTrainer, DPOConfig(**arguments), text, **setting),
    }
    # TRL also trains on the newline that the template writes after the end of the turn
    assert figures["ours"] == pytest.approx(figures["trl"], rel=2e-2)
    assert figures["ours"][-1] < figures["ours"][0]


def test_a_wrong_reference_is_refused(tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path, monkeypatch):
    parent = training.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft").adapter
    right = training.reference_logprobs
    monkeypatch.setattr(
        training,
        "reference_logprobs",
        lambda *arguments: [{**row, "ref_chosen_logps": row["ref_chosen_logps"] - 9} for row in right(*arguments)],
    )
    with pytest.raises(CourseError, match="merge the SFT adapter first"):
        training.dpo(tiny_recipe, pairs, tiny_model, tokenizer, parent=parent, output_dir=tmp_path / "dpo")


DOCUMENTS = [{"text": text} for text in ("전세는 집을 빌리는 방식이다.", "월세는 다달이 차임을 낸다.", "등기는 권리를 적는다.")]


def test_every_token_of_a_document_is_learnt_and_its_end(tokenizer):
    for row, document in zip(training.encode_text(DOCUMENTS, tokenizer, 64).rows, DOCUMENTS, strict=True):
        assert row["input_ids"][0] == tokenizer.bos_token_id
        assert row["labels"][-1] == tokenizer.eos_token_id
        assert tokenizer.decode(row["labels"][1:-1]) == document["text"]
    long = [*DOCUMENTS, {"text": "아주 긴 글이다. " * 60}]
    assert training.encode_text(long, tokenizer, 64).too_long == ["document 4"]


def test_pre_training_lowers_perplexity(tiny_model, tiny_recipe, tokenizer, tmp_path):
    from dataclasses import replace

    recipe = replace(tiny_recipe, epochs=20.0, learning_rate=3e-2, lora_r=16)
    before = training.perplexity(tiny_model, tokenizer, DOCUMENTS, recipe)
    result = training.pretrain(recipe, DOCUMENTS, tiny_model, tokenizer, tmp_path / "pretrain")
    after = training.perplexity(adapters.merge_adapter(tiny_model, result.adapter), tokenizer, DOCUMENTS, recipe)
    assert after < 0.8 * before
    assert adapters._card(result.adapter)["stage"] == "pretrain"


def test_the_command_line_refuses_data_of_another_stage():
    with pytest.raises(CourseError, match="no field for sft"):
        training.main(["sft", "--train_dataset", "real_estate_preference"])
    with pytest.raises(CourseError, match="no field for pretrain"):
        training.main(["pretrain", "--train_data", "real_estate_train"])
    with pytest.raises(CourseError, match="no field for reward"):
        training.main(["reward", "--train_dataset", "pretraining"])
    with pytest.raises(CourseError, match="neither a file nor a registered data set"):
        training.main(["dpo", "--train_dataset", "nowhere.jsonl"])


def test_flags_override_the_recipe_of_their_stage_alone():
    from recipes import RECIPES

    given = ["--train_data", "x", "--r", "4", "--lora_alpha", "32", "--learning_rate", "1e-5", "--num_train_epocs", "2"]
    recipe = RECIPES["gemma-3-270m-cpu"]
    sft = training._overridden(recipe, training._parser().parse_args(["sft", *given, "--max_seq_length", "99"]))
    assert (sft.lora_r, sft.lora_alpha, sft.learning_rate, sft.epochs, sft.max_length) == (4, 32, 1e-5, 2.0, 99)
    assert sft.dpo_learning_rate == recipe.dpo_learning_rate
    reward = training._overridden(recipe, training._parser().parse_args(["reward", *given]))
    assert (reward.reward_learning_rate, reward.reward_epochs, reward.learning_rate) == (1e-5, 2.0, recipe.learning_rate)
    assert training._overridden(recipe, training._parser().parse_args(["dpo", "--train_dataset", "x"])) == recipe
