"""Every key of the configuration as text: its dotted name, what is allowed, default, description.

Read from the pydantic models in schemas/config.py, so that `perpo config`, the documentation and
the error messages cannot drift from what is enforced. Left out: nothing is validated here.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from perpo_core.configuration.tasks import describe_rewards, list_reward_settings
from perpo_core.perception.tasks import TASKS
from schemas.base import TaskName
from schemas.config import RefreshConfig, ScoreConfig


class ConfigField(NamedTuple):
    """One key of the TOML file."""

    key: str
    """Dotted, e.g. "train.beta"."""
    allowed: str
    """Type and bounds in words, e.g. "a number > 0 and <= 100"."""
    default: str
    """As it is written in TOML; "required" where there is none, "left out" for no value."""
    description: str


LENGTH_WORDS = {"min_length": "or more", "max_length": "or fewer"}
BOUND_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
PLAIN_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
LIST_MEMBERS = {Path: "paths", str: "texts"}


def describe_config() -> list[ConfigField]:
    """Every key in the order of the models; a union's members say which `kind` they belong to."""
    return list(_describe_model(RefreshConfig, "", ""))


def find_models(annotation: Any) -> list[type[BaseModel]]:
    """The sections an annotation may hold: one, or the members of a union; [] for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    members = get_args(annotation) if _is_union(annotation) else ()
    return [model for member in members for model in find_models(member)]


def get_kind(model: type[BaseModel]) -> str | None:
    """The `kind` that chooses this member of a union; None for an ordinary section."""
    field = model.model_fields.get("kind")
    return None if field is None else str(field.default)


def describe_allowed(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Type and bounds in words."""
    bounds = _describe_bounds(metadata)
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return describe_allowed(inner, [bound for item in more for bound in _unpack(item)])
    if get_origin(annotation) is Literal:
        return " or ".join(json.dumps(choice) for choice in get_args(annotation))
    if _is_union(annotation):
        given = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        words = " or ".join(describe_allowed(arg, metadata) for arg in given)
        return f"{words}, or left out" if types.NoneType in get_args(annotation) else words
    if get_origin(annotation) is dict:
        keys, values = get_args(annotation)
        names = " or ".join(map(json.dumps, TASKS)) if keys == TaskName else describe_allowed(keys)
        return f"a table of {names} = {describe_allowed(values)}"
    if get_origin(annotation) is list:
        return f"a list of {_describe_members(get_args(annotation)[0])}{bounds}"
    return f"{PLAIN_TYPES.get(annotation, 'a path')}{bounds}"


def _describe_members(annotation: Any) -> str:
    return LIST_MEMBERS.get(annotation) or describe_allowed(annotation)


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

    if model is ScoreConfig:
        yield from _describe_further_rewards(prefix)


def _describe_further_rewards(prefix: str) -> Iterator[ConfigField]:
    """Of tasks that the model has no line for."""
    for name, reward in list_reward_settings().items():
        description = f"The reward of {TASKS[name].label}."
        yield ConfigField(prefix + name, describe_rewards(name), json.dumps(reward), description)


def _describe_kind(models: list[type[BaseModel]], key: str, field: FieldInfo) -> ConfigField:
    allowed = " or ".join(json.dumps(get_kind(model)) for model in models)
    description = " ".join((field.description or "").split())
    return ConfigField(key, allowed, json.dumps(field.default.kind), description)


def _describe_default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return write_toml_value(field.default)


def write_toml_value(value: Any) -> str:
    """A value as TOML writes it, on one line; None, which TOML cannot write, is "left out"."""
    if value is None:
        return "left out"
    if isinstance(value, dict):
        items = ", ".join(f"{key} = {write_toml_value(item)}" for key, item in value.items())
        return f"{{{items}}}"
    if isinstance(value, Path):
        return json.dumps(value.as_posix())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value, default=str, ensure_ascii=False)


def _describe_bounds(metadata: Sequence[Any]) -> str:
    signs = [
        f"{sign} {write_toml_value(getattr(item, name))}"
        for item in metadata
        for name, sign in BOUND_SIGNS.items()
        if getattr(item, name, None) is not None
    ]
    lengths = [
        f"with {getattr(item, name)} {word} items"
        for item in metadata
        for name, word in LENGTH_WORDS.items()
        if getattr(item, name, None) is not None
    ]
    patterns = [
        f"that matches {item.pattern}" for item in metadata if getattr(item, "pattern", None)
    ]
    words = [" and ".join(signs), *lengths, *patterns]
    return "".join(f" {word}" for word in words if word)


def _unpack(item: Any) -> list[Any]:
    """Annotated carries pydantic's FieldInfo, whose own metadata holds the bounds."""
    return list(item.metadata) if isinstance(item, FieldInfo) else [item]


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)
