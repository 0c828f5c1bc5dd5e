"""Answer a file of questions, or one; merge an adapter into a model.

    kotune infer --inference_data test.xlsx --model_path outputs/sft --save_name test
    kotune infer --prompt "확정일자는 어디에서 받나요?"
    kotune merge --model_path outputs/dpo --merged_weights_path outputs/merged [--to gguf --outtype q8_0]

The file is an Excel sheet with Conclusion and SystemPrompt, or any data set of `data.registry`. Each answer is
written as it ends, to outputs/inference/NAME.jsonl; a run that was killed goes on from there. NAME.xlsx comes at
the end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kotune.answering import engines
from kotune.answering.answer_files import AnswerFile, AnswerRow, card_file, write_answers
from kotune.answering.engines import Engine, EngineChoice
from kotune.answering.workbook import InferenceRow, read_rows, write_workbook
from kotune.data.embeddings import weights_sha256
from kotune.data.ranking import AUTO, Ranking
from kotune.data.records import data_hash
from kotune.data.registry import locate, require_other_outputs
from kotune.data.retrieval import Library, OpenBookPrompt, open_library
from kotune.line_file import hold
from kotune.models import gguf_export, merging, sources
from kotune.models.adapters import adapter_hash
from kotune.models.chat_template import render
from kotune.models.machine import Recipe, choose
from kotune.models.sampling import RANGES, Sampling
from kotune.models.sources import ModelSource
from kotune.shards import Shard, ShardCard, claim, places_in
from prompts import Message
from utils import OUTPUTS, CourseError, read_text, relative, require_other_files

FOLDER = OUTPUTS / "inference"


@dataclass(frozen=True)
class InferenceResult:
    """What a run leaves: the answers in a file, the workbook where one was asked for, and what to tell of them."""

    lines: Path
    workbook: Path | None
    answered: int  # in this run
    kept: int  # from an earlier one
    cut: int  # at the limit, of all
    tokens_per_s: float


def answer_all(
    engine: Engine, rows: Sequence[InferenceRow], file: AnswerFile, shown: Sequence[OpenBookPrompt], name: str
) -> tuple[int, float]:
    """Answer the rows that the file does not hold yet; return how many, and the tokens a second.

    shown: each row's last turn as the model sees it, with the passages in it.

    Raises:
        CourseError: a prompt and its reply are longer than the engine's context; nothing was answered.
    """
    waiting = [(row, seen) for row, seen in zip(rows, shown, strict=True) if row.id not in file.rows]
    prompts = [_rendered(engine, row, seen) for row, seen in waiting]
    _require_context(engine, [row for row, _ in waiting], prompts)
    started = time.perf_counter()
    write_answers(file, [_line(row, seen, name) for row, seen in waiting], engine.answers(prompts), name)
    tokens = sum(file.rows[row.id].tokens or 0 for row, _ in waiting)
    return len(waiting), tokens / max(time.perf_counter() - started, 1e-9)


def _rendered(engine: Engine, row: InferenceRow, shown: OpenBookPrompt) -> list[int]:
    try:
        return render(engine.tokenizer, _with_last_turn(row.prompt, shown.content)).ids
    except CourseError as error:
        raise CourseError(f"{row.place}: {error}") from None


def _with_last_turn(prompt: Sequence[Message], content: str) -> list[Message]:
    return [*prompt[:-1], {**prompt[-1], "content": content}]


def _require_context(engine: Engine, rows: Sequence[InferenceRow], prompts: Sequence[Sequence[int]]) -> None:
    limit = engine.context - engine.sampling.max_tokens
    long = [(row, len(prompt)) for row, prompt in zip(rows, prompts, strict=True) if len(prompt) > limit]
    if long:
        row, tokens = max(long, key=lambda one: one[1])
        raise CourseError(
            f"{row.place}: the prompt has {tokens:,} tokens and its reply may take {engine.sampling.max_tokens:,}, more "
            f"than the context of {engine.context:,} ({len(long)} such rows of {len(rows)}); shorten it, or lower "
            "--max_tokens."
        )


def _line(row: InferenceRow, shown: OpenBookPrompt, model: str) -> AnswerRow:
    """Return a row's line without its answer."""
    sources = [{"number": s.number, "id": s.id, "title": s.title, "score": round(s.score, 6)} for s in shown.sources]
    return AnswerRow(row.id, row.question, "", row.reference or None, model=model, sources=sources or None)


