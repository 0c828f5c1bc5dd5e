"""Protects: what is learnt, what is left out, and that packed rows do not see each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from kotune.models.chat_template import END_OF_TURN
from kotune.training import encoding
from kotune.training.losses import completion_logprobs
from kotune.training.trainers import PackedCollator
from utils import CourseError

DOCUMENTS = [
    {"text": text} for text in ("전세는 집을 빌리는 방식이다.", "월세는 다달이 차임을 낸다.", "등기는 권리를 적는다.")
]


def test_labels_are_the_answer_and_its_end(tokenizer, records):
    encoded = encoding.encode_supervised(records, tokenizer, 128)
    for row, record in zip(encoded.rows, records, strict=True):
        learnt = tokenizer.decode([label for label in row["labels"] if label != -100])
        assert learnt == record["completion"][0]["content"] + END_OF_TURN


def test_a_row_that_is_too_long_is_named_and_not_cut(tokenizer, records, capsys):
    records[1]["completion"] = [{"role": "assistant", "content": "아주 긴 답변입니다. " * 40}]
    encoded = encoding.encode_supervised(records, tokenizer, 64)
    assert encoded.too_long == ["r1"]
    assert len(encoded.rows) == 3
    encoded.report()
    assert "1 rows are longer than 64 tokens and are left out: r1" in capsys.readouterr().out
    with pytest.raises(CourseError, match="longer than 3 tokens"):
        encoding.encode_supervised(records, tokenizer, 3)


def test_every_token_of_a_document_is_learnt_and_its_end(tokenizer):
    for row, document in zip(encoding.encode_text(DOCUMENTS, tokenizer, 64).rows, DOCUMENTS, strict=True):
        assert row["input_ids"][0] == tokenizer.bos_token_id
        assert row["labels"][-1] == tokenizer.eos_token_id
        assert tokenizer.decode(row["labels"][1:-1]) == document["text"]
    long = [*DOCUMENTS, {"text": "아주 긴 글이다. " * 60}]
    assert encoding.encode_text(long, tokenizer, 64).too_long == ["document 4"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=30), st.integers(40, 90))
def test_packing_keeps_every_row_whole(lengths, width):
    rows = [
        {"input_ids": [number] * length, "labels": [-100, *[number] * (length - 1)]} for number, length in enumerate(lengths)
    ]
    packed = encoding.pack(rows, width).to_list()
    assert all(len(row["input_ids"]) <= width for row in packed)
    found = []
    for row in packed:
        start = 0
        for length in row["seq_lengths"]:
            found.append((row["input_ids"][start : start + length], row["labels"][start : start + length]))
            start += length
        assert start == len(row["input_ids"])
    assert sorted(found) == sorted((row["input_ids"], row["labels"]) for row in rows)


def test_packed_rows_do_not_leak(tiny_model, tokenizer, records):
    rows = encoding.encode_supervised(records, tokenizer, 128).rows
    rows += encoding.encode_text(DOCUMENTS, tokenizer, 128).rows
    with torch.no_grad():
        alone = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)(rows)
        apart = completion_logprobs(tiny_model, **alone).logprobs
        packed = encoding.pack(rows, 128).to_list()
        assert len(packed) < len(rows)
        batch = PackedCollator(tokenizer.pad_token_id)(packed)
        together = completion_logprobs(tiny_model, attention_mask=None, **batch).logprobs
        leaking = {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}  # what another collator would send
        leaked = completion_logprobs(tiny_model, **leaking).logprobs
    assert sorted(together.tolist()) == pytest.approx(sorted(apart.tolist()), abs=1e-4)
    assert sorted(leaked.tolist()) != pytest.approx(sorted(apart.tolist()), abs=1e-4)
