"""The report's table of outside benchmarks: both policies, and whether the change may be chance.

A benchmark's answers are its own, so that nothing can be paired: with standard errors of both the
change is held against two of their root of squares, an approximate 95% interval that is too wide
where both policies were asked the same questions.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpo_core.report.formats import format_number, format_signed
from schemas.benchmarks import BenchmarkMetric, Benchmarks

NUM_ERRORS = 2


@dataclass(frozen=True)
class BenchmarkRow:
    """One metric of one benchmark."""

    name: str
    metric: str
    better: str | None
    base: str
    trained: str
    change: str
    reading: str


def build_benchmark_rows(benchmarks: Benchmarks) -> list[BenchmarkRow]:
    """Every metric of every benchmark, in their order."""
    return [
        BenchmarkRow(
            name=name,
            metric=metric,
            better=value.better,
            base=_format(value.base, value.base_stderr),
            trained=_format(value.trained, value.trained_stderr),
            change=format_signed(value.trained - value.base),
            reading=describe_change(value),
        )
        for name, metrics in benchmarks.items()
        for metric, value in metrics.items()
    ]


def describe_change(value: BenchmarkMetric) -> str:
    """Within or beyond two combined errors, and then which way, in words."""
    stderr = value.combined_stderr
    if stderr is None:
        return "no errors given"
    limit = f"{NUM_ERRORS} errors ({format_number(NUM_ERRORS * stderr)})"
    if abs(value.gain) <= NUM_ERRORS * stderr:
        return f"within {limit}"
    way = "" if value.better is None else ": better" if value.gain > 0 else ": worse"
    return f"beyond {limit}{way}"


def _format(value: float, stderr: float | None) -> str:
    error = "" if stderr is None else f" \u00b1 {format_number(stderr)}"
    return f"{format_number(value)}{error}"
