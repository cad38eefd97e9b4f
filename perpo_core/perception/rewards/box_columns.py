"""Rewards of one box, of all answers at once that are written plainly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.perception.boxes import Box
from perpo_core.perception.boxes.columns import Column, Columns, parse_box_columns
from perpo_core.perception.rewards.base import Answers, Results

SHORTEST = 1e-4  # smaller numbers are written with an exponent


def judge_box_columns(
    answers: Answers, measure: Callable[[Columns, Columns], Column], in_pixels: bool
) -> Results:
    """`measure` of (stated, true) boxes [K], in pixels or in 0-1; errors as parse_box has them."""
    frames = [question.frame for question in answers.questions_M]
    box_format = answers.readings_M[0].box_format
    stated = parse_box_columns(answers.texts_N, answers.numbers_N, frames, box_format)
    is_box_K = np.array([error is None for error in stated.errors_K], bool)
    good_B = np.flatnonzero(is_box_K)
    boxes_B = _take(stated.boxes_K, good_B)
    numbers_B = answers.numbers_N[stated.rows_K[good_B]]
    true_B = _take(_list_truths(answers), numbers_B)
    compared = (boxes_B, true_B)
    if in_pixels:
        sizes_M = np.array([(f.width, f.height) for f in frames], np.float64)
        width_B, height_B = sizes_M[numbers_B].T
        compared = _scale(boxes_B, width_B, height_B), _scale(true_B, width_B, height_B)
    # A place of good_B a row, null where there is no box.
    places_K = pa.array(np.cumsum(is_box_K) - 1, mask=~is_box_K)
    return Results(
        stated.rows_K,
        pa.array(measure(*compared), pa.float64()).take(places_K),
        write_boxes(boxes_B).take(places_K),
        pa.array(stated.errors_K, pa.string()),
    )


def map_boxes(measure: Callable[[Box, Box], float]) -> Callable[[Columns, Columns], Column]:
    """A measure of two boxes as one of columns."""

    def measure_columns(stated: Columns, true: Columns) -> Column:
        pairs = zip(_list_rows(stated), _list_rows(true), strict=True)
        return np.array([measure(a, b) for a, b in pairs], np.float64)

    return measure_columns


def compute_ious(a: Columns, b: Columns) -> Column:
    """compute_iou of rows of boxes."""
    width = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    intersection = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    union = _compute_areas(a) + _compute_areas(b) - intersection
    # Where nothing is common the union may be 0 too.
    found = np.divide(intersection, union, where=intersection > 0, out=np.zeros_like(union))
    return np.minimum(1.0, found)


def write_boxes(boxes_K: Columns) -> pa.StringArray:
    """A JSON list of four numbers a row, each as Python writes it."""
    x1, y1, x2, y2 = map(write_floats, boxes_K)
    return pc.binary_join_element_wise("[", x1, ", ", y1, ", ", x2, ", ", y2, "]", "")


def write_floats(values_K: Column) -> pa.StringArray:
    """repr of numbers. Arrow too writes as few digits as tell them from any other, but not 1.0."""
    written = pc.cast(pa.array(values_K), pa.string())
    is_other_K = ~((values_K >= SHORTEST) & (values_K < 1))
    others = pa.array([repr(value) for value in values_K[is_other_K].tolist()], pa.string())
    return pc.replace_with_mask(written, pa.array(is_other_K), others) if len(others) else written


def _compute_areas(box: Columns) -> Column:
    return (box[2] - box[0]) * (box[3] - box[1])


def _list_rows(columns: Columns) -> list[Box]:
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _list_truths(answers: Answers) -> Columns:
    """The true box of every question."""
    truths = [question.target["box"] for question in answers.questions_M]
    x1, y1, x2, y2 = np.array(truths, np.float64).reshape(-1, 4).T
    return x1, y1, x2, y2


def _take(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    first, second, third, fourth = (column[rows] for column in columns)
    return first, second, third, fourth


def _scale(box: Columns, width: Column, height: Column) -> Columns:
    x1, y1, x2, y2 = box
    return x1 * width, y1 * height, x2 * width, y2 * height