def settings_card(
    asked: Sequence[InferenceRow],
    served: ModelSource,
    choice: EngineChoice,
    sampling: Sampling,
    documents: str | None,
    *,
    ranking: Ranking = "bm25",
) -> dict:
    """Return what makes two runs the same: the answers of one are not mixed with those of another."""
    embedded = ranking != "bm25"  # which is not named, so that a run goes on that was begun when there was nothing else
    return {
        "model": served.base,
        "adapters_sha256": [adapter_hash(adapter) for adapter in served.adapters],
        "rows_sha256": data_hash([{"id": row.id, "prompt": row.prompt} for row in asked]),
        "documents_sha256": data_hash([{"text": read_text(documents)}]) if documents else None,
        **({"ranking": ranking, "embeddings_sha256": weights_sha256()} if embedded else {}),
        "engine": choice.name,
        **{name: value for name, value in asdict(sampling).items() if name != "stop"},  # no file is answered with stop texts
    }


def infer(
    data: str | Path,
    served: ModelSource,
    recipe: Recipe,
    sampling: Sampling,
    output: Path,
    *,
    choice: EngineChoice | None = None,
    documents: str | None = None,
    ranking: str = "bm25",
    system_prompt: str | None = None,
    columns_from_json: bool = False,
    shard: Shard | None = None,
) -> InferenceResult:
    """Answer a data set with a model; write `output` (.jsonl), and beside it the workbook unless `output` says .jsonl.

    With `columns_from_json` the workbook has a column for each field of the answers, which are JSON objects then.
    documents, ranking: passages to answer from, and how those are found that fit (`kotune.data.ranking`); "auto" takes
    embeddings too where they are installed. With `shard` the rows of that shard alone are answered, into
    `shard.file(output)`, and no workbook is written: it comes once the shards are merged. Everything that can be known is
    checked before the model is loaded.

    Raises:
        CourseError: the data cannot be read, the output belongs to another run or is the input, a prompt is too long, or the
            engine cannot do what is asked.
    """
    choice = choice or EngineChoice()
    sampling.require_sound()
    asked = read_rows(data, system_prompt)
    lines_path, workbook = _outputs(output)
    if shard is not None:
        lines_path, workbook = shard.file(lines_path), None
    written = (lines_path, workbook, card_file(lines_path))
    require_other_outputs(data, *written, called="the file with the questions", instead="another --save_name")
    require_other_files([documents], written, called="the file of documents", instead="another --save_name")
    if columns_from_json and workbook is None:
        asks_none = f"{output} asks for none; name it without .jsonl" if shard is None else "a shard has none; merge first"
        raise CourseError(f"--columns_from_json makes columns in a workbook, and {asks_none}.")
    library = open_library(documents, ranking) if documents else None
    with hold(lines_path, instead="another --save_name"):
        used = library.ranking if library else "bm25"
        card = settings_card(asked, served, choice, sampling, documents, ranking=used)
        if shard is None:
            file = AnswerFile(lines_path, card)
        else:
            places = places_in(shard, [row.id for row in asked])
            claim(lines_path, ShardCard("infer", shard.number, shard.of, card, card["rows_sha256"], len(asked), places))
            file = AnswerFile(lines_path)
            asked = [row for row in asked if row.id in places]
        kept = sum(row.id in file.rows for row in asked)
        answered, speed = 0, 0.0
        if kept < len(asked):
            if kept:
                print(f"{relative(lines_path)}: {kept} of {len(asked)} rows are answered already; going on with the others")
            shown = [_with_passages(row.prompt[-1]["content"], library) for row in asked]
            engine = engines.open_engine(choice, served, recipe, sampling)
            answered, speed = answer_all(engine, asked, file, shown, served.name)
        file.sort([row.id for row in asked])
        if workbook is not None:
            for note in write_workbook(workbook, asked, file.rows, columns_from_json):
                print(note)
    cut = sum(not file.rows[row.id].ended for row in asked)
    return InferenceResult(lines_path, workbook, answered, kept, cut, speed)


def _with_passages(question: str, library: Library | None) -> OpenBookPrompt:
    return OpenBookPrompt(question, ()) if library is None else library.ask(question)


def _outputs(output: Path) -> tuple[Path, Path | None]:
    """Return the files of answers and of the workbook."""
    folder = output.parent if output.parent != Path() else FOLDER
    stem = output.stem if output.suffix in (".jsonl", ".xlsx") else output.name
    return folder / f"{stem}.jsonl", folder / f"{stem}.xlsx" if output.suffix != ".jsonl" else None


