"""Detection: F1 of the stated boxes, matched one to one with the true ones.

2 TP / (N + M) of N stated and M true boxes, TP the largest number of pairs of IoU `threshold` or
more in which each box stands once at most. 1 where both are none, 0 where one is. A box that has no
area inside the image is stated, and wrong. In 0-1, by steps: few objects give few different values.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from perpo_core.perception.boxes import Box, StatedBoxes
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.matching import judge_boxes, match
from schemas.base import Section


class DetectionF1Options(Section):
    """Of the reward detection_f1."""

    threshold: float = Field(default=0.5, gt=0, le=1)
    """The least IoU of a stated and a true box that are the same."""


def compute_f1(stated: StatedBoxes, true: Sequence[Box], threshold: float) -> float:
    """Of boxes in 0-1, in [0, 1]."""
    if not stated.num + len(true):
        return 1.0
    hits = match(stated.boxes, true, lambda iou: float(iou >= threshold))
    return 2 * hits / (stated.num + len(true))


def compute_detection_f1(
    text: str, target: Target, reading: Reading, options: DetectionF1Options
) -> RewardResult:
    """F1 with target["boxes"]."""
    return judge_boxes(
        text, target, reading, lambda stated, true: compute_f1(stated, true, options.threshold)
    )


DETECTION_F1 = Reward(
    "detection_f1", compute_detection_f1, options=DetectionF1Options, takes_all_truths=True
)
