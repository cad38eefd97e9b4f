"""One round, measured: against the round before, against the start, and what it learned from.

Against the round before is the round's own evaluation. Against the start, the answers of the first
round's start policy and of this round's trained one are compared in the same way
(perpo_core/stages/evaluate/metrics.py): every evaluation asks the same test prompts with the same
seed, so that the pairs are the same prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.evidence.headroom import compute_headroom
from perpo_core.perception.tasks import TASKS
from perpo_core.promotion.approvals import find_answer
from perpo_core.promotion.pointer import is_applied
from perpo_core.report.choice import describe_choice
from perpo_core.report.load import RunArtifacts, find_artifact, load_artifacts
from perpo_core.rounds.diversity import compute_diversity, read_shards
from perpo_core.stages.evaluate import MEASURED_COLUMNS, PREDICTIONS_FILE, Answers, load_answers
from perpo_core.stages.evaluate.metrics import ID_COLUMNS, compute_metrics
from perpo_core.stages.promote.gates import describe_gate
from perpo_core.store.store import Store
from schemas.artifact import (
    CandidateSet,
    Checkpoint,
    EvalReport,
    Metric,
    PreferenceSet,
    Promotion,
    ScoredSet,
)
from schemas.base import Split, StageName, TaskName
from schemas.config import EvaluateConfig
from schemas.evidence_statistics import Headroom
from schemas.rounds import Decision, Round, TaskOfRound
from schemas.run import RunRecord

SPLIT: Split = "test"
AgainstStart = tuple[dict[TaskName, dict[str, Metric]], dict[TaskName, Headroom | None]]
"""Metrics, and headroom closed, by task."""


@dataclass(frozen=True)
class RoundRun:
    """A round and the run that it is."""

    round: Round
    record: RunRecord
    seconds: dict[StageName, float]
    """Wall time of the work that made each artifact, in whichever run that was."""


def measure_round(
    store: Store, number: int, record: RunRecord, first: RunRecord | None
) -> RoundRun:
    """What a completed run gave; `first` is the first round's, None of that itself.

    Raises ValueError, one sentence, where an artifact of it is no longer there.
    """
    artifacts = load_artifacts(store, record)
    for stage in record.config.stages:
        if stage in artifacts.missing:
            raise ValueError(
                f"run {record.run_id}: {artifacts.missing[stage]} Run the rounds again."
            )
    checkpoint, evaluation = artifacts.checkpoint, artifacts.evaluation
    assert checkpoint is not None and evaluation is not None, "nothing is missing"
    began = find_start_answers(store, first) if first else evaluation
    against_start = compare_with_start(store, began, evaluation, record.config.evaluate)
    decision, reason = decide(store, artifacts)
    candidates, preferences = artifacts.candidates, artifacts.preferences
    assert candidates is not None and preferences is not None, "nothing is missing"
    round_ = Round(
        number=number,
        name=record.config.name,
        policy_digest=record.policy_digest,
        trained_digest=checkpoint.policy_digest,
        decision=decision,
        reason=reason,
        generate_seed=record.config.generate.seed,
        train_seed=record.config.train.seed,
        num_prompts=candidates.counts.num_kept,
        num_stale_prompts=count_stale(candidates),
        num_samples=record.config.evaluate.num_samples,
        lists=preferences.counts,
        tasks=_build_tasks(store, artifacts, evaluation, preferences, against_start),
    )
    seconds = {stage: artifact.seconds for stage, artifact in artifacts.by_stage.items()}
    return RoundRun(round_, record, seconds)


def find_start_answers(store: Store, first: RunRecord) -> EvalReport:
    """The evaluation that has the start's; raises ValueError where it is gone."""
    found = find_artifact(store, first, "evaluate")
    if not isinstance(found, EvalReport):
        raise ValueError(f"run {first.run_id}: {found} Run the rounds again.")
    return found


