"""Lists as ONE sequence: of each list, image and prompt once, then every answer.

    [ prefix 0 | answer 0.0 | answer 0.1 | ... | prefix 1 | answer 1.0 | ... ]     one row, N tokens

Each answer sees its prefix and itself (perpo_core.stages.train.attention), and position ids restart
after the prefix (perpo_core.stages.train.families), so every answer sits where it would sit alone.
The result is exact: packed and separate sequences give the same log-probabilities and gradients,
for P + G*R tokens instead of G*(P + R), and the vision tower runs once a list. Lists of any sizes
follow each other without padding.

Axes: N packed tokens, M scored tokens of the whole batch, B lists, G answers, V branches of a list
whose degree is to be told (perpo_core.stages.train.versions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from perpo_core.vision.inputs import join_vision

# Of what processors return, a number a token of the prompt: it follows from the ids.
PER_TOKEN = ("mm_token_type_ids", "token_type_ids")
NO_DEGREE = -1


@dataclass(frozen=True)
class ListLengths:
    """Tokens of one list's segments."""

    prefix: int
    answers: tuple[int, ...]

    @property
    def total(self) -> int:
        return self.prefix + sum(self.answers)


Layout = tuple[ListLengths, ...]
"""The lists of a row, one after another."""


@dataclass(frozen=True)
class Branch:
    """What follows the shared prefix: `ids`, of which the first `num_unscored` carry no loss."""

    ids: Sequence[int]
    num_unscored: int = 0
    degree: int | None = None
    """How far it is degraded, to be told at its last token; None: that is not asked."""


@dataclass(frozen=True)
class PackableList:
    """One prompt with its answers as token ids; `vision` is what the processor made of images."""

    prefix_ids: Sequence[int]
    branches: Sequence[Branch]
    vision: dict[str, Tensor] = field(default_factory=dict)
    versions: Sequence[Branch] | None = None
    """Degraded answers, which are computed as the branches are and rank with none of them; None
    where no degree is told in this training, [] where this list has none."""

    @property
    def rows(self) -> Sequence[Branch]:
        """All that follows the prefix, in its order."""
        return [*self.branches, *self.versions] if self.versions else self.branches

    @property
    def lengths(self) -> ListLengths:
        return ListLengths(len(self.prefix_ids), tuple(len(branch.ids) for branch in self.rows))


@dataclass(frozen=True)
class PackedBatch:
    """B lists in one row of N tokens, and where its M scored tokens are predicted.

    `sources_M` indexes the [N] hidden states that predict `targets_M`; token m belongs to answer
    `owners_M[m]` of the flattened [B*G] answers, G the longest list of the batch. `lists` stay
    beside the row, on the CPU, for what a model family makes of a prefix.
    """

    lists: Sequence[PackableList]
    layout: Layout
    input_ids_N: Tensor
    vision: dict[str, Tensor]
    sources_M: Tensor
    targets_M: Tensor
    owners_M: Tensor
    mask_BG: Tensor
    pad_id: int
    ends_BV: Tensor | None = None
    """Where the last tokens of V branches of a list stand in the row whose degree is to be told; 0
    where there are fewer. None where no degree is told."""
    degrees_BV: Tensor | None = None
    """Their degrees; NO_DEGREE where there are fewer."""

    @property
    def states_at(self) -> Tensor:
        """Indices of the hidden states that are read: sources_M, and after them ends_BV, if any."""
        if self.ends_BV is None:
            return self.sources_M
        return torch.cat([self.sources_M, self.ends_BV.flatten()])

    def to(self, device: torch.device | str) -> PackedBatch:
        """The batch on a device; what is pinned travels while the host goes on."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PackedBatch:
        """The batch in memory that a GPU fetches by itself; torch's loader calls it."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> PackedBatch:
        tensors: dict[str, Any] = {
            name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        vision = {name: change(value) for name, value in self.vision.items()}
        return replace(self, vision=vision, **tensors)


def pack_lists(lists: Sequence[PackableList], pad_id: int) -> PackedBatch:
    """Pack B lists into one row; nothing is ever cut.

    Raises ValueError for an empty batch, an empty prefix or an answer without scored tokens.
    """
    if not lists:
        raise ValueError("cannot pack an empty batch of lists")
    for packable in lists:
        _check(packable)
    group_size = max(len(packable.branches) for packable in lists)
    sources, targets, owners = zip(*_find_scored(lists, group_size), strict=True)
    present = [[g < len(packable.branches) for g in range(group_size)] for packable in lists]
    ends_BV, degrees_BV = _find_ends(lists)
    return PackedBatch(
        lists=lists,
        layout=tuple(packable.lengths for packable in lists),
        input_ids_N=torch.tensor([token for packable in lists for token in _flatten(packable)]),
        vision=join_vision([_drop_per_token(packable.vision) for packable in lists]),
        sources_M=torch.tensor(sources),
        targets_M=torch.tensor(targets),
        owners_M=torch.tensor(owners),
        mask_BG=torch.tensor(present),
        pad_id=pad_id,
        ends_BV=ends_BV,
        degrees_BV=degrees_BV,
    )


def _check(packable: PackableList) -> None:
    if not packable.prefix_ids:
        raise ValueError("cannot pack a list whose prompt has no tokens")
    if not packable.branches:
        raise ValueError("cannot pack a list without answers")
    for number, branch in enumerate(packable.rows):
        if len(branch.ids) <= branch.num_unscored:
            raise ValueError(f"cannot pack answer {number}: it has no token to score")


def _flatten(packable: PackableList) -> Iterator[int]:
    yield from packable.prefix_ids
    for branch in packable.rows:
        yield from branch.ids


def _find_scored(lists: Sequence[PackableList], group_size: int) -> Iterator[tuple[int, int, int]]:
    """(source, target, owner) of every scored token, in order."""
    start = 0
    for row, packable in enumerate(lists):
        start += len(packable.prefix_ids)
        end_of_prefix = start - 1
        for number, branch in enumerate(packable.branches):
            for offset in range(branch.num_unscored, len(branch.ids)):
                source = start + offset - 1 if offset else end_of_prefix
                yield source, branch.ids[offset], row * group_size + number
            start += len(branch.ids)
        start += sum(len(version.ids) for version in packable.versions or ())


def _find_ends(lists: Sequence[PackableList]) -> tuple[Tensor | None, Tensor | None]:
    """(ends_BV, degrees_BV), or None of both where no list is asked for degrees."""
    if all(packable.versions is None for packable in lists):
        return None, None
    rows, start = [], 0
    for packable in lists:
        start += len(packable.prefix_ids)
        row = []
        for branch in packable.rows:
            start += len(branch.ids)
            if branch.degree is not None:
                row.append((start - 1, branch.degree))
        rows.append(row)
    width = max(len(row) for row in rows)
    table = [[*row, *[(0, NO_DEGREE)] * (width - len(row))] for row in rows]
    ends, degrees = ([[each[i] for each in row] for row in table] for i in (0, 1))
    return torch.tensor(ends, dtype=torch.long), torch.tensor(degrees, dtype=torch.long)


def _drop_per_token(vision: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in vision.items() if name not in PER_TOKEN}
