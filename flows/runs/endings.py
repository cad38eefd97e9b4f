"""How a run ended, for its record: by itself, by a person, or by a signal from the system."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, ObjectNotFound, TerminationSignal
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from perpo_core.process.troubles import explain
from schemas.run import RunStatus

RESUMES = "what is finished stays in the store and the next run resumes"
ANSWER_S = 5.0


def describe_ending(error: BaseException) -> tuple[RunStatus, str]:
    """The status of a run that this ended, and one sentence for its record."""
    if isinstance(error, KeyboardInterrupt | TerminationSignal | Abort) and was_cancelled():
        return "cancelled", f"cancelled in Prefect; {RESUMES}"
    if isinstance(error, KeyboardInterrupt):
        return "cancelled", f"interrupted; {RESUMES}"
    if isinstance(error, TerminationSignal):
        return "failed", f"ended by SIGTERM, as its worker or the machine stopped; {RESUMES}"
    reason = explain(error) if isinstance(error, Exception) else str(error)
    return "failed", reason or type(error).__name__


def was_cancelled() -> bool:
    """Whether someone has asked Prefect to cancel the run that calls; no, if it does not answer."""
    with asking_quickly() as client:
        return is_cancelled(read_own_state(client))


def read_own_state(client: SyncPrefectClient) -> State | None:
    """The state of the run that calls; None if the server does not answer, or deleted the run."""
    try:
        return client.read_flow_run(flow_run.id).state
    except (httpx.HTTPError, ObjectNotFound):
        return None


def is_cancelled(state: State | None) -> bool:
    """Whether a run in this state is cancelled, or to be."""
    return state is not None and (state.is_cancelling() or state.is_cancelled())


@contextmanager
def asking_quickly() -> Iterator[SyncPrefectClient]:
    """A client of its own that asks once: whoever is being ended has little time."""
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True, httpx_settings={"timeout": ANSWER_S}) as client,
    ):
        yield client
