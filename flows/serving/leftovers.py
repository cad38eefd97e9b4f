"""Runs of a `perpo serve` that was killed: ended when it serves again, before its worker starts.

Left as they are they count as going on: a deployment that runs one at a time cancels the next
night for them, or lets it wait. Prefect ends none of them: the slot of one that never began comes
back after five minutes, the run itself stays Pending for ever, and one that was being cancelled
stays so.

Nobody else's run is touched: the worker that took a run has its name on it, and the name of ours is
its own. Runs that wait to be taken, or for a person, are no leftovers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, Worker
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.serving.watches import AGAIN

TAKEN_BY = "prefect.worker.name"  # a label that workers put on what they take, at once
AT_ONCE = timedelta(minutes=2)  # three heartbeats of a worker, and the label's own delay
PAGE = 100
GOING_ON = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
NEVER_BEGAN = f"Its worker ended before it began. {AGAIN}"
DIED = f"Its process died with its worker. {AGAIN}"
CANCELLED = "Its process died with its worker while it was being cancelled."


def end_leftovers(pool: str, worker: str, say: Callable[[str], None]) -> None:
    """End what a dead worker of that name had taken from the pool, and name each.

    The deployments' slots that they held are free then. To be called while no worker of that name
    lives.
    """
    with get_client(sync_client=True) as client:
        going_on = read_going_on(client, pool)
        workers = read_workers(client, pool) if going_on else []
        for run in going_on:
            if is_left_over(run, worker, workers) and has_deployment(client, run):
                was, state = run.state_name, build_end(run)
                client.set_flow_run_state(run.id, state)
                say(f"run {run.name} was {was} when the last `perpo serve` ended: {state.name} now")


def read_going_on(client: SyncPrefectClient, pool: str) -> list[FlowRun]:
    """The runs of a pool's deployments that count as taken by a worker."""
    taken = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=GOING_ON)))
    of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_run_filter=taken, work_pool_filter=of_pool, limit=PAGE, offset=len(found)
    ):
        found += page
    return found


def read_workers(client: SyncPrefectClient, pool: str) -> list[Worker]:
    """All that have ever come for a pool's runs; none where there is no pool."""
    try:
        return client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        return []


def has_deployment(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether a run's deployment is still there.

    Else the run holds up nobody, and Prefect fails to end it: it has no slot to give back.
    """
    try:
        return run.deployment_id is not None and bool(client.read_deployment(run.deployment_id))
    except ObjectNotFound:
        return False


def is_left_over(run: FlowRun, worker: str, workers: list[Worker]) -> bool:
    """Whether the dead worker had taken a run.

    In the moment before the label is put on, it was any worker that lived then.
    """
    if (taken_by := run.labels.get(TAKEN_BY)) is not None:
        return taken_by == worker
    if run.state is None or run.start_time is not None:  # begun by hand: heartbeats tell
        return False
    since = run.state.timestamp - AT_ONCE
    beats = [each.last_heartbeat_time for each in workers if each.name != worker]
    return not any(beat is not None and beat > since for beat in beats)


def build_end(run: FlowRun) -> State:
    """How it ended: Prefect takes nothing but Cancelled for what was being cancelled."""
    if run.state_type == StateType.CANCELLING:
        return Cancelled(message=CANCELLED)
    return Crashed(message=NEVER_BEGAN if run.state_type == StateType.PENDING else DIED)
