"""What the run says in numbers and in one sentence: the content of report.json.

A change counts as better or worse only if its whole 95% interval lies on one side of zero.
"""

from __future__ import annotations

from typing import Literal

from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from perpo_core.promotion.approvals import Answer
from perpo_core.report.choice import find_bias
from perpo_core.report.formats import capitalise, format_number, format_signed, join
from perpo_core.report.image_share import describe_image_probe, find_image_warnings
from perpo_core.report.load import RunArtifacts, find_stopped_stage
from perpo_core.stages.train.displacement import find_displacement
from schemas.artifact import Gate, Metric
from schemas.base import TaskName
from schemas.report import PolicyDigests, PromotionSummary, Report, StageSummary
from schemas.run import RunRecord

Reading = Literal["better", "worse", "no clear change"]
PRIMARY_METRICS = {name: task.headline for name, task in TASKS.items()}
TASK_LABELS = {name: task.label for name, task in TASKS.items()}
METRIC_LABELS = {
    **{name: metric.label for task in TASKS.values() for name, metric in task.metrics.items()},
    "greedy_reward": "greedy reward",
    "sampled_reward": "expected reward of samples",
    "best_of_n": "reward of the best of n samples",
}
AFTER_GATES: dict[Answer | None, str] = {
    None: ", so the trained policy is now the promoted one",
    "approved": " and a person approved, so the trained policy is now the promoted one",
    "waiting": "; the trained policy waits for a person's approval",
    "rejected": ", but a person rejected it",
}


def is_lower_better(metric: str) -> bool:
    """Whether a fall of this metric is an improvement."""
    return metric in LOWER_IS_BETTER


def label_metric(metric: str) -> str:
    """A metric's name as a person would say it."""
    return METRIC_LABELS.get(metric, metric.replace("_", " "))


def compute_reading(metric: str, value: Metric) -> Reading:
    """Better or worse only when the whole interval lies on one side of zero."""
    low, high = value.delta_low, value.delta_high
    if is_lower_better(metric):
        low, high = -high, -low
    return "better" if low > 0 else "worse" if high < 0 else "no clear change"


def compute_report(run: RunRecord, artifacts: RunArtifacts) -> Report:
    """The content of report.json."""
    evaluation = artifacts.evaluation
    return Report(
        run_id=run.run_id,
        status=run.status,
        error=run.error,
        verdict=compute_verdict(run, artifacts),
        headline=compute_headline(run, artifacts),
        started_at=run.started_at,
        ended_at=run.ended_at,
        config=run.config,
        policies=PolicyDigests(
            base=run.policy_digest,
            trained=artifacts.checkpoint.policy_digest if artifacts.checkpoint else None,
        ),
        metrics=evaluation.metrics if evaluation else {},
        validation=evaluation.validation if evaluation else {},
        headroom_closed=evaluation.headroom_closed if evaluation else {},
        benchmarks=evaluation.benchmarks if evaluation else {},
        image_probe=evaluation.image_probe if evaluation else {},
        image_line=_describe_images(run, artifacts),
        promotion=_summarise_promotion(artifacts),
        degree_reading=artifacts.checkpoint.degree_reading if artifacts.checkpoint else None,
        warnings=_list_warnings(run, artifacts),
        stages={
            stage: StageSummary(
                seconds=record.seconds, reused=record.reused, key=record.key, digest=record.digest
            )
            for stage, record in run.stages.items()
        },
        counts={stage: artifact.counts for stage, artifact in artifacts.by_stage.items()},
        missing=artifacts.missing,
        versions=merge_versions(artifacts),
        producers={stage: artifact.producer for stage, artifact in artifacts.by_stage.items()},
    )


def _describe_images(run: RunRecord, artifacts: RunArtifacts) -> str | None:
    evaluation = artifacts.evaluation
    if evaluation is None:
        return None
    return describe_image_probe(evaluation.image_probe, run.config.evaluate.min_image_share)


def _list_warnings(run: RunRecord, artifacts: RunArtifacts) -> list[str]:
    """What the training curves, how the checkpoint was chosen, and the answers with other images
    say against the training."""
    probe = artifacts.evaluation.image_probe if artifacts.evaluation else {}
    of_images = find_image_warnings(probe, run.config.evaluate.min_image_share)
    return [*_list_training_warnings(run, artifacts), *of_images]


def _list_training_warnings(run: RunRecord, artifacts: RunArtifacts) -> list[str]:
    if artifacts.checkpoint is None:
        return []
    checkpoint = artifacts.checkpoint
    steps = [point.step for point in checkpoint.readings]
    limit_nats = run.config.train.displacement_nats
    displacement = find_displacement(checkpoint.history, steps, limit_nats)
    return [warning for warning in (displacement, find_bias(checkpoint)) if warning]


