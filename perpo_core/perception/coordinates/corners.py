"""Two corners, each in brackets of its own: [[40, 60], [120, 160]], or (40,60),(120,160).

Corners with nothing but commas, brackets and white space between them belong together, and two are
a box. More are several boxes, of which the first counts, where what stands within a box differs
from what stands between two, or where every second corner lies right of and below the one before
it; else they are some other shape. Of brackets with other numbers among them nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from perpo_core.perception.coordinates.plain import (
    COMMA,
    PLAIN,
    Found,
    has_comma,
    has_digits,
    take_first,
)
from perpo_core.perception.numerals import compile_pattern

BRACKET = compile_pattern(r"[\[(](?P<inside>[^\[\](){}]*+)[\])]")
CORNER = compile_pattern(rf"\s*+(?P<x>{PLAIN})\s*+{COMMA}\s*+(?P<y>{PLAIN})\s*+")
BETWEEN = compile_pattern(rf"(?:\s|{COMMA}|[\[\](){{}}])*+")


class Corner(NamedTuple):
    """Brackets with numbers: where they start and end, x and y; both None if it is no corner."""

    start: int
    end: int
    x: float | None
    y: float | None


def find_corners(text: str) -> Found | None:
    """The first box of two corners in a text that is written plainly."""
    return take_first(list_corner_boxes(text), len(text))


def list_corner_boxes(text: str) -> Iterator[Found]:
    """All of them, in the text's order; what is some other shape says so."""
    for corners in _group(text):
        numbers = [n for corner in corners for n in corner[2:] if n is not None]
        if len(numbers) < 2 * len(corners) or len(corners) < 2:
            continue
        between = ["".join(text[a.end : b.start].split()) for a, b in pairwise(corners)]
        if len(corners) == 2 or _alternate(between) or are_boxes(numbers):
            for number, corner in enumerate(corners[::2]):
                x1, y1, x2, y2 = numbers[4 * number : 4 * number + 4]
                yield Found(corner.start, (x1, y1, x2, y2))
        else:
            yield Found(len(text), None, f"{len(corners)} corners where a box has two")


def _group(text: str) -> Iterator[list[Corner]]:
    corners: list[Corner] = []
    for corner in _list_corners(text):
        if corners and not BETWEEN.fullmatch(text, corners[-1].end, corner.start):
            yield corners
            corners = []
        corners.append(corner)
    yield corners


def _list_corners(text: str) -> Iterator[Corner]:
    for bracket in BRACKET.finditer(text):
        start, end = bracket.span()
        corner = CORNER.fullmatch(bracket["inside"])
        if corner:
            yield Corner(start, end, float(corner["x"]), float(corner["y"]))
        elif has_digits(bracket["inside"]) and has_comma(bracket["inside"]):
            yield Corner(start, end, None, None)


def _alternate(between: list[str]) -> bool:
    inside, outside = set(between[::2]), set(between[1::2])
    return len(between) % 2 == 1 and len(inside) == len(outside) == 1 and inside != outside


def are_boxes(numbers: list[float]) -> bool:
    """Whether the corners are the upper left and the lower right ones of boxes, in turn."""
    boxes = [numbers[i : i + 4] for i in range(0, len(numbers), 4)]
    return all(len(box) == 4 and box[0] < box[2] and box[1] < box[3] for box in boxes)
