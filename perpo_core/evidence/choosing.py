"""What chooses a method's setting and what ranks the methods.

The setting whose trial has most of a metric on the validation split is chosen; never the test
split, which judges what was chosen. Of equals the first in the order of the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from perpo_core.stages.evaluate import list_metrics
from schemas.artifact import EvalReport
from schemas.base import JUDGING_SPLIT, Split, TaskName
from schemas.compare_config import CompareConfig
from schemas.comparison import Settings, SweepPoint


@dataclass(frozen=True)
class Criterion:
    """A metric of a task."""

    task: TaskName
    metric: str

    @property
    def name(self) -> str:
        return f"{self.task}.{self.metric}"

    @property
    def is_lower_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER

    def read(self, evaluation: EvalReport) -> float:
        """The trained policy's, on the validation split."""
        return evaluation.validation[self.task][self.metric].trained


def find_tasks(per_split: Mapping[str, int], split: Split) -> list[TaskName]:
    """Those with prompts in a split, in the order of TASKS."""
    return [task for task in TASKS if per_split.get(f"{task}/{split}")]


def name_criteria(
    compare: CompareConfig, per_split: Mapping[str, int]
) -> tuple[Criterion, Criterion]:
    """What chooses, on validation where anything is swept, and what ranks, on test.

    `per_split`: "TASK/SPLIT" -> samples. Raises ValueError for what is not measured.
    """
    tasks = find_tasks(per_split, "test")
    if not tasks:
        raise ValueError("the source has no test prompts, which judge; give it some")
    judge_by = compare.judge_by or f"{tasks[0]}.{TASKS[tasks[0]].headline}"
    judges = _find(judge_by, "judge_by", tasks, "test")
    if not any([compare.sweep, *(method.sweep for method in compare.methods.values())]):
        return _find(compare.choose_by or judge_by, "choose_by", tasks, "test"), judges
    tried_on = find_tasks(per_split, JUDGING_SPLIT)
    return _find(compare.choose_by or judge_by, "choose_by", tried_on, JUDGING_SPLIT), judges


def choose(points: Sequence[SweepPoint], by: Criterion, method: str) -> list[SweepPoint]:
    """The points, the best one marked; raises ValueError where every one failed."""
    sign = -1.0 if by.is_lower_better else 1.0
    worth = [None if point.value is None else sign * point.value for point in points]
    measured = [value for value in worth if value is not None]
    if not measured:
        raise ValueError(
            f"every setting of {method} failed, the last with: {points[-1].error}; `perpo runs` "
            "has what each said"
        )
    best = worth.index(max(measured))
    return [
        point.model_copy(update={"is_chosen": number == best})
        for number, point in enumerate(points)
    ]


def get_chosen(sweep: Sequence[SweepPoint]) -> Settings:
    """The settings that were chosen; {} where there was nothing to choose."""
    return next((point.settings for point in sweep if point.is_chosen), {})


def _find(name: str, key: str, tasks: Sequence[TaskName], split: Split) -> Criterion:
    task, _, metric = name.partition(".")
    if task not in tasks:
        known = ", ".join(tasks) or "none at all"
        raise ValueError(
            f"compare.{key} = {name} wants {split} prompts of {task}, and the source has them of "
            f"{known}; give it some, or name another task"
        )
    if metric not in list_metrics(task):
        known = ", ".join(list_metrics(task))
        raise ValueError(f"compare.{key} = {name}: {task} has {known}; name one of these")
    return Criterion(task, metric)
