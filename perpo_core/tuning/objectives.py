"""What is wanted of a trial, and what it has of it.

    TASK.METRIC       the trained policy's, on the prompts of `tune.split`
    TASK.retention    of what the start policy could do, the share that is kept (retention.py)
    retention         the mean of that over the tasks

Never the test split: it decides nothing (docs/gates.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpo_core.perception.tasks import TASKS
from perpo_core.report.summary import is_lower_better, label_metric
from perpo_core.stages.evaluate import list_metrics
from perpo_core.store.store import Store
from perpo_core.tuning.fronts import Values
from perpo_core.tuning.retention import compute_retention
from schemas.artifact import Checkpoint, EvalReport
from schemas.base import TaskName
from schemas.config import RefreshConfig
from schemas.sources import DigitsSource
from schemas.tune_config import ChoosingSplit

RETENTION = "retention"
ON_SELECTION = "greedy_reward"


@dataclass(frozen=True)
class Objective:
    """One thing that is wanted."""

    name: str
    task: TaskName | None
    """None: of all of them."""
    metric: str

    @property
    def is_lower_better(self) -> bool:
        return is_lower_better(self.metric)

    @property
    def label(self) -> str:
        """As a person would say it."""
        metric = label_metric(self.metric)
        return metric if self.task is None else f"{TASKS[self.task].label} {metric}"


def list_objectives(config: RefreshConfig) -> list[Objective]:
    """Those of the configuration; raises ValueError, one sentence, for one that cannot be had."""
    names = config.tune.objectives or _list_defaults(config)
    objectives = [_parse(name, config) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"tune.objectives names one twice: {', '.join(names)}; name each once")
    return objectives


def _list_defaults(config: RefreshConfig) -> list[str]:
    source, split = config.source, config.tune.split
    if not isinstance(source, DigitsSource):
        raise ValueError(
            "tune.objectives is empty, and only the data know their tasks; name what is wanted, as "
            'in objectives = ["grounding.acc_at_50", "ocr.edit_distance", "retention"]'
        )
    tasks = [task for task in TASKS if getattr(source, split).get(task)]
    if split == "selection":
        return [f"{task}.{ON_SELECTION}" for task in tasks]
    return [*(f"{task}.{TASKS[task].headline}" for task in tasks), RETENTION]


def _parse(name: str, config: RefreshConfig) -> Objective:
    task, _, metric = name.rpartition(".")
    if config.tune.split == "selection" and (metric != ON_SELECTION or task not in TASKS):
        raise ValueError(
            f"tune.objectives: {name} is not measured on selection prompts; name "
            'TASK.greedy_reward, or set split = "validation"'
        )
    if name == RETENTION:
        return Objective(name, None, RETENTION)
    if task not in TASKS:
        raise ValueError(
            f"tune.objectives: {name} is of no task; write TASK.METRIC with one of "
            f"{', '.join(TASKS)}, or {RETENTION}"
        )
    known = [*list_metrics(task), RETENTION]
    if metric not in known:
        raise ValueError(
            f"tune.objectives: {task} has no metric {metric}; it has {', '.join(known)}"
        )
    return Objective(name, task, metric)


def orient(objectives: Sequence[Objective], values_NM: Sequence[Sequence[float]]) -> Values:
    """Values [N, M] of which more is better: those that should be low change their sign."""
    signs_M = np.array([-1.0 if objective.is_lower_better else 1.0 for objective in objectives])
    return np.asarray(values_NM, dtype=np.float64).reshape(-1, len(objectives)) * signs_M


def read_objectives(
    store: Store,
    objectives: Sequence[Objective],
    split: ChoosingSplit,
    checkpoint: Checkpoint,
    evaluation: EvalReport,
) -> list[float]:
    """What a trial has of each; raises ValueError, one sentence, where its data have no such task.

    The artifacts are verified already.
    """
    if split == "selection":
        known = _read_selection(checkpoint)
    else:
        known = _read_validation(evaluation)
        if any(objective.metric == RETENTION for objective in objectives):
            known |= _read_retention(store, evaluation)
    for objective in objectives:
        if objective.name not in known:
            raise ValueError(
                f"tune.objectives: the data have no {split} prompts that measure {objective.name}; "
                f"they measure {', '.join(known) or 'nothing'}"
            )
    return [known[objective.name] for objective in objectives]


def _read_selection(checkpoint: Checkpoint) -> dict[str, float]:
    readings = {reading.step: reading.per_task for reading in checkpoint.readings}
    chosen = readings.get(checkpoint.chosen_step, {})
    return {f"{task}.{ON_SELECTION}": value for task, value in chosen.items()}


def _read_validation(evaluation: EvalReport) -> dict[str, float]:
    return {
        f"{task}.{name}": metric.trained
        for task, metrics in evaluation.validation.items()
        for name, metric in metrics.items()
    }


def _read_retention(store: Store, evaluation: EvalReport) -> dict[str, float]:
    [predictions] = store.paths(evaluation, "predictions")
    by_task = compute_retention(predictions)
    if not by_task:
        return {}
    mean = sum(by_task.values()) / len(by_task)
    return {**{f"{task}.{RETENTION}": value for task, value in by_task.items()}, RETENTION: mean}
