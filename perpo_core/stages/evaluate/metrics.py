"""Evaluation numbers: what each task reports, from the scored answers of both policies.

The greedy answer of a sample (index -1) gives the task's own metrics, which are functions of its
measure, one reward that stays the same whatever the policy is rewarded with, and `greedy_reward`.
The n sampled ones (index 0, 1, ...) give `sampled_reward` (their mean: what the policy gives on
average, which is what the loss moves) and `best_of_n` (their maximum: what choosing well among its
answers could reach). An unreadable answer has a measure of 0, and as its reward 0 or the lowest
there can be, since leaving it out would compare the policies on different samples.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.perception.tasks import TASKS
from perpo_core.stages.evaluate.statistics import compare_paired
from schemas.artifact import Metric
from schemas.base import Split, TaskName

Values = NDArray[np.float64]
GREEDY_INDEX = -1

REWARD_METRICS = ("greedy_reward", "sampled_reward", "best_of_n")
SMALLEST_HEADROOM = 1e-9  # below it the ratio would be one of rounding errors


def list_metrics(task: TaskName) -> tuple[str, ...]:
    """The names of every metric a task reports."""
    return (*TASKS[task].metrics, *REWARD_METRICS)


def compute_metrics(
    predictions: pa.Table, split: Split, resamples: int, seed: int
) -> tuple[dict[TaskName, dict[str, Metric]], dict[TaskName, float | None]]:
    """(metrics, headroom_closed) by task, for the tasks this split has; the order of rows is free.

    headroom_closed is (trained - base) / (base best of n - base) of the mean greedy reward; None
    where the base's best of n is no better than its greedy answer. Raises ValueError, naming the
    sample, unless both policies have one greedy answer and equally many sampled ones everywhere.
    """
    of_split = predictions.filter(pc.equal(predictions["split"], split))
    metrics: dict[TaskName, dict[str, Metric]] = {}
    headroom_closed: dict[TaskName, float | None] = {}
    for task in TASKS:
        rows = of_split.filter(pc.equal(of_split["task"], task))
        if not rows.num_rows:
            continue
        base, trained = _build_values(rows, "base", task), _build_values(rows, "trained", task)
        _check_same_samples(base, trained, task, split)
        images = _find_images(rows, base[0])
        metrics[task] = {
            name: compare_paired(base[1][name], trained[1][name], images, resamples, seed)
            for name in list_metrics(task)
        }
        headroom_closed[task] = compute_headroom_closed(metrics[task])
    return metrics, headroom_closed


def compute_headroom_closed(metrics: dict[str, Metric]) -> float | None:
    """Share of the way from the base's greedy answer to its best of n; None if there is no way."""
    greedy = metrics["greedy_reward"]
    headroom = metrics["best_of_n"].base - greedy.base
    return greedy.delta / headroom if headroom > SMALLEST_HEADROOM else None


def _build_values(
    rows: pa.Table, policy: str, task: TaskName
) -> tuple[list[str], dict[str, Values]]:
    """(sample_ids in order [P], metric name -> one value a sample [P]) of one policy."""
    of_policy = rows.filter(pc.equal(rows["policy"], policy))
    ordered = of_policy.sort_by([("sample_id", "ascending"), ("index", "ascending")])
    indices_of: dict[str, list[int]] = {}
    pairs = zip(ordered["sample_id"].to_pylist(), ordered["index"].to_pylist(), strict=True)
    for sample_id, index in pairs:
        indices_of.setdefault(sample_id, []).append(index)
    if not indices_of:
        raise ValueError(f"the predictions hold no {task} answer of the {policy} policy")
    width = max(len(indices) for indices in indices_of.values())  # answers a sample
    expected = list(range(GREEDY_INDEX, max(width, 2) - 1))
    for sample_id, indices in indices_of.items():
        if indices != expected:
            raise ValueError(
                f"sample {sample_id} ({task}) must have one greedy answer of the {policy} policy "
                "and as many sampled ones as every other sample; evaluate again"
            )
    measures_P = pc.fill_null(ordered["measure"], 0.0).to_numpy().reshape(-1, width)[:, 0]
    rewards_P_N = ordered["reward"].to_numpy().reshape(-1, width)
    greedy_P, sampled_P_N = rewards_P_N[:, 0], rewards_P_N[:, 1:]
    values = {name: metric.compute(measures_P) for name, metric in TASKS[task].metrics.items()}
    values |= {
        "greedy_reward": greedy_P,
        "sampled_reward": sampled_P_N.mean(axis=1),
        "best_of_n": sampled_P_N.max(axis=1),
    }
    return list(indices_of), values


def _find_images(rows: pa.Table, sample_ids: list[str]) -> list[str]:
    """The image each sample asks about [P]."""
    pairs = zip(rows["sample_id"].to_pylist(), rows["image_id"].to_pylist(), strict=True)
    image_of = dict(pairs)
    return [image_of[sample_id] for sample_id in sample_ids]


def _check_same_samples(
    base: tuple[list[str], object], trained: tuple[list[str], object], task: TaskName, split: Split
) -> None:
    different = sorted(set(base[0]) ^ set(trained[0]))
    if different:
        raise ValueError(
            f"{len(different)} {task} samples of split {split} have answers of one policy only, "
            f"the first is {different[0]}; evaluate again"
        )
