"""<store>/reports/trends.html: all runs of a store over time, by name, in one file.

Same look and same rules as a run's report: no script, nothing loaded, everything escaped. A page of
one name is trends-NAME.html. At most MAX_NAMES names and MAX_RUNS runs of each are shown, the
newest, so that the page costs a fraction of a second at the end of every run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import capitalise, format_signed
from perpo_core.report.nights import Night, describe_failure, list_nights
from perpo_core.report.plots import Plot
from perpo_core.report.style import build_environment, load_style
from perpo_core.report.summary import (
    PRIMARY_METRICS,
    TASK_LABELS,
    Reading,
    compute_reading,
    label_metric,
)
from perpo_core.report.tables import format_duration, format_time
from perpo_core.report.trend_plots import build_trend_plots, get_metric
from perpo_core.report.write import REPORTS_FOLDER
from perpo_core.store.provenance import utc_now
from perpo_core.store.store import Store
from schemas.base import ALL_STAGES, StageName, TaskName
from schemas.run import RunRecord

LEAD = (
    "Base against trained policy on held-out test prompts, run by run. Intervals are 95% of the "
    "change from base to trained, measured on the same prompts; promoted runs are ringed."
)
MAX_RUNS = 60
MAX_NAMES = 3


@dataclass(frozen=True)
class Change:
    """The main metric of one task in one run."""

    delta: str
    interval: str
    reading: Reading


@dataclass(frozen=True)
class Row:
    """One run of the tables."""

    run_id: str
    started: str
    page: str | None
    """The run's report, relative to the page."""
    outcome: str
    style: str
    against: str
    """Change from the policy promoted until then, where that is not the start; else empty."""
    changes: list[Change | None]
    differences: tuple[str, ...]
    times: list[tuple[str, str]]
    """By stage: time and "made" or "reused"."""
    whole: str


@dataclass(frozen=True)
class Failure:
    started: str
    text: str


@dataclass(frozen=True)
class Series:
    """All runs of one name, newest first."""

    name: str
    summary: str
    plots: list[Plot]
    tasks: list[TaskName]
    rows: list[Row]
    failures: list[Failure]


def write_trends(store: Store, records: Sequence[RunRecord], name: str | None = None) -> Path:
    """Write the page of all runs, or of those of one name; its path.

    Raises ValueError if there is no such run.
    """
    chosen = [record for record in records if name in (None, record.config.name)]
    if not chosen:
        what = f"no run of the name {name!r}" if name else "no run"
        raise ValueError(f"there is {what} in {store.place} yet; `perpo runs` lists them")
    page = f"{REPORTS_FOLDER}/" + (f"trends-{name}.html" if name else "trends.html")
    store.write(page, build_trends_page(store, chosen).encode())
    return store.root / page


def build_trends_page(store: Store, records: Sequence[RunRecord]) -> str:
    """The whole page; names in the order of their newest run, the newest first."""
    names = list(dict.fromkeys(record.config.name for record in reversed(records)))
    stages = [stage for stage in ALL_STAGES if any(stage in r.config.stages for r in records)]
    series = [
        build_series(store, name, [r for r in records if r.config.name == name], stages)
        for name in names[:MAX_NAMES]
    ]
    return build_environment().get_template("trends.html").render(
        style=load_style(),
        written_at=format_time(utc_now()),
        lead=LEAD,
        others=names[MAX_NAMES:],
        series=series,
        stages=stages,
        task_labels=TASK_LABELS,
        metric_labels={task: label_metric(metric) for task, metric in PRIMARY_METRICS.items()},
    )  # fmt: skip


def build_series(
    store: Store, name: str, records: Sequence[RunRecord], stages: Sequence[StageName]
) -> Series:
    """The runs of one name, given oldest first, with the times of these stages."""
    nights = list_nights(store, records[-MAX_RUNS:])
    pages = set(store.list_files(REPORTS_FOLDER, ".html"))
    tasks = [task for task in TASKS if any(get_metric(night, task) for night in nights)]
    newest_first = nights[::-1]
    return Series(
        name=name,
        summary=_summarise(nights, len(records)),
        plots=build_trend_plots(name, nights),
        tasks=tasks,
        rows=[
            _build_row(pages, night, tasks, stages, night is nights[0]) for night in newest_first
        ],
        failures=[
            Failure(_format_start(night.record), describe_failure(night.record))
            for night in newest_first
            if night.outcome == "failed"
        ],
    )


def _summarise(nights: Sequence[Night], num_runs: int) -> str:
    counts = Counter(night.outcome for night in nights)
    undone = f"{counts['rolled back']} rolled back, " if counts["rolled back"] else ""
    ends = f"{counts['promoted']} promoted, {undone}{counts['failed']} failed"
    shown = f"the newest {len(nights)} of {num_runs:,} runs" if len(nights) < num_runs else (
        f"{num_runs:,} run{'s' if num_runs > 1 else ''}"
    )  # fmt: skip
    return f"{capitalise(shown)}: {ends}."


def _build_row(
    pages: set[str],
    night: Night,
    tasks: Sequence[TaskName],
    stages: Sequence[StageName],
    is_first: bool,
) -> Row:
    record = night.record
    page = f"{record.run_id}/report.html"
    has_page = f"{REPORTS_FOLDER}/{page}" in pages
    ended = record.ended_at
    return Row(
        run_id=record.run_id,
        started=_format_start(record),
        page=page if has_page else None,
        outcome=night.outcome,
        style=night.outcome.replace(" ", "-"),
        against=_describe_champion(night),
        changes=[_build_change(night, task) for task in tasks],
        differences=("the first run shown",) if is_first else night.differences,
        times=[_describe_stage(record, stage) for stage in stages],
        whole=format_duration((ended - record.started_at).total_seconds()) if ended else "",
    )


def _build_change(night: Night, task: TaskName) -> Change | None:
    value = get_metric(night, task)
    if value is None:
        return None
    interval = f"{format_signed(value.delta_low)} to {format_signed(value.delta_high)}"
    reading = compute_reading(PRIMARY_METRICS[task], value)
    return Change(format_signed(value.delta), interval, reading)


def _describe_champion(night: Night) -> str:
    """Such as "against the promoted 2a6f35f9b5d0: grounding +0.010"."""
    promotion = night.report.promotion if night.report else None
    if promotion is None or not promotion.champion_metrics:
        return ""
    changes = [
        f"{TASK_LABELS[task]} {format_signed(metrics[PRIMARY_METRICS[task]].delta)}"
        for task, metrics in promotion.champion_metrics.items()
        if PRIMARY_METRICS[task] in metrics
    ]
    digest = (promotion.champion_digest or "")[:12]
    return f"against the promoted {digest}: {', '.join(changes)}"


def _describe_stage(record: RunRecord, stage: str) -> tuple[str, str]:
    entry = record.stages.get(stage)  # type: ignore[call-overload]
    if entry is None:
        return "", "made"
    return ("reused", "reused") if entry.reused else (format_duration(entry.seconds), "made")


def _format_start(record: RunRecord) -> str:
    return f"{record.started_at:%Y-%m-%d %H:%M}"
