"""Promote: move the "promoted policy" pointer if the policy is better than what it would replace.

The trained policy has to pass the gates (perpo_core/stages/promote/gates.py) twice: against the
policy that it started from, and against the champion, the policy promoted at that moment, where
that is another one (perpo_core/stages/promote/champion.py). Else one experiment from an old policy
would undo weeks of nights, since it is only better than where it began. The move is a
compare-and-swap: when another run moved the pointer meanwhile, the decision is made again against
the new champion.

With promote.approval the decision is the same, and the pointer waits for a person
(perpo_core/promotion/approvals.py). With promote.enabled = false it is made and moves nothing.
"""

from __future__ import annotations

import json
import time
from typing import Any

from perpo_core.promotion.approvals import request_approval
from perpo_core.promotion.pointer import ChampionChanged, Pointer, apply_promotion
from perpo_core.stages.promote.champion import compare_with_champion, find_champion, find_problem
from perpo_core.stages.promote.gates import (
    compute_gates,
    count_gates,
    decide,
    describe_gate,
    find_unmeasured,
)
from perpo_core.stages.stage import StageContext
from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.open import open_store
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.workspace import describe_file
from schemas.artifact import Checkpoint, EvalReport, FileRef, Gate, Promotion
from schemas.config import PromoteConfig, RefreshConfig
from schemas.run import PolicyRef

KIND = "promotion"
VERSION = 2
MAX_DECISIONS = 5  # one policy is promoted between two of them
DISABLED = "promote.enabled = false in this configuration"


def compute_key(
    config: RefreshConfig, policy: PolicyRef, evaluation: EvalReport, checkpoint: Checkpoint
) -> str:
    """The decision depends on both parents, the gates, the validation numbers and the champion.

    The numbers are named besides the evaluation's digest because that covers its predictions, not
    the seed and resamples of the intervals. The champion is what the store has promoted now: the
    same candidate is another question when there is something else to beat.
    """
    del policy
    return _compute_key(
        config, evaluation, checkpoint, find_champion(open_store(config.store), checkpoint)
    )


def _compute_key(
    config: RefreshConfig, evaluation: EvalReport, checkpoint: Checkpoint, champion: Pointer | None
) -> str:
    numbers = {
        task: {name: metric.model_dump() for name, metric in metrics.items()}
        for task, metrics in evaluation.validation.items()
    }
    problem = find_problem(open_store(config.store), config, champion) if champion else None
    rival = {"champion": champion.policy_digest, "comparable": not problem} if champion else None
    parents = as_parents(evaluation, checkpoint)
    extra: dict[str, Any] = numbers if rival is None else {"numbers": numbers, **rival}
    if config.promote.max_loss_benchmarks:  # the evaluation's digest is of its answers
        said = {
            name: {metric: value.model_dump() for metric, value in metrics.items()}
            for name, metrics in evaluation.benchmarks.items()
        }
        extra = {"measured": extra, "benchmarks": said}
    return compute_stage_key("promote", VERSION, parents, _list_settings(config.promote), extra)


def _list_settings(config: PromoteConfig) -> dict[str, Any]:
    """Without who moves the pointer; what is off by default counts only where it is on."""
    settings = config.model_dump(exclude={"approval", "enabled", "without_champion"})
    if not config.max_loss_benchmarks:
        del settings["max_loss_benchmarks"]
    settings |= {} if config.enabled else {"enabled": False}
    return settings | ({"without_champion": True} if config.without_champion else {})


def wants_engine(
    context: StageContext, key: str, evaluation: EvalReport, checkpoint: Checkpoint
) -> bool:
    """Whether the decision may sample answers, those of a champion."""
    del key, evaluation
    return find_champion(context.store, checkpoint) is not None


