"""Promote: move the "promoted policy" pointer if the evaluation passes its gates.

    <store>/promoted/current.json     which policy the next round samples from
    <store>/promoted/history.jsonl    every move, oldest first

Gates look at the validation split only. A gate on a task that the validation split lacks cannot be
measured: it is listed as such, it neither passes nor fails, and of each kind of gate that is
configured (min_gain, max_loss) at least one must have been measured, so that nothing is promoted
unseen. Gains are signed so that more is better, also for edit_distance.

Each decision moves the pointer once. A reused decision that the history knows leaves the pointer
alone, since a later round or a roll-back may have moved it on purpose.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from perpo_core.keys import compute_digest
from perpo_core.keys import compute_key as compute_stage_key
from perpo_core.metrics import LOWER_IS_BETTER, list_metrics
from perpo_core.stage import StageContext, as_parents, describe_producer, utc_now
from perpo_core.store import Store, describe_file, write_atomic
from schemas.artifact import Checkpoint, Counts, EvalReport, Gate, Metric, Promotion
from schemas.base import Digest, Frozen, Task
from schemas.config import PromoteConfig, RefreshConfig
from schemas.run import PolicyRef

KIND = "promotion"
VERSION = 1
MODEL_FOLDER = "model"  # of a checkpoint artifact
FAILED, NOT_MEASURED = "gate failed", "not measured"


class Pointer(Frozen):
    """current.json, and one line of history.jsonl."""

    policy_digest: Digest
    folder: str
    """The policy's folder, relative to the store; it names the attempt, so it never changes."""
    checkpoint_key: Digest
    promotion_key: Digest
    promotion_attempt: int = 0
    rolled_back: bool = False
    """True if a person pointed back here, False if a promotion did."""
    at: datetime


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
    return compute_stage_key("promote", VERSION, parents, config.promote.model_dump(), numbers)


def run(
    context: StageContext, key: str, evaluation: EvalReport, checkpoint: Checkpoint
) -> Promotion:
    """The decision, with decision.json; moves the pointer if every measured gate passed.

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


def apply_promotion(
    store: Store, promotion: Promotion, checkpoint: Checkpoint, log: Callable[[str], None]
) -> None:
    """Leave the pointer as this decision wants it; call it after a reused decision too.

    Does nothing if the decision was a refusal, was applied before, or names the current policy.
    """
    if not promotion.promoted:
        return
    current, history = load_promoted(store), load_history(store)
    identity = (promotion.key, promotion.attempt)
    known = identity in [(entry.promotion_key, entry.promotion_attempt) for entry in history]
    recorded = bool(history) and history[-1].policy_digest == promotion.policy_digest
    already_current = current is not None and current.policy_digest == promotion.policy_digest
    if (known and current is not None) or (already_current and recorded):
        return
    if current is not None and current.policy_digest != checkpoint.base_policy_digest:
        log(
            "the promoted policy was compared with the policy it started from, not with the one "
            f"promoted until now ({current.policy_digest[:12]})"
        )
    folder = store.path(checkpoint, MODEL_FOLDER).relative_to(store.root).as_posix()
    pointer = Pointer(
        policy_digest=promotion.policy_digest,
        folder=folder,
        checkpoint_key=checkpoint.key,
        promotion_key=promotion.key,
        promotion_attempt=promotion.attempt,
        at=promotion.created_at,
    )
    _move(store, pointer, history)


def roll_back(store: Store, policy_digest: str) -> Pointer:
    """Point at a policy that was promoted before; ValueError if none has this digest (or start)."""
    history = load_history(store)
    found = [entry for entry in history if entry.policy_digest.startswith(policy_digest)]
    if not policy_digest or len({entry.policy_digest for entry in found}) != 1:
        raise ValueError(
            f"{len({entry.policy_digest for entry in found})} promoted policies have a digest "
            f"that starts with {policy_digest!r}; {_history_path(store)} lists them"
        )
    pointer = found[-1].model_copy(update={"rolled_back": True, "at": utc_now()})
    _move(store, pointer, history)
    return pointer


def _move(store: Store, pointer: Pointer, history: list[Pointer]) -> None:
    """The pointer first: after a kill in between the decision is unknown and is applied again."""
    write_atomic(_pointer_path(store), pointer.model_dump_json(indent=2).encode())
    lines = "".join(entry.model_dump_json() + "\n" for entry in [*history, pointer])
    write_atomic(_history_path(store), lines.encode())


def load_promoted(store: Store) -> Pointer | None:
    """Which policy is promoted now (current.json); None if none ever was."""
    path = _pointer_path(store)
    return Pointer.model_validate_json(path.read_bytes()) if path.is_file() else None


def load_history(store: Store) -> list[Pointer]:
    """Every move of the pointer, oldest first."""
    path = _history_path(store)
    lines = path.read_text().splitlines() if path.is_file() else []
    return [Pointer.model_validate_json(line) for line in lines]


def _pointer_path(store: Store) -> Path:
    return store.root / "promoted" / "current.json"


def _history_path(store: Store) -> Path:
    return store.root / "promoted" / "history.jsonl"
