"""Every command of the course on one page: its options, and which module does it.

What a command needs is imported once it is chosen, so that `kotune --help` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kotune.language import LANGUAGES, language
from kotune.stage_table import STAGES
from utils import OUTPUTS, ROOT, CourseError, error_sentence, machine_error, relative

if TYPE_CHECKING:
    from kotune.data.dedup import DedupResult
    from kotune.shards import Shard

DATA_SET = "a file, a folder, or a name in data/dataset_info.json"
MODEL = "an adapter's folder, a merged model's, or a hub name"


@dataclass(frozen=True)
class Command:
    """A command: what it does in a line, its options, and what runs it; both are called once it was chosen."""

    help: str
    add_options: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int | None]
    subcommands: tuple[str, ...] = ()


# --- training --------------------------------------------------------------------------------


class _Setting(argparse.Action):
    """Keeps a flag that a --config file may hold as well, under the name that it was given by."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        namespace.settings[option_string.lstrip("-")] = values


def _training_options(parser: ArgumentParser) -> None:
    from kotune.overrides import setting_names
    from kotune.recipes import RECIPES
    from kotune.training.plan import TRACKERS

    run = parser.add_argument_group("the run")
    run.add_argument("--train_dataset", "--train_data", help=DATA_SET)
    run.add_argument("--eval_dataset", "--validation_data", help="the same, for the validation loss")
    run.add_argument("--output_dir", help="the adapter goes here; outputs/STAGE if not given")
    run.add_argument("--model_path", "--sft", help=f"what to start from: {MODEL}")
    run.add_argument("--plot_loss", action="store_true", help="write loss.png beside the adapter")
    run.add_argument("--report_to", choices=TRACKERS, help="also send the log to a tracker")
    run.add_argument(
        "--estimate", nargs="?", type=float, const=0.0, metavar="GIB",
        help="print memory and minutes, and stop; with GIB, for a device of that size that is not here",
    )  # fmt: skip
    recipe = parser.add_argument_group("the recipe")
    recipe.add_argument("--recipe", choices=sorted(RECIPES), help="instead of the choice by machine")
    recipe.add_argument("--config", type=Path, help="YAML or JSON: arguments, and any value of the recipe; flags win")
    shown = {
        "r": "LoRA rank", "lora_alpha": "LoRA's scale is alpha / r", "learning_rate": "of this stage",
        "max_seq_length": "tokens of prompt and completion; longer rows are left out and named",
        "num_train_epochs": "of this stage", "save_steps": "a checkpoint, and a validation, every so many steps",
    }  # fmt: skip
    parser.set_defaults(settings={})
    taken = {option.lstrip("-") for option in parser._option_string_actions}  # argparse has no public list of them
    for name in (*shown, *(name for name in setting_names() if name not in shown)):
        if name not in taken:
            told = shown.get(name, argparse.SUPPRESS)
            recipe.add_argument(f"--{name}", action=_Setting, nargs="?", const="true", metavar="VALUE", help=told)
    parser.epilog = (
        "Any other value of a recipe is a flag by its name, as --lora_dropout 0.05, and so is every name that a --config "
        "file of the medical trainer or of the suite of 23 tasks has; what has no effect here is named."
    )


def _train(chosen: Namespace) -> None:
    from kotune.training.plan import train

    if chosen.stage is None:
        raise CourseError(f"Which stage to train? Pass --stage with one of {', '.join(STAGES)}.")
    train(chosen)


def _any_stage_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--stage", choices=(*STAGES, *ALIASES), type=lambda name: ALIASES.get(name, name), help="which stage"
    )
    _training_options(parser)


def _options_of(stage: str) -> Callable[[ArgumentParser], None]:
    def add_options(parser: ArgumentParser) -> None:
        _training_options(parser)
        parser.set_defaults(stage=stage)

    return add_options


ALIASES = {"pt": "pretrain", "rm": "reward", "rw": "reward"}  # what the medical trainer calls them


# --- many processes, many machines -----------------------------------------------------------


