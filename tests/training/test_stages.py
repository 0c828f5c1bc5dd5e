"""Protects: what is trained on, that the fast loss is TRL's, and that DPO starts from its own reference."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from safetensors import SafetensorError

from kotune import cli
from kotune.models import adapters, loading, machine
from kotune.training import encoding, evaluation, plan, stages, trainers
from tests.support.trl_template import without_last_newline
from utils import ROOT, CourseError


@pytest.mark.slow
def test_every_surface_has_the_same_ids(tokenizer, records, pairs):
    supervised = encoding.encode_supervised(records, tokenizer, 128).rows
    preference = encoding.encode_preference(pairs, tokenizer, 128).rows
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


@pytest.mark.slow
def test_the_loss_is_trls(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_list(encoding.encode_supervised(records, tokenizer, 128).rows)
    arguments = stages.training_arguments(tiny_recipe, "sft", tmp_path, False, stages.Reporting())
    arguments.update(lr_scheduler_type="constant", learning_rate=1e-3, max_steps=4, save_strategy="no")
    setting = {"tiny_model": tiny_model, "tiny_recipe": tiny_recipe, "tokenizer": tokenizer}
    kinds = {"ours": trainers.CompletionSFTTrainer, "trl": SFTTrainer}
    figures = {name: four_losses(kind, SFTConfig(**arguments), rows, **setting) for name, kind in kinds.items()}
    assert figures["ours"] == pytest.approx(figures["trl"], rel=1e-3)
    assert figures["ours"][-1] < figures["ours"][0]


@pytest.mark.slow
def test_sft_learns_and_its_merged_adapter_keeps_it(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    recipe = replace(tiny_recipe, epochs=30.0, learning_rate=3e-2, lora_r=16)
    before = evaluation.held_out_loss(tiny_model, tokenizer, records, recipe)
    result = stages.sft(recipe, records, tiny_model, tokenizer, tmp_path / "sft")
    assert evaluation.held_out_loss(tiny_model, tokenizer, records, recipe) == pytest.approx(before)  # base untouched
    merged = adapters.merge_adapter(tiny_model, result.adapter)
    after = evaluation.held_out_loss(merged, tokenizer, records, recipe)
    assert after < before - 0.2  # the narrow model's random head is frozen, which leaves it little room
    assert result.log[-1]["loss"] == pytest.approx(after, rel=0.1)
    card = adapters._card(result.adapter)
    assert card["stage"] == "sft"
    assert card["data_rows"] == 4
    assert card["adapter_sha256"] == adapters.adapter_hash(result.adapter)


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    names = [name for name, _ in tiny_model.named_parameters()]
    whole = tiny_model.model.norm.weight.data.clone()
    tiny_model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(CourseError, match="The loss is nan at step 1"):
        stages.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft")
    assert not (tmp_path / "sft" / "run.json").exists()
    assert [name for name, _ in tiny_model.named_parameters()] == names  # no adapter is left on it
    tiny_model.model.norm.weight.data.copy_(whole)
    stages.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_memory_that_runs_out_is_one_sentence(
    stage, tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path, monkeypatch
):
    def too_much(*arguments, **settings):
        return torch.empty(2**50)

    monkeypatch.setattr(trainers.CompletionSFTTrainer, "compute_loss", too_much)
    monkeypatch.setattr(trainers.CompletionDPOTrainer, "_pair_logprobs", too_much)
    rows, field = (records, "batch_size") if stage == "sft" else (pairs, "dpo_batch_size")
    with pytest.raises(
        CourseError, match=rf"Memory ran out \(.*allocate.*\); use a smaller {field} or max_length"
    ) as caught:
        stages.run_stage(stage, tiny_recipe, rows, tiny_model, tokenizer, output_dir=tmp_path / stage)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_disk_that_is_full_is_one_sentence_that_names_the_output(
    tiny_model, tiny_recipe, tokenizer, records, tmp_path, monkeypatch
):
    def full(*arguments, **settings):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(adapters, "save_adapter", full)
    with pytest.raises(CourseError, match=r"tired/sft cannot be written, because the disk is full; make room"):
        stages.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "tired" / "sft")


def test_an_error_that_only_speaks_of_memory_stays_what_it_is(
    tiny_model, tiny_recipe, tokenizer, records, tmp_path, monkeypatch
):
    def illegal(*arguments, **settings):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(trainers.CompletionSFTTrainer, "compute_loss", illegal)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        stages.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft")


def test_what_is_wrong_is_said_before_the_model_is_loaded(tiny_recipe, records, pairs, tmp_path):
    recipe = replace(tiny_recipe, model="./nowhere")  # so that loading it would be the error
    for data, words in ((pairs, "has no field for sft"), ([], "The data set has no records"), ("nowhere", "neither a file")):
        with pytest.raises(CourseError, match=words):
            stages.sft(recipe, data, output_dir=tmp_path / "sft")
    with pytest.raises(CourseError, match="has no field for sft"):
        stages.sft(recipe, records, output_dir=tmp_path / "sft", validation=pairs)
    with pytest.raises(CourseError, match="holds no adapter"):
        stages.dpo(recipe, pairs, output_dir=tmp_path / "dpo", parent=tmp_path)
    (tmp_path / "sft" / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    with pytest.raises(CourseError, match="checkpoints of another experiment"):
        stages.sft(recipe, records, output_dir=tmp_path / "sft")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(CourseError, match="no earlier run"):
        stages.sft(recipe, records, output_dir=tmp_path / "mine")


OFFLINE = {"HF_ENDPOINT": "http://127.0.0.1:9", "TQDM_DISABLE": "1", "COURSE_RECIPE": ""}
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sft", "--model_path", "nowhere"], "The model nowhere could not be loaded from the hub"),
        (["sft", "--model_path", "./nowhere"], "./nowhere does not exist"),
        (["sft", "--model_path", "data"], "data holds no model"),
        (["sft", "--recipe", "gemma-2b-l4"], "gemma-2b-l4 needs a CUDA GPU"),
        (["sft", "--config", "{fp16}"], "cannot be trained in float16"),
        (["sft", "--output_dir", "data"], "data holds files that are no earlier run"),
        (["dpo", "--model_path", "assets/sft"], "has no field for dpo"),
    ],
)
def test_bad_input_is_one_sentence_on_the_command_line(arguments, words, tmp_path):
    (tmp_path / "run.yaml").write_text("fp16: true\n")
    given = [argument.format(fp16=tmp_path / "run.yaml") for argument in arguments]
    if "--output_dir" not in given:
        given += ["--output_dir", str(tmp_path / "out")]
    environment = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
    done = subprocess.run(
        [sys.executable, "-m", "kotune", *given, "--train_dataset", "real_estate_train"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**environment, **OFFLINE},
    )  # fmt: skip
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()
    assert [line for line in said if line.startswith("error: ")] == said[-1:]
    assert words in said[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_dpo_and_reward_start_from_a_merged_model_as_from_its_adapter(
    tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path
):
    loading.save_merged(tiny_model, tokenizer, tmp_path / "base")
    recipe = replace(tiny_recipe, model=str(tmp_path / "base"), epochs=8.0, dpo_epochs=3.0, reward_epochs=3.0)
    sft = stages.sft(recipe, records, output_dir=tmp_path / "sft").adapter
    merged = adapters.merge_chain(loading.load_model(recipe), sft)
    loading.save_merged(merged, tokenizer, tmp_path / "merged")
    whole = replace(recipe, model=str(tmp_path / "merged"))
    for stage in ("dpo", "reward"):
        on_adapter = stages.run_stage(stage, recipe, pairs, output_dir=tmp_path / f"{stage}-1", parent=sft)
        on_merged = stages.run_stage(stage, whole, pairs, output_dir=tmp_path / f"{stage}-2")
        expected = [row["loss"] for row in on_adapter.log]
        assert [row["loss"] for row in on_merged.log] == pytest.approx(expected, abs=1e-4)
        assert len(expected) == 3
        if stage == "dpo":
            assert on_merged.figures["start_loss"] == pytest.approx(math.log(2), abs=1e-6)
            assert on_merged.figures["start_margin"] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_dpo_starts_at_ln_2_and_raises_the_margin(tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path):
    recipe = replace(tiny_recipe, dpo_epochs=20.0)
    parent = stages.sft(tiny_recipe, records, tiny_model, tokenizer, tmp_path / "sft").adapter
    model = adapters.merge_adapter(tiny_model, parent)
    rows = encoding.encode_preference(pairs, tokenizer, 128).rows
    reference = evaluation.reference_logprobs(model, rows, tokenizer, recipe)
    assert evaluation.preference_loss(model, reference, tokenizer, recipe)["loss"] == pytest.approx(math.log(2))
    result = stages.dpo(recipe, pairs, model, tokenizer, parent=parent, output_dir=tmp_path / "dpo")
    assert result.log[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert result.log[0]["rewards/margins"] == 0
    tuned = adapters.merge_adapter(model, result.adapter)
    now = evaluation.preference_loss(tuned, reference, tokenizer, recipe)
    assert now["loss"] < math.log(2)
    assert now["accuracy"] == 1
    assert adapters._card(result.adapter)["parent_sha256"] == adapters.adapter_hash(parent)


@pytest.mark.slow
def test_the_dpo_loss_is_trls(tiny_model, tiny_recipe, tokenizer, pairs, tmp_path, monkeypatch):
    from trl import DPOConfig, DPOTrainer

    arguments = stages.training_arguments(tiny_recipe, "dpo", tmp_path, False, stages.Reporting())
    arguments.update(lr_scheduler_type="constant", learning_rate=1e-2, max_steps=4, save_strategy="no")
    rows = encoding.encode_preference(pairs, tokenizer, 128).rows
    rows = Dataset.from_list(rows)
    text = Dataset.from_list([{side: pair[side] for side in ("prompt", "chosen", "rejected")} for pair in pairs])
    # TRL would also train on the newline that the template writes after the end of the turn
    monkeypatch.setattr(tokenizer, "chat_template", without_last_newline(tokenizer.chat_template))
    setting = {"tiny_model": tiny_model, "tiny_recipe": tiny_recipe, "tokenizer": tokenizer}
    figures = {
        "ours": four_losses(trainers.CompletionDPOTrainer, DPOConfig(**arguments), rows, **setting),
        "trl": four_losses(DPOTrainer, DPOConfig(**arguments), text, **setting),
    }
    assert figures["ours"] == pytest.approx(figures["trl"], rel=1e-3)
    assert figures["ours"][-1] < figures["ours"][0]


@pytest.mark.slow
def test_an_adapter_that_is_not_the_reference_before_training_is_refused(
    tiny_model, tiny_recipe, tokenizer, pairs, tmp_path, monkeypatch
):
    fresh = adapters.add_adapter

    def shaken(*arguments):
        adapted = fresh(*arguments)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
        return adapted

    monkeypatch.setattr(adapters, "add_adapter", shaken)
    with pytest.raises(CourseError, match=r"not ln 2 = 0\.6931"):
        stages.dpo(tiny_recipe, pairs, tiny_model, tokenizer, output_dir=tmp_path / "dpo")


@pytest.mark.slow
def test_in_16_bits_too_the_first_loss_is_ln_2_whatever_the_batch(tiny_model, tiny_recipe, tokenizer, pairs, tmp_path):
    """A reference from batches of another width is off by some tenths of a nat."""
    recipe = replace(tiny_recipe, dtype="bfloat16", dpo_batch_size=2)
    longer = [{**pair, "chosen": [{"role": "assistant", "content": "예. " * 30}]} for pair in pairs[:1]] + pairs[1:]
    result = stages.dpo(recipe, longer, tiny_model.to(torch.bfloat16), tokenizer, output_dir=tmp_path / "dpo")
    assert result.figures["start_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert result.figures["start_margin"] == 0


DOCUMENTS = [
    {"text": text} for text in ("전세는 집을 빌리는 방식이다.", "월세는 다달이 차임을 낸다.", "등기는 권리를 적는다.")
]


@pytest.mark.slow
def test_pre_training_lowers_perplexity(tiny_model, tiny_recipe, tokenizer, tmp_path):
    recipe = replace(tiny_recipe, pretrain_epochs=20.0, pretrain_learning_rate=3e-2, lora_r=16)
    before = evaluation.perplexity(tiny_model, tokenizer, DOCUMENTS, recipe)
    result = stages.pretrain(recipe, DOCUMENTS, tiny_model, tokenizer, tmp_path / "pretrain")
    after = evaluation.perplexity(adapters.merge_adapter(tiny_model, result.adapter), tokenizer, DOCUMENTS, recipe)
    assert after < 0.8 * before
    assert adapters._card(result.adapter)["stage"] == "pretrain"


def test_the_command_line_refuses_data_of_another_stage():
    with pytest.raises(CourseError, match="no field for sft"):
        cli.run(["sft", "--train_dataset", "real_estate_preference"])
    with pytest.raises(CourseError, match="no field for pretrain"):
        cli.run(["pretrain", "--train_data", "real_estate_train"])
    with pytest.raises(CourseError, match="no field for reward"):
        cli.run(["reward", "--train_dataset", "pretraining"])
    with pytest.raises(CourseError, match="neither a file nor a registered data set"):
        cli.run(["dpo", "--train_dataset", "nowhere.jsonl"])


def test_flags_override_the_recipe_of_their_stage_alone():
    from kotune.models.machine import RECIPES

    def flagged(recipe, arguments):
        return plan.recipe_of(plan.read_settings(cli.parse(arguments)[1]), machine.RecipeChoice(recipe, ""))

    given = ["--train_data", "x", "--r", "4", "--lora_alpha", "32", "--learning_rate", "1e-5", "--num_train_epocs", "2"]
    recipe = RECIPES["gemma-3-270m-cpu"]
    sft = flagged(recipe, ["sft", *given, "--max_seq_length", "99"])
    assert (sft.lora_r, sft.lora_alpha, sft.learning_rate, sft.epochs, sft.max_length) == (4, 32, 1e-5, 2.0, 99)
    assert sft.dpo_learning_rate == recipe.dpo_learning_rate
    reward = flagged(recipe, ["reward", *given])
    assert (reward.reward_learning_rate, reward.reward_epochs, reward.learning_rate) == (1e-5, 2.0, recipe.learning_rate)
    assert flagged(recipe, ["dpo", "--train_dataset", "x"]) == recipe


@pytest.mark.slow
def test_packed_training_learns(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    recipe = replace(tiny_recipe, packing=True, max_length=128, epochs=60.0, learning_rate=5e-2, lora_r=16)
    result = stages.sft(recipe, records, tiny_model, tokenizer, tmp_path / "sft")
    assert result.log[-1]["loss"] < result.log[0]["loss"] - 0.2
    unpacked = stages.sft(replace(recipe, packing=False), records, tiny_model, tokenizer, tmp_path / "unpacked")
    assert result.log[0]["loss"] == pytest.approx(unpacked.log[0]["loss"], abs=1e-3)  # all rows are in the first batch


@pytest.mark.slow
def test_batches_of_like_length_train_on_the_same_rows(tiny_model, tiny_recipe, tokenizer, records, tmp_path, monkeypatch):
    """Rows of like length share a batch: every row is trained on as often as in random batches, with less padding."""
    from kotune.training import trainers

    rows = [
        {
            **record,
            "completion": [{"role": "assistant", "content": record["completion"][0]["content"] * (1 + 5 * (number % 2))}],
        }
        for number, record in enumerate(records)
    ]
    widths = []
    compute_loss = trainers.CompletionSFTTrainer.compute_loss

    def noting_width(self, model, inputs, *arguments, **settings):
        widths.append(inputs["input_ids"].numel())
        return compute_loss(self, model, inputs, *arguments, **settings)

    monkeypatch.setattr(trainers.CompletionSFTTrainer, "compute_loss", noting_width)
    recipe = replace(tiny_recipe, epochs=6.0, batch_size=2, lean=False)  # lean, neither has padding
    random = stages.sft(recipe, rows, tiny_model, tokenizer, tmp_path / "random")
    padded, widths[:] = sum(widths), []
    grouped = stages.sft(replace(recipe, group_by_length=True), rows, tiny_model, tokenizer, tmp_path / "grouped")
    assert grouped.figures["steps"] == random.figures["steps"]
    assert sum(widths) < padded


@pytest.mark.slow
def test_stages_stand_on_each_other(tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path):
    from copy import deepcopy

    # a step or more after the warm-up, so that no two adapters are the same
    tiny_recipe = replace(tiny_recipe, epochs=3.0, pretrain_epochs=3.0, dpo_epochs=3.0)
    pretrained = stages.pretrain(tiny_recipe, DOCUMENTS, tiny_model, tokenizer, tmp_path / "pretrain").adapter
    base = deepcopy(tiny_model)
    model = adapters.merge_adapter(tiny_model, pretrained)
    sft = stages.sft(tiny_recipe, records, model, tokenizer, tmp_path / "sft", parent=pretrained).adapter
    model = adapters.merge_adapter(model, sft)
    dpo = stages.dpo(tiny_recipe, pairs, model, tokenizer, tmp_path / "dpo", parent=sft).adapter
    assert adapters.chain(dpo) == [pretrained.resolve(), sft.resolve(), dpo]
    by_hand = evaluation.held_out_loss(adapters.merge_adapter(model, dpo), tokenizer, records, tiny_recipe)
    again = evaluation.held_out_loss(adapters.merge_chain(base, dpo), tokenizer, records, tiny_recipe)
    assert again == pytest.approx(by_hand, abs=1e-6)
    sft.rename(tmp_path / "renamed")  # it is known by its hash, wherever it is beside its child
    assert adapters.chain(dpo) == [pretrained.resolve(), tmp_path / "renamed", dpo]
    stages.sft(replace(tiny_recipe, seed=7), records, model, tokenizer, tmp_path / "renamed")
    with pytest.raises(CourseError, match=r"trained on top of another adapter .* is not at .*sft, beside it"):
        adapters.chain(dpo)


@pytest.mark.slow
def test_the_best_checkpoint_is_what_is_saved(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    # a learning rate that is far too high: the first validation is the best
    recipe = replace(
        tiny_recipe, learning_rate=1.0, epochs=8.0, save_steps=1, early_stopping=2, warmup=0, scheduler="constant"
    )
    result = stages.sft(recipe, records, tiny_model, tokenizer, tmp_path / "sft", validation=records[2:])
    best = min(result.validation, key=lambda row: row["eval_loss"])
    assert result.figures["best_step"] == best["step"]
    assert len(result.log) == best["step"] + 2 < 8  # stopped early
    merged = adapters.merge_adapter(tiny_model, result.adapter)
    assert evaluation.held_out_loss(merged, tokenizer, records[2:], recipe) == pytest.approx(best["eval_loss"], rel=1e-2)


def test_data_come_by_name_by_path_as_a_dataset_or_as_records(records, tmp_path):
    import json

    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    for data in (path, str(path), records, Dataset.from_list(records)):
        assert [record["completion"] for record in stages.stage_records(data, "sft")] == [r["completion"] for r in records]
    assert len(stages.stage_records("pretraining", "pretrain")) == 420
    with pytest.raises(CourseError, match="The data set, row r0, has no field for dpo"):
        stages.stage_records(records, "dpo")


@pytest.mark.slow
def test_a_run_leaves_its_losses_and_its_plot(tiny_model, tiny_recipe, tokenizer, records, tmp_path):
    recipe = replace(tiny_recipe, batch_size=2, save_steps=1)
    reporting = stages.Reporting(plot_loss=True)
    stages.sft(recipe, records, tiny_model, tokenizer, tmp_path / "sft", validation=records, reporting=reporting)
    assert (tmp_path / "sft" / "loss.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "sft" / "loss.csv").read_text().splitlines()
    assert lines[0] == "step,loss,validation_loss,learning_rate"
    assert len(lines) == 3
    assert all(line.split(",")[2] for line in lines[1:])


@pytest.mark.slow
def test_an_adapter_of_another_model_is_refused_before_anything_is_loaded(
    tiny_model, tiny_recipe, tokenizer, records, tmp_path
):
    adapter = stages.sft(replace(tiny_recipe, model="other/model"), records, tiny_model, tokenizer, tmp_path / "sft").adapter
    with pytest.raises(CourseError, match=r"was trained on other/model, and the recipe's model is gemma-3-270m"):
        stages.load_start(tiny_recipe, adapter)
    with pytest.raises(CourseError, match="holds no adapter"):
        stages.load_start(tiny_recipe, tmp_path)


def test_a_batch_that_cannot_be_shared_out_is_refused(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(CourseError, match="batch_size is 4 and cannot be shared out among 3 processes"):
        stages.training_arguments(tiny_recipe, "sft", tmp_path, False, stages.Reporting())


def test_a_tracker_that_is_not_installed_is_named():
    with pytest.raises(CourseError, match="pip install trackio"):
        cli.run(["sft", "--train_dataset", "real_estate_train", "--report_to", "trackio"])


def test_a_file_of_settings_is_read_in_any_stage_and_flags_win(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("train_data: pairs.jsonl\nlearning_rate: 2e-5\nlora_r: 4\nplot_loss: true\nreport_to: wandb\n")
    settings = plan.read_settings(cli.parse(["dpo", "--config", str(config), "--r", "16"])[1])
    chosen = settings.run
    assert (chosen.train_dataset, chosen.plot_loss, chosen.report_to) == ("pairs.jsonl", True, "wandb")
    from kotune.models.machine import RECIPES

    recipe = plan.recipe_of(settings, machine.RecipeChoice(RECIPES["gemma-3-270m-cpu"], ""))
    assert (recipe.lora_r, recipe.dpo_learning_rate) == (16, 2e-5)
    config.write_text("report_to: neptune\ntrain_data: x\n")
    with pytest.raises(CourseError, match="no tracker 'neptune'"):
        cli.run(["sft", "--config", str(config)])
    config.write_text("stage: sft\n")
    with pytest.raises(CourseError, match=r"run\.yaml is for sft and the command for dpo"):
        cli.run(["dpo", "--config", str(config)])


@pytest.mark.slow
def test_dpo_on_four_bits_starts_from_the_merged_sft_model(tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path):
    tiny_model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    recipe = replace(tiny_recipe, model=str(tmp_path / "model"), quantization="nf4", epochs=8.0)
    stages.sft(recipe, records, output_dir=tmp_path / "sft")
    model, _ = stages.load_start(recipe, tmp_path / "sft")
    assert model.is_loaded_in_4bit
    result = stages.dpo(recipe, pairs, model, tokenizer, tmp_path / "dpo", parent=tmp_path / "sft")
    assert result.log[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    merged = adapters.merge_chain(loading.load_model(recipe.unquantised()), tmp_path / "dpo")
    assert merged.dtype == torch.float32


@pytest.mark.slow
def test_an_estimate_for_another_machine_needs_no_gpu(capsys):
    cli.run(["sft", "--train_dataset", "radiology_train", "--recipe", "llama-3-8b-qlora", "--estimate", "24"])
    printed = capsys.readouterr().out
    assert "memory together" in printed
    assert "of 24.0 free" in printed
    with pytest.raises(CourseError, match="llama-3-8b-qlora needs"):
        cli.run(["sft", "--train_dataset", "radiology_train", "--recipe", "llama-3-8b-qlora", "--estimate", "4"])
