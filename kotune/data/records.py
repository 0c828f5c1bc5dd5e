"""One canonical record out of every shape of row that the four systems and their peers use.

    supervised    {"id", "prompt": [messages], "completion": [message], "source", "task"?}
    preference    {"id", "prompt": [messages], "chosen": [message], "rejected": [message], "source", "kind"?}
    pre-training  {"text"}
    prompt alone  {"id", "prompt": [messages], "source"}    for inference
    comparison    {"id", "prompt": [messages], "first": [message], "second": [message], "source", "reference"?}

The page docs/formats.md shows every shape of row.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prompts import open_book_prompt
from utils import CourseError, normalized

# The medical trainer's names for the columns of a row, and its defaults (dataset_info.json, `columns`).
DEFAULT_COLUMNS = {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}
ROLES = {
    "system": "system", "developer": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
}  # fmt: skip
EXTRA_FIELDS = ("id", "source", "document_id", "task", "Task_name", "kind")
READ_SHAPES = (
    "question/answer, instruction/input/output (with history, or output as [better, worse]), input/output/Task_name, "
    "prompt/completion, prompt/chosen/rejected, messages, conversations, Conclusion/SystemPrompt, seed_word/answer, "
    "input1/completion1/input2/completion2, text"
)
# texts beside a question that a model must see to answer it
CONTEXTS = ("context", "contexts", "passage", "passages", "paragraph", "document", "documents")
# what belongs into a prompt, in whatever shape of row it stands
SHOWN = (*CONTEXTS, "instruction", "question", "prompt", "input", "system", "history", "SystemPrompt", "tools", "functions",
         "image", "images", "audio", "audios", "video", "videos")  # fmt: skip
# what says of a reply whether it is a good one, as KTO's rows do
VERDICTS = ("label", "kto_tag", "kto_label", "desirable", "accepted", "is_correct", "correct", "is_good")
OF_ANSWER_FILES = ("reference", "ended", "tokens", "model", "sources")
REPLIES = ("answer", "output", "completion", "chosen", "rejected", "Findings", "reference")
OPEN_SHAPES = "Conclusion (with SystemPrompt), question, prompt, instruction (with input), input, messages, or text"


@dataclass(frozen=True)
class Shape:
    """A shape of row: the fields that it uses, `EXTRA_FIELDS` aside."""

    name: str
    fields: tuple[str, ...]


_BESIDE = ("input", "history", "system", *CONTEXTS)  # what may stand beside the one text that is asked
SHAPES = {
    shape.name: shape
    for shape in (
        Shape("messages", ("messages", "system")),
        Shape("sharegpt", ("conversations", "system")),
        Shape("dpo", ("prompt", "chosen", "rejected", *_BESIDE)),
        Shape("completion", ("prompt", "completion", *_BESIDE)),
        Shape("ranked", ("instruction", "output", *_BESIDE)),
        Shape("alpaca", ("instruction", "output", *_BESIDE)),
        Shape("qa", ("question", "answer", *_BESIDE)),
        Shape("seed_word", ("seed_word", "answer")),
        Shape("task", ("input", "output", "Task_name", "history", "system", *CONTEXTS)),
        Shape("excel", ("No.", "Conclusion", "SystemPrompt", "Findings")),
        Shape("pairs", ("input1", "completion1", "input2", "completion2", "reference")),
        Shape("text", ("text",)),
    )
}
PAIR_FIELDS = "input1, completion1, input2 and completion2"
COMPARED = ("completion1", "completion2")  # two answers to one question, with no verdict on them
NAMES = {
    name.casefold(): name
    for name in (*(name for shape in SHAPES.values() for name in shape.fields), *EXTRA_FIELDS, *REPLIES, *OF_ANSWER_FILES)
}


def nfc(text: str) -> str:
    """Return a text in the Unicode form in which one Korean syllable is one character (macOS writes its letters)."""
    return normalized("NFC", text)


def same_text(one: str | None, other: str | None) -> bool:
    """Return whether two texts are the same but for white space and the Unicode form of Hangul (macOS writes NFD)."""
    if one is None or other is None:
        return one == other
    return one == other or " ".join(nfc(one).split()) == " ".join(nfc(other).split())


# letters that show nothing: fillers of Hangul, the empty Braille cell, the joiner of graphemes
_EMPTY_LETTERS = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: white space, invisible characters, or marks without a letter to stand on."""
    return all(
        letter.isspace() or letter in _EMPTY_LETTERS or unicodedata.category(letter) in ("Cc", "Cf", "Mn", "Me", "Zl", "Zp")
        for letter in text
    )


