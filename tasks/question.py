"""What a person reads before they answer whether a policy is promoted, as markdown."""

from __future__ import annotations

from collections.abc import Iterator

from perpo_core.promote import describe_gate
from perpo_core.report.summary import compute_reading, is_lower_better, label_metric
from schemas.artifact import EvalReport, Promotion
from schemas.run import RunRecord

HEAD = "| task | metric | base | trained | change | 95% interval | |"
RULE = "| --- | --- | ---: | ---: | ---: | --- | --- |"


def describe_question(
    record: RunRecord, evaluation: EvalReport, promotion: Promotion, report_url: str | None
) -> str:
    """Gains on the test split, gates, and the report's address."""
    gates = [f"- {describe_gate(gate)}" for gate in promotion.gates]
    lines = [
        f"Run **{record.run_id}** trained the policy `{promotion.policy_digest[:12]}` from "
        f"`{record.policy_digest[:12]}`. Every measured gate passed. Shall it be promoted?",
        "",
        HEAD,
        RULE,
        *_list_metrics(evaluation),
        "",
        *gates,
    ]
    if report_url is not None:
        lines += ["", f"[The report]({report_url})"]
    return "\n".join(lines)


def _list_metrics(evaluation: EvalReport) -> Iterator[str]:
    for task, metrics in evaluation.metrics.items():
        for name, value in metrics.items():
            label = label_metric(name) + (" (lower is better)" if is_lower_better(name) else "")
            yield (
                f"| {task} | {label} | {value.base:.4f} | {value.trained:.4f} | {value.delta:+.4f} "
                f"| {value.delta_low:+.4f} to {value.delta_high:+.4f} "
                f"| {compute_reading(name, value)} |"
            )
