"""The configuration of a run: a TOML file, `--set` overrides on top, checked by schemas/config.py.

Every mistake comes back as one sentence: the file (or the override), the dotted key, the value and
what is allowed; an unknown key names the nearest known one. All problems are said at once.
Left out: environment variables and includes; one file and the overrides are the whole truth.
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from perpo_core.configuration.fields import (
    ConfigField,
    describe_config,
    find_models,
    find_rows,
    get_kind,
)
from perpo_core.configuration.paths import resolve_paths
from perpo_core.configuration.rewards import describe_rewards
from perpo_core.configuration.tasks import find_task_problems
from perpo_core.configuration.words import describe_allowed
from perpo_core.perception.tasks import TASKS
from schemas.config import RefreshConfig, ScoreConfig
from schemas.task_reward import TABLE, TEXT, TaskReward

__all__ = ["ConfigError", "ConfigField", "describe_config", "load_config", "override_config"]

Location = tuple[str | int, ...]
MAX_SHOWN_CHARACTERS = 80


class ConfigError(ValueError):
    """What is wrong with a configuration: one sentence a line; `problems` holds them apart."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> RefreshConfig:
    """The checked configuration; `path` None means the defaults.

    Relative paths of data and rewards are relative to the configuration file; in an override, as
    anywhere on a command line, to the working directory.

    Raises ConfigError, with one sentence a problem.
    """
    data = {} if path is None else _load_toml(path)
    resolve_paths(data, Path.cwd() if path is None else path.absolute().parent)
    return _build(data, overrides, path)


def override_config(config: RefreshConfig, overrides: Sequence[str]) -> RefreshConfig:
    """A checked configuration with overrides on top; raises ConfigError."""
    return _build(config.model_dump(mode="json"), overrides, None)


def _build(data: dict[str, Any], overrides: Sequence[str], path: Path | None) -> RefreshConfig:
    keys = [_apply_override(data, override) for override in overrides]
    resolve_paths(data, Path.cwd())
    labels = dict(zip(keys, overrides, strict=True))
    try:
        config = RefreshConfig.model_validate(data)
    except ValidationError as error:
        problems = [_explain(problem, data, path, labels) for problem in error.errors()]
        raise ConfigError(list(dict.fromkeys(problems))) from None
    found = list(find_task_problems(config))
    if found:
        origins = [_name_origin(problem.location, path, labels) for problem in found]
        sentences = [problem.sentence for problem in found]
        raise ConfigError([f"{o}: {s}" for o, s in zip(origins, sentences, strict=True)])
    return config


def _load_toml(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):  # unlike Path.is_file, False also for a name too long to exist
        raise ConfigError([f"{path}: there is no such configuration file; check the path"])
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 text ({error}); save it as UTF-8"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not valid TOML: {error}; correct that line"]) from error


def _apply_override(data: dict[str, Any], override: str) -> tuple[str, ...]:
    """Put one "a.b=value" into the data; returns its key as a path."""
    dotted, equals, text = override.partition("=")
    names = tuple(name.strip() for name in dotted.split("."))
    if not equals or not all(names):
        raise ConfigError(
            [f'--set "{override}": write it as section.key=value, for example train.beta=0.5']
        )
    section: Any = data
    for depth, name in enumerate(names[:-1], start=1):
        if name not in section and _may_hold_keys(names[:depth], data):
            section[name] = _find_default_table(names[:depth], data)
        section = section.get(name)
        if not isinstance(section, dict):
            parent = ".".join(names[:depth])
            raise ConfigError([f'--set "{override}": {parent} is a value and has no keys'])
    section[names[-1]] = parse_value(text.strip())
    return names


def _may_hold_keys(names: tuple[str, ...], data: dict[str, Any]) -> bool:
    """False for a setting that is one value; unknown names are refused later, with the nearest."""
    section = _find_section(names[:-1], data)
    field = section.model_fields.get(names[-1]) if section else None
    if section is None or field is None:
        return True
    holds_keys = _find_members(section, names[-1]) or get_origin(field.annotation) is dict
    return bool(holds_keys) or TaskReward.model_fields.get("reward") is field


def _find_default_table(names: tuple[str, ...], data: dict[str, Any]) -> dict[str, Any]:
    """What an override of one key starts from: the table's other defaults, the union's `kind`."""
    section = _find_section(names[:-1], data)
    field = section.model_fields.get(names[-1]) if section else None
    if field is None:
        return {}
    if isinstance(field.default, dict):
        return copy.deepcopy(field.default)
    return {"kind": field.default.kind} if hasattr(field.default, "kind") else {}


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none (train.objective=sft needs no quotes)."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if list(parsed) == ["value"] else text


