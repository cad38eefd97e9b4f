"""Points: at degree k between k/K and (k + 1)/K of half a diagonal away from the answer's own.

Half a diagonal is where the reward of pointing ends (perpo_core.perception.rewards.pointing), and
from any point the image reaches as far. What counts is the distance of what is read of the texts.
"""

from __future__ import annotations

import math

from perpo_core.perception.degrading.base import Degrader, Spread, Versions
from perpo_core.perception.rewards.base import Reading
from perpo_core.perception.rewards.pointing import (
    FAR,
    Point,
    compute_distance,
    parse_point,
    write_point,
)

NO_POINT, NO_ROOM = "no point is stated", "no room for a point so far away"
MAX_TRIES = 1000


def find_degree(a: Point, b: Point, reading: Reading, num_degrees: int) -> int:
    """The degree of a point against another, K and more from half a diagonal on."""
    distance = compute_distance(a, (*b, *b), reading.frame)
    return math.floor(num_degrees * distance / FAR)


def _draw_point(point: Point, degree: int, reading: Reading, spread: Spread) -> Point:
    """A point at a drawn distance of that degree, in a drawn direction; it may lie outside."""
    frame = reading.frame
    share = spread.rng.uniform(degree, degree + 1) / spread.num_degrees
    distance = FAR * share * math.hypot(frame.width, frame.height)  # pixels
    angle = spread.rng.uniform(0, 2 * math.pi)
    x = point[0] + distance * math.cos(angle) / frame.width
    return x, point[1] + distance * math.sin(angle) / frame.height


def _write_moved(point: Point, degree: int, reading: Reading, spread: Spread) -> str | None:
    """The text of a point of that degree; None where none was found."""
    for _ in range(MAX_TRIES):
        moved = _draw_point(point, degree, reading, spread)
        if not all(0 <= number <= 1 for number in moved):
            continue
        text = write_point(moved, reading.box_format, reading.frame)
        read, _ = parse_point(text, reading.box_format, reading.frame)
        if read and find_degree(read, point, reading, spread.num_degrees) == degree:
            return text
    return None


def degrade_point(answer: str, reading: Reading, spread: Spread) -> Versions:
    """The point that is read of an answer, farther and farther off."""
    point, _ = parse_point(answer, reading.box_format, reading.frame)
    if point is None:
        return None, NO_POINT
    texts = [write_point(point, reading.box_format, reading.frame)]
    written, _ = parse_point(texts[0], reading.box_format, reading.frame)
    if written is None:
        return None, NO_POINT
    for degree in range(1, spread.num_degrees):
        moved = _write_moved(written, degree, reading, spread)
        if moved is None:
            return None, NO_ROOM
        texts.append(moved)
    return texts, None


POINT = Degrader(degrade_point)
