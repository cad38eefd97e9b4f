"""Which samples are probed: so many of each task, the same ones while data grow around them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from perpo_core.store.keys import compute_hash

PURPOSE = "probe"  # hashed beside the id, so that nothing else that draws by hash draws the same

Row = dict[str, Any]


def choose_rows(rows: Iterable[Row], num_of_task: int) -> list[Row]:
    """Of each task the `num_of_task` rows whose sample_id has the smallest hash, in that order.

    A sample that is added takes the place of one other at most. Tasks are in the order of names.
    """
    by_task: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_task.setdefault(row["task"], {})[compute_hash([PURPOSE, row["sample_id"]])] = row
    return [
        by_task[task][h] for task in sorted(by_task) for h in sorted(by_task[task])[:num_of_task]
    ]
