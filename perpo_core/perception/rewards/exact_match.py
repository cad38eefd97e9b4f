"""Counting: 1 for the true count, else 0."""

from __future__ import annotations

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.counts import parse_count


def compute_exact_match(text: str, target: Target, reading: Reading) -> RewardResult:
    """1.0 if the stated count is target["count"], else 0.0."""
    count, error = parse_count(text, reading.count_reading)
    if count is None:
        return RewardResult(None, error=error)
    return RewardResult(float(count == target["count"]), parsed=count)


EXACT_MATCH = Reward("exact_match", compute_exact_match)
