"""How many answers a second one core checks for Korean faults, each with its question, its source and its end.

    python dev/bench/korean_checks.py        (part of `make bench`)

Writes dev/bench/results/korean_checks.json. The answers are the course's own, joined and cut to about 200 characters;
a share of them is spoilt, so that what finds something is measured too.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about
from kotune.data import registry
from kotune.korean.checks import CHECKS, check
from utils import DATA, ROOT, read_jsonl, write_json

LENGTH, ANSWERS, ROUNDS = 200, 4_000, 5
SPOILT = 4  # every fourth


def answers() -> list[dict]:
    """Return answers with question and source: one in four has a wrong particle, repeats and breaks off."""
    text_of = {row["id"]: row["text"] for row in read_jsonl(DATA / "documents.jsonl")}
    rows = registry.load_rows("real_estate_train")
    made = []
    for number in range(ANSWERS):
        row = rows[number % len(rows)]
        text = " ".join(rows[(number + step) % len(rows)]["answer"] for step in range(4))[:LENGTH]
        if number % SPOILT == 0:
            text = (row["answer"] + " 사람는 " + row["answer"] + text)[:LENGTH]
        made.append({"answer": text, "question": row["question"], "source": text_of[row["document_id"]], "ended": True})
    return made


def rate(rows: list[dict]) -> float:
    """Return answers per second of CPU time."""
    started = time.process_time()
    for row in rows:
        check(**row)
    return len(rows) / (time.process_time() - started)


def main() -> None:
    """Measure, print and store."""
    rows = answers()
    rates = [rate(rows) for _ in range(ROUNDS)]
    results = {
        **about(),
        "checks": len(CHECKS),
        "answers": len(rows),
        "characters_an_answer": round(sum(len(row["answer"]) for row in rows) / len(rows)),
        "answers_per_s": round(median(rates)),
        "answers_per_s_of_each_round": [round(one) for one in rates],
    }
    print(json.dumps(results, indent=2))
    write_json(ROOT / "dev" / "bench" / "results" / "korean_checks.json", results)


if __name__ == "__main__":
    main()
