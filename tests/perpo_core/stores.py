"""Whole runs in a store without Prefect: the recipe on toy stages, records and report pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.recipes.planning import plan_refresh
from flows.recipes.recipe import follow_recipe
from flows.recipes.runner import load_recorded
from flows.runs.records import load_records, write_record
from perpo_core.housekeeping.retention import choose_runs
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.open import open_store
from perpo_core.store.store import Store
from schemas.base import StageName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord, StageRecord
from tasks.modules import load_stage

STARTED_AT = datetime(2025, 3, 1, tzinfo=UTC)


def build_config(root: Path, name: str = "toy", **settings: Any) -> RefreshConfig:
    """Settings that the toy stages read: generate.seed, lists.list_size, train.beta, ..."""
    return RefreshConfig.model_validate({"name": name, "store": root, **settings})


def run_toy(
    config: RefreshConfig,
    number: int,
    policy: PolicyRef | None = None,
    stop_before: StageName | None = None,
    force_from: StageName | None = None,
) -> RunRecord:
    """The record of the `number`th run; one that stops is a failed run."""
    store = open_store(config.store)
    policy = policy or PolicyRef(digest="b" * 64, folder=Path(config.store).parent / "policy")
    stages: dict[StageName, StageRecord] = {}
    order = config.stages

    def make(stage: StageName, *parents: Any) -> Any:
        if stage == stop_before or len(stages) < order.index(stage):
            return None
        force = force_from is not None and order.index(stage) >= order.index(force_from)
        result = find_or_make(
            StageContext(store, config, policy, force), load_stage(stage), *parents
        )
        found = result.artifact
        stages[stage] = StageRecord(
            kind=found.kind, key=found.key, digest=found.digest, reused=result.reused, seconds=0
        )
        return found

    follow_recipe(make, config)
    record = RunRecord(
        run_id=f"{config.name}-{number:03}",
        status="failed" if stop_before else "completed",
        config=config,
        policy_digest=policy.digest,
        policy_folder=policy.folder,
        stages=stages,
        started_at=STARTED_AT + timedelta(hours=number),
        error="stopped" if stop_before else None,
    )
    write_record(store, record)
    for page in ("report.html", "report.json"):
        store.write(f"reports/{record.run_id}/{page}", b"{}")
    return record


def read_kept(store: Store, num_keep: int, *forget: str) -> tuple[list[RunRecord], list[RunRecord]]:
    """All runs of a store, and of these the kept ones."""
    records = load_records(store)
    return records, choose_runs(records, num_keep, forget)


def find_lost(record: RunRecord) -> list[str]:
    """Stages of a run that are no longer as it made them, or that a refresh would not reuse."""
    store = open_store(record.config.store)
    lost = []
    for stage in record.stages:
        try:
            load_recorded(store, record, stage)
        except ValueError as error:
            lost.append(f"{stage}: {error}")
    policy = PolicyRef(digest=record.policy_digest, folder=record.policy_folder)
    for planned in plan_refresh(record.config, policy):
        if planned.stage in record.stages and planned.verdict != "reused":
            lost.append(f"{planned.stage}: {planned.reason}")
    return lost
