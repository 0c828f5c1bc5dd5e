"""Rebuild data/korean_tasks.jsonl from data/recorded/authored_tasks.jsonl.

    python dev/data/build_korean_tasks.py        (or `make recording`)

Each authored row has its task, context and reply, the instruction in its own words, and, where they hold,
`writes_question` (the model writes the question too) and `context_first` (the instruction stands below the context).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kotune.korean.tasks import TASKS
from utils import DATA, read_jsonl, write_jsonl

AUTHORED, BUILT = DATA / "recorded" / "authored_tasks.jsonl", DATA / "korean_tasks.jsonl"
ORDER = ("writes_question", "context_first")


def rows(authored: list[dict]) -> Iterator[dict]:
    """Yield the row in the suite's format of each authored example."""
    for example in authored:
        task = TASKS[example["task"]]
        how = {name: example[name] for name in ORDER if name in example}
        row = task.row(example["context"], task.schema(**example["reply"]), instruction=example["instruction"], **how)
        yield {"id": example["id"], **row}


if __name__ == "__main__":
    write_jsonl(BUILT, list(rows(read_jsonl(AUTHORED))))
    print(f"{BUILT.name} is rebuilt")
