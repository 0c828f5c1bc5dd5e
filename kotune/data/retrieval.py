"""The documents that a question is answered from: a file of passages, the best of them for a question, and the prompt."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from prompts import open_book_prompt
from similarity import rank
from utils import CourseError, read_jsonl, relative


@dataclass(frozen=True)
class Source:
    """A passage that was put into a prompt, under the number that it has there."""

    number: int
    id: str
    title: str
    text: str
    score: float


@dataclass(frozen=True)
class OpenBookPrompt:
    """A question as the model sees it: the user's turn, and the passages that stand in it."""

    content: str
    sources: tuple[Source, ...]


class Library:
    """Passages of a JSONL file, {"title", "text", "id"?}, ranked by BM25 over Korean content morphemes."""

    def __init__(self, path: str | Path, best: int = 3):
        self.best = best
        self.documents = []
        for number, row in enumerate(read_jsonl(path), start=1):
            for field in ("title", "text"):
                if not isinstance(row.get(field), str) or not row[field].strip():
                    raise CourseError(f"{relative(path)}, row {number}, has no text in the field {field!r}; add it.")
            self.documents.append({**row, "id": str(row.get("id", number))})
        self._texts = [f"{d['title']}\n{d['text']}" for d in self.documents]
        self._lock = threading.Lock()  # one index, built at the first search
        self.find(self._texts[0])

    def find(self, question: str) -> tuple[Source, ...]:
        """Return the passages that share words with a question, the best first."""
        with self._lock:
            ranked = rank(question, self._texts, top_k=self.best)
        found = [(self.documents[r.index], r.score) for r in ranked if r.score > 0]
        return tuple(
            Source(number, d["id"], d["title"], d["text"], score) for number, (d, score) in enumerate(found, start=1)
        )

    def ask(self, question: str) -> OpenBookPrompt:
        """Return a question with its passages through the one template of open-book training; alone where none fits."""
        sources = self.find(question)
        if not sources:
            return OpenBookPrompt(question, ())
        instruction, further = open_book_prompt(question, [{"title": s.title, "text": s.text} for s in sources])
        return OpenBookPrompt(f"{instruction}\n\n{further}", sources)
