"""What the command line prints about runs: metrics, stages, plans, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.commands.display import format_seconds
from flows.commands.terminal import DOWN, LEVEL, UP
from flows.recipes.planning import PlannedStage
from flows.runs.records import LATEST
from perpo_core.promotion.approvals import APPROVALS, Approval, find_answer, find_approval
from perpo_core.report.image_share import describe_image_probe
from perpo_core.report.summary import compute_reading, is_lower_better, label_metric
from perpo_core.stages.promote.gates import describe_gate
from perpo_core.store.locks import is_locked
from perpo_core.store.store import Store, name_artifact
from schemas.artifact import Counts, EvalReport, Metric, Promotion
from schemas.base import StageName
from schemas.run import RunRecord

READING_STYLES = {"better": "green", "worse": "red", "no clear change": "dim"}
VERDICT_STYLES = {"reused": "cyan", "runs": "bold", "unknown": "yellow"}


def print_run(console: Console, store: Store, record: RunRecord) -> None:
    """Everything about a finished or broken run but the report's path."""
    counts: dict[StageName, Counts] = {}
    for stage in record.config.stages:
        entry = record.stages.get(stage)
        artifact = store.load(entry.kind, entry.key) if entry else None
        if artifact is not None:
            counts[stage] = artifact.counts
        if isinstance(artifact, EvalReport):
            console.print(build_metrics_table(artifact))
            least = record.config.evaluate.min_image_share
            if line := describe_image_probe(artifact.image_probe, least):
                console.print(Text(line))
        if isinstance(artifact, Promotion):
            approval = find_approval(store, artifact)
            console.print(describe_promotion(artifact, record.run_id, approval))
    console.print(build_stages_table(record, counts))


def build_metrics_table(evaluation: EvalReport) -> Table:
    """Base against trained on the test split, with 95% intervals."""
    table = Table(title="Base against trained, held-out test prompts", title_justify="left")
    table.add_column("task")
    table.add_column("metric")
    for name in ("base", "trained", "change", "95% interval", "n"):
        table.add_column(name, justify="right")
    table.add_column("")
    for task, metrics in evaluation.metrics.items():
        for number, (name, value) in enumerate(metrics.items()):
            table.add_row("" if number else task, _label(name), *_describe_metric(name, value))
        table.add_section()
    return table


def _label(metric: str) -> str:
    return label_metric(metric) + (" (lower is better)" if is_lower_better(metric) else "")


def _describe_metric(name: str, value: Metric) -> Iterator[str | Text]:
    reading = compute_reading(name, value)
    style = READING_STYLES[reading]
    arrow = LEVEL if reading == "no clear change" else UP if value.delta > 0 else DOWN
    yield f"{value.base:.4f}"
    yield f"{value.trained:.4f}"
    yield Text(f"{value.delta:+.4f}", style)
    yield f"{value.delta_low:+.4f} to {value.delta_high:+.4f}"
    yield f"{value.n:,}"
    yield Text(f"{arrow} {reading}", style)


def describe_promotion(
    promotion: Promotion, run_id: str = LATEST, approval: Approval | None = None
) -> Text:
    """Whether the policy moved, who is waited for, and which gates held it back."""
    answer = approval.answer if approval else None
    comment = f" ({approval.comment})" if approval and approval.comment else ""
    if promotion.promoted and answer == "waiting":
        advice = f"`perpo approve {run_id}` promotes the policy, `perpo reject {run_id}` does not"
        return Text(f"Waiting for approval: every gate passed. {advice}.", "yellow")
    if promotion.promoted and answer == "rejected":
        return Text(
            f"Not promoted: every gate passed, and a person rejected it{comment}.", "yellow"
        )
    if promotion.promoted and answer == "approved":
        return Text(f"Promoted: every gate passed, and a person approved{comment}.", "green")
    if promotion.promoted:
        return Text("Promoted: every gate passed on the validation split.", "green")
    if promotion.held:
        return Text(f"Not promoted: {promotion.held}", "yellow")
    held = [gate for gate in promotion.gates if not gate.passed]
    failed = [gate for gate in held if gate.measured is not None]
    reasons = "; ".join(describe_gate(gate) for gate in failed or held)
    return Text(f"Not promoted: {reasons}", "yellow")


