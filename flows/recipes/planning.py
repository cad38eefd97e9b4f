"""`perpo plan`: which stages would run and which would be reused, without running any.

A stage's key needs its parents' content, so behind a stage that must run the keys are unknown
until then; it is said, not guessed. A remake may come out identical, and what follows is then
reused after all. Seconds are those of the last run that made the stage; sampling costs what is new,
so that its estimate is the last run's seconds for a prompt it sampled, times the new prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flows.recipes.recipe import follow_recipe
from perpo_core.doctor.forecast import Forecast, compute_forecast
from perpo_core.stages.stage import StageContext
from perpo_core.store.open import open_store
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet, SampleSet
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
    expected_seconds: float | None = None
    """Where it is known how much of the work is new, what that would take."""


@dataclass
class Planner:
    """Follows the recipe with what the store has."""

    config: RefreshConfig
    policy: PolicyRef
    records: Sequence[RunRecord] = ()
    stages: list[PlannedStage] = field(default_factory=list)
    behind: StageName | None = None
    """The first stage that must run."""
    forecast: Forecast | None = None
    has_looked: bool = False

    def __call__(self, stage: StageName, *parents: Any) -> Any:
        artifact = None
        if self.behind is None:
            artifact, verdict, reason = self._look_up(stage, parents)
        else:
            verdict, reason = "unknown", f"its key is known only after {self.behind}"
        work = describe_work(stage, self.config, *parents)
        expected = None
        if stage in ("generate", "score") and verdict != "reused":
            self._look_ahead(parents[0])
            work = f"{work}, {describe_forecast(stage, self.forecast)}"
            expected = self._expect(stage)
        self.stages.append(
            PlannedStage(
                stage=stage,
                verdict=verdict,
                work=work,
                reason=reason,
                last_seconds=find_last_seconds(self.records, stage),
                expected_seconds=expected,
            )
        )
        if verdict == "runs":
            self.behind = stage
        return artifact

    def _look_ahead(self, samples: SampleSet | None) -> None:
        """See once what is new."""
        if not self.has_looked:
            self.has_looked = True
            context = StageContext(open_store(self.config.store), self.config, self.policy)
            self.forecast = compute_forecast(context, samples)

    def _expect(self, stage: StageName) -> float | None:
        """Seconds that sampling the new prompts would take; None where nothing tells."""
        if stage != "generate" or self.forecast is None:
            return None
        rate = find_seconds_per_prompt(open_store(self.config.store), self.records)
        return rate * self.forecast.num_new if rate is not None else None

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
    follow_recipe(planner, config)
    return planner.stages


def find_last_seconds(records: Sequence[RunRecord], stage: StageName) -> float | None:
    """How long the newest run that made the stage took for it."""
    for record in reversed(records):
        entry = record.stages.get(stage)
        if entry is not None and not entry.reused:
            return entry.seconds
    return None


def find_seconds_per_prompt(store: Store, records: Sequence[RunRecord]) -> float | None:
    """Of the newest run that sampled any prompts and whose candidates are still there."""
    for record in reversed(records):
        entry = record.stages.get("generate")
        if entry is None or entry.reused:
            continue
        candidates = store.load(entry.kind, entry.key)
        if isinstance(candidates, CandidateSet) and candidates.num_new_prompts:
            return entry.seconds / candidates.num_new_prompts
    return None


def describe_forecast(stage: StageName, forecast: Forecast | None) -> str:
    """Such as "12 of 120 prompts new, 108 taken over"."""
    if forecast is None:
        return "how many of them new is not known before collect"
    if stage == "generate":
        new = f"{forecast.num_new:,} of {forecast.num_prompts:,} prompts new"
        return f"{new}, {forecast.num_reused:,} taken over"
    return f"of {forecast.num_new:,} new prompts and {forecast.num_rescored:,} corrected targets"