def compare_with_start(
    store: Store, began: EvalReport, evaluation: EvalReport, settings: EvaluateConfig
) -> AgainstStart:
    """The start's answers, of the first round's evaluation, with the trained ones of another.

    Raises ValueError where they are not of the same prompts.
    """
    resamples, seed = settings.bootstrap_resamples, settings.seed
    tables = [_read_table(store, began, "base"), _read_table(store, evaluation, "trained")]
    both = pa.concat_tables(tables).unify_dictionaries()
    metrics, _ = compute_metrics(both, SPLIT, resamples, seed)
    start, trained = (load_answers(both, SPLIT, policy) for policy in ("base", "trained"))
    headroom = {
        task: measure_headroom(start[task], trained[task], resamples, seed) for task in metrics
    }
    return metrics, headroom


def measure_headroom(
    start: Answers, trained: Answers, resamples: int, seed: int
) -> Headroom | None:
    """How far a policy goes towards the best of the start's answers; None without headroom."""
    best_P = start.sampled_P_N.max(axis=1)
    greedy_1P = trained.greedy_P[None]
    return compute_headroom(greedy_1P, start.greedy_P, best_P, start.images, resamples, seed)


def _read_table(store: Store, evaluation: EvalReport, policy: str) -> pa.Table:
    [path] = store.paths(evaluation, PREDICTIONS_FILE)
    table = pq.read_table(path, columns=MEASURED_COLUMNS, read_dictionary=list(ID_COLUMNS))
    return table.filter(pc.equal(table["policy"], policy))


def count_stale(candidates: CandidateSet) -> int:
    """Prompts with answers of another policy than the one that was asked."""
    return sum(
        num
        for digest, num in candidates.prompts_per_policy.items()
        if digest != candidates.policy_digest
    )


def decide(store: Store, artifacts: RunArtifacts) -> tuple[Decision, str | None]:
    """What became of a round, and why where it was not promoted."""
    promotion = artifacts.promotion
    assert isinstance(promotion, Promotion), "nothing is missing"
    if not promotion.promoted:
        return "not promoted", explain_refusal(promotion)
    if artifacts.checkpoint is not None and not is_new(artifacts.checkpoint):
        return "not promoted", f"{describe_choice(artifacts.checkpoint)}: there is nothing new"
    answer = find_answer(store, promotion)
    if answer in ("waiting", "rejected") and not is_applied(store, promotion):
        if answer == "rejected":
            return "rejected", "a person rejected it"
        return "waiting for approval", None
    return "promoted", None


def is_new(checkpoint: Checkpoint) -> bool:
    """Whether a training changed its policy: the gates may be such that standing still passes."""
    return checkpoint.policy_digest != checkpoint.base_policy_digest


def explain_refusal(promotion: Promotion) -> str:
    """What held it back, or the gates that failed, in words."""
    failed = [gate for gate in promotion.gates if gate.measured is not None and not gate.passed]
    sentences = [describe_gate(gate) for gate in failed]
    return "; ".join([*([promotion.held] if promotion.held else []), *sentences])


def _build_tasks(
    store: Store,
    artifacts: RunArtifacts,
    evaluation: EvalReport,
    preferences: PreferenceSet,
    against_start: AgainstStart,
) -> dict[TaskName, TaskOfRound]:
    candidates, scores = artifacts.candidates, artifacts.scores
    assert isinstance(candidates, CandidateSet) and isinstance(scores, ScoredSet)
    diversity = compute_diversity(read_shards(store, candidates, scores))
    metrics, headroom = against_start
    return {
        task: TaskOfRound(
            headline=TASKS[task].headline,
            against_before=measured,
            against_start=metrics[task],
            headroom_closed=evaluation.headroom_closed.get(task),
            start_headroom=headroom[task],
            num_lists=preferences.num_lists.get(task, 0),
            diversity=diversity.get(task),
        )
        for task, measured in evaluation.metrics.items()
    }
