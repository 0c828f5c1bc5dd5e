"""From seed words to instruction data: the requests that go to the teacher, and what is made of its replies.

Cost of import: numpy, rapidfuzz and pydantic (through similarity and teacher).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from prompts import GROUNDED_ANSWER, SEED_WORDS, Message, format_documents
from similarity import rank
from replies import Reply

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def seed_requests(
    words: Sequence[str], words_per_request: int = 5, questions_per_word: int = 6
) -> list[list[Message]]:
    """Return one request for every few seed words: the prompt's prefix is then paid once for all of them."""
    groups = [words[i : i + words_per_request] for i in range(0, len(words), words_per_request)]
    return [
        SEED_WORDS.messages(count=str(questions_per_word), seed_words="\n".join(f"- {word}" for word in group))
        for group in groups
    ]


def collect_questions(replies: Sequence[Reply]) -> list[dict]:
    """Return {"seed_word", "question"} for every question of every reply, in order."""
    return [
        {"seed_word": item.seed_word, "question": question.strip()}
        for reply in replies
        for item in reply.parsed.items
        for question in item.questions
    ]


@dataclass(frozen=True)
class AnswerRequest:
    """A question, the ids of the passages shown with it, and the messages that ask for its answer."""

    question: str
    document_ids: tuple[str, ...]
    messages: list[Message]


def answer_requests(
    questions: Sequence[str], documents: Sequence[dict], passages: int = 3
) -> list[AnswerRequest]:
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


@dataclass(frozen=True)
class Collected:
    """Answers that can be used, and those that cannot, each with the reason."""

    rows: list[dict]
    rejected: list[dict]


def collect_answers(
    requests: Sequence[AnswerRequest], replies: Sequence[Reply], documents: Sequence[dict]
) -> Collected:
    """Keep an answer if it names a passage that was shown and every number in it stands there."""
    text_of = {document["id"]: document["text"] for document in documents}
    rows, rejected = [], []
    for request, reply in zip(requests, replies, strict=True):
        reason = _why_rejected(request, reply, text_of)
        if reason:
            rejected.append({"question": request.question, "reason": reason})
        else:
            rows.append(
                {
                    "id": f"re-{len(rows) + 1:04d}",
                    "question": request.question,
                    "answer": reply.parsed.answer.strip(),
                    "document_id": reply.parsed.document_id,
                }
            )
    return Collected(rows, rejected)


def _why_rejected(request: AnswerRequest, reply: Reply, text_of: dict[str, str]) -> str | None:
    if reply.error:
        return reply.error
    answer, document_id = reply.parsed.answer, reply.parsed.document_id
    if not answer or not document_id:
        return "the teacher found no answer in the passages shown"
    if document_id not in request.document_ids:
        return f"the answer names {document_id}, which was not shown"
    invented = unsupported_numbers(answer, text_of[document_id])
    return f"{', '.join(invented)} does not stand in {document_id}" if invented else None


def unsupported_numbers(answer: str, source: str) -> list[str]:
    """Return the numbers of an answer that its source does not have, in order."""
    known = set(NUMBER.findall(source))
    return [number for number in NUMBER.findall(answer) if number not in known]


def split(rows: Sequence[dict], validation_share: float = 0.1) -> tuple[list[dict], list[dict]]:
    """Split rows into train and validation by a hash of the question: new rows never move old ones."""
    train, validation = [], []
    for row in rows:
        position = int(hashlib.sha256(row["question"].encode()).hexdigest()[:8], 16) / 2**32
        (validation if position < validation_share else train).append(row)
    return train, validation
