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
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface

BY_ROW = "kotune_by_row"  # what transformers knows this attention by
# Rows up to this length keep their attention weights for the backward pass, which is then a fourth of the work; longer ones,
# whose weights would be many, leave that to PyTorch.
LONGEST_KEPT = 512
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
    def longest(self) -> int:
        """Tokens of the longest row, those that it shares among them."""
        return max(length + shared for length, shared in zip(self.lengths, self.shared, strict=True))

    @cached_property
    def _made(self) -> dict[tuple, torch.Tensor]:
        return {}

    def window(self, length: int, width: int | None) -> torch.Tensor | None:
        """Return which tokens of a row each sees through a sliding window, (length, length), or None for all before it.

        This and `bias` are made once a batch, and not once a layer.
        """
        if width is None or length <= width:
            return None
        if (length, width) not in self._made:
            place = torch.arange(length)
            distance = place[:, None] - place
            self._made[length, width] = (distance >= 0) & (distance < width)
        return self._made[length, width]

    def bias(self, row: int, width: int | None, group: int) -> torch.Tensor:
        """Return what is added to a row's scores: 0 where a token sees another, else -inf.

        Shape: (own tokens x group, tokens), for the queries of a group in a token's place.
        """
        length, shared = self.lengths[row], self.shared[row]
        whole = length + shared
        width = None if width is None or whole <= width else width
        if (length, shared, width, group) not in self._made:
            seen = self.window(whole, width)
            seen = torch.ones(whole, whole, dtype=torch.bool).tril() if seen is None else seen
            bias = torch.zeros(length, whole).masked_fill_(~seen[shared:], float("-inf"))
            self._made[length, shared, width, group] = bias.repeat_interleave(group, dim=0)
        return self._made[length, shared, width, group]

    @cached_property
    def spans(self) -> list[slice]:
        """The places of each row's own tokens."""
        return [slice(start, start + length) for start, length in zip(self.starts, self.lengths, strict=True)]


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
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if not dropout and softcap is None and layout.longest <= LONGEST_KEPT:
        return _RowAttention.apply(query, key, value, layout, scaling, sliding_window), None
    # the key-value heads take the place of the batch, so that a group of queries reads one without a copy of it
    query = query[0].unflatten(0, (key.shape[1], -1))  # (key-value heads, group, tokens, head size)
    key, value = (states[0][:, None].expand(-1, query.shape[1], -1, -1) for states in (key, value))
    attended = []
    rows = zip(*(_rows(states, layout) for states in (query, key, value)), strict=True)
    for (queries, keys, values), length in zip(rows, layout.lengths, strict=True):
        mask = layout.window(queries.shape[2], sliding_window)
        if softcap is None:
            output = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scaling
            )
        else:
            output = _capped_attention(queries, keys, values, mask=mask, dropout=dropout, scaling=scaling, softcap=softcap)
        attended.append(output[:, :, -length:].permute(2, 0, 1, 3))  # (own tokens, key-value heads, group, head size)
    return torch.cat(attended).flatten(1, 2)[None], None


def _rows(states: torch.Tensor, layout: RowLayout) -> Iterator[torch.Tensor]:
    """Yield the states of each row, those that it shares in front: (..., length, size) of (..., tokens, size)."""
    pieces = states.split(layout.lengths, dim=-2)
    for row, (piece, shared) in enumerate(zip(pieces, layout.shared, strict=True)):
        yield torch.cat([pieces[row - 1][..., :shared, :], piece], -2) if shared else piece


def _capped_attention(query, key, value, *, mask, dropout, scaling, softcap) -> torch.Tensor:
    """Return the attention of a row whose scores a tanh keeps below `softcap`, as Gemma 2's: (..., length, head size)."""
    scores = torch.tanh(query @ key.transpose(-1, -2) * scaling / softcap) * softcap
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    scores = scores.masked_fill(~mask, float("-inf"))
    weights = F.dropout(scores.softmax(-1, dtype=torch.float32).to(query.dtype), dropout)
    return weights @ value


class _RowAttention(torch.autograd.Function):
    """Attention row by row as plain products, over the queries of a group at once, with the weights kept.

    On a CPU PyTorch's fused attention takes, on rows of some hundred tokens, twice the time of these products forward and
    backward together. Scores are taken in float32, as there.
    """

    @staticmethod
    def forward(ctx, query, key, value, *settings):
        layout, scaling, window = settings
        ctx.layout, ctx.scaling = layout, scaling
        output = torch.empty_like(query.transpose(1, 2))  # (1, tokens, heads, head size)
        heads, group = key.shape[1], query.shape[1] // key.shape[1]
        grouped, placed = _by_group(query, heads), _by_group(output.transpose(1, 2), heads)
        kept = []
        for row, (own, keys, values) in enumerate(
            zip(layout.spans, _rows(key[0], layout), _rows(value[0], layout), strict=True)
        ):
            queries = grouped[:, own].flatten(1, 2)  # (key-value heads, own tokens x group, head size)
            scores = wide(queries) @ wide(keys).transpose(1, 2)
            weights = scores.mul_(scaling).add_(layout.bias(row, window, group)).softmax(-1).to(query.dtype)
            placed[:, own] = (weights @ values).unflatten(1, (-1, group))
            kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        query, key, value, *kept = ctx.saved_tensors
        layout, heads, group = ctx.layout, key.shape[1], query.shape[1] // key.shape[1]
        query_grad = torch.empty_like(query)
        grouped, given, placed = (_by_group(states, heads) for states in (query, grad.transpose(1, 2), query_grad))
        key_grads, value_grads = [], []
        for own, keys, values, weights in zip(
            layout.spans, _rows(key[0], layout), _rows(value[0], layout), kept, strict=True
        ):
            queries, output_grad = (states[:, own].flatten(1, 2) for states in (grouped, given))
            # p = softmax(s): ds = p (dp - sum(p dp))
            scores_grad = wide(output_grad @ values.transpose(1, 2))
            scores_grad = scores_grad.sub_((scores_grad * weights).sum(-1, keepdim=True)).mul_(weights)
            scores_grad = scores_grad.mul_(ctx.scaling).to(query.dtype)
            placed[:, own] = (scores_grad @ keys).unflatten(1, (-1, group))
            key_grads.append(scores_grad.transpose(1, 2) @ queries)
            value_grads.append(weights.transpose(1, 2) @ output_grad)
        return query_grad, _whole(key_grads, layout), _whole(value_grads, layout), None, None, None


def _by_group(states: torch.Tensor, heads: int) -> torch.Tensor:
    """View the states of all heads by key-value head: (1, heads, tokens, size) as (key-value heads, tokens, group, size)."""
    return states[0].unflatten(0, (heads, -1)).transpose(1, 2)


def _whole(rows: list[torch.Tensor], layout: RowLayout) -> torch.Tensor:
    """Return the rows' gradients as one, (1, heads, tokens, size): what is shared belongs to the row before."""
    for row, shared in enumerate(layout.shared):
        if shared:
            rows[row - 1][:, :shared] += rows[row][:, :shared]
    return torch.cat([gradient[:, shared:] for gradient, shared in zip(rows, layout.shared, strict=True)], 1)[None]


def wide(states: torch.Tensor) -> torch.Tensor:
    """Return states in float32, or as they are where they are at least as precise."""
    return states.to(torch.promote_types(states.dtype, torch.float32))


AttentionInterface.register(BY_ROW, attend_by_row)
