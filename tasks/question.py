"""What a person reads before they answer whether a policy is promoted, as markdown.

A form in the UI is narrow and low and cuts off what does not fit: lists instead of tables, and the
main metric of each task alone. The page of the run that asks has all of them as artifacts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from perpo_core.report.summary import (
    PRIMARY_METRICS,
    compute_reading,
    is_lower_better,
    label_metric,
)
from perpo_core.stages.promote.gates import describe_gate
from schemas.artifact import EvalReport, Metric, Promotion
from schemas.base import TaskName
from schemas.run import RunRecord


def describe_question(
    record: RunRecord, evaluation: EvalReport, promotion: Promotion, report_url: str | None
) -> str:
    """Gains on the test split, also over the policy promoted now, gates, the report's address."""
    report = f" [The report]({report_url})." if report_url is not None else ""
    gates = [f"- {describe_gate(gate)}" for gate in promotion.gates]
    lines = [
        f"Run **{record.run_id}** trained the policy `{promotion.policy_digest[:12]}` from "
        f"`{record.policy_digest[:12]}`. Every measured gate passed. Shall it be promoted?{report}",
        "",
        "On the test split:",
        *_list_metrics(evaluation.metrics),
        "",
        *_list_champion(promotion),
        "On the validation split:",
        *gates,
    ]
    return "\n".join(lines)


def _list_champion(promotion: Promotion) -> Iterator[str]:
    if promotion.champion_metrics:
        digest = (promotion.champion_digest or "")[:12]
        yield f"On the test split, against the policy promoted until now, `{digest}`:"
        yield from _list_metrics(promotion.champion_metrics)
        yield ""


def _list_metrics(by_task: Mapping[TaskName, Mapping[str, Metric]]) -> Iterator[str]:
    for task, metrics in by_task.items():
        name = PRIMARY_METRICS[task]
        if name in metrics:
            yield f"- {task}, {_describe(name, metrics[name])}"


def _describe(name: str, value: Metric) -> str:
    label = label_metric(name) + (", lower is better" if is_lower_better(name) else "")
    interval = f"{value.delta_low:+.3f} to {value.delta_high:+.3f}"
    values = f"{value.base:.3f} \u2192 {value.trained:.3f}"
    return f"{label}: {values}, **{compute_reading(name, value)}** (95% {interval})"
