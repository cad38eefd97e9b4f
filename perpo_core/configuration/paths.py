"""Paths of a configuration's data and rewards, made absolute before anything is checked."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from perpo_core.perception.rewards.outside import JUDGE, is_own
from schemas.sources import HUB, PATH_KEYS


def resolve_paths(data: dict[str, Any], folder: Path) -> None:
    """Those that are relative become paths in the folder; what is no path is left as it is."""
    _resolve_rewards(data, folder)
    _resolve_source(data, folder)
    _resolve_benchmarks(data, folder)


def _resolve_benchmarks(data: dict[str, Any], folder: Path) -> None:
    """Where their commands are started."""
    evaluate = data.get("evaluate")
    named = evaluate.get("benchmarks") if isinstance(evaluate, dict) else None
    if not isinstance(evaluate, dict) or not isinstance(named, dict):
        return
    resolved = {
        name: benchmark | {"folder": str(folder / Path(benchmark.get("folder") or ""))}
        if isinstance(benchmark, dict) and isinstance(benchmark.get("folder"), str | None)
        else benchmark
        for name, benchmark in named.items()
    }
    data["evaluate"] = evaluate | {"benchmarks": resolved}


def _resolve_source(data: dict[str, Any], folder: Path) -> None:
    source = data.get("source")
    if not isinstance(source, dict):
        return
    resolved: dict[str, Any] = {}
    for key, value in source.items():  # anything else is left for the validation to refuse
        if key in PATH_KEYS and isinstance(value, str):
            resolved[key] = str(folder / value)
        elif key == "files" and isinstance(value, list):
            resolved[key] = [_resolve_file(file, folder) for file in value]
    data["source"] = source | resolved


def _resolve_file(file: Any, folder: Path) -> Any:
    is_path = isinstance(file, str) and not file.startswith(HUB)
    return str(folder / file) if is_path else file


def _resolve_rewards(data: dict[str, Any], folder: Path) -> None:
    """A judge's instruction and the folder of one's own rewards; the latter where there are any."""
    score = data.get("score")
    if not isinstance(score, dict):
        return
    score = copy.deepcopy(score)
    tables = [table for table in score.values() if isinstance(table, dict)]
    options = [o for t in tables if isinstance(o := t.get("options"), dict)]
    for judge in [j for o in options if isinstance(j := o.get(JUDGE.name), dict)]:
        if isinstance(judge.get("instruction"), str):
            judge["instruction"] = str(folder / judge["instruction"])
    rewards = [table.get("reward") for table in tables] + list(score.values())
    if isinstance(score.get("reward_folder"), str):
        score["reward_folder"] = str(folder / score["reward_folder"])
    elif any(_names_own(reward) for reward in rewards):
        score["reward_folder"] = str(folder)
    data["score"] = score


def _names_own(reward: object) -> bool:
    names = [reward] if isinstance(reward, str) else reward if isinstance(reward, dict) else []
    return any(is_own(name) for name in names)