def _explain(
    problem: Any, data: dict[str, Any], path: Path | None, labels: dict[tuple[str, ...], str]
) -> str:
    location = _strip_tags(problem["loc"], data)
    where = _name_origin(location, path, labels)
    key = ".".join(str(part) for part in location)
    kind, value = problem["type"], _show(problem["input"])
    if kind == "extra_forbidden":
        return f"{where}: unknown key {key} (value {value}){_suggest(location, data)}"
    if problem["loc"][-1] == "[key]":  # a key of a table, such as a task
        names = _find_allowed(location[:-1], data, of_keys=True)
        return f"{where}: unknown key {key}; allowed: {names}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        given = problem["input"].get("kind") if isinstance(problem["input"], dict) else None
        said = "is missing" if given is None else f"= {_show(given)} is not allowed"
        [allowed] = [field.allowed for field in describe_config() if field.key == f"{key}.kind"]
        return f"{where}: {key}.kind {said}; allowed: {allowed}"
    if kind == "missing":
        return f"{where}: {key} is missing; give {_find_allowed(location, data) or 'a value'}"
    if kind == "value_error":  # a section's own check; its sentence names the keys
        return f"{where}: {key}: {problem['ctx']['error']}"
    allowed = _find_allowed(location, data) or problem["msg"]
    if kind == "finite_number" and "options" in location:
        allowed = "a finite number"
    return f"{where}: {key} = {value} is not allowed; allowed: {allowed}"


def _strip_tags(location: Location, data: dict[str, Any]) -> Location:
    """pydantic puts a union's chosen member and "[key]" into locations; the file has neither."""
    parts = [part for part in location if part not in ("[key]", TEXT, TABLE)]
    if parts[0] == "store":
        return ("store",)
    source = data.get("source")
    if parts[0] == "source" and isinstance(source, dict) and parts[1:2] == [source.get("kind")]:
        del parts[1]
    if parts[0] == "score" and parts[2:3] == ["options"]:
        del parts[5:]  # behind an option stands which kind of JSON its value is
    return tuple(parts)


def _name_origin(location: Location, path: Path | None, labels: dict[tuple[str, ...], str]) -> str:
    for names, override in labels.items():
        if location[: len(names)] == names:
            return f'--set "{override}"'
    return "the configuration" if path is None else str(path)


def _show(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "..."


def _find_section(location: Location, data: Any) -> type[BaseModel] | None:
    """The model whose keys stand at a location; None inside tables and lists."""
    model: type[BaseModel] = RefreshConfig
    rows: list[type[BaseModel]] = []
    for part in location:
        data = data.get(part) if isinstance(data, dict) else None
        if rows:
            model, rows = rows.pop(), []
            continue
        if field := model.model_fields.get(str(part)):
            rows = find_rows(field.annotation)
        if rows:
            continue
        models = _find_members(model, str(part))
        if len(models) > 1:
            kind = data.get("kind") if isinstance(data, dict) else None
            models = [member for member in models if get_kind(member) == kind]
        if not models:
            return None
        model = models[0]
    return None if rows else model


def _find_members(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """The sections that may stand under a name of another, of which `kind` tells several apart."""
    if model is ScoreConfig and name in TASKS:
        return [TaskReward]
    field = model.model_fields.get(name)
    return find_models(field.annotation) if field else []


def _find_allowed(location: Location, data: dict[str, Any], of_keys: bool = False) -> str | None:
    """What a key or a table's cell may hold, in words; `of_keys`: what the table's keys may be."""
    for end in range(len(location), 0, -1):
        section, name = _find_section(location[: end - 1], data), str(location[end - 1])
        if section is ScoreConfig and name in TASKS:
            return describe_rewards(name)
        field = section.model_fields.get(name) if section else None
        if field is None:
            continue
        if find_models(field.annotation):
            return "a section"
        annotation, metadata = field.annotation, field.metadata
        for _ in location[end:]:
            if get_origin(annotation) is not dict:
                break
            annotation, metadata = get_args(annotation)[-1], []
        return describe_allowed(get_args(annotation)[0] if of_keys else annotation, metadata)
    return None


def _suggest(location: Location, data: dict[str, Any]) -> str:
    """The nearest known key: of the same section first, then of any section by its last name."""
    name = str(location[-1])
    section = _find_section(location[:-1], data)
    siblings = list(section.model_fields) if section else []
    near = difflib.get_close_matches(name, siblings, n=1)
    if near:
        return f"; did you mean {'.'.join([*map(str, location[:-1]), near[0]])}?"
    key = ".".join(map(str, location))
    known = [field.key for field in describe_config()]
    if key in known:
        return f"; it goes with another {location[0]}.kind"
    near = difflib.get_close_matches(name, [other.rpartition(".")[2] for other in known], n=1)
    if near:
        same_name = [other for other in known if other.rpartition(".")[2] == near[0]]
        best = max(same_name, key=lambda other: difflib.SequenceMatcher(a=key, b=other).ratio())
        return f"; did you mean {best}?"
    return f"; known here: {', '.join(siblings)}"
