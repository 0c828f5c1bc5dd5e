"""A data card for what a run has made: counts, lengths, sources, prompts, licence, and what a scan found."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kotune.data import pii
from prompts import Prompt


@dataclass(frozen=True)
class Provenance:
    """Where a data set comes from: who answered, with which prompts, on which documents, under which licence."""

    teacher: str
    prompts: Sequence[Prompt]
    documents: str
    licence: str
    filters: Mapping[str, int]


def lengths(rows: Sequence[dict], field: str) -> str:
    """Return the spread of a field's length in characters, in words."""
    sizes = sorted(len(row[field]) for row in rows)
    if not sizes:
        return "no rows"
    tenths = statistics.quantiles(sizes, n=10, method="inclusive") if len(sizes) > 1 else sizes * 9
    return f"{tenths[0]:.0f} to {tenths[8]:.0f}, median {statistics.median(sizes):.0f} (10th to 90th percentile)"


def card(name: str, parts: Mapping[str, Sequence[dict]], fields: Sequence[str], provenance: Provenance) -> str:
    """Return the card as Markdown. `parts` are the splits by name; `fields` the texts that are measured and scanned."""
    rows = [row for part in parts.values() for row in part]
    findings = pii.count(pii.scan(rows, fields))
    sections = [
        f"# {name}",
        f"Made on {datetime.now(UTC).date().isoformat()} by `preprocess.ipynb`. Teacher: {provenance.teacher}.",
        "## Rows",
        table(("part", "rows"), [(part, len(of_part)) for part, of_part in parts.items()]),
        "## Lengths in characters",
        table(("field", "length"), [(field, lengths(rows, field)) for field in fields]),
        "## Sources and licence",
        f"It rests on {provenance.documents}. Licence: {provenance.licence}.",
        "## Prompts",
        table(("prompt", "hash", "purpose"), [(p.name, f"`{p.hash}`", p.purpose) for p in provenance.prompts]),
        "## What was filtered",
        table(("filter", "rows removed"), list(provenance.filters.items())),
        "## Personal data, by form",
        table(("kind", "found"), list(findings.items())),
        "A scan by form is no proof: names are not looked for. Facts rest on the documents named.",
    ]
    return "\n\n".join(sections) + "\n"


def table(head: tuple[str, ...], rows: Sequence[tuple]) -> str:
    """Return a table of Markdown."""
    lines = [" | ".join(str(cell) for cell in row) for row in (head, ("---",) * len(head), *rows)]
    return "\n".join(f"| {line} |" for line in lines)
