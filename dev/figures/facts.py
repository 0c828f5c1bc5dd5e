"""What the figures state: worked out by the course's own code, and kept in `facts.json` beside this file.

Figures are drawn from the file, without a model; a slow test works the facts out again and compares.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from utils import DATA, read_json, read_jsonl

FILE = Path(__file__).parent / "facts.json"
RECIPE = "gemma-3-270m-cpu"
MATRIX = "q_proj"  # the one that the figure of LoRA shows
QUESTION, ANSWER = "확정일자는 어디서 받나요?", "주민센터에서 받습니다."
ASKED = "확정일자를 받으려면 집주인 허락을 얻어야 합니까?"  # of the journal line
PAIR = "pf-212"  # of data/real_estate_preference.jsonl: a wrong fact
CHANGING = ("at", "seconds")  # of a journal line: when it was written, and how long the request took


def load() -> dict:
    """Return the facts as kept."""
    return read_json(FILE)


def work_out() -> dict:
    """Return the facts anew; needs the packaged model's files, and loads no weights."""
    return {"tokens": tokens(), "memory": memory(), "lora": lora(), "journal_line": journal_line(), "pair": pair()}


def tokens() -> list[dict]:
    """Return the tokens of a short conversation, with what the loss counts."""
    from kotune import models
    from kotune.recipes import RECIPES

    tokenizer = models.load_tokenizer(RECIPES[RECIPE].model)
    prompt, completion = [{"role": "user", "content": QUESTION}], [{"role": "assistant", "content": ANSWER}]
    return models.label_table(tokenizer, models.render(tokenizer, prompt, completion))


def memory() -> dict:
    """Return the estimate of the course's own SFT run in GiB by part, and what it rests on."""
    from kotune import data, training
    from kotune.recipes import RECIPES

    recipe = RECIPES[RECIPE]
    # the free memory is of no machine in particular: with it no minutes are measured
    estimate = training.estimate_run(recipe, data.load("real_estate_train"), free=64.0)
    return {
        "gib": {part: round(size, 5) for part, size in asdict(estimate.memory).items()},
        "total": round(estimate.memory.total, 5),
        "records": estimate.tokens.records,
        "batch_size": recipe.batch_size,
        "longest": estimate.tokens.longest,
    }


def lora() -> dict:
    """Return the shapes of one matrix and its adapter under the recipe, and the adapter's share of the whole model."""
    from kotune.models.memory import SHAPES
    from kotune.recipes import RECIPES

    recipe = RECIPES[RECIPE]
    shape = SHAPES[recipe.model]
    inputs, outputs = shape.projections()[MATRIX]
    return {
        "inputs": inputs,
        "outputs": outputs,
        "rank": recipe.lora_r,
        "alpha": recipe.lora_alpha,
        "trained": shape.adapter_parameters(recipe.lora_r, recipe.target_modules),
        "frozen": shape.linear_parameters + shape.other_parameters,
        "layers": shape.layers,
        "vocabulary": shape.vocabulary,
    }


def journal_line() -> dict:
    """Return the line that the journal gets for one question with its documents, asked of the recording."""
    from kotune import teacher
    from kotune.teacher import generation
    from prompts import GROUNDED_ANSWER

    request = generation.answer_requests([ASKED], read_jsonl(DATA / "documents.jsonl"), 3)[0]
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.jsonl"
        teacher.connect(journal=journal).ask([request.messages], GROUNDED_ANSWER.schema, likely_tokens=90)
        return read_jsonl(journal)[0]


def pair() -> dict:
    """Return the preference pair that the figure shows."""
    return next(row for row in read_jsonl(DATA / "real_estate_preference.jsonl") if row["id"] == PAIR)