def known_names(row: Mapping) -> dict:
    """Return a row whose fields have the names that the shapes have: `Question` and ` question ` are question.

    A name is left as it is where the row has the other as well.
    """
    plain = {name: nfc(name).strip() for name in row if isinstance(name, str)}
    if all(name == bare and NAMES.get(bare.casefold(), bare) == bare for name, bare in plain.items()):
        return dict(row)
    named: dict = {}
    for name, value in row.items():
        bare = plain.get(name, name)
        target = NAMES.get(bare.casefold(), bare) if isinstance(bare, str) else name
        named[name if target in row or target in named else target] = value
    return named


def of_a_table(text: str, kind: type) -> str | bool | int | None:
    """Return what a cell of a CSV or of a workbook stands for, where all is text; the text itself where it is no other."""
    said = text.strip().lower()
    if not said:
        return None
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(said, text)
    whole = re.fullmatch(r"(\d{1,18})(?:\.0+)?", said)  # a longer one is a code, and no number
    return int(whole[1]) if kind is int and whole else text


@dataclass
class UnusedFields:
    """Fields of rows that a command does not use: how many rows have each, and the first place."""

    why: str
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, names: Iterable[str], place: str) -> None:
        """Count the unused fields of a row."""
        for name in names:
            self.counts[name] = self.counts.get(name, 0) + 1
            self.first.setdefault(name, place)

    def say(self) -> None:
        """Print one sentence on all of them, where there are any."""
        if self.counts:
            place = next(iter(self.first.values()))
            names = ", ".join(f"{name} ({count:,} row{'s' if count > 1 else ''})" for name, count in self.counts.items())
            print(f"{place}: fields that were not used: {names}; {self.why}.")


def shape_of(row: Mapping) -> Shape | None:
    """Return the shape of a row by its fields, or None where it has none of them."""
    has = {name for name, value in row.items() if name not in _BESIDE or not _is_empty(value)} | ({"input"} & row.keys())
    if {"prompt", "chosen", "rejected"} <= has:
        name = "dpo"
    elif has.issuperset(COMPARED):
        name = "pairs"
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
    elif {"input", "output"} <= has and not {"prompt", "question"} & has:
        name = "task"
    elif "Conclusion" in has:
        name = "excel"
    elif "text" in has:
        name = "text"
    else:
        return None
    return SHAPES[name]


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and is_blank(value)) or (isinstance(value, list | dict) and not value)


def unknown_fields(row: dict) -> list[str]:
    """Return the fields of a row that its shape does not use, those of its turns included; they would be lost."""
    shape = shape_of(known_names(row))
    if shape is None:
        return []
    return _fields_beside(row, (*shape.fields, *EXTRA_FIELDS))


def unused_when_answered(row: dict) -> list[str]:
    """Return the fields of a row that is to be answered which neither its prompt nor its reference is made of."""
    named = known_names(row)
    asked = _to_be_answered(named)
    shape, open_field = shape_of(asked), _open_field(asked)
    used = _used_when_open(open_field) if open_field else shape.fields if shape else (*asked,)
    used = tuple(name for name in used if name not in COMPARED)
    unused = _fields_beside(asked, (*used, *EXTRA_FIELDS))
    dropped = [name for name, value in named.items() if name not in asked and not _is_empty(value)]
    return [*dropped, *unused]


def _used_when_open(name: str) -> tuple[str, ...]:
    """Return the fields that the prompt and the reference of a row without a reply are made of."""
    return (name, "reference", "system", *(() if name in ("messages", "conversations") else _BESIDE))


