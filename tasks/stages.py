"""One Prefect task a stage: ask the store, else do the work; one artifact comes back.

The store alone decides about reuse (NO_CACHE); a reused artifact shows as Cached in the UI.
Arguments and results are plain records and never rows; results are not persisted, since the
store has them. Only stages that run an engine in a child process are retried, and only when the
child broke: everything else fails the same way again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed

from perpo_core.process.parent import ChildFailed
from perpo_core.stages.stage import Stage, find_or_make
from schemas.base import ALL_STAGES, StageName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tasks.aside import told_aside
from tasks.context import build_context
from tasks.modules import load_stage
from tasks.names import describe_work
from tasks.score_shares import map_score
from tasks.slots import in_gpu_slot
from tasks.summaries import publish_summary

CACHED = "Cached"  # the name of the state of a reused stage
# promote where it has to ask a champion for answers
GPU_STAGES: tuple[StageName, ...] = ("generate", "contrast", "train", "evaluate", "promote")
RETRY_DELAYS_S = [5.0, 30.0]
RETRY_JITTER = 0.5


def child_broke(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed stage may succeed when tried again: its child process broke."""
    del task, run
    return isinstance(state.result(raise_on_failure=False), ChildFailed)


def build_stage_task(name: StageName) -> Task[..., Any]:
    """The task of a stage: (config, policy, force, *parents) -> artifact."""

    def run_stage(
        config: RefreshConfig,
        policy: PolicyRef,
        force: bool,
        *parents: Any,
        profile: Path | None = None,
    ) -> Any:
        context = build_context(name, config, policy, force, profile)
        result = find_or_make(context, load_runnable(name), *parents)
        with told_aside("summary"):
            publish_summary(name, result.artifact)
        return Completed(name=CACHED, data=result.artifact) if result.reused else result.artifact

    retried = name in GPU_STAGES
    decorate = task(
        name=name,
        task_run_name=build_namer(name),
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(RETRY_DELAYS_S) if retried else 0,
        retry_delay_seconds=RETRY_DELAYS_S if retried else None,
        retry_jitter_factor=RETRY_JITTER if retried else None,
        retry_condition_fn=child_broke if retried else None,
    )
    return decorate(run_stage)


def build_namer(name: StageName) -> Any:
    """What Prefect calls for the name of a stage's task run."""

    def name_run(parameters: dict[str, Any]) -> str:
        work = describe_work(name, parameters["config"], *parameters["parents"])
        return f"{work} (forced)" if parameters["force"] else work

    return name_run


def load_runnable(name: StageName) -> Stage:
    """The stage as a task runs it: on the GPU slot, or mapped over shards."""
    stage: Any = load_stage(name)
    if name in GPU_STAGES:
        return in_gpu_slot(stage)
    return map_score(stage) if name == "score" else stage


STAGE_TASKS: dict[StageName, Task[..., Any]] = {name: build_stage_task(name) for name in ALL_STAGES}
