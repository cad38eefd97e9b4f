"""Promote: move the "promoted policy" pointer if the evaluation passes its gates.

Gates look at the validation split only. A gate on a task that the validation split lacks cannot be
measured: it is listed as such, it neither passes nor fails, and of each kind of gate that is
configured (min_gain, max_loss) at least one must have been measured, so that nothing is promoted
unseen. Gains are signed so that more is better, also for edit_distance.

With promote.approval the decision is the same, and the pointer waits for a person
(perpo_core/approvals.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from perpo_core.approvals import request_approval
from perpo_core.keys import compute_digest
from perpo_core.keys import compute_key as compute_stage_key
from perpo_core.metrics import LOWER_IS_BETTER, list_metrics
from perpo_core.pointer import apply_promotion
from perpo_core.stage import StageContext, as_parents, describe_producer, utc_now
from perpo_core.store import describe_file, write_atomic
from schemas.artifact import Checkpoint, Counts, EvalReport, Gate, Metric, Promotion
from schemas.base import Task
from schemas.config import PromoteConfig, RefreshConfig
from schemas.run import PolicyRef

KIND = "promotion"
VERSION = 1
FAILED, NOT_MEASURED = "gate failed", "not measured"


def compute_key(
    config: RefreshConfig, policy: PolicyRef, evaluation: EvalReport, checkpoint: Checkpoint
) -> str:
    """The decision depends on both parents, the gates, and the validation numbers.

    The numbers are named besides the evaluation's digest because that covers its predictions, not
    the seed and resamples of the intervals.
    """
    del policy
    numbers = {
        task: {name: metric.model_dump() for name, metric in metrics.items()}
        for task, metrics in evaluation.validation.items()
    }
    parents = as_parents(evaluation, checkpoint)
    gates = config.promote.model_dump(exclude={"approval"})  # who moves the pointer, not whether
    return compute_stage_key("promote", VERSION, parents, gates, numbers)


def run(
    context: StageContext, key: str, evaluation: EvalReport, checkpoint: Checkpoint
) -> Promotion:
    """The decision, with decision.json; moves the pointer if every measured gate passed.

    With promote.approval it asks for an approval instead.

    Raises ValueError if the evaluation is of another checkpoint or a gate names no metric.
    """
    started = time.monotonic()
    if checkpoint.digest not in [parent.digest for parent in evaluation.parents]:
        raise ValueError(
            f"the evaluation {evaluation.key} is not of the checkpoint {checkpoint.key}; "
            "evaluate this checkpoint first"
        )
    gates = compute_gates(context.config.promote, evaluation.validation)
    promoted = decide(gates)
    for gate in gates:
        context.log(describe_gate(gate))
    workspace = context.open_workspace(KIND, key)
    decision = {"promoted": promoted, "gates": [gate.model_dump() for gate in gates]}
    path = workspace.folder / "decision.json"
    write_atomic(path, json.dumps(decision, indent=2, sort_keys=True).encode())
    files = [describe_file(path, path.name)]
    num_passed = sum(gate.passed for gate in gates)
    num_skipped = sum(gate.measured is None for gate in gates)
    reasons = {FAILED: len(gates) - num_passed - num_skipped, NOT_MEASURED: num_skipped}
    promotion = Promotion(
        stage="promote",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(
            num_in=len(gates),
            num_kept=num_passed,
            dropped={reason: count for reason, count in reasons.items() if count},
        ),
        parents=as_parents(evaluation, checkpoint),
        producer=describe_producer(seed=context.config.evaluate.seed, threads=1),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        promoted=promoted,
        gates=gates,
        policy_digest=checkpoint.policy_digest,
    )
    if context.config.promote.approval:
        request_approval(context.store, promotion, context.log)
    else:
        apply_promotion(context.store, promotion, checkpoint, context.log)
    return promotion


def compute_gates(config: PromoteConfig, validation: dict[Task, dict[str, Metric]]) -> list[Gate]:
    """Every configured gate and what was measured, in order of kind, task and metric."""
    gates = []
    for task, metric, limit in _iterate(config.min_gain, "min_gain"):
        rule = f"min_gain: lower 95% end of the gain in {metric} > {limit:g}"
        measured = _measure(validation, task, metric, compute_gain_low)
        passed = measured is not None and measured > limit
        gates.append(_build_gate(task, metric, rule, measured, passed))
    for task, metric, limit in _iterate(config.max_loss, "max_loss"):
        rule = f"max_loss: mean gain in {metric} >= {-limit:g}"
        measured = _measure(validation, task, metric, compute_gain)
        passed = measured is not None and measured >= -limit
        gates.append(_build_gate(task, metric, rule, measured, passed))
    return gates


def compute_gain(name: str, metric: Metric) -> float:
    """The mean change, signed so that more is better."""
    return -metric.delta if name in LOWER_IS_BETTER else metric.delta


def compute_gain_low(name: str, metric: Metric) -> float:
    """The pessimistic end of the interval of the gain."""
    return -metric.delta_high if name in LOWER_IS_BETTER else metric.delta_low


def decide(gates: list[Gate]) -> bool:
    """True if no measured gate failed and each kind of gate that is configured was measured."""
    measured = [gate for gate in gates if gate.measured is not None]
    kinds = {_get_kind(gate) for gate in gates}
    return all(gate.passed for gate in measured) and kinds == {_get_kind(g) for g in measured}


def describe_gate(gate: Gate) -> str:
    """One line for logs and reports."""
    if gate.measured is None:
        return f"gate skipped: {gate.task}, {gate.rule}"
    verdict = "passed" if gate.passed else "failed"
    return f"gate {verdict}: {gate.task}, {gate.rule}; measured {gate.measured:+.4f}"


def _get_kind(gate: Gate) -> str:
    return gate.rule.partition(":")[0]


def _iterate(gates: dict[Task, dict[str, float]], kind: str) -> Iterator[tuple[Task, str, float]]:
    for task, limits in sorted(gates.items()):
        for metric, limit in sorted(limits.items()):
            if metric not in list_metrics(task):
                raise ValueError(
                    f"promote.{kind}.{task} names the metric {metric!r}, which {task} does not "
                    f"have; choose one of {', '.join(list_metrics(task))}"
                )
            yield task, metric, limit


def _measure(
    validation: dict[Task, dict[str, Metric]],
    task: Task,
    metric: str,
    compute: Callable[[str, Metric], float],
) -> float | None:
    return compute(metric, validation[task][metric]) if task in validation else None


def _build_gate(task: Task, metric: str, rule: str, measured: float | None, passed: bool) -> Gate:
    if measured is None:
        rule += " (not measured: no validation prompts of this task)"
    return Gate(task=task, metric=metric, rule=rule, measured=measured, passed=passed)
