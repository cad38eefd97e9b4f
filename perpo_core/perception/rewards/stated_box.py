"""What rewards of one box share: the stated box against the true one, in pixels of the image.

In pixels, since distances and shapes are what an eye sees: in 0-1 of a wide image a step to the
right would count less than one down.
"""

from __future__ import annotations

from collections.abc import Callable

from perpo_core.perception.boxes import Box, Frame, parse_box
from perpo_core.perception.rewards.base import Answers, Reading, Results, RewardResult, Target


def judge_box(
    text: str, target: Target, reading: Reading, measure: Callable[[Box, Box], float]
) -> RewardResult:
    """`measure` of (stated, true) box, x1, y1, x2, y2 in pixels; an error where none is stated."""
    assert target["box"] is not None
    box, error = parse_box(text, reading.box_format, reading.frame)
    if box is None:
        return RewardResult(None, error=error)
    x1, y1, x2, y2 = target["box"]
    stated, true = (_to_pixels(each, reading.frame) for each in (box, (x1, y1, x2, y2)))
    return RewardResult(measure(stated, true), parsed=list(box))


def judge_box_columns(answers: Answers, measure: Callable[[Box, Box], float]) -> Results:
    """judge_box of all answers that are written plainly, read at once and measured one by one."""
    from perpo_core.perception.rewards import box_columns

    return box_columns.judge_box_columns(answers, box_columns.map_boxes(measure), in_pixels=True)


def _to_pixels(box: Box, frame: Frame) -> Box:
    x1, y1, x2, y2 = box
    return x1 * frame.width, y1 * frame.height, x2 * frame.width, y2 * frame.height
