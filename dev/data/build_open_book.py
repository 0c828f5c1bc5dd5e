"""Rebuild the open-book version of the question-answer pairs: each question with its document among two distractors.

    python dev/data/build_open_book.py

The distractors are the documents that a search ranks next for the question, so that picking the right one takes reading;
the order of the three is drawn by a hash of the question. Same questions and answers as the closed-book sets.
"""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from prompts import open_book_prompt
from similarity import rank
from utils import DATA, read_jsonl, write_jsonl

PARTS = {"train": "answer", "validation": "answer", "evaluation": "reference"}
DISTRACTORS = 2


def shown_documents(row: dict, documents: list[dict], texts: list[str]) -> list[dict]:
    """Return a row's own document and its nearest distractors, in an order that says nothing."""
    own = next(document for document in documents if document["id"] == row["document_id"])
    ranked = [documents[found.index] for found in rank(row["question"], texts, top_k=DISTRACTORS + 1)]
    others = [document for document in ranked if document is not own][:DISTRACTORS]
    return sorted([own, *others], key=lambda d: hashlib.sha256((row["question"] + d["id"]).encode()).hexdigest())


def open_book_rows(part: str) -> list[dict]:
    """Return the open-book rows of a part: {"id", "instruction", "input", "output", "document_id"}."""
    documents = read_jsonl(DATA / "documents.jsonl")
    texts = [f"{d['title']}\n{d['text']}" for d in documents]
    rows = []
    for row in read_jsonl(DATA / f"real_estate_{part}.jsonl"):
        instruction, passages = open_book_prompt(row["question"], shown_documents(row, documents, texts))
        rows.append(
            {
                "id": row["id"],
                "instruction": instruction,
                "input": passages,
                "output": row[PARTS[part]],
                "document_id": row["document_id"],
            }
        )
    return rows


if __name__ == "__main__":
    for name in PARTS:
        print(write_jsonl(DATA / f"real_estate_open_book_{name}.jsonl", open_book_rows(name)).name)
