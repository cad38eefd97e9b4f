"""Two galleries: ranked lists the policy learned from, and test prompts before and after.

What is shown is a random draw, never a choice of the prettiest: the first in order of sample_id,
which is a hash, the tasks taking turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from perpo_core.perception.tasks import TASKS
from perpo_core.report.cards import Album, Card, build_change_card, build_list_card
from perpo_core.store.row_reader import RowReader
from schemas.base import TaskName

LIST_COLUMNS = ("sample_id", "task", "images", "prompt", "responses", "reward_gap", "target")
SAMPLE_COLUMNS = ("sample_id", "task", "images", "prompt", "target")
Position = tuple[str, str, int]  # task, sample_id, row in the file
Prediction = dict[str, Any]  # one row of schemas.arrow.PREDICTIONS


@dataclass(frozen=True)
class Changes:
    """Greedy answers of one task on the test split: how many differ, and in which direction."""

    task: TaskName
    num: int
    num_changed: int
    num_better: int
    num_worse: int


def choose_in_turns(rows: Sequence[Position], size: int) -> list[Position]:
    """`size` rows: the tasks take turns, each in order of sample_id; grouped by task."""
    queues = {task: sorted(row for row in rows if row[0] == task) for task in TASKS}
    taken = dict.fromkeys(TASKS, 0)
    while sum(taken.values()) < min(size, sum(map(len, queues.values()))):
        for task in TASKS:
            if taken[task] < len(queues[task]) and sum(taken.values()) < size:
                taken[task] += 1
    return [row for task in TASKS for row in queues[task][: taken[task]]]


def load_list_cards(parts: Sequence[Path], size: int, album: Album) -> list[Card]:
    """Ranked lists with their images, answers and rewards."""
    rows = RowReader(parts, LIST_COLUMNS)
    chosen = [position for _, _, position in choose_in_turns(_list_positions(rows), size)]
    return [build_list_card(row, album) for row in rows.read_many(chosen)]


def _list_positions(rows: RowReader) -> list[Position]:
    columns = zip(rows.iterate_column("task"), rows.iterate_column("sample_id"), strict=True)
    return [(task, sample_id, number) for number, (task, sample_id) in enumerate(columns)]


def load_greedy_pairs(predictions: Path) -> dict[str, tuple[Prediction, Prediction]]:
    """sample_id -> (base, trained) greedy answers on the test split."""
    table = pq.read_table(predictions, filters=[("split", "==", "test"), ("index", "==", -1)])
    answers: dict[str, dict[str, Prediction]] = {"base": {}, "trained": {}}
    for row in table.to_pylist():
        answers[row["policy"]][row["sample_id"]] = row
    base, trained = answers["base"], answers["trained"]
    return {key: (base[key], trained[key]) for key in sorted(base.keys() & trained.keys())}


def load_change_cards(
    pairs: dict[str, tuple[Prediction, Prediction]],
    parts: Sequence[Path],
    size: int,
    album: Album,
) -> list[Card]:
    """Test prompts whose greedy answer changed."""
    rows = RowReader(parts, SAMPLE_COLUMNS)
    changed = {name for name, pair in pairs.items() if _is_changed(*pair)}
    positions = [each for each in _list_positions(rows) if each[1] in changed]
    chosen = [position for _, _, position in choose_in_turns(positions, size)]
    return [
        build_change_card(row, *pairs[row["sample_id"]], album) for row in rows.read_many(chosen)
    ]


def count_changes(pairs: dict[str, tuple[Prediction, Prediction]]) -> list[Changes]:
    """By task: greedy answers that differ, and those of them that earn more or less."""
    counted = []
    for task in TASKS:
        mine = [pair for pair in pairs.values() if pair[0]["task"] == task]
        gains = [_compute_gain(*pair) for pair in mine if _is_changed(*pair)]
        if mine:
            better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
            counted.append(Changes(task, len(mine), len(gains), better, worse))
    return counted


def _is_changed(base: Prediction, trained: Prediction) -> bool:
    return bool(base["text"] != trained["text"])


def _compute_gain(base: Prediction, trained: Prediction) -> float:
    return float((trained["reward"] or 0.0) - (base["reward"] or 0.0))
