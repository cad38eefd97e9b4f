"""In which order a format writes the four numbers of a box, where names do not say it."""

from __future__ import annotations

from collections.abc import Callable

from perpo_core.perception.coordinates.plain import Numbers

Order = Callable[[Numbers], Numbers]
"""From the four numbers as they are written to x1, y1, x2, y2."""


def keep_order(numbers: Numbers) -> Numbers:
    """x1, y1, x2, y2 as they are."""
    return numbers


def swap_axes(numbers: Numbers) -> Numbers:
    """From y1, x1, y2, x2, and back again."""
    y1, x1, y2, x2 = numbers
    return x1, y1, x2, y2


def from_centre(numbers: Numbers) -> Numbers:
    """From the centre's x and y, width and height."""
    x, y, width, height = numbers
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def to_centre(numbers: Numbers) -> Numbers:
    """What `from_centre` undoes."""
    x1, y1, x2, y2 = numbers
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
