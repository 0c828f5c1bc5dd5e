"""Batches without padding: rows laid end to end as one, each with positions and attention of its own.

Every linear layer, every norm and the head then works on real tokens. A row may go on from the first tokens of the row
before it: the two answers of a preference pair stand behind one prompt, which is computed once (prefix sharing, Wang and
Hegde 2024, arXiv 2410.20305). Attention is the only part that knows of rows, and looks at them one by one, so that no mask
of all tokens by all tokens is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

BY_ROW = "kotune_by_row"  # what transformers knows this attention by
IGNORED = -100


@dataclass(frozen=True)
class RowLayout:
    """Where the rows of a batch lie: how many tokens each has, and how many of the row before it stand in front of them.

    A row that another goes on from stands alone: its own `shared` is 0.
    """

    lengths: tuple[int, ...]
    shared: tuple[int, ...]

    @classmethod
    def of(cls, row_lengths: torch.Tensor, shared_lengths: torch.Tensor) -> RowLayout:
        """Return the layout that two tensors of a batch describe: (rows,) each."""
        return cls(tuple(row_lengths.tolist()), tuple(shared_lengths.tolist()))

    @cached_property
    def starts(self) -> list[int]:
        """The place of each row's first token."""
        ends = torch.tensor(self.lengths).cumsum(0).tolist()
        return [0, *ends[:-1]]

    @cached_property
    def rows(self) -> torch.Tensor:
        """The row of each token: (tokens,)."""
        return torch.repeat_interleave(torch.arange(len(self.lengths)), torch.tensor(self.lengths))

    @cached_property
    def predecessors(self) -> torch.Tensor:
        """The place of the token before each, by which it is predicted: (tokens,); -1 before the first of a row alone."""
        before = torch.arange(sum(self.lengths)) - 1
        for row, (start, shared) in enumerate(zip(self.starts, self.shared, strict=True)):
            before[start] = self.starts[row - 1] + shared - 1 if shared else -1
        return before

    @cached_property
    def positions(self) -> torch.Tensor:
        """The position of each token in its row: (tokens,)."""
        spans = zip(self.lengths, self.shared, strict=True)
        return torch.cat([torch.arange(shared, shared + length) for length, shared in spans])

    @cached_property
    def _windows(self) -> dict[tuple[int, int], torch.Tensor]:
        return {}

    def window(self, length: int, width: int | None) -> torch.Tensor | None:
        """Return which earlier tokens of a row each sees through a sliding window, (length, length), or None for all.

        It is made once a batch, and not once a layer.
        """
        if width is None or length <= width:
            return None
        if (length, width) not in self._windows:
            place = torch.arange(length)
            distance = place[:, None] - place
            self._windows[length, width] = (distance >= 0) & (distance < width)
        return self._windows[length, width]


# --- batches ---------------------------------------------------------------------------------


def _laid_out(rows: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], shared: Sequence[int]) -> dict:
    """Return a batch: (1, tokens) of ids, labels and positions, and (rows,) of lengths.

    `row_lengths` comes first, because the trainer takes the number of rows from the first tensor.
    """
    layout = RowLayout(tuple(map(len, rows)), tuple(shared))
    flat_labels = torch.tensor([label for row in labels for label in row])
    flat_labels[layout.predecessors < 0] = IGNORED  # nothing stands before it that could predict it
    return {
        "row_lengths": torch.tensor(layout.lengths),
        "shared_lengths": torch.tensor(layout.shared),
        "input_ids": torch.tensor([token for row in rows for token in row])[None],
        "position_ids": layout.positions[None],
        "labels": flat_labels[None],
    }


class RowsEndToEnd:
    """Batches of supervised rows, or of packed ones (`seq_lengths`), without padding."""

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        ids: list[list[int]] = []
        labels: list[list[int]] = []
        for row in rows:
            start = 0
            for length in row.get("seq_lengths") or [len(row["input_ids"])]:
                ids.append(row["input_ids"][start : start + length])
                labels.append(row["labels"][start : start + length])
                start += length
        return _laid_out(ids, labels, [0] * len(ids))


class PairsEndToEnd:
    """Batches of preference pairs without padding: each prompt once, the chosen answer behind it, and the rejected one.

    The rows are chosen, rejected, chosen, rejected, and so on.
    """

    def __call__(self, pairs: list[dict]) -> dict[str, torch.Tensor]:
        ids: list[list[int]] = []
        labels: list[list[int]] = []
        shared: list[int] = []
        for pair in pairs:
            prompt, chosen, rejected = pair["prompt_ids"], pair["chosen_ids"], pair["rejected_ids"]
            ids += [prompt + chosen, rejected]
            labels += [[IGNORED] * len(prompt) + chosen, rejected]
            shared += [0, len(prompt)]
        return _laid_out(ids, labels, shared)


# --- attention -------------------------------------------------------------------------------


@contextmanager
def attention_by_row(config) -> Iterator[None]:
    """Let a decoder with this configuration read a layout, which its forward is given as `layout`.

    For its name transformers makes no mask, which this attention has no use for.
    """
    before = config._attn_implementation
    config._attn_implementation = BY_ROW
    try:
        yield
    finally:
        config._attn_implementation = before


def attend_by_row(
    module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    layout: RowLayout,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_,
) -> tuple[torch.Tensor, None]:
    """Return each token's attention to the tokens of its row up to itself: (1, tokens, heads, head size), and no weights.

    Shapes: query (1, heads, tokens, head size); key and value (1, key-value heads, tokens, head size).
    """
    # the key-value heads take the place of the batch, so that a group of queries reads one without a copy of it
    query = query[0].unflatten(0, (key.shape[1], -1))  # (key-value heads, group, tokens, head size)
    key, value = key[0][:, None], value[0][:, None]  # (key-value heads, 1, tokens, head size)
    attended: list[torch.Tensor] = []
    before: list[torch.Tensor] = []  # query, key and value of the row before
    pieces = (states.split(layout.lengths, dim=2) for states in (query, key, value))
    for *own, shared in zip(*pieces, layout.shared, strict=True):
        row = _behind(before, own, shared) if shared else own
        mask = layout.window(row[0].shape[2], sliding_window)
        if softcap is None:
            output = _attention(*row, mask=mask, dropout=dropout, scaling=scaling)
        else:
            output = _capped_attention(*row, mask=mask, dropout=dropout, scaling=scaling, softcap=softcap)
        attended.append(output[:, :, shared:].permute(2, 0, 1, 3))  # (tokens, key-value heads, group, head size)
        before = row
    return torch.cat(attended).flatten(1, 2)[None], None


def _behind(before: list[torch.Tensor], own: list[torch.Tensor], shared: int) -> list[torch.Tensor]:
    """Return query, key and value of a row, those of the tokens that it shares with the row before in front."""
    return [torch.cat([first[:, :, :shared], states], 2) for first, states in zip(before, own, strict=True)]


def _attention(query, key, value, *, mask, dropout, scaling) -> torch.Tensor:
    """Return the attention of one row: (key-value heads, group, length, head size)."""
    key, value = (states.expand(-1, query.shape[1], -1, -1) for states in (key, value))
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scaling
    )


def _capped_attention(query, key, value, *, mask, dropout, scaling, softcap) -> torch.Tensor:
    """Return the same with scores that a tanh keeps below `softcap`, as Gemma 2's are."""
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = torch.tanh(scores / softcap) * softcap
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    scores = scores.masked_fill(~mask, float("-inf"))
    weights = F.dropout(scores.softmax(-1, dtype=torch.float32).to(query.dtype), dropout)
    return weights @ value


AttentionInterface.register(BY_ROW, attend_by_row)
