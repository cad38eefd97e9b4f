"""Histograms out of Parquet files, one file at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

NUM_BINS = 20


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