def _shard_options(parser: ArgumentParser) -> None:
    from kotune.shards import Shard

    parts = parser.add_argument_group("in parts (docs/scaling.md)")
    alone = parts.add_mutually_exclusive_group()
    alone.add_argument(
        "--shard",
        type=_told(Shard.parse),
        metavar="i/n",
        help="the i-th of n parts alone; kotune data merge puts them together",
    )
    alone.add_argument("--ray", type=int, metavar="N", help="all of N parts as tasks of Ray, then merged (extra ray)")
    parts.add_argument(
        "--ray-address", "--ray_address", metavar="ADDRESS", help="a cluster, such as auto; this machine if not given"
    )
    parts.add_argument("--ray-cpus", "--ray_cpus", type=float, default=1, metavar="X", help="CPU cores of a task (1)")
    parts.add_argument("--ray-gpus", "--ray_gpus", type=float, default=0, metavar="X", help="GPUs of a task (0)")


def _told(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser of an option whose sentence is argparse's own."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except CourseError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _run_in_parts(
    chosen: Namespace, run: Callable[[Namespace, Any], list[Path]], *, once_more: bool, of_the_whole: Sequence[str] = ()
) -> None:
    """Run a command whole, or the part that --shard names, or all parts on Ray.

    once_more: the whole is run after the merge; it finds everything done, and writes what belongs to the whole.
    of_the_whole: the options for which that holds.
    """
    if chosen.ray is None:
        if chosen.ray_address is not None:
            raise CourseError("--ray-address needs the number of parts; pass --ray N too.")
        run(chosen, chosen.shard)
        return
    from kotune.ray_tasks import Resources, run_shards

    resources = Resources(chosen.ray_address, chosen.ray_cpus, chosen.ray_gpus)
    of_a_part = Namespace(**{**vars(chosen), **dict.fromkeys(of_the_whole)})
    for shards in run_shards(run, of_a_part, chosen.ray, resources):
        _merge_shards(shards, None, None)
    if once_more:
        run(chosen, None)


# --- answering -------------------------------------------------------------------------------


def _model_options(parser: ArgumentParser) -> None:
    parser.add_argument("--model_path", help=f"{MODEL} (default: the SFT adapter in outputs/, else the shipped one)")
    parser.add_argument("--recipe", help="a recipe's name, instead of the choice by machine")


def _ranking_option(parser: ArgumentParser) -> None:
    from kotune.data.ranking import CHOICES

    parser.add_argument(
        "--ranking", choices=CHOICES,
        help="how passages are found: by words (bm25), by meaning (embeddings), or by both (fused); auto, which is the "
        "default, is fused where the extra `embeddings` is installed, else bm25",
    )  # fmt: skip


def _infer_options(parser: ArgumentParser) -> None:
    from kotune.models.sampling import RANGES, Sampling

    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--inference_data", help=DATA_SET)
    asked.add_argument("--prompt", help="one question; the answer is printed as it is written")
    _model_options(parser)
    parser.add_argument(
        "--save_name", default="result",
        help="NAME: outputs/inference/NAME.jsonl and .xlsx; a path goes where it says, and NAME.jsonl makes no workbook",
    )  # fmt: skip
    parser.add_argument("--system_prompt", help="for rows without an instruction of their own, and for --prompt")
    parser.add_argument(
        "--columns_from_json", action="store_true", help="a column of the workbook for each field of the answers"
    )
    parser.add_argument("--documents", help="JSONL of {title, text}: the best passages are put into each prompt, and named")
    _ranking_option(parser)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--batch_size", type=int, help="rows at once, at most; as memory allows if not given (transformers)")
    parser.add_argument("--tensor_parallel_size", type=int, help="GPUs that share the model (vllm)")
    sampling = parser.add_argument_group("sampling (greedy if not given)")
    for name in (*RANGES, "seed"):
        sampling.add_argument(f"--{name}", type=int if name == "seed" else type(getattr(Sampling, name)))
    _shard_options(parser)


def _infer(chosen: Namespace) -> None:
    from kotune.answering.batch import answer_command

    _run_in_parts(chosen, answer_command, once_more=True, of_the_whole=("columns_from_json",))


def _merge_options(parser: ArgumentParser) -> None:
    from kotune.models.gguf_export import OUTTYPES

    _model_options(parser)
    parser.add_argument("--merged_weights_path", default=str(OUTPUTS / "merged"), help="the whole model goes here")
    parser.add_argument(
        "--to", choices=("gguf",), help="also write it as one file for llama.cpp and Ollama, beside the folder"
    )
    parser.add_argument(
        "--outtype", choices=OUTTYPES, default=OUTTYPES[0],
        help=f"with --to gguf, the type of its weights: {OUTTYPES[0]} as they are, q8_0 half as long",
    )  # fmt: skip


