"""Canonical records back into every format: the four systems' own, messages, ShareGPT, CSV, Parquet and Excel.

What a format cannot hold is a named loss: it is returned, and the records that could not be written at all are kept in a
file beside the output.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from kotune.data.excel import UNWRITABLE, write_sheet
from kotune.line_file import in_turn
from utils import CourseError, atomic_path, json_line, relative, write_jsonl

NOT_HELD = "left out"


@dataclass(frozen=True)
class Loss:
    """What a format could not hold of a record: `what` says it, and begins with "left out" where nothing was written."""

    id: str
    what: str


class CannotHold(Exception):
    """A record does not fit into one row of a format."""


def stage_of(record: dict) -> str:
    """Return what a canonical record is for: sft, dpo, pt, judge or inference."""
    if "text" in record:
        return "pt"
    if "chosen" in record:
        return "dpo"
    if "first" in record:
        return "judge"
    return "sft" if "completion" in record else "inference"


# --- rows ------------------------------------------------------------------------------------


def _extras(record: dict) -> dict:
    named = {"source": record.get("source"), "Task_name": record.get("task"), "kind": record.get("kind")}
    return {field: value for field, value in named.items() if value}


def _turns(record: dict) -> tuple[str | None, list[list[str]], str]:
    """Return a prompt's system text, its earlier [user, assistant] pairs, and its last user text."""
    turns = [turn["content"] for turn in record["prompt"]]
    system = turns.pop(0) if record["prompt"][0]["role"] == "system" else None
    return system, [turns[i : i + 2] for i in range(0, len(turns) - 1, 2)], turns[-1]


def _single(record: dict) -> tuple[dict, str]:
    """Return the system text as a field, and the only user text.

    Raises:
        CannotHold: there are earlier turns.
    """
    system, history, asked = _turns(record)
    if history:
        raise CannotHold("earlier turns")
    return ({"system": system} if system else {}), asked


def _alpaca(record: dict, output: object) -> dict:
    system, history, asked = _turns(record)
    row = {"id": record["id"], "instruction": asked, "input": "", "output": output}
    return row | ({"history": history} if history else {}) | ({"system": system} if system else {}) | _extras(record)


def _sft(record: dict) -> dict:
    return _alpaca(record, record["completion"][0]["content"])


def _rw(record: dict) -> dict:
    return _alpaca(record, [record["chosen"][0]["content"], record["rejected"][0]["content"]])


def _dpo(record: dict) -> dict:
    one_text = len(record["prompt"]) == 1
    prompt = record["prompt"][0]["content"] if one_text else record["prompt"]
    sides = {side: record[side][0]["content"] if one_text else record[side] for side in ("chosen", "rejected")}
    return {"id": record["id"], "prompt": prompt, **sides, **_extras(record)}


def _messages(record: dict) -> dict:
    return {"id": record["id"], "messages": [*record["prompt"], *record["completion"]], **_extras(record)}


def _parquet(record: dict) -> dict:
    if any(_surrogates(turn["content"]) for turn in [*record["prompt"], *record["completion"]]):
        raise CannotHold("half of a surrogate pair")
    return _messages(record)


def _sharegpt(record: dict) -> dict:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    turns = [*record["prompt"], *record["completion"]]
    conversations = [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns]
    return {"id": record["id"], "conversations": conversations, **_extras(record)}


def _qa(record: dict) -> dict:
    system, asked = _single(record)
    answer = record["completion"][0]["content"]
    return {"id": record["id"], "question": asked, "answer": answer, **system, **_extras(record)}


def _task(record: dict) -> dict:
    system, asked = _single(record)
    named = {"Task_name": record.get("task") or ""}
    row = {"id": record["id"], "input": asked, "output": record["completion"][0]["content"], **system}
    return row | _extras(record) | named


def _text(record: dict) -> dict:
    _refuse_nul([record["text"]])
    text = record["text"].replace("\ufeff", "")  # at the start of a file it would be its byte order mark
    if not text.strip():
        raise CannotHold("text of invisible characters alone")
    return {"text": text}


def _csv(record: dict) -> dict:
    row = _qa(record)
    _refuse_nul(row.values())
    return row


