"""What chooses a method's setting and what ranks the methods.

The setting whose trial has most of a metric on the validation split is chosen; never the test
split, which judges what was chosen. Of equals the first in the order of the sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from perpo_core.stages.evaluate import list_metrics
from schemas.artifact import EvalReport, SampleSet
from schemas.base import TaskName
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
        """The trained policy's, on the validation split; raises ValueError if it has none."""
        metrics = evaluation.validation.get(self.task)
        if metrics is None:
            raise ValueError(
                f"compare.choose_by = {self.name} wants validation prompts of {self.task}, and "
                "none was answered; give the source some, or choose by another task"
            )
        return metrics[self.metric].trained


def find_tasks(samples: SampleSet) -> list[TaskName]:
    """Those with test prompts, in the order of TASKS."""
    return [task for task in TASKS if samples.per_split.get(f"{task}/test")]


def name_criteria(compare: CompareConfig, tasks: Sequence[TaskName]) -> tuple[Criterion, Criterion]:
    """What chooses, and what ranks; raises ValueError for what is not measured."""
    if not tasks:
        raise ValueError("the source has no test prompts, which judge; give it some")
    first = tasks[0]
    judges = compare.judge_by or f"{first}.{TASKS[first].headline}"
    chooses = compare.choose_by or judges
    return _find(chooses, "choose_by", tasks), _find(judges, "judge_by", tasks)


def choose(points: Sequence[SweepPoint], by: Criterion, method: str) -> list[SweepPoint]:
    """The points, the best one marked; raises ValueError where every one failed."""
    sign = -1.0 if by.is_lower_better else 1.0
    worth = [None if point.value is None else sign * point.value for point in points]
    measured = [value for value in worth if value is not None]
    if not measured:
        raise ValueError(f"every setting of {method} failed; the last: {points[-1].error}")
    best = worth.index(max(measured))
    return [
        point.model_copy(update={"is_chosen": number == best})
        for number, point in enumerate(points)
    ]


def get_chosen(sweep: Sequence[SweepPoint]) -> Settings:
    """The settings that were chosen; {} where there was nothing to choose."""
    return next((point.settings for point in sweep if point.is_chosen), {})


def _find(name: str, key: str, tasks: Sequence[TaskName]) -> Criterion:
    task, _, metric = name.partition(".")
    if task not in tasks:
        known = ", ".join(tasks)
        raise ValueError(
            f"compare.{key} = {name}: the source has no test prompts of {task}, but of {known}; "
            "name one of these"
        )
    if metric not in list_metrics(task):
        known = ", ".join(list_metrics(task))
        raise ValueError(f"compare.{key} = {name}: {task} has {known}; name one of these")
    return Criterion(task, metric)
