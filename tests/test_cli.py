"""Protects: every command is on one page, each name of a --config file is a flag, and a mistake is one line."""

import json
import os
import subprocess
import sys

import pytest

from kotune import cli, overrides
from kotune.models import machine
from kotune.recipes import RECIPES
from kotune.training import plan
from utils import ROOT, CourseError

# The medical trainer's own command, word for word, but for the model, the data and the folder.
MEDICAL = (
    "--stage sft --model_name_or_path {model} --do_train --dataset {data} --finetuning_type lora --quantization_bit 4 "
    "--overwrite_cache --per_device_train_batch_size 8 --gradient_accumulation_steps 4 --lr_scheduler_type cosine "
    "--logging_steps 10 --save_steps 1000 --num_train_epochs 2.0 --plot_loss --fp16 --template llama2 "
    "--lora_target q_proj,v_proj --output_dir {output}"
)


def kotune(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "kotune", *map(str, arguments)],
        cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_help_page_names_every_command_and_fits_a_screen():
    done = kotune("--help")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 110
    for name, command in cli.COMMANDS.items():
        assert any(line.split()[:1] == [name] and command.help in done.stdout for line in lines), name
        assert all(subcommand in done.stdout for subcommand in command.subcommands)


def test_the_help_page_loads_no_library():
    code = "import sys; from kotune import cli; cli.help_page(); print('torch' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_each_command_explains_its_options(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: kotune {name}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_mistake_is_one_line_and_exit_code_1():
    for arguments, words in (
        (("tune",), "There is no command 'tune'"),
        (("data", "check", "nowhere"), "nowhere"),
        (("train",), "--stage"),
        (("korean", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
    ):
        done = kotune(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ") and words in done.stderr and done.stderr.count("\n") == 1


def test_an_interrupt_is_exit_code_130(monkeypatch):
    def interrupted(chosen):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "korean", cli.Command("x", cli.COMMANDS["korean"].add_options, interrupted))
    with pytest.raises(SystemExit) as ended:
        cli.main(["korean", "x"])
    assert ended.value.code == 130


def read(*arguments):
    return plan.read_settings(cli.parse(["train", *arguments])[1])


@pytest.mark.parametrize("name", overrides.setting_names())
def test_every_name_of_a_settings_file_is_a_flag(name):
    value = {"stage": "sft", "recipe": "gemma-3-270m-cpu", "report_to": "wandb"}.get(name, "1")
    given = [f"--{name}"] if name == "plot_loss" else [f"--{name}", value]
    _, chosen = cli.parse(["train", "--stage", "sft", *given])
    assert (
        value in (chosen.settings.get(name), getattr(chosen, overrides.RUN_ARGUMENTS.get(name, name), None))
        or chosen.plot_loss
    )


def test_the_medical_trainers_command_means_what_it_says(capsys):
    settings = read(*MEDICAL.format(model="meta-llama/Llama-2-7b-chat-hf", data="mm", output="out").split())
    recipe = plan.recipe_of(settings, machine.RecipeChoice(RECIPES["llama-2-7b-qlora"], ""))
    assert (settings.run.train_dataset, settings.run.plot_loss, str(settings.run.output_dir)) == ("mm", True, "out")
    assert (recipe.model, recipe.quantization, recipe.dtype) == ("meta-llama/Llama-2-7b-chat-hf", "nf4", "float16")
    assert (recipe.batch_size, recipe.accumulation, recipe.scheduler, recipe.save_steps) == (8, 4, "cosine", 1000)
    assert (recipe.epochs, recipe.target_modules) == (2.0, ("q_proj", "v_proj"))
    printed = capsys.readouterr().out
    for name in ("overwrite_cache", "logging_steps", "template"):
        assert f"--{name} has no effect here: " in printed


def test_what_no_setting_is_called_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(SystemExit) as ended:  # argparse: 2
        read("--stage", "sft", "--lora_rnak", "4")
    assert ended.value.code == 2
    with pytest.raises(CourseError, match="--stage is for sft and the command for dpo"):
        plan.read_settings(cli.parse(["dpo", "--stage", "sft"])[1])
    with pytest.raises(CourseError, match="and the course has it one way only: LoRA adapters are trained"):
        plan.recipe_of(
            read("--stage", "sft", "--finetuning_type", "full"), machine.RecipeChoice(RECIPES["gemma-3-270m-cpu"], "")
        )


@pytest.mark.slow
def test_the_medical_trainers_command_trains_on_this_machine(tokenizer, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size)).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    data = tmp_path / "mm.jsonl"
    data.write_text(
        '{"instruction": "전세가 뭐예요?", "input": "", "output": "보증금을 맡기고 집을 빌리는 계약입니다."}\n' * 4
    )
    command = MEDICAL.format(model=tmp_path / "llama", data=data, output=tmp_path / "out").split()
    done = kotune("train", *command, COURSE_RECIPE="gemma-3-270m-cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fp16 has no effect here: float16 is for GPUs" in done.stdout
    card = json.loads((tmp_path / "out" / "run.json").read_text())
    assert card["recipe"]["quantization"] == "nf4" and card["recipe"]["target_modules"] == ["q_proj", "v_proj"]
    assert (tmp_path / "out" / "loss.png").exists()
