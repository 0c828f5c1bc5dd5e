"""The reply of the listings model as the chat page shows it: a table, or why it is none."""

from __future__ import annotations

import re

from kotune.korean.listings import FIELDS, UnreadableReply, Value, parse_record
from kotune.serving.page_texts import Texts
from prompts import ListingRecord

_MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")  # every ASCII sign: a backslash before it makes it plain text


def shown(reply: str, said: Texts) -> str:
    """Return a reply in Markdown: a record as a table with its JSON, another reply as it is with the reason."""
    found = parse_record(reply)
    if isinstance(found, ListingRecord):
        return f"{_table(found, said)}\n\n```json\n{reply.strip()}\n```"
    return f"{reply}\n\n*{_reason(found, said)}*"


def _table(record: ListingRecord, said: Texts) -> str:
    head = f"| {said.record_head[0]} | {said.record_head[1]} |\n|---|---|\n"
    return head + "\n".join(f"| {said.record_fields[name]} | {_cell(getattr(record, name), said)} |" for name in FIELDS)


def _cell(value: Value, said: Texts) -> str:
    if value is None:
        return said.record_nothing
    if isinstance(value, bool):
        return said.record_yes if value else said.record_no
    return _MARKDOWN.sub(r"\\\1", value) if isinstance(value, str) else f"{value:,}"


def _reason(found: UnreadableReply, said: Texts) -> str:
    if found.field is None:
        return said.no_record
    return said.wrong_field.format(field=said.record_fields[found.field])
