"""Four coordinates out of an answer's text, in each of the ways that models wrap them.

- four numbers with commas between them, in brackets or not: [40, 60, 120, 160];
- four numbers with blanks between them, in a box's tags: <box>40 60 120 160</box>;
- four bin tokens: <bin_40> <bin_60> <bin_120> <bin_160>;
- two corners, each in brackets of its own: [[40, 60], [120, 160]], (40,60),(120,160);
- four names with a number each, in any order: {"x1": 40, "y1": 60, "x2": 120, "y2": 160}.

The first in the text counts, or all where any number of boxes is asked for; what cannot be told to
be a box of two corners or four names is passed over. Each way takes time linear in the text.

Left out: x, y, width and height by name, and numbers with nothing but spaces between them and no
tags around them: reading those would be a guess.
"""

from __future__ import annotations

from perpo_core.perception.coordinates.corners import find_corners, list_corner_boxes
from perpo_core.perception.coordinates.lists import find_list, list_rows
from perpo_core.perception.coordinates.named import find_named, list_named
from perpo_core.perception.coordinates.order import Order, keep_order
from perpo_core.perception.coordinates.plain import NOTHING, Found, Numbers, has_comma, has_digits
from perpo_core.perception.coordinates.tagged import find_tagged, list_tagged
from perpo_core.perception.coordinates.tokens import find_bins, list_bins
from perpo_core.perception.numerals import write_plainly

__all__ = ["Numbers", "find_four_numbers", "list_four_numbers"]

WITHOUT_COMMAS = (find_tagged, find_bins)
ORDERED = (find_corners, *WITHOUT_COMMAS)
"""The ways, beside lists, in which place and not name says which coordinate a number is."""
LISTED = (list_rows, list_corner_boxes, list_tagged, list_bins)
"""The same with lists, each for all boxes of a text."""


def find_four_numbers(text: str, order: Order = keep_order) -> tuple[Numbers | None, str | None]:
    """The first four coordinates an answer states: (x1, y1, x2, y2), or (None, why not).

    `order` brings numbers without names into that order.
    """
    plain = write_plainly(text)
    if not has_digits(plain):  # as every way would find in its turn
        return None, NOTHING
    may_be_listed = has_comma(plain)  # neither list nor corner without one
    row = _bring(find_list(plain), order) if may_be_listed else None
    if row and not has_digits(plain[: row.position]):  # then nothing was found before it
        return row.numbers, row.problem
    ordered = ORDERED if may_be_listed else WITHOUT_COMMAS
    ways = [row, *(_bring(find(plain), order) for find in ordered), find_named(plain)]
    found = [way for way in ways if way]
    if not found:
        return None, NOTHING
    first = min(found, key=lambda way: way.position)
    return first.numbers, first.problem


def list_four_numbers(text: str, order: Order = keep_order) -> tuple[list[Numbers], str | None]:
    """All four coordinates that an answer states, in the text's order, and what is wrong.

    What spoils one box spoils the answer where it would be the reason for it alone.
    """
    plain = write_plainly(text)
    ways = [_bring(found, order) for list_all in LISTED for found in list_all(plain)]
    found = [way for way in (*ways, *list_named(plain)) if way]
    found.sort(key=lambda way: way.position)
    numbers = [way.numbers for way in found if way.numbers]
    problems = [way.problem for way in found if way.problem and way.position < len(plain)]
    if problems or numbers:
        return numbers, problems[0] if problems else None
    return [], next((way.problem for way in found), NOTHING)


def _bring(found: Found | None, order: Order) -> Found | None:
    if found is None or found.numbers is None:
        return found
    return found._replace(numbers=order(found.numbers))
