"""What became of the samples, counted: kept in a part's file, so that a shared part is not read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.perception.tasks import TASKS
from perpo_core.stages.materialize.lists import ListOutcome
from schemas.base import TaskName

METADATA_KEY = b"perpo.tally"


@dataclass
class Tally:
    """Counts over some samples."""

    num_lists: dict[TaskName, int] = field(default_factory=dict)
    """Task -> samples that gave a list."""
    without: dict[TaskName, dict[str, int]] = field(default_factory=dict)
    """Task -> reason -> samples that gave none."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> answers that are in no list."""
    num_answers: int = 0
    """In lists."""

    def count(self, task: TaskName, outcome: ListOutcome) -> None:
        """One sample."""
        self.num_lists[task] = self.num_lists.get(task, 0) + (outcome.ranked is not None)
        reasons = {} if outcome.reason is None else {outcome.reason: 1}
        self.without[task] = add(self.without.get(task, {}), reasons)
        self.left_out = add(self.left_out, Counter(each.reason for each in outcome.dropped))
        self.num_answers += len(outcome.ranked.answers) if outcome.ranked else 0

    def count_refused(self, task: TaskName, reason: str) -> None:
        """One sample that nobody was asked about."""
        self.num_lists.setdefault(task, 0)
        self.without[task] = add(self.without.get(task, {}), {reason: 1})

    def add(self, other: Tally) -> None:
        self.num_lists = add(self.num_lists, other.num_lists)
        for task, reasons in other.without.items():
            self.without[task] = add(self.without.get(task, {}), reasons)
        self.left_out = add(self.left_out, other.left_out)
        self.num_answers += other.num_answers

    @property
    def tasks(self) -> list[TaskName]:
        """Those that there are samples of, in the registry's order."""
        return [task for task in TASKS if task in self.num_lists]

    @property
    def num_kept(self) -> int:
        return sum(self.num_lists.values())

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> samples without a list, of all tasks."""
        total: dict[str, int] = {}
        for reasons in self.without.values():
            total = add(total, reasons)
        return total


def add(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Both counts together, in order of their names."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}


def put_tally(table: pa.Table, tally: Tally) -> pa.Table:
    """A part's table that tells how it came about."""
    return table.replace_schema_metadata({METADATA_KEY: json.dumps(asdict(tally))})


def read_tallies(paths: Iterable[Path]) -> Tally:
    """Of several parts together; their rows stay on disk."""
    total = Tally()
    for path in paths:
        total.add(Tally(**json.loads((pq.read_schema(path).metadata or {})[METADATA_KEY])))
    return total
