"""Whether a run that has ended is still what the same configuration would make today.

A record's settings alone do not say: data may have been corrected since, or a stage may mean
something else. So the recipe is followed with what the store has, and every key and digest has to
be the same.
"""

from __future__ import annotations

from typing import Any

from flows.recipes.recipe import follow_recipe
from perpo_core.store.store import Store
from schemas.artifact import AnyArtifact
from schemas.base import StageName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord
from tasks.modules import load_stage

DECISION: StageName = "promote"
"""Stands once it was made, whatever is promoted by now."""


def list_made(
    store: Store, config: RefreshConfig, policy: PolicyRef
) -> dict[StageName, AnyArtifact]:
    """What a refresh would reuse, stage by stage, up to the first that it would make."""
    made: dict[StageName, AnyArtifact] = {}

    def look_up(stage: StageName, *parents: Any) -> AnyArtifact | None:
        if stage == DECISION or any(parent is None for parent in parents):
            return None
        module = load_stage(stage)
        found = store.find(module.KIND, module.compute_key(config, policy, *parents))
        if found is not None:
            made[stage] = found
        return found

    follow_recipe(look_up, config)
    return made


def is_same(record: RunRecord, config: RefreshConfig, made: dict[StageName, AnyArtifact]) -> bool:
    """Whether the run has all of it, and nothing would have to be made before the decision."""
    wanted = [stage for stage in config.stages if stage != DECISION]
    return all(stage in made and _has(record, stage, made[stage]) for stage in wanted)


def _has(record: RunRecord, stage: StageName, artifact: AnyArtifact) -> bool:
    entry = record.stages.get(stage)
    return entry is not None and (entry.key, entry.digest) == (artifact.key, artifact.digest)
