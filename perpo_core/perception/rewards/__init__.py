"""Rewards by name. A new one is a file beside these, a line here, and its name in ScoreConfig."""

from __future__ import annotations

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.count_accuracy import compute_count_accuracy
from perpo_core.perception.rewards.edit_similarity import compute_edit_similarity
from perpo_core.perception.rewards.exact_match import compute_exact_match
from perpo_core.perception.rewards.iou import compute_iou_reward

REWARDS: dict[str, Reward] = {
    "iou": compute_iou_reward,
    "edit_similarity": compute_edit_similarity,
    "count_accuracy": compute_count_accuracy,
    "exact_match": compute_exact_match,
}

__all__ = ["REWARDS", "Reading", "Reward", "RewardResult", "Target"]
