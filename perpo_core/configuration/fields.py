"""Every key of the configuration as text: its dotted name, what is allowed, default, description.

Read from the pydantic models in schemas/config.py, so that `perpo config`, the documentation and
the error messages cannot drift from what is enforced. Left out: nothing is validated here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from perpo_core.configuration.rewards import describe_rewards, list_default_rewards
from perpo_core.configuration.words import describe_allowed, is_union, write_toml_value
from perpo_core.perception.rewards import REWARDS
from perpo_core.perception.rewards.outside import JUDGE, OWN_FORM, JudgeOptions, OwnOptions
from perpo_core.perception.tasks import TASKS
from schemas.config import RefreshConfig, ScoreConfig
from schemas.task_reward import TaskReward


class ConfigField(NamedTuple):
    """One key of the TOML file."""

    key: str
    """Dotted, e.g. "train.beta"."""
    allowed: str
    """Type and bounds in words, e.g. "a number > 0 and <= 100"."""
    default: str
    """As it is written in TOML; "required" where there is none, "left out" for no value."""
    description: str


def describe_config() -> list[ConfigField]:
    """Every key in the order of the models; a union's members say which `kind` they belong to."""
    return list(_describe_model(RefreshConfig, "", ""))


def find_models(annotation: Any) -> list[type[BaseModel]]:
    """The sections an annotation may hold: one, or the members of a union; [] for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    members = get_args(annotation) if is_union(annotation) else ()
    return [model for member in members for model in find_models(member)]


def find_rows(annotation: Any) -> list[type[BaseModel]]:
    """The section that every value of a table is; [] for what is no such table."""
    return find_models(get_args(annotation)[-1]) if get_origin(annotation) is dict else []


def get_kind(model: type[BaseModel]) -> str | None:
    """The `kind` that chooses this member of a union; None for an ordinary section."""
    field = model.model_fields.get("kind")
    return None if field is None else str(field.default)


def _describe_model(model: type[BaseModel], prefix: str, note: str) -> Iterator[ConfigField]:
    for name, field in model.model_fields.items():
        models = find_models(field.annotation)
        if len(models) > 1:
            yield _describe_kind(models, f"{prefix}{name}.kind", field)
        for section in models:
            kind = get_kind(section)
            inner_note = f'with kind = "{kind}": ' if kind else ""
            yield from _describe_model(section, f"{prefix}{name}.", inner_note)
        if not models and name != "kind":
            is_reward = model is ScoreConfig and name in TASKS
            allowed = (
                describe_rewards(name)
                if is_reward
                else describe_allowed(field.annotation, field.metadata)
            )
            description = note + " ".join((field.description or "").split())
            yield ConfigField(f"{prefix}{name}", allowed, _describe_default(field), description)
            for section in find_rows(field.annotation):
                yield from _describe_model(section, f"{prefix}{name}.KEY.", note)

    if model is ScoreConfig:
        yield from _describe_further_rewards(prefix)


def _describe_further_rewards(prefix: str) -> Iterator[ConfigField]:
    """Of tasks that the model has no line for, and the table that any task may have instead."""
    for name, default in list_default_rewards().items():
        description = f"The reward of {TASKS[name].label}."
        yield ConfigField(prefix + name, describe_rewards(name), json.dumps(default), description)
    yield from _describe_model(TaskReward, f"{prefix}TASK.", "")
    for name, reward in REWARDS.items():
        if reward.options:
            yield from _describe_model(reward.options, f"{prefix}TASK.options.{name}.", "")
    yield from _describe_model(JudgeOptions, f"{prefix}TASK.options.{JUDGE.name}.", "")
    yield from _describe_model(OwnOptions, f'{prefix}TASK.options."{OWN_FORM}".', "")


def _describe_kind(models: list[type[BaseModel]], key: str, field: FieldInfo) -> ConfigField:
    allowed = " or ".join(json.dumps(get_kind(model)) for model in models)
    description = " ".join((field.description or "").split())
    return ConfigField(key, allowed, json.dumps(field.default.kind), description)


def _describe_default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return write_toml_value(field.default)
