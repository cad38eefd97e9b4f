"""One-to-one matching of stated boxes with true ones, by scipy's assignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perpo_core.perception.boxes import Box, StatedBoxes, compute_iou, parse_boxes
from perpo_core.perception.rewards.base import Reading, RewardResult, Target


def match(stated: Sequence[Box], true: Sequence[Box], worth: Callable[[float], float]) -> float:
    """The largest sum of worth(IoU) over pairs in which each box stands once at most."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and for detection only

    if not stated or not true:
        return 0.0
    worths_NM = [[worth(compute_iou(a, b)) for b in true] for a in stated]
    rows, columns = linear_sum_assignment(worths_NM, maximize=True)
    return float(sum(worths_NM[i][j] for i, j in zip(rows, columns, strict=True)))


def judge_boxes(
    text: str,
    target: Target,
    reading: Reading,
    measure: Callable[[StatedBoxes, Sequence[Box]], float],
) -> RewardResult:
    """`measure` of (stated, true) boxes; an error where the answer says neither which nor none."""
    truth = target.get("boxes")
    assert truth is not None
    stated, error = parse_boxes(text, reading.box_format, reading.frame)
    if stated is None:
        return RewardResult(None, error=error)
    true = [(x1, y1, x2, y2) for x1, y1, x2, y2 in truth]
    return RewardResult(measure(stated, true), parsed=[list(box) for box in stated.boxes])
