"""What `perpo plan` makes of a forecast."""

from __future__ import annotations

from typing import Any

import pytest

from flows.recipes import planning
from flows.recipes.planning import PlannedStage, plan_refresh
from perpo_core.doctor.forecast import Forecast
from perpo_core.stages.stage import StageContext
from schemas.artifact import SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tests.perpo_core.stores import run_toy

GENERATE_S = 60.0
NUM_SAMPLED = 11  # of the 12 prompts of the toy stages, which drop one


def plan(config: RefreshConfig, seed: int, monkeypatch: pytest.MonkeyPatch) -> list[PlannedStage]:
    """A plan after one run, with another sampling seed."""
    asked: list[SampleSet | None] = []

    def forecast(context: StageContext, samples: SampleSet | None) -> Forecast:
        asked.append(samples)
        return Forecast(num_prompts=120, num_new=24, num_rescored=6)

    monkeypatch.setattr(planning, "compute_forecast", forecast)
    record = run_toy(config, 1)
    entry = record.stages["generate"].model_copy(update={"seconds": GENERATE_S})
    record = record.model_copy(update={"stages": {**record.stages, "generate": entry}})
    settings = config.generate.model_copy(update={"seed": seed})
    policy = PolicyRef(digest=record.policy_digest, folder=record.policy_folder)
    changed = config.model_copy(update={"generate": settings})
    stages = plan_refresh(changed, policy, [record])
    assert [isinstance(each, SampleSet) for each in asked] == ([True] if seed else [])
    return stages


def test_new_prompts_are_said_and_scale_the_estimate(
    toy_config: RefreshConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_stage: dict[str, Any] = {each.stage: each for each in plan(toy_config, 7, monkeypatch)}
    generate, score = by_stage["generate"], by_stage["score"]
    assert generate.work.endswith("24 of 120 prompts new, 96 taken over")
    assert score.work.endswith(", of 24 new prompts and 6 corrected targets")
    assert generate.last_seconds == GENERATE_S
    assert generate.expected_seconds == pytest.approx(24 * GENERATE_S / NUM_SAMPLED)
    assert score.expected_seconds is None


def test_nothing_is_looked_at_where_all_is_reused(
    toy_config: RefreshConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = plan(toy_config, 0, monkeypatch)
    assert {each.verdict for each in stages} == {"reused"}
    assert not any("prompts new" in each.work for each in stages)
