"""Means of the parts of a reward out of score files, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def load_part_means(paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Task -> part of its reward -> mean over the answers that it is kept of."""
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(columns=["task", "rewards"]):
            for row in _average_parts(batch):
                total, num = sums.get((row["task"], row["name"]), (0.0, 0))
                added = total + row["value_sum"], num + row["value_count"]
                sums[row["task"], row["name"]] = added
    means: dict[str, dict[str, float]] = {}
    for (task, name), (total, num) in sums.items():
        means.setdefault(task, {})[name] = total / num
    return means


def _average_parts(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Sum and number of every part of every task."""
    parts = batch.column("rewards")
    rows = np.repeat(np.arange(len(parts)), np.diff(parts.offsets.to_numpy()))
    start, end = parts.offsets[0].as_py(), parts.offsets[-1].as_py()
    table = pa.table(
        {
            "task": batch.column("task").take(pa.array(rows)),
            "name": parts.keys.slice(start, end - start),
            "value": parts.items.slice(start, end - start),
        }
    )
    grouped = table.group_by(["task", "name"], use_threads=False)
    return grouped.aggregate([("value", "sum"), ("value", "count")]).to_pylist()
