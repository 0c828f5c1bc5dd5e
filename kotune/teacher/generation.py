"""From seed words to instruction data: the requests that go to the teacher, and what is made of its replies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kotune.korean.grounding import unsupported_numbers
from kotune.korean.tasks import TASK_PROMPTS, TASKS
from kotune.teacher.client import Teacher
from kotune.teacher.replies import Reply
from prompts import (
    DOCUMENT_QUESTIONS,
    GROUNDED_ANSWER,
    SEED_WORDS,
    SELF_INSTRUCT,
    DocumentQuestionsReply,
    GroundedAnswer,
    Message,
    SeedWordReply,
    SelfInstructReply,
    TaskReply,
    format_documents,
)
from similarity import deduplicate, rank


@dataclass(frozen=True)
class Collection:
    """What can be used, and what cannot, each with the reason."""

    rows: list[dict]
    rejected: list[dict]


def seed_requests(words: Sequence[str], words_per_request: int = 5, questions_per_word: int = 6) -> list[list[Message]]:
    """Return one request for every few seed words: the prompt's prefix is then paid once for all of them."""
    groups = [words[i : i + words_per_request] for i in range(0, len(words), words_per_request)]
    return [
        SEED_WORDS.messages(count=str(questions_per_word), seed_words="\n".join(f"- {word}" for word in group))
        for group in groups
    ]


def collect_questions(replies: Sequence[Reply[SeedWordReply]]) -> list[dict]:
    """Return {"seed_word", "question"} for every question of every reply, in order."""
    return [
        {"seed_word": item.seed_word, "question": question.strip()}
        for reply in replies
        if reply.parsed
        for item in reply.parsed.items
        for question in item.questions
    ]


def document_requests(documents: Sequence[dict], documents_per_request: int = 3, questions: int = 3) -> list[list[Message]]:
    """Return one request for every few documents: are they on topic and safe, and what questions do they answer?"""
    groups = [documents[i : i + documents_per_request] for i in range(0, len(documents), documents_per_request)]
    return [DOCUMENT_QUESTIONS.messages(count=str(questions), documents=format_documents(group)) for group in groups]


def collect_document_questions(replies: Sequence[Reply[DocumentQuestionsReply]], documents: Sequence[dict]) -> Collection:
    """Return {"question", "document_id"} rows, and the documents that were set aside, each with the reason."""
    known = {document["id"] for document in documents}
    rows, rejected = [], []
    for item in (item for reply in replies if reply.parsed for item in reply.parsed.items):
        if item.document_id not in known:
            rejected.append({"document_id": item.document_id, "reason": "the teacher was not shown this document"})
        elif not (item.on_topic and item.safe):
            why = "off topic" if not item.on_topic else "unsafe"
            rejected.append({"document_id": item.document_id, "reason": f"{why}: {item.reason}"})
        else:
            rows += [{"question": q.strip(), "document_id": item.document_id} for q in item.questions]
    return Collection(rows, rejected)


def format_tasks(tasks: Sequence[dict]) -> str:
    """Return seed tasks as the teacher sees them."""
    shown = [f"instruction: {t['instruction']}\ninput: {t['input'] or '(없음)'}\noutput: {t['output']}" for t in tasks]
    return "\n\n".join(f"[{number}]\n{task}" for number, task in enumerate(shown, start=1))


def self_instruct_requests(seed_tasks: Sequence[dict], shown: int = 3, asked: int = 4) -> list[list[Message]]:
    """Return a request for every few seed tasks, that asks for new ones (Self-Instruct, arXiv 2212.10560)."""
    groups = [seed_tasks[i : i + shown] for i in range(0, len(seed_tasks) - shown + 1, shown)]
    return [SELF_INSTRUCT.messages(seed_tasks=format_tasks(group), count=str(asked)) for group in groups]


