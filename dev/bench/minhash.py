"""What MinHash finds of the near duplicates that the exact search finds: `python dev/bench/minhash.py --count 3000`.

datatrove's pipeline (signatures, buckets, clusters, filter) runs in this process on an export of the texts, with its Korean
tokenizer, kiwipiepy. datatrove 0.10.1 asks for the model "sbg", which kiwipiepy_model 0.24 does not bring: the model that is
installed is put in its place. Its hash, xxhash, takes no strings since version 4: SHA-1 is taken. MinHash is what remains
where not even pairs of shards fit: its cost grows with the texts alone. `pip install datatrove orjson` first. With `--texts
FILE --field NAME` the texts are yours.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import similarity
from dev.bench.similarity import synthetic_texts
from kotune.data import registry
from kotune.data.dedup import text_to_compare
from utils import write_json, write_jsonl

THRESHOLD = 0.7


@dataclass(frozen=True)
class Banding:
    """How signatures are cut: words a shingle, buckets, and hashes a bucket (more find fewer, and fewer by mistake)."""

    words: int
    buckets: int
    hashes: int


# datatrove's own, made for web pages; and two for texts of a sentence
BANDINGS = (Banding(5, 14, 8), Banding(2, 20, 4), Banding(1, 28, 4))


def clusters(texts: list[str], banding: Banding, folder: Path) -> list[set[int]]:
    """Return the sets of texts that datatrove's MinHash takes for near duplicates of each other."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.word_tokenizers import KiwiTokenizer

    write_jsonl(folder / "export" / "texts.jsonl", ({"id": str(i), "text": text} for i, text in enumerate(texts)))
    config = MinhashConfig(
        n_grams=banding.words,
        num_buckets=banding.buckets,
        hashes_per_bucket=banding.hashes,
        hash_config=HashConfig(hash_fc="sha1"),
    )
    signatures = MinhashDedupSignature(str(folder / "signatures"), config=config, language="kor")
    signatures.word_tokenizer = KiwiTokenizer(model_type="none")  # "none": the model that is installed
    reader = JsonlReader(str(folder / "export"))
    steps = [
        [reader, signatures],
        [MinhashDedupBuckets(str(folder / "signatures"), str(folder / "buckets"), config=config)],
        [MinhashDedupCluster(str(folder / "buckets"), str(folder / "removed"), config=config, save_cluster_id=True)],
        [
            reader,
            MinhashDedupFilter(
                str(folder / "removed"),
                load_cluster_ids=True,
                exclusion_writer=JsonlWriter(str(folder / "dropped"), compression=None),
            ),
            JsonlWriter(str(folder / "kept"), compression=None),
        ],
    ]
    for number, step in enumerate(steps):
        tasks = banding.buckets if number == 1 else 1
        LocalPipelineExecutor(step, tasks=tasks, workers=1, logging_dir=str(folder / "logs" / str(number))).run()
    groups: dict[int, set[int]] = {}
    for file in [*(folder / "kept").glob("*.jsonl"), *(folder / "dropped").glob("*.jsonl")]:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["metadata"]["minhash_cluster_id"] != -1:
                groups.setdefault(row["metadata"]["minhash_cluster_id"], set()).add(int(row["id"]))
    return [*groups.values()]


def compare(texts: list[str], banding: Banding) -> dict:
    """Return how many exact twins fall into one cluster, and how many pairs of a cluster are no near duplicates."""
    exact = similarity.deduplicate(texts, THRESHOLD)
    with tempfile.TemporaryDirectory() as folder:
        found = clusters(texts, banding, Path(folder))
    cluster_of = {place: number for number, cluster in enumerate(found) for place in cluster}
    met = sum(cluster_of.get(one.index, -1) == cluster_of.get(one.twin, -2) for one in exact.dropped)
    pairs = [pair for cluster in found for pair in combinations(sorted(cluster), 2)]
    far = sum(similarity.rouge_l(texts[one], texts[other], "eojeol").f1 <= THRESHOLD for one, other in pairs)
    return {
        "words_a_shingle": banding.words, "buckets": banding.buckets, "hashes_a_bucket": banding.hashes,
        "exact_twins": len(exact.dropped), "in_one_cluster": met, "recall": met / max(1, len(exact.dropped)),
        "pairs_in_clusters": len(pairs), "of_them_not_above_the_threshold": far,
    }  # fmt: skip


def main() -> None:
    """Measure, print, and keep the figures in dev/bench/results/minhash.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=3_000, help="texts that are made, one in ten a near repeat")
    parser.add_argument("--texts", help="a data set instead")
    parser.add_argument("--field", help="the field to compare, instead of the question or the document")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "minhash.json"))
    chosen = parser.parse_args()
    if chosen.texts:
        texts = [text_to_compare(row.value, row.place, chosen.field) for row in registry.read(chosen.texts)]
    else:
        texts = synthetic_texts(chosen.count)
    figures = {
        "date": time.strftime("%Y-%m-%d"), "texts": len(texts), "threshold": THRESHOLD,
        "versions": {name: version(name) for name in ("datatrove", "kiwipiepy")},
        "runs": [compare(texts, banding) for banding in BANDINGS],
    }  # fmt: skip
    write_json(chosen.out, figures)
    for run in figures["runs"]:
        print(run)


if __name__ == "__main__":
    main()
