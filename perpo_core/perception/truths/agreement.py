"""What a row says twice must agree: the box, its image's size, an answer in the box's place.

Each contradiction is a file that was converted wrongly, or half corrected; nothing here decides
which of the two is right.
"""

from __future__ import annotations

import json

from perpo_core.perception.boxes import BOX_FORMATS, Box, Frame
from perpo_core.perception.boxes import parse_box as parse_stated_box
from perpo_core.perception.truths.row import Raw, RowError, Size, show_value

BOX_FORMAT = "xyxy_pixels"  # pixels of the upright image, x2 and y2 exclusive
TOLERANCE_PIXELS = 1.0  # rounding of whoever wrote the box; more is another image's box
TOLERANCE_SHARE = 0.01  # of a side: 0-1 numbers are written with two decimals at least


def check_pixel_frame(raw: Raw, box: Box, where: str, size: Size) -> None:
    """Pixels of this very image? The commonest silent mistake is a box of another convention."""
    box_format = raw.get("box_format", BOX_FORMAT)
    if box_format not in (None, BOX_FORMAT):
        raise RowError(
            "unknown box format",
            f"{where}: box_format {show_value(box_format)} is not known; write {BOX_FORMAT!r}, "
            "or box_norm instead of box",
        )
    if min(box) >= 0 and 0 < max(box) <= 1 and max(size) > 1:
        raise RowError(
            "unknown box format",
            f"{where}: box {show_value(raw['box'])} looks like 0-1 numbers; name it box_norm",
        )
    check_same_size(raw, "box", where, size)


def check_same_size(raw: Raw, truth_key: str, where: str, size: Size) -> None:
    """A truth in pixels is of an image of the size that the row states, if it states one."""
    if any(raw.get(key) not in (None, side) for key, side in _name_sides(size)):
        raise RowError(
            "wrong image size",
            f"{where}: {_show_stated(raw)} but the image is {size[0]}x{size[1]} (upright), so "
            f"{truth_key} {show_value(raw[truth_key])} may be of another image",
        )


def check_norm_frame(raw: Raw, where: str, size: Size) -> None:
    """box_norm has one meaning, and it survives scaling but neither turning nor cutting."""
    if raw.get("box_format") is not None:
        raise RowError(
            "unknown box format",
            f"{where}: box_format beside box_norm: box_norm is always x1, y1, x2, y2 in 0-1 of the "
            "image; remove box_format, or give box in pixels",
        )
    check_same_shape(raw, "box_norm", where, size)


def check_same_shape(raw: Raw, truth_key: str, where: str, size: Size) -> None:
    """A truth in 0-1 survives scaling, so that an image of another size may have it."""
    stated = (raw.get("width"), raw.get("height"))
    scales = [
        side / actual
        for side, actual in zip(stated, size, strict=True)
        if isinstance(side, int | float) and side > 0
    ]
    if len(scales) == 2 and abs(scales[0] - scales[1]) > TOLERANCE_SHARE * max(scales) + 1 / min(
        size
    ):
        raise RowError(
            "wrong image size",
            f"{where}: {_show_stated(raw)} but the image is {size[0]}x{size[1]} (upright), of "
            f"another shape, so {truth_key} {show_value(raw[truth_key])} may be of another image",
        )


def _name_sides(size: Size) -> tuple[tuple[str, int], ...]:
    return ("width", size[0]), ("height", size[1])


def _show_stated(raw: Raw) -> str:
    given = [key for key in ("width", "height") if raw.get(key) is not None]
    values = "x".join(show_value(raw[key]) for key in given)
    return f"{' and '.join(given)} {'say' if len(given) > 1 else 'says'} {values}"


def check_second_box(raw: Raw, box: Box, norm: Box, where: str, size: Size) -> None:
    """`box` and `box_norm`, both in pixels here, must be one box, as exactly as it is written."""
    slack = [max(TOLERANCE_PIXELS, TOLERANCE_SHARE * side) for side in (*size, *size)]
    if any(abs(a - b) > c for a, b, c in zip(box, norm, slack, strict=True)):
        raise RowError(
            "two boxes",
            f"{where}: box {show_value(raw['box'])} and box_norm {show_value(raw['box_norm'])} are "
            f"not the same box of the {size[0]}x{size[1]} image; keep the right one",
        )


def check_answer(raw: Raw, box: Box, where: str, size: Size) -> None:
    """An answer beside the box may only be that box, as some model would write it."""
    answer = raw.get("answer")
    if answer in (None, "", []):
        return
    text, frame = answer if isinstance(answer, str) else json.dumps(answer), Frame(*size)
    formats = [name for name in BOX_FORMATS if name != "pixels_resized"]  # no model is at hand
    stated = [found for name in formats if (found := parse_stated_box(text, name, frame)[0])]
    if not any(max(abs(a - b) for a, b in zip(box, s, strict=True)) < 0.02 for s in stated):
        raise RowError(
            "two truths",
            f"{where}: answer {show_value(answer)} beside the box of a grounding row is not that "
            "box; the box is the truth, remove answer",
        )
