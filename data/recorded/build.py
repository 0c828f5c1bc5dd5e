"""Rebuild data/recorded/replies.jsonl from what was written for the course.

    python data/recorded/build.py        (or `make recording`)

Run it after a change to a prompt, a document or an authored reply: a recorded reply is found by the hash of its
whole request. `authored.jsonl` holds a row for each seed word: its questions as a teacher would list them, near
repeats included, each with the answer and the document that supports it.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from generation import answer_requests, seed_requests
from prompts import GROUNDED_ANSWER, SEED_WORDS
from teacher import request_key, write_recording
from utils import DATA, read_jsonl

HERE = Path(__file__).resolve().parent
WORDS_PER_REQUEST = 5


def seed_word_replies(authored: list[dict]) -> list[dict]:
    """Return the recorded replies to the seed-word requests."""
    rows = []
    requests = seed_requests([entry["seed_word"] for entry in authored], WORDS_PER_REQUEST)
    for number, messages in enumerate(requests):
        group = authored[number * WORDS_PER_REQUEST : (number + 1) * WORDS_PER_REQUEST]
        items = [
            {"seed_word": e["seed_word"], "questions": [q["question"] for q in e["questions"]]} for e in group
        ]
        rows.append(
            {
                "key": request_key(messages, SEED_WORDS.schema.__name__),
                "about": ", ".join(e["seed_word"] for e in group),
                "content": json.dumps({"items": items}, ensure_ascii=False),
            }
        )
    return rows


def answer_replies(authored: list[dict], documents: list[dict]) -> list[dict]:
    """Return the recorded replies to the answer requests; null where the supporting passage was not found."""
    written = [question for entry in authored for question in entry["questions"]]
    rows = []
    requests = answer_requests([q["question"] for q in written], documents)
    for question, request in zip(written, requests, strict=True):
        found = question["document_id"] in request.document_ids
        reply = {
            "answer": question["answer"] if found else None,
            "document_id": question["document_id"] if found else None,
        }
        rows.append(
            {
                "key": request_key(request.messages, GROUNDED_ANSWER.schema.__name__),
                "about": question["question"],
                "content": json.dumps(reply, ensure_ascii=False),
            }
        )
    return rows


if __name__ == "__main__":
    authored_rows = read_jsonl(HERE / "authored.jsonl")
    recorded = seed_word_replies(authored_rows)
    recorded += answer_replies(authored_rows, read_jsonl(DATA / "documents.jsonl"))
    print(f"{len(recorded)} replies in {write_recording(recorded).name}")
