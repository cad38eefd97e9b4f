"""One reward, or several weighed into one: what a task's setting in [score] means.

The total is the sum of weight * part, clipped, and the lowest there can be where it is below the
threshold. A part that cannot read an answer costs the answer its total, since a sum without it
would rank answers by what could be read of them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from perpo_core.perception.rewards import Fault, Reward, RewardResult, find_reward
from perpo_core.perception.rewards.outside import OutsideReward
from schemas.base import Section
from schemas.task_reward import RewardChoice, TaskReward


@dataclass(frozen=True)
class Part:
    """One reward of a mixture."""

    reward: Reward
    weight: float = 1.0
    options: Section | None = None

    @property
    def unread(self) -> float:
        """What it is where it cannot read an answer: 0, or its lowest where that is less."""
        return min(0.0, self.reward.low)


@dataclass(frozen=True)
class Mixture:
    """The rewards of a task, and how they become one."""

    parts: tuple[Part, ...]
    settings: TaskReward

    @cached_property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest total there can be."""
        ends = [sorted((p.weight * p.reward.low, p.weight * p.reward.high)) for p in self.parts]
        return self._clip(sum(low for low, _ in ends)), self._clip(sum(high for _, high in ends))

    @property
    def unread(self) -> float:
        """What an answer counts as that cannot be read: 0, or the lowest where that is less."""
        return min(0.0, self.range[0])

    def combine(self, values: Sequence[float]) -> float:
        """The total of one value a part."""
        weighed = (p.weight * value for p, value in zip(self.parts, values, strict=True))
        total = self._clip(sum(weighed))
        threshold = self.settings.threshold
        return self.range[0] if threshold is not None and total < threshold else total

    def explain(self, results: Sequence[RewardResult]) -> str | None:
        """Why there is no total, of one result a part; None where there is one."""
        fault = self.find_fault(results)
        for part, result in zip(self.parts, results, strict=True):
            if result.error is not None and result.fault == fault:
                name = part.reward.name
                return f"{name}: {result.error}" if len(self.parts) > 1 else result.error
        return None

    def find_fault(self, results: Sequence[RewardResult]) -> Fault | None:
        """Of what keeps the total away; a server that may reply another time goes first."""
        faults = {result.fault for result in results if result.error is not None}
        found: tuple[Fault, ...] = ("server", "reward", "answer")
        return next((fault for fault in found if fault in faults), None)

    def _clip(self, total: float) -> float:
        low, high = self.settings.bounds
        return min(max(total, low), high)


def build_mixture(choice: RewardChoice) -> Mixture:
    """From `score.TASK`, whose names and options perpo_core/configuration has checked."""
    settings = choice if isinstance(choice, TaskReward) else TaskReward(reward=choice)
    parts = [
        _build_part(name, weight, settings.options.get(name, {}))
        for name, weight in settings.weights.items()
    ]
    return Mixture(tuple(parts), settings)


def _build_part(name: str, weight: float, given: Mapping[str, Any]) -> Part:
    reward = find_reward(name)
    assert reward is not None, name
    if isinstance(reward, OutsideReward):
        reward = reward.fit(given)
    return Part(reward, weight, reward.build_options(given))


def leave_out(choice: RewardChoice, names: Container[str], instead: str) -> RewardChoice:
    """A task's rewards without some, or `instead` where nothing that weighs is left."""
    settings = choice if isinstance(choice, TaskReward) else TaskReward(reward=choice)
    if not any(name in names for name in settings.weights):
        return choice
    weights = {name: weight for name, weight in settings.weights.items() if name not in names}
    if not any(weights.values()):
        return instead
    options = {name: given for name, given in settings.options.items() if name not in names}
    return settings.model_copy(update={"reward": weights, "options": options})
