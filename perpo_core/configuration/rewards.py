"""The rewards of tasks in [score]: names that fit, their options, and totals that can differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from perpo_core.configuration.problems import TaskProblem, find_unknown
from perpo_core.configuration.words import describe_allowed, write_toml_value
from perpo_core.perception.mixtures import build_mixture
from perpo_core.perception.own_source import OwnSource
from perpo_core.perception.rewards import GENERAL, find_reward
from perpo_core.perception.rewards.outside import JUDGE, OWN, OWN_FORM, is_own
from perpo_core.perception.tasks import TASKS
from schemas.config import RefreshConfig, ScoreConfig
from schemas.task_reward import TaskReward

Location = tuple[str, ...]


def list_fitting(task: str) -> tuple[str, ...]:
    """Names of the rewards that fit a task, the default first; beside them any MODULE:FUNCTION."""
    return (*TASKS[task].rewards, *GENERAL, JUDGE.name)


def describe_rewards(task: str) -> str:
    """What `score.TASK` may be, in words."""
    names = " or ".join(map(json.dumps, (*list_fitting(task), OWN_FORM)))
    return f"{names}, or a table of {', '.join(TaskReward.model_fields)}"


def list_default_rewards() -> dict[str, str]:
    """Task -> its default reward, of those that have no line in the schema."""
    return {
        name: task.default_reward
        for name, task in TASKS.items()
        if name not in ScoreConfig.model_fields
    }


def find_reward_problems(config: RefreshConfig) -> Iterator[TaskProblem]:
    """Rewards that mean nothing; where there are none, gaps that no list can have."""
    problems = list(_find_choices(config.score))
    yield from problems or _find_gaps(config)


def _find_choices(score: ScoreConfig) -> Iterator[TaskProblem]:
    """Rewards that do not fit their task, options that they have not, totals that never differ."""
    for name, task in TASKS.items():
        choice = getattr(score, name, task.default_reward)
        where = ("score", name)
        if not isinstance(choice, TaskReward):
            problems = [*_find_unfit(where, name, choice, score.reward_folder)]
            yield from problems or _find_missing(where, choice, {})
            continue
        problems = [
            *_find_names(where, name, choice, score.reward_folder),
            *_find_options(where, choice),
        ]
        yield from problems or _find_totals(where, choice)


def _find_unfit(
    where: Location, task: str, reward: str, folder: Path | None
) -> Iterator[TaskProblem]:
    if is_own(reward):
        yield from _find_own(where, reward, folder)
    elif reward not in list_fitting(task):
        said = f"{'.'.join(where)} = {json.dumps(reward)} is not allowed; allowed: "
        yield TaskProblem(where, reward, said + describe_rewards(task))


def _find_own(where: Location, reward: str, folder: Path | None) -> Iterator[TaskProblem]:
    """One's own reward that is not there; nothing of it is run."""
    said = f"{'.'.join(where)} = {json.dumps(reward)}"
    if not OWN.fullmatch(reward):
        said += f' is not "{OWN_FORM}", such as "my_module:my_reward"; correct it'
        yield TaskProblem(where, reward, said)
        return
    try:
        OwnSource(reward, folder).check_function()
    except ValueError as error:
        yield TaskProblem(where, reward, f"{said}: {error}")


def _find_missing(where: Location, name: str, options: Mapping[str, Any]) -> Iterator[TaskProblem]:
    """Options that a reward cannot be without."""
    reward = find_reward(name)
    model = reward.options if reward else None
    for option, field in model.model_fields.items() if model else ():
        if field.is_required() and option not in options:
            key = ".".join((*where[:2], "options", name, option))
            yield TaskProblem(where, name, f"{key} is missing; {name} wants it")


def _find_names(
    where: Location, task: str, choice: TaskReward, folder: Path | None
) -> Iterator[TaskProblem]:
    where = (*where, "reward")
    if isinstance(choice.reward, str):
        yield from _find_unfit(where, task, choice.reward, folder)
        return
    own = [name for name in choice.reward if is_own(name)]
    for name in own:
        yield from _find_own(where, name, folder)
    yield from find_unknown(where, choice.reward, [*list_fitting(task), *own])
    if not any(choice.reward.values()):
        said = (
            f"{'.'.join(where)} = {write_toml_value(choice.reward)} has no weight but 0, so that "
            f"all answers would be worth the same; give one, for example "
            f"{{{TASKS[task].default_reward} = 1.0}}"
        )
        yield TaskProblem(where, choice.reward, said)


def _find_options(where: Location, choice: TaskReward) -> Iterator[TaskProblem]:
    where = (*where, "options")
    yield from find_unknown(where, choice.options, choice.weights)
    for name, given in choice.options.items():
        if name in choice.weights and find_reward(name):
            yield from find_unfit_options((*where, name), name, given)
    for name in choice.weights:
        yield from _find_missing(where, name, choice.options.get(name, {}))


def find_unfit_options(
    where: Location, name: str, given: Mapping[str, Any]
) -> Iterator[TaskProblem]:
    reward = find_reward(name)
    assert reward is not None
    model = reward.options
    if model is None:
        said = f"{'.'.join(where)}: {name} has no options; remove it"
        yield TaskProblem(where, given, said)
        return
    yield from find_unknown(where, given, model.model_fields)
    try:
        reward.build_options(given)
    except ValidationError as error:
        for problem in error.errors():
            why = problem["ctx"]["error"] if problem["type"] == "value_error" else None
            option = str(problem["loc"][0]) if problem["loc"] else ""
            if not option:  # of several together
                yield TaskProblem(where, given, f"{'.'.join(where)}: {why}")
            elif option in given and option in model.model_fields:
                yield _explain_option((*where, option), model.model_fields[option], given, why)


def _explain_option(
    key: Location, field: FieldInfo, given: Mapping[str, Any], why: Exception | None
) -> TaskProblem:
    value = given[key[-1]]
    allowed = describe_allowed(field.annotation, field.metadata)
    # What may be a secret in the wrong place is not repeated.
    shown = write_toml_value(value) if field.repr else "(not shown)"
    said = f"{'.'.join(key)} = {shown} is not allowed; "
    return TaskProblem(key, value, said + str(why or f"allowed: {allowed}"))


def _find_totals(where: Location, choice: TaskReward) -> Iterator[TaskProblem]:
    """Of names and options that are right."""
    low, high = build_mixture(choice).range
    key = ".".join(where)
    if low == high:
        said = f"{key}.clip: every total would be {low:g}; correct the clip"
        yield TaskProblem((*where, "clip"), choice.clip, said)
    elif choice.threshold is not None and not low < choice.threshold <= high:
        said = (
            f"{key}.threshold = {choice.threshold:g} parts no totals, which go from {low:g} to "
            f"{high:g}; give one between them"
        )
        yield TaskProblem((*where, "threshold"), choice.threshold, said)


def _find_gaps(config: RefreshConfig) -> Iterator[TaskProblem]:
    for name, gap in config.lists.min_gap.items():
        if name not in TASKS:
            continue  # told by itself
        low, high = build_mixture(getattr(config.score, name, TASKS[name].default_reward)).range
        if gap > high - low:
            said = (
                f"lists.min_gap.{name} = {gap:g} is more than two totals of {name} can differ by, "
                f"{high - low:g}; lower it"
            )
            yield TaskProblem(("lists", "min_gap", name), gap, said)
