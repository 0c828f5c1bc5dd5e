"""Rebuild the open-book version of the question-answer pairs: each question among three documents.

    python dev/data/build_open_book.py

Most rows show the question's own document among two distractors, those that a search ranks next for the question, so that
picking the right one takes reading; the order of the three is drawn by a hash of the question. About one row in seven shows
distractors alone, none of which has the answer, and its answer says so: `kind` is `no_answer` there. Questions, and the
other answers, are those of the closed-book sets.
"""

import hashlib
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from prompts import open_book_prompt
from similarity import content_words, rank
from utils import DATA, read_jsonl, write_jsonl

PARTS = {"train": "answer", "validation": "answer", "evaluation": "reference"}
SHOWN = 3
WITHOUT_ANSWER = 0.14  # of the rows
# Drawn for no answer, but kept with their own document: a reader found the answer in the documents nearest to it.
ANSWERED_BY_NEIGHBOURS = {"re-0082", "re-0151", "re-0200", "re-0265", "re-0347", "ev-049"}
LIKE_THE_ANSWER = 0.35  # share of an answer's own words above which a document may answer the question itself
NO_ANSWER = (
    "제시된 문서에는 {topic}에 관한 내용이 없어 답변드리기 어렵습니다.",
    "죄송합니다. 주어진 문서에서는 {topic}에 대한 설명을 찾을 수 없습니다.",
    "세 문서 모두 {topic}에 관해서는 다루지 않습니다. 다른 자료를 확인해 주시기 바랍니다.",
    "참고할 문서에 {topic}에 대한 내용이 나와 있지 않아 정확히 말씀드릴 수 없습니다.",
    "이 문서들만으로는 답할 수 없습니다. {topic}에 관한 자료가 더 필요합니다.",
    "주신 문서에는 답이 되는 내용이 없습니다. {topic}에 대해서는 관할 기관에 문의하시는 것이 좋겠습니다.",
    "문서를 모두 살펴보았으나 {topic}에 관한 설명은 없었습니다. 확인되지 않은 내용을 말씀드리지는 않겠습니다.",
    "안타깝게도 제시된 자료에는 이 질문에 답할 근거가 없습니다. {topic}에 관한 다른 문서가 있으면 보여 주십시오.",
    "질문하신 내용은 주어진 문서에 없습니다. 이 자료로는 {topic}에 대해 알 수 없습니다.",
    "{topic}에 대한 답은 이 문서들에서 확인되지 않습니다.",
)


def draw(question: str, purpose: str) -> float:
    """Return a number from 0 to 1 that a question always draws for a purpose."""
    return int(hashlib.sha256(f"{purpose} {question}".encode()).hexdigest()[:8], 16) / 2**32


def in_drawn_order(question: str, documents: list[dict]) -> list[dict]:
    """Return documents in an order that says nothing."""
    return sorted(documents, key=lambda d: hashlib.sha256((question + d["id"]).encode()).hexdigest())


def documents_without_answer(row: dict, answer: str, topic: str, ranked: list[dict]) -> list[dict]:
    """Return the nearest documents that cannot answer: none names the topic, or has most of the answer's words."""
    names = re.split(r"[와과]\s|[()]", topic)
    unnamed = [d for d in ranked if not any(name and name in f"{d['title']} {d['text']}" for name in names)]
    texts = [row["question"], answer, *[d["text"] for d in unnamed]]
    asked, said, *held = (set(words) for words in content_words(texts))
    new = said - asked
    unlike = [d for d, words in zip(unnamed, held, strict=True) if len(new & words) <= LIKE_THE_ANSWER * len(new)]
    return unlike[:SHOWN]


def open_book_rows(part: str) -> list[dict]:
    """Return the open-book rows of a part: {"id", "instruction", "input", "output", "document_id", "kind"?}."""
    documents = read_jsonl(DATA / "documents.jsonl")
    texts = [f"{d['title']}\n{d['text']}" for d in documents]
    rows = []
    for row in read_jsonl(DATA / f"real_estate_{part}.jsonl"):
        question, answer = row["question"], row[PARTS[part]]
        ranked = [documents[found.index] for found in rank(question, texts, top_k=len(texts))]
        own = next(document for document in documents if document["id"] == row["document_id"])
        unanswerable = draw(question, "no answer") < WITHOUT_ANSWER and row["id"] not in ANSWERED_BY_NEIGHBOURS
        if unanswerable:
            shown = documents_without_answer(row, answer, own["seed_word"], ranked)
            wording = NO_ANSWER[int(draw(question, "wording") * len(NO_ANSWER))]
            answer = wording.format(topic=own["seed_word"])
        else:
            shown = [own, *[document for document in ranked if document is not own][: SHOWN - 1]]
        instruction, passages = open_book_prompt(question, in_drawn_order(question, shown))
        made = {"id": row["id"], "instruction": instruction, "input": passages, "output": answer}
        rows.append(made | {"document_id": row["document_id"]} | ({"kind": "no_answer"} if unanswerable else {}))
    return rows


if __name__ == "__main__":
    for name in PARTS:
        print(write_jsonl(DATA / f"real_estate_open_book_{name}.jsonl", open_book_rows(name)).name)
