"""Counting: 1 where the stated count is near enough to the true one, else 0.

Near enough is |p - t| <= max(absolute, relative * t), of the stated count p and the true count t.
Where no count is stated there is an error.
"""

from __future__ import annotations

from pydantic import Field

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.counts import parse_count
from schemas.base import Section


class ToleranceOptions(Section):
    """Of the reward number_within_tolerance."""

    absolute: int = Field(default=1, ge=0, le=1_000_000)
    """How much the count may be off."""
    relative: float = Field(default=0.05, ge=0, le=1)
    """The same as a share of the true count; the larger of both counts."""


def compute_number_within_tolerance(
    text: str, target: Target, reading: Reading, options: ToleranceOptions
) -> RewardResult:
    """1.0 if the stated count is within the tolerance of target["count"], else 0.0."""
    assert target["count"] is not None
    count, error = parse_count(text, reading.count_reading)
    if count is None:
        return RewardResult(None, error=error)
    tolerance = max(options.absolute, options.relative * target["count"])
    return RewardResult(float(abs(count - target["count"]) <= tolerance), parsed=count)


NUMBER_WITHIN_TOLERANCE = Reward(
    "number_within_tolerance", compute_number_within_tolerance, options=ToleranceOptions
)
