"""The true boxes of a row: any number of them, none too, each checked as one box is."""

from __future__ import annotations

from typing import Any

from perpo_core.perception.boxes import Box
from perpo_core.perception.truths.boxes import GivenBox, find_given_box, parse_box
from perpo_core.perception.truths.row import MissingKey, Raw, RowError, Size, show_value

SINGULAR = {"boxes": "box", "boxes_norm": "box_norm"}
OF_A_BOX = ("box_format", "width", "height")
MAX_BOXES = 1000


def parse_boxes(raw: Raw, where: str, size: Size) -> list[Box]:
    """`boxes` in pixels or `boxes_norm`, returned in 0-1; [] where nothing is. Raises RowError."""
    given = [key for key in SINGULAR if raw.get(key) is not None]
    if not given:
        keys = "boxes (pixels of the upright image) or boxes_norm (0-1)"
        said = f"{where}: a detection row needs {keys}, a list of boxes, [] where nothing is"
        raise MissingKey("missing answer", said, "boxes")
    if len(given) > 1:
        said = f"{where}: {' and '.join(given)} are two truths of one row; keep one"
        raise RowError("two truths", said)
    [key] = given
    boxes = _check_list(raw, key, where)
    return [
        parse_box(_single_out(raw, key, box), f"{where}, {key} item {number}", size)
        for number, box in enumerate(boxes, start=1)
    ]


def find_first_given_box(raw: Raw, size: Size) -> GivenBox | None:
    """The first box of a row as it is given, for a look at conventions."""
    for key in SINGULAR:
        boxes = raw.get(key)
        if isinstance(boxes, list) and boxes:
            return find_given_box(_single_out(raw, key, boxes[0]), size)
    return None


def _check_list(raw: Raw, key: str, where: str) -> list[Any]:
    boxes = raw[key]
    if not isinstance(boxes, list) or not all(isinstance(box, list) for box in boxes):
        said = (
            f"{where}: {key} {show_value(boxes)} is no list of boxes; write "
            "[[x1, y1, x2, y2], ...], or [] where nothing is"
        )
        raise RowError("bad boxes", said)
    if len(boxes) > MAX_BOXES:
        said = f"{where}: {key} has {len(boxes)} boxes and may have {MAX_BOXES}; cut the image"
        raise RowError("too many boxes", said)
    seen: list[list[Any]] = []
    for box in boxes:
        if box in seen:
            said = f"{where}: {key} has the box {show_value(box)} twice; keep one"
            raise RowError("doubled box", said)
        seen.append(box)
    return boxes


def _single_out(raw: Raw, key: str, box: object) -> Raw:
    """A row with one of its boxes."""
    return {**{name: raw[name] for name in OF_A_BOX if name in raw}, SINGULAR[key]: box}
