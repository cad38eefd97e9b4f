"""Names of tasks and of their rewards in a configuration, against the tasks that there are."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from perpo_core.perception.tasks import TASKS
from schemas.config import RefreshConfig, ScoreConfig


class TaskProblem(NamedTuple):
    """A name that means nothing."""

    location: tuple[str, ...]
    """Of the key, e.g. ("lists", "min_gap", "countin")."""
    value: Any
    sentence: str


def find_task_problems(config: RefreshConfig) -> Iterator[TaskProblem]:
    """Keys that should be tasks and are none, and rewards that do not fit their task."""
    tables: dict[tuple[str, ...], Mapping[str, Any]] = {
        ("lists", "min_gap"): config.lists.min_gap,
        ("promote", "min_gain"): config.promote.min_gain,
        ("promote", "max_loss"): config.promote.max_loss,
    }
    for location, table in tables.items():
        yield from _find_unknown(location, table, TASKS)
    of_score = {*TASKS, *ScoreConfig.model_fields}
    yield from _find_unknown(("score",), config.score.model_extra or {}, of_score)
    yield from _find_unfit(config.score)


def list_reward_settings() -> dict[str, str]:
    """Task -> its default reward, of those that have no line in the schema."""
    return {
        name: task.default_reward
        for name, task in TASKS.items()
        if name not in ScoreConfig.model_fields
    }


def describe_rewards(task: str) -> str:
    """What `score.TASK` may be, in words."""
    return " or ".join(json.dumps(reward) for reward in TASKS[task].rewards)


def _find_unknown(
    location: tuple[str, ...], table: Mapping[str, Any], known: Iterable[str]
) -> Iterator[TaskProblem]:
    for name, value in table.items():
        if name not in known:
            key = ".".join((*location, name))
            near = difflib.get_close_matches(name.lower(), list(known), n=1)
            advice = (
                f"did you mean {'.'.join((*location, near[0]))}?"
                if near
                else (f"known here: {', '.join(sorted(known))}")
            )
            yield TaskProblem((*location, name), value, f"unknown key {key}; {advice}")


def _find_unfit(config: ScoreConfig) -> Iterator[TaskProblem]:
    for name, task in TASKS.items():
        reward = getattr(config, name, task.default_reward)
        if reward not in task.rewards:
            sentence = f"score.{name} = {json.dumps(reward)} is not allowed; allowed: "
            yield TaskProblem(("score", name), reward, sentence + describe_rewards(name))
