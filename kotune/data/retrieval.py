"""The documents that a question is answered from: a file of passages, the best of them for a question, and the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kotune.data.ranking import AUTO, Ranker, Ranking, choose_ranking
from prompts import open_book_prompt
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
    """Passages of a JSONL file, {"title", "text", "id"?}, and which of them fit a question, by one of the rankings."""

    def __init__(self, path: str | Path, best: int = 3, ranking: Ranking = "bm25"):
        """Read the passages, and embed them where the ranking asks for it.

        best: passages that are shown with a question, at most.

        Raises:
            CourseError: a row has no text, or the ranking needs what is not installed.
        """
        self.best = best
        self.documents = []
        for number, row in enumerate(read_jsonl(path), start=1):
            for field in ("title", "text"):
                if not isinstance(row.get(field), str) or not row[field].strip():
                    raise CourseError(f"{relative(path)}, row {number}, has no text in the field {field!r}; add it.")
            self.documents.append({**row, "id": str(row.get("id", number))})
        self._ranker = Ranker([f"{d['title']}\n{d['text']}" for d in self.documents], ranking)

    @property
    def ranking(self) -> Ranking:
        """The ranking that finds the passages."""
        return self._ranker.ranking

    def find(self, question: str) -> tuple[Source, ...]:
        """Return the passages that fit a question, the best first: sharing words with it, or a meaning (`Ranker.find`)."""
        found = [(self.documents[one.index], one.score) for one in self._ranker.find(question, self.best)]
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


def open_library(path: str | Path, ranking: str | None = None) -> Library:
    """Open a file of passages for a command, and print how they are ranked and why.

    ranking: the ranking that is asked for, or "auto"; that where none is.

    Raises:
        CourseError: as `Library` and `choose_ranking`.
    """
    choice = choose_ranking(ranking or AUTO)
    print(f"{relative(path)}: passages are {choice}", flush=True)
    return Library(path, ranking=choice.name)
