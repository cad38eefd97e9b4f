"""Grounding: generalized IoU (Rezatofighi et al., CVPR 2019, arXiv 1902.09630, algorithm 1).

GIoU = IoU - (C - U) / C, U the area of the union and C that of the smallest box around both. Above
-1, up to 1 for equal boxes; at most IoU. Two misses differ by how far apart they are, which IoU
cannot tell. A stated and a true box have areas, so that U and C are more than 0.
"""

from __future__ import annotations

from functools import partial

from perpo_core.perception.boxes import Box, compute_iou
from perpo_core.perception.boxes.geometry import compute_area, compute_hull, compute_intersection
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.stated_box import judge_box, judge_box_columns


def compute_giou(a: Box, b: Box) -> float:
    """Of two boxes, in (-1, 1]; what areas underflow to 0 is as IoU has it."""
    hull = compute_area(compute_hull(a, b))
    if hull == 0:
        return compute_iou(a, b)
    union = compute_area(a) + compute_area(b) - compute_intersection(a, b)
    # Rounding may leave the union a trifle larger.
    return compute_iou(a, b) - max(hull - union, 0.0) / hull


def compute_giou_reward(text: str, target: Target, reading: Reading) -> RewardResult:
    """GIoU with target["box"]."""
    return judge_box(text, target, reading, compute_giou)


GIOU = Reward(
    "giou",
    compute_giou_reward,
    low=-1.0,
    compute_columns=partial(judge_box_columns, measure=compute_giou),
)
