"""What is counted over the parts of a scoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from perpo_core.perception.judging import NOT_JUDGED
from schemas.base import TaskName

UNREADABLE = "unreadable answer"


@dataclass(frozen=True)
class Tally:
    """Of some rows of scores."""

    num_rows: int = 0
    num_without: int = 0
    """Rows without a reward."""
    num_unreadable: int = 0
    num_not_judged: int = 0
    """Rows whose reward failed."""
    first_failure: str = ""
    rewards: Mapping[TaskName, tuple[float, int]] = field(default_factory=dict)
    """Task -> sum and number of rewards."""

    def __add__(self, later: Tally) -> Tally:
        rewards = dict(self.rewards)
        for task, (added, num_added) in later.rewards.items():
            total, num = rewards.get(task, (0.0, 0))
            rewards[task] = total + added, num + num_added
        return Tally(
            self.num_rows + later.num_rows,
            self.num_without + later.num_without,
            self.num_unreadable + later.num_unreadable,
            self.num_not_judged + later.num_not_judged,
            self.first_failure or later.first_failure,
            rewards,
        )

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


def count_scores(scores: pa.Table) -> Tally:
    """Of a part's rows, by their columns task, reward and error."""
    errors = scores["error"].drop_null()
    failed = errors.filter(pc.starts_with(errors, NOT_JUDGED))
    # One thread: sums of threads differ in their last bit from run to run.
    by_task = scores.group_by("task", use_threads=False)
    sums = by_task.aggregate([("reward", "sum"), ("reward", "count")]).to_pylist()
    return Tally(
        scores.num_rows,
        scores["reward"].null_count,
        len(errors) - len(failed),
        len(failed),
        failed[0].as_py() if len(failed) else "",
        {row["task"]: (row["reward_sum"] or 0.0, row["reward_count"]) for row in sums},
    )