def _merge(chosen: Namespace) -> None:
    from kotune.answering.batch import merge_command

    merge_command(chosen)


def _card_options(parser: ArgumentParser) -> None:
    parser.add_argument("adapter", metavar="FOLDER", help="a trained adapter's folder; its card goes there as README.md")
    parser.add_argument(
        "--result", action="append", default=[], metavar="LINE",
        help='what it was measured to do, beside its baseline: "listings: 159 of 200, base 0"; once for each',
    )  # fmt: skip
    parser.add_argument("--push", metavar="USER/NAME", help="put both into this repository of the hub, which is private")


def _card(chosen: Namespace) -> None:
    from kotune.models.model_card import card_command

    card_command(chosen)


# --- judging ---------------------------------------------------------------------------------


def _judge_options(parser: ArgumentParser) -> None:
    from kotune.judging.calibration import CALIBRATION
    from kotune.judging.run import JUDGES

    parser.add_argument("--answers_a", metavar="FILE", help="JSONL with id, question, answer, reference")
    parser.add_argument("--answers_b", metavar="FILE", help="the same questions, answered by another")
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        help="instead of both: a question with two answers a row (input1, completion1, input2, completion2, reference)",
    )
    parser.add_argument("--judge", required=True, help=JUDGES)
    parser.add_argument("--out", required=True, metavar="JSON", help="where the report goes")
    parser.add_argument("--name_a", help="what A is called; its file's name, or completion1, if not given")
    parser.add_argument("--name_b", help="what B is called; its file's name, or completion2, if not given")
    parser.add_argument("--judgments", metavar="JSONL", help="where judgments are kept; beside the report if not given")
    parser.add_argument("--calibrate", action="store_true", help="measure the judges first on pairs of known verdict")
    parser.add_argument("--calibration", default=CALIBRATION, metavar="FILE", help="other pairs of known verdict")
    parser.add_argument("--votes", metavar="JSONL", help="people's votes on some of the pairs, which correct the win rate")
    parser.add_argument("--second_judge", action="append", default=[], metavar="JUDGE", help="another, to compare with")
    parser.add_argument("--without_reference", action="store_true", help="show an LLM no reference, even where there is one")
    parser.add_argument("--scores", action="store_true", help="score every answer by itself too (an LLM is asked once more)")
    parser.add_argument("--html", metavar="FILE", help="the report card as one page")
    parser.add_argument("--png", metavar="FILE", help="the report card as one picture")
    parser.add_argument("--reward_model", default=OUTPUTS / "reward", metavar="FOLDER", help="for the judge reward")
    parser.add_argument("--sft", default=OUTPUTS / "sft", metavar="FOLDER", help="the adapter that it was trained on top of")
    parser.add_argument("--journal", default=OUTPUTS / "eval" / "judge_journal.jsonl", metavar="JSONL", help="paid replies")
    parser.add_argument("--budget_usd", type=float, help="the most that this journal may ever cost")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    _shard_options(parser)


def _judge(chosen: Namespace) -> None:
    from kotune.judging.run import REPORT_ALONE, judge_command

    _run_in_parts(chosen, judge_command, once_more=True, of_the_whole=REPORT_ALONE)


def _votes_options(parser: ArgumentParser) -> None:
    from kotune.judging import vote_pairs, votes

    parser.add_argument("votes", nargs="+", help="the chat page's votes, such as outputs/serve/votes.jsonl")
    parser.add_argument("--to", choices=("dpo",), help="write preference pairs instead; takes a notebook's votes as well")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"a folder in it for each two models (default: {relative(votes.OUT)}); with --to, the file of pairs "
        f"({relative(vote_pairs.OUT)})",
    )


def _votes(chosen: Namespace) -> None:
    from kotune.judging import vote_pairs, votes

    (vote_pairs.pairs_command if chosen.to else votes.votes_command)(chosen)


# --- serving ---------------------------------------------------------------------------------


