"""Tables: TEDS of the structure alone, what cells say left out (Zhong et al. 2020: TEDS-Struct)."""

from __future__ import annotations

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.teds import TedsOptions, compare_tables


def compute_teds_structure(
    text: str, target: Target, reading: Reading, options: TedsOptions
) -> RewardResult:
    """As teds, with every cell blank."""
    return compare_tables(text, target, reading, options, with_contents=False)


TEDS_STRUCTURE = Reward("teds_structure", compute_teds_structure, options=TedsOptions)
