"""Grounding: distance IoU (Zheng et al., AAAI 2020, arXiv 1911.08287, equation 7).

DIoU = IoU - d^2 / c^2, d the distance of the two centres and c the diagonal of the smallest box
around both, in pixels. Above -1, up to 1 for equal boxes; at most IoU. A box has two different
corners, so that c is more than 0.
"""

from __future__ import annotations

from functools import partial

from perpo_core.perception.boxes import Box, compute_iou
from perpo_core.perception.boxes.geometry import compute_hull
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.stated_box import judge_box, judge_box_columns


def compute_diou(a: Box, b: Box) -> float:
    """Of two boxes in pixels, in (-1, 1]; where the squares underflow to 0 it is IoU."""
    hull = compute_hull(a, b)
    diagonal = (hull[2] - hull[0]) ** 2 + (hull[3] - hull[1]) ** 2
    if diagonal == 0:
        return compute_iou(a, b)
    dx, dy = (a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2
    return compute_iou(a, b) - (dx**2 + dy**2) / diagonal


def compute_diou_reward(text: str, target: Target, reading: Reading) -> RewardResult:
    """DIoU with target["box"]."""
    return judge_box(text, target, reading, compute_diou)


DIOU = Reward(
    "diou",
    compute_diou_reward,
    low=-1.0,
    compute_columns=partial(judge_box_columns, measure=compute_diou),
)
