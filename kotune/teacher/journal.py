"""The teacher's journal: one line on disk for each reply that was paid for, so that none is paid for twice.

Append-only JSONL. A line counts once it is synced to disk; several that finish together share one sync. Processes
that share a journal take turns by a lock file and read each other's lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kotune.line_file import KeyedLines, LineFile
from utils import CourseError


class Journal(KeyedLines[dict]):
    """Finished replies by the key of their request; a key is written once, whoever finishes it first."""

    def __init__(self, path: str | Path):
        """Open or create the journal and index what it holds."""
        self.spent_usd = 0.0  # by all replies of this journal; those without a price count as nothing
        self.spent_by_others_usd = 0.0  # the part that other processes and earlier runs have written
        super().__init__(path, key="key", check=self._checked)

    def _checked(self, row: dict, place: str) -> dict:
        if not isinstance(row.get("key"), str) or not isinstance(row.get("text"), str):
            raise CourseError(f"{place}, has no key or no text; remove that line, or name another file for the journal.")
        if row["key"] not in self.rows:
            self.spent_usd += row.get("usd") or 0.0
            self.spent_by_others_usd += (row.get("usd") or 0.0) if place else 0.0
        return row


class FailureLog(LineFile):
    """Requests that failed, with the raw reply where there was one, and what it cost."""

    def __init__(self, path: str | Path):
        """Open or create the log and add up what failures cost."""
        self.spent_usd = self.spent_by_others_usd = 0.0
        self._of_batches: set[tuple[str, str]] = set()
        super().__init__(path)

    def _wanted(self, rows: Sequence[dict]) -> Sequence[dict]:
        # a batch that is collected again fails again, but was paid for once
        return [row for row in rows if (row.get("batch_id"), row["key"]) not in self._of_batches]

    def _take(self, row: dict, place: str) -> None:
        self.spent_usd += row.get("usd") or 0.0
        self.spent_by_others_usd += (row.get("usd") or 0.0) if place else 0.0
        if row.get("batch_id"):
            self._of_batches.add((row["batch_id"], row["key"]))


def beside(journal: Path, what: str) -> Path:
    """Return the file that belongs to a journal: failures.jsonl for journal.jsonl, else <journal>.failures.jsonl."""
    return journal.with_name(f"{what}.jsonl" if journal.stem == "journal" else f"{journal.stem}.{what}.jsonl")
