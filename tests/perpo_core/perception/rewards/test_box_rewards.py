"""Rewards of one box: against cells that are counted and formulas as the papers write them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.boxes import Box, Frame, compute_iou
from perpo_core.perception.rewards import REWARDS, Reading, RewardResult, Target
from perpo_core.perception.rewards.ciou import compute_ciou
from perpo_core.perception.rewards.diou import compute_diou
from perpo_core.perception.rewards.giou import compute_giou

WIDTH, HEIGHT = 24, 10
READING = Reading(Frame(WIDTH, HEIGHT), "pixels")
Ints = tuple[int, int, int, int]


@st.composite
def boxes(draw: st.DrawFn) -> Ints:
    """In pixels; the right edge is at least 2, since [0, 0, 1, 1] reads as a box in 0-1."""
    x2, y2 = draw(st.integers(2, WIDTH)), draw(st.integers(1, HEIGHT))
    return draw(st.integers(0, x2 - 1)), draw(st.integers(0, y2 - 1)), x2, y2


def judge(name: str, stated: Ints, true: Ints, **options: Any) -> float:
    target: Target = {
        "box": [v / side for v, side in zip(true, (WIDTH, HEIGHT) * 2, strict=True)],
        "text": None,
        "count": None,
    }
    reward = REWARDS[name]
    given = reward.build_options(options)
    result = reward.compute_best(str(list(stated)), target, READING, given)
    assert result.reward is not None and reward.low <= result.reward <= reward.high
    return result.reward


def list_cells(box: Ints) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}


def count_iou(a: Ints, b: Ints) -> float:
    return len(list_cells(a) & list_cells(b)) / len(list_cells(a) | list_cells(b))


def find_hull(a: Ints, b: Ints) -> Ints:
    xs, ys = (a[0], a[2], b[0], b[2]), (a[1], a[3], b[1], b[3])
    return min(xs), min(ys), max(xs), max(ys)


def giou(a: Ints, b: Ints) -> float:
    """Algorithm 1 of the paper, in cells."""
    hull, union = len(list_cells(find_hull(a, b))), len(list_cells(a) | list_cells(b))
    return count_iou(a, b) - (hull - union) / hull


def diou(a: Ints, b: Ints) -> float:
    """Equation 7, 1 - loss."""
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (a, b)]
    hull = find_hull(a, b)
    return count_iou(a, b) - math.dist(*centres) ** 2 / math.dist(hull[:2], hull[2:]) ** 2


def ciou(a: Ints, b: Ints) -> float:
    """Equations 8 to 11, 1 - loss; a is stated, b is true."""
    ratios = [math.atan((box[2] - box[0]) / (box[3] - box[1])) for box in (b, a)]
    v = 4 / math.pi**2 * (ratios[0] - ratios[1]) ** 2
    alpha = v / ((1 - count_iou(a, b)) + v) if v else 0.0
    return diou(a, b) - alpha * v


SLOW = {"iou": count_iou, "giou": giou, "diou": diou, "ciou": ciou}


@pytest.mark.parametrize("name", SLOW)
@given(a=boxes(), b=boxes())
def test_values_are_those_of_the_paper(name: str, a: Ints, b: Ints) -> None:
    assert judge(name, a, b) == pytest.approx(SLOW[name](a, b), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "stated", "true", "expected"),
    [
        ("giou", (0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ("giou", (0, 0, 2, 2), (2, 0, 4, 2), 0.0),  # side by side: the hull is the union
        ("giou", (0, 0, 2, 2), (4, 0, 6, 2), -1 / 3),
        ("diou", (0, 0, 2, 2), (2, 0, 4, 2), -4 / 20),
        ("diou", (0, 0, 4, 4), (1, 1, 3, 3), 4 / 16),  # one centre
        ("ciou", (0, 0, 4, 2), (0, 0, 8, 4), 0.25 - 5 / 80),  # one shape
        ("ciou", (0, 0, 4, 2), (0, 0, 4, 2), 1.0),
    ],
)
def test_values_worked_by_hand(name: str, stated: Ints, true: Ints, expected: float) -> None:
    assert judge(name, stated, true) == pytest.approx(expected)


@given(boxes(), boxes(), st.floats(0.1, 16), st.floats(0.01, 1))
def test_iou_raised_and_iou_cut(a: Ints, b: Ints, power: float, threshold: float) -> None:
    iou = judge("iou", a, b)
    assert judge("iou_power", a, b) == pytest.approx(iou**2)
    assert judge("iou_power", a, b, power=power) == pytest.approx(iou**power)
    assert judge("iou_threshold", a, b, threshold=threshold) == float(
        judge("iou_power", a, b, power=1) >= threshold
    )


@given(boxes(), boxes())
def test_each_is_at_most_the_one_it_refines_and_1_for_the_truth_alone(a: Ints, b: Ints) -> None:
    values = {name: judge(name, a, b) for name in SLOW}
    assert values["giou"] <= values["iou"] + 1e-12
    assert values["ciou"] <= values["diou"] + 1e-12 <= values["iou"] + 2e-12
    for name, value in values.items():
        assert (value > 1 - 1e-9) == (a == b)
        assert judge(name, b, a) == pytest.approx(value)


@given(boxes(), boxes())
def test_a_point_in_the_box_is_right(a: Ints, b: Ints) -> None:
    x, y = (a[0] + a[2]) / 2, (a[1] + a[3]) / 2
    inside = b[0] - 1e-9 <= x <= b[2] + 1e-9 and b[1] - 1e-9 <= y <= b[3] + 1e-9
    on_edge = x in (b[0], b[2]) or y in (b[1], b[3])  # where rounding decides
    assert on_edge or judge("point_in_box", a, b) == float(inside)


def test_of_points_those_near_the_true_one_are_right() -> None:
    target: Target = {"box": [0.5, 0.5], "text": None, "count": None}
    compute = REWARDS["point_in_box"].compute
    results = [
        compute(text, target, READING).reward for text in ("[12, 5]", "[12.3, 5.2]", "[15, 5]")
    ]
    assert results == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("name", [*SLOW, "iou_power", "iou_threshold"])
def test_what_states_no_box_has_a_reason_and_no_value(name: str) -> None:
    target: Target = {"box": [0.0, 0.0, 0.5, 0.5], "text": None, "count": None}
    reward = REWARDS[name]
    for text, why in (("here", "no four numbers"), ("[3, 3, 3, 9]", "x2 must be greater")):
        result = reward.compute_best(text, target, READING, reward.build_options())
        assert result.reward is None and result.error is not None and why in result.error


def test_boxes_so_small_that_areas_underflow_have_values_too() -> None:
    tiny: Box = (0.0, 0.0, 1e-200, 1e-200)
    far: Box = (1.0, 1.0, 1.0 + 1e-9, 1.0 + 1e-9)
    assert [f(tiny, tiny) for f in (compute_iou, compute_giou, compute_diou)] == [0.0, 0.0, 0.0]
    for compute in (compute_giou, compute_diou, compute_ciou):
        assert -1.5 <= compute(tiny, far) <= 0


def test_a_step_to_the_right_counts_as_much_as_one_down_however_wide_the_image_is() -> None:
    true = (8, 4, 10, 6)
    right, down = (11, 4, 13, 6), (8, 7, 10, 9)
    for name in ("diou", "ciou"):
        assert judge(name, right, true) == pytest.approx(judge(name, down, true))


def test_what_was_read_is_kept() -> None:
    target: Target = {"box": [0.0, 0.0, 0.5, 0.5], "text": None, "count": None}
    result = REWARDS["giou"].compute("[0, 0, 12, 5]", target, READING)
    assert result == RewardResult(1.0, parsed=[0.0, 0.0, 0.5, 0.5])
