"""What a trial took: seconds of the work behind each of its artifacts, and memory of training."""

from __future__ import annotations

from perpo_core.evidence.trials import Trial
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint
from schemas.comparison import TrialCost
from schemas.run import RunRecord


def read_cost(store: Store, trial: Trial, record: RunRecord) -> TrialCost:
    """Of a finished run; what it reused counts with what it took when it was made."""
    artifacts = {stage: store.load(entry.kind, entry.key) for stage, entry in record.stages.items()}
    checkpoint = artifacts.get("train")
    points = checkpoint.history if isinstance(checkpoint, Checkpoint) else []
    peaks = [point.peak_memory_gb for point in points if point.peak_memory_gb is not None]
    return TrialCost(
        method=trial.method,
        part=trial.part,
        settings=dict(trial.settings),
        seed=trial.seed,
        run_id=record.run_id,
        seconds={stage: found.seconds for stage, found in artifacts.items() if found is not None},
        peak_memory_gb=max(peaks, default=None),
    )
