"""Boxes: at degree k the IoU with the answer's own box lies in the k-th of K bins, from the top.

Degree k is an IoU in [(K - 1 - k)/K, (K - k)/K), degree 0 up to 1. The box is shifted and scaled
in a drawn direction, as far as it takes; what counts is the IoU of what is read of the two texts,
since a format rounds. An answer with several boxes moves each of them so.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from perpo_core.perception.boxes import (
    BOX_FORMATS,
    Box,
    compute_iou,
    parse_box,
    parse_boxes,
)
from perpo_core.perception.degrading.base import Degrader, Spread, Versions
from perpo_core.perception.rewards.base import Reading

NO_BOX, TOO_SMALL = "no box is stated", "a box too small for its format to move it so"
MAX_TRIES = 100
MAX_PUSH = 2.0  # sides of the box, and powers of e of its size
NUM_HALVINGS = 20


def find_degree(iou: float, num_degrees: int) -> int:
    """The degree of a box of that IoU with the best one, in 0 .. K - 1.

    >>> find_degree(1.0, 4), find_degree(0.75, 4), find_degree(0.74, 4), find_degree(0.0, 4)
    (0, 0, 1, 3)
    """
    return num_degrees - 1 - min(num_degrees - 1, math.floor(iou * num_degrees))


def push_box(box: Box, push: Sequence[float], strength: float) -> Box:
    """The box shifted by push[:2] of its sides and scaled by e to push[2:], inside the image.

    What leaves the image on one side only has no area.
    """
    x1, y1, x2, y2 = box
    dx, dy, grow_x, grow_y = (strength * part for part in push)
    width, height = x2 - x1, y2 - y1
    x, y = (x1 + x2) / 2 + dx * width, (y1 + y2) / 2 + dy * height
    half_width, half_height = width * math.exp(grow_x) / 2, height * math.exp(grow_y) / 2
    sides = (x - half_width, y - half_height, x + half_width, y + half_height)
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in sides)
    return left, top, right, bottom


def move_box(box: Box, iou: float, rng: random.Random) -> Box | None:
    """A box of about that IoU with `box`; None where the drawn direction leads to none."""
    push = [rng.uniform(-1, 1) for _ in range(4)]
    near, far = 0.0, MAX_PUSH
    if compute_iou(box, push_box(box, push, far)) > iou:
        return None
    for _ in range(NUM_HALVINGS):
        middle = (near + far) / 2
        if compute_iou(box, push_box(box, push, middle)) > iou:
            near = middle
        else:
            far = middle
    return push_box(box, push, far)


def _write_moved(box: Box, degree: int, reading: Reading, spread: Spread) -> str | None:
    """The text of a box of that degree; None where none was found."""
    num_degrees, frame = spread.num_degrees, reading.frame
    for _ in range(MAX_TRIES):
        iou = spread.rng.uniform(num_degrees - 1 - degree, num_degrees - degree) / num_degrees
        moved = move_box(box, iou, spread.rng)
        if moved is None or moved[2] <= moved[0] or moved[3] <= moved[1]:
            continue
        text = BOX_FORMATS[reading.box_format].write(moved, frame)
        read, _ = parse_box(text, reading.box_format, frame)
        if read is not None and find_degree(compute_iou(box, read), num_degrees) == degree:
            return text
    return None


def _write_versions(box: Box, reading: Reading, spread: Spread) -> list[str] | None:
    """Of one box: the texts of all degrees."""
    text = BOX_FORMATS[reading.box_format].write(box, reading.frame)
    written, _ = parse_box(text, reading.box_format, reading.frame)
    if written is None:
        return None
    texts = [text]
    for degree in range(1, spread.num_degrees):
        moved = _write_moved(written, degree, reading, spread)
        if moved is None:
            return None
        texts.append(moved)
    return texts


def degrade_box(answer: str, reading: Reading, spread: Spread) -> Versions:
    """The one box that is read of an answer, farther and farther off."""
    box, _ = parse_box(answer, reading.box_format, reading.frame)
    if box is None:
        return None, NO_BOX
    texts = _write_versions(box, reading, spread)
    return (None, TOO_SMALL) if texts is None else (texts, None)


def degrade_boxes(answer: str, reading: Reading, spread: Spread) -> Versions:
    """All boxes of an answer, a line each, farther and farther off."""
    stated, _ = parse_boxes(answer, reading.box_format, reading.frame)
    if stated is None or not stated.boxes:
        return None, NO_BOX
    columns = []
    for box in stated.boxes:
        texts = _write_versions(box, reading, spread)
        if texts is None:
            return None, TOO_SMALL
        columns.append(texts)
    return ["\n".join(lines) for lines in zip(*columns, strict=True)], None


BOX = Degrader(degrade_box)
BOXES = Degrader(degrade_boxes)
