"""The flows: a refresh from its configuration, and the rest of a recorded run.

refresh: policy -> checks -> collect ... promote -> report
rerun:   a recorded run again, from one of its stages
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.recipes.approval import ask_in_ui
from flows.recipes.recipe import follow_recipe
from flows.recipes.runner import Runner, recording
from flows.runs.checks import refuse_errors
from flows.runs.own_state import run_watched
from flows.runs.records import load_record, refuse_other_settings
from perpo_core.policy.resolve import locate_policy, resolve_policy
from perpo_core.store.locks import lock_name
from perpo_core.store.open import open_store
from perpo_core.store.place import Place, parse_place
from perpo_core.store.provenance import utc_now
from perpo_core.store.store import DamagedArtifact, Store
from schemas.base import STAGES, PlaceText, StageName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, RunRecord


def name_refresh() -> str:
    """Such as "digits 2026-11-22 10:45"."""
    config: Any = flow_run.parameters["config"]
    name = config["name"] if isinstance(config, dict) else config.name
    return f"{name} {utc_now():%Y-%m-%d %H:%M}"


@flow(flow_run_name=name_refresh, persist_result=False)
def refresh(
    config: RefreshConfig, force_from: StageName | None = None, profile: bool = False
) -> RunRecord:
    """One refresh: what the store has is reused, the rest is made.

    Raises ValueError, one sentence, for what the user can mend; ChildFailed if an engine broke;
    Prefect's CancelledRun if it was interrupted.
    """
    return run_watched(lambda: run_refresh(config, force_from, profile))


def run_refresh(
    config: RefreshConfig,
    force_from: StageName | None,
    profile: bool = False,
    last: StageName = STAGES[-1],
) -> RunRecord:
    """What `refresh` and its deployments (flows/recipes/deployed.py) do, up to the last stage."""
    store = open_store(config.store)
    with lock_name(store, config.name) as check:
        policy = resolve_policy(config.policy, store)
        refuse_errors(config, policy)
        runner = Runner(
            config, policy, last=last, force_from=force_from, profile=profile, check=check
        )
        return run_recipe(runner)


@flow(flow_run_name="{run} from {from_stage}", persist_result=False)
def rerun(
    run: str,
    from_stage: StageName,
    only: bool = False,
    force: bool = False,
    store: PlaceText = "store",
    profile: bool = False,
) -> RunRecord:
    """A recorded run again from a stage on; the stages before it are taken from its record."""
    return run_watched(lambda: continue_run(store, run, from_stage, only, force, profile))


def continue_run(
    place: Place,
    run: str,
    from_stage: StageName,
    only: bool,
    force: bool,
    profile: bool = False,
) -> RunRecord:
    """What `rerun` and the flow of a single stage do."""
    store = open_store(place)
    earlier = load_record(store, run, to_act=True)
    refuse_other_settings(earlier)
    if from_stage not in earlier.config.stages:
        raise ValueError(
            f"run {earlier.run_id} has no {from_stage}, since train.objective = "
            f"{earlier.config.train.objective} weighs no tokens; choose another stage"
        )
    config = earlier.config.model_copy(update={"store": parse_place(place)})
    with lock_name(store, config.name) as check:
        policy = find_recorded_policy(store, earlier)
        refuse_errors(config, policy)
        force_from = from_stage if force else None
        return run_recipe(
            Runner(
                config,
                policy,
                start=from_stage,
                only=only,
                force_from=force_from,
                earlier=earlier,
                profile=profile,
                check=check,
            )
        )


def run_recipe(runner: Runner) -> RunRecord:
    """Follow the recipe, write the report; the run's record."""
    with recording(runner):
        follow_recipe(runner, runner.record.config)
        runner.end("completed")
        runner.report()
    ask_in_ui(runner.store, runner.record)
    return runner.record


def find_recorded_policy(store: Store, record: RunRecord) -> PolicyRef:
    """The policy a run started from; raises ValueError if its folder is no longer the same."""
    folder = store.resolve(record.policy_folder)
    if not folder.is_dir():
        with suppress(DamagedArtifact):  # then it is not there, which is said below
            folder = store.fetch_folder(folder)
    found = locate_policy(folder, record.config.policy, store) if folder.is_dir() else None
    if found is None or found.digest != record.policy_digest:
        raise ValueError(
            f"the policy of run {record.run_id} is no longer in {folder} as it was; start a new "
            "run with `perpo refresh`"
        )
    return found
