"""Start and methods: what each is worth by the metric that ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perpo_core.evidence.choosing import get_chosen
from perpo_core.evidence.page.marks import START_MARK, Key, zip_marks
from perpo_core.evidence.page.runs import Runs, link_list
from perpo_core.evidence.page.words import (
    NONE,
    find_scale,
    format_effect,
    format_interval,
    format_p,
    format_percent,
    format_settings,
    read_change,
)
from perpo_core.report.formats import format_number, format_signed
from perpo_core.report.summary import Reading
from schemas.base import TaskName
from schemas.compare_config import START
from schemas.comparison import ComparisonReport, MethodResult, Pair
from schemas.evidence_statistics import Difference


@dataclass(frozen=True)
class Change:
    """A change against the start."""

    text: str
    interval: str
    reading: Reading

    @classmethod
    def of(cls, metric: str, difference: Difference) -> Change:
        text = format_signed(difference.delta)
        return cls(text, format_interval(difference), read_change(metric, difference))


@dataclass(frozen=True)
class Share:
    """Headroom closed, in per cent."""

    text: str = NONE
    interval: str = ""

    @classmethod
    def of(cls, method: MethodResult, task: TaskName) -> Share:
        found = method.tasks[task].headroom_closed
        if found is None:
            return cls()
        interval = f"{format_percent(found.low)} to {format_percent(found.high)}"
        return cls(format_percent(found.closed), interval)


@dataclass(frozen=True)
class SeedValue:
    """One seed's value, and the run that it is from."""

    text: str
    link: str | None
    place: float
    """On the strip that all rows share, 0 to 100."""


@dataclass(frozen=True)
class MethodRow:
    """One line of the main table."""

    key: Key
    name: str
    link: str
    """Where its runs are listed."""
    value: str
    place: float
    change: Change | None
    p_holm: str
    effect: str
    headroom: Share
    seeds: list[SeedValue]
    setting: str
    steps: str


def list_keys(report: ComparisonReport) -> list[Key]:
    """Looks of the start and of the methods."""
    return [Key(report.start.label, START_MARK), *zip_marks([m.label for m in report.methods])]


def list_contenders(report: ComparisonReport) -> list[tuple[Key, MethodResult]]:
    """The start, then the methods in the order of the configuration."""
    return list(zip(list_keys(report), (report.start, *report.methods), strict=True))


def find_pair(report: ComparisonReport, method: str) -> Pair | None:
    """A method and the start; None for the start itself."""
    found = [pair for pair in report.pairs if {pair.better, pair.worse} == {START, method}]
    return found[0] if found else None


def get_metric(report: ComparisonReport) -> str:
    """The metric that ranks."""
    return report.judge_by.partition(".")[2]


def build_method_rows(report: ComparisonReport, runs: Runs) -> list[MethodRow]:
    """The start first."""
    metric = get_metric(report)
    contenders = list_contenders(report)
    read = [method.tasks[report.task].metrics[metric] for _, method in contenders]
    place = build_strip([value for reading in read for value in (reading.value, *reading.per_seed)])
    return [_build_method_row(report, key, method, runs, place) for key, method in contenders]


def build_strip(values: Sequence[float]) -> Callable[[float], float]:
    """Value -> place on a strip from the smallest to the largest of them, 3 to 97."""
    low, high = find_scale(values)
    return lambda value: round(3 + 94 * (value - low) / (high - low), 1)


def _build_method_row(
    report: ComparisonReport,
    key: Key,
    method: MethodResult,
    runs: Runs,
    place: Callable[[float], float],
) -> MethodRow:
    metric = get_metric(report)
    reading = method.tasks[report.task].metrics[metric]
    pair, change = find_pair(report, method.name), reading.change
    return MethodRow(
        key=key,
        name=method.name,
        link=link_list(method),
        value=format_number(reading.value),
        place=place(reading.value),
        change=Change.of(metric, change) if change else None,
        p_holm=format_p(pair.p_holm) if pair else NONE,
        effect=format_effect(change) if change else NONE,
        headroom=Share.of(method, report.task),
        seeds=[
            SeedValue(format_number(value), runs.find_seed(method.name, seed), place(value))
            for seed, value in enumerate(reading.per_seed)
        ],
        setting=format_settings(get_chosen(method.sweep)) or NONE,
        steps=describe_steps(method.steps),
    )


def describe_steps(steps: Sequence[int]) -> str:
    """One number, or from the fewest to the most."""
    if not steps:
        return NONE
    low, high = min(steps), max(steps)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