def build_stages_table(record: RunRecord, counts: Mapping[StageName, Counts]) -> Table:
    """What ran and what was reused, with seconds and the rows behind each artifact."""
    table = Table(title="Stages", title_justify="left")
    table.add_column("stage")
    table.add_column("")
    table.add_column("time", justify="right")
    table.add_column("made anew", justify="right")
    table.add_column("taken over", justify="right")
    table.add_column("key")
    table.add_column("digest")
    for stage in record.config.stages:
        entry = record.stages.get(stage)
        if entry is None:
            table.add_row(Text(stage, "dim"), Text("not run", "dim"), "", "", "", "", "")
            continue
        made = Text("forced" if entry.forced else "ran", "bold")
        how = Text("reused", "cyan") if entry.reused else made
        seconds = format_seconds(entry.seconds)
        rows = _describe_rows(counts.get(stage))
        table.add_row(stage, how, seconds, *rows, entry.key[:12], entry.digest[:12])
    return table


def _describe_rows(counts: Counts | None) -> tuple[str, str]:
    """Rows made for the artifact, and rows that came from earlier ones."""
    if counts is None:
        return "", ""
    return f"{counts.num_in - counts.num_reused:,}", f"{counts.num_reused:,}"


def build_runs_table(store: Store, records: Sequence[RunRecord]) -> Table:
    """All runs, newest last."""
    entries = [entry for record in records for entry in record.stages.values()]
    shown = [name_artifact(e.kind, e.key) for e in entries if e.kind in ("evaluation", "promotion")]
    store.prefetch([APPROVALS, *shown])
    table = Table()
    for name in ("run", "status", "started", "took", "stages run", "change on the test split"):
        table.add_column(name)
    for record in records:
        made = [stage for stage, entry in record.stages.items() if not entry.reused]
        took = _describe_duration(record.started_at, record.ended_at)
        table.add_row(
            record.run_id, describe_status(store, record), f"{record.started_at:%Y-%m-%d %H:%M}",
            took, ", ".join(made) or "none", _describe_change(store, record),
        )  # fmt: skip
    return table


def _describe_change(store: Store, record: RunRecord) -> str:
    """Such as "grounding accuracy at IoU 0.5 +0.0312 (+0.0201 to +0.0420)"."""
    entry = record.stages.get("evaluate")
    evaluation = store.load(entry.kind, entry.key) if entry else None
    if not isinstance(evaluation, EvalReport) or not evaluation.metrics:
        return ""
    task, metrics = next(iter(evaluation.metrics.items()))
    name, value = next(iter(metrics.items()))
    interval = f"({value.delta_low:+.4f} to {value.delta_high:+.4f})"
    return f"{task} {label_metric(name)} {value.delta:+.4f} {interval}"


def describe_status(store: Store, record: RunRecord) -> str:
    """The recorded status; a run that says running while nobody runs it was killed."""
    if record.status == "running" and not is_locked(store, record.config.name):
        return "killed"
    entry = record.stages.get("promote")
    promotion = store.load(entry.kind, entry.key) if entry else None
    if isinstance(promotion, Promotion) and find_answer(store, promotion) == "waiting":
        return f"{record.status}, waiting for approval"
    return record.status


def _describe_duration(start: datetime, end: datetime | None) -> str:
    return format_seconds((end - start).total_seconds()) if end else ""


def build_plan_table(stages: Sequence[PlannedStage]) -> Table:
    """What would run and what would be reused."""
    table = Table()
    for name in ("stage", "", "work", "why"):
        table.add_column(name)
    table.add_column("last time", justify="right")
    table.add_column("expected", justify="right")
    for planned in stages:
        word = "may run" if planned.verdict == "unknown" else planned.verdict
        last, expected = (
            format_seconds(seconds) if seconds is not None else ""
            for seconds in (planned.last_seconds, planned.expected_seconds)
        )
        table.add_row(
            planned.stage, Text(word, VERDICT_STYLES[planned.verdict]), escape(planned.work),
            escape(planned.reason), last, expected,
        )  # fmt: skip
    return table
