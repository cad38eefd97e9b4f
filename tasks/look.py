"""The task that looks closer at what a method trained, beside the runs of a comparison."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.artifact import Checkpoint, EvalReport, SampleSet
from schemas.base import TaskName
from schemas.comparison import TaskLook
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tasks.context import build_context
from tasks.slots import GPU_SLOT, take_slot


@task(name="look", cache_policy=NO_CACHE, persist_result=False)
def look(
    config: RefreshConfig,
    policy: PolicyRef,
    samples: SampleSet,
    checkpoint: Checkpoint,
    evaluation: EvalReport,
) -> dict[TaskName, TaskLook]:
    """Image, ranking and drift of a judged run (perpo_core/evidence/looking.py)."""
    from perpo_core.evidence.looking import look_closer  # only where it is asked for

    context = build_context("evaluate", config, policy, False)
    with take_slot(GPU_SLOT, context):
        return look_closer(context, samples, checkpoint, evaluation)
