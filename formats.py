"""Data sets by name or path, in every shape the course knows, as one canonical record.

    supervised  {"id", "prompt": [messages], "completion": [message], "source"}
    preference  {"id", "prompt": [messages], "chosen": [message], "rejected": [message], "source"}

Cost of import: the standard library only. `data/dataset_info.json` registers what the course ships.
"""

from __future__ import annotations

from pathlib import Path

from utils import DATA, OUTPUTS, CourseError, read_json, read_jsonl, relative

REGISTRY = DATA / "dataset_info.json"
SUPERVISED_COLUMNS = (  # (prompt, further input or None, response)
    ("question", None, "answer"),
    ("instruction", "input", "output"),
    ("input", None, "output"),
)


def registry() -> dict[str, dict]:
    """Return every registered data set: name -> {file_name, stage, description, licence, source}."""
    return read_json(REGISTRY)


def locate(name_or_path: str | Path) -> Path:
    """Return the file of a registered name or of a path.

    Raises:
        CourseError: neither a registered name nor an existing file.
    """
    known = registry()
    if str(name_or_path) in known:
        return DATA / known[str(name_or_path)]["file_name"]
    path = Path(name_or_path)
    if not path.is_file():
        raise CourseError(
            f"{name_or_path} is neither a file nor a registered data set; registered are {', '.join(known)}."
        )
    return path


def course_data(part: str) -> Path:
    """Return the file of the course's `train` or `validation` pairs: the learner's own, else the shipped one."""
    own = OUTPUTS / "data" / f"{part}.jsonl"
    return own if own.exists() else locate(f"real_estate_{part}")


def load_rows(name_or_path: str | Path) -> list[dict]:
    """Return the rows of a JSONL data set as they stand in the file."""
    return read_jsonl(locate(name_or_path))


def load(name_or_path: str | Path) -> list[dict]:
    """Return the canonical records of a JSONL data set, supervised or preference.

    Reads `question/answer`, `instruction/input/output`, `input/output`, `prompt/chosen/rejected` (texts or
    messages), `prompt/completion` and `messages`.

    Raises:
        CourseError: a row has none of these shapes, an empty text, or an id that another row has.
    """
    path = locate(name_or_path)
    records, first_seen = [], {}
    for number, row in enumerate(read_jsonl(path), start=1):
        place = f"{relative(path)}, row {number}"
        record = canonical(row, place, default_id=f"{path.stem}-{number:05d}")
        if record["id"] in first_seen:
            raise CourseError(
                f"{place}: the id {record['id']!r} was used by row {first_seen[record['id']]}; give each row its own."
            )
        first_seen[record["id"]] = number
        records.append(record)
    return records


def canonical(row: dict, place: str, default_id: str) -> dict:
    """Return one row as a canonical record; `place` (file and row) opens the message of any CourseError."""
    identity = row.get("id")
    base = {
        "id": default_id if identity is None else str(identity),
        "source": row.get("document_id") or row.get("source") or "",
    }
    if "chosen" in row and "rejected" in row and "prompt" in row:
        record = {
            "prompt": _prompt(row["prompt"], place, "prompt"),
            "chosen": _reply(row["chosen"], place, "chosen"),
            "rejected": _reply(row["rejected"], place, "rejected"),
        }
        if record["chosen"] == record["rejected"]:
            raise CourseError(f"{place}: chosen and rejected are the same text; drop the pair or mend one side.")
        return {**base, **record, **({"kind": row["kind"]} if "kind" in row else {})}
    if "messages" in row:
        turns = _messages(row["messages"], "user", place, "messages")
        if len(turns) < 2 or turns[-1]["role"] != "assistant":
            raise CourseError(f"{place}, field messages: the last turn must be the assistant's; add its reply.")
        return {**base, "prompt": _prompt(turns[:-1], place, "messages"), "completion": turns[-1:]}
    if "prompt" in row and "completion" in row:
        return {
            **base,
            "prompt": _prompt(row["prompt"], place, "prompt"),
            "completion": _reply(row["completion"], place, "completion"),
        }
    for prompt_field, input_field, response_field in SUPERVISED_COLUMNS:
        if prompt_field in row and response_field in row:
            prompt = _prompt(row[prompt_field], place, prompt_field)
            further = row.get(input_field) if input_field else None
            if further:
                prompt[0]["content"] += f"\n\n{further}"
            if row.get("system"):
                prompt = [*_messages(row["system"], "system", place, "system"), *prompt]
            return {**base, "prompt": prompt, "completion": _reply(row[response_field], place, response_field)}
    raise CourseError(
        f"{place} has the fields {', '.join(row) or '(none)'}; the course reads question/answer, "
        "instruction/input/output, prompt/completion, messages or prompt/chosen/rejected."
    )


def _prompt(value, place: str, field: str) -> list[dict]:
    """Return a prompt's turns: an optional system text, then user and assistant in turn, the user last."""
    turns = _messages(value, "user", place, field)
    spoken = [turn["role"] for turn in turns if turn is not turns[0] or turn["role"] != "system"]
    expected = ["user" if i % 2 == 0 else "assistant" for i in range(len(spoken))]
    if not spoken or spoken != expected or spoken[-1] != "user":
        raise CourseError(
            f"{place}, field {field}: the roles are {', '.join(t['role'] for t in turns)}; a prompt is an optional "
            "system text, then user and assistant in turn, the user last."
        )
    return turns


def _reply(value, place: str, field: str) -> list[dict]:
    """Return a reply: one turn of the assistant."""
    turns = _messages(value, "assistant", place, field)
    if [turn["role"] for turn in turns] != ["assistant"]:
        raise CourseError(f"{place}, field {field}: expected one assistant turn; leave the prompt's turns out of it.")
    return turns


def _messages(value, role: str, place: str, field: str) -> list[dict]:
    if isinstance(value, str) and value.strip():
        return [{"role": role, "content": value}]
    if isinstance(value, list) and value and all(
        isinstance(m, dict)
        and m.get("role") in ("system", "user", "assistant")
        and isinstance(m.get("content"), str)
        and m["content"].strip()
        for m in value
    ):
        return [{"role": m["role"], "content": m["content"]} for m in value]
    raise CourseError(
        f"{place}, field {field}: expected a text or a list of messages, none empty; fill it in or drop the row."
    )


def from_question(row: dict) -> list[dict]:
    """Return the prompt of a question row, as the training records hold it."""
    return [{"role": "user", "content": row["question"]}]