def _serve_options(parser: ArgumentParser) -> None:
    from kotune.serving.app import PORT, VOTES
    from kotune.serving.backends import MAX_CONTEXT
    from kotune.serving.guard import Limits

    parser.add_argument(
        "--model_path",
        help=f"{MODEL} (default: the best adapter of the course and its base; beside them the adapters named listings and "
        "radiology in outputs/ or assets/, which put an advertisement into a record and write a report's findings)",
    )
    parser.add_argument("--compare_with", help="another adapter or model beside it on the page, instead of the base")
    parser.add_argument("--backend", help="an OpenAI-compatible server's address, such as http://127.0.0.1:11434/v1")
    parser.add_argument("--host", default="127.0.0.1", help="another than loopback needs --api_key")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--api_key", help="asked of every request (or SERVE_API_KEY, which no list of processes shows)")
    parser.add_argument("--documents", help="JSONL of {title, text}: answers may be drawn from them")
    _ranking_option(parser)
    parser.add_argument("--votes", type=Path, default=VOTES, help=f"where blind votes go (default: {relative(VOTES)})")
    parser.add_argument("--max_context", type=int, default=MAX_CONTEXT, help="tokens of prompt and reply")
    parser.add_argument(
        "--concurrent",
        type=int,
        default=Limits.concurrent,
        help="replies at once, 4 of one page and 16 of one address at most; one more is refused",
    )


def _serve(chosen: Namespace) -> None:
    from kotune.serving.app import serve_command

    serve_command(chosen)


def _llm_options(parser: ArgumentParser) -> None:
    from kotune.serving.llm import CONTEXT, PORT

    parser.add_argument("--gguf", metavar="FILE", help="another model's file, instead of the packaged one")
    parser.add_argument("--port", type=int, default=PORT, help=f"on 127.0.0.1 (default: {PORT}); 0 takes any that is free")
    parser.add_argument(
        "--context", type=int, help=f"tokens of prompt and reply (default: {CONTEXT}, or what the model knows)"
    )
    parser.add_argument("--threads", type=int, help="default: one for each core of the CPU")


def _llm(chosen: Namespace) -> None:
    from kotune.serving.llm import llm_command

    llm_command(chosen)


# --- data and checks -------------------------------------------------------------------------


def _data_options(parser: ArgumentParser) -> None:
    from kotune.data.semantic_repeats import THRESHOLD as SEMANTIC_THRESHOLD

    commands = parser.add_subparsers(dest="subcommand", required=True)
    checking = commands.add_parser("check", help="print a table of findings; exit code 1 on errors")
    checking.add_argument("data", metavar="PATH|NAME")
    checking.add_argument("--recipe", help="find records that are too long for this recipe")
    checking.add_argument("--against", action="append", default=[], help="an evaluation set not to overlap with")
    converting = commands.add_parser("convert", help="write a data set in another format")
    converting.add_argument("source", metavar="IN")
    converting.add_argument("target", metavar="OUT")
    converting.add_argument("--to", required=True, help="sft, dpo, rw, pt, messages, sharegpt, qa, seed_word, task, csv ...")
    scanning = commands.add_parser("scan", help="find personal data in every text of a data set")
    scanning.add_argument("data", metavar="FILE")
    scanning.add_argument("--out", metavar="JSONL", help="a line a find: row, field, kind, start, end")
    sorting = commands.add_parser("dedup", help="take near duplicates out, and keep them beside the output with their twins")
    sorting.add_argument("source", metavar="IN")
    sorting.add_argument(
        "target",
        metavar="OUT",
        help="JSONL; what was dropped goes to OUT.dropped.jsonl, what was spared is shown in OUT.spared.jsonl",
    )
    sorting.add_argument("--threshold", type=float, default=0.7, help="a row whose ROUGE-L F1 exceeds it is a repeat (0.7)")
    sorting.add_argument("--unit", default="eojeol", help="eojeol, morpheme, syllable, jamo or ascii (eojeol)")
    sorting.add_argument("--field", help="the field to compare, instead of the question or the document")
    sorting.add_argument(
        "--alpaca",
        action="store_true",
        help="exactly the Alpaca loop: drop what differs in numbers, negation or parties too",
    )
    sorting.add_argument("--semantic", action="store_true", help="drop repeats in other words too (extra `embeddings`)")
    sorting.add_argument(
        "--semantic-threshold", "--semantic_threshold", type=float, default=SEMANTIC_THRESHOLD, metavar="X",
        help=f"with --semantic: a row whose cosine exceeds it is a repeat ({SEMANTIC_THRESHOLD})",
    )  # fmt: skip
    _shard_options(sorting)
    merging = commands.add_parser("merge", help="put the files of all shards of a run together, in the order of its input")
    merging.add_argument(
        "shards", nargs="+", metavar="SHARD", help="the files that --shard wrote, NAME.shard-1-of-4.jsonl ..."
    )
    merging.add_argument("--out", metavar="JSONL", help="NAME.jsonl if not given")
    merging.add_argument("--input", metavar="FILE", help="what was given to data dedup, where it is not where it was")


