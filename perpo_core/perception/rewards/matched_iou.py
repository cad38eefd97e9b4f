"""Detection: IoU of the stated boxes, matched one to one with the true ones, over max(N, M).

The largest sum of IoU over pairs in which each box stands once at most, divided by the larger of N
stated and M true boxes: what lacks and what is too much costs alike. 1 where both are none, 0 where
one is. A box that has no area inside the image is stated, and worth 0. In 0-1, and rising with
every box that fits better, which F1 does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from perpo_core.perception.boxes import Box, StatedBoxes
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.matching import judge_boxes, match


def compute_mean_iou(stated: StatedBoxes, true: Sequence[Box]) -> float:
    """Of boxes in 0-1, in [0, 1]."""
    most = max(stated.num, len(true))
    return match(stated.boxes, true, lambda iou: iou) / most if most else 1.0


def compute_matched_iou(text: str, target: Target, reading: Reading) -> RewardResult:
    """Mean matched IoU with target["boxes"]."""
    return judge_boxes(text, target, reading, compute_mean_iou)


MATCHED_IOU = Reward("matched_iou", compute_matched_iou, takes_all_truths=True)
