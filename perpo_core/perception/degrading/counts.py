"""Counts: k off at degree k, upwards or downwards as it is drawn, never below 0."""

from __future__ import annotations

from perpo_core.perception.degrading.base import Degrader, Spread, Versions
from perpo_core.perception.rewards.base import Reading
from perpo_core.perception.rewards.counts import parse_count

NO_COUNT = "no count is stated"


def degrade_count(answer: str, reading: Reading, spread: Spread) -> Versions:
    """The count in digits, which every reading takes, and counts that are 1, 2, ... off."""
    count, _ = parse_count(answer, reading.count_reading)
    if count is None:
        return None, NO_COUNT
    offs = range(1, spread.num_degrees)
    signs = [-1 if off <= count and spread.rng.random() < 0.5 else 1 for off in offs]
    return [str(count), *(str(count + s * o) for s, o in zip(signs, offs, strict=True))], None


COUNT = Degrader(degrade_count)
