"""Rows to be answered, from a hospital's sheet or any other data set, and the workbook with their answers beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kotune.answering.answer_files import AnswerRow
from kotune.data import readers, records, registry
from kotune.data.excel import write_sheet
from prompts import Message
from utils import CourseError, relative

CONCLUSION, INSTRUCTION, FINDINGS, ANSWER = "Conclusion", "SystemPrompt", "Findings", "answer"
ENDED, SOURCES = "ended", "sources"
OF_THE_INPUT = " (input)"  # what a column of the input is renamed with where the answers have one of its name
OF_THE_ANSWER = " (answer)"  # the same of a field of an answer in JSON


@dataclass(frozen=True)
class InferenceRow:
    """A row that is to be answered."""

    id: str
    place: str  # its file and line, for messages
    question: str  # alone, without the instruction around it
    prompt: list[Message]
    reference: str | None  # the right answer where it is known
    columns: dict  # as they stood in the input


def read_rows(name_or_path: str | Path, system_prompt: str | None = None) -> list[InferenceRow]:
    """Return the rows of a data set that are to be answered.

    system_prompt: the instruction of rows that have none of their own; "" for nothing.

    Raises:
        CourseError: no such data set; a row has no prompt; a sheet lacks a column; two rows have one id.
    """
    stem = Path(str(name_or_path)).stem
    asked: dict[str, InferenceRow] = {}
    unused = records.UnusedFields("the model does not see them, and the workbook keeps them")
    for number, (place, value) in enumerate(registry.read(name_or_path), start=1):
        row = _with_instruction(records.known_names(value), place, system_prompt)
        unused.add(records.unused_when_answered(row), place)
        for record in records.to_answer(row, place, f"{stem}-{number:05d}"):
            twin = asked.get(record["id"])
            if twin is not None:
                first = readers.seen_from(place, twin.place)
                raise CourseError(f"{place}: the id {record['id']!r} was used by {first}; give each row its own.")
            question = row[CONCLUSION] if CONCLUSION in row else record["prompt"][-1]["content"]
            prompt = _with_system_prompt(row, record["prompt"], system_prompt)
            asked[record["id"]] = InferenceRow(record["id"], place, question, prompt, record.get("reference"), dict(value))
    unused.say()
    return list(asked.values())


def _with_system_prompt(row: dict, prompt: list[Message], system_prompt: str | None) -> list[Message]:
    """Return a prompt with the instruction before it, unless the row brings its own (a hospital's row has it already)."""
    if not system_prompt or CONCLUSION in row or row.get("instruction") or prompt[0]["role"] == "system":
        return prompt
    return [{"role": "system", "content": system_prompt}, *prompt]


def _with_instruction(row: dict, place: str, system_prompt: str | None) -> dict:
    """Return a hospital's row with its instruction; other rows as they are."""
    if CONCLUSION not in row or row.get(INSTRUCTION):
        return row
    if system_prompt is None and INSTRUCTION not in row:
        raise CourseError(
            f"{place} has the columns {', '.join(row)} and no {INSTRUCTION}; add that column, or pass --system_prompt with "
            'the instruction of all rows ("" for none).'
        )
    return {**row, INSTRUCTION: system_prompt or ""}


def write_workbook(
    path: Path, asked: Sequence[InferenceRow], answers: dict[str, AnswerRow], columns_from_json: bool = False
) -> list[str]:
    """Write the answers beside the input's columns, and return what had to be left out of them.

    A hospital's columns come first (Conclusion, Findings), then the input's others; for other inputs the answer comes last.
    With `columns_from_json` the fields of answers that are JSON objects stand in columns before it, numbers as numbers.

    Raises:
        CourseError: a text is longer than a cell holds; nothing is written then.
    """
    columns = list(dict.fromkeys(name for row in asked for name in row.columns))
    made = (FINDINGS if CONCLUSION in columns else ANSWER, ENDED, SOURCES)
    fields = [_json_fields(answers[row.id].answer, made) if columns_from_json else {} for row in asked]
    names = dict.fromkeys(name for one in fields for name in one or {})
    renamed = {column: column + OF_THE_INPUT if column in made or column in names else column for column in columns}
    cells = [
        {
            **{renamed[column]: _cell(value) for column, value in row.columns.items()},
            **(one or {}),
            **_made_cells(answers[row.id], made),
        }
        for row, one in zip(asked, fields, strict=True)
    ]
    first = [CONCLUSION, FINDINGS] if CONCLUSION in columns else []
    last = made if any(SOURCES in row for row in cells) else made[:2]
    shown = dict.fromkeys([*first, *renamed.values(), *names, *last])
    notes = [
        f"{relative(path)}, row {cell.row}, column {cell.column}: left out {cell.removed} characters that Excel cannot hold"
        for cell in write_sheet(path, list(shown), cells)
    ]
    return [*notes, *_without_fields(path, asked, fields)]


def _json_fields(answer: str, taken: Sequence[str]) -> dict[str, str | int | float] | None:
    """Return the fields of an answer that is one JSON object, as cells; None where it is none."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):  # the latter where a model repeats "[" to its limit
        return None
    if not isinstance(value, dict):
        return None
    return {name + OF_THE_ANSWER if name in taken else name: _field(given) for name, given in value.items()}


def _field(value: object) -> str | int | float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _cell(value)


def _without_fields(path: Path, asked: Sequence[InferenceRow], fields: Sequence[dict | None]) -> list[str]:
    """Return a note on the answers that are no JSON objects, where there are such."""
    numbers = [number for number, one in enumerate(fields, start=2) if one is None]  # row 1 has the names of the columns
    if not numbers:
        return []
    return [
        f"{relative(path)}: {len(numbers)} of {len(asked)} answers are no JSON object (the first in row {numbers[0]}); the "
        "columns of their fields are empty"
    ]


def _made_cells(line: AnswerRow, names: Sequence[str]) -> dict[str, str]:
    cells = {names[0]: line.answer, names[1]: "yes" if line.ended else f"no, cut at {line.tokens} tokens"}
    if line.sources:
        cells[names[2]] = "\n".join(f"[{source['number']}] {source['title']}" for source in line.sources)
    return cells


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
