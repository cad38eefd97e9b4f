"""A box in its internal form, the image it lies in, and how much two boxes have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in 0-1 of the original image


@dataclass(frozen=True)
class Frame:
    """Pixel sizes a format may need: of the original image, and of the image the model saw."""

    width: int
    height: int
    resized_width: int | None = None
    resized_height: int | None = None


def compute_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]; 0 when they do not touch.

    >>> compute_iou((0.0, 0.0, 0.5, 0.5), (0.25, 0.0, 0.75, 0.5))
    0.3333333333333333
    """
    intersection = compute_intersection(a, b)
    if intersection == 0:  # also when the product of two tiny sides underflows
        return 0.0
    union = compute_area(a) + compute_area(b) - intersection
    return min(1.0, intersection / union)  # rounding may leave the union a trifle smaller


def compute_intersection(a: Box, b: Box) -> float:
    """Area that two boxes have in common."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def compute_area(box: Box) -> float:
    """Of a box, in the square of its units; 0 where the product of two tiny sides underflows."""
    return (box[2] - box[0]) * (box[3] - box[1])


def compute_hull(a: Box, b: Box) -> Box:
    """The smallest box around two."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def find_box_problem(box: Box) -> str | None:
    """Why this is not a box of the internal form, or None."""
    if not all(math.isfinite(value) for value in box):
        return "a coordinate is not finite"
    if box[2] <= box[0] or box[3] <= box[1]:
        return "x2 must be greater than x1 and y2 greater than y1"
    if min(box) < 0 or max(box) > 1:
        return "the box reaches outside the image"
    return None
