"""Watches over runs that died with their machine: automations that mark them Crashed.

A worker marks its own children, and `perpo serve` what the last one left
(flows/serving/leftovers.py). These are for a run that falls silent without having ended, and for
one that its worker took and never began.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.automations import AutomationCore

SILENCE_S = 45.0  # with the watch's own rhythm a dead run is seen as one within a minute
START_S = 270.0  # just before Prefect gives the slot of a run that has not begun to the next
SILENT = "perpo: a run whose process died is Crashed"
NOT_BEGUN = "perpo: a run that its worker never began is Crashed"
AGAIN = "Retry it, or start the same again: what is finished is reused."
SIGN_OF_LIFE = "prefect.flow-run.heartbeat"
TAKEN = {"prefect.flow-run.Pending", "prefect.flow-run.Submitting"}
BEGUN = {SIGN_OF_LIFE, "prefect.flow-run.Running", "prefect.flow-run.Cancelling"}
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended")


def create_watches() -> None:
    """Make the two that are not there yet; one that someone has changed stays."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for watch in (build_watch_over_silence(), build_watch_over_start()):
            if not client.read_automations_by_name(watch.name):
                client.create_automation(watch)


def build_watch_over_silence() -> AutomationCore:
    """For a run that gave a sign of life: no further one, and no end either."""
    return _build_watch(
        SILENT,
        f"No heartbeat for {SILENCE_S:.0f} s, and no end: the process is gone.",
        after={SIGN_OF_LIFE},
        expect={SIGN_OF_LIFE},
        within_s=SILENCE_S,
        message=f"Its process died without a word. {AGAIN}",
    )


def build_watch_over_start() -> AutomationCore:
    """For a run that a worker has taken."""
    return _build_watch(
        NOT_BEGUN,
        f"Taken by a worker, and not begun within {START_S:.0f} s: the worker is gone.",
        after=TAKEN,
        expect=BEGUN,
        within_s=START_S,
        message=f"Its worker took it and never began. {AGAIN}",
    )


def _build_watch(
    name: str, description: str, after: set[str], expect: set[str], within_s: float, message: str
) -> AutomationCore:
    """An automation that marks a run Crashed where nothing expected comes after something."""
    from prefect.automations import AutomationCore, ChangeFlowRunState
    from prefect.client.schemas.objects import StateType
    from prefect.events.schemas.automations import EventTrigger, Posture

    return AutomationCore(
        name=name,
        description=description,
        trigger=EventTrigger(
            after=after,
            expect={*expect, *(f"prefect.flow-run.{end}" for end in ENDS)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=within_s),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )
