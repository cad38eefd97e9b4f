"""Grounding: complete IoU (Zheng et al., AAAI 2020, arXiv 1911.08287, equations 8 to 11).

CIoU = DIoU - alpha v, with v = 4 / pi^2 (atan(w_t / h_t) - atan(w / h))^2 of the two boxes' widths
and heights in pixels, and alpha = v / (1 - IoU + v). Above -1.5, up to 1 for equal boxes; at most
DIoU. For equal boxes alpha would be 0 / 0; alpha v is 0 wherever v is.

Left out: alpha = 0 below IoU 0.5, as the same authors have it later (arXiv 2005.03572).
"""

from __future__ import annotations

import math
from functools import partial

from perpo_core.perception.boxes import Box, compute_iou
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.diou import compute_diou
from perpo_core.perception.rewards.stated_box import judge_box, judge_box_columns


def compute_ciou(a: Box, b: Box) -> float:
    """Of two boxes in pixels, in (-1.5, 1]."""
    angles = [math.atan2(box[2] - box[0], box[3] - box[1]) for box in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    penalty = v * v / (max(1 - compute_iou(a, b), 0.0) + v) if v > 0 else 0.0
    return compute_diou(a, b) - penalty


def compute_ciou_reward(text: str, target: Target, reading: Reading) -> RewardResult:
    """CIoU with target["box"]."""
    return judge_box(text, target, reading, compute_ciou)


CIOU = Reward(
    "ciou",
    compute_ciou_reward,
    low=-1.5,
    compute_columns=partial(judge_box_columns, measure=compute_ciou),
)
