"""From seed words to instruction data: the requests that go to the teacher, and what is made of its replies."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass

from kotune.data.ranking import Ranker, Ranking
from kotune.korean.tasks import TASK_PROMPTS, TASKS
from kotune.teacher.client import Teacher
from kotune.teacher.filters import (
    Collected,
    ContentWords,
    Fault,
    bare,
    check_answer,
    check_document_question,
    check_new_task,
    check_question,
    check_task,
    with_reasons,
)
from kotune.teacher.replies import Reply
from prompts import (
    DOCUMENT_QUESTIONS,
    GROUNDED_ANSWER,
    SEED_WORDS,
    SELF_INSTRUCT,
    DocumentQuestions,
    DocumentQuestionsReply,
    GroundedAnswer,
    Message,
    SeedWordReply,
    SelfInstructReply,
    TaskReply,
    format_documents,
)
from similarity import deduplicate


def seed_requests(words: Sequence[str], words_per_request: int = 5, questions_per_word: int = 6) -> list[list[Message]]:
    """Return one request for every few seed words: the prompt's prefix is then paid once for all of them."""
    groups = [words[i : i + words_per_request] for i in range(0, len(words), words_per_request)]
    return [
        SEED_WORDS.messages(count=str(questions_per_word), seed_words="\n".join(f"- {word}" for word in group))
        for group in groups
    ]


def collect_questions(replies: Sequence[Reply[SeedWordReply]], seed_words: Collection[str] = ()) -> Collected:
    """Return {"seed_word", "question"} for every question of every reply, in order, and those that the filters set aside.

    With the seed words that were asked about, questions on other words are set aside too. What was set aside is printed,
    because whoever goes through the questions alone would not see it.
    """
    rows: list[dict] = []
    rejected: list[dict] = []
    before: set[str] = set()
    asked = [(item.seed_word, question.strip()) for item in _items(replies) for question in item.questions]
    for seed_word, question in asked:
        row = {"seed_word": seed_word, "question": question}
        if found := check_question(question, seed_word, before, seed_words):
            rejected.append(with_reasons(row, found))
        else:
            rows.append(row)
        before.add(bare(question))
    collected = Collected(rows, rejected)
    if rejected:
        print(f"questions: {collected.table()}")
    return collected


def _items(replies: Sequence[Reply]) -> list:
    return [item for reply in replies if reply.parsed for item in reply.parsed.items]


def document_requests(documents: Sequence[dict], documents_per_request: int = 3, questions: int = 3) -> list[list[Message]]:
    """Return one request for every few documents: are they on topic and safe, and what questions do they answer?"""
    groups = [documents[i : i + documents_per_request] for i in range(0, len(documents), documents_per_request)]
    return [DOCUMENT_QUESTIONS.messages(count=str(questions), documents=format_documents(group)) for group in groups]


def collect_document_questions(replies: Sequence[Reply[DocumentQuestionsReply]], documents: Sequence[dict]) -> Collected:
    """Return {"question", "document_id"} rows, and the documents and questions that were set aside, with the reasons."""
    known = {document["id"]: document for document in documents}
    rows: list[dict] = []
    rejected: list[dict] = []
    before: set[str] = set()
    for item in _items(replies):
        if why := _set_aside(item, known):
            rejected.append({"document_id": item.document_id, "reason": why})
            continue
        for question in (text.strip() for text in item.questions):
            row = {"question": question, "document_id": item.document_id}
            if found := check_document_question(question, known[item.document_id], before):
                rejected.append(with_reasons(row, found))
            else:
                rows.append(row)
            before.add(bare(question))
    return Collected(rows, rejected)


def _set_aside(item: DocumentQuestions, known: Container[str]) -> str | None:
    """Return why a document's questions are not taken at all."""
    if item.document_id not in known:
        return "the teacher was not shown this document"
    if item.on_topic and item.safe:
        return None
    return f"{'unsafe' if item.on_topic else 'off topic'}: {item.reason}"


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
) -> Collected:
    """Return the new tasks whose instruction is near none before it, and the others with what is wrong or repeated."""
    new = [item.model_dump() for item in _items(replies)]
    texts = [task["instruction"] for task in [*seed_tasks, *new]]
    dropped = {d.index: d for d in deduplicate(texts, threshold, unit).dropped}
    rows, rejected = [], []
    for place, task in enumerate(new, start=len(seed_tasks)):
        found = check_new_task(task)
        if place in dropped:
            found.append(Fault("repeat", f"ROUGE-L {dropped[place].f1:.2f} with {texts[dropped[place].twin]!r}"))
        if found:
            rejected.append(with_reasons(task, found))
        else:
            rows.append(task)
    return Collected(rows, rejected)


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


