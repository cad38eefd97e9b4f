"""What every reward takes and returns.

A reward is a pure function of an answer's text, the truth, and what is needed to read the one
against the other. It knows no files, no model, no task queue. An answer it cannot read has no
reward but an error; whether that counts as 0 or leaves the list is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from perpo_core.perception.boxes import Frame
from schemas.config import CountReading


class Target(TypedDict):
    """The truth of a sample; the field of its task is set, the others are None."""

    box: list[float] | None
    text: str | None
    count: int | None


@dataclass(frozen=True)
class Reading:
    """How answers are read."""

    frame: Frame
    box_format: str
    collapse_whitespace: bool = True
    count_reading: CountReading = "digits"


@dataclass(frozen=True)
class RewardResult:
    """Either a reward in [0, 1] and what the parser saw, or an error."""

    reward: float | None
    parsed: Any = None
    """JSON-able."""
    error: str | None = None

    def __post_init__(self) -> None:
        assert (self.reward is None) == (self.error is not None)
        assert self.reward is None or 0 <= self.reward <= 1


Reward = Callable[[str, Target, Reading], RewardResult]
