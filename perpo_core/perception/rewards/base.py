"""What every reward takes and returns.

A reward is a pure function of an answer's text, the truth, and what is needed to read the one
against the other. It knows no files, no model, no task queue. An answer it cannot read has no
reward but an error; whether that counts as 0 or leaves the list is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from perpo_core.perception.boxes import Frame
from schemas.config import CountReading


class Accepted(TypedDict):
    """One truth; the field of its task is set, the others are None."""

    box: list[float] | None
    """x1, y1, x2, y2, or a point x, y; 0-1 of the original image."""
    text: str | None
    count: int | None


class Target(Accepted):
    """The truth of a sample, or all that are accepted."""

    boxes: NotRequired[list[list[float]] | None]
    """Of a task that asks for any number of them; [] where none is there."""
    others: NotRequired[list[Accepted] | None]
    """Truths besides this one: an answer counts as it does against the one it is closest to."""
    image: NotRequired[int | None]
    """Which image of the prompt the boxes lie in, from 0; None: the first."""


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