def collect_tasks(
    replies: Sequence[Reply[SelfInstructReply]], seed_tasks: Sequence[dict], threshold: float = 0.7, unit: str = "eojeol"
) -> Collection:
    """Return the new tasks whose instruction is near none before it, and the others with the one that they repeat."""
    new = [item.model_dump() for reply in replies if reply.parsed for item in reply.parsed.items]
    texts = [task["instruction"] for task in [*seed_tasks, *new]]
    dropped = {d.index: d for d in deduplicate(texts, threshold, unit).dropped}
    rows, rejected = [], []
    for place, task in enumerate(new, start=len(seed_tasks)):
        if place in dropped:
            reason = f"ROUGE-L {dropped[place].f1:.2f} with {texts[dropped[place].twin]!r}"
            rejected.append(task | {"reason": reason})
        else:
            rows.append(task)
    return Collection(rows, rejected)


def ask_tasks(teacher: Teacher, contexts: Mapping[str, str]) -> dict[str, Reply[TaskReply]]:
    """Return the teacher's reply for each of the 23 tasks that has a context: task id -> reply.

    Tasks that share a reply schema are asked together.
    """
    replies: dict[str, Reply[TaskReply]] = {}
    for schema in {TASKS[task_id].schema: None for task_id in contexts}:
        ids = [task_id for task_id in contexts if TASKS[task_id].schema is schema]
        requests = [TASK_PROMPTS[task_id].messages(context=contexts[task_id]) for task_id in ids]
        replies |= zip(ids, teacher.ask(requests, schema, step="tasks"), strict=True)
    return {task_id: replies[task_id] for task_id in contexts}


@dataclass(frozen=True)
class AnswerRequest:
    """A question, the ids of the passages shown with it, and the messages that ask for its answer."""

    question: str
    document_ids: tuple[str, ...]
    messages: list[Message]


def answer_requests(questions: Sequence[str], documents: Sequence[dict], passages: int = 3) -> list[AnswerRequest]:
    """Return a request a question with its best passages by BM25, in the order of their ids.

    The order of ids, not of rank, keeps a request the same where two scores are close.
    """
    texts = [f"{document['title']}\n{document['text']}" for document in documents]
    requests = []
    for question in questions:
        best = sorted(ranked.index for ranked in rank(question, texts, top_k=passages))
        shown = [documents[i] for i in best]
        messages = GROUNDED_ANSWER.messages(question=question, documents=format_documents(shown))
        requests.append(AnswerRequest(question, tuple(d["id"] for d in shown), messages))
    return requests


def collect_answers(
    requests: Sequence[AnswerRequest], replies: Sequence[Reply[GroundedAnswer]], documents: Sequence[dict]
) -> Collection:
    """Keep an answer if it names a passage that was shown and every number in it stands there."""
    text_of = {document["id"]: document["text"] for document in documents}
    rows: list[dict] = []
    rejected: list[dict] = []
    for request, reply in zip(requests, replies, strict=True):
        given = reply.parsed
        if given is None or not given.answer or not given.document_id:
            reason = reply.error or "the teacher found no answer in the passages shown"
            rejected.append({"question": request.question, "reason": reason})
        elif unsupported := _why_unsupported(given.answer, given.document_id, request, text_of):
            rejected.append({"question": request.question, "reason": unsupported})
        else:
            rows.append(
                {
                    "id": f"re-{len(rows) + 1:04d}",
                    "question": request.question,
                    "answer": given.answer.strip(),
                    "document_id": given.document_id,
                }
            )
    return Collection(rows, rejected)


def _why_unsupported(answer: str, document_id: str, request: AnswerRequest, text_of: dict[str, str]) -> str | None:
    if document_id not in request.document_ids:
        return f"the answer names {document_id}, which was not shown"
    invented = unsupported_numbers(answer, text_of[document_id])
    return f"{', '.join(invented)} does not stand in {document_id}" if invented else None


def split(rows: Sequence[dict], validation_share: float = 0.1) -> tuple[list[dict], list[dict]]:
    """Split rows into train and validation by a hash of the question: new rows never move old ones."""
    train: list[dict] = []
    validation: list[dict] = []
    for row in rows:
        position = int(hashlib.sha256(row["question"].encode()).hexdigest()[:8], 16) / 2**32
        (validation if position < validation_share else train).append(row)
    return train, validation
