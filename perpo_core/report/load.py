"""What a run left in the store, as far as it got.

An artifact takes part only if it is the very one the run made: verified by its files' hashes and
by the digest in the run's record. Whatever is not there is a sentence in `missing`, never a crash:
a run that failed halfway still gets its report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from perpo_core.promotion.approvals import Answer, find_answer
from perpo_core.store.store import DamagedArtifact, Store
from schemas.artifact import (
    AnyArtifact,
    CandidateSet,
    Checkpoint,
    ContrastSet,
    EvalReport,
    PreferenceSet,
    Promotion,
    SampleSet,
    ScoredSet,
)
from schemas.base import StageName
from schemas.run import RunRecord

T = TypeVar("T")
# The other artifacts' files are not opened here, and hashing a model takes a while.
STAGES_WITH_ROWS: tuple[StageName, ...] = (
    "collect", "score", "materialize", "contrast", "evaluate",
)  # fmt: skip


@dataclass(frozen=True)
class RunArtifacts:
    """The artifacts of one run by stage, and why the others are missing."""

    by_stage: dict[StageName, AnyArtifact] = field(default_factory=dict)
    missing: dict[StageName, str] = field(default_factory=dict)
    approval: Answer | None = None
    """Where a person's word on the promotion stands; None where none was asked for."""

    def _get(self, stage: StageName, kind: type[T]) -> T | None:
        artifact = self.by_stage.get(stage)
        assert artifact is None or isinstance(artifact, kind), f"{stage} made a {type(artifact)}"
        return artifact

    @property
    def samples(self) -> SampleSet | None:
        return self._get("collect", SampleSet)

    @property
    def candidates(self) -> CandidateSet | None:
        return self._get("generate", CandidateSet)

    @property
    def scores(self) -> ScoredSet | None:
        return self._get("score", ScoredSet)

    @property
    def preferences(self) -> PreferenceSet | None:
        return self._get("materialize", PreferenceSet)

    @property
    def contrast(self) -> ContrastSet | None:
        return self._get("contrast", ContrastSet)

    @property
    def checkpoint(self) -> Checkpoint | None:
        return self._get("train", Checkpoint)

    @property
    def evaluation(self) -> EvalReport | None:
        return self._get("evaluate", EvalReport)

    @property
    def promotion(self) -> Promotion | None:
        return self._get("promote", Promotion)


def load_artifacts(store: Store, run: RunRecord) -> RunArtifacts:
    """Every artifact of the run that is still as the run made it."""
    by_stage: dict[StageName, AnyArtifact] = {}
    missing: dict[StageName, str] = {}
    for stage in run.config.stages:
        found = _load_artifact(store, run, stage)
        if isinstance(found, str):
            missing[stage] = found
        else:
            by_stage[stage] = found
    promotion = by_stage.get("promote")
    approval = find_answer(store, promotion) if isinstance(promotion, Promotion) else None
    return RunArtifacts(by_stage, missing, approval)


def find_stopped_stage(run: RunRecord) -> StageName | None:
    """The first stage that did not finish; None when all did."""
    return next((stage for stage in run.config.stages if stage not in run.stages), None)


def find_artifact(store: Store, run: RunRecord, stage: StageName) -> AnyArtifact | str:
    """The artifact of a stage, its files unverified, or the sentence why there is none."""
    record = run.stages.get(stage)
    if record is None:
        return _explain_unfinished(run, stage)
    artifact = store.load(record.kind, record.key)
    if artifact is None:
        return f"The artifact of {stage} is no longer in the store."
    if artifact.digest != record.digest:
        return f"The artifact of {stage} was made anew after this run, and came out differently."
    return artifact


def _load_artifact(store: Store, run: RunRecord, stage: StageName) -> AnyArtifact | str:
    """The artifact with its rows verified, or the sentence that says why there is none."""
    artifact = find_artifact(store, run, stage)
    if not isinstance(artifact, str) and stage in STAGES_WITH_ROWS:
        try:
            store.verify(artifact)
        except DamagedArtifact as damage:
            return f"Not shown: {damage}."
    return artifact


def _explain_unfinished(run: RunRecord, stage: StageName) -> str:
    stopped = find_stopped_stage(run)
    if run.status == "running":
        return f"The run had not finished {stage} when this report was written."
    if stage == stopped and run.error:
        verb = "was cancelled" if run.status == "cancelled" else "failed"
        return f"The run {verb} in {stage}: {run.error}"
    return f"The run ended before {stage}."