def _fields_beside(row: dict, used: Sequence[str]) -> list[str]:
    row = known_names(row)
    unknown = [name for name in row if name not in used]
    for field_name in ("messages", "conversations"):
        turns = row.get(field_name)
        if field_name not in used or not isinstance(turns, list):
            continue
        beyond = {name for turn in turns if isinstance(turn, dict) for name in turn if name not in _OF_TURNS}
        unknown += [f"{field_name}[].{name}" for name in sorted(beyond, key=str)]
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
    wanted = {nfc(given): target for given, target in wanted.items()}
    for name, value in row.items():
        given = nfc(name)
        target = wanted.get(given, name)
        if target in unused and given not in wanted:
            continue
        if target in renamed:
            raise CourseError(
                f"The registered columns map {name!r} to {target!r}, which the row has as well; map that one to null, or "
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
    given, row = row, known_names(row)
    shape = shape_of(row)
    if shape is None:
        raise CourseError(
            f"{place} has the fields {', '.join(map(str, given)) or '(none)'}; the course reads {READ_SHAPES}."
        )
    _require_good_reply(row, shape, place)
    base = _base(row, place, default_id)
    task = _extra(row, "Task_name", place) or _extra(row, "task", place)
    extra = ({"task": task} if task else {}) | ({"kind": row["kind"]} if isinstance(row.get("kind"), str) else {})
    if row.get("kind") is not None and not isinstance(row["kind"], str):
        raise CourseError(f"{place}, field kind: expected a text, found {type(row['kind']).__name__}.")
    records = _MAKERS[shape.name](row, place, base, extra)
    _require_shown(row, shape.fields, records[0].get("prompt", ()), place)
    return records


def _require_good_reply(row: dict, shape: Shape, place: str) -> None:
    """Raise a CourseError for a row whose reply is said to be bad, or to be what a model answered."""
    if shape.name == "pairs":  # nothing is taught by them
        return
    for name, value in row.items():
        said = str(value).strip().lower()
        of_kto = shape.name in ("completion", "messages", "sharegpt") and said in (
            "0",
            "0.0",
            "-1",
            "undesirable",
            "rejected",
        )
        if str(name).lower() in VERDICTS and (said in ("false", "no") or of_kto):
            raise CourseError(
                f"{place}, field {name}: it is {value}, so the reply is a bad one and would be taught as a good one; leave "
                "the row out, or make a pair of chosen and rejected of it."
            )
    turns = row.get(shape.fields[0]) if shape.name in ("messages", "sharegpt") else None
    last = turns[-1] if isinstance(turns, list) and turns and isinstance(turns[-1], dict) else {}
    if last.get("weight") == 0 or last.get("train") is False:
        raise CourseError(f"{place}, field {shape.fields[0]}: the last turn is marked not to be learnt; leave the row out.")
    if shape.name not in ("qa", "alpaca", "task", "completion"):
        return
    reply, reference = row.get(shape.fields[1]), row.get("reference")
    if isinstance(reference, str) and not is_blank(reference) and reference != reply:
        raise CourseError(
            f"{place}, field reference: there is a reference beside the {shape.fields[1]}, as a model's answers have; keep "
            f"what is right as {shape.fields[1]}."
        )
    ended = row.get("ended")
    if ended is False or (isinstance(ended, str) and of_a_table(ended, bool) is False):
        raise CourseError(f"{place}, field ended: the {shape.fields[1]} was cut at a limit; leave the row out.")


def _require_shown(row: dict, used: Sequence[str], prompt: Sequence[dict], place: str) -> None:
    """Raise a CourseError for a field that belongs into the prompt and does not stand in it."""
    shown = "\n".join(turn["content"] for turn in prompt)
    for name in SHOWN:
        value = row.get(name)
        if name in used or _is_empty(value) or (isinstance(value, str) and value.strip() in shown):
            continue
        raise CourseError(
            f"{place}, field {name}: rows of {', '.join(used[:3])} have no place for it, and the model would not see it; "
            "write it into the prompt, or take it out."
        )


def to_answer(row: dict, place: str, default_id: str) -> list[dict]:
    """Return the records of a row that is to be answered, each with id, prompt, source, and `reference` where it has one.

    Rows may have any shape of `canonical`, and those of `OPEN_SHAPES`: their reply may be missing or empty.

    Raises:
        CourseError: the row has neither; or as `canonical`.
    """
    row = _to_be_answered(known_names(row))
    prompt = _open_prompt(row, place)
    if prompt is not None:
        _require_shown(row, _used_when_open(_open_field(row) or ""), prompt, place)
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
        reference = reply[0]["content"] if reply else record.get("reference")
        records.append({**asked, "reference": reference} if reference else asked)
    return records


def _to_be_answered(row: dict) -> dict:
    """Return a row without replies that are empty, or that are an old answer beside the reference or by a model."""
    row = {name: value for name, value in row.items() if name not in REPLIES or not _is_empty(value)}
    old = "reference" in row or any(row.get(name) not in (None, "") for name in ("ended", "tokens", "model"))
    if old and not {"chosen", "messages", "conversations", "seed_word", "Conclusion", *COMPARED} & row.keys():
        return {name: value for name, value in row.items() if name not in REPLIES or name == "reference"}
    return row


def _open_field(row: dict) -> str | None:
    """Return the field with the prompt of a row that has no reply, or None where it has one, or no prompt."""
    for name in ("messages", "conversations"):
        turns = row.get(name)
        last = turns[-1] if isinstance(turns, list) and turns and isinstance(turns[-1], dict) else {}
        if _role(last) == "user":
            return name
    if shape_of(row) not in (None, SHAPES["text"]):
        return None
    return next((name for name in ("instruction", "question", "prompt", "input", "text") if name in row), None)


def _open_prompt(row: dict, place: str) -> list[dict] | None:
    """Return the prompt of a row that has no reply, or None where it has one, or no prompt."""
    name = _open_field(row)
    if name is None:
        return None
    if name in ("messages", "conversations"):
        return _with_system(row, _prompt(row[name], place, name), place)
    return _asked(row, name, place)


def _base(row: dict, place: str, default_id: str) -> dict:
    identity = row.get("id")
    if isinstance(identity, float) and identity.is_integer():  # as pandas writes whole numbers beside a gap
        identity = int(identity)
    if identity is not None and (isinstance(identity, bool) or not isinstance(identity, str | int)):
        raise CourseError(f"{place}, field id: expected a text or a number.")
    return {
        "id": default_id if identity in (None, "") else nfc(str(identity)),
        "source": _extra(row, "document_id", place) or _extra(row, "source", place) or "",
    }


def _extra(row: dict, field: str, place: str) -> str | None:
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise CourseError(f"{place}, field {field}: expected a text, found {type(value).__name__}.")
    return value or None


# --- one maker a shape -----------------------------------------------------------------------


def _from_preference(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    prompt = _asked(row, "prompt", place)
    chosen, rejected = _reply(row["chosen"], place, "chosen"), _reply(row["rejected"], place, "rejected")
    return [{**base, "prompt": prompt, **_sides(chosen, rejected, place), **extra}]


def _sides(chosen: list[dict], rejected: list[dict], place: str) -> dict:
    if as_seen(chosen[0]["content"]) == as_seen(rejected[0]["content"]):
        alike = "" if chosen == rejected else " but for blanks at the ends or the Unicode form"
        raise CourseError(f"{place}: chosen and rejected are the same text{alike}; drop the pair or fix one side.")
    return {"chosen": chosen, "rejected": rejected}


def as_seen(text: str) -> str:
    """Return what is seen of a text: without blanks around it and invisible characters in it, in one Unicode form."""
    visible = "".join(letter for letter in nfc(text) if unicodedata.category(letter) != "Cf")
    return visible.strip().replace("\xa0", " ")


def _from_messages(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    turns = _with_system(row, _messages(row["messages"], "user", place, "messages"), place)
    return [{**base, **_split_turns(turns, place, "messages"), **extra}]


def _from_sharegpt(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    turns = _with_system(row, _messages(row["conversations"], "user", place, "conversations"), place)
    return [{**base, **_split_turns(turns, place, "conversations"), **extra}]


def _split_turns(turns: list[dict], place: str, field: str) -> dict:
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise CourseError(f"{place}, field {field}: the last turn must be the assistant's; add its reply.")
    return {"prompt": _prompt(turns[:-1], place, field), "completion": turns[-1:]}


def _from_completion(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    prompt = _asked(row, "prompt", place)
    return [{**base, "prompt": prompt, "completion": _reply(row["completion"], place, "completion"), **extra}]


def _from_alpaca(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    completion = _reply(row["output"], place, "output")
    return [{**base, "prompt": _asked(row, "instruction", place), "completion": completion, **extra}]


def _from_ranked(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    answers = row["output"]
    if len(answers) != 2:
        raise CourseError(f"{place}, field output: a ranked row has two answers, the better first; it has {len(answers)}.")
    sides = _sides(_reply(answers[0], place, "output, better"), _reply(answers[1], place, "output, worse"), place)
    return [{**base, "prompt": _asked(row, "instruction", place), **sides, **extra}]


def with_input(instruction: str, further: str | None) -> str:
    """Return what the user of an Alpaca row says: the instruction, and after a blank line what it is about.

    Training data, batches and the server put an instruction before a text by this alone.
    """
    return f"{instruction}\n\n{further}" if further and not is_blank(further) else instruction


def _asked(row: dict, name: str, place: str) -> list[dict]:
    """Return the prompt of a row whose field asks something: after its history, with its further input and its context."""
    value = row[name]
    if isinstance(value, list):
        prompt = _prompt(value, place, name)
        _require_shown(
            {one: given for one, given in row.items() if one in _BESIDE and one != "system"}, (name,), prompt, place
        )
        return _with_system(row, prompt, place)
    asked = _text(value, place, name)
    further = row.get("input") if name != "input" else None
    if further is not None and not isinstance(further, str):
        raise CourseError(f"{place}, field input: expected a text, found {type(further).__name__}.")
    asked = with_input(asked, further)
    passages = _passages(row, place)
    if passages:
        asked = "\n\n".join(open_book_prompt(asked, passages))
    return _with_system(row, [*_history(row, place), {"role": "user", "content": asked}], place)


def _history(row: dict, place: str) -> list[dict]:
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in history):
        raise CourseError(f"{place}, field history: expected a list of [user, assistant] pairs.")
    earlier = []
    for number, (user, assistant) in enumerate(history, start=1):
        earlier.append({"role": "user", "content": _text(user, place, f"history, pair {number}")})
        earlier.append({"role": "assistant", "content": _text(assistant, place, f"history, pair {number}")})
    return earlier


def _passages(row: dict, place: str) -> list[dict]:
    """Return what stands beside a question to answer it from, as the documents of an open-book prompt."""
    found = []
    for name in CONTEXTS:
        value = row.get(name)
        if _is_empty(value):
            continue
        for one in value if isinstance(value, list) else [value]:
            text, title = (one.get("text"), one.get("title")) if isinstance(one, dict) else (one, row.get("title"))
            if not isinstance(text, str) or is_blank(text):
                raise CourseError(
                    f"{place}, field {name}: expected a text, a list of texts, or of documents with title and text; write "
                    "it as one."
                )
            found.append({"title": title if isinstance(title, str) and title.strip() else "문서", "text": text})
    return found


def _from_qa(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    prompt = _asked(row, "question", place)
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
    prompt = _asked(row, "input", place)
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


def _from_pairs(row: dict, place: str, base: dict, extra: dict) -> list[dict]:
    """The real-estate course's evaluation file: the question stands before each of its two answers, which may be blank."""
    missing = next((name for name in ("input1", "input2") if name not in row), None)
    if missing:
        raise CourseError(f"{place}, field {missing}: missing; a row with two answers has {PAIR_FIELDS}.")
    asked, again = (_text(row[name], place, name) for name in ("input1", "input2"))
    if not same_text(asked, again):
        raise CourseError(
            f"{place}, field input2: it is another question than input1 ({again!r:.40}, not {asked!r:.40}), so the two "
            "answers cannot be compared; put answers to one question into a row."
        )
    sides = dict(zip(("first", "second"), (_compared(row, name, place) for name in COMPARED), strict=True))
    reference = _extra(row, "reference", place)
    known = {"reference": reference} if reference and not is_blank(reference) else {}
    return [{**base, "prompt": [{"role": "user", "content": asked}], **sides, **known, **extra}]


def _compared(row: dict, name: str, place: str) -> list[dict]:
    if not isinstance(row[name], str):
        raise CourseError(f"{place}, field {name}: expected a text, found {type(row[name]).__name__}; write it as text.")
    return [{"role": "assistant", "content": row[name]}]


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
    "pairs": _from_pairs,
    "text": _from_text,
}


# --- turns -----------------------------------------------------------------------------------


def _text(value: object, place: str, field: str) -> str:
    if not isinstance(value, str):
        raise CourseError(f"{place}, field {field}: expected a text, found {type(value).__name__}; write it as text.")
    if is_blank(value):
        raise CourseError(f"{place}, field {field}: the text is empty; fill it in or drop the row.")
    return value


def _with_system(row: dict, prompt: list[dict], place: str) -> list[dict]:
    system = row.get("system")
    if system is None or (isinstance(system, str) and is_blank(system)):
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


_OF_TURNS = ("role", "content", "from", "value")
_IN_WORDS = {"tool": "a tool", "function": "a tool", "observation": "a tool", "function_call": "a call of a tool"}


def _messages(value: object, role: str, place: str, field: str) -> list[dict]:
    """Return the turns of a text, or of a list of turns with role and content, or from and value."""
    if field == "conversations" and not (isinstance(value, list) and all(isinstance(turn, dict) for turn in value)):
        raise CourseError(f"{place}, field {field}: expected a list of turns, each with from and value.")
    if isinstance(value, str) and not is_blank(value):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        raise CourseError(
            f"{place}, field {field}: expected a text or a list of messages, none empty; fill it in or drop the row."
        )
    turns = [_turn(turn, f"{place}, field {field}: turn {number}") for number, turn in enumerate(value, start=1)]
    if len(turns) > 1 and turns[0]["role"] == "system" and is_blank(turns[0]["content"]):
        turns = turns[1:]  # it says nothing
    for number, turn in enumerate(turns, start=1 + len(value) - len(turns)):
        if is_blank(turn["content"]):
            raise CourseError(
                f"{place}, field {field}: turn {number} is empty, and none of the messages may be (none empty); fill it in "
                "or drop the row."
            )
    return turns


def _role(turn: Mapping) -> str | None:
    said = turn.get("role", turn.get("from"))
    return ROLES.get(said.strip().lower()) if isinstance(said, str) else None


def _turn(turn: dict, place: str) -> dict:
    """Return a turn with the role and the text that it has, in whichever of the two ways it is written."""
    role, said = _role(turn), turn.get("role", turn.get("from"))
    if role is None:
        what = f", {_IN_WORDS[said]}, which no model here is taught" if isinstance(said, str) and said in _IN_WORDS else ""
        raise CourseError(f"{place} is from {said!r}{what}; it may be from {', '.join(ROLES)}.")
    if turn.get("tool_calls") or turn.get("function_call"):
        raise CourseError(f"{place} calls a tool, which no model here is taught; leave the row out.")
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):
        content = _joined(content, place)
    if content is None and role == "system":
        content = ""
    if not isinstance(content, str):
        raise CourseError(f"{place} has no text but {_type_name(content)}; write its content as a text.")
    return {"role": role, "content": content}


def _joined(parts: list, place: str) -> str:
    """Return the text of parts, [{"type": "text", "text": ...}], as OpenAI's messages may have them."""
    texts = []
    for part in parts:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if isinstance(part, dict) and part.get("type", "text") not in ("text", "input_text", "output_text"):
            raise CourseError(f"{place} has a part of type {part['type']!r}, which no model here sees; leave the row out.")
        if not isinstance(text, str):
            raise CourseError(f"{place} has a part without a text; write its content as a text.")
        texts.append(text)
    return "".join(texts)


def _type_name(value: Any) -> str:
    return {type(None): "null", dict: "an object", bool: "true or false", list: "a list"}.get(type(value), "a number")


def data_hash(records: Sequence[dict]) -> str:
    """Return the SHA-256 of records: the same rows in the same order, whatever file they come from."""
    whole = json.dumps(list(records), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
