"""The GPU as a named slot: stages that need it wait for each other, on every machine of a server.

The slot is a Prefect global concurrency limit called perpo-gpu that `perpo serve` and `perpo
deploy` create. Without one nothing waits: the server that a command starts for itself serves one
run. It is taken around the work only, so that a reused stage never waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from perpo_core.stages.stage import Stage, StageContext
from schemas.artifact import AnyArtifact
from tasks.modules import with_run

GPU_SLOT = "perpo-gpu"
LEASE_S = 60.0  # how long a killed holder keeps the slot; the least that Prefect 3.7 takes


def in_gpu_slot(stage: Stage) -> Stage:
    """The stage, its work holding the GPU slot, unless the stage says that it wants no engine."""
    wants_engine = getattr(stage, "wants_engine", lambda *arguments: True)

    def run(context: StageContext, key: str, *parents: Any) -> AnyArtifact:
        wanted = wants_engine(context, key, *parents)
        with take_slot(GPU_SLOT, context) if wanted else nullcontext():
            return stage.run(context, key, *parents)

    return with_run(stage, run)


@contextmanager
def take_slot(name: str, context: StageContext) -> Iterator[None]:
    """Hold the named slot where the server has it."""
    if not slot_exists(name):
        yield
        return
    context.log(f"waiting for the slot {name}")
    with concurrency(
        name,
        occupy=1,
        lease_duration=LEASE_S,
        strict=True,
        # A server that was away for longer gives the slot to whoever asks next. Two on one GPU may
        # fail and are resumed; hours of work that were ended for it would be lost for certain.
        raise_on_lease_renewal_failure=False,
    ):
        yield


def slot_exists(name: str) -> bool:
    """Whether the server has a concurrency limit of that name."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            return False
    return True
