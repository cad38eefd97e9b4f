"""What methods are compared by: one value a seed and prompt, by the name of a metric.

Beside the task's own metrics and the rewards (perpo_core/stages/evaluate/metrics.py), of tasks that
are measured by IoU the accuracy at other thresholds: the share of greedy answers whose IoU reaches
0.3, 0.4, ..., 0.9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from perpo_core.evidence.thresholds import PERCENTS, compute_threshold_values
from perpo_core.perception.tasks import TASKS
from perpo_core.report.summary import label_metric
from perpo_core.stages.evaluate import Answers

Values = NDArray[np.float64]
BY_IOU = "iou"


def stack(answers: Sequence[Answers]) -> dict[str, Values]:
    """Metric name -> [S, P] of the answers under each seed; of one policy, [1, P].

    Raises ValueError unless all seeds have answers to the same samples.
    """
    require_same_samples([each.sample_ids for each in answers])
    by_seed = [dict(compute_values(each)) for each in answers]
    return {name: np.stack([values[name] for values in by_seed]) for name in by_seed[0]}


def require_same_samples(ids: Sequence[Sequence[str]]) -> None:
    """Raise ValueError unless all have the same test samples, in one order: they are paired."""
    for other in ids:
        if list(other) != list(ids[0]):
            differing = sorted(set(ids[0]) ^ set(other)) or other
            raise ValueError(
                f"not every run has the same test samples: {differing[0]} is in some only; what is "
                "tested on has to be the same for all methods and seeds"
            )


def compute_values(answers: Answers) -> Iterator[tuple[str, Values]]:
    """(metric name, one value a sample [P])."""
    if TASKS[answers.task].measure == BY_IOU:
        yield from compute_threshold_values(answers.measures_P).items()
    yield from answers.compute_values().items()


def name_metrics(task: str) -> dict[str, str]:
    """Metric name -> as a person would say it."""
    found = {name: metric.label for name, metric in TASKS[task].metrics.items()}
    if TASKS[task].measure == BY_IOU:
        found |= {f"acc_at_{p}": f"accuracy at IoU {p / 100:g}" for p in PERCENTS}
    return found


def name_metric(task: str, metric: str) -> str:
    """As a person would say it."""
    return name_metrics(task).get(metric, label_metric(metric))


def name_criterion(criterion: str) -> str:
    """Of TASK.METRIC, such as "grounding accuracy at IoU 0.5"."""
    task, _, metric = criterion.partition(".")
    return f"{TASKS[task].label} {name_metric(task, metric)}"
