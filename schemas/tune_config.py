"""The tune section of the configuration: what `perpo tune` tries, and whose choice it learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from schemas.base import Section

TunedValue = bool | int | float | str
"""What a setting may be in a trial."""
TOLERANCE = 1e-6
"""Of a step, by which the last one may miss `high`: decimal fractions are not exact."""
UserName = Literal["person", "hypervolume", "spacing", "maximum_spread", "r2"]
Sides = Literal["settings", "fronts"]
"""What is compared: two single trials, or two Pareto fronts of several."""
ChoosingSplit = Literal["validation", "selection"]
OF_FRONTS: tuple[UserName, ...] = ("spacing", "maximum_spread")
"""Users who see nothing in a single setting."""


class TuneRange(Section):
    """What a setting is tried between, or which values it is tried with."""

    low: float | None = None
    """Least value; of a setting that counts, a whole number."""
    high: float | None = None
    """Greatest value."""
    log: bool = False
    """true: in equal ratios instead of equal distances; low must be above 0 then."""
    step: float | None = Field(default=None, gt=0)
    """Only low, low + step, low + 2 step and so on up to high: trials that meet are reused. null:
    all between."""
    choices: list[TunedValue] = Field(default=[], max_length=64)
    """Instead of low and high: the values, two or more."""

    @model_validator(mode="after")
    def _check_one_way(self) -> TuneRange:
        if self.choices:
            if self.low is not None or self.high is not None or self.log or self.step:
                raise ValueError("choices stand alone; leave low, high, log and step out")
            if len({repr(value) for value in self.choices}) < max(2, len(self.choices)):
                raise ValueError("choices must be two or more different values")
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise ValueError(
                "write { low = 0.01, high = 1.0 } with low below high, or { choices = [...] }"
            )
        if self.log and self.low <= 0:
            raise ValueError(f"log = true takes ratios, and low = {self.low:g} is not above 0")
        if self.step is not None:
            self._check_step(self.step, self.high - self.low)
        return self

    def _check_step(self, step: float, width: float) -> None:
        if self.log:
            raise ValueError(
                "step is a distance and log = true takes ratios; leave one of them out"
            )
        if abs(width / step - round(width / step)) > TOLERANCE:
            raise ValueError(f"high is no whole number of steps of {step:g} above low")


class TuneConfig(Section):
    """Choosing settings by trials, for objectives that pull apart (`perpo tune`)."""

    ranges: dict[str, TuneRange] = Field(default={}, max_length=16)
    """Setting of [train] or [lists] -> what it is tried with, as ranges."train.beta" = { low =
    0.01, high = 1.0, log = true }."""
    objectives: list[str] = Field(default=[], max_length=8)
    """What is wanted of a trial, "TASK.METRIC", "TASK.retention" or "retention" (of what the start
    policy could do, the share that is kept). []: for digit scenes the headline metric of every
    task, and retention; of other sources they have to be named."""
    split: ChoosingSplit = "validation"
    """Prompts that choose. validation: every metric; the gates of a promotion look there too, so
    that what was chosen wants judging on others. selection: TASK.greedy_reward alone, as training
    measured it of the chosen checkpoint, and validation judges as ever."""
    trials: int = Field(default=16, ge=2, le=10_000)
    """Settings tried in all, failed ones included; raised, a finished study goes on."""
    startup: int = Field(default=6, ge=2, le=1000)
    """Of these, the first, which are drawn at random; the user is asked after them."""
    optimiser: Literal["utility", "random"] = "utility"
    """utility: what the learned utility expects most of; random: for comparison."""
    user: UserName = "person"
    """Who compares. The others are simulated: how much a front dominates (hypervolume), how evenly
    it lies (spacing), how far it reaches (maximum_spread), how near it comes to the best of all
    under many weights (r2)."""
    compare: Sides = "settings"
    """What is shown side by side: single trials, or the Pareto fronts of two halves of them."""
    comparisons: int = Field(default=8, ge=1, le=100)
    """Pairs that the user is asked about a round; fewer where fewer are left to ask."""
    rounds: int = Field(default=2, ge=1, le=20)
    """How often: after the first `startup` trials, then at equal distances."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the settings that are tried, and of the halves whose fronts are compared."""

    @model_validator(mode="after")
    def _check_combinations(self) -> TuneConfig:
        if self.startup > self.trials:
            raise ValueError(f"startup ({self.startup}) must not exceed trials ({self.trials})")
        if self.user in OF_FRONTS and self.compare != "fronts":
            raise ValueError(
                f'user = "{self.user}" judges the shape of a front, and a single setting has none; '
                'set compare = "fronts", or another user'
            )
        return self
