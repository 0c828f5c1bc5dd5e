"""Near duplicates taken out of a file: the rows that stay, and beside them those that went, each with its twin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import similarity
from kotune.data import records, registry
from utils import CourseError, write_jsonl


@dataclass(frozen=True)
class DedupResult:
    """What became of a file: how many rows stayed and went, and where both lie."""

    kept: int
    dropped: int
    kept_file: Path
    dropped_file: Path


def text_to_compare(row: dict, place: str, field: str | None = None) -> str:
    """Return the text by which a row is compared: a field, else the last question of the prompt or the document.

    Raises:
        CourseError: the row has no such field, or is of no known shape.
    """
    if field is not None:
        if not isinstance(row.get(field), str):
            raise CourseError(f"{place} has no text in the field {field!r}; name another --field.")
        return row[field]
    record = next(iter(records.canonical(row, place, default_id="row")))
    return record["text"] if "text" in record else record["prompt"][-1]["content"]


def deduplicate_file(
    source: str | Path, target: str | Path, threshold: float = 0.7, unit: str = "eojeol", field: str | None = None
) -> DedupResult:
    """Write the rows of a data set that repeat no earlier one to `target`, and the others beside it, with their twins.

    Rows stay as they stand in the input, in its order. A line of the dropped rows has `row` (counted from 1), `text`,
    `twin_row`, `twin`, `score` (ROUGE-L F1 in the unit) and `value`, the row itself.

    Raises:
        CourseError: the input cannot be read or compared, or the output is the input or no JSONL.
    """
    target = Path(target)
    beside = target.with_name(f"{target.stem}.dropped.jsonl")
    if target.suffix != ".jsonl":
        raise CourseError(f"{target.name} does not end in .jsonl; name the output so.")
    for out in (target, beside):
        registry.require_other_file(source, out)
    rows = list(registry.read(source))
    texts = [text_to_compare(row.value, row.place, field) for row in rows]
    found = similarity.deduplicate(texts, threshold=threshold, unit=unit)
    write_jsonl(target, (rows[place].value for place in found.kept))
    write_jsonl(beside, _dropped_lines(found, rows))
    return DedupResult(len(found.kept), len(found.dropped), target, beside)


def _dropped_lines(found: similarity.Deduplication, rows: list) -> Iterator[dict]:
    for duplicate in found.dropped:
        yield {
            "row": duplicate.index + 1,
            "text": found.texts[duplicate.index],
            "twin_row": duplicate.twin + 1,
            "twin": found.texts[duplicate.twin],
            "score": round(duplicate.f1, 4),
            "value": rows[duplicate.index].value,
        }
