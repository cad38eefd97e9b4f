"""Every other metric, task by task: value and change of each method, and which way it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpo_core.evidence.page.marks import Key
from perpo_core.evidence.page.runs import link_list
from perpo_core.evidence.page.tables import Change, Share, list_contenders
from perpo_core.evidence.page.words import NONE
from perpo_core.evidence.values import name_metric
from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from perpo_core.report.formats import capitalise, format_number
from schemas.base import TaskName
from schemas.comparison import ComparisonReport, MethodResult

BEST_OF_N = "best_of_n"


@dataclass(frozen=True)
class Cell:
    """One method's value, and its change against the start."""

    value: str
    change: Change | None = None


@dataclass(frozen=True)
class MetricRow:
    metric: str
    label: str
    is_lower_better: bool
    cells: list[Cell]
    """By column of the table."""


@dataclass(frozen=True)
class TaskTable:
    """One task: a row for every metric, a column for start and methods."""

    task: TaskName
    label: str
    num_prompts: int
    columns: list[tuple[Key, str]]
    """Look, and where the runs are listed."""
    rows: list[MetricRow]
    headroom: list[Share]
    """By column; [] where no method has one."""


def build_task_tables(report: ComparisonReport) -> tuple[TaskTable, list[TaskTable]]:
    """Of the task that ranks, and of the other ones: abilities that should be kept."""
    others = [task for task in TASKS if task in report.start.tasks and task != report.task]
    return build_task_table(report, report.task), [build_task_table(report, t) for t in others]


def build_task_table(report: ComparisonReport, task: TaskName) -> TaskTable:
    contenders = [(key, method) for key, method in list_contenders(report) if task in method.tasks]
    methods = [method for _, method in contenders]
    headroom = [Share.of(method, task) for method in methods]
    return TaskTable(
        task=task,
        label=capitalise(TASKS[task].label),
        num_prompts=report.num_prompts[task],
        columns=[(key, link_list(method)) for key, method in contenders],
        rows=[_build_row(methods, task, metric) for metric in list_metrics(methods, task)],
        headroom=headroom if any(each.interval for each in headroom) else [],
    )


def list_metrics(methods: Sequence[MethodResult], task: TaskName) -> list[str]:
    """Those that any of them has, in the order in which they come."""
    return list(dict.fromkeys(name for method in methods for name in method.tasks[task].metrics))


def _build_row(methods: Sequence[MethodResult], task: TaskName, metric: str) -> MetricRow:
    return MetricRow(
        metric=metric,
        label=_name(methods, task, metric),
        is_lower_better=metric in LOWER_IS_BETTER,
        cells=[_build_cell(method, task, metric) for method in methods],
    )


def _name(methods: Sequence[MethodResult], task: TaskName, metric: str) -> str:
    """As a person would say it; of the best of n, of how many, where the start has another n."""
    start, *others = [len(method.tasks[task].best_of_n) for method in methods]
    label = name_metric(task, metric)
    if metric != BEST_OF_N or set(others) <= {start}:
        return label
    return f"{label}: n is {start} of the start, {' or '.join(map(str, sorted(set(others))))} else"


def _build_cell(method: MethodResult, task: TaskName, metric: str) -> Cell:
    reading = method.tasks[task].metrics.get(metric)
    if reading is None:
        return Cell(NONE)
    change = Change.of(metric, reading.change) if reading.change else None
    return Cell(format_number(reading.value), change)
