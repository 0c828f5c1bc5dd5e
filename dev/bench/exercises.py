"""How long each check of an exercise takes on its solution; what a lesson promises is two seconds.

    python dev/bench/exercises.py        (part of `make bench`)

Writes dev/bench/results/exercises.json. The first call of a check in a process is measured too: it reads the lesson's texts.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about
from tests.exercises.support import ALL_SOLUTIONS, BY_ID, answer
from utils import ROOT, write_json

ROUNDS = 5


def seconds(code: str, id: str) -> float:
    """Return how long one check takes, the solution's own lines and the starter's with it."""
    started = time.perf_counter()
    verdict = answer(BY_ID[id], code)
    assert verdict.status == "right", (id, verdict)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and store."""
    taken = {one.id: [seconds(one.code, one.id) for _ in range(ROUNDS)] for one in ALL_SOLUTIONS}
    results = {
        **about(),
        "longest_s": round(max(map(max, taken.values())), 4),
        "first_and_median_s": {id: [round(each[0], 4), round(median(each), 4)] for id, each in taken.items()},
    }
    print(json.dumps(results, indent=2))
    write_json(ROOT / "dev" / "bench" / "results" / "exercises.json", results)


if __name__ == "__main__":
    main()
