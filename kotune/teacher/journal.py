"""The teacher's journal: one line on disk for each reply that was paid for, so that none is paid for twice.

Append-only JSONL. A line counts once it is synced to disk; several that finish together share one sync. Processes
that share a journal take turns by a lock file and read each other's lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from kotune.line_file import KeyedLines, LineFile
from utils import CourseError

ANSWERED_TWICE = "answered_twice"  # a reply that another process was faster with


class Journal(KeyedLines[dict]):
    """Finished replies by the key of their request; a key is written once, whoever finishes it first."""

    def __init__(self, path: str | Path):
        """Open or create the journal and index what it holds."""
        self.spent_usd = 0.0  # by all replies of this journal; those without a price count as nothing
        self.spent_by_others_usd = 0.0  # the part that other processes and earlier runs have written
        super().__init__(path, key="key", check=self._checked, private=True)

    def _checked(self, row: dict, place: str) -> dict:
        if not isinstance(row.get("key"), str) or not isinstance(row.get("text"), str):
            raise CourseError(f"{place}, has no key or no text; remove that line, or name another file for the journal.")
        if row["key"] not in self.rows:
            usd = _usd(row, place)
            self.spent_usd += usd
            self.spent_by_others_usd += usd if place else 0.0
        return row


class FailureLog(LineFile):
    """Requests that failed, with the raw reply where there was one, and what it cost."""

    def __init__(self, path: str | Path):
        """Open or create the log and add up what failures cost."""
        self.spent_usd = self.spent_by_others_usd = 0.0
        self._of_batches: set[tuple[str, str]] = set()
        self.by_others: dict[str, dict] = {}  # requests that failed elsewhere since the log was opened, by key
        super().__init__(path, private=True)
        self.by_others.clear()

    def _wanted(self, rows: Sequence[dict]) -> Sequence[dict]:
        # a batch that is collected again fails again, but was paid for once
        return [row for row in rows if (row.get("batch_id"), row["key"]) not in self._of_batches]

    def _take(self, row: dict, place: str) -> None:
        usd = _usd(row, place)
        self.spent_usd += usd
        self.spent_by_others_usd += usd if place else 0.0
        if row.get("batch_id"):
            self._of_batches.add((row["batch_id"], row["key"]))
        elif place and row.get("failure") != ANSWERED_TWICE and isinstance(row.get("key"), str):
            self.by_others[row["key"]] = row


def _usd(row: dict, place: str) -> float:
    usd = row.get("usd") or 0.0
    if not isinstance(usd, int | float) or not math.isfinite(usd) or usd < 0:
        raise CourseError(f"{place}, has a cost that is no number of USD ({usd!r:.40}); mend or remove that line.")
    return usd


class ReplyStore:
    """The journal and, beside it, the log of failures: where replies and failures are kept, and what they cost."""

    def __init__(self, journal: str | Path):
        """Open or create both files."""
        self.journal = Journal(journal)
        self.failures = FailureLog(beside(self.journal.path, "failures"))

    @property
    def spent_usd(self) -> float:
        """What the replies and failures have cost."""
        return self.journal.spent_usd + self.failures.spent_usd

    @property
    def spent_by_others_usd(self) -> float:
        """The part that other processes and earlier runs have spent."""
        return self.journal.spent_by_others_usd + self.failures.spent_by_others_usd

    @property
    def has_news(self) -> bool:
        """Whether another process has written into one of the files since they were read."""
        return self.journal.has_news or self.failures.has_news

    def row_of(self, key: str) -> dict | None:
        """Return a request's reply, or its failure in another process meanwhile; None where neither is known."""
        self.journal.refresh()
        self.failures.refresh()
        return self.journal.rows.get(key) or self.failures.by_others.get(key)

    def keep(self, rows: Sequence[dict]) -> None:
        """Write finished replies into the journal and failed ones into the log of failures.

        Raises:
            CourseError: the disk is full, or the file cannot be written any more.
        """
        good = [row for row in rows if "failure" not in row]
        bad = [row for row in rows if "failure" in row]
        try:
            if good:
                self.journal.append(good)
            # another process was faster with the same request: its reply counts, and this one's cost is not forgotten
            bad += [
                row | {"failure": ANSWERED_TWICE, "error": "another process answered this request meanwhile"}
                for row in good
                if self.journal.rows[row["key"]] is not row
            ]
            if bad:
                self.failures.append(bad)
        except OSError as error:
            raise CourseError(
                f"{self.journal.path.name} cannot be written ({error.strerror}): fix that and run again in a new session; "
                "replies written before are kept."
            ) from None


def beside(journal: Path, what: str) -> Path:
    """Return the file that belongs to a journal: failures.jsonl for journal.jsonl, else <journal>.failures.jsonl."""
    return journal.with_name(f"{what}.jsonl" if journal.stem == "journal" else f"{journal.stem}.{what}.jsonl")