def collect_examples(contexts: Mapping[str, str], replies: Mapping[str, Reply[TaskReply]]) -> Collected:
    """Return a training row a task whose reply keeps to its demands, and the other replies with what is wrong with them."""
    rows: list[dict] = []
    rejected: list[dict] = []
    for task_id, reply in replies.items():
        given = reply.parsed
        if given is None:
            row = {"Task_name": task_id, "reply": None}
            rejected.append(with_reasons(row, [Fault("no_reply", reply.error or "the teacher gave no reply")]))
        elif found := check_task(task_id, contexts[task_id], given):
            rejected.append(with_reasons({"Task_name": task_id, "reply": given.model_dump()}, found))
        else:
            rows.append(TASKS[task_id].row(contexts[task_id], given))
    return Collected(rows, rejected)


@dataclass(frozen=True)
class AnswerRequest:
    """A question, the ids of the passages shown with it, and the messages that ask for its answer."""

    question: str
    document_ids: tuple[str, ...]
    messages: list[Message]


def answer_requests(
    questions: Sequence[str], documents: Sequence[dict], passages: int = 3, ranking: Ranking = "bm25"
) -> list[AnswerRequest]:
    """Return a request a question with its best passages, in the order of their ids.

    The order of ids, not of rank, keeps a request the same where two scores are close. ranking: BM25 unless another is
    asked for, whatever is installed, because recordings are found by the text of a request, which holds the passages.
    """
    ranker = Ranker([f"{document['title']}\n{document['text']}" for document in documents], ranking)
    requests = []
    for question in questions:
        best = sorted(ranked.index for ranked in ranker.rank(question)[:passages])
        shown = [documents[i] for i in best]
        messages = GROUNDED_ANSWER.messages(question=question, documents=format_documents(shown))
        requests.append(AnswerRequest(question, tuple(d["id"] for d in shown), messages))
    return requests


def collect_answers(
    requests: Sequence[AnswerRequest], replies: Sequence[Reply[GroundedAnswer]], documents: Sequence[dict]
) -> Collected:
    """Keep an answer that does what its prompt demands: from a passage that was shown, in its own words, to the question."""
    asked = list(zip(requests, replies, strict=True))
    answers = [reply.parsed.answer or "" if reply.parsed else "" for reply in replies]
    said = [(request.question, text, request.document_ids) for (request, _), text in zip(asked, answers, strict=True)]
    text_of = {document["id"]: f"{document['title']}\n{document['text']}" for document in documents}
    rows: list[dict] = []
    rejected: list[dict] = []
    for (request, reply), words in zip(asked, ContentWords(documents).of(said), strict=True):
        given = reply.parsed
        row: dict = {"question": request.question}
        if given is None or not given.answer:
            name = "no_reply" if given is None else "no_answer"
            reason = reply.error or "the teacher found no answer in the passages shown"
            rejected.append(with_reasons(row, [Fault(name, reason)]))
            continue
        row |= {"answer": given.answer.strip(), "document_id": given.document_id}
        shown = {id: text_of[id] for id in request.document_ids}
        if found := check_answer(request.question, row["answer"], given.document_id, shown, words):
            rejected.append(with_reasons(row, found))
        else:
            rows.append({"id": f"re-{len(rows) + 1:04d}"} | row)
    return Collected(rows, rejected)


def split(rows: Sequence[dict], validation_share: float = 0.1) -> tuple[list[dict], list[dict]]:
    """Split rows into train and validation by a hash of the question: new rows never move old ones."""
    train: list[dict] = []
    validation: list[dict] = []
    for row in rows:
        position = int(hashlib.sha256(row["question"].encode("utf-8", "surrogatepass")).hexdigest()[:8], 16) / 2**32
        (validation if position < validation_share else train).append(row)
    return train, validation
