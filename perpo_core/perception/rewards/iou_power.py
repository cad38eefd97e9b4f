"""Grounding: a power of IoU, so that the last steps to the true box count more than the first.

IoU ** power, in 0-1; 2 as in Perception-R1. Wherever IoU is defined, this is.
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


class IouPowerOptions(Section):
    """Of the reward iou_power."""

    power: float = Field(default=2.0, gt=0, le=16)
    """What IoU is raised to; 1 is IoU."""


def build_measure(options: IouPowerOptions) -> Callable[[Box, Box], float]:
    """Of two boxes."""
    return lambda a, b: compute_iou(a, b) ** options.power


def compute_iou_power(
    text: str, target: Target, reading: Reading, options: IouPowerOptions
) -> RewardResult:
    """IoU ** power with target["box"]."""
    return judge_box(text, target, reading, build_measure(options))


def compute_columns(answers: Answers, options: IouPowerOptions) -> Results:
    """Of all that are written plainly."""
    return judge_box_columns(answers, build_measure(options))


IOU_POWER = Reward(
    "iou_power", compute_iou_power, options=IouPowerOptions, compute_columns=compute_columns
)