# --- command line ----------------------------------------------------------------------------


def _found(model_path: str | None, recipe_name: str | None) -> tuple[ModelSource, Recipe, str]:
    """Return the model that a path stands for, the recipe that loads it, and why this recipe."""
    choice = choose(recipe_name)
    return sources.find(model_path, choice.recipe)[-1], _on_this_gpu(choice.recipe), choice.reason


def _on_this_gpu(recipe: Recipe) -> Recipe:
    """Return the recipe on Apple's GPU where there is one: generation works there, training is left to the CPU."""
    import torch

    return replace(recipe, device="mps", dtype="float32") if torch.backends.mps.is_available() else recipe


def _sampling(chosen: argparse.Namespace, recipe: Recipe) -> Sampling:
    given = {name: getattr(chosen, name) for name in (*RANGES, "seed") if getattr(chosen, name) is not None}
    return Sampling(**{"max_tokens": recipe.max_new_tokens, **given})


def _answer_one(
    chosen: argparse.Namespace, served: ModelSource, recipe: Recipe, sampling: Sampling, choice: EngineChoice
) -> None:
    seen = _with_passages(chosen.prompt, open_library(chosen.documents, chosen.ranking) if chosen.documents else None)
    system = [{"role": "system", "content": chosen.system_prompt}] if chosen.system_prompt else []
    row = InferenceRow("prompt", "--prompt", chosen.prompt, [*system, {"role": "user", "content": chosen.prompt}], None, {})
    engine = engines.open_engine(choice, served, recipe, sampling)
    prompt = _rendered(engine, row, seen)
    _require_context(engine, [row], [prompt])
    for piece in engine.stream(prompt):
        print(piece, end="", flush=True)
    print()
    for source in seen.sources:
        print(f"[{source.number}] {source.title}")


def merge_command(chosen: argparse.Namespace) -> None:
    """Merge an adapter into a whole model as the command line asks."""
    served, recipe, _ = _found(chosen.model_path, chosen.recipe)
    if chosen.to:
        gguf_export.require_convertible(served.base)  # known before the long part
    with hold(chosen.merged_weights_path, instead="another --merged_weights_path"):
        folder, comparison = merging.merge(served, chosen.merged_weights_path, recipe)
        print(f"{relative(folder)}: {served.name} in 16 bits; beside its adapter, {comparison}")
        if chosen.to:
            print(f"{relative(gguf_export.to_gguf(folder, chosen.outtype))}: for llama.cpp and Ollama")


def answer_command(chosen: argparse.Namespace, shard: Shard | None = None) -> list[Path]:
    """Answer a file of questions, a shard of one, or one question, as the command line asks; return the shard's file."""
    if chosen.inference_data:
        locate(chosen.inference_data)  # a mistyped path is said before torch is there
    elif chosen.columns_from_json or shard is not None:
        flag = "--columns_from_json" if chosen.columns_from_json else "--shard"
        raise CourseError(f"{flag} is for a file of questions; leave it out with --prompt.")
    if chosen.ranking and not chosen.documents:
        raise CourseError("--ranking says how passages are found; name their file with --documents, or leave it out.")
    choice = EngineChoice(chosen.engine, chosen.batch_size, chosen.tensor_parallel_size)
    served, recipe, reason = _found(chosen.model_path, chosen.recipe)
    sampling = _sampling(chosen, recipe)
    if chosen.prompt:
        _answer_one(chosen, served, recipe, sampling, choice)
        return []
    print(f"{served.name}: {reason}")
    finished = infer(
        chosen.inference_data, served, recipe, sampling, Path(chosen.save_name),
        choice=choice, documents=chosen.documents, ranking=chosen.ranking or AUTO, system_prompt=chosen.system_prompt,
        columns_from_json=chosen.columns_from_json, shard=shard,
    )  # fmt: skip
    files = " and ".join(relative(path) for path in (finished.lines, finished.workbook) if path is not None)
    cut = f"; {finished.cut} were cut at {sampling.max_tokens} tokens" if finished.cut else ""
    print(f"{files}: {finished.answered} answered now at {finished.tokens_per_s:.0f} tokens/s, {finished.kept} before{cut}")
    return [finished.lines] if shard else []
