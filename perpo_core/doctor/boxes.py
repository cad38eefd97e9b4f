"""Boxes that look like another convention than x1, y1, x2, y2: told by all rows together.

One box of x, y, width, height is often a good box of another place; a hundred are not. So every
grounding row of a file is counted, those that are set aside too, under each convention that people
use; the one under which all boxes lie inside their images is named. Nothing is converted. Left out:
a file put together from two conventions, where a turned corner looks like a width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.naming import name_row
from perpo_core.perception.truths.boxes import GivenBox
from perpo_core.stages.collect.sources.rows import SampleRow, SetAside

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
NAMES = {"box": "boxes", "box_norm": "box_norm boxes"}
TOLERANCE = 1.0  # pixels a box may overshoot
ALL = 0.98  # of the boxes: a slip of the pen hides no convention
SOME = 0.1  # of the boxes: fewer bad ones are slips of the pen
FEW = 20  # fewer boxes may all lie in one corner by chance
CORNER = 0.55  # of width and height: beyond it no box of a smaller image reaches


@dataclass(frozen=True)
class Boxes:
    """Every box that a file gives under one key."""

    key: str
    rows: list[str]
    numbers_N4: Numbers
    sides_N4: Numbers
    """Width, height, width, height of each image in pixels."""

    def to_pixels(self, numbers_N4: Numbers) -> Numbers:
        """Numbers in the key's own unit, in pixels."""
        return numbers_N4 if self.key == "box" else numbers_N4 * self.sides_N4

    def find_fitting(self, corners_N4: Numbers) -> Mask:
        """Which boxes [N], as corners in pixels, are boxes inside their images."""
        inside = (corners_N4 >= -TOLERANCE) & (corners_N4 <= self.sides_N4 + TOLERANCE)
        return np.asarray(_are_in_order(corners_N4) & inside.all(axis=1))


@dataclass(frozen=True)
class Reading:
    """What the numbers may mean."""

    name: str
    corners_N4: Numbers
    """In pixels, if so."""
    advice: str


def check_boxes(rows: list[SampleRow | SetAside]) -> Iterator[Finding]:
    """One finding a file and key where its boxes look like another convention."""
    given: dict[tuple[str, str], list[tuple[str, GivenBox]]] = {}
    for row in rows:
        name, noted = (
            (row.row, row.noted) if isinstance(row, SetAside) else (row["row"], row["noted"])
        )
        if noted.box is not None:
            file = name.rpartition(":")[0]
            given.setdefault((file, noted.box.key), []).append((name, noted.box))
    for (_, key), of_file in given.items():
        what = _find_convention(_gather(key, of_file))
        if what:
            yield Finding("warning", f"source: {what}")


def _gather(key: str, given: list[tuple[str, GivenBox]]) -> Boxes:
    numbers = np.array([box.numbers for _, box in given], dtype=np.float64)
    sides = np.array([box.size * 2 for _, box in given], dtype=np.float64)
    return Boxes(key, [name for name, _ in given], numbers, sides)


def _find_convention(boxes: Boxes) -> str | None:
    """What to say of these boxes, or None."""
    fits = boxes.find_fitting(boxes.to_pixels(boxes.numbers_N4))
    if fits.all():
        return _find_corner(boxes)
    if (~fits).mean() < SOME:
        return None
    for reading in (*_read_orders(boxes), *_read_units(boxes)):
        fits_so = boxes.find_fitting(reading.corners_N4)
        if fits_so.mean() >= ALL:
            return (
                f"{_count_bad(boxes, fits)} are no x1, y1, x2, y2 inside their images, but "
                f"{int(fits_so.sum()):,} are boxes inside them as {reading.name}: these boxes look "
                f"like {reading.name}, and those that fit by chance are wrong too; {reading.advice}"
            )
    return _find_larger_image(boxes, fits)


def _read_orders(boxes: Boxes) -> Iterator[Reading]:
    """The same unit, other numbers."""
    start, extent = boxes.numbers_N4[:, :2], boxes.numbers_N4[:, 2:]
    from_corner = np.hstack([start, start + extent])
    around = np.hstack([start - extent / 2, start + extent / 2])
    yield Reading(
        "x, y, width, height",
        boxes.to_pixels(from_corner),
        "write [x, y, x + width, y + height]",
    )
    yield Reading(
        "centre x, centre y, width, height",
        boxes.to_pixels(around),
        "write [x - width / 2, y - height / 2, x + width / 2, y + height / 2]",
    )
    yield Reading(
        "y1, x1, y2, x2",
        boxes.to_pixels(boxes.numbers_N4[:, [1, 0, 3, 2]]),
        "write [x1, y1, x2, y2]",
    )


def _read_units(boxes: Boxes) -> Iterator[Reading]:
    """The same order, another unit: where most boxes cannot be of the key's own."""
    numbers, sides = boxes.numbers_N4, boxes.sides_N4
    largest = numbers.max()
    if boxes.key == "box_norm" and (numbers.max(axis=1) > 1).mean() >= ALL:
        if largest <= 100:
            yield Reading("percent", numbers / 100 * sides, "divide them by 100")
        else:
            yield Reading("pixels", numbers, "name them box")
    if 700 < largest <= 1000:
        advice = "divide them by 1000 and name them box_norm"
        yield Reading("0-1000 of the image", numbers / 1000 * sides, advice)


def _find_larger_image(boxes: Boxes, fits: Mask) -> str | None:
    """Corners in the right order that reach far outside: the image was scaled, its boxes not."""
    corners = boxes.to_pixels(boxes.numbers_N4)
    in_order = _are_in_order(corners) & (corners >= -TOLERANCE).all(axis=1)
    if in_order.mean() < ALL:
        return None
    reach = float((corners[in_order] / boxes.sides_N4[in_order]).max())
    return (
        f"{_count_bad(boxes, fits)} reach outside their images, up to {reach:.3g} times as far as "
        "the image does, with their corners in order: they look like boxes of larger images; scale "
        "them as the images were"
    )


def _find_corner(boxes: Boxes) -> str | None:
    """All boxes of many in the upper left corner: their numbers are of a smaller image or unit."""
    reach = float((boxes.to_pixels(boxes.numbers_N4) / boxes.sides_N4).max())
    if len(boxes.rows) < FEW or reach > CORNER:
        return None
    largest = boxes.numbers_N4.max()
    guess = "boxes of smaller images"
    if boxes.key == "box" and largest <= 100:
        guess += ", or percent (divide by 100 and name them box_norm)"
    if boxes.key == "box" and 700 < largest <= 1000:
        guess += ", or 0-1000 of the image (divide by 1000 and name them box_norm)"
    return (
        f"none of {len(boxes.rows):,} {NAMES[boxes.key]} reaches beyond {reach:.0%} of its image's "
        f"width or height, and no number beyond {largest:g}: they look like {guess}; look at one"
    )


def _count_bad(boxes: Boxes, fits: Mask) -> str:
    first = int(np.argmin(fits))
    numbers = ", ".join(f"{number:g}" for number in boxes.numbers_N4[first])
    return (
        f"{int((~fits).sum()):,} of {len(boxes.rows):,} {NAMES[boxes.key]} (first "
        f"{name_row(boxes.rows[first])}: [{numbers}])"
    )


def _are_in_order(corners_N4: Numbers) -> Mask:
    return np.asarray((corners_N4[:, :2] < corners_N4[:, 2:]).all(axis=1))
