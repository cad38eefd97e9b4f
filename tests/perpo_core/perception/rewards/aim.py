"""What tests of rewards of texts share."""

from __future__ import annotations

from typing import Any

from perpo_core.perception.boxes import Frame
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target

READING = Reading(Frame(100, 100), "norm1")


def aim(text: str, *others: str) -> Target:
    """A truth that is a text, with others that are accepted."""
    target: Target = {"box": None, "text": text, "count": None}
    if others:
        target["others"] = [{"box": None, "text": other, "count": None} for other in others]
    return target


def compute(reward: Reward, answer: str, *truths: str, **options: Any) -> RewardResult:
    """The result against the truth that the answer is closest to."""
    return reward.compute_best(answer, aim(*truths), READING, reward.build_options(options))


def get(reward: Reward, answer: str, *truths: str, **options: Any) -> float:
    """The same, where the answer can be read."""
    result = compute(reward, answer, *truths, **options)
    assert result.reward is not None, result.error
    return result.reward
