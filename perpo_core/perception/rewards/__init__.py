"""Rewards by name: a file each, and a line here. Tasks list the names of those that fit them."""

from __future__ import annotations

from perpo_core.perception.rewards.base import (
    Accepted,
    Item,
    Reading,
    Reward,
    RewardResult,
    Target,
)
from perpo_core.perception.rewards.count_accuracy import COUNT_ACCURACY
from perpo_core.perception.rewards.edit_similarity import EDIT_SIMILARITY
from perpo_core.perception.rewards.exact_match import EXACT_MATCH
from perpo_core.perception.rewards.iou import IOU
from perpo_core.perception.rewards.pointing import POINTING

REWARDS: dict[str, Reward] = {
    reward.name: reward
    for reward in (
        IOU,
        EDIT_SIMILARITY,
        COUNT_ACCURACY,
        EXACT_MATCH,
        POINTING,
    )
}
GENERAL: tuple[str, ...] = ()
"""Those that fit any task, since they read the answer alone."""

__all__ = [
    "GENERAL",
    "REWARDS",
    "Accepted",
    "Item",
    "Reading",
    "Reward",
    "RewardResult",
    "Target",
]
