"""Boxes of any numbers against shapely, which computes areas of polygons."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from shapely import Point, union_all
from shapely import box as build_polygon

from perpo_core.perception.boxes import Box, compute_iou
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.rewards.giou import compute_giou
from perpo_core.perception.rewards.point_in_box import compute_point_in_box
from tests.perpo_core.perception.rewards.aim import READING

SMALLEST = 1e-3  # side of a box, of the image; far smaller ones drown in rounding
ends = st.floats(0, 1, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x1, x2 = sorted((draw(ends), draw(ends)))
    y1, y2 = sorted((draw(ends), draw(ends)))
    assume(x2 - x1 >= SMALLEST and y2 - y1 >= SMALLEST)
    return x1, y1, x2, y2


@given(boxes(), boxes())
def test_iou_is_shapelys(a: Box, b: Box) -> None:
    one, other = build_polygon(*a), build_polygon(*b)
    iou = one.intersection(other).area / one.union(other).area
    assert compute_iou(a, b) == pytest.approx(iou, abs=1e-9)


@given(boxes(), boxes())
def test_giou_is_shapelys(a: Box, b: Box) -> None:
    one, other = build_polygon(*a), build_polygon(*b)
    hull, union = union_all([one, other]).envelope.area, one.union(other).area
    iou = one.intersection(other).area / union
    assert compute_giou(a, b) == pytest.approx(iou - (hull - union) / hull, abs=1e-9)


@given(boxes(), ends, ends)
def test_a_point_is_in_a_box_as_in_shapelys(box: Box, x: float, y: float) -> None:
    polygon, point = build_polygon(*box), Point(x, y)
    assume(polygon.boundary.distance(point) > SMALLEST)  # where rounding decides
    target: Target = {"box": list(box), "text": None, "count": None}
    result = compute_point_in_box(f"[{x:.6f}, {y:.6f}]", target, READING)
    assert result.reward == float(polygon.contains(point))