def _refuse_nul(texts: Iterable[str]) -> None:
    if any("\x00" in text for text in texts):
        raise CannotHold("NUL characters, which make a text file look like UTF-16")


def _excel(record: dict) -> dict:
    system, asked = _single(record)
    findings = record["completion"][0]["content"] if "completion" in record else ""
    if any(text and not UNWRITABLE.sub("", text).strip() for text in (asked, findings)):
        raise CannotHold("text of control characters alone")
    return {"No.": record["id"], "Conclusion": asked, "SystemPrompt": system.get("system", ""), "Findings": findings}


def _seed_word(record: dict) -> dict:
    system, asked = _single(record)
    if system:
        raise CannotHold("system text")
    return {"seed_word": record.get("source") or "(none)", "answer": asked}


def _lost_in_seed_words(record: dict) -> Sequence[str]:
    return ["ids: they are made anew from the place in the file"]


@dataclass(frozen=True)
class Target:
    """A format: the stages it holds, its row, how a file of it is written, and what is lost of every such record."""

    suffixes: tuple[str, ...]
    stages: tuple[str, ...]
    row: Callable[[dict], dict]
    write: Callable[[Path, Iterable[dict]], Sequence[str]]
    losses: Callable[[dict], Sequence[str]] = lambda record: ()


# --- files -----------------------------------------------------------------------------------


def _write_jsonl(path: Path, rows: Iterable[dict]) -> Sequence[str]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(map(json_line, rows))
    return ()


def _write_seed_words(path: Path, rows: Iterable[dict]) -> Sequence[str]:
    groups = groupby(rows, key=lambda row: row["seed_word"])
    return _write_jsonl(path, ({"seed_word": word, "answer": [row["answer"] for row in group]} for word, group in groups))


def _write_json(path: Path, rows: Iterable[dict]) -> Sequence[str]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for number, row in enumerate(rows):
            file.write((",\n " if number else "\n ") + json_line(row).rstrip("\n"))
        file.write("\n]\n")
    return ()


def _write_text(path: Path, rows: Iterable[dict]) -> Sequence[str]:
    with path.open("w", encoding="utf-8", newline="\n", errors="replace") as file:
        file.writelines(" ".join(row["text"].replace("\r", "\n").split("\n")).strip() + "\n" for row in rows)
    return ()


def _write_csv(path: Path, rows: Iterable[dict]) -> Sequence[str]:
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    # with a byte order mark: without one Korean Excel reads the file as CP949, and shows rubbish
    with path.open("w", encoding="utf-8-sig", newline="", errors="replace") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    return ()


def _write_parquet(path: Path, rows: Iterable[dict]) -> Sequence[str]:
    import pyarrow
    import pyarrow.parquet

    rows = list(rows)
    columns = dict.fromkeys(column for row in rows for column in row)  # from_pylist takes those of the first row alone
    complete = [{column: row.get(column) for column in columns} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(complete), path)
    return ()


def _write_excel(path: Path, rows: Iterable[dict]) -> Sequence[str]:
    rows = list(rows)
    columns = ["No.", "Conclusion", "SystemPrompt", *(["Findings"] if any(row["Findings"] for row in rows) else [])]
    return [
        f"row {cell.row}, column {cell.column}: {cell.removed} control characters were removed"
        for cell in write_sheet(path, columns, rows, shown_name=path.name[1:].rsplit(".", 2)[0])
    ]


def _lost_in_text(record: dict) -> Sequence[str]:
    lines = record["text"].strip() != record["text"] or "\n" in record["text"] or "\r" in record["text"]
    lost = ["line breaks and outer spaces, for one line is one document"] if lines else []
    if "\ufeff" in record["text"] or _surrogates(record["text"]):
        lost.append("byte order marks, and halves of surrogate pairs")
    return lost


def _lost_in_csv(record: dict) -> Sequence[str]:
    texts = (turn["content"] for field in ("prompt", "completion") for turn in record.get(field, ()))
    return ("half of a surrogate pair",) if any(_surrogates(text) for text in texts) else ()


