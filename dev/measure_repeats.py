"""Measures how sure repeats in other words are: what `kotune data dedup --semantic` drops at each threshold.

    python dev/measure_repeats.py        needs the extra `embeddings`

On pairs of questions that a reader labelled (tests/data/repeat_pairs.jsonl, cases and first set): repeats dropped, and
different questions dropped, with and without asking `kotune.korean.contrasts.difference`. On the questions of the course, of
which ROUGE-L has dropped the near repeats already: what would go besides; it is printed, to be judged by a reader.
Writes dev/bench/results/repeats.json, whose figures stand in docs/korean_checks.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kotune.data.embeddings import describe, embed_questions, weights_sha256
from kotune.data.semantic_repeats import find_semantic_repeats
from kotune.korean.contrasts import difference
from similarity import deduplicate
from utils import DATA, ROOT, read_jsonl, relative, write_json

RESULTS = ROOT / "dev" / "bench" / "results" / "repeats.json"
PAIRS = ROOT / "tests" / "data" / "repeat_pairs.jsonl"
GROUPS = ("case", "own")  # the further two were written after the threshold was set, and for the rules
THRESHOLDS = (0.90, 0.93, 0.95, 0.97)


def vectors_of(texts: Sequence[str]):
    """Return an embedding by which all texts are computed at once, and looked up from then on."""
    vectors = dict(zip(texts, embed_questions(texts), strict=True))
    return lambda asked: np.stack([vectors[text] for text in asked])


def dropped_pairs(pairs: Sequence[dict], threshold: float, differ, embed) -> dict:
    """Return how many pairs of which kind lose their second question."""
    gone = [bool(find_semantic_repeats([row["a"], row["b"]], threshold, differ, embed).dropped) for row in pairs]
    repeats = sum(went and row["same"] for went, row in zip(gone, pairs, strict=True))
    return {"repeats": repeats, "different": sum(gone) - repeats}


def main() -> None:
    """Measure, print and store the figures."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    pairs = [row for row in read_jsonl(PAIRS) if row["group"] in GROUPS]
    embed = vectors_of(list(dict.fromkeys(text for row in pairs for text in (row["a"], row["b"]))))
    on_pairs = {}
    for threshold in THRESHOLDS:
        sides = {"alone": None, "difference_asked": difference}
        on_pairs[str(threshold)] = {side: dropped_pairs(pairs, threshold, differ, embed) for side, differ in sides.items()}
        print(f"pairs, cosine above {threshold}: {on_pairs[str(threshold)]}", flush=True)

    asked = [row["question"] for word in read_jsonl(DATA / "recorded" / "authored.jsonl") for row in word["questions"]]
    plain = deduplicate(asked, differ=difference)
    kept = [asked[place] for place in plain.kept]
    embed = vectors_of(asked)
    on_course = {}
    for threshold in THRESHOLDS:
        found = find_semantic_repeats(kept, threshold, difference, embed)
        near = [(asked[one.index], plain.text_of(one.twin)) for one in plain.dropped]
        again = sum(bool(find_semantic_repeats(list(pair), threshold, difference, embed).dropped) for pair in near)
        on_course[str(threshold)] = {"dropped": len(found.dropped), "spared": len(found.spared), "of_those_of_rouge": again}
        print(f"course, cosine above {threshold}: {on_course[str(threshold)]}", flush=True)
        for one in found.dropped:
            print(f"  {one.cosine:.3f}  {kept[one.index]}  |  {kept[one.twin]}")
    counts = {"asked": len(asked), "kept_by_rouge": len(kept), "dropped_by_rouge": len(plain.dropped)}
    card = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "model": describe(), "weights_sha256": weights_sha256()}
    labelled = {"pairs": len(pairs), "repeats": sum(row["same"] for row in pairs), "dropped": on_pairs}
    print(relative(write_json(RESULTS, {**card, "labelled": labelled, "course": {**counts, "dropped": on_course}})))


if __name__ == "__main__":
    main()
