"""Evaluation numbers against values worked out by hand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from perpo_core.stages.evaluate.metrics import compute_metrics, list_metrics
from schemas.arrow import PREDICTIONS
from schemas.artifact import Metric
from schemas.base import TaskName

Rows = list[dict[str, Any]]


def answers(
    sample_id: str, task: TaskName, policy: str, rewards: list[float | None], split: str = "test"
) -> Rows:
    """The greedy reward first, then the sampled ones."""
    return [
        {
            "sample_id": sample_id,
            "image_id": f"image of {sample_id}",
            "task": task,
            "split": split,
            "policy": policy,
            "index": index - 1,
            "text": "",
            "reward": reward or 0.0,
            "measure": reward,
            "error": None if reward is not None else "unreadable",
        }
        for index, reward in enumerate(rewards)
    ]


def compute(rows: Rows, split: Any = "test") -> tuple[Any, Any]:
    return compute_metrics(pa.Table.from_pylist(rows, schema=PREDICTIONS), split, 200, seed=0)


GROUNDING = [
    *answers("a", "grounding", "base", [0.4, 0.2, 0.8]),
    *answers("b", "grounding", "base", [0.6, 0.5, 0.7]),
    *answers("a", "grounding", "trained", [0.5, 0.5, 0.9]),
    *answers("b", "grounding", "trained", [0.7, None, 0.8]),
]


def values(metric: Metric) -> tuple[float, float, float]:
    return metric.base, metric.trained, metric.delta


def test_grounding_by_hand() -> None:
    metrics, headroom_closed = compute(GROUNDING)
    assert list(metrics) == ["grounding"]
    found = {name: values(metric) for name, metric in metrics["grounding"].items()}
    assert found == {
        "acc_at_50": pytest.approx((0.5, 1.0, 0.5)),
        "mean_iou": pytest.approx((0.5, 0.6, 0.1)),
        "greedy_reward": pytest.approx((0.5, 0.6, 0.1)),
        "sampled_reward": pytest.approx((0.55, 0.55, 0.0)),  # unreadable counts 0
        "best_of_n": pytest.approx((0.75, 0.85, 0.1)),
    }
    assert headroom_closed == {"grounding": pytest.approx(0.1 / 0.25)}
    # One sample changed its accuracy by 1, the other by 0: resampled means are 0, 1/2 and 1.
    accuracy = metrics["grounding"]["acc_at_50"]
    assert (accuracy.delta_low, accuracy.delta_high, accuracy.n) == (0.0, 1.0, 2)


@pytest.mark.parametrize("unreadable", [None, 0.0])
@pytest.mark.parametrize("policy", ["base", "trained"])
@pytest.mark.parametrize("task", TASKS)
def test_unreadable_answers_count_as_zero_in_every_mean(
    task: TaskName, policy: str, unreadable: float | None
) -> None:
    """One right answer, one unreadable, greedy and sampled: left out, the means would be 1."""
    other = "trained" if policy == "base" else "base"
    rows = [
        *answers("a", task, policy, [1.0, 1.0, unreadable]),
        *answers("b", task, policy, [unreadable, unreadable, unreadable]),
        *answers("a", task, other, [1.0, 1.0, 1.0]),
        *answers("b", task, other, [1.0, 1.0, 1.0]),
    ]
    for row in rows:
        row["error"] = None if row["reward"] else "unreadable"
    metrics, _ = compute(rows)
    halves = {
        name: metric.compute(np.array([1.0, 0.0])).mean()
        for name, metric in TASKS[task].metrics.items()
    }
    expected = {"greedy_reward": 0.5, "best_of_n": 0.5, "sampled_reward": 0.25, **halves}
    assert {name: getattr(m, policy) for name, m in metrics[task].items()} == expected
    assert {metric.n for metric in metrics[task].values()} == {2}


def test_ocr_and_counting_by_hand() -> None:
    rows = [
        *answers("a", "ocr", "base", [0.75, 0.5, 0.5]),
        *answers("a", "ocr", "trained", [1.0, 1.0, 0.5]),
        *answers("b", "counting", "base", [1.0, 0.75, 1.0]),
        *answers("b", "counting", "trained", [0.75, 0.75, 0.75]),
    ]
    metrics, headroom_closed = compute(rows)
    assert values(metrics["ocr"]["edit_distance"]) == pytest.approx((0.25, 0.0, -0.25))
    assert values(metrics["ocr"]["exact"]) == (0.0, 1.0, 1.0)
    assert values(metrics["counting"]["accuracy"]) == (1.0, 0.0, -1.0)
    # The base's best of 2 is no better than its greedy answer: no headroom.
    assert headroom_closed == {"ocr": None, "counting": None}


def test_best_of_n_is_chosen_among_the_sampled_answers() -> None:
    """The greedy answer is none of the n, however good it is."""
    rows = [
        *answers("a", "grounding", "base", [0.9, 0.2, 0.4]),
        *answers("a", "grounding", "trained", [1.0, None, 0.1]),
    ]
    metrics, headroom_closed = compute(rows)
    assert values(metrics["grounding"]["best_of_n"]) == pytest.approx((0.4, 0.1, -0.3))
    assert headroom_closed == {"grounding": None}


def test_order_of_rows_does_not_matter() -> None:
    shuffled = list(GROUNDING)
    random.Random(0).shuffle(shuffled)
    assert compute(shuffled) == compute(GROUNDING)


def test_samples_about_one_image_are_drawn_together() -> None:
    """One question gains what the other of its image loses: whatever is drawn, the mean is 0."""
    rows = []
    for sample_id, image, base, trained in (
        ("a", "first", 0.0, 0.5), ("b", "second", 0.5, 0.0),
        ("c", "second", 0.25, 0.75), ("d", "first", 0.75, 0.25),
    ):  # fmt: skip
        for policy, reward in (("base", base), ("trained", trained)):
            of_policy = answers(sample_id, "grounding", policy, [reward] * 2)
            rows += [row | {"image_id": image} for row in of_policy]
    metric = compute(rows)[0]["grounding"]["mean_iou"]
    assert (metric.delta_low, metric.delta, metric.delta_high) == (0, 0, 0)
    apart = compute([row | {"image_id": row["sample_id"]} for row in rows])[0]
    assert apart["grounding"]["mean_iou"].delta_high > 0.1


def test_splits_stay_apart() -> None:
    validation = [
        *answers("c", "ocr", "base", [0.5, 0.5], split="validation"),
        *answers("c", "ocr", "trained", [1.0, 1.0], split="validation"),
    ]
    assert compute(GROUNDING + validation) == compute(GROUNDING)
    metrics, _ = compute(GROUNDING + validation, split="validation")
    assert list(metrics) == ["ocr"]
    assert compute(GROUNDING, split="validation") == ({}, {})


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (GROUNDING[:6], "no grounding answer of the trained policy"),
        (GROUNDING[:9], "1 grounding samples of split test .* the first is b"),
        (GROUNDING[:-1], "sample b .* of the trained policy"),
        ([*GROUNDING, GROUNDING[0]], "sample a .* of the base policy|sample b .* of the base"),
        (GROUNDING[1:], "sample a .* of the base policy"),
        ([row for row in GROUNDING if row["index"] == -1], "as many sampled ones"),
    ],
)
def test_incomplete_predictions_are_an_error(rows: Rows, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        compute(rows)


def test_names() -> None:
    assert list_metrics("ocr") == (
        "edit_distance", "exact", "greedy_reward", "sampled_reward", "best_of_n",
    )  # fmt: skip
    every_name = {name for task in TASKS for name in list_metrics(task)}
    assert every_name >= LOWER_IS_BETTER
