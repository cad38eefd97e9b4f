"""`perpo plan`: which stages would run and which would be reused, without running any.

A stage's key needs its parents' content, so behind a stage that must run the keys are unknown
until then; it is said, not guessed. A remake may come out identical, and what follows is then
reused after all. Seconds are those of the last run that made the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flows.recipe import follow_recipe
from perpo_core.store import open_store
from schemas.base import StageName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord
from tasks.modules import load_stage
from tasks.names import describe_work

Verdict = Literal["reused", "runs", "unknown"]


@dataclass(frozen=True)
class PlannedStage:
    """What would happen to one stage."""

    stage: StageName
    verdict: Verdict
    work: str
    reason: str
    last_seconds: float | None
    """How long the last run that made this stage took for it; None if there was none."""


@dataclass
class Planner:
    """Follows the recipe with what the store has."""

    config: RefreshConfig
    policy: PolicyRef
    records: Sequence[RunRecord] = ()
    stages: list[PlannedStage] = field(default_factory=list)
    behind: StageName | None = None
    """The first stage that must run."""

    def __call__(self, stage: StageName, *parents: Any) -> Any:
        artifact = None
        if self.behind is None:
            artifact, verdict, reason = self._look_up(stage, parents)
        else:
            verdict, reason = "unknown", f"its key is known only after {self.behind}"
        self.stages.append(
            PlannedStage(
                stage=stage,
                verdict=verdict,
                work=describe_work(stage, self.config, *parents),
                reason=reason,
                last_seconds=find_last_seconds(self.records, stage),
            )
        )
        if verdict == "runs":
            self.behind = stage
        return artifact

    def _look_up(self, stage: StageName, parents: Sequence[Any]) -> tuple[Any, Verdict, str]:
        module = load_stage(stage)
        key = module.compute_key(self.config, self.policy, *parents)
        damages: list[str] = []
        artifact = open_store(self.config.store).find(module.KIND, key, damages.append)
        if artifact is not None:
            return artifact, "reused", f"key {key[:12]} is in the store and verifies"
        return None, "runs", damages[0] if damages else f"key {key[:12]} is not in the store"


def plan_refresh(
    config: RefreshConfig, policy: PolicyRef, records: Sequence[RunRecord] = ()
) -> list[PlannedStage]:
    """What a refresh of this configuration would do; `records` are earlier runs, oldest first."""
    planner = Planner(config, policy, records)
    follow_recipe(planner)
    return planner.stages


def find_last_seconds(records: Sequence[RunRecord], stage: StageName) -> float | None:
    """How long the newest run that made the stage took for it."""
    for record in reversed(records):
        entry = record.stages.get(stage)
        if entry is not None and not entry.reused:
            return entry.seconds
    return None
