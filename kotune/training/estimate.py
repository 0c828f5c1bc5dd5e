"""What a run will take, before it starts: memory by part, tokens, steps and minutes; and what fits where it does not."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from kotune.data import registry
from kotune.data.writers import stage_of
from kotune.language import display_width, said
from kotune.models.chat_template import rendered_lengths
from kotune.models.files import load_tokenizer
from kotune.models.machine import free_gib, require_runnable, shape_of
from kotune.models.memory import Memory, ModelShape, memory
from kotune.overrides import require_sound
from kotune.recipes import LOCAL_GEMMA, RECIPES, Recipe
from kotune.stage_table import STAGES
from kotune.training.speed import TrainingSpeed, training_speed
from utils import CourseError

# the parts of a run's memory, as the Korean edition calls them
PARTS_IN_KOREAN = {
    "weights": "가중치",
    "adapter": "어댑터",
    "optimiser": "옵티마이저",
    "activations": "활성값",
    "logits": "마지막 층",
    "overhead": "라이브러리",
}


def estimate_run(
    recipe: Recipe, dataset: str | Path | Iterable[dict], stage: str = "sft", free: float | None = None
) -> Estimate:
    """Return memory by part, tokens, steps and minutes of a run, before any weights are loaded.

    `dataset` is a name or a path for `registry.load`, or canonical records. The minutes are measured in about three seconds
    on this machine. With `free`, the GiB of a device that is not here, nothing is measured.

    Raises:
        CourseError: the run does not fit, with what does; this machine cannot run the recipe; the data is for another
            stage; or no record fits `max_length`.
    """
    shape = shape_of(recipe)
    if free is None:
        require_runnable(recipe)
    else:
        require_sound(recipe)
    name = dataset if isinstance(dataset, str | Path) else "the data set"
    records = registry.load(dataset) if isinstance(dataset, str | Path) else list(dataset)
    _require_stage(records, stage, str(name))
    tokenizer, notes = _tokenizer(recipe)
    tokens = _count(records, tokenizer, recipe, str(name))
    room = free_gib(recipe.device) if free is None else free
    needed = _memory(shape, recipe, tokens, stage)
    if needed.total > room:
        raise CourseError(_does_not_fit(recipe, tokens, stage, needed.total, room))
    plan = batches(tokens, recipe, stage)
    minutes = None
    if free is None:
        speed = training_speed(shape, recipe, plan.rows, round(plan.width))
        minutes = training_minutes(shape, plan, speed, stage)
    return Estimate(recipe.name, stage, recipe.device, tokens, plan.steps, needed, room, minutes, tuple(notes))


def _require_stage(records: list[dict], stage: str, name: str) -> None:
    if stage not in STAGES:
        raise CourseError(f"There is no stage {stage!r}; choose one of {', '.join(STAGES)}.")
    if not records:
        raise CourseError(f"{name} has no records; pass some to estimate a run on.")
    takes, has = STAGES[stage].record_stage, STAGES[stage].has
    for number, record in enumerate(records, start=1):
        if stage_of(record) != takes:
            raise CourseError(f"{name}, record {record.get('id', number)}, is not for {stage}, which takes {has}.")


def _tokenizer(recipe: Recipe) -> tuple[object, list[str]]:
    """Return the recipe's tokenizer, or where it cannot be had the course's own, and a note that says so."""
    try:
        return load_tokenizer(recipe.model), []
    except CourseError:
        if recipe.model == LOCAL_GEMMA or Path(recipe.model).exists():
            raise
        note = said(
            f"Tokens are counted with the tokenizer of {LOCAL_GEMMA}, because that of {recipe.model} cannot be loaded here; "
            "a smaller vocabulary cuts Korean into more of them.",
            f"{recipe.model}의 토크나이저를 여기서 불러올 수 없어 {LOCAL_GEMMA}의 토크나이저로 토큰을 세었습니다. "
            "어휘가 더 작으면 한국어는 더 많은 토큰으로 나뉩니다.",
        )
        return load_tokenizer(LOCAL_GEMMA), [note]


def _count(records: list[dict], tokenizer, recipe: Recipe, name: str) -> Tokens:
    """Return the lengths of the records that fit max_length, and the ids of the others."""
    lengths, trained, too_long, sequences = [], 0, [], 1
    for number, record in enumerate(records, start=1):
        rendered = rendered_lengths(tokenizer, record)
        if max(length.tokens for length in rendered) > recipe.max_length:
            too_long.append(str(record.get("id", said(f"document {number}", f"문서 {number}"))))
            continue
        sequences = len(rendered)
        lengths += [length.tokens for length in rendered]
        trained += sum(length.trained for length in rendered)
    if not lengths:
        raise CourseError(f"All records of {name} are over max_length ({recipe.max_length} tokens); raise it.")
    return Tokens(len(records) - len(too_long), sequences, tuple(lengths), trained, tuple(too_long))


def _memory(shape: ModelShape, recipe: Recipe, tokens: Tokens, stage: str) -> Memory:
    plan = batches(tokens, recipe, stage)
    return memory(shape, recipe, rows=plan.rows, width=plan.widest, stage=stage)


def _does_not_fit(recipe: Recipe, tokens: Tokens, stage: str, needed: float, room: float) -> str:
    """Return the sentence of a refusal: by how much it does not fit, and what does."""
    needs = f"{recipe.name} needs {needed:.1f} GiB for {stage} on this data and {room:.1f} are free on {recipe.device}, "
    needs += f"{needed - room:.1f} too few; "
    shape = shape_of(recipe)
    for what, variant in smaller(recipe, stage):
        total = _memory(shape, variant, tokens, stage).total
        if total <= room:
            return f"{needs}{what} makes the same steps in {total:.1f}."
    others = [
        (_memory(shape_of(other), other, tokens, stage).total, other.name)
        for other in (replace(known, device=recipe.device, max_length=recipe.max_length) for known in RECIPES.values())
        if other.name != recipe.name
    ]
    fitting = [(total, name) for total, name in others if total <= room]
    if fitting:  # the largest that fits is the nearest to what was asked for
        total, name = max(fitting)
        return f"{needs}{name} needs {total:.1f}."
    return f"{needs}no recipe fits: the least, {min(others)[1]}, needs {min(others)[0]:.1f}; close other programs."


@dataclass(frozen=True)
class Tokens:
    """Lengths of a data set under a recipe, over the records that it trains on.

    `lengths` has one entry a sequence: two for a preference pair, side by side.
    """

    records: int  # trained on
    sequences: int  # each record has as many
    lengths: tuple[int, ...]
    trained: int  # tokens that the loss counts
    too_long: tuple[str, ...]  # ids of records over max_length, which are left out

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths)

    @property
    def mean(self) -> float:
        """Mean tokens of a sequence."""
        return sum(self.lengths) / len(self.lengths)


@dataclass(frozen=True)
class Batches:
    """One pass over the data as a trainer makes it: micro-batches, and how wide they are."""

    count: int  # micro-batches in one epoch
    rows: int  # sequences in one
    widest: int  # tokens of the longest sequence, which its batch is padded to
    width: float  # mean over the batches
    trained: float  # tokens that the loss counts, mean over the batches
    steps: int  # of the optimiser, in all epochs
    passes: float  # epochs


def batches(tokens: Tokens, recipe: Recipe, stage: str) -> Batches:
    """Return the batches of a stage: padded to the longest sequence of each, in random order, by length, or packed."""
    settings = STAGES[stage]
    size, epochs = getattr(recipe, settings.batch_size), getattr(recipe, settings.epochs)
    per_record = tokens.sequences
    widths = [max(tokens.lengths[i : i + per_record]) for i in range(0, len(tokens.lengths), per_record)]
    if recipe.packing and not settings.pairs:
        widths = [recipe.max_length] * math.ceil(sum(tokens.lengths) / recipe.max_length)
    if recipe.group_by_length and not settings.pairs:
        widths.sort(reverse=True)
    else:
        random.Random(recipe.seed).shuffle(widths)
    groups = [max(widths[i : i + size]) for i in range(0, len(widths), size)]
    steps = math.ceil(math.ceil(len(groups) / recipe.accumulation) * epochs)
    return Batches(
        count=len(groups),
        rows=min(size, len(widths)) * per_record,
        widest=max(groups),
        width=sum(groups) / len(groups),
        trained=tokens.trained / len(groups),
        steps=steps,
        passes=epochs,
    )


def smaller(recipe: Recipe, stage: str) -> list[tuple[str, Recipe]]:
    """Return the same run in smaller bites: batches of a half, a quarter ... with as many rows to a step.

    Each comes with what to set, in words.
    """
    field = STAGES[stage].batch_size
    variants, size, accumulation = [], getattr(recipe, field), recipe.accumulation
    while size > 1:
        size, accumulation = size // 2, accumulation * 2
        variant = replace(recipe, **{field: size}, accumulation=accumulation)
        variants.append((f"{field} {size} with accumulation {accumulation}", variant))
    return variants


def training_minutes(shape: ModelShape, plan: Batches, speed: TrainingSpeed, stage: str) -> float:
    """Return the minutes of a stage. DPO also scores each batch with the reference: a forward pass, a third of a step."""
    layers = plan.rows * plan.width * shape.layers * speed.layer_token
    head = 0.0 if stage == "reward" else plan.trained * speed.head_token
    passes = plan.passes * (4 / 3 if stage == "dpo" else 1)
    return plan.count * passes * (layers + head) / 60


@dataclass(frozen=True)
class Estimate:
    """What a run will take. Printed, it is a table; `rows()` gives it to pandas."""

    recipe: str
    stage: str
    device: str
    tokens: Tokens
    steps: int
    memory: Memory
    free_gib: float
    minutes: float | None  # None: not measured, because the run is not for this machine
    notes: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, str]]:
        """Return the table: what, and how much; the lesson asks for the column `what` by name, in both editions."""
        how_much = said("estimate", "추정값")
        return [{"what": what, how_much: value} for what, value in self._lines()]

    def _lines(self) -> list[tuple[str, str]]:
        tokens, total, free = self.tokens, f"{self.memory.total:.2f} GiB", f"{self.free_gib:.1f}"
        trained, given = f"{tokens.records:,}", f"{tokens.records + len(tokens.too_long):,}"
        mean, longest = f"{tokens.mean:.0f}", f"{tokens.longest:,}"
        parts = [
            (said(part.name, PARTS_IN_KOREAN[part.name]), getattr(self.memory, part.name)) for part in fields(self.memory)
        ]
        return [
            (said("recipe", "레시피"), f"{self.recipe}, {self.stage}, {self.device}"),
            (said("records trained on", "학습하는 레코드"), said(f"{trained} of {given}", f"{trained}/{given}")),
            (said("tokens, mean and longest", "토큰 수(평균, 최대)"), said(f"{mean} and {longest}", f"{mean}, {longest}")),
            (said("optimiser steps", "옵티마이저 스텝"), f"{self.steps:,}"),
            *((f"{said('memory', '메모리')}: {part}", f"{size:.2f} GiB") for part, size in parts),
            (said("memory together", "메모리 합계"), said(f"{total} of {free} free", f"{total}(여유 {free} GiB)")),
            (said("minutes", "걸리는 시간(분)"), self._time()),
        ]

    def _time(self) -> str:
        if self.minutes is None:
            return said("not measured", "재지 않음")
        minutes = f"{self.minutes:.1f}" if self.minutes < 60 else f"{self.minutes:,.0f}"
        return said(f"about {minutes}", f"약 {minutes}")

    def __str__(self) -> str:
        table = [f"{_filled_up(what, 26)} {value}" for what, value in self._lines()]
        left_out = self.tokens.too_long
        if left_out:
            some = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")
            table.append(
                said(
                    f"{len(left_out)} records are over max_length and are left out: {some}",
                    f"max_length를 넘어 제외하는 레코드 {len(left_out)}건: {some}",
                )
            )
        return "\n".join([*table, *self.notes])


def _filled_up(text: str, columns: int) -> str:
    """Return a text with spaces up to so many columns, a syllable of Hangul taking two."""
    return text + " " * (columns - display_width(text))
