"""Several truths of one question: a list of them in the place of the truth.

source.several_truths says what they mean: with "best" they stay together, and an answer counts as
it does against the one that it is closest to; with "each" every truth is a sample of its own.
"""

from __future__ import annotations

from typing import Any

from perpo_core.perception.tasks import TASKS, Task

SHAPES = frozenset({"box", "box_norm", "point", "point_norm"})  # of lists already, where one


def list_variants(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """The row with each of its truths alone; itself where it has one, or none, or no task."""
    task = TASKS.get(str(raw.get("task")))
    key = _find_several(task, raw) if task else None
    return [{**raw, key: truth} for truth in raw[key]] if key else [raw]


def _find_several(task: Task, raw: dict[str, Any]) -> str | None:
    """The key that holds a list of truths."""
    for key in task.several_keys:
        value = raw.get(key)
        if isinstance(value, list) and value and (key not in SHAPES or isinstance(value[0], list)):
            return key
    return None
