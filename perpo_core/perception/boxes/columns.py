"""The boxes that many answers state, read all at once where they are written plainly.

The same as parse_box to the last bit: the same arithmetic in the same order, a column at a time.
What numbers are no box of the format is said by the slow way, which alone has the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.perception.boxes.formats import BOX_FORMATS
from perpo_core.perception.boxes.geometry import Frame
from perpo_core.perception.boxes.parse import MAX_OVERSHOOT, place_numbers

Column = NDArray[np.float64]
Columns = tuple[Column, Column, Column, Column]
"""Four numbers a row."""
LONGEST = 256  # characters: no number in them overflows


@dataclass(frozen=True)
class StatedColumns:
    """What K of N answers state."""

    rows_K: NDArray[np.int64]
    """Which answers, ascending."""
    boxes_K: Columns
    """Internal form; without meaning where there is an error."""
    errors_K: list[str | None]


def parse_box_columns(
    texts_N: pa.StringArray,
    numbers_N: NDArray[np.int64],
    frames_M: Sequence[Frame],
    box_format: str,
) -> StatedColumns:
    """What parse_box says of those answers that are written plainly; `numbers_N` name the frames.

    Raises ValueError as parse_box does.
    """
    rows_K, written_K = _read(texts_N, box_format)
    asked_M, of_asked_K = np.unique(numbers_N[rows_K], return_inverse=True)
    frames = [frames_M[number] for number in asked_M]
    windows = [BOX_FORMATS[box_format].compute_window(frame) for frame in frames]
    windows_K = np.array(windows, np.float64).reshape(-1, 4)[of_asked_K]
    boxes_K, is_box_K = _place(written_K, _split(windows_K), box_format)
    errors_K: list[str | None] = [None] * len(rows_K)
    for place in np.flatnonzero(~is_box_K).tolist():
        x1, y1, x2, y2 = (float(column[place]) for column in written_K)
        box, errors_K[place] = place_numbers(
            (x1, y1, x2, y2), box_format, frames[of_asked_K[place]]
        )
        assert box is None
    return StatedColumns(rows_K, boxes_K, errors_K)


def _read(texts_N: pa.StringArray, box_format: str) -> tuple[NDArray[np.int64], Columns]:
    """Which answers are plain, and their x1, y1, x2, y2 in the format's units."""
    plain = BOX_FORMATS[box_format].notation.plain
    nothing = np.empty(0)
    if plain is None:
        return np.empty(0, np.int64), (nothing, nothing, nothing, nothing)
    found_N = pc.extract_regex(texts_N, plain.pattern)
    is_plain_N = pc.and_(found_N.is_valid(), pc.less(pc.binary_length(texts_N), LONGEST))
    numerals_K = found_N.filter(is_plain_N).flatten()
    order: Any = plain.order  # of numbers, and as well of arrays
    columns = order(tuple(pc.cast(each, pa.float64()).to_numpy() for each in numerals_K))
    return np.flatnonzero(is_plain_N.to_numpy(zero_copy_only=False)), columns


def _place(
    written_K: Columns, windows_K: Columns, box_format: str
) -> tuple[Columns, NDArray[np.bool_]]:
    """BoxFormat.to_internal and what parse_box does with it; whether a box comes of it."""
    x1, y1, x2, y2 = written_K
    left, top, right, bottom = windows_K
    is_box_K = _fits(written_K, left + right, top + bottom, box_format)
    width, height = right - left, bottom - top
    given = (x1 - left) / width, (y1 - top) / height, (x2 - left) / width, (y2 - top) / height
    box = tuple(map(_clamp, given))
    for xs1, ys1, xs2, ys2 in (given, box):
        is_box_K &= (xs2 > xs1) & (ys2 > ys1)
    return (box[0], box[1], box[2], box[3]), is_box_K


def _fits(
    written_K: Columns, width_K: Column, height_K: Column, box_format: str
) -> NDArray[np.bool_]:
    """Where find_convention_problem finds none, on a canvas of that size."""
    is_within_K = np.ones(len(width_K), bool)
    for number_K, side_K in zip(written_K, (width_K, height_K) * 2, strict=True):
        is_within_K &= -MAX_OVERSHOOT * side_K <= number_K
        is_within_K &= number_K <= (1 + MAX_OVERSHOOT) * side_K
    if BOX_FORMATS[box_format].notation.has_tokens:
        return is_within_K
    largest_K = reduce(np.maximum, map(np.abs, written_K))
    return is_within_K & ~((np.minimum(width_K, height_K) > 2) & (largest_K <= 1))


def _clamp(values_K: Column) -> Column:
    """min(max(value, 0.0), 1.0) as Python has it, which keeps -0.0."""
    raised_K = np.where(values_K < 0.0, 0.0, values_K)
    return np.where(raised_K > 1.0, 1.0, raised_K)


def _split(rows_K4: NDArray[np.float64]) -> Columns:
    first, second, third, fourth = rows_K4.T
    return first, second, third, fourth
