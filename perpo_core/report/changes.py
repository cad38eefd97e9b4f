"""Greedy answers on the test split, before and after: which differ, and in which direction.

Answers may be long and many: they are read a row group at a time and compared by their hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from perpo_core.perception.tasks import TASKS
from perpo_core.store.row_reader import RowReader
from schemas.base import TaskName

COLUMNS = ("sample_id", "task", "split", "policy", "index", "text", "reward", "error")
Prediction = dict[str, Any]  # a row of schemas.arrow.PREDICTIONS, of these columns


@dataclass(frozen=True)
class Greedy:
    """One policy's greedy answer to a sample."""

    number: int
    """Of its row among the predictions."""
    task: TaskName
    text_hash: bytes
    reward: float


@dataclass(frozen=True)
class Pair:
    """Both policies' greedy answers to a sample."""

    base: Greedy
    trained: Greedy

    @property
    def is_changed(self) -> bool:
        return self.base.text_hash != self.trained.text_hash

    @property
    def gain(self) -> float:
        """In reward, of the trained policy over the base."""
        return self.trained.reward - self.base.reward


@dataclass(frozen=True)
class Changes:
    """Of one task: how many answers differ, and how many of them earn more or less."""

    task: TaskName
    num: int
    num_changed: int
    num_better: int
    num_worse: int


def load_greedy_pairs(predictions: Path) -> dict[str, Pair]:
    """sample_id -> its pair, for the samples of the test split, ascending."""
    answers: dict[str, dict[str, Greedy]] = {"base": {}, "trained": {}}
    for start, group in RowReader([predictions], COLUMNS).iterate_groups():
        is_wanted = pc.and_(pc.equal(group["split"], "test"), pc.equal(group["index"], -1))
        numbers = pc.indices_nonzero(is_wanted).to_pylist()
        for number, row in zip(numbers, group.filter(is_wanted).to_pylist(), strict=True):
            text_hash = sha256(row["text"].encode()).digest()
            answers[row["policy"]][row["sample_id"]] = Greedy(
                start + number, row["task"], text_hash, row["reward"] or 0.0
            )
    base, trained = answers["base"], answers["trained"]
    return {key: Pair(base[key], trained[key]) for key in sorted(base.keys() & trained.keys())}


def read_pairs(predictions: Path, pairs: Sequence[Pair]) -> list[tuple[Prediction, Prediction]]:
    """The rows of some pairs, (base, trained)."""
    numbers = [each.number for pair in pairs for each in (pair.base, pair.trained)]
    rows = iter(RowReader([predictions], COLUMNS, kept_groups=1).read_many(numbers))
    return list(zip(rows, rows, strict=True))


def count_changes(pairs: dict[str, Pair]) -> list[Changes]:
    """By task, for the tasks there are."""
    counted = []
    for task in TASKS:
        mine = [pair for pair in pairs.values() if pair.base.task == task]
        gains = [pair.gain for pair in mine if pair.is_changed]
        if mine:
            better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
            counted.append(Changes(task, len(mine), len(gains), better, worse))
    return counted
