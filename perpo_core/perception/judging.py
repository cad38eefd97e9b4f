"""How an answer is judged: read in a way that has a name, and rewarded as its task says."""

from __future__ import annotations

from typing import Any

from perpo_core.perception.boxes import Frame
from perpo_core.perception.frames import needs_policy
from perpo_core.perception.rewards import Reading, RewardResult, Target
from perpo_core.perception.tasks import TASKS
from schemas.base import TaskName
from schemas.config import RefreshConfig, ScoreConfig

READING = 3  # raised when an answer is read or judged in another way than before


def describe_judging(config: RefreshConfig, reading: int) -> dict[str, Any]:
    """How answers are read and judged: part of the key of every stage that asks for rewards.

    `reading` is READING, or an earlier one that reads a policy's answers alike.
    """
    settings = config.score.model_dump(exclude={"workers"})
    box_format = config.policy.box_format
    # The limits of the image processor, where boxes count the pixels of what it made.
    limits = config.policy.pixel_limits.describe() if needs_policy(box_format) else {}
    return {**settings, **limits, "box_format": box_format, "reading": reading}


def score_text(
    text: str, task: TaskName, target: Target, frame: Frame, box_format: str, config: ScoreConfig
) -> RewardResult:
    """The reward of one answer under the task's configured reward; reward None if unreadable."""
    reading = Reading(frame, box_format, config.collapse_whitespace, config.count_reading)
    return TASKS[task].rewards[name_reward(config, task)](text, target, reading)


def name_reward(config: ScoreConfig, task: TaskName) -> str:
    """The reward of a task: what the configuration names, else the task's own default."""
    return str(getattr(config, task, TASKS[task].default_reward))
