"""How an answer is judged: read in a way that has a name, and rewarded as its task says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from perpo_core.perception.boxes import Frame
from perpo_core.perception.frames import needs_policy
from perpo_core.perception.mixtures import Mixture, Part, build_mixture, leave_out
from perpo_core.perception.own_source import OwnSource
from perpo_core.perception.rewards import REWARDS, Fault, Item, Reading, RewardResult
from perpo_core.perception.rewards.outside import JudgeOptions, OutsideReward
from perpo_core.perception.tasks import TASKS
from schemas.base import Section, TaskName
from schemas.config import RefreshConfig, ScoreConfig
from schemas.task_reward import RewardChoice

__all__ = [
    "NOT_JUDGED", "READING", "Item", "Judge", "Judgement", "Outside", "describe_judging",
    "get_choice", "list_outside", "without_outside",
]  # fmt: skip

NOT_JUDGED = "not judged"
"""How an error begins where a reward failed, and not the answer."""
REACHING = {
    "base_url", "instruction", "api_key_env", "timeout_s", "max_concurrency", "retries",
    "backoff_s", "max_calls",
}  # fmt: skip
"""Options of a judge that no reply depends on; the instruction counts by its content."""
Outside = Callable[[str, Section | None, Sequence[Item]], list[RewardResult]]
"""Does the work of outside rewards: of a reward's name, its options, and the answers."""
READING = 3  # raised when an answer is read or judged in another way than before


def describe_judging(config: RefreshConfig, reading: int) -> dict[str, Any]:
    """How answers are read and judged: part of the key of every stage that asks for rewards.

    `reading` is READING, or an earlier one that reads a policy's answers alike.
    """
    settings = config.score.model_dump(exclude={"workers", "reward_folder"})
    box_format = config.policy.box_format
    # The limits of the image processor, where boxes count the pixels of what it made.
    limits = config.policy.pixel_limits.describe() if needs_policy(box_format) else {}
    outside = _describe_outside(config.score, settings)
    return {**settings, **limits, **outside, "box_format": box_format, "reading": reading}


def get_choice(config: ScoreConfig, task: TaskName) -> RewardChoice:
    """What the configuration says of a task's reward, else the task's own default."""
    choice: RewardChoice = getattr(config, task, TASKS[task].default_reward)
    return choice


def _describe_outside(config: ScoreConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Of what outside rewards compute with; how they are reached and waited for is taken out of the
    settings. Nothing where there are none, so that keys stay what they were.
    """
    sources: dict[str, Any] = {}
    for task, part in list_outside(config):
        options = part.options
        assert options is not None
        table = settings[task]["options"] if isinstance(settings[task], dict) else {}
        if isinstance(options, JudgeOptions):
            digest = hashlib.sha256(read_instruction(options.instruction)).hexdigest()
            said = options.model_dump(mode="json", exclude=REACHING)
            sources[f"{task}: {part.reward.name}"] = {**said, "instruction": digest}
        else:
            digest = OwnSource(part.reward.name, config.reward_folder).compute_digest()
            said = options.model_dump(include={"low", "high"})
            sources[f"{task}: {part.reward.name}"] = {**said, "source": digest}
        table.pop(part.reward.name, None)
    return {"outside": sources} if sources else {}


def read_instruction(path: Path) -> bytes:
    """What a judge is told. Raises ValueError for a file that cannot be read or says nothing."""
    try:
        text = path.read_bytes()
        if text.decode().strip():
            return text
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ValueError(f"the instruction {path}: {why}; check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the instruction {path} is not UTF-8 text; save it as UTF-8") from error
    raise ValueError(f"the instruction {path} is empty; write what the judge is to do")


def list_outside(config: ScoreConfig) -> list[tuple[TaskName, Part]]:
    """The outside rewards that tasks ask for."""
    return [
        (task, part)
        for task in TASKS
        for part in build_mixture(get_choice(config, task)).parts
        if isinstance(part.reward, OutsideReward)
    ]


def without_outside(config: ScoreConfig, only_order: bool = False) -> ScoreConfig:
    """The same without outside rewards, or `only_order` without judges that put answers in order:
    what is left of a mixture, or the task's measure."""
    found: dict[TaskName, set[str]] = {}
    for task, part in list_outside(config):
        if not only_order or is_order(part.options):
            found.setdefault(task, set()).add(part.reward.name)
    changed = {
        task: leave_out(get_choice(config, task), names, TASKS[task].measure)
        for task, names in found.items()
    }
    return config.model_copy(update=changed) if changed else config


def is_order(options: object) -> bool:
    """Whether a reward says nothing but which of several answers is better."""
    return isinstance(options, JudgeOptions) and options.mode == "order"


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
    fault: Fault | None = None
    """Whose the error is; unless it is the answer's own, the answer was not judged."""
    measure: float | None = None
    """The task's measure, if it was asked for and could be taken."""


class Judge:
    """Rewards answers as a configuration says, many at a time."""

    def __init__(
        self, config: ScoreConfig, box_format: str, outside: Outside | None = None
    ) -> None:
        self._config, self._box_format, self._outside = config, box_format, outside
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
        columns = [self._compute(part, items, readings) for part in mixture.parts]
        measures: list[float | None] = [None] * len(items)
        if with_measure:
            measures = [r.reward for r in _measure(task, mixture, columns, items, readings)]
        rows = zip(*columns, strict=True)
        return [
            _combine(mixture, row, measure) for row, measure in zip(rows, measures, strict=True)
        ]

    def _compute(
        self, part: Part, items: Sequence[Item], readings: Sequence[Reading]
    ) -> list[RewardResult]:
        if isinstance(part.reward, OutsideReward) and self._outside is not None:
            return self._outside(part.reward.name, part.options, items)
        return part.reward.compute_many(items, readings, part.options)

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
    error, fault = mixture.explain(results), mixture.find_fault(results)
    if fault not in (None, "answer"):
        error = f"{NOT_JUDGED}: {error}"
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
        fault=fault,
        measure=measure,
    )
