"""Boxes: one internal form, and named formats at the edge.

Internal form: (x1, y1, x2, y2), floats in 0-1 of the ORIGINAL image, x1 < x2 and y1 < y2. Every
model writes boxes in its own convention; a `BoxFormat` names that convention and converts at the
edge. The commonest reason for an IoU reward that stays at zero is a convention guessed wrongly,
so nothing here guesses: the format comes from the configuration, and numbers that plainly belong
to another convention are an error that says so, never a box.

Left out: telling apart formats whose numbers overlap (0-1000 and pixels of a large image):
`perpo doctor CONFIG --probe` measures those.
"""

from __future__ import annotations

from perpo_core.perception.boxes.formats import BOX_FORMATS, BoxFormat
from perpo_core.perception.boxes.geometry import Box, Frame, compute_iou, find_box_problem
from perpo_core.perception.boxes.parse import (
    MAX_OVERSHOOT,
    StatedBoxes,
    find_convention_problem,
    parse_box,
    parse_boxes,
)

__all__ = [
    "BOX_FORMATS",
    "MAX_OVERSHOOT",
    "Box",
    "BoxFormat",
    "Frame",
    "StatedBoxes",
    "compute_iou",
    "find_box_problem",
    "find_convention_problem",
    "parse_box",
    "parse_boxes",
]
