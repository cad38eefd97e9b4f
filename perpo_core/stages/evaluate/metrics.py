"""Evaluation numbers: what each task reports, from the scored answers of both policies.

The greedy answer of a sample (index -1) gives the task's own metrics, which are functions of its
measure, one reward that stays the same whatever the policy is rewarded with, and `greedy_reward`.
The n sampled ones (index 0, 1, ...) give `sampled_reward` (their mean: what the policy gives on
average, which is what the loss moves) and `best_of_n` (their maximum: what choosing well among its
answers could reach). An unreadable answer has a measure of 0, and as its reward 0 or the lowest
there can be, since leaving it out would compare the policies on different samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.perception.tasks import TASKS
from perpo_core.stages.evaluate.statistics import compare_paired
from schemas.artifact import Metric
from schemas.base import Split, TaskName

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]
GREEDY_INDEX = -1
ID_COLUMNS = ("sample_id", "image_id")

REWARD_METRICS = ("greedy_reward", "sampled_reward", "best_of_n")
SMALLEST_HEADROOM = 1e-9  # below it the ratio would be one of rounding errors


@dataclass(frozen=True)
class Answers:
    """What one policy's answers to the samples of a task and split are worth."""

    task: TaskName
    sample_ids: list[str]
    """[P], ascending."""
    images: list[str]
    """[P]: the image that each asks about."""
    measures_P: Values
    """Of the greedy answers."""
    greedy_P: Values
    """Rewards of these."""
    sampled_P_N: Values
    """Rewards of the sampled ones."""

    def compute_values(self) -> dict[str, Values]:
        """Metric name -> one value a sample [P]."""
        of_task = TASKS[self.task].metrics.items()
        return {name: metric.compute(self.measures_P) for name, metric in of_task} | {
            "greedy_reward": self.greedy_P,
            "sampled_reward": self.sampled_P_N.mean(axis=1),
            "best_of_n": self.sampled_P_N.max(axis=1),
        }


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
    of_split = _encode(predictions).filter(pc.equal(predictions["split"], split))
    metrics: dict[TaskName, dict[str, Metric]] = {}
    headroom_closed: dict[TaskName, float | None] = {}
    for task in TASKS:
        rows = of_split.filter(pc.equal(of_split["task"], task))
        if not rows.num_rows:
            continue
        base, trained = _read_answers(rows, "base", task), _read_answers(rows, "trained", task)
        _check_same_samples(base, trained, split)
        before, after = base.compute_values(), trained.compute_values()
        metrics[task] = {
            name: compare_paired(before[name], after[name], base.images, resamples, seed)
            for name in list_metrics(task)
        }
        headroom_closed[task] = compute_headroom_closed(metrics[task])
    return metrics, headroom_closed


def compute_headroom_closed(metrics: dict[str, Metric]) -> float | None:
    """Share of the way from the base's greedy answer to its best of n; None if there is no way."""
    greedy = metrics["greedy_reward"]
    headroom = metrics["best_of_n"].base - greedy.base
    return greedy.delta / headroom if headroom > SMALLEST_HEADROOM else None


def load_answers(predictions: pa.Table, split: Split, policy: str) -> dict[TaskName, Answers]:
    """One policy's answers by task, for the tasks this split has; the order of rows is free.

    Raises ValueError, naming the sample, unless each has one greedy answer and equally many
    sampled ones.
    """
    of_split = _encode(predictions).filter(pc.equal(predictions["split"], split))
    by_task = {task: of_split.filter(pc.equal(of_split["task"], task)) for task in TASKS}
    return {
        task: _read_answers(rows, policy, task) for task, rows in by_task.items() if rows.num_rows
    }


def _read_answers(rows: pa.Table, policy: str, task: TaskName) -> Answers:
    of_policy = rows.filter(pc.equal(rows["policy"], policy))
    if not of_policy.num_rows:
        raise ValueError(f"the predictions hold no {task} answer of the {policy} policy")
    sample_ids, numbers_A = _number(of_policy["sample_id"])
    indices_A = of_policy["index"].to_numpy()
    order_A = np.lexsort((indices_A, numbers_A))
    _check_indices(sample_ids, numbers_A[order_A], indices_A[order_A], policy, task)
    measures_A = pc.fill_null(of_policy["measure"], 0.0).to_numpy()
    rewards_P_N = of_policy["reward"].to_numpy()[order_A].reshape(len(sample_ids), -1)
    return Answers(
        task=task,
        sample_ids=sample_ids,
        images=_find_images(of_policy, sample_ids),
        measures_P=measures_A[order_A].reshape(len(sample_ids), -1)[:, 0],
        greedy_P=rewards_P_N[:, 0],
        sampled_P_N=rewards_P_N[:, 1:],
    )


def _encode(predictions: pa.Table) -> pa.Table:
    """With ids as dictionaries: any row repeats its sample's, and a column of them may be large."""
    for name in ID_COLUMNS:
        encoded = predictions[name].dictionary_encode().unify_dictionaries()
        predictions = predictions.set_column(predictions.column_names.index(name), name, encoded)
    return predictions


def _number(ids: pa.ChunkedArray) -> tuple[list[str], Numbers]:
    """The ids there are, ascending, and the place of each row's among them.

    Not by sorting rows: that would lay the ids of all of them into one array, and one holds 2 GiB
    of text at most.
    """
    known = ids.chunk(0).dictionary.to_pylist()
    codes_A = np.concatenate([chunk.indices.to_numpy() for chunk in ids.chunks])
    found, codes_A = np.unique(codes_A, return_inverse=True)
    ascending = sorted(range(len(found)), key=lambda code: known[found[code]])
    return [known[found[code]] for code in ascending], np.argsort(ascending)[codes_A]


def _check_indices(
    sample_ids: list[str], numbers_A: Numbers, indices_A: Numbers, policy: str, task: TaskName
) -> None:
    """One greedy answer of every sample and as many sampled ones, at least one; rows in order."""
    sizes_P = np.bincount(numbers_A)
    width = max(int(sizes_P.max()), 2)  # answers a sample
    starts_P = np.cumsum(sizes_P) - sizes_P
    expected_A = GREEDY_INDEX + np.arange(len(numbers_A)) - starts_P[numbers_A]
    wrong = [*numbers_A[indices_A != expected_A], *np.flatnonzero(sizes_P != width)]
    if wrong:
        raise ValueError(
            f"sample {sample_ids[min(wrong)]} ({task}) must have one greedy answer of the {policy} "
            "policy and as many sampled ones as every other sample; evaluate again"
        )


def _find_images(rows: pa.Table, sample_ids: list[str]) -> list[str]:
    """The image each sample asks about [P]."""
    known, numbers_A = _number(rows["sample_id"])
    image_ids, images_A = _number(rows["image_id"])
    _, first_P = np.unique(numbers_A, return_index=True)
    image_of = {known[number]: image_ids[images_A[first]] for number, first in enumerate(first_P)}
    return [image_of[sample_id] for sample_id in sample_ids]


def _check_same_samples(base: Answers, trained: Answers, split: Split) -> None:
    different = sorted(set(base.sample_ids) ^ set(trained.sample_ids))
    if different:
        raise ValueError(
            f"{len(different)} {base.task} samples of split {split} have answers of one policy "
            f"only, the first is {different[0]}; evaluate again"
        )