def _data(chosen: Namespace) -> int | None:
    from kotune.data import pii, registry

    if chosen.subcommand == "scan":
        counts = pii.scan_file(chosen.data, chosen.out)
        print("\n".join(f"{kind:16} {number}" for kind, number in counts.items()))
        return None
    if chosen.subcommand == "dedup":
        _run_in_parts(chosen, _dedup, once_more=False)
        return None
    if chosen.subcommand == "merge":
        _merge_shards(chosen.shards, chosen.out, chosen.input)
        return None
    if chosen.subcommand == "check":
        limit = _token_limit(chosen.recipe) if chosen.recipe else None
        report = registry.check(chosen.data, limit, chosen.against)
        print(report)
        return 1 if report.errors else 0
    registry.convert(chosen.source, chosen.target, chosen.to)
    return None


def _dedup(chosen: Namespace, shard: Shard | None) -> list[Path]:
    from kotune.data.dedup import deduplicate_file
    from kotune.data.embeddings import load_model
    from kotune.korean.contrasts import difference

    if shard is not None:
        return [_dedup_shard(chosen, shard)]
    if chosen.semantic:
        load_model()  # that it is missing is said before the rows are compared by their words
    done = deduplicate_file(
        chosen.source, chosen.target, chosen.threshold, chosen.unit, field=chosen.field,
        differ=None if chosen.alpaca else difference,
        semantic_threshold=chosen.semantic_threshold if chosen.semantic else None,
    )  # fmt: skip
    _print_dedup(done, chosen.unit)
    return []


def _dedup_shard(chosen: Namespace, shard: Shard) -> Path:
    from kotune.data.dedup_shards import find_matches

    if chosen.semantic:
        raise CourseError(
            "--semantic compares all rows in one process; leave it out with --shard, and run it on what was kept."
        )
    file = find_matches(
        chosen.source, chosen.target, shard, chosen.threshold, chosen.unit, field=chosen.field, alpaca=chosen.alpaca
    )
    print(f"{relative(file)}: pairs of rows that match; kotune data merge decides with those of all {shard.of} shards")
    return file


def _print_dedup(done: DedupResult, unit: str) -> None:
    print(f"{relative(done.kept_file)}: {done.kept} rows; {done.dropped} near duplicates in {relative(done.dropped_file)}")
    if done.spared:
        counts = ", ".join(f"{what} {number}" for what, number in done.spared.most_common())
        print(f"{done.spared.total()} of them are near another and differ from it ({counts}): {relative(done.spared_file)}")
    if done.wordless:
        shown = ", ".join(map(str, done.wordless[:20])) + (", ..." if len(done.wordless) > 20 else "")
        print(f"{len(done.wordless)} hold no word of the unit {unit} to compare and were kept: rows {shown}")


def _merge_shards(shards: Sequence[str | Path], target: str | None, source: str | None) -> None:
    from kotune.data.shard_files import merge
    from kotune.korean.contrasts import difference

    merged = merge(shards, target, difference, source)
    if merged.dedup is not None:
        _print_dedup(merged.dedup, merged.settings["unit"])
        return
    still_open = "".join(f", {number} of them {status}" for status, number in merged.open.most_common())
    print(f"{relative(merged.file)}: {merged.lines} lines of {len(shards)} shards{still_open}")


def _token_limit(recipe_name: str):
    """Return how a recipe's tokens are counted, and how many it takes."""
    from kotune.models.chat_template import rendered_lengths
    from kotune.models.files import load_tokenizer
    from kotune.recipes import by_name

    recipe = by_name(recipe_name)
    tokenizer = load_tokenizer(recipe.model)
    return lambda record: max(length.tokens for length in rendered_lengths(tokenizer, record)), recipe.max_length


