"""A list as ONE sequence: image and prompt once, then every answer.

Each answer sees the prefix and itself:

    [ prefix | answer 0 | answer 1 | ... | padding ]        one row of N tokens a list

Position ids restart after the prefix, so every answer sits where it would sit alone; the mask lets
a token see the prefix and the earlier tokens of its own answer. The result is exact: packed and
separate sequences give the same log-probabilities and gradients (tests/perpo_core/test_packing.py),
for P + G*R tokens instead of G*(P + R), and the vision tower runs once a list.

Axes: B lists of a batch, N packed tokens, M scored tokens of the whole batch, G answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

PREFIX, PADDING = 0, -1  # segment numbers; answer g is segment g + 1


@dataclass(frozen=True)
class Branch:
    """What follows the shared prefix: `ids`, of which the first `num_unscored` carry no loss."""

    ids: Sequence[int]
    num_unscored: int = 0


@dataclass(frozen=True)
class PackableList:
    """One prompt with its answers as token ids; `vision` is what the processor made of images."""

    prefix_ids: Sequence[int]
    branches: Sequence[Branch]
    vision: dict[str, Tensor] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        return len(self.prefix_ids) + sum(len(branch.ids) for branch in self.branches)


@dataclass(frozen=True)
class PackedBatch:
    """Model inputs of B packed lists, and where the M scored tokens are predicted.

    `sources_M` indexes the flattened [B*N] hidden states that predict `targets_M`; token m belongs
    to answer `owners_M[m]` of the flattened [B*G] answers, G the longest list of the batch.
    """

    input_ids_BN: Tensor
    position_ids_BN: Tensor
    attention_mask_B1NN: Tensor
    vision: dict[str, Tensor]
    sources_M: Tensor
    targets_M: Tensor
    owners_M: Tensor
    mask_BG: Tensor

    def to(self, device: torch.device | str) -> PackedBatch:
        """The batch on a device."""
        tensors = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        vision = {name: value.to(device) for name, value in self.vision.items()}
        return replace(self, vision=vision, **tensors)


def pack_lists(lists: Sequence[PackableList], pad_id: int) -> PackedBatch:
    """Pack B lists into B rows, padded on the right to the longest; nothing is ever cut.

    Raises ValueError for an empty batch, an empty prefix or an answer without scored tokens.
    """
    if not lists:
        raise ValueError("cannot pack an empty batch of lists")
    num_rows, num_columns = len(lists), max(packable.num_tokens for packable in lists)
    group_size = max(len(packable.branches) for packable in lists)
    ids = torch.full((num_rows, num_columns), pad_id)
    positions = torch.zeros(num_rows, num_columns, dtype=torch.long)
    segments = torch.full((num_rows, num_columns), PADDING)
    mask_BG = torch.zeros(num_rows, group_size, dtype=torch.bool)
    sources: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for row, packable in enumerate(lists):
        _check(packable)
        length, prefix_length = packable.num_tokens, len(packable.prefix_ids)
        row_ids, row_positions = list(packable.prefix_ids), list(range(prefix_length))
        row_segments = [PREFIX] * prefix_length
        for number, branch in enumerate(packable.branches):
            start = len(row_ids)
            for offset in range(branch.num_unscored, len(branch.ids)):
                predicted_at = start + offset - 1 if offset else prefix_length - 1
                sources.append(row * num_columns + predicted_at)
                targets.append(branch.ids[offset])
                owners.append(row * group_size + number)
            row_ids += branch.ids
            row_positions += range(prefix_length, prefix_length + len(branch.ids))
            row_segments += [number + 1] * len(branch.ids)
            mask_BG[row, number] = True
        ids[row, :length] = torch.tensor(row_ids)
        positions[row, :length] = torch.tensor(row_positions)
        segments[row, :length] = torch.tensor(row_segments)
    return PackedBatch(
        input_ids_BN=ids,
        position_ids_BN=positions,
        attention_mask_B1NN=build_packed_mask(segments),
        vision=_join_vision([packable.vision for packable in lists]),
        sources_M=torch.tensor(sources),
        targets_M=torch.tensor(targets),
        owners_M=torch.tensor(owners),
        mask_BG=mask_BG,
    )


def build_packed_mask(segments_BN: Tensor) -> Tensor:
    """[B, 1, N, N] bool, True where query n may see key m: prefix or own answer, never later.

    Padding sees itself, since a row without a single visible key makes softmax undefined.
    """
    num_columns = segments_BN.shape[1]
    causal = torch.ones(num_columns, num_columns, dtype=torch.bool).tril()
    keys, queries = segments_BN[:, None, :], segments_BN[:, :, None]
    visible = (keys == PREFIX) | (keys == queries)
    return (causal & visible)[:, None]


def _check(packable: PackableList) -> None:
    if not packable.prefix_ids:
        raise ValueError("cannot pack a list whose prompt has no tokens")
    for number, branch in enumerate(packable.branches):
        if len(branch.ids) <= branch.num_unscored:
            raise ValueError(f"cannot pack answer {number}: it has no token to score")


def _join_vision(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
