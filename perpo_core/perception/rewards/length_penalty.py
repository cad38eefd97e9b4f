"""Any task: below 0 for long answers, as DAPO's soft punishment (arXiv 2503.14476, equation 13).

0 up to `free` characters, falling linearly to -1 at `full` and staying there:
-min(1, max(0, length - free) / (full - free)). Characters of all that was written, thoughts too,
since a reward sees no tokens. No answer is unreadable.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from schemas.base import Section


class LengthPenaltyOptions(Section):
    """Of the reward length_penalty."""

    free: int = Field(default=1000, ge=0, le=1_000_000)
    """Characters that cost nothing."""
    full: int = Field(default=2000, ge=1, le=1_000_000)
    """Characters from which on the penalty is 1; more than `free`."""

    @model_validator(mode="after")
    def _check_order(self) -> LengthPenaltyOptions:
        if self.full <= self.free:
            raise ValueError(f"full ({self.full}) has to be more than free ({self.free}); raise it")
        return self


def compute_length_penalty(
    text: str, target: Target, reading: Reading, options: LengthPenaltyOptions
) -> RewardResult:
    """In [-1, 0], by the number of characters of `text`."""
    del target, reading
    beyond = max(0, len(text) - options.free) / (options.full - options.free)
    return RewardResult(0.0 - min(1.0, beyond))


LENGTH_PENALTY = Reward(
    "length_penalty",
    compute_length_penalty,
    low=-1.0,
    high=0.0,
    options=LengthPenaltyOptions,
    takes_all_truths=True,
)
