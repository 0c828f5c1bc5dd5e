"""How the cost of dedup grows, whole and in shards: `python dev/bench/shards.py` (10^4, 10^5, 10^6 texts; an idle machine).

Whole is one process of `kotune data dedup --alpaca`. In shards, every shard runs in a process of its own, one after the
other, as each would on a machine of its own: the slowest is the time that as many machines take, and the sum is what they
are paid for.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about, hand_over, measured, peak_gib
from dev.bench.similarity import synthetic_texts
from kotune.data.dedup import deduplicate_file
from kotune.data.dedup_shards import find_matches
from kotune.data.shard_files import merge
from kotune.shards import Shard
from utils import write_json, write_jsonl

COUNTS = (10_000, 100_000, 1_000_000)
SHARDS = (4, 16)


def run_side(side: dict) -> None:
    """Run one process of the measurement and hand over its seconds and its memory."""
    folder = Path(side["folder"])
    start = time.perf_counter()
    if side["what"] == "whole":
        done = deduplicate_file(folder / "texts.jsonl", folder / "whole.jsonl", field="text")
        figures = {"kept": done.kept}
    elif side["what"] == "merge":
        files = [Shard(number, side["of"]).file(folder / "parts.jsonl") for number in range(1, side["of"] + 1)]
        figures = {"kept": merge(files, None).lines, "bytes_of_shards": sum(file.stat().st_size for file in files)}
    else:
        find_matches(
            folder / "texts.jsonl", folder / "parts.jsonl", Shard(side["number"], side["of"]), field="text", alpaca=True
        )
        figures = {}
    hand_over({**figures, "seconds": round(time.perf_counter() - start, 2), "peak_gib": peak_gib()})


def measure(count: int, shards: tuple[int, ...]) -> dict:
    """Return what deduplicating so many texts costs, whole and in each number of shards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(
            folder / "texts.jsonl", ({"id": place, "text": text} for place, text in enumerate(synthetic_texts(count)))
        )

        def side(**what) -> dict:
            return measured(__file__, json.dumps({"folder": name, **what}))

        figures: dict = {"texts": count, "whole": side(what="whole"), "in_shards": []}
        for of in shards:
            parts = [side(what="shard", number=number, of=of) for number in range(1, of + 1)]
            merged = side(what="merge", of=of)
            same = (folder / "parts.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
            if not same:
                sys.exit(f"{of} shards of {count} texts do not keep what one process keeps")
            figures["in_shards"].append(
                {
                    "shards": of,
                    "slowest_s": max(part["seconds"] for part in parts),
                    "sum_s": round(sum(part["seconds"] for part in parts), 2),
                    "peak_gib": max(part["peak_gib"] for part in parts),
                    "merge": merged,
                }
            )
            for file in folder.glob("parts*"):
                file.unlink()
        return figures


def main() -> None:
    """Measure, print, and keep the figures in dev/bench/results/shards.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="texts, one in ten a near repeat")
    parser.add_argument("--shards", type=int, nargs="+", default=SHARDS)
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "shards.json"))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        run_side(json.loads(chosen.side))
        return
    write_json(
        chosen.out, {**about(("rapidfuzz", "numpy")), "runs": [measure(n, tuple(chosen.shards)) for n in chosen.counts]}
    )


if __name__ == "__main__":
    main()
