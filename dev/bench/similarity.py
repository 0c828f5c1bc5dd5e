"""Near-duplicate removal beside the Alpaca loop, in one run: `python dev/bench/similarity.py` (or `make bench`).

The Alpaca loop is `rouge_score`'s own `_score_lcs` on the same tokens; its time for a pair is measured on a sample and
multiplied out to all pairs of kept texts, as the loop would compare them. Everything else is measured in full.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import similarity
from utils import DATA, read_jsonl, write_json

ROOT = Path(__file__).resolve().parents[2]
WORDS_PER_TEXT = 12
PARTICLES = ["", "은", "는", "이", "가", "을", "를", "에", "에서", "의", "도", "로", "과", "만"]


def synthetic_texts(count: int, seed: int = 0) -> list[str]:
    """Return texts of 8 to 16 Korean words drawn by Zipf's law, one in ten a near repeat of an earlier one."""
    stems = sorted({w for d in read_jsonl(DATA / "documents.jsonl") for w in similarity.tokenize(d["text"], "eojeol")})
    generator = random.Random(seed)
    syllables = sorted({s for stem in stems for s in stem})
    extra = {"".join(generator.choices(syllables, k=generator.randint(2, 4))) for _ in range(20_000)}
    vocabulary = stems + sorted(extra)
    generator.shuffle(vocabulary)
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
    pool = generator.choices(vocabulary, weights, k=count * 17)
    texts: list[str] = []
    for i in range(count):
        if texts and generator.random() < 0.1:
            words = generator.choice(texts).split()
            words[generator.randrange(len(words))] = pool[i]
        else:
            size = generator.randint(WORDS_PER_TEXT - 4, WORDS_PER_TEXT + 4)
            words = [w + generator.choice(PARTICLES) for w in pool[i * 16 : i * 16 + size]]
        texts.append(" ".join(words))
    return texts


def seconds(function, *arguments, **options):
    """Return how long a call took, and its result."""
    start = time.perf_counter()
    result = function(*arguments, **options)
    return time.perf_counter() - start, result


def alpaca_seconds(texts: list[str], kept: int) -> float:
    """Return the seconds of the Alpaca loop over these texts, from the time of a sample of its pairs."""
    from rouge_score.rouge_scorer import _score_lcs

    tokens = [similarity.tokenize(text, "eojeol") for text in texts[:600]]
    generator = random.Random(1)
    pairs = [(generator.choice(tokens), generator.choice(tokens)) for _ in range(10_000)]
    spent, _ = seconds(lambda: [_score_lcs(a, b) for a, b in pairs])
    comparisons = kept * (kept - 1) / 2 + (len(texts) - kept) * kept / 2  # a dropped text meets half of the kept
    return spent / len(pairs) * comparisons


def peak_memory_mb(count: int) -> float:
    """Return the peak memory of a process of its own that deduplicates this many texts."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak_memory", str(count)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def print_own_peak_memory(count: int) -> None:
    """Deduplicate this many texts and print the peak memory of this process in MB."""
    similarity.deduplicate(synthetic_texts(count))
    from kotune.training.runs import process_peak_gib  # after the work, so that the import is no part of its peak

    print(1024 * process_peak_gib())


def import_seconds() -> tuple[float, bool]:
    """Return the time of `import similarity` in a fresh process, and whether it brought torch."""
    code = (
        "import time; start = time.perf_counter(); import similarity; spent = time.perf_counter() - start\n"
        "import sys; print(spent, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
    return min(float(run[0]) for run in runs), any(run[1] == "True" for run in runs)


def measure() -> dict:
    """Run everything once and return the figures."""
    figures: dict = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "machine": platform.machine()}
    figures["import_s"], figures["import_brings_torch"] = import_seconds()
    texts = synthetic_texts(100_000)
    figures["dedup_10000_s"], _ = seconds(similarity.deduplicate, texts[:10_000])
    figures["dedup_52000_s"], result = seconds(similarity.deduplicate, texts[:52_000])
    figures["kept_of_52000"] = len(result.kept)
    figures["dedup_100000_s"], _ = seconds(similarity.deduplicate, texts)
    figures["growth_10000_to_100000"] = figures["dedup_100000_s"] / figures["dedup_10000_s"]
    figures["alpaca_loop_52000_s"] = alpaca_seconds(texts[:52_000], len(result.kept))
    figures["times_faster_than_alpaca"] = figures["alpaca_loop_52000_s"] / figures["dedup_52000_s"]
    for unit in ("syllable", "jamo", "morpheme"):
        figures[f"{unit}_10000_s"], _ = seconds(similarity.deduplicate, texts[:10_000], unit=unit)
    one, _ = seconds(lambda: [similarity.tokenize(text) for text in texts[:3_000]])
    batch, _ = seconds(similarity._tokenize_all, texts[:3_000], "morpheme", "texts")
    figures["morpheme_batch_times_faster"] = one / batch
    figures["peak_memory_100000_mb"] = peak_memory_mb(100_000)
    return figures


def main() -> None:
    """Measure, print, and keep the figures in dev/bench/results/similarity.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peak_memory", type=int, metavar="TEXTS", help="only print the peak for so many")
    chosen = parser.parse_args()
    if chosen.peak_memory:
        print_own_peak_memory(chosen.peak_memory)
        return
    measured = measure()
    for name, value in measured.items():
        print(f"{name:28} {value:,.2f}" if isinstance(value, float) else f"{name:28} {value}")
    target = Path(__file__).parent / "results" / "similarity.json"
    write_json(target, measured)


if __name__ == "__main__":
    main()