def _korean_options(parser: ArgumentParser) -> None:
    parser.add_argument("answers", help="a file with the field answer, and question, source, ended where known")
    parser.add_argument("--out", help="write the findings as JSONL: row, id, check, start, end, span, message")


def _korean(chosen: Namespace) -> None:
    from kotune.korean.checks import check_command

    check_command(chosen)


# --- the course ------------------------------------------------------------------------------


def _notebooks_options(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="subcommand", required=True)
    running = commands.add_parser("run", help="execute them in order into outputs/notebooks/ and print what they found")
    storing = commands.add_parser("store", help="execute them in place, so that their outputs are those of one clean run")
    storing.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="these alone, each from what is shipped")
    for each in (running, storing):
        each.add_argument("--language", choices=LANGUAGES, default="en", help="ko: the Korean edition, in ko/ (default: en)")
    commands.add_parser("adapters", help="copy the adapters of the last `store` into assets/")
    inserting = commands.add_parser("exercises", help="put exercises and questions in, in the place of those that are there")
    inserting.add_argument("--dry-run", "--dry_run", action="store_true", help="print which cell goes where; write nothing")
    inserting.add_argument("--folder", type=Path, help="where the notebooks lie, instead of the repository's own")
    inserting.add_argument("--language", choices=LANGUAGES, default="en", help="of the text (default: en)")
    heading = commands.add_parser("badges", help="write the badges and the cell that fetches the course, in both editions")
    heading.add_argument("--repository", metavar="OWNER/NAME", help="a public copy on GitHub (default: the present one)")
    heading.add_argument("--branch", default="main", help="its default branch (default: main)")
    heading.add_argument("--dry-run", "--dry_run", action="store_true", help="print what would change; write nothing")
    heading.add_argument("--folder", type=Path, help="where the notebooks lie, instead of the repository's own")


def _notebooks(chosen: Namespace) -> None:
    from kotune import notebooks

    if chosen.subcommand == "exercises":
        from kotune.exercises.cells import insert_into

        for line in insert_into(chosen.folder or ROOT, chosen.language, dry_run=chosen.dry_run):
            print(line)
    elif chosen.subcommand == "badges":
        from kotune.first_cells import Repository, write_heads

        repository = Repository.parse(chosen.repository, chosen.branch) if chosen.repository is not None else None
        for line in write_heads(chosen.folder or ROOT, repository, dry_run=chosen.dry_run):
            print(line)
    elif chosen.subcommand == "store":
        notebooks.store(chosen.notebooks or notebooks.NOTEBOOKS, chosen.language)
    elif chosen.subcommand == "run":
        notebooks.run(chosen.language)
    else:
        notebooks.adapters()


def _class_options(parser: ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="subcommand", required=True)
    reporting = commands.add_parser("report", help="write who solved what, after how many tries and when, as CSV")
    reporting.add_argument("folder", type=Path, help="holds the learners' files of outputs/exercises/")
    reporting.add_argument("--out", type=Path, metavar="CSV", help="default: outputs/class_report.csv")


def _class(chosen: Namespace) -> None:
    from kotune.exercises.class_report import report_command

    report_command(chosen.folder, chosen.out)


# --- what is installed -----------------------------------------------------------------------


def _licences_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="CSV", help="write them with all columns, instead of printing a table")


def _licences(chosen: Namespace) -> None:
    from kotune.licences import licences_command

    licences_command(chosen.out)


# --- the page --------------------------------------------------------------------------------

COMMANDS = {
    **{name: Command(stage.what, _options_of(name), _train) for name, stage in STAGES.items()},
    "train": Command("the stage that --stage names, with every flag of the medical trainer", _any_stage_options, _train),
    "infer": Command("answer a file of questions, or one", _infer_options, _infer),
    "merge": Command("merge an adapter into a whole model, for GGUF too", _merge_options, _merge),
    "card": Command("an adapter's model card; --push sends both to a private repository", _card_options, _card),
    "judge": Command("compare two systems' answers with a judge, in both orders", _judge_options, _judge),
    "votes": Command("count blind votes, and write them for kotune judge or as pairs for DPO", _votes_options, _votes),
    "serve": Command("a chat page and an OpenAI-compatible interface on 127.0.0.1:8000", _serve_options, _serve),
    "llm": Command("a real instruct model on 127.0.0.1:8080, as teacher and judge (extra llm)", _llm_options, _llm),
    "data": Command(
        "check a data set, convert it, find personal data, drop repeats",
        _data_options,
        _data,
        ("check", "convert", "scan", "dedup", "merge"),
    ),
    "korean": Command("check Korean answers without a model", _korean_options, _korean),
    "notebooks": Command(
        "run the course's notebooks, or store them",
        _notebooks_options,
        _notebooks,
        ("run", "store", "adapters", "exercises", "badges"),
    ),
    "class": Command(
        "who of a class solved which exercise, from the files they hand in", _class_options, _class, ("report",)
    ),
    "licences": Command("licences of the model, the data and the installed packages", _licences_options, _licences),
}
SPELLINGS = {"licenses": "licences"}  # of another English


