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

    system_prompt: the instruction of a hospital's row without SystemPrompt; "" for nothing.

    Raises:
        CourseError: no such data set; a row has no prompt; a sheet lacks a column; two rows have one id.
    """
    stem = Path(str(name_or_path)).stem
    asked: dict[str, InferenceRow] = {}
    for number, (place, value) in enumerate(registry.read(name_or_path), start=1):
        row = _with_instruction(value, place, system_prompt)
        for record in records.to_answer(row, place, f"{stem}-{number:05d}"):
            twin = asked.get(record["id"])
            if twin is not None:
                first = readers.seen_from(place, twin.place)
                raise CourseError(f"{place}: the id {record['id']!r} was used by {first}; give each row its own.")
            question = row[CONCLUSION] if CONCLUSION in row else record["prompt"][-1]["content"]
            asked[record["id"]] = InferenceRow(
                record["id"], place, question, record["prompt"], record.get("reference"), dict(value)
            )
    return list(asked.values())


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


def write_workbook(path: Path, asked: Sequence[InferenceRow], answers: dict[str, AnswerRow]) -> list[str]:
    """Write the answers beside the input's columns, all as text, and return what had to be left out of them.

    A hospital's columns come first (Conclusion, Findings), then the input's others; for other inputs the answer comes last.

    Raises:
        CourseError: a text is longer than a cell holds; nothing is written then.
    """
    columns = list(dict.fromkeys(name for row in asked for name in row.columns))
    made = (FINDINGS if CONCLUSION in columns else ANSWER, ENDED, SOURCES)
    renamed = {column: column + OF_THE_INPUT if column in made else column for column in columns}
    cells = [
        {**{renamed[column]: _cell(value) for column, value in row.columns.items()}, **_made_cells(answers[row.id], made)}
        for row in asked
    ]
    first = [CONCLUSION, FINDINGS] if CONCLUSION in columns else []
    last = made if any(SOURCES in row for row in cells) else made[:2]
    shown = dict.fromkeys([*first, *renamed.values(), *last])
    return [
        f"{relative(path)}, row {cell.row}, column {cell.column}: left out {cell.removed} characters that Excel cannot hold"
        for cell in write_sheet(path, list(shown), cells)
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
