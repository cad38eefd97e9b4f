"""What the UI shows of an artifact: counts, the loss curve, base against trained, the report."""

from __future__ import annotations

import base64
from typing import Any

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from perpo_core.report.summary import compute_reading, label_metric
from schemas.artifact import Checkpoint, EvalReport, PreferenceSet, Promotion
from schemas.base import StageName

CURVE_WIDTH, CURVE_HEIGHT, MARGIN = 640, 240, 12


def publish_summary(stage: StageName, artifact: Any) -> None:
    """Publish what the UI should show after a stage, made or reused."""
    if isinstance(artifact, PreferenceSet):
        publish_counts(artifact)
    elif isinstance(artifact, Checkpoint) and artifact.history:
        publish_loss_curve(artifact)
    elif isinstance(artifact, EvalReport):
        publish_metrics(artifact)
    elif isinstance(artifact, Promotion):
        publish_gates(artifact)


def publish_counts(preferences: PreferenceSet) -> None:
    counts = preferences.counts
    rows = [("in", counts.num_in), ("kept as lists", counts.num_kept), *counts.dropped.items()]
    lines = ["| rows | number |", "| --- | ---: |", *(f"| {name} | {n:,} |" for name, n in rows)]
    text = "Lists kept and dropped, by reason"
    create_markdown_artifact("\n".join(lines), key="perpo-lists", description=text)


def publish_loss_curve(checkpoint: Checkpoint) -> None:
    svg = draw_curve([(point.step, point.loss) for point in checkpoint.history])
    url = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    first, last = checkpoint.history[0], checkpoint.history[-1]
    text = f"Loss by step: {first.loss:.4f} at {first.step}, {last.loss:.4f} at {last.step}"
    create_image_artifact(url, key="perpo-loss", description=text)


def draw_curve(points: list[tuple[float, float]]) -> str:
    """An SVG line through (x, y), scaled to fill its frame."""
    xs, ys = zip(*points, strict=True)
    width, height = CURVE_WIDTH - 2 * MARGIN, CURVE_HEIGHT - 2 * MARGIN
    span_x, span_y = (max(xs) - min(xs)) or 1, (max(ys) - min(ys)) or 1
    corners = " ".join(
        f"{MARGIN + (x - min(xs)) / span_x * width:.1f},"
        f"{MARGIN + (max(ys) - y) / span_y * height:.1f}"
        for x, y in points
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {CURVE_WIDTH} {CURVE_HEIGHT}" '
        f'width="{CURVE_WIDTH}" height="{CURVE_HEIGHT}"><rect width="100%" height="100%" '
        f'fill="white"/><polyline points="{corners}" fill="none" stroke="#1f6feb" '
        'stroke-width="2"/></svg>'
    )


def publish_metrics(evaluation: EvalReport) -> None:
    table = [
        {
            "task": task,
            "metric": label_metric(name),
            "base": round(value.base, 4),
            "trained": round(value.trained, 4),
            "change": round(value.delta, 4),
            "95% interval": f"{value.delta_low:+.4f} to {value.delta_high:+.4f}",
            "reading": compute_reading(name, value),
            "n": value.n,
        }
        for task, metrics in evaluation.metrics.items()
        for name, value in metrics.items()
    ]
    text = "Base against trained, test split"
    create_table_artifact(table, key="perpo-metrics", description=text)


def publish_gates(promotion: Promotion) -> None:
    table = [gate.model_dump() for gate in promotion.gates]
    why = promotion.held or "a gate did not pass"
    text = "Every gate passed" if promotion.promoted else f"Not promoted: {why}"
    create_table_artifact(table, key="perpo-gates", description=text)


def publish_report(url: str) -> None:
    publish_link(url, "perpo-report", "report.html", "Report")


def publish_link(url: str, key: str, text: str, description: str) -> None:
    create_link_artifact(url, key=key, link_text=text, description=description)
