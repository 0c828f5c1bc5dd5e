"""One canonical record out of every shape of row that the four systems and their peers use.

    supervised    {"id", "prompt": [messages], "completion": [message], "source", "task"?}
    preference    {"id", "prompt": [messages], "chosen": [message], "rejected": [message], "source", "kind"?}
    pre-training  {"text"}
    prompt alone  {"id", "prompt": [messages], "source"}    for inference

The page docs/formats.md shows every shape of row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from utils import CourseError

# The medical trainer's names for the columns of a row, and its defaults (dataset_info.json, `columns`).
DEFAULT_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}
SHAREGPT_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
}  # fmt: skip
EXTRA_FIELDS = ("id", "source", "document_id", "task", "Task_name", "kind")
READ_SHAPES = (
    "question/answer, instruction/input/output (with history, or output as [better, worse]), input/output/Task_name, "
    "prompt/completion, prompt/chosen/rejected, messages, conversations, Conclusion/SystemPrompt, seed_word/answer, text"
)
REPLIES = ("answer", "output", "completion", "chosen", "rejected", "Findings", "reference")
OPEN_SHAPES = "Conclusion (with SystemPrompt), question, prompt, instruction (with input), input, messages, or text"


@dataclass(frozen=True)
class Shape:
    """A shape of row: the fields that it uses, `EXTRA_FIELDS` aside."""

    name: str
    fields: tuple[str, ...]


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("messages", ("messages", "system")),
        Shape("sharegpt", ("conversations", "system")),
        Shape("dpo", ("prompt", "chosen", "rejected", "system")),
        Shape("completion", ("prompt", "completion", "system")),
        Shape("ranked", ("instruction", "input", "output", "history", "system")),
        Shape("alpaca", ("instruction", "input", "output", "history", "system")),
        Shape("qa", ("question", "answer", "system")),
        Shape("seed_word", ("seed_word", "answer")),
        Shape("task", ("input", "output", "Task_name", "system")),
        Shape("excel", ("No.", "Conclusion", "SystemPrompt", "Findings")),
        Shape("text", ("text",)),
    )
}


def shape_of(row: Mapping) -> Shape | None:
    """Return the shape of a row by its fields, or None where it has none of them."""
    has = row.keys()
    if {"prompt", "chosen", "rejected"} <= has:
        name = "dpo"
    elif "messages" in has:
        name = "messages"
    elif "conversations" in has:
        name = "sharegpt"
    elif {"prompt", "completion"} <= has:
        name = "completion"
    elif {"instruction", "output"} <= has:
        name = "ranked" if isinstance(row["output"], list) else "alpaca"
    elif {"seed_word", "answer"} <= has:
        name = "seed_word"
    elif {"question", "answer"} <= has:
        name = "qa"
    elif {"input", "output"} <= has:
        name = "task"
    elif "Conclusion" in has:
        name = "excel"
    elif "text" in has:
        name = "text"
    else:
        return None
    return SHAPES[name]


def unknown_fields(row: dict) -> list[str]:
    """Return the fields of a row that its shape does not use, those of its turns included; they would be lost."""
    shape = shape_of(row)
    if shape is None:
        return []
    unknown = [name for name in row if name not in shape.fields and name not in EXTRA_FIELDS]
    for field, used in (("messages", {"role", "content"}), ("conversations", {"from", "value"})):
        turns = row.get(field)
        if shape.fields[0] != field or not isinstance(turns, list):
            continue
        beyond = {name for turn in turns if isinstance(turn, dict) for name in turn if name not in used}
        unknown += [f"{field}[].{name}" for name in sorted(beyond, key=str)]
    return unknown


def rename(row: dict, columns: Mapping[str, str | None]) -> dict:
    """Return a row with the columns that a registration maps under the names that the shapes have.

    A column that is mapped to null is not used, even where the row has one of that name.

    Raises:
        CourseError: a column is mapped onto a name that another column of the row has.
    """
    names = ("prompt", "chosen", "rejected") if {"chosen", "rejected"} & set(columns) else DEFAULT_COLUMNS
    wanted = {
        given: DEFAULT_COLUMNS[name] if names is DEFAULT_COLUMNS else name
        for name, given in columns.items()
        if given and name in names
    }
    unused = {DEFAULT_COLUMNS[name] for name, given in columns.items() if given is None and name in DEFAULT_COLUMNS}
    renamed: dict = {}
    for field, value in row.items():
        target = wanted.get(field, field)
        if target in unused and field not in wanted:
            continue
        if target in renamed:
            raise CourseError(
                f"The registered columns map {field!r} to {target!r}, which the row has as well; map that one to null, or "
                "to a name of its own."
            )
        renamed[target] = value
    return renamed


def canonical(row: dict, place: str, default_id: str) -> list[dict]:
    """Return a row's canonical records; all shapes give one, but a seed word gives one for each of its questions.

    `place` (file and line) opens the message of any CourseError.

    Raises:
        CourseError: the row has no shape that is known, or a field is empty, of a wrong type, or out of order.
    """
    shape = shape_of(row)
    if shape is None:
        raise CourseError(f"{place} has the fields {', '.join(map(str, row)) or '(none)'}; the course reads {READ_SHAPES}.")
    base = _base(row, place, default_id)
    task = _extra(row, "Task_name", place) or _extra(row, "task", place)
    extra = ({"task": task} if task else {}) | ({"kind": row["kind"]} if isinstance(row.get("kind"), str) else {})
    if row.get("kind") is not None and not isinstance(row["kind"], str):
        raise CourseError(f"{place}, field kind: expected a text, found {type(row['kind']).__name__}.")
    return _MAKERS[shape.name](row, place, base, extra)


def to_answer(row: dict, place: str, default_id: str) -> list[dict]:
    """Return the records of a row that is to be answered, each with id, prompt, source, and `reference` where it has one.

    Rows may have any shape of `canonical`, and those of `OPEN_SHAPES`: their reply may be missing or empty.

    Raises:
        CourseError: the row has neither; or as `canonical`.
    """
    row = {name: value for name, value in row.items() if name not in REPLIES or value not in (None, "", [])}
    prompt = _open_prompt(row, place)
    if prompt is not None:
        reference = _extra(row, "reference", place)
        return [{**_base(row, place, default_id), "prompt": prompt, **({"reference": reference} if reference else {})}]
    if shape_of(row) is None:
        raise CourseError(
            f"{place} has the fields {', '.join(map(str, row)) or '(none)'}; to be answered a row needs {OPEN_SHAPES}, or a "
            "shape with a reply."
        )
    records = []
    for record in canonical(row, place, default_id):
        asked = {name: record[name] for name in ("id", "source", "prompt")}
        reply = record.get("completion") or record.get("chosen")
        records.append({**asked, "reference": reply[0]["content"]} if reply else asked)
    return records


def _open_prompt(row: dict, place: str) -> list[dict] | None:
    """Return the prompt of a row that has no reply, or None where it has one, or no prompt."""
    turns = row.get("messages") or row.get("conversations")
    last = turns[-1] if isinstance(turns, list) and turns and isinstance(turns[-1], dict) else {}
    if last.get("role") == "user" and "messages" in row:
        return _with_system(row, _prompt(row["messages"], place, "messages"), place)
    if SHAREGPT_ROLES.get(last.get("from", "")) == "user":
        return _with_system(row, _prompt(_sharegpt_messages(row, place), place, "conversations"), place)
    if shape_of(row) not in (None, SHAPES["text"]):
        return None
    if "instruction" in row:
        return _alpaca_prompt(row, place)
    field = next((name for name in ("question", "prompt", "input", "text") if name in row), None)
    return None if field is None else _with_system(row, _prompt(row[field], place, field), place)


def _base(row: dict, place: str, default_id: str) -> dict:
    identity = row.get("id")
    if identity is not None and (isinstance(identity, bool) or not isinstance(identity, str | int)):
        raise CourseError(f"{place}, field id: expected a text or a number.")
    return {
        "id": default_id if identity in (None, "") else str(identity),
        "source": _extra(row, "document_id", place) or _extra(row, "source", place) or "",
    }


def _extra(row: dict, field: str, place: str) -> str | None:
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise CourseError(f"{place}, field {field}: expected a text, found {type(value).__name__}.")
    return value or None


# --- one maker a shape -----------------------------------------------------------------------


def _from_preference(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    prompt = _with_system(row, _prompt(row["prompt"], place, "prompt"), place)
    chosen, rejected = _reply(row["chosen"], place, "chosen"), _reply(row["rejected"], place, "rejected")
    return [{**base, "prompt": prompt, **_sides(chosen, rejected, place), **extra}]


def _sides(chosen: list[dict], rejected: list[dict], place: str) -> dict:
    if chosen == rejected:
        raise CourseError(f"{place}: chosen and rejected are the same text; drop the pair or fix one side.")
    return {"chosen": chosen, "rejected": rejected}


def _from_messages(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    turns = _with_system(row, _messages(row["messages"], "user", place, "messages"), place)
    return [{**base, **_split_turns(turns, place, "messages"), **extra}]


def _from_sharegpt(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    turns = _with_system(row, _sharegpt_messages(row, place), place)
    return [{**base, **_split_turns(turns, place, "conversations"), **extra}]


def _sharegpt_messages(row: dict, place: str) -> list[dict]:
    turns = row["conversations"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise CourseError(f"{place}, field conversations: expected a list of turns, each with from and value.")
    for number, turn in enumerate(turns, start=1):
        if turn.get("from") not in SHAREGPT_ROLES:
            raise CourseError(
                f"{place}, field conversations: turn {number} is from {turn.get('from')!r}; it may be from "
                f"{', '.join(SHAREGPT_ROLES)}."
            )
    messages = [{"role": SHAREGPT_ROLES[turn["from"]], "content": turn.get("value")} for turn in turns]
    return _messages(messages, "user", place, "conversations")


def _split_turns(turns: list[dict], place: str, field: str) -> dict:
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise CourseError(f"{place}, field {field}: the last turn must be the assistant's; add its reply.")
    return {"prompt": _prompt(turns[:-1], place, field), "completion": turns[-1:]}


def _from_completion(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    prompt = _with_system(row, _prompt(row["prompt"], place, "prompt"), place)
    return [{**base, "prompt": prompt, "completion": _reply(row["completion"], place, "completion"), **extra}]


def _from_alpaca(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    completion = _reply(row["output"], place, "output")
    return [{**base, "prompt": _alpaca_prompt(row, place), "completion": completion, **extra}]


def _from_ranked(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    answers = row["output"]
    if len(answers) != 2:
        raise CourseError(f"{place}, field output: a ranked row has two answers, the better first; it has {len(answers)}.")
    sides = _sides(_reply(answers[0], place, "output, better"), _reply(answers[1], place, "output, worse"), place)
    return [{**base, "prompt": _alpaca_prompt(row, place), **sides, **extra}]


def _alpaca_prompt(row: dict, place: str) -> list[dict]:
    asked = _text(row["instruction"], place, "instruction")
    further = row.get("input")
    if further is not None and not isinstance(further, str):
        raise CourseError(f"{place}, field input: expected a text, found {type(further).__name__}.")
    if further and further.strip():
        asked += f"\n\n{further}"
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in history):
        raise CourseError(f"{place}, field history: expected a list of [user, assistant] pairs.")
    earlier = []
    for number, (user, assistant) in enumerate(history, start=1):
        earlier.append({"role": "user", "content": _text(user, place, f"history, pair {number}")})
        earlier.append({"role": "assistant", "content": _text(assistant, place, f"history, pair {number}")})
    return _with_system(row, [*earlier, {"role": "user", "content": asked}], place)


def _from_qa(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    prompt = _with_system(row, _prompt(row["question"], place, "question"), place)
    return [{**base, "prompt": prompt, "completion": _reply(row["answer"], place, "answer"), **extra}]


def _from_seed_word(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    questions = row["answer"]
    if not isinstance(questions, list) or not questions:
        raise CourseError(f"{place}, field answer: beside a seed_word it is the list of its questions, at least one.")
    return [
        {
            **base,
            "id": f"{base['id']}-{number:02d}",
            "prompt": [{"role": "user", "content": _text(question, place, f"answer, question {number}")}],
            "source": base["source"] or _text(row["seed_word"], place, "seed_word"),
        }
        for number, question in enumerate(questions, start=1)
    ]


def _from_task(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    prompt = _with_system(row, _prompt(row["input"], place, "input"), place)
    return [{**base, "prompt": prompt, "completion": _reply(row["output"], place, "output"), **extra}]


def _from_excel(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    """The hospital workbook: the instruction in SystemPrompt goes before the conclusion, in the same user turn."""
    conclusion = _text(row["Conclusion"], place, "Conclusion")
    instruction = row.get("SystemPrompt") or ""
    if not isinstance(instruction, str):
        raise CourseError(f"{place}, field SystemPrompt: expected a text, found {type(instruction).__name__}.")
    asked = f"{instruction}\n\n{conclusion}" if instruction.strip() else conclusion
    record = {**base, "prompt": [{"role": "user", "content": asked}]}
    if isinstance(row.get("No."), str | int) and str(row["No."]).strip():
        record["id"] = str(row["No."])
    findings = row.get("Findings")
    if isinstance(findings, str) and findings.strip():
        record["completion"] = [{"role": "assistant", "content": findings}]
    return [record | extra]


def _from_text(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    return [{"text": _text(row["text"], place, "text")}]


_MAKERS = {
    "dpo": _from_preference,
    "messages": _from_messages,
    "sharegpt": _from_sharegpt,
    "completion": _from_completion,
    "alpaca": _from_alpaca,
    "ranked": _from_ranked,
    "qa": _from_qa,
    "seed_word": _from_seed_word,
    "task": _from_task,
    "excel": _from_excel,
    "text": _from_text,
}


# --- turns -----------------------------------------------------------------------------------


def _text(value: object, place: str, field: str) -> str:
    if not isinstance(value, str):
        raise CourseError(f"{place}, field {field}: expected a text, found {type(value).__name__}; write it as text.")
    if not value.strip():
        raise CourseError(f"{place}, field {field}: the text is empty; fill it in or drop the row.")
    return value


def _with_system(row: dict, prompt: list[dict], place: str) -> list[dict]:
    system = row.get("system")
    if system is None or system == "":
        return prompt
    if prompt[0]["role"] == "system":
        raise CourseError(f"{place}, field system: the turns begin with a system text already; keep one of the two.")
    return [{"role": "system", "content": _text(system, place, "system")}, *prompt]


def _prompt(value: object, place: str, field: str) -> list[dict]:
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


def _reply(value: object, place: str, field: str) -> list[dict]:
    """Return a reply: one turn of the assistant."""
    turns = _messages(value, "assistant", place, field)
    if [turn["role"] for turn in turns] != ["assistant"]:
        raise CourseError(f"{place}, field {field}: expected one assistant turn; leave the prompt's turns out of it.")
    return turns


def _messages(value: object, role: str, place: str, field: str) -> list[dict]:
    if isinstance(value, str) and value.strip():
        return [{"role": role, "content": value}]
    if (
        isinstance(value, list)
        and value
        and all(
            isinstance(m, dict)
            and m.get("role") in ("system", "user", "assistant")
            and isinstance(m.get("content"), str)
            and m["content"].strip()
            for m in value
        )
    ):
        return [{"role": m["role"], "content": m["content"]} for m in value]
    raise CourseError(
        f"{place}, field {field}: expected a text or a list of messages, none empty; fill it in or drop the row."
    )


def data_hash(records: Sequence[dict]) -> str:
    """Return the SHA-256 of records: the same rows in the same order, whatever file they come from."""
    return hashlib.sha256(json.dumps(list(records), ensure_ascii=False, sort_keys=True).encode()).hexdigest()
