"""Rounds of training as promotion sees them: a checkpoint, its evaluation, and the decision."""

from __future__ import annotations

import hashlib
from typing import Any

from perpo_core.promotion.pointer import apply_promotion, load_promoted
from perpo_core.stages import promote
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_hash
from perpo_core.store.provenance import as_parents
from perpo_core.store.store import Store
from perpo_core.store.workspace import describe_file
from schemas.arrow import PREDICTIONS
from schemas.artifact import Checkpoint, EvalReport, Metric, Promotion
from schemas.run import RunRecord, StageRecord
from tests.perpo_core.small_store import POLICY_DIGEST, common_fields

GATES: dict[str, Any] = {
    "min_gain": {"grounding": {"sampled_reward": 0.0}},
    "max_loss": {"ocr": {"greedy_reward": 0.01}},
}


def promote_checkpoint(store: Store, checkpoint: Checkpoint) -> None:
    """Make a committed checkpoint the promoted policy, without gates."""
    current = load_promoted(store)
    fields = common_fields("promote", "promotion", 0, [])
    promotion = Promotion(
        **fields | {"key": compute_hash(["promotion", checkpoint.key])},
        promoted=True,
        gates=[],
        policy_digest=checkpoint.policy_digest,
        champion_digest=current.policy_digest if current else None,
    )
    apply_promotion(store, promotion, checkpoint)


def build_metric(delta: float, spread: float = 0.01) -> Metric:
    return Metric(
        base=0.5, trained=0.5 + delta, delta=delta, delta_low=delta - spread,
        delta_high=delta + spread, n=100,
    )  # fmt: skip


def build_validation(gain: float = 0.05, loss: float = 0.0) -> dict[Any, dict[str, Metric]]:
    return {
        "grounding": {"sampled_reward": build_metric(gain)},
        "ocr": {"greedy_reward": build_metric(-loss), "edit_distance": build_metric(loss)},
    }


def build_round(
    context: StageContext,
    name: str,
    validation: dict[Any, dict[str, Metric]] | None = None,
    base_policy: str = POLICY_DIGEST,
) -> tuple[EvalReport, Checkpoint]:
    """A checkpoint with one file and its evaluation, committed."""
    key = compute_hash(["checkpoint", name])
    path = context.store.folder("checkpoint", key) / "model" / "config.json"
    write_atomic(path, name.encode())
    fields = common_fields("train", "checkpoint", 1, [describe_file(path, "model/config.json")])
    checkpoint = Checkpoint(
        **(fields | {"key": key}),
        policy_digest=policy_of(name),
        base_policy_digest=base_policy,
        chosen_step=1,
        reference_difference_nats=0,
        history=[],
        validation=[],
    )
    table = PREDICTIONS.empty_table().replace_schema_metadata({"made of": name})
    workspace = context.store.open_workspace("evaluation", key)
    file = workspace.write_table("predictions.parquet", table)
    fields = common_fields("evaluate", "evaluation", 1, [file])
    evaluation = EvalReport(
        **(fields | {"key": key, "parents": as_parents(checkpoint)}),
        metrics={},
        validation=build_validation() if validation is None else validation,
        headroom_closed={},
    )
    return context.store.commit(evaluation), context.store.commit(checkpoint)


def make(context: StageContext, evaluation: EvalReport, checkpoint: Checkpoint) -> Promotion:
    promotion: Promotion = find_or_make(context, promote, evaluation, checkpoint).artifact
    return promotion


def policy_of(name: str) -> str:
    """The digest of the model folder of a round."""
    return compute_hash([["config.json", hashlib.sha256(name.encode()).hexdigest()]])


def build_record(context: StageContext, run_id: str, *artifacts: Any) -> RunRecord:
    """The record of a completed run that made these artifacts."""
    return RunRecord(
        run_id=run_id,
        status="completed",
        config=context.config.model_copy(update={"store": context.store.root}),
        policy_digest=context.policy.digest,
        policy_folder=context.policy.folder,
        stages={
            artifact.stage: StageRecord(
                kind=artifact.kind,
                key=artifact.key,
                digest=artifact.digest,
                reused=False,
                seconds=0,
            )
            for artifact in artifacts
        },
        started_at=artifacts[-1].created_at,
        ended_at=artifacts[-1].created_at,
    )
