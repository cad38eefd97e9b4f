"""Kosmos-2's boxes: two cells of a 32 x 32 grid over the image, counted row by row from 0.

<object><patch_index_0044><patch_index_0863></object>: the cell of the upper left corner and that of
the lower right one. A corner is its cell's centre; where both lie in one row or column, the outer
edges of the two cells (https://github.com/microsoft/unilm, kosmos-2/demo/decode_string.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from perpo_core.perception.coordinates import Numbers
from perpo_core.perception.coordinates.tokens import (
    PATCH,
    compile_row,
    find_token_row,
    list_token_rows,
)
from perpo_core.perception.numerals import write_plainly

GRID_SIDE = 32  # cells
NO_PATCHES = "no two location tokens such as <patch_index_0000> in the answer"
_ROW = compile_row(PATCH)


def find_patches(text: str) -> tuple[Numbers | None, str | None]:
    """The first box of two cells: (x1, y1, x2, y2) in cells, or (None, why there is none)."""
    _, cells, problem = find_token_row(write_plainly(text), _ROW, 2)
    if cells is None:
        return None, problem or NO_PATCHES
    return _span(cells), None


def list_patches(text: str) -> tuple[list[Numbers], str | None]:
    """All of them, and what is wrong."""
    rows = list(list_token_rows(write_plainly(text), _ROW, 2))
    boxes = [_span(cells) for _, found, _ in rows for cells in found]
    problem = next((problem for _, _, problem in rows if problem), None)
    return boxes, problem or (None if boxes else NO_PATCHES)


def _span(cells: Sequence[float]) -> Numbers:
    """From the first cell to the second."""
    (top, left), (bottom, right) = (divmod(int(cell), GRID_SIDE) for cell in cells)
    inset = 0.0 if left == right or top == bottom else 0.5
    return left + inset, top + inset, right + 1 - inset, bottom + 1 - inset


def write_patches(numbers: Numbers) -> str:
    """The cells in which the corners lie, of a box in cells; its outer edges belong to it."""
    x1, y1, x2, y2 = numbers
    upper_left = GRID_SIDE * _clip(math.floor(y1)) + _clip(math.floor(x1))
    lower_right = GRID_SIDE * _clip(math.ceil(y2) - 1) + _clip(math.ceil(x2) - 1)
    return f"<object><patch_index_{upper_left:04d}><patch_index_{lower_right:04d}></object>"


def _clip(cell: int) -> int:
    return min(max(cell, 0), GRID_SIDE - 1)
