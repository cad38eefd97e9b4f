"""How much of what the start policy could do a trained one still can.

Of a task, over its validation samples, with each policy's greedy answer by the task's measure (0
where it could not be read):

    1 - sum of max(0, start - trained) / sum of start

So what got better elsewhere does not make up for what was lost. The definition is ours. Start
answers worth (1, 0.5, 0) and trained ones worth (0.4, 0.8, 1): 1 - 0.6 / 1.5 = 0.6. Where the start
policy could do nothing there is nothing to lose: 1.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.perception.tasks import TASKS
from schemas.base import JUDGING_SPLIT, TaskName

COLUMNS = ["sample_id", "task", "split", "policy", "index", "measure"]
GREEDY_INDEX = -1


def compute_retention(predictions: Path) -> dict[TaskName, float]:
    """Task -> retention, for the tasks that rows of schemas.arrow.PREDICTIONS have."""
    rows = pq.read_table(predictions, columns=COLUMNS)
    is_greedy = pc.and_(
        pc.equal(rows["split"], JUDGING_SPLIT), pc.equal(rows["index"], GREEDY_INDEX)
    )
    greedy = rows.filter(is_greedy)
    present = set(greedy["task"].unique().to_pylist())
    return {
        task: _compute(greedy.filter(pc.equal(greedy["task"], task)))
        for task in TASKS
        if task in present
    }


def _compute(rows: pa.Table) -> float:
    start, trained = (_read_measures(rows, policy) for policy in ("base", "trained"))
    could = sum(start.values())
    lost = sum(max(0.0, measure - trained[sample]) for sample, measure in start.items())
    return 1 - lost / could if could else 1.0


def _read_measures(rows: pa.Table, policy: str) -> dict[str, float]:
    """sample_id -> measure."""
    mine = rows.filter(pc.equal(rows["policy"], policy))
    measures = pc.fill_null(mine["measure"], 0.0).to_pylist()
    return dict(zip(mine["sample_id"].to_pylist(), measures, strict=True))
