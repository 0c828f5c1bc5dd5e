"""Measures which ranking puts the right passage first: BM25, embeddings, and both fused by reciprocal rank.

    python dev/measure_ranking.py        needs the extra `embeddings`

The right passage of a question is the one that its answer was written from; another one may answer it too, and counts as
wrong. Each question is asked of its own set's passages, and of those of both sets together. It is also counted how often
`kotune.data.ranking.FITS` lets a passage through: for each question its nearest one, which should fit, and for
questions about health, to which no passage on housing should fit by its meaning.
Writes dev/bench/results/ranking.json, whose figures stand in docs/retrieval.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kotune.data.embeddings import describe, weights_sha256
from kotune.data.ranking import FITS, RANKINGS, RRF_K, Ranker
from kotune.stats import sign_test
from utils import DATA, ROOT, read_json, read_jsonl, relative, write_json

RESULTS = ROOT / "dev" / "bench" / "results" / "ranking.json"
HOUSING, COUNSEL = "documents.jsonl", "counsel_documents.jsonl"
# questions, their field, and the files of passages
SETS = {
    "evaluation": ("real_estate_evaluation.jsonl", "question", (HOUSING,)),
    "counsel": ("counsel_evaluation.jsonl", "instruction", (COUNSEL,)),
    "evaluation, all passages": ("real_estate_evaluation.jsonl", "question", (HOUSING, COUNSEL)),
    "counsel, all passages": ("counsel_evaluation.jsonl", "instruction", (HOUSING, COUNSEL)),
}


@dataclass(frozen=True)
class Asked:
    """Questions, the passages they are asked of, and the place of each question's right one."""

    questions: list[str]
    passages: list[str]
    right: list[int]


def read_set(name: str) -> Asked:
    """Return the questions of a set that name a document, and the passages."""
    file, field, sources = SETS[name]
    documents = [document for source in sources for document in read_jsonl(DATA / source)]
    place_of = {document["id"]: place for place, document in enumerate(documents)}
    rows = read_jsonl(DATA / file)
    return Asked(
        [row[field] for row in rows],
        [f"{document['title']}\n{document['text']}" for document in documents],
        [place_of[row["document_id"]] for row in rows],
    )


def ranks(asked: Asked, ranking: str) -> np.ndarray:
    """Return the rank of each question's right passage, from 1 on; (questions,)."""
    ranker = Ranker(asked.passages, ranking)
    found = [[one.index for one in ranker.rank(question)] for question in asked.questions]
    return np.array([order.index(right) + 1 for order, right in zip(found, asked.right, strict=True)])


def beside(ours: np.ndarray, theirs: np.ndarray, within: int) -> dict:
    """Return on how many questions one ranking has the right passage within so many and the other not, both ways."""
    won, lost = int(((ours <= within) & (theirs > within)).sum()), int(((ours > within) & (theirs <= within)).sum())
    return {"won": won, "lost": lost, "sign_test_p": round(sign_test(won, lost), 4)}


def measure(name: str) -> dict:
    """Return the figures of a set."""
    asked = read_set(name)
    rank_of = {ranking: ranks(asked, ranking) for ranking in RANKINGS}
    fused, plain = rank_of["fused"], rank_of["bm25"]
    return {
        "questions": len(asked.questions),
        "passages": len(asked.passages),
        **{ranking: shares(found) for ranking, found in rank_of.items()},
        "fused_beside_bm25": {"first": beside(fused, plain, 1), "within_3": beside(fused, plain, 3)},
    }


def shares(found: np.ndarray) -> dict:
    """Return on how many questions the right passage is first, and within three; and the mean of 1 / rank."""
    return {
        "first": int((found == 1).sum()),
        "within_3": int((found <= 3).sum()),
        "mrr": round(float((1 / found).mean()), 3),
    }


def nearest(questions: Sequence[str], passages: Sequence[str]) -> dict:
    """Return how many questions have a passage that fits by its meaning, and the range of the nearest one's cosine."""
    ranker = Ranker(passages, "embeddings")
    best = [ranker.rank(question)[0].score for question in questions]
    return {"questions": len(best), "fit": sum(score >= FITS for score in best), "lowest": min(best), "highest": max(best)}


def main() -> None:
    """Measure, print and store the figures."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    sets = {}
    for name in SETS:
        sets[name] = measure(name)
        print(f"{name}: {sets[name]}", flush=True)
    housing, counsel = read_set("evaluation"), read_set("counsel")
    health = [row["instruction"] for row in read_json(DATA / "medical_dialogues.json")]
    fits = {
        "cosine": FITS,
        "evaluation": nearest(housing.questions, housing.passages),
        "counsel": nearest(counsel.questions, counsel.passages),
        "health": nearest(health, housing.passages),
    }
    print(f"fit: {fits}")
    card = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "model": describe(), "weights_sha256": weights_sha256(), "rrf_k": RRF_K}
    print(relative(write_json(RESULTS, {**card, "sets": sets, "fits": fits})))


if __name__ == "__main__":
    main()
