"""Grounding: intersection over union of the stated box and the true one (PerPO section 3)."""

from __future__ import annotations

from perpo_core.perception.boxes import compute_iou, parse_box
from perpo_core.perception.rewards.base import (
    Answers,
    Reading,
    Results,
    Reward,
    RewardResult,
    Target,
)


def compute_iou_reward(text: str, target: Target, reading: Reading) -> RewardResult:
    """IoU in [0, 1] with target["box"] (x1, y1, x2, y2 in 0-1 of the original image)."""
    assert target["box"] is not None
    box, error = parse_box(text, reading.box_format, reading.frame)
    if box is None:
        return RewardResult(None, error=error)
    x1, y1, x2, y2 = target["box"]
    return RewardResult(compute_iou(box, (x1, y1, x2, y2)), parsed=list(box))


def compute_columns(answers: Answers) -> Results:
    """Of all that are written plainly."""
    from perpo_core.perception.rewards.box_columns import compute_ious, judge_box_columns

    return judge_box_columns(answers, compute_ious, in_pixels=False)


IOU = Reward("iou", compute_iou_reward, compute_columns=compute_columns)
