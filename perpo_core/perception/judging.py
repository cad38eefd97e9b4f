"""How an answer is judged: read in a way that has a name, and rewarded as its task says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from perpo_core.perception.boxes import Frame
from perpo_core.perception.frames import needs_policy
from perpo_core.perception.mixtures import Mixture, build_mixture
from perpo_core.perception.rewards import REWARDS, Item, Reading, RewardResult
from perpo_core.perception.tasks import TASKS
from schemas.base import TaskName
from schemas.config import RefreshConfig, ScoreConfig
from schemas.task_reward import RewardChoice

__all__ = ["READING", "Item", "Judge", "Judgement", "describe_judging", "get_choice"]

READING = 3  # raised when an answer is read or judged in another way than before


def describe_judging(config: RefreshConfig, reading: int) -> dict[str, Any]:
    """How answers are read and judged: part of the key of every stage that asks for rewards.

    `reading` is READING, or an earlier one that reads a policy's answers alike.
    """
    settings = config.score.model_dump(exclude={"workers"})
    box_format = config.policy.box_format
    # The limits of the image processor, where boxes count the pixels of what it made.
    limits = config.policy.pixel_limits.describe() if needs_policy(box_format) else {}
    return {**settings, **limits, "box_format": box_format, "reading": reading}


def get_choice(config: ScoreConfig, task: TaskName) -> RewardChoice:
    """What the configuration says of a task's reward, else the task's own default."""
    choice: RewardChoice = getattr(config, task, TASKS[task].default_reward)
    return choice


@dataclass(frozen=True)
class Judgement:
    """What an answer is worth."""

    reward: float | None
    """The total; None where a part could not read the answer."""
    value: float
    """The total, or what an answer counts as that cannot be read: 0, or less where totals are."""
    rewards: dict[str, float]
    """Every part by name; what could not be read as 0, or as the part's lowest where that is
    less."""
    parsed: Any
    """What the first part that says so saw, JSON-able; None where there is no total."""
    error: str | None
    """Why there is no total: of one reward the reason, of several "NAME: reason"."""
    measure: float | None = None
    """The task's measure, if it was asked for and could be taken."""


class Judge:
    """Rewards answers as a configuration says, many at a time."""

    def __init__(self, config: ScoreConfig, box_format: str) -> None:
        self._config, self._box_format = config, box_format
        self._mixtures: dict[TaskName, Mixture] = {}
        self.build_reading = cache(self._read)

    def judge(self, item: Item) -> Judgement:
        """What one answer is worth."""
        return self.judge_many([item])[0]

    def judge_many(self, items: Sequence[Item], with_measure: bool = False) -> list[Judgement]:
        """What each answer is worth, and `with_measure` what its task's measure says of it."""
        numbers_of: dict[TaskName, list[int]] = {}
        for number, item in enumerate(items):
            numbers_of.setdefault(item.task, []).append(number)
        judgements: dict[int, Judgement] = {}
        for task, numbers in numbers_of.items():
            of_task = [items[number] for number in numbers]
            found = self._judge_task(task, of_task, with_measure)
            judgements.update(zip(numbers, found, strict=True))
        return [judgements[number] for number in range(len(items))]

    def _judge_task(
        self, task: TaskName, items: Sequence[Item], with_measure: bool
    ) -> list[Judgement]:
        mixture = self.get_mixture(task)
        readings = [self.build_reading(item.frame) for item in items]
        columns = [p.reward.compute_many(items, readings, p.options) for p in mixture.parts]
        measures: list[float | None] = [None] * len(items)
        if with_measure:
            measures = [r.reward for r in _measure(task, mixture, columns, items, readings)]
        rows = zip(*columns, strict=True)
        return [
            _combine(mixture, row, measure) for row, measure in zip(rows, measures, strict=True)
        ]

    def get_mixture(self, task: TaskName) -> Mixture:
        """The rewards of a task, built once."""
        if task not in self._mixtures:
            self._mixtures[task] = build_mixture(get_choice(self._config, task))
        return self._mixtures[task]

    def _read(self, frame: Frame) -> Reading:
        config = self._config
        return Reading(frame, self._box_format, config.collapse_whitespace, config.count_reading)


def _measure(
    task: TaskName,
    mixture: Mixture,
    columns: Sequence[list[RewardResult]],
    items: Sequence[Item],
    readings: Sequence[Reading],
) -> list[RewardResult]:
    """The task's measure, with its default options; that of a part is not computed again."""
    reward = REWARDS[TASKS[task].measure]
    options = reward.build_options()
    for part, results in zip(mixture.parts, columns, strict=True):
        if (part.reward, part.options) == (reward, options):
            return results
    return reward.compute_many(items, readings, options)


def _combine(mixture: Mixture, results: Sequence[RewardResult], measure: float | None) -> Judgement:
    error = mixture.explain(results)
    values = [
        part.unread if result.reward is None else result.reward
        for part, result in zip(mixture.parts, results, strict=True)
    ]
    reward = mixture.combine(values) if error is None else None
    return Judgement(
        reward=reward,
        value=mixture.unread if reward is None else reward,
        rewards={p.reward.name: value for p, value in zip(mixture.parts, values, strict=True)},
        parsed=None if error else next((r.parsed for r in results if r.parsed is not None), None),
        error=error,
        measure=measure,
    )
