"""The report's tables as plain rows: metrics with interval bars, counts, stages, configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import format_number, format_signed
from perpo_core.report.load import RunArtifacts
from perpo_core.report.summary import (
    PRIMARY_METRICS,
    TASK_LABELS,
    Reading,
    compute_reading,
    is_lower_better,
    label_metric,
)
from schemas.artifact import Metric
from schemas.base import StageName, TaskName
from schemas.config import RefreshConfig
from schemas.run import RunRecord

MIN_SCALE = 0.01  # changes smaller than this are not blown up to the full width


@dataclass(frozen=True)
class MetricRow:
    """One metric of one task; low, mid and high are positions on the interval bar, percent."""

    task: TaskName
    task_label: str
    num_rows: int
    """Rows of the task, in its first row; 0 in the others."""
    label: str
    is_primary: bool
    lower_is_better: bool
    base: str
    trained: str
    delta: str
    interval: str
    n: int
    reading: Reading
    low: float
    mid: float
    high: float


@dataclass(frozen=True)
class StageRow:
    """One stage of the run."""

    stage: StageName
    time: str
    share: float
    """Of the run's time, percent."""
    how: str
    work: str
    """Wall time of the work that made the artifact, in whichever run that was."""
    size: str
    key: str
    digest: str


@dataclass(frozen=True)
class CountRow:
    """Rows into a stage and what became of them; shares in percent."""

    stage: StageName
    num_in: int
    num_reused: int
    """Of num_in, taken over from earlier artifacts."""
    num_kept: int
    share_kept: float
    dropped: list[tuple[str, int]]


@dataclass(frozen=True)
class Setting:
    """One configuration value as TOML would write it."""

    name: str
    value: str
    is_changed: bool


def compute_scale(metrics: dict[TaskName, dict[str, Metric]]) -> float:
    """The change that fills half an interval bar: the widest interval of the table."""
    ends = [
        abs(end)
        for by_name in metrics.values()
        for value in by_name.values()
        for end in (value.delta_low, value.delta_high, value.delta)
    ]
    return max([MIN_SCALE, *ends])


def build_metric_rows(metrics: dict[TaskName, dict[str, Metric]], scale: float) -> list[MetricRow]:
    """Every metric, tasks in their usual order, the main metric of a task first."""
    rows = []
    for task in TASKS:
        names = sorted(metrics.get(task, {}), key=lambda name: name != PRIMARY_METRICS[task])
        rows += [
            _build_metric_row(task, name, metrics[task][name], scale, 0 if index else len(names))
            for index, name in enumerate(names)
        ]
    return rows


def _build_metric_row(
    task: TaskName, name: str, value: Metric, scale: float, num_rows: int
) -> MetricRow:
    low, mid, high = (
        round(50 + 48 * end / scale, 2) for end in (value.delta_low, value.delta, value.delta_high)
    )
    return MetricRow(
        task=task,
        task_label=TASK_LABELS[task],
        num_rows=num_rows,
        label=label_metric(name),
        is_primary=name == PRIMARY_METRICS[task],
        lower_is_better=is_lower_better(name),
        base=format_number(value.base),
        trained=format_number(value.trained),
        delta=format_signed(value.delta),
        interval=f"{format_signed(value.delta_low)} to {format_signed(value.delta_high)}",
        n=value.n,
        reading=compute_reading(name, value),
        low=low,
        mid=mid,
        high=high,
    )


def build_stage_rows(run: RunRecord, artifacts: RunArtifacts) -> list[StageRow]:
    """Every stage that finished, in the order of the DAG."""
    total = sum(record.seconds for record in run.stages.values()) or 1.0
    rows = []
    for stage, record in run.stages.items():
        artifact = artifacts.by_stage.get(stage)
        rows.append(
            StageRow(
                stage=stage,
                time=format_duration(record.seconds),
                share=round(100 * record.seconds / total, 1),
                how="reused" if record.reused else "made",
                work=format_duration(artifact.seconds) if artifact else "",
                size=format_bytes(sum(f.num_bytes for f in artifact.files)) if artifact else "",
                key=record.key,
                digest=record.digest,
            )
        )
    return rows


def build_count_rows(artifacts: RunArtifacts) -> list[CountRow]:
    """Rows in, kept and dropped by reason, of every stage that finished."""
    return [
        CountRow(
            stage=stage,
            num_in=artifact.counts.num_in,
            num_reused=artifact.counts.num_reused,
            num_kept=artifact.counts.num_kept,
            share_kept=round(100 * artifact.counts.num_kept / max(artifact.counts.num_in, 1), 1),
            dropped=sorted(artifact.counts.dropped.items(), key=lambda item: (-item[1], item[0])),
        )
        for stage, artifact in artifacts.by_stage.items()
    ]


def build_settings(
    config: RefreshConfig, unread: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, list[Setting]]:
    """Section -> settings; what differs from the default is marked.

    `unread`: what another version recorded and this one does not know.
    """
    values, defaults = config.model_dump(mode="json"), RefreshConfig().model_dump(mode="json")
    fields = type(config.source).model_fields.items()  # the source may be another than the default
    of_source = {name: field.default for name, field in fields if not field.is_required()}
    defaults["source"] = {**of_source, "kind": defaults["source"]["kind"]}
    sections: dict[str, list[Setting]] = {"": []}
    for name, value in values.items():
        if isinstance(value, dict):
            sections[name] = _list_settings(value, defaults[name])
        else:
            sections[""].append(_build_setting(name, value, defaults))
    if unread:
        sections["of another version"] = _list_settings(dict(unread), {})
    return sections


def _list_settings(values: dict[str, Any], defaults: dict[str, Any]) -> list[Setting]:
    settings = []
    for name, value in values.items():
        if isinstance(value, dict):
            default = defaults.get(name)  # may be a plain value: score.TASK is a name or a table
            nested = _list_settings(value, default if isinstance(default, dict) else {})
            settings += [
                Setting(f"{name}.{inner.name}", inner.value, inner.is_changed) for inner in nested
            ]
        else:
            settings.append(_build_setting(name, value, defaults))
    return settings


def _build_setting(name: str, value: Any, defaults: dict[str, Any]) -> Setting:
    is_changed = defaults.get(name) != value
    if value is None:
        return Setting(name, "none", is_changed)
    values = value if isinstance(value, list) else [value]
    return Setting(name, ", ".join(_show_value(inner) for inner in values), is_changed)


def _show_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_duration(seconds: float) -> str:
    """Seconds as a person reads them: "0.4 s", "12 s", "3 min 05 s", "2 h 07 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_bytes(num_bytes: int) -> str:
    """Bytes in decimal units."""
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def format_time(moment: datetime) -> str:
    """A moment to the minute, with its time zone."""
    return moment.strftime("%Y-%m-%d %H:%M ") + (moment.tzname() or "")
