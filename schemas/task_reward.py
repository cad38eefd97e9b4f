"""What an answer to a task is worth: one reward by name, or a table that weighs several."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from schemas.base import RewardName, Section

Weight = Annotated[float, Field(ge=-100, le=100)]
Bound = Annotated[float, Field(ge=-1_000_000, le=1_000_000)]
TEXT, TABLE = "(text)", "(table)"
"""Tags, so that what is wrong is told of what was meant; they stand in pydantic's locations, and in
no file."""


def _tell_apart(given: Any) -> str:
    return TABLE if isinstance(given, dict | TaskReward) else TEXT


BY_KIND = Discriminator(_tell_apart)


class TaskReward(Section):
    """The table of a task in [score]: rewards and their options, weighed (docs/rewards.md)."""

    reward: Annotated[
        Annotated[RewardName, Tag(TEXT)] | Annotated[dict[RewardName, Weight], Tag(TABLE)], BY_KIND
    ]
    """One reward, or a table of rewards and weights, whose sum of weight * reward is the total. A
    weight of 0 computes a reward and keeps it beside the total, to which it adds nothing."""
    options: dict[RewardName, dict[str, JsonValue]] = {}
    """Reward -> its options, as they are listed below."""
    clip: tuple[Bound, Bound] | None = None
    """Lowest and highest total: what lies beyond them counts as they do. Left out: as it comes."""
    threshold: Bound | None = None
    """A total below this counts as the lowest there can be. Left out: none does."""

    @model_validator(mode="after")
    def _check_clip(self) -> TaskReward:
        if self.clip and not self.clip[0] < self.clip[1]:
            low, high = self.clip
            raise ValueError(f"clip [{low:g}, {high:g}] has to be [lowest, highest]; correct it")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Reward -> weight, in the order in which they are written."""
        return {self.reward: 1.0} if isinstance(self.reward, str) else self.reward

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the total."""
        return self.clip or (-math.inf, math.inf)


RewardChoice = Annotated[
    Annotated[RewardName, Tag(TEXT)] | Annotated[TaskReward, Tag(TABLE)], BY_KIND
]
"""What `score.TASK` may be; names are checked in perpo_core/configuration."""
