"""The true box of a row: in pixels of the upright image or in 0-1, never guessed.

Whether the numbers of a whole file look like another convention is for `perpo doctor` to say
(perpo_core/doctor/boxes.py); `find_given_box` is what it counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpo_core.perception.boxes import Box
from perpo_core.perception.truths.agreement import (
    BOX_FORMAT,
    TOLERANCE_PIXELS,
    check_answer,
    check_norm_frame,
    check_pixel_frame,
    check_second_box,
)
from perpo_core.perception.truths.row import (
    MissingKey,
    Raw,
    RowError,
    Size,
    is_finite_number,
    show_value,
)

ABSENT = (
    "an object that is not there has no box and no IoU; ask for it in a counting row whose "
    "answer is 0, or remove the row"
)


@dataclass(frozen=True)
class GivenBox:
    """Four numbers as a row gives them, whatever they mean."""

    key: str
    """box or box_norm."""
    numbers: Box
    size: tuple[int, int]
    """Width and height of the upright image in pixels."""


def find_given_box(raw: Raw, size: Size) -> GivenBox | None:
    """The numbers of a row that should have a box, good or bad; None unless four finite ones."""
    key = "box" if raw.get("box") is not None else "box_norm"
    numbers = _find_four_numbers(raw.get(key))
    return None if numbers is None else GivenBox(key, numbers, size)


def parse_box(raw: Raw, where: str, size: Size) -> Box:
    """`box` in pixels where there is one, else `box_norm`; checked in pixels, returned in 0-1.

    Where a row says the same thing twice (`box` and `box_norm`, an `answer` besides), both must
    agree. Raises RowError.
    """
    key = _find_key(raw, where)
    box = _get_box_in_pixels(raw, key, where, size)
    if key == "box":
        check_pixel_frame(raw, box, where, size)
    else:
        check_norm_frame(raw, where, size)
    inside = _clamp(box, f"{where}: {key} {show_value(raw[key])}", size)
    if key == "box" and raw.get("box_norm") is not None:
        norm = _get_box_in_pixels(raw, "box_norm", where, size)
        check_second_box(raw, box, norm, where, size)
    x1, y1, x2, y2 = (v / side for v, side in zip(inside, (*size, *size), strict=True))
    check_answer(raw, (x1, y1, x2, y2), where, size)
    return x1, y1, x2, y2


def _find_key(raw: Raw, where: str) -> str:
    for key in ("box", "box_norm"):
        value = raw.get(key)
        if value is not None and value != [] and value != [None] * 4:
            return key
    if "box" in raw or "box_norm" in raw:
        key = "box" if "box" in raw else "box_norm"
        raise RowError("missing answer", f"{where}: {key} is {show_value(raw[key])}; {ABSENT}")
    said = f"{where}: a grounding row needs box ({BOX_FORMAT}) or box_norm (0-1)"
    raise MissingKey("missing answer", said, "box")


def _get_box_in_pixels(raw: Raw, key: str, where: str, size: Size) -> Box:
    numbers = _find_four_numbers(raw[key])
    if numbers is None:
        raise RowError(
            "bad box", f"{where}: {key} {show_value(raw[key])} is not four finite numbers"
        )
    if key == "box":
        return numbers
    x1, y1, x2, y2 = numbers
    return x1 * size[0], y1 * size[1], x2 * size[0], y2 * size[1]


def _clamp(box: Box, shown: str, size: Size) -> list[float]:
    """The box inside the image; `shown` opens the sentence of the RowError where it is none."""
    if box[2] <= box[0] or box[3] <= box[1]:
        absent = f"; {ABSENT}" if len(set(box)) == 1 else ""
        raise RowError(
            "empty box", f"{shown} must have x1 < x2 and y1 < y2 (x1, y1, x2, y2){absent}"
        )
    limits = (*size, *size)
    overshoot = max(max(-v, v - limit) for v, limit in zip(box, limits, strict=True))
    if overshoot > TOLERANCE_PIXELS:
        raise RowError(
            "box outside the image",
            f"{shown} reaches {overshoot:.6g} pixels outside the {size[0]}x{size[1]} image "
            "(upright, after EXIF orientation)",
        )
    inside = [min(max(v, 0.0), float(limit)) for v, limit in zip(box, limits, strict=True)]
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        raise RowError("empty box", f"{shown} lies on the edge of the {size[0]}x{size[1]} image")
    return inside


def _find_four_numbers(value: object) -> Box | None:
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_finite_number, value)):
        return None
    x1, y1, x2, y2 = (float(item) for item in value)
    return x1, y1, x2, y2