def help_page() -> str:
    """Return the one page that `kotune --help` shows."""
    lines = ["usage: kotune COMMAND ...        options of one: kotune COMMAND --help", ""]
    for name, command in COMMANDS.items():
        named = f"{name} {' | '.join(command.subcommands)}".rstrip()
        lines.append(f"  {named:32} {command.help}" if len(named) <= 32 else f"  {named}\n{'':35}{command.help}")
    return "\n".join(lines)


def parse(arguments: Sequence[str]) -> tuple[Command, Namespace]:
    """Return the command that a command line names, and its options; what argparse refuses ends the process with 2."""
    name, *rest = arguments
    name = SPELLINGS.get(name, name)
    command = COMMANDS[name]
    parser = ArgumentParser(prog=f"kotune {name}", description=f"{command.help[0].upper()}{command.help[1:]}.")
    command.add_options(parser)
    return command, parser.parse_args(rest)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; a user's mistake is raised as a CourseError."""
    command, chosen = parse(arguments)
    return command.run(chosen) or 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process.

    The exit code is 1, after one sentence, where the user, a file, a disk, an address or a signal stopped it; 130 after
    Ctrl-C; 2 after a flag that is not known.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _print_any_character()
    try:
        with _ended_by_signals(given[:1]):
            code = _run_or_help(given)
            sys.stdout.flush()  # a full disk behind the output is known here, and not as the process ends
    except BrokenPipeError:  # as in `kotune ... | head`: who reads has seen enough
        _drop_output()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except (CourseError, _EndedBySignalError) as error:
        sys.exit(_error_line(error))
    except Exception as error:
        known = machine_error(error)
        if known is None:
            raise
        sys.exit(_error_line(known))
    sys.exit(code)


def _run_or_help(given: Sequence[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(help_page())
        return 0 if given else 2
    if given[0] not in (*COMMANDS, *SPELLINGS):
        raise CourseError(f"There is no command {given[0]!r}; the commands are {', '.join(COMMANDS)}.")
    return run(given)


def _error_line(error: BaseException) -> str:
    """Return what went wrong on one line, in the language that KOTUNE_LANG asks for."""
    sentence = _sentence(error)
    with suppress(Exception):  # a wrong KOTUNE_LANG, or no memory or no file for the table: the sentence counts
        if language() == "ko":
            from kotune.korean.error_sentences import in_edition

            return f"오류: {in_edition(sentence)}"
    return f"error: {sentence}"


def _sentence(error: BaseException) -> str:
    """Return what went wrong on one line, whatever a file is called."""
    if isinstance(error, MemoryError):
        return "This machine has too little memory for that; close other programs, or give less at once."
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EIO):
        _drop_output()  # it may be what is printed that has no room, which would fail again as the process ends
    text = error_sentence(error) if isinstance(error, OSError) else str(error)
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _print_any_character() -> None:
    """Let a console that lacks a character, as CP949 lacks emoji, show its code in the place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None under pythonw
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Send what is still to be printed nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _ended_by_signals(command: Sequence[str]) -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as a mistake does, so that no temporary file stays; a server has its own way."""
    names = [] if [*command] == ["serve"] else [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    earlier = {}
    for name in names:
        number = getattr(signal, name)
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup SIGHUP is ignored, and stays so
            earlier[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


class _EndedBySignalError(BaseException):
    """A signal asked this process to end; no `except Exception` on the way keeps it."""


def _end(number: int, frame: object) -> None:
    raise _EndedBySignalError(f"This command was ended by {signal.Signals(number).name}; run it again to go on.")
