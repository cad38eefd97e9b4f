"""Grounding: 1 where IoU reaches a threshold, else 0; at 0.5 it is RefCOCO's accuracy.

Wherever IoU is defined, this is. Lists have two ranks at most.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from perpo_core.perception.boxes import Box, compute_iou
from perpo_core.perception.rewards.base import (
    Answers,
    Reading,
    Results,
    Reward,
    RewardResult,
    Target,
)
from perpo_core.perception.rewards.stated_box import judge_box, judge_box_columns
from schemas.base import Section


class IouThresholdOptions(Section):
    """Of the reward iou_threshold."""

    threshold: float = Field(default=0.5, gt=0, le=1)
    """The least IoU that counts as right."""


def build_measure(options: IouThresholdOptions) -> Callable[[Box, Box], float]:
    """Of two boxes."""
    return lambda a, b: float(compute_iou(a, b) >= options.threshold)


def compute_iou_threshold(
    text: str, target: Target, reading: Reading, options: IouThresholdOptions
) -> RewardResult:
    """Whether IoU with target["box"] is the threshold or more."""
    return judge_box(text, target, reading, build_measure(options))


def compute_columns(answers: Answers, options: IouThresholdOptions) -> Results:
    """Of all that are written plainly."""
    return judge_box_columns(answers, build_measure(options))


IOU_THRESHOLD = Reward(
    "iou_threshold",
    compute_iou_threshold,
    options=IouThresholdOptions,
    compute_columns=compute_columns,
)
