"""How fast rows are read, checked and converted, and how much memory a file of a gigabyte takes.

    python dev/bench/formats.py        (part of `make bench`)

Writes dev/bench/results/formats.json. The rows are the course's own question-answer pairs, repeated with new ids.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dev.bench.sides import about, peak_gib_of
from kotune.data import registry
from kotune.data.writers import write
from utils import ROOT, read_jsonl, write_json

ROWS = 20_000
GIGABYTE = 1_000_000_000


def write_rows(path: Path, rows: int | None = None, size: int | None = None) -> int:
    """Write so many rows, or so many bytes of rows; return their number."""
    pairs = read_jsonl(registry.locate("real_estate_train"))
    number = 0
    with path.open("w", encoding="utf-8") as file:
        while (rows is None or number < rows) and (size is None or file.tell() < size):
            for pair in pairs:
                file.write(json.dumps({**pair, "id": f"r{number}"}, ensure_ascii=False) + "\n")
                number += 1
    return number


def seconds_of(action) -> float:
    """Return the CPU seconds of an action."""
    started = time.process_time()
    action()
    return time.process_time() - started


def rates(folder: Path) -> dict:
    """Return rows per second of one core for reading, checking and converting."""
    path = folder / "rows.jsonl"
    rows = write_rows(path, rows=ROWS)
    reading = seconds_of(lambda: list(registry.iterate(path)))
    checking = seconds_of(lambda: registry.check(str(path), None, []))
    converting = seconds_of(lambda: write(registry.iterate(path), folder / "out.jsonl", "messages"))
    both = checking + converting
    return {
        "rows": rows,
        "read_rows_per_s": round(rows / reading),
        "check_rows_per_s": round(rows / checking),
        "convert_rows_per_s": round(rows / converting),
        "check_and_convert_rows_per_s": round(rows / both),
    }


def gigabyte(folder: Path) -> dict:
    """Return time and peak memory of checking a file of a gigabyte, in a process of its own."""
    path = folder / "gigabyte.jsonl"
    rows = write_rows(path, size=GIGABYTE)
    started = time.monotonic()
    peak = peak_gib_of([sys.executable, "-m", "kotune", "data", "check", str(path)])
    return {"rows": rows, "seconds": round(time.monotonic() - started, 1), "peak_megabytes": round(1024 * peak)}


def main() -> None:
    """Measure, print and store."""
    with tempfile.TemporaryDirectory() as name:
        results = {
            **about(),
            "one_core": rates(Path(name)),
            "one_gigabyte": gigabyte(Path(name)),
        }
    print(json.dumps(results, indent=2))
    write_json(ROOT / "dev" / "bench" / "results" / "formats.json", results)


if __name__ == "__main__":
    main()