def _surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _lost_in_excel(record: dict) -> Sequence[str]:
    lost = [field for field in ("source", "task", "kind") if record.get(field)]
    if record["prompt"][0]["role"] == "system":
        lost.append("the system role: its text goes before the user's, as the hospital workbook has it")
    texts = [turn["content"] for turn in [*record["prompt"], *record.get("completion", ())]]
    if any("\r" in text for text in texts):
        lost.append("carriage returns")
    return lost


JSONL, JSON = (".jsonl", ".ndjson"), (".json",)
TARGETS = {
    "sft": Target(JSONL, ("sft",), _sft, _write_jsonl),
    "dpo": Target(JSONL, ("dpo",), _dpo, _write_jsonl),
    "rw": Target(JSON, ("dpo",), _rw, _write_json),
    "pt": Target((".txt",), ("pt",), _text, _write_text, _lost_in_text),
    "messages": Target(JSONL, ("sft",), _messages, _write_jsonl),
    "sharegpt": Target(JSON, ("sft",), _sharegpt, _write_json),
    "qa": Target(JSONL, ("sft",), _qa, _write_jsonl),
    "seed_word": Target(JSONL, ("inference",), _seed_word, _write_seed_words, _lost_in_seed_words),
    "task": Target(JSONL, ("sft",), _task, _write_jsonl),
    "csv": Target((".csv",), ("sft",), _csv, _write_csv, _lost_in_csv),
    "parquet": Target((".parquet",), ("sft",), _parquet, _write_parquet),
    "xlsx": Target((".xlsx",), ("sft", "inference"), _excel, _write_excel, _lost_in_excel),
}


def left_out_file(path: str | Path) -> Path:
    """Return the file beside an output that keeps the records which its format cannot hold."""
    return Path(path).with_name(f"{Path(path).name}.left_out.jsonl")


def write(records: Iterable[dict], path: str | Path, target: str) -> list[Loss]:
    """Write canonical records in a target's format; return what it could not hold.

    A record that does not fit into a row is left out, and kept in `<path>.left_out.jsonl` as it is.

    Raises:
        CourseError: the target is unknown, does not hold records of this stage, or has another suffix than the path;
            or the file cannot be written.
    """
    if target not in TARGETS:
        raise CourseError(f"There is no format {target!r} to write; choose one of {', '.join(TARGETS)}.")
    path, chosen = Path(path), TARGETS[target]
    if path.suffix.lower() not in chosen.suffixes:
        raise CourseError(f"{path.name} is to hold {target}; give it a name that ends in {' or '.join(chosen.suffixes)}.")
    losses: list[Loss] = []
    left_out: list[dict] = []

    def rows() -> Iterable[dict]:
        for number, record in enumerate(records, start=1):
            if stage_of(record) not in chosen.stages:
                holds = [name for name, other in TARGETS.items() if stage_of(record) in other.stages]
                instead = f"convert it to {' or '.join(holds)}" if holds else "no format to convert to does"
                raise CourseError(
                    f"Record {record.get('id', number)} is for {stage_of(record)}, which {target} does not hold; {instead}."
                )
            try:
                row = chosen.row(record)
            except CannotHold as error:
                losses.append(Loss(record.get("id", str(number)), f"{NOT_HELD}: {target} holds no {error}"))
                left_out.append(record)
                continue
            losses.extend(Loss(record.get("id", str(number)), what) for what in chosen.losses(record))
            yield row

    aside = left_out_file(path)
    with ExitStack() as turn:
        try:
            with atomic_path(path) as temporary:
                cleaned = chosen.write(temporary, rows())
                if left_out or aside.exists():  # two files; most outputs are one, and need no lock beside them
                    turn.enter_context(in_turn(path))
            if not left_out:
                aside.unlink(missing_ok=True)  # of an earlier run
        except OSError as error:
            raise CourseError(f"{relative(path)} cannot be written ({error.strerror}); name another file.") from None
        if left_out:
            write_jsonl(aside, left_out)
    if left_out:
        print(f"{len(left_out)} records do not fit into {target}; they are in {relative(aside)}.")
    return losses + [Loss("", what) for what in cleaned]
