"""Near duplicates taken out of a file: the rows that stay, and beside them those that went and those that were spared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import similarity
from kotune.data import records, registry
from kotune.data.embeddings import embed_questions
from kotune.data.readers import Row
from kotune.data.semantic_repeats import Embed, SemanticTwin, find_semantic_repeats
from kotune.line_file import in_turn
from similarity import Deduplication, Differ
from utils import CourseError, atomic_path, json_line


@dataclass(frozen=True)
class DedupResult:
    """What became of a file: how many rows stayed and went, and where both lie."""

    kept: int
    dropped: int
    spared: Counter[str]  # of the kept, those that differ from a twin: in what, and how many
    wordless: list[int]  # of the kept, those of signs alone, which cannot be compared; rows from 1
    kept_file: Path
    dropped_file: Path
    spared_file: Path


class OutputFiles(NamedTuple):
    """Where the rows go that stay, those that went, and those that were spared."""

    kept: Path
    dropped: Path
    spared: Path


@dataclass(frozen=True)
class _Pair:
    """A row and its twin, by their places."""

    row: int
    twin: int
    score: float
    measure: str
    difference: str | None = None


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


def output_files(target: str | Path) -> OutputFiles:
    """Return the files that are written for an output.

    Raises:
        CourseError: it does not end in .jsonl.
    """
    target = Path(target)
    if target.suffix != ".jsonl":
        raise CourseError(f"{target.name} does not end in .jsonl; name the output so.")
    return OutputFiles(target, *(target.with_name(f"{target.stem}.{part}.jsonl") for part in ("dropped", "spared")))


def deduplicate_file(
    source: str | Path,
    target: str | Path,
    threshold: float = 0.7,
    unit: str = "eojeol",
    *,
    field: str | None = None,
    differ: Differ | None = None,
    semantic_threshold: float | None = None,
    embed: Embed = embed_questions,
) -> DedupResult:
    """Write the rows of a data set that repeat no earlier one to `target`, and the others beside it, with their twins.

    Rows stay as they stand in the input, in its order. differ: what must not be taken for a repeat, as in
    `similarity.deduplicate`; `kotune data dedup` passes `kotune.korean.contrasts.difference`. semantic_threshold: drop
    repeats in other words too, by the cosine of their embeddings.
    A line of NAME.dropped.jsonl has `row` (counted from 1), `text`, `twin_row`, `twin`, `measure` ("ROUGE-L" in the unit, or
    "cosine"), `score` and `value`, the row itself; NAME.spared.jsonl has `difference` besides.

    Raises:
        CourseError: the input cannot be read or compared, or the output is the input or no JSONL.
    """
    files = output_files(target)
    registry.require_other_outputs(source, *files)
    rows = list(registry.read(source))
    texts = [text_to_compare(row.value, row.place, field) for row in rows]
    found = similarity.deduplicate(texts, threshold=threshold, unit=unit, differ=differ)
    if semantic_threshold is None:
        return write_result(found, rows, texts, files)
    return write_result(found, rows, texts, files, _semantic_repeats(found, texts, semantic_threshold, differ, embed))


@dataclass(frozen=True)
class _InOtherWords:
    """Repeats in other words among the rows that were kept."""

    dropped: list[_Pair]
    spared: list[_Pair]


def _semantic_repeats(
    found: Deduplication, texts: Sequence[str], threshold: float, differ: Differ | None, embed: Embed
) -> _InOtherWords:
    wordless = set(found.wordless)
    compared = [place for place in found.kept if place not in wordless]
    repeats = find_semantic_repeats([texts[place] for place in compared], threshold, differ, embed)
    return _InOtherWords(_pairs(repeats.dropped, compared), _pairs(repeats.spared, compared))


def write_result(
    found: Deduplication,
    rows: Iterable[Row],
    texts: Sequence[str] | Mapping[int, str],
    files: OutputFiles,
    reworded: _InOtherWords | None = None,
) -> DedupResult:
    """Write the three files that say what was decided, row by row; `texts` holds at least those that have a twin."""
    reworded = reworded or _InOtherWords([], [])
    gone = {pair.row for pair in reworded.dropped}
    spared = {pair.row: pair for pair in reworded.spared}
    spared |= {s.index: _Pair(s.index, s.twin, s.f1, "ROUGE-L", s.difference) for s in found.spared if s.index not in gone}
    dropped = {d.index: _Pair(d.index, d.twin, d.f1, "ROUGE-L") for d in found.dropped}
    dropped |= {pair.row: pair for pair in reworded.dropped}
    kept = {*found.kept} - gone
    with in_turn(files.kept), ExitStack() as stack:
        kept_out, dropped_out, spared_out = (
            stack.enter_context(stack.enter_context(atomic_path(path)).open("w", encoding="utf-8", newline="\n"))
            for path in files
        )
        for place, row in enumerate(rows):
            if place in kept:
                kept_out.write(json_line(row.value))
            for out, pairs in ((dropped_out, dropped), (spared_out, spared)):
                if place in pairs:
                    out.write(json_line(_line(pairs[place], texts, row)))
    return DedupResult(
        kept=len(kept),
        dropped=len(dropped),
        spared=Counter(pair.difference or "" for pair in spared.values()),
        wordless=[place + 1 for place in found.wordless],
        kept_file=files.kept,
        dropped_file=files.dropped,
        spared_file=files.spared,
    )


def _pairs(twins: Sequence[SemanticTwin], places: Sequence[int]) -> list[_Pair]:
    return [_Pair(places[one.index], places[one.twin], one.cosine, "cosine", one.difference) for one in twins]


def _line(pair: _Pair, texts: Sequence[str] | Mapping[int, str], row: Row) -> dict:
    return {
        "row": pair.row + 1,
        "text": texts[pair.row],
        "twin_row": pair.twin + 1,
        "twin": texts[pair.twin],
        "measure": pair.measure,
        "score": round(pair.score, 4),
        **({"difference": pair.difference} if pair.difference else {}),
        "value": row.value,
    }
