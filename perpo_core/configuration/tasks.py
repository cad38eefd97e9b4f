"""Names of tasks and of their rewards in a configuration, against the tasks that there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perpo_core.configuration.problems import TaskProblem, find_unknown
from perpo_core.configuration.rewards import find_reward_problems
from perpo_core.perception.tasks import TASKS
from schemas.config import RefreshConfig, ScoreConfig


def find_task_problems(config: RefreshConfig) -> Iterator[TaskProblem]:
    """Keys that should be tasks and are none, and rewards that mean nothing for their task."""
    tables: dict[tuple[str, ...], Mapping[str, Any]] = {
        ("lists", "min_gap"): config.lists.min_gap,
        ("promote", "min_gain"): config.promote.min_gain,
        ("promote", "max_loss"): config.promote.max_loss,
    }
    for location, table in tables.items():
        yield from find_unknown(location, table, TASKS)
    of_score = {*TASKS, *ScoreConfig.model_fields}
    yield from find_unknown(("score",), config.score.model_extra or {}, of_score)
    yield from find_reward_problems(config)
    yield from _find_benchmark_problems(config)


def _find_benchmark_problems(config: RefreshConfig) -> Iterator[TaskProblem]:
    """Gates on benchmarks that are not asked, or on metrics without a direction."""
    location, named = ("promote", "max_loss_benchmarks"), config.evaluate.benchmarks
    yield from find_unknown(location, config.promote.max_loss_benchmarks, named)
    for name in config.promote.max_loss_benchmarks.keys() & named.keys():
        metrics = config.promote.max_loss_benchmarks[name]
        yield from find_unknown((*location, name), metrics, named[name].metrics)
