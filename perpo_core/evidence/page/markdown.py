"""The tables of a comparison as Markdown for docs/, with the page's figures as files beside it."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from perpo_core.evidence.page.cost_rows import CostRow, build_cost_rows
from perpo_core.evidence.page.figures import list_curves, list_forests
from perpo_core.evidence.page.metrics import TaskTable, build_task_tables
from perpo_core.evidence.page.runs import Runs
from perpo_core.evidence.page.sweeps import Sweep, build_sweeps
from perpo_core.evidence.page.tables import (
    Change,
    MethodRow,
    build_method_rows,
)
from perpo_core.evidence.page.words import NONE, plural
from perpo_core.evidence.values import name_criterion
from perpo_core.report.formats import capitalise
from perpo_core.report.markdown import build_table, escape
from schemas.comparison import ComparisonCosts, ComparisonReport

METHOD_HEADER = (
    "method", "value", "change", "95% interval", "p (Holm)", "effect size", "headroom closed",
    "by seed", "chosen setting", "steps",
)  # fmt: skip
COST_HEADER = (
    "method", "change", "training", "sampling and scoring", "evaluation", "peak memory", "sweep",
)  # fmt: skip
SWEEP_HEADER = ("method", "setting", "value", "")


def write_markdown(report: ComparisonReport, costs: ComparisonCosts) -> str:
    """Verdicts, tables and figures; the figures are the files of `build_figures`."""
    return "\n\n".join(_list_parts(report, Runs.of(costs))) + "\n"


def _list_parts(report: ComparisonReport, runs: Runs) -> Iterator[str]:
    yield "\n".join(f"- {escape(sentence)}" for sentence in report.verdicts)
    yield f"{escape(capitalise(name_criterion(report.judge_by)))}, test split:"
    yield build_table(METHOD_HEADER, map(_write_method, build_method_rows(report, runs)))
    if runs.trials:
        yield "Cost beside gain, medians over the judged runs; the sweep all together:"
        yield build_table(COST_HEADER, map(_write_cost, build_cost_rows(report, runs)))
    for figure in (*list_forests(report), *list_curves(report)):
        yield f"![{escape(figure.label)}]({report.name}-{figure.name}.svg)"
    main, others = build_task_tables(report)
    for table in (main, *others):
        title = f"{table.label}, {plural(table.num_prompts, 'test prompt')}, all metrics"
        yield from _fold(title, _write_task(table))
    if sweeps := build_sweeps(report, runs):
        title = f"The sweep, {name_criterion(report.choose_by)} on validation"
        yield from _fold(title, build_table(SWEEP_HEADER, _write_sweeps(sweeps)))


def _fold(title: str, text: str) -> Iterator[str]:
    """What opens at a click; Markdown inside wants empty lines around it."""
    yield f"<details><summary>{html.escape(title)}</summary>"
    yield text
    yield "</details>"


def _write_method(row: MethodRow) -> list[str]:
    headroom = row.headroom.text
    if row.headroom.interval:
        headroom = f"{headroom} ({row.headroom.interval})"
    change, interval = _write_change(row.change)
    seeds = ", ".join(seed.text for seed in row.seeds)
    return [
        escape(row.key.label), row.value, change, interval, escape(row.p_holm), row.effect,
        headroom, seeds, escape(row.setting), row.steps,
    ]  # fmt: skip


def _write_cost(row: CostRow) -> list[str]:
    change, _ = _write_change(row.change)
    times = (row.training, row.answers, row.evaluation, row.memory, row.sweep)
    return [escape(row.key.label), change, *times]


def _write_change(change: Change | None) -> tuple[str, str]:
    return (change.text, change.interval) if change else (NONE, NONE)


def _write_task(table: TaskTable) -> str:
    """A row for every method and metric: cells of a matrix are too wide for text."""
    header = ("metric", "method", "value", "change", "95% interval", "")
    return build_table(header, _list_cells(table))


def _list_cells(table: TaskTable) -> Iterator[list[str]]:
    for row in table.rows:
        label = row.label + (" (less is better)" if row.is_lower_better else "")
        for (key, _), cell in zip(table.columns, row.cells, strict=True):
            change, interval = _write_change(cell.change)
            reading = cell.change.reading if cell.change else ""
            yield [escape(label), escape(key.label), cell.value, change, interval, reading]


def _write_sweeps(sweeps: Sequence[Sweep]) -> Iterator[list[str]]:
    for sweep in sweeps:
        for row in sweep.rows:
            outcome = "chosen" if row.is_chosen else f"failed: {row.error}" if row.error else ""
            yield [escape(sweep.key.label), escape(row.setting), row.value, escape(outcome)]
