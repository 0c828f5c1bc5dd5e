"""Every command that writes, with something to work on, and what of its output must be the same each time."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils import DATA, read_jsonl, write_jsonl

ROWS, PAIRS, QUESTIONS = 300, 40, 12


@dataclass(frozen=True)
class Writer:
    """A command that writes into a folder."""

    name: str
    arguments: Callable[[Path, Path], list[object]]  # from the folder of the inputs and that of the outputs
    call: str = "kotune.cli:main"
    growing: tuple[str, ...] = ()  # files that are written line by line: after a fault they are whole as far as they go
    kept: tuple[str, ...] = ()  # how the names begin of what is kept for the next run, and gone once one has ended well


WITHOUT_MODEL = [
    Writer("convert", lambda given, out: ["data", "convert", given / "rows.jsonl", out / "out.csv", "--to", "csv"]),
    Writer("dedup", lambda given, out: ["data", "dedup", given / "rows.jsonl", out / "kept.jsonl"]),
    Writer("scan", lambda given, out: ["data", "scan", given / "rows.jsonl", "--out", out / "found.jsonl"]),
    Writer("korean", lambda given, out: ["korean", given / "a.jsonl", "--out", out / "findings.jsonl"]),
    Writer(
        "judge",
        lambda given, out: [
            "judge", "--answers_a", given / "a.jsonl", "--answers_b", given / "b.jsonl", "--judge", "openai:m",
            "--out", out / "report.json", "--html", out / "report.html", "--journal", out / "journal.jsonl",
        ],
        growing=("report.LLM_m.judgments.jsonl", "journal.jsonl"),
    ),
    Writer("votes", lambda given, out: ["votes", given / "votes.jsonl", "--out", out / "votes"]),
    Writer("pairs", lambda given, out: ["votes", given / "votes.jsonl", "--to", "dpo", "--out", out / "pairs.jsonl"]),
    Writer("class", lambda given, out: ["class", "report", given / "handed_in", "--out", out / "class.csv"]),
    Writer(
        "leaderboard",
        lambda given, out: ["class", "leaderboard", given / "predicted", "--key", given / "key.jsonl", "--out", out / "board.jsonl"],
    ),
    Writer("teacher", lambda given, out: [out / "journal.jsonl", QUESTIONS, 4], "tests.support.deeds:ask", ("journal.jsonl",)),
]  # fmt: skip
WITH_MODEL = [
    Writer("sft", lambda given, out: ["sft", given / "model", given / "train.jsonl", out / "sft"], "tests.support.deeds:train",
           kept=("sft/checkpoints/", "sft/saving-")),
    Writer(
        "infer",
        lambda given, out: [
            "infer", "--inference_data", given / "questions.jsonl", "--model_path", given / "model", "--max_tokens", "5",
            "--batch_size", "3", "--save_name", out / "answers",
        ],
        "tests.support.deeds:with_model",
        growing=("answers.jsonl",),
    ),
    Writer(
        "merge",
        lambda given, out: [
            "merge", "--model_path", given / "adapter", "--merged_weights_path", out / "merged", "--to", "gguf",
        ],
        "tests.support.deeds:with_model",
        kept=("merged/merge.json", "merged/saving-"),
    ),
]  # fmt: skip


def names(writers: Sequence[Writer]) -> str:
    """Return the names of commands, for the table."""
    return ", ".join(writer.name for writer in writers)


# --- what they work on -----------------------------------------------------------------------


def make_inputs(folder: Path, seed: int = 0) -> Path:
    """Write what the commands without a model read; another seed is other texts under the same ids."""
    dice = random.Random(seed)
    words = [
        "전세", "월세", "보증금", "확정일자", "등기부", "임차인", "임대인", "계약서", "주민센터", "대출", "금리", "이자", "신고", "기한",
    ]  # fmt: skip

    def text(count: int) -> str:
        return " ".join(dice.choice(words) for _ in range(count)) + "을 확인합니다."

    rows = [
        {"id": f"r{i}", "question": f"{text(6)} {i}번", "answer": f"{text(25)} 전화는 010-1234-{i:04d}입니다."}
        for i in range(ROWS)
    ]
    rows += [{**row, "id": f"{row['id']}-again"} for row in rows[:20]]  # for dedup
    write_jsonl(folder / "rows.jsonl", rows)
    asked = [{"id": row["id"], "question": row["question"], "reference": row["answer"]} for row in rows[:PAIRS]]
    write_jsonl(folder / "a.jsonl", [{**row, "answer": row["reference"]} for row in asked])
    write_jsonl(folder / "b.jsonl", [{**row, "answer": text(20)} for row in asked])
    votes = [
        {
            "id": f"v{i}", "question": row["question"], "answer_a": row["reference"], "answer_b": text(10),
            "winner": dice.choice(("a", "b", "tie")), "models": {"a": "sft", "b": "base"}, "shown_first": "a",
            "time": "2026-01-01T00:00:00+00:00",
        }
        for i, row in enumerate(asked)
    ]  # fmt: skip
    write_jsonl(folder / "votes.jsonl", votes)
    tries = [
        {
            "row": f"t{i}", "who": f"학습자 {i % 9}", "id": dice.choice(("basics-1", "train-2", "dpo-q1")), "fault": "other",
            "solved": dice.random() < 0.5, "at": f"2026-01-01T00:{i % 60:02}:00+00:00",
        }
        for i in range(ROWS)
    ]  # fmt: skip
    write_jsonl(folder / "handed_in" / "results.jsonl", tries)
    listings = read_jsonl(DATA / "listings" / "listings_test.jsonl")[:PAIRS]
    write_jsonl(folder / "key.jsonl", listings)
    for team in range(5):
        predicted = [{"id": row["id"], "answer": dice.choice(listings)["output"]} for row in listings]
        write_jsonl(folder / "predicted" / f"team {team}.jsonl", predicted)
    return folder


def make_models(arguments: list[str]) -> None:
    """Write into a folder what the commands with a model read: a tiny one with a small vocabulary, an adapter, and texts."""
    folder = Path(arguments[0])
    from tests.support.serving import save_tiny_adapter
    from tests.support.tiny_families import make

    model, tokenizer = make("gemma 3")
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    save_tiny_adapter(model, folder / "adapter", str(folder / "model"), seed=1)
    write_jsonl(
        folder / "questions.jsonl", [{"id": f"q{i}", "question": f"전세가 무엇인가요? {i}번"} for i in range(QUESTIONS)]
    )
    write_jsonl(folder / "train.jsonl", [
        {"id": f"t{i}", "question": f"전세가 무엇인가요? {i}번", "answer": f"보증금을 맡깁니다. {i}번"} for i in range(4)
    ])  # fmt: skip


# --- what they wrote -------------------------------------------------------------------------

OF_THE_MOMENT = ("run.json", "merge.json")  # minutes and gibibytes, besides what is always the same


def contents(folder: Path) -> dict[str, str]:
    """Return what a folder holds, by name, in a form that is equal where two runs have done the same.

    Locks, empty files and empty folders are nothing. A temporary file is something: it ought to be gone.
    """
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".lock", ".claims", ".torn") and path.stat().st_size
    }


def _content(path: Path) -> str:
    if path.name == "journal.jsonl":  # the time and the seconds of a reply differ
        return str(sorted(row["text"] for row in _whole_lines(path)))
    if path.name == "answers.jsonl":  # in other batches an answer is rounded otherwise
        return str([row["id"] for row in _whole_lines(path)])
    if path.suffix == ".xlsx":
        from kotune.data.excel import read_sheet

        return str([row["id"] for _, row in read_sheet(path)])
    if path.name.endswith(OF_THE_MOMENT):
        return str(sorted(json.loads(path.read_text(encoding="utf-8"))))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _whole_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def without_temporary(found: dict[str, str]) -> dict[str, str]:
    """Leave out the temporary files that a command leaves behind which is killed while it writes them."""
    return {name: content for name, content in found.items() if not name.rpartition("/")[2].startswith(".")}


def faults_of(writer: Writer, found: dict[str, str], *expected: dict[str, str]) -> list[str]:
    """Return which files are neither whole nor such as grow or are kept; `expected`: what there may be, all in all."""
    return [
        f"{writer.name}: {name} is half-written, or something else"
        for name, content in found.items()
        if name not in writer.growing
        and not name.startswith(writer.kept or ("\0",))
        and content not in [one.get(name) for one in expected]
    ]


def torn_lines(writer: Writer, folder: Path) -> list[str]:
    """Return which of the files that grow end in the middle of a line."""
    paths = [folder / name for name in writer.growing if (folder / name).exists()]
    held = [(path.name, path.read_bytes()) for path in paths]
    return [
        f"{writer.name}: {name} ends in the middle of a line" for name, text in held if text and not text.endswith(b"\n")
    ]


def clear(folder: Path) -> Path:
    """Return a folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