def run(
    context: StageContext, key: str, evaluation: EvalReport, checkpoint: Checkpoint
) -> Promotion:
    """The decision, with decision.json; moves the pointer if every measured gate passed.

    With promote.approval it asks for an approval instead. The key is computed anew: the champion
    may have changed since it was asked for.

    Raises ValueError if the evaluation is of another checkpoint, a gate names no metric, or the
    champion is damaged.
    """
    del key
    if checkpoint.digest not in [parent.digest for parent in evaluation.parents]:
        raise ValueError(
            f"the evaluation {evaluation.key} is not of the checkpoint {checkpoint.key}; "
            "evaluate this checkpoint first"
        )
    for _ in range(MAX_DECISIONS):
        promotion = make_decision(context, evaluation, checkpoint)
        try:
            settle(context, promotion, checkpoint)
        except ChampionChanged as change:
            context.log(f"{change}; deciding again")
            continue
        return promotion
    raise ValueError(
        f"the promoted policy of {context.store.place} changed {MAX_DECISIONS} times while this "
        "run decided; run its last stage again with `perpo rerun latest --from promote`"
    )


def make_decision(
    context: StageContext, evaluation: EvalReport, checkpoint: Checkpoint
) -> Promotion:
    """Whether the gates pass against start policy and champion; nothing moves yet."""
    started = time.monotonic()
    config = context.config.promote
    champion = find_champion(context.store, checkpoint)
    problem = find_problem(context.store, context.config, champion) if champion else None
    comparison = (
        compare_with_champion(context, champion, evaluation, checkpoint)
        if champion and not problem
        else None
    )
    gates = compute_gates(config, evaluation.validation, benchmarks=evaluation.benchmarks)
    if comparison:
        gates += compute_gates(config, comparison.validation, "champion", comparison.benchmarks)
    held = _find_obstacle(config, champion, problem) or find_unmeasured(gates)
    promoted = decide(gates) and held is None
    for gate in gates:
        context.log(describe_gate(gate))
    if held:
        context.log(f"not promoted: {held}")
    key = _compute_key(context.config, evaluation, checkpoint, champion)
    attempt, file = _write_decision(context, key, promoted, gates, held)
    return Promotion(
        stage="promote",
        key=key,
        digest=compute_digest([file]),
        files=[file],
        counts=count_gates(gates),
        parents=as_parents(evaluation, checkpoint, *([comparison] if comparison else [])),
        producer=describe_producer(seed=context.config.evaluate.seed, threads=1),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=attempt,
        promoted=promoted,
        gates=gates,
        policy_digest=checkpoint.policy_digest,
        held=held,
        champion_digest=champion.policy_digest if champion else None,
        champion_metrics=comparison.metrics if comparison else {},
        champion_validation=comparison.validation if comparison else {},
    )


def settle(context: StageContext, promotion: Promotion, checkpoint: Checkpoint) -> None:
    """Move the pointer, or ask for an approval; raises ChampionChanged."""
    if context.config.promote.approval:
        request_approval(context.store, promotion, context.log)
    else:
        apply_promotion(context.store, promotion, checkpoint)


def _find_obstacle(
    config: PromoteConfig, champion: Pointer | None, problem: str | None
) -> str | None:
    """What keeps the pointer where it is, whatever the gates say."""
    if not config.enabled:
        return DISABLED
    if champion is None or problem is None or config.without_champion:
        return None
    return (
        f"the promoted policy {champion.policy_digest[:12]} cannot be compared ({problem}); name "
        "one that is there with `perpo rollback`, or set promote.without_champion = true"
    )


def _write_decision(
    context: StageContext, key: str, promoted: bool, gates: list[Gate], held: str | None
) -> tuple[int, FileRef]:
    """decision.json, and the attempt it is of."""
    workspace = context.open_workspace(KIND, key)
    decision: dict[str, Any] = {
        "promoted": promoted,
        "gates": [gate.model_dump(exclude_defaults=True) for gate in gates],
    }
    decision |= {"held": held} if held else {}
    path = workspace.folder / "decision.json"
    write_atomic(path, json.dumps(decision, indent=2, sort_keys=True).encode())
    return workspace.attempt, describe_file(path, path.name)