def _summarise_promotion(artifacts: RunArtifacts) -> PromotionSummary | None:
    promotion = artifacts.promotion
    if promotion is None:
        return None
    return PromotionSummary(
        promoted=promotion.promoted,
        approval=artifacts.approval,
        gates=promotion.gates,
        held=promotion.held,
        champion_digest=promotion.champion_digest,
        champion_metrics=promotion.champion_metrics,
        champion_validation=promotion.champion_validation,
    )


def merge_versions(artifacts: RunArtifacts) -> dict[str, str]:
    """Package -> version over all stages; different ones are joined by " / "."""
    seen: dict[str, list[str]] = {}
    for artifact in artifacts.by_stage.values():
        for package, version in artifact.producer.versions.items():
            known = seen.setdefault(package, [])
            if version not in known:
                known.append(version)
    return {package: " / ".join(seen[package]) for package in sorted(seen)}


def compute_verdict(run: RunRecord, artifacts: RunArtifacts) -> str:
    """A few words, such as "Better at grounding; no clear change in OCR. Promoted."."""
    if artifacts.evaluation is None:
        return _explain_no_result(run)
    readings = {
        task: compute_reading(metric, value)
        for task, metric, value in _primary_values(artifacts.evaluation.metrics)
    }
    phrases = [
        f"{words} {join([TASK_LABELS[task] for task in readings if readings[task] == reading])}"
        for reading, words in (
            ("better", "better at"),
            ("worse", "worse at"),
            ("no clear change", "no clear change in"),
        )
        if reading in readings.values()
    ]
    verdict = capitalise("; ".join(phrases) or "nothing was measured")
    return f"{verdict}. {_say_promoted(artifacts)}"


def compute_headline(run: RunRecord, artifacts: RunArtifacts) -> str:
    """One sentence: did the first task's main metric get better, and was the policy promoted?"""
    if artifacts.evaluation is None:
        stage = find_stopped_stage(run)
        return artifacts.missing.get(stage or "evaluate") or artifacts.missing["evaluate"]
    values = _primary_values(artifacts.evaluation.metrics)
    if not values:
        return "No test prompt was evaluated, so nothing can be said about the trained policy."
    task, metric, value = values[0]
    return (
        f"On {value.n:,} held-out {TASK_LABELS[task]} prompts, {label_metric(metric)} "
        f"{_describe_move(format_number(value.base), format_number(value.trained))} "
        f"({format_signed(value.delta)}, 95% interval {format_signed(value.delta_low)} to "
        f"{format_signed(value.delta_high)}); {_explain_promotion(artifacts)}."
    )


def _describe_move(base: str, trained: str) -> str:
    return f"stayed at {base}" if base == trained else f"went from {base} to {trained}"


def _primary_values(
    metrics: dict[TaskName, dict[str, Metric]],
) -> list[tuple[TaskName, str, Metric]]:
    """The main metric of every measured task, in the order of TASKS."""
    values = []
    for task in TASKS:
        measured = metrics.get(task, {})
        metric = PRIMARY_METRICS[task]
        name = metric if metric in measured else next(iter(measured), None)
        if name is not None:
            values.append((task, name, measured[name]))
    return values


def _explain_no_result(run: RunRecord) -> str:
    stage = find_stopped_stage(run)
    if stage is None:
        return "The results of this run are no longer in the store"
    return f"{'Failed' if run.status == 'failed' else 'Not finished'}: stopped in {stage}"


def _say_promoted(artifacts: RunArtifacts) -> str:
    if artifacts.promotion is None:
        return "No promotion decision."
    if artifacts.promotion.promoted and artifacts.approval == "waiting":
        return "Waiting for approval."
    is_promoted = artifacts.promotion.promoted and artifacts.approval != "rejected"
    return "Promoted." if is_promoted else "Not promoted."


def _explain_promotion(artifacts: RunArtifacts) -> str:
    promotion = artifacts.promotion
    if promotion is None:
        return "no promotion decision was made"
    measured = [gate for gate in promotion.gates if gate.measured is not None]
    failed = [gate for gate in measured if not gate.passed]
    if promotion.promoted:
        return f"all {len(measured)} gates passed{AFTER_GATES[artifacts.approval]}"
    if promotion.held:
        return f"it was not promoted: {promotion.held}"
    if not failed:
        return "it was not promoted, because its gates could not be measured"
    named = join(list(dict.fromkeys(_name_gate(gate) for gate in failed)))
    return f"it was not promoted because it failed on {named}"


def _name_gate(gate: Gate) -> str:
    against = " against the policy promoted until then" if gate.against == "champion" else ""
    task = TASK_LABELS.get(gate.task, gate.task)
    return f"{task} {label_metric(gate.metric)}{against}"
