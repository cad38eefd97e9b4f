"""The warning of likelihood displacement, and when there is none."""

from __future__ import annotations

import pytest

from perpo_core.stages.train.displacement import (
    describe_displacement,
    find_displacement,
    split_at_steps,
)
from schemas.artifact import TrainPoint


def build_points(changes: list[float], first: int = 1) -> list[TrainPoint]:
    return [
        TrainPoint(step=step, loss=0.6, grad_norm=1, learning_rate=1e-4,
                   metrics={"logps/chosen_change": change})
        for step, change in enumerate(changes, first)
    ]  # fmt: skip


def test_the_warning_says_where_how_much_and_what_to_do():
    points = build_points([-1.0, -2.0, -3.9], first=58)
    assert describe_displacement(points, limit_nats=1.0) == (
        "step 60: the best answers are 2.3 nats less likely than at the start (likelihood "
        "displacement); raise train.beta or add train.nll_weight or train.anchor_weight"
    )


@pytest.mark.parametrize(
    ("changes", "limit_nats", "warns"),
    [
        ([-1.0, -1.0], 1.0, False),
        ([-1.0, -1.02], 1.0, True),
        ([-5.0, 3.5], 1.0, False),  # a single step says little
        ([0.5, 0.7], 1.0, False),
        ([-0.2], 0.1, True),
        ([], 1.0, False),
    ],
)
def test_the_mean_decides(changes, limit_nats, warns):
    assert (describe_displacement(build_points(changes), limit_nats) is not None) == warns


def test_without_a_reference_there_is_no_warning():
    points = [point.model_copy(update={"metrics": {}}) for point in build_points([-9.0, -9.0])]
    assert describe_displacement(points, 1.0) is None
    assert find_displacement(points, [2], 1.0) is None


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([0, 2, 4], [[1, 2], [3, 4], [5]]),
        ([4, 2], [[1, 2], [3, 4], [5]]),
        ([0, 5], [[1, 2, 3, 4, 5]]),
        ([0, 1, 9], [[1], [2, 3, 4, 5]]),
        ([], [[1, 2, 3, 4, 5]]),
    ],
)
def test_a_reading_belongs_to_the_steps_before_it(steps, expected):
    spans = split_at_steps(build_points([0.0] * 5), steps)
    assert [[point.step for point in span] for span in spans] == expected


def test_a_finished_training_names_its_worst_stretch():
    points = build_points([0.0, 0.0, -4.0, -2.0, -1.5, -1.5])
    warning = find_displacement(points, [0, 2, 4, 6], 1.0)
    assert warning and warning.startswith("step 4: the best answers are 3.0 nats less likely")
    assert find_displacement(points, [0, 2, 4, 6], 3.5) is None
    assert find_displacement([], [0], 1.0) is None
