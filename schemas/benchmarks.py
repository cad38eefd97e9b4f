"""What outside benchmarks say of base and trained."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from schemas.base import Frozen
from schemas.benchmark_config import Direction


class BenchmarkScore(Frozen):
    """What a benchmark says of one policy by one metric."""

    value: float
    stderr: float | None = Field(default=None, ge=0)
    """Standard error, where the benchmark gives one."""


class BenchmarkMetric(Frozen):
    """Base against trained by one metric of a benchmark."""

    base: float
    trained: float
    base_stderr: float | None = Field(default=None, ge=0)
    trained_stderr: float | None = Field(default=None, ge=0)
    better: Direction | None = None
    """None: the configuration does not say."""

    @property
    def gain(self) -> float:
        """The change, signed so that more is better."""
        change = self.trained - self.base
        return -change if self.better == "lower" else change

    @property
    def combined_stderr(self) -> float | None:
        """Of the change, as if both had been asked other questions; None where one is not given."""
        if self.base_stderr is None or self.trained_stderr is None:
            return None
        return math.hypot(self.base_stderr, self.trained_stderr)


Benchmarks = dict[str, dict[str, BenchmarkMetric]]
"""Name in evaluate.benchmarks -> metric -> values."""


def leave_out_no_benchmarks(fields: dict[str, Any]) -> dict[str, Any]:
    """Where there are none nothing is said of them, as before there could be any."""
    return (
        fields if fields["benchmarks"] else {k: v for k, v in fields.items() if k != "benchmarks"}
    )
