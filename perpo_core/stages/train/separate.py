"""Answers as separate sequences: what a model gets whose family cannot share a prefix.

Every answer is a row of its own with prompt and image before it, padded on the right, as any
trainer would feed it. It costs G times the prefix; the log-probabilities are the same.

Axes: A answers of the batch, T tokens of the longest row, M scored tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from perpo_core.stages.train.packing import PER_TOKEN, Branch, PackableList, PackedBatch
from perpo_core.vision.inputs import join_vision


def compute_hidden_apart(model: Any, batch: PackedBatch) -> Tensor:
    """Hidden states that predict the scored tokens, in the batch's order: [M, width], and after
    them those at the ends: [M + B*V, width]."""
    device = batch.input_ids_N.device
    rows = [(packable, branch) for packable in batch.lists for branch in packable.rows]
    ids = [torch.tensor([*packable.prefix_ids, *branch.ids]) for packable, branch in rows]
    ids_AT = pad_sequence(ids, batch_first=True, padding_value=batch.pad_id)
    mask_AT = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
    per_token = {name for packable in batch.lists for name in packable.vision} & set(PER_TOKEN)
    vision = join_vision(
        [packable.vision | _widen(packable, per_token, ids_AT.shape[1]) for packable, _ in rows]
    )
    hidden_ATD = model.model(
        input_ids=ids_AT.to(device),
        attention_mask=mask_AT.to(device),
        use_cache=False,
        **{name: value.to(device) for name, value in vision.items()},
    ).last_hidden_state
    return torch.cat([*_pick_sources(hidden_ATD, batch), *_pick_ends(hidden_ATD, batch)])


def _pick_sources(hidden_ATD: Tensor, batch: PackedBatch) -> Iterator[Tensor]:
    """[its scored tokens, width] of every answer."""
    row = 0
    for packable in batch.lists:
        for number, branch in enumerate(packable.branches):
            yield hidden_ATD[row + number, _find_sources(packable, branch)]
        row += len(packable.rows)


def _pick_ends(hidden_ATD: Tensor, batch: PackedBatch) -> Iterator[Tensor]:
    """[V, width] of every list; the first state of all where it has fewer ends."""
    if batch.ends_BV is None:
        return
    row, num_ends = 0, batch.ends_BV.shape[1]
    for packable in batch.lists:
        ends = [
            (row + number, len(packable.prefix_ids) + len(branch.ids) - 1)
            for number, branch in enumerate(packable.rows)
            if branch.degree is not None
        ]
        ends += [(0, 0)] * (num_ends - len(ends))
        rows, columns = torch.tensor(ends, dtype=torch.long).view(num_ends, 2).unbind(1)
        yield hidden_ATD[rows, columns]
        row += len(packable.rows)


def _widen(packable: PackableList, names: set[str], num_columns: int) -> dict[str, Tensor]:
    """The tensors with a number a token, filled up with the zeros that stand for text: [1, T]."""
    num_prefix = len(packable.prefix_ids)
    text = torch.zeros(1, num_prefix, dtype=torch.int)
    return {
        name: pad(packable.vision.get(name, text), (0, num_columns - num_prefix)) for name in names
    }


def _find_sources(packable: PackableList, branch: Branch) -> slice:
    """Columns whose hidden states predict the scored tokens of a row."""
    start = len(packable.prefix_ids) - 1
    return slice(start + branch.num_unscored, start + len(branch.ids))
