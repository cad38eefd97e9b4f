"""Histograms out of Parquet files, one file at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

NUM_BINS = 20


def find_scale(low: float, high: float) -> tuple[float, float]:
    """Whole numbers between which values from low to high are drawn: 0 and 1, or further out.

    >>> find_scale(0.2, 0.7), find_scale(-0.4, 1.1)
    ((0.0, 1.0), (-1.0, 2.0))
    """
    return float(min(0, math.floor(low))), float(max(1, math.ceil(high)))


class Histogram:
    """Counts of values over `NUM_BINS` equal bins of a scale, gathered file by file."""

    def __init__(self, scale: tuple[float, float] = (0.0, 1.0)) -> None:
        self.scale = scale
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
        self.counts += np.histogram(np.clip(present, *self.scale), NUM_BINS, self.scale)[0]


def load_histograms(paths: Sequence[Path], column: str) -> dict[str, Histogram]:
    """Task -> histogram of one column over all the files."""
    histograms = {task: Histogram(scale) for task, scale in _find_scales(paths, column).items()}
    for path in paths:
        table = pq.read_table(path, columns=["task", column])
        tasks = np.asarray(table["task"].to_pylist(), dtype=object)
        values = np.asarray(table[column].to_numpy(), dtype=np.float64)
        for task in sorted(set(tasks)):
            histograms[task].add(values[tasks == task])
    return histograms


def _find_scales(paths: Sequence[Path], column: str) -> dict[str, tuple[float, float]]:
    """Task -> the scale of one column over all the files."""
    ends: dict[str, list[float]] = {}
    for path in paths:
        table = pq.read_table(path, columns=["task", column])
        found = table.group_by("task").aggregate([(column, "min"), (column, "max")])
        for row in found.to_pylist():
            values = ends.setdefault(row["task"], [0.0])
            values += [row[f"{column}_{end}"] or 0.0 for end in ("min", "max")]
    return {task: find_scale(min(values), max(values)) for task, values in ends.items()}
