"""What is counted over the parts of a scoring."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from perpo_core.perception.judging import NOT_JUDGED
from schemas.base import TaskName

UNREADABLE = "unreadable answer"


@dataclass
class Tally:
    """Of all parts so far."""

    num_rows: int = 0
    num_without: int = 0
    """Rows without a reward."""
    num_unreadable: int = 0
    num_not_judged: int = 0
    """Rows whose reward failed."""
    first_failure: str = ""
    rewards: dict[TaskName, tuple[float, int]] = field(default_factory=dict)
    """Task -> sum and number of rewards."""

    def add(self, scores: pa.Table) -> None:
        self.num_rows += scores.num_rows
        self.num_without += scores["reward"].null_count
        errors = scores["error"].drop_null()
        failed = errors.filter(pc.starts_with(errors, NOT_JUDGED))
        if len(failed):
            self.first_failure = self.first_failure or failed[0].as_py()
        self.num_not_judged += len(failed)
        self.num_unreadable += len(errors) - len(failed)
        sums = scores.group_by("task").aggregate([("reward", "sum"), ("reward", "count")])
        for row in sums.to_pylist():
            total, num = self.rewards.get(row["task"], (0.0, 0))
            added = row["reward_sum"] or 0.0
            self.rewards[row["task"]] = total + added, num + row["reward_count"]

    @property
    def dropped(self) -> dict[str, int]:
        """Rows without a reward, by reason."""
        found = {
            UNREADABLE: self.num_without - self.num_not_judged,
            NOT_JUDGED: self.num_not_judged,
        }
        return {reason: num for reason, num in found.items() if num}

    def describe_not_judged(self) -> str:
        if not self.num_not_judged:
            return ""
        return f", {self.num_not_judged} {NOT_JUDGED} (the first: {self.first_failure})"

    def compute_mean_reward(self) -> dict[TaskName, float]:
        """Task -> mean over the answers that have a reward; a task without any is left out."""
        return {task: total / num for task, (total, num) in sorted(self.rewards.items()) if num}
