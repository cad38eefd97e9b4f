"""Rewards: a file each. A task names those that fit it (perpo_core/perception/tasks)."""

from __future__ import annotations

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target

__all__ = ["Reading", "Reward", "RewardResult", "Target"]
