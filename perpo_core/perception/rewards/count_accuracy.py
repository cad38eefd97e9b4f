"""Counting: 1 - relative error, floored at 0, so that a near miss beats a wild guess."""

from __future__ import annotations

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.counts import parse_count


def compute_count_accuracy(text: str, target: Target, reading: Reading) -> RewardResult:
    """max(0, 1 - |p - t| / max(t, 1)), p the stated count and t = target["count"].

    Stating 3 where 4 is true gives 0.75; where nothing is there, every count but 0 gives 0.
    """
    assert target["count"] is not None
    count, error = parse_count(text, reading.count_reading)
    if count is None:
        return RewardResult(None, error=error)
    relative_error = abs(count - target["count"]) / max(target["count"], 1)
    return RewardResult(max(0.0, 1 - relative_error), parsed=count)


COUNT_ACCURACY = Reward("count_accuracy", compute_count_accuracy)
