"""`perpo rounds`: refreshes one after the other, each from the policy that the one before promoted.

    round r:  the checkpoint of round r - 1 -> a refresh -> its gates -> measured -> the page

Every round is an ordinary run, a subflow of this one. Nothing else is kept: a round that has ended
is found by its run's record, if the store still has what the same refresh would make today, and any
other is a refresh that reuses what it can. So the same command goes on after a kill, and one with
more rounds goes on where the last one ended. The first round that is not promoted ends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.exceptions import CancelledRun
from prefect.runtime import flow_run

from flows.recipes.finished import is_same, list_made
from flows.recipes.refresh import refresh
from flows.recipes.runner import load_recorded
from flows.runs.own_state import run_watched
from flows.runs.records import load_records
from perpo_core.policy.resolve import resolve_policy
from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.rounds.chain import build_round_config, refuse_unfit
from perpo_core.rounds.measure import RoundRun, measure_round
from perpo_core.rounds.page import write_rounds
from perpo_core.rounds.start import find_start
from perpo_core.rounds.words import compute_verdict
from perpo_core.store.locks import lock_name
from perpo_core.store.open import open_store
from perpo_core.store.provenance import utc_now
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint
from schemas.config import RefreshConfig
from schemas.rounds import RoundsReport
from schemas.run import PolicyRef, RunRecord
from tasks.watch import get_watcher


def name_rounds() -> str:
    """Such as "3 rounds of digits 2026-11-22 10:45"."""
    asked: Any = flow_run.parameters
    config = asked["config"]
    name = config["name"] if isinstance(config, dict) else config.name
    return f"{asked['num_rounds']} rounds of {name} {utc_now():%Y-%m-%d %H:%M}"


@flow(flow_run_name=name_rounds, persist_result=False)
def rounds(config: RefreshConfig, num_rounds: int) -> list[RoundRun]:
    """So many rounds, or as many as are promoted and the one that is not.

    Raises ValueError, one sentence, for what the user can mend; whatever a refresh raises.
    """
    return run_watched(lambda: run_rounds(config, num_rounds))


def run_rounds(config: RefreshConfig, num_rounds: int) -> list[RoundRun]:
    """What the flow `rounds` does; the page is written after every round."""
    refuse_unfit(config)
    store = open_store(config.store)
    with lock_name(store, f"{config.name}-rounds") as check:
        start = find_start(store, config, load_records(store))
        done: list[RoundRun] = []
        trained: Path | None = None
        while len(done) < num_rounds and (not done or done[-1].round.decision == "promoted"):
            check()
            own = build_round_config(config, len(done) + 1, start.folder, trained)
            record = find_or_run(store, own, f"round {len(done) + 1} of {num_rounds}")
            done.append(
                measure_round(store, len(done) + 1, record, done[0].record if done else None)
            )
            write_rounds(store, build_report(config, num_rounds, done), done)
            trained = locate_trained(store, record)
    return done


def build_report(config: RefreshConfig, num_rounds: int, done: Sequence[RoundRun]) -> RoundsReport:
    """What is written of the rounds so far, of which there is one at least."""
    measured = [run.round for run in done]
    return RoundsReport(
        name=config.name,
        num_asked=num_rounds,
        max_policy_age=config.generate.max_policy_age,
        policy_digest=measured[0].policy_digest,
        rounds=measured,
        verdict=compute_verdict(measured, num_rounds),
    )


def find_or_run(store: Store, config: RefreshConfig, title: str) -> RunRecord:
    """The run of a round, from the store where it ended before."""
    policy = resolve_policy(config.policy, store)
    found = find_finished(store, config, policy)
    if found is not None:
        get_watcher().note(f"{title}: run {found.run_id} is in the store")
        return found
    get_watcher().begin(f"{title}, from policy {policy.digest[:12]}")
    try:
        return refresh(config)
    except CancelledRun as end:  # of the subflow; this one is cancelled with it
        raise KeyboardInterrupt(str(end)) from end


def find_finished(store: Store, config: RefreshConfig, policy: PolicyRef) -> RunRecord | None:
    """The newest completed run that made what the same refresh would; None if there is none.

    Its decision stands, whatever is promoted by now: `perpo rerun RUN --from promote` asks again.
    """
    ended = [
        record
        for record in load_records(store)
        if record.config.name == config.name
        and record.status == "completed"
        and record.config.promote == config.promote
        and record.policy_digest == policy.digest
        and "promote" in record.stages
    ]
    if not ended:
        return None
    made = list_made(store, config, policy)
    return next((record for record in reversed(ended) if is_same(record, config, made)), None)


def locate_trained(store: Store, record: RunRecord) -> Path:
    """The folder of the policy that a round trained; raises ValueError where it is gone."""
    checkpoint = load_recorded(store, record, "train")
    assert isinstance(checkpoint, Checkpoint)
    return store.fetch_folder(store.path(checkpoint, MODEL_FOLDER))
