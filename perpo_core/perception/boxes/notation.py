"""How the four numbers of a box stand in a text, to and fro: a list, location tokens, points.

A notation's numbers are always x1, y1, x2, y2 in the units of its format; what a family writes in
another order is brought into this one here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from perpo_core.perception.boxes.patches import find_patches, list_patches, write_patches
from perpo_core.perception.coordinates import Numbers, find_four_numbers, list_four_numbers
from perpo_core.perception.coordinates.order import (
    Order,
    from_centre,
    keep_order,
    swap_axes,
    to_centre,
)
from perpo_core.perception.coordinates.plain_answers import (
    PLAIN_LIST,
    Plain,
    write_plain_tokens,
)
from perpo_core.perception.coordinates.points import find_points, list_point_boxes
from perpo_core.perception.coordinates.tokens import (
    LOC,
    LOC_,
    compile_row,
    find_token_row,
    list_token_rows,
)
from perpo_core.perception.numerals import write_plainly


@dataclass(frozen=True)
class Notation:
    """Reading and writing four numbers."""

    find: Callable[[str], tuple[Numbers | None, str | None]]
    """The numbers an answer states, or (None, why there are none)."""
    find_all: Callable[[str], tuple[list[Numbers], str | None]]
    """Those of all boxes that it states, and what is wrong: with one of them, or why none is."""
    write: Callable[[Numbers], str]
    has_tokens: bool = False
    """Whether its tokens occur in no other format, so that small numbers cannot be 0-1."""
    is_y_first: bool = False
    """Whether it writes y before x."""
    plain: Plain | None = None
    """How its answers are written nearly always, if many can be read at once."""
    num_decimals: int = 0
    """Of the numbers that it writes."""
    max_steps: float = 0.5
    """How far writing moves an edge of a box at most, in steps of the last decimal."""


def write_list(
    num_decimals: int,
    order: Order = keep_order,
    template: str = "[{}, {}, {}, {}]",
    read_order: Order | None = None,
) -> Notation:
    """Numbers in digits, read in every way of perpo_core.perception.coordinates.

    `order` is that of writing, and that of reading too unless `read_order` says otherwise.
    """

    def write(numbers: Numbers) -> str:
        return template.format(*(f"{number:.{num_decimals}f}" for number in order(numbers)))

    find = partial(find_four_numbers, order=read_order or order)
    find_all = partial(list_four_numbers, order=read_order or order)
    plain = Plain(PLAIN_LIST, read_order or order)
    # An edge is the centre and half the side: both are rounded.
    max_steps = 0.75 if order is to_centre else 0.5
    return Notation(
        find, find_all, write, is_y_first=order is swap_axes, plain=plain,
        num_decimals=num_decimals, max_steps=max_steps,
    )  # fmt: skip


def write_tokens(token: str, template: str, num_bins: int, order: Order = keep_order) -> Notation:
    """Four location tokens in a row, and nothing else: the number of the bin in each.

    `token` is the pattern of one, `template` its text.
    """
    row, example = compile_row(token), template.format(0)
    nothing = f"no four location tokens such as {example} in the answer"

    def find(text: str) -> tuple[Numbers | None, str | None]:
        _, values, problem = find_token_row(write_plainly(text), row, 4)
        if values is None:
            return None, problem or nothing
        return order((values[0], values[1], values[2], values[3])), None

    def find_all(text: str) -> tuple[list[Numbers], str | None]:
        rows = list(list_token_rows(write_plainly(text), row, 4))
        boxes = [order((a, b, c, d)) for _, found, _ in rows for a, b, c, d in found]
        problem = next((problem for _, _, problem in rows if problem), None)
        return boxes, problem or (None if boxes else nothing)

    def write(numbers: Numbers) -> str:
        bins = (min(max(math.floor(number + 0.5), 0), num_bins - 1) for number in order(numbers))
        return "".join(map(template.format, bins))

    plain = Plain(write_plain_tokens(token), order)
    # The right edge of an image may lie one bin beyond the last.
    return Notation(find, find_all, write, has_tokens=True, plain=plain, max_steps=1)


def _write_points(numbers: Numbers) -> str:
    x1, y1, x2, y2 = numbers
    return f'<points x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" alt="box">box</points>'


CENTRE = write_list(3, to_centre, read_order=from_centre)
BOX_2D = write_list(0, swap_axes, '{{"box_2d": [{}, {}, {}, {}]}}')
BRACES = write_list(0, template="{{<{}><{}><{}><{}>}}")
LOC_YX = write_tokens(LOC, "<loc{:04d}>", 1024, swap_axes)
LOC_XY = write_tokens(LOC_, "<loc_{}>", 1000)
PATCHES = Notation(find_patches, list_patches, write_patches, has_tokens=True, max_steps=1)
POINTS = Notation(find_points, list_point_boxes, _write_points, num_decimals=1)
