"""Four coordinates out of an answer's text, in each of the ways that models wrap them.

- four numbers with commas between them, in brackets or not: [40, 60, 120, 160];
- two corners, each in brackets of its own: [[40, 60], [120, 160]], (40,60),(120,160);
- four names with a number each, in any order: {"x1": 40, "y1": 60, "x2": 120, "y2": 160}.

The first in the text counts; what cannot be told to be a box of two corners or four names is passed
over. Each way takes time linear in the text.

Left out: x, y, width and height, and numbers with nothing but spaces between them: reading those
would be a guess.
"""

from __future__ import annotations

from perpo_core.perception.coordinates.corners import find_corners
from perpo_core.perception.coordinates.lists import find_list
from perpo_core.perception.coordinates.named import find_named
from perpo_core.perception.coordinates.plain import NOTHING, Numbers, has_digits
from perpo_core.perception.numerals import write_plainly

__all__ = ["Numbers", "find_four_numbers"]


def find_four_numbers(text: str) -> tuple[Numbers | None, str | None]:
    """The first four coordinates an answer states: (x1, y1, x2, y2), or (None, why not)."""
    plain = write_plainly(text)
    row = find_list(plain)
    if row and not has_digits(plain[: row.position]):  # then nothing was found before it
        return row.numbers, row.problem
    found = [way for way in (row, find_corners(plain), find_named(plain)) if way]
    if not found:
        return None, NOTHING
    first = min(found, key=lambda way: way.position)
    return first.numbers, first.problem
