from __future__ import annotations

import numpy as np
import pytest

from perpo_core.evidence.thresholds import compute_threshold_values
from perpo_core.perception.tasks import TASKS


def test_by_hand() -> None:
    values = compute_threshold_values([0.0, 0.3, 0.55, 0.7, 0.95])
    means = {name: float(values_P.mean()) for name, values_P in values.items()}
    assert means == {
        "acc_at_30": 0.8, "acc_at_40": 0.6, "acc_at_50": 0.6, "acc_at_60": 0.4, "acc_at_70": 0.4,
        "acc_at_80": 0.2, "acc_at_90": 0.2, "mean_iou": 0.5,
    }  # fmt: skip


def test_an_iou_at_the_threshold_counts_at_every_one() -> None:
    for percent in (30, 40, 50, 60, 70, 80, 90):
        edge = float(f"0.{percent}")
        values = compute_threshold_values([edge, np.nextafter(edge, 0)])
        assert values[f"acc_at_{percent}"].tolist() == [1, 0]


def test_those_of_the_task_are_the_same() -> None:
    ious_P = np.random.default_rng(0).random(50)
    values = compute_threshold_values(ious_P)
    for name, metric in TASKS["grounding"].metrics.items():
        np.testing.assert_array_equal(values[name], metric.compute(ious_P))


def test_seeds_and_prompts_keep_their_shape() -> None:
    assert {each.shape for each in compute_threshold_values(np.ones((5, 7))).values()} == {(5, 7)}


@pytest.mark.parametrize("iou", [-0.1, 1.1, np.nan])
def test_what_is_no_iou(iou: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        compute_threshold_values([0.5, iou])
