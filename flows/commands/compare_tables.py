"""What the command line prints about a comparison: the methods, and every two of them."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from perpo_core.evidence.choosing import get_chosen
from perpo_core.report.formats import format_number, format_signed
from perpo_core.report.summary import TASK_LABELS, label_metric
from schemas.comparison import ComparisonReport, MethodResult
from schemas.evidence_statistics import Difference


def build_methods_table(report: ComparisonReport) -> Table:
    """Start and methods: what ranks them, and the headline metric of the other tasks."""
    metric = report.judge_by.partition(".")[2]
    title = f"{TASK_LABELS[report.task]}, {label_metric(metric)}, {report.num_seeds} seeds"
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for name in ("value", "change", "95% interval", "headroom closed", "setting"):
        table.add_column(name, justify="right")
    for method in (report.start, *report.methods):
        table.add_row(*_describe(method, report.task, metric))
    return table


def _describe(method: MethodResult, task: str, metric: str) -> list[str]:
    found = method.tasks[task]
    reading = found.metrics[metric]
    chosen = get_chosen(method.sweep)
    return [
        method.label,
        format_number(reading.value),
        format_signed(reading.change.delta) if reading.change else "",
        describe_interval(reading.change) if reading.change else "",
        f"{found.headroom_closed.closed:.0%}" if found.headroom_closed else "",
        ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in chosen.items()),
    ]


def build_pairs_table(report: ComparisonReport) -> Table:
    """Every two, the clear ones first."""
    table = Table(title="Each against each", title_justify="left")
    for name in ("better", "worse"):
        table.add_column(name)
    for name in ("difference", "95% interval", "p, by Holm", ""):
        table.add_column(name, justify="right")
    labels = {method.name: method.label for method in (report.start, *report.methods)}
    for pair in sorted(report.pairs, key=lambda pair: pair.p_holm):
        table.add_row(
            labels[pair.better], labels[pair.worse], format_signed(pair.difference.delta),
            describe_interval(pair.difference), f"{pair.p_holm:.3f}",
            Text("clear" if pair.is_clear else "not told apart", "" if pair.is_clear else "dim"),
        )  # fmt: skip
    return table


def describe_interval(difference: Difference) -> str:
    """Such as "+0.012 to +0.034"."""
    return f"{format_signed(difference.low)} to {format_signed(difference.high)}"
