"""Records to token rows for the trainers: what is learnt is marked, what is too long is named, never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kotune.models.chat_template import Rendered, render, require_no_marks
from utils import CourseError


@dataclass(frozen=True)
class TokenRows:
    """Tokenised rows ready for a trainer, and the ids of those left out because they are too long."""

    rows: list[dict]
    too_long: list[str]
    max_length: int

    def report(self, what: str = "rows") -> None:
        """Print how many rows are left out, and which, if there are any."""
        if self.too_long:
            print(
                f"{len(self.too_long)} {what} are longer than {self.max_length} tokens and are left out: "
                f"{', '.join(self.too_long[:5])}{' ...' if len(self.too_long) > 5 else ''}"
            )


def _rendered(tokenizer, record: dict, reply: str | None) -> Rendered:
    """Render a record's prompt with one of its replies, or alone; what is wrong is said with its id."""
    try:
        return render(tokenizer, record["prompt"], record[reply] if reply else None)
    except CourseError as error:
        raise CourseError(f"Record {record.get('id', '(without id)')}: {error}") from None


def encode_supervised(records: Sequence[dict], tokenizer, max_length: int) -> TokenRows:
    """Render SFT records to {"input_ids", "labels"}; labels are -100 outside the completion.

    A row over `max_length` is left out and named: cutting it would take the end token away.
    """
    rows, too_long = [], []
    for record in records:
        ids, mask = _rendered(tokenizer, record, "completion")
        if len(ids) > max_length:
            too_long.append(record["id"])
            continue
        labels = [token if counted else -100 for token, counted in zip(ids, mask, strict=True)]
        rows.append({"input_ids": ids, "labels": labels})
    return _require_rows(rows, too_long, max_length)


def encode_preference(records: Sequence[dict], tokenizer, max_length: int) -> TokenRows:
    """Render preference records to {"prompt_ids", "chosen_ids", "rejected_ids"}; over-long pairs are named."""
    rows, too_long = [], []
    for record in records:
        prompt_ids = _rendered(tokenizer, record, None).ids
        chosen = _rendered(tokenizer, record, "chosen").ids
        rejected = _rendered(tokenizer, record, "rejected").ids
        if max(len(chosen), len(rejected)) > max_length:
            too_long.append(record["id"])
            continue
        start = len(prompt_ids)
        rows.append({"prompt_ids": prompt_ids, "chosen_ids": chosen[start:], "rejected_ids": rejected[start:]})
    return _require_rows(rows, too_long, max_length)


def encode_text(records: Sequence[dict], tokenizer, max_length: int) -> TokenRows:
    """Tokenise pre-training documents to {"input_ids", "labels"}: every token is learnt, and the end of the document.

    Each document is a row of its own: no token sees another document's.
    """
    rows, too_long = [], []
    for number, record in enumerate(records, start=1):
        require_no_marks(tokenizer, record["text"], f"Document {number}")
        ids = tokenizer(record["text"], add_special_tokens=False)["input_ids"]
        ids = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        if len(ids) > max_length:
            too_long.append(f"document {number}")
        else:
            rows.append({"input_ids": ids, "labels": [-100, *ids[1:]]})
    return _require_rows(rows, too_long, max_length)


def _require_rows(rows: list[dict], too_long: list[str], max_length: int) -> TokenRows:
    if not rows:
        raise CourseError(f"All {len(too_long)} rows are longer than {max_length} tokens; raise max_length or shorten them.")
    return TokenRows(rows, too_long, max_length)


def pack(rows: Sequence[dict], max_length: int):
    """Return a data set of rows of up to `max_length` tokens, each made of whole rows, best fit first.

    `seq_lengths` holds where one ends; with `trainers.PackedCollator` none of them sees another.
    """
    from datasets import Dataset
    from trl import pack_dataset

    return pack_dataset(Dataset.from_list(list(rows)), max_length, "bfd")
