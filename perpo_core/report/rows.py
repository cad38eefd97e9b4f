"""Rows out of Parquet files, as few as a report needs.

Images make these files large, so rows are chosen on light columns first and then fetched by
position: only the row groups that hold one are opened, and a few rows are decoded at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

BATCH_ROWS = 8  # a photo decodes to megabytes; this many lie in memory at a time
NUM_BINS = 20


def load_rows(path: Path, positions: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows at `positions` (0-based, in the order given), with only `columns` read."""
    rows: dict[int, dict[str, Any]] = {}
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
        start = 0
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            wanted = {position for position in positions if start <= position < stop}
            if wanted:
                rows |= _load_from_group(file, group, start, wanted, columns)
            start = stop
    return [rows[position] for position in positions]


def _load_from_group(
    file: pq.ParquetFile, group: int, start: int, wanted: set[int], columns: Sequence[str]
) -> dict[int, dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    batches = file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns))
    for batch in batches:
        here = sorted(wanted & set(range(start, start + batch.num_rows)))
        if here:
            picked = batch.take([position - start for position in here]).to_pylist()
            rows |= dict(zip(here, picked, strict=True))
        start += batch.num_rows
        if len(rows) == len(wanted):
            break
    return rows


class Histogram:
    """Counts of values in 0-1 over `NUM_BINS` equal bins, gathered file by file."""

    def __init__(self) -> None:
        self.counts = np.zeros(NUM_BINS, dtype=np.int64)
        self.total = 0.0
        self.num_missing = 0
        self.num_zero = 0

    @property
    def num(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        return self.total / self.num if self.num else 0.0

    def add(self, values_N: np.ndarray) -> None:
        """Count values; NaN stands for "no value" and is counted apart."""
        present = values_N[~np.isnan(values_N)]
        self.num_missing += len(values_N) - len(present)
        self.num_zero += int((present == 0).sum())
        self.total += float(present.sum())
        self.counts += np.histogram(np.clip(present, 0, 1), bins=NUM_BINS, range=(0, 1))[0]


def load_histograms(paths: Sequence[Path], column: str) -> dict[str, Histogram]:
    """Task -> histogram of one column over all the files."""
    histograms: dict[str, Histogram] = {}
    for path in paths:
        table = pq.read_table(path, columns=["task", column])
        tasks = np.asarray(table["task"].to_pylist(), dtype=object)
        values = np.asarray(table[column].to_numpy(), dtype=np.float64)
        for task in sorted(set(tasks)):
            histograms.setdefault(task, Histogram()).add(values[tasks == task])
    return histograms
