"""Types, bounds and values of settings in words, as `perpo config` and errors say them.

Read from the pydantic models, so that the words cannot drift from what is enforced.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from perpo_core.perception.tasks import TASKS
from schemas.base import RewardName, TaskName

LENGTH_WORDS = {"min_length": "or more", "max_length": "or fewer"}
BOUND_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
PLAIN_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
LIST_MEMBERS = {Path: "paths", str: "texts"}
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # TOML wants any other in quotes


def describe_allowed(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Type and bounds in words."""
    bounds = _describe_bounds(metadata)
    if annotation == JsonValue:
        return "a value"
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        if more[:1] == [*get_args(RewardName)[1:]]:  # other marks may follow
            return "a reward"
        return describe_allowed(inner, [bound for item in more for bound in _unpack(item)])
    if get_origin(annotation) is Literal:
        return " or ".join(json.dumps(choice) for choice in get_args(annotation))
    if is_union(annotation):
        given = [arg for arg in get_args(annotation) if arg is not types.NoneType]
        words = " or ".join(describe_allowed(arg, metadata) for arg in given)
        return f"{words}, or left out" if types.NoneType in get_args(annotation) else words
    if get_origin(annotation) is dict:
        keys, values = get_args(annotation)
        names = " or ".join(map(json.dumps, TASKS)) if keys == TaskName else describe_allowed(keys)
        if keys == RewardName:
            names = "REWARD"
        return f"a table of {names} = {describe_allowed(values)}"
    if get_origin(annotation) is tuple:
        return f"[{', '.join(map(describe_allowed, get_args(annotation)))}]"
    if get_origin(annotation) is list:
        return f"a list of {_describe_members(get_args(annotation)[0])}{bounds}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"{{{', '.join(annotation.model_fields)}}}"
    if annotation is str:
        bounds = bounds.replace(" items", " characters")
    return f"{PLAIN_TYPES.get(annotation, 'a path')}{bounds}"


def _describe_members(annotation: Any) -> str:
    return LIST_MEMBERS.get(annotation) or describe_allowed(annotation)


def write_toml_value(value: Any) -> str:
    """A value as TOML writes it, on one line; None, which TOML cannot write, is "left out"."""
    if value is None:
        return "left out"
    if isinstance(value, dict):
        items = ", ".join(f"{_write_key(k)} = {write_toml_value(v)}" for k, v in value.items())
        return f"{{{items}}}"
    if isinstance(value, Path):
        return write_toml_value(value.as_posix())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value, default=str, ensure_ascii=False)


def _write_key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else write_toml_value(key)


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


def is_union(annotation: Any) -> bool:
    """Whether an annotation allows one of several types."""
    return get_origin(annotation) in (Union, types.UnionType)
