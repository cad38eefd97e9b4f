"""The lists of each optimiser step, shared out over the processes and cut into forward passes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from perpo_core.stages.train.budget import Count, split_by_tokens
from perpo_core.stages.train.data import RankedList, collate_lists
from perpo_core.stages.train.ranks import take_turns


class StepSampler(Sampler[list[int]]):
    """Of every optimiser step, the lists that are this process's, in an order drawn each epoch.

    The order does not depend on the number of processes; the last step of an epoch may be short,
    and then a process may have none.
    """

    def __init__(self, num_lists: int, batch_lists: int, seed: int) -> None:
        self._num_lists, self._batch_lists, self._seed = num_lists, batch_lists, seed
        self._epoch = 0

    @property
    def batch_sampler(self) -> StepSampler:
        """Where the Trainer looks for set_epoch once it has skipped the steps before a resume."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._num_lists / self._batch_lists)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        order = torch.randperm(self._num_lists, generator=generator).tolist()
        for start in range(0, self._num_lists, self._batch_lists):
            yield list(take_turns(order[start : start + self._batch_lists]))


def load_ahead(
    lists: Dataset[RankedList], numbers: Sequence[int], workers: int
) -> Iterator[RankedList]:
    """The lists of these numbers, in order, prepared by so many processes ahead of their use."""
    return iter(
        DataLoader(
            lists, batch_size=None, sampler=numbers, collate_fn=_keep, **describe_workers(workers)
        )
    )


def describe_workers(workers: int) -> dict[str, Any]:
    """A loader's arguments for so many processes: forked, so that they share what is open here."""
    return {"num_workers": workers, "multiprocessing_context": "fork" if workers else None}


def _keep(ranked: Any) -> Any:
    return ranked


class StepLoader(DataLoader[Any]):
    """One item an optimiser step."""

    def set_epoch(self, epoch: int) -> None:
        assert isinstance(self.batch_sampler, StepSampler)
        self.batch_sampler.set_epoch(epoch)


class Collator:
    """The lists of a step -> parts the Trainer can carry; list ids travel for error messages.

    A part is a forward pass: at most `max_lists` lists, and as many as `max_tokens` allow,
    counted as the model computes them. Lists of similar length share a part, since where answers
    cannot share their prompt all rows of a part are as long as its longest.
    """

    def __init__(self, pad_id: int, max_lists: int, max_tokens: int, count: Count) -> None:
        self._pad_id = pad_id
        self._max_lists, self._max_tokens, self._count = max_lists, max_tokens, count

    def __call__(self, lists: Sequence[RankedList]) -> dict[str, Any]:
        return {"parts": [self._collate(part) for part in self._split(lists)]}

    def _split(self, lists: Sequence[RankedList]) -> Iterator[list[RankedList]]:
        ordered = sorted(lists, key=lambda ranked: self._count([ranked.packable]))
        for start in range(0, len(lists), self._max_lists):
            members = ordered[start : start + self._max_lists]
            yield from split_by_tokens(members, self._max_tokens, self._count)

    def _collate(self, lists: Sequence[RankedList]) -> dict[str, Any]:
        batch = collate_lists(lists, self._pad_id)
        return {"batch": batch, "list_ids": [ranked.list_id for ranked in lists]}
