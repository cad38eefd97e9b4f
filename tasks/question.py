"""What a person reads before they answer whether a policy is promoted, as markdown.

A form in the UI is narrow and cuts tables off, so that these are lists.
"""

from __future__ import annotations

from collections.abc import Iterator

from perpo_core.promote import describe_gate
from perpo_core.report.summary import compute_reading, is_lower_better, label_metric
from schemas.artifact import EvalReport, Promotion
from schemas.run import RunRecord


def describe_question(
    record: RunRecord, evaluation: EvalReport, promotion: Promotion, report_url: str | None
) -> str:
    """Gains on the test split, gates, and the report's address."""
    gates = [f"- {describe_gate(gate)}" for gate in promotion.gates]
    lines = [
        f"Run **{record.run_id}** trained the policy `{promotion.policy_digest[:12]}` from "
        f"`{record.policy_digest[:12]}`. Every measured gate passed. Shall it be promoted?",
        "",
        "On the test split:",
        *_list_metrics(evaluation),
        "",
        "On the validation split:",
        *gates,
    ]
    if report_url is not None:
        lines += ["", f"[The report]({report_url})"]
    return "\n".join(lines)


def _list_metrics(evaluation: EvalReport) -> Iterator[str]:
    for task, metrics in evaluation.metrics.items():
        for name, value in metrics.items():
            label = label_metric(name) + (", lower is better" if is_lower_better(name) else "")
            values = f"{value.base:.3f} \u2192 {value.trained:.3f}"
            interval = f"{value.delta_low:+.3f} to {value.delta_high:+.3f}"
            reading = compute_reading(name, value)
            yield f"- {task}, {label}: {values}, **{reading}** (95% {interval})"
