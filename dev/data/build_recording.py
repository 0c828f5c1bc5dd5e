"""Rebuild data/recorded/replies.jsonl from what was written for the course.

    python dev/data/build_recording.py        (or `make recording`)

Run it after a change to a prompt, a document or an authored reply: a recorded reply is found by the hash of its
whole request. Written sources: `authored.jsonl` (a row for each seed word: its questions as a teacher would list them,
near repeats included, each with the answer and the document that supports it), `authored_lessons.json` (found documents
and self-instruct), the first example of each task in `authored_tasks.jsonl`, and the rejected sides in
`data/real_estate_preference.jsonl`.

Token counts are o200k_base's (the encoding of gpt-4o and later), where tiktoken has its file or can fetch it; the
count of a request that has not changed is kept.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pydantic import BaseModel

from kotune.korean.tasks import TASK_PROMPTS, TASKS
from kotune.teacher import preferences
from kotune.teacher.costs import token_counter
from kotune.teacher.generation import answer_requests, document_requests, seed_requests, self_instruct_requests
from kotune.teacher.recording import RECORDING, WRITTEN, read_recording, recording_key, write_recording
from kotune.teacher.replies import schema_text
from prompts import DOCUMENT_QUESTIONS, GROUNDED_ANSWER, SEED_WORDS, SELF_INSTRUCT, SPOIL, Message
from utils import DATA, read_json, read_jsonl

HERE = DATA / "recorded"
MODEL = "gpt-4o-mini"

Written = tuple[Sequence[Message], type[BaseModel], str, dict]  # request, schema, about, reply


def seed_word_replies(authored: list[dict], words_per_request: int = 5) -> Iterator[Written]:
    """Yield the replies to the seed-word requests."""
    requests = seed_requests([entry["seed_word"] for entry in authored], words_per_request)
    for number, messages in enumerate(requests):
        group = authored[number * words_per_request : (number + 1) * words_per_request]
        items = [{"seed_word": e["seed_word"], "questions": [q["question"] for q in e["questions"]]} for e in group]
        yield messages, SEED_WORDS.schema, ", ".join(e["seed_word"] for e in group), {"items": items}


def answer_replies(authored: list[dict], documents: list[dict]) -> Iterator[Written]:
    """Yield the replies to the answer requests; null where the supporting passage was not found."""
    written = [question for entry in authored for question in entry["questions"]]
    requests = answer_requests([q["question"] for q in written], documents)
    for question, request in zip(written, requests, strict=True):
        found = question["document_id"] in request.document_ids
        reply = {field: question[field] if found else None for field in ("answer", "document_id")}
        yield request.messages, GROUNDED_ANSWER.schema, question["question"], reply


def lesson_replies(lessons: dict, found: list[dict], seed_tasks: list[dict]) -> Iterator[Written]:
    """Yield the replies to the requests on found documents and to those of self-instruct."""
    for messages, entry in zip(document_requests(found), lessons["document_questions"], strict=True):
        yield messages, DOCUMENT_QUESTIONS.schema, ", ".join(entry["ids"]), entry["reply"]
    for messages, entry in zip(self_instruct_requests(seed_tasks), lessons["self_instruct"], strict=False):
        yield messages, SELF_INSTRUCT.schema, ", ".join(entry["seeds"]), entry["reply"]


def task_replies(examples: list[dict]) -> Iterator[Written]:
    """Yield the first example of each of the 23 tasks as the teacher's reply to its context."""
    for example in examples:
        if example["id"].endswith("-1"):
            messages = TASK_PROMPTS[example["task"]].messages(context=example["context"])
            yield messages, TASKS[example["task"]].schema, example["id"], example["reply"]


def spoilt_replies(pairs: list[dict], documents: list[dict]) -> Iterator[Written]:
    """Yield the rejected side of each preference pair as the teacher's reply to the request that spoils it."""
    planned = [({"question": p["prompt"], "answer": p["chosen"], "document_id": p["document_id"]}, p["kind"]) for p in pairs]
    for messages, pair in zip(preferences.spoil_requests(planned, documents), pairs, strict=True):
        yield messages, SPOIL[pair["kind"]].schema, f"{pair['kind']}: {pair['prompt']}", {"rejected": pair["rejected"]}


def rows(written: Iterator[Written], known: dict[str, dict]) -> Iterator[dict]:
    """Yield the recording's rows, with tokens counted."""
    counter = token_counter(MODEL, may_download=False)
    exact = counter.method.startswith("tiktoken")
    for messages, schema, about, reply in written:
        key, content = recording_key(messages, schema.__name__), json.dumps(reply, ensure_ascii=False)
        row = {"key": key, "about": about, "content": content, "usage": None, "source": WRITTEN}
        if exact:
            prompt = counter.messages(messages, schema_text(schema))
            row["usage"] = {"prompt_tokens": prompt, "completion_tokens": counter.count(content)}
        elif known.get(key, {}).get("content") == content:
            row["usage"] = known[key].get("usage")
        yield row


def everything_written() -> Iterator[Written]:
    """Yield all that was written for the recording."""
    authored, documents = read_jsonl(HERE / "authored.jsonl"), read_jsonl(DATA / "documents.jsonl")
    yield from seed_word_replies(authored)
    yield from answer_replies(authored, documents)
    found, seed_tasks = read_jsonl(DATA / "found_documents.jsonl"), read_jsonl(DATA / "seed_tasks.jsonl")
    yield from lesson_replies(read_json(HERE / "authored_lessons.json"), found, seed_tasks)
    yield from task_replies(read_jsonl(HERE / "authored_tasks.jsonl"))
    yield from spoilt_replies(read_jsonl(DATA / "real_estate_preference.jsonl"), documents)


if __name__ == "__main__":
    known_rows = read_recording(RECORDING)
    recorded = list(rows(everything_written(), known_rows))
    # what a real teacher has answered since (RECORD=1) stays
    again = {row["key"] for row in recorded}
    others = [row for key, row in known_rows.items() if row.get("source", WRITTEN) != WRITTEN and key not in again]
    counted = sum(row["usage"] is not None for row in recorded)
    print(f"{len(recorded)} replies ({counted} with token counts) in {write_recording(recorded + others).name}")
