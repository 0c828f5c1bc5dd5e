"""The files of batch inference: rows to be answered, answers that grow line by line, and the workbook at the end.

The answers are a file for `judging.py` as well: `id`, `question`, `answer`, `reference` where known, `ended`, `tokens`,
`model`, and `sources` where documents were shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kotune.data import readers, records, registry
from kotune.data.excel import write_sheet
from kotune.line_file import LineFile
from prompts import Message
from utils import CourseError, read_json, relative, write_json, write_jsonl

CONCLUSION, INSTRUCTION, FINDINGS, ANSWER = "Conclusion", "SystemPrompt", "Findings", "answer"
ENDED, SOURCES = "ended", "sources"
OF_THE_INPUT = " (input)"  # what a column of the input is renamed with where the answers have one of its name


@dataclass(frozen=True)
class InferenceRow:
    """A row to be answered: its prompt, the question alone, the right answer where known, and its columns as they stood."""

    id: str
    place: str
    question: str
    prompt: list[Message]
    reference: str | None
    columns: dict


def read_rows(name_or_path: str | Path, system_prompt: str | None = None) -> list[InferenceRow]:
    """Return the rows of a data set that are to be answered.

    system_prompt: what system A's SystemPrompt says where a row has none; "" for nothing.

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
    """Return a row of system A with its instruction; other rows as they are."""
    if CONCLUSION not in row or row.get(INSTRUCTION):
        return row
    if system_prompt is None and INSTRUCTION not in row:
        raise CourseError(
            f"{place} has the columns {', '.join(row)} and no {INSTRUCTION}; add that column, or pass --system_prompt with "
            'the instruction of all rows ("" for none).'
        )
    return {**row, INSTRUCTION: system_prompt or ""}


class AnswerLines(LineFile):
    """The answers so far, a line each, beside a card that says what made them; survives being killed."""

    def __init__(self, path: Path, card: dict):
        """Open the file, or make it.

        Raises:
            CourseError: it holds the answers of another run, or a line that is none.
        """
        self.rows: dict[str, dict] = {}
        self.card_path = path.with_suffix(".run.json")
        held = read_json(self.card_path) if self.card_path.exists() else None
        started = path.exists() and path.stat().st_size > 0
        if started and held != json.loads(json.dumps(card)):
            raise CourseError(
                f"{relative(path)} holds the answers of another run ({_difference(held or {}, card)}); pass another "
                "--save_name, or delete that file."
            )
        super().__init__(path)
        write_json(self.card_path, card)

    def _take(self, row: dict, place: str) -> None:
        if not isinstance(row.get("id"), str) or not isinstance(row.get("answer"), str):
            raise CourseError(f"{place}, has no id or no answer; remove that line to have its row answered again.")
        self.rows[row["id"]] = row

    def sort(self, ids: Sequence[str]) -> None:
        """Put the lines into the order of the rows that they answer, once all are there."""
        write_jsonl(self.path, [self.rows[one] for one in ids])


def _difference(held: dict, wanted: dict) -> str:
    wanted = json.loads(json.dumps(wanted))
    if not held:
        return "it says not which"
    name = next((name for name in wanted if held.get(name) != wanted[name]), None)
    if name is None or name.endswith("sha256"):
        return f"other {(name or 'settings').removesuffix('_sha256').replace('_', ' ')}"
    return f"{name} is {json.dumps(wanted[name], ensure_ascii=False)} here and {json.dumps(held.get(name))} there"


def write_workbook(path: Path, asked: Sequence[InferenceRow], answers: dict[str, dict]) -> list[str]:
    """Write the answers beside the input's columns, all as text, and return what had to be left out of them.

    System A's columns come first (Conclusion, Findings), then the input's others; for other inputs the answer comes last.

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


def _made_cells(line: dict, names: Sequence[str]) -> dict[str, str]:
    ended = "yes" if line["ended"] else f"no, cut at {line['tokens']} tokens"
    cells = {names[0]: line["answer"], names[1]: ended}
    if "sources" in line:
        cells[names[2]] = "\n".join(f"[{source['number']}] {source['title']}" for source in line["sources"])
    return cells


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
