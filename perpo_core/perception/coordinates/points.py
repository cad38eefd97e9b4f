"""Molmo's points, in percent of the image: two of them are the two corners of a box.

One by one, <point x="10.5" y="20.0" alt="cup">, or several in one tag, <points x1="10.5" y1="20.0"
x2="30.1" y2="40.2" alt="cups">. Four or more are several boxes where every second one lies right of
and below the one before it, and the first box counts; other numbers of points are none.

Left out: Molmo 2's <points coords="...">, which counts in thousandths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perpo_core.perception.coordinates.corners import are_boxes
from perpo_core.perception.coordinates.plain import PLAIN, Numbers
from perpo_core.perception.numerals import compile_pattern, write_plainly

NO_POINTS: Final = "no two points in the answer"
QUOTED: Final = r"\"[^\"<]*+\"|'[^'<]*+'"
TAG = compile_pattern(rf"<points?\s(?P<inside>(?:[^<>\"']|{QUOTED})*+)>")
# The second way is for other attributes: a text may hold what looks like a coordinate.
ATTRIBUTE = compile_pattern(
    rf"(?<!\S)(?:(?P<axis>[xy])(?P<number>[0-9]{{0,4}}+)\s*+=\s*+(?P<quote>[\"']?+)"
    rf"(?P<value>{PLAIN})(?P=quote)(?![^\s,/])|[^\s=]++=(?:{QUOTED}))"
)


def find_points(text: str) -> tuple[Numbers | None, str | None]:
    """The first box of two points: (x1, y1, x2, y2) in percent, or (None, why there is none)."""
    boxes, problem = list_point_boxes(text)
    return (boxes[0] if boxes else None), problem


def list_point_boxes(text: str) -> tuple[list[Numbers], str | None]:
    """All of them, or why there are none."""
    points = list(_list_points(write_plainly(text)))
    if None in points:
        return [], "a point in the answer lacks its x or its y"
    numbers = [coordinate for point in points if point for coordinate in point]
    if len(points) < 2:
        return [], "one point in the answer where a box has two" if points else NO_POINTS
    if len(points) > 2 and not are_boxes(numbers):
        return [], f"{len(points)} points in the answer where a box has two"
    x1s, y1s, x2s, y2s = (numbers[place::4] for place in range(4))
    return list(zip(x1s, y1s, x2s, y2s, strict=True)), None


def _list_points(text: str) -> Iterator[tuple[float, float] | None]:
    """All points in the text's order; None for one without its x or its y."""
    for tag in TAG.finditer(text):
        axes: dict[str, dict[str, float]] = {"x": {}, "y": {}}
        for attribute in ATTRIBUTE.finditer(tag["inside"]):
            if attribute["axis"]:
                axis = axes[attribute["axis"].lower()]
                axis[attribute["number"]] = float(attribute["value"])
        for number in sorted(axes["x"] | axes["y"], key=lambda number: int(number or 0)):
            is_whole = number in axes["x"] and number in axes["y"]
            yield (axes["x"][number], axes["y"][number]) if is_whole else None
