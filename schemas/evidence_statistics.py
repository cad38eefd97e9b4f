"""Statistics of a comparison of methods over seeds and prompts (docs/evidence.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Frozen

Direction = Literal["better", "worse", "open"]
"""Of the second method against the first; open: these data do not tell."""


class Difference(Frozen):
    """A second method against a first one, on the same seeds and prompts."""

    delta: float
    """Second minus first, mean over seeds and prompts."""
    low: float
    high: float
    """95% interval of this difference by itself."""
    p_value: float = Field(gt=0, le=1)
    """Two-sided, of no difference; below 0.05 exactly where the interval leaves out 0."""
    effect_size: float | None
    """delta over the standard deviation, P - 1, of the prompts' differences (means over seeds);
    None where every prompt has the same one."""
    se: float = Field(ge=0)
    """Standard error of delta."""
    seeds: int = Field(ge=1)
    """With 1 the interval says nothing of other seeds."""
    prompts: int = Field(ge=1)
    images: int = Field(ge=1)
    resamples: int = Field(ge=1)


class Verdict(Frozen):
    """A difference as one of a family of comparisons."""

    difference: Difference
    p_adjusted: float = Field(gt=0, le=1)
    """Holm's, over the family."""
    direction: Direction
    """better or worse where p_adjusted is below 0.05."""


class Headroom(Frozen):
    """How much of the way from the start's greedy answer to its best of n a method has gone."""

    closed: float
    """(method greedy - start greedy) / (start best of n - start greedy), ratio of the means."""
    low: float
    high: float
    """95% interval, both means resampled together."""
    gain: float
    room: float = Field(gt=0)
    seeds: int = Field(ge=1)
    prompts: int = Field(ge=1)
    images: int = Field(ge=1)
    resamples: int = Field(ge=1)
