"""The score stage, shared out over tasks; then its own run collects the parts.

As many tasks as workers, however many samples, so that what Prefect costs does not grow with them.
They exist only when there is work, so a reused score stage is one Cached task. Threads share the
process: reading Parquet and the edit distances release the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from perpo_core.stages.stage import Stage, StageContext
from schemas.artifact import AnyArtifact, CandidateSet, SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tasks.context import build_context
from tasks.modules import load_stage, with_run


class SharedProgress:
    """Counts the shards that all shares have done, for the one line that tells of them."""

    def __init__(self, progress: Callable[[float, float, str], None], num_shards: int) -> None:
        self._progress, self._num_shards, self._num_done = progress, num_shards, 0
        self._lock = Lock()
        progress(0, num_shards, "shards")  # the UI's artifact is the stage's, not a share's

    def __call__(self, done: float, total: float, unit: str) -> None:
        """Called once a shard; a share's own numbers do not matter."""
        del done, total
        with self._lock:
            self._num_done += 1
            self._progress(self._num_done, self._num_shards, unit)


@task(
    name="score-share",
    task_run_name="score shards from {start} in steps of {step}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def score_share(
    config: RefreshConfig,
    policy: PolicyRef,
    force: bool,
    key: str,
    samples: SampleSet,
    candidates: CandidateSet,
    start: int,
    step: int,
    progress: SharedProgress,
) -> None:
    """Write the score parts of candidate shards start, start + step, ..."""
    context = replace(build_context("score", config, policy, force), progress=progress)
    stage: Any = load_stage("score")
    stage.score_share(context, key, samples, candidates, start, step)


def map_score(stage: Any) -> Stage:
    """The score stage with its work shared out over tasks."""

    def run(
        context: StageContext, key: str, samples: SampleSet, candidates: CandidateSet
    ) -> AnyArtifact:
        make_score_parts(context, stage, key, samples, candidates)
        artifact: AnyArtifact = stage.run(context, key, samples, candidates)
        return artifact

    return with_run(stage, run)


def make_score_parts(
    context: StageContext, stage: Any, key: str, samples: SampleSet, candidates: CandidateSet
) -> None:
    """Run the tasks; raises what the first of them to fail raised."""
    num_shards = len(stage.list_shards(candidates))
    step = min(context.config.score.workers, num_shards)
    shared = {
        "config": context.config, "policy": context.policy, "force": context.force,
        "key": key, "samples": samples, "candidates": candidates, "step": step,
        "progress": SharedProgress(context.progress, num_shards),
    }  # fmt: skip
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=step)
    with runner:
        futures: list[PrefectFuture[Any]] = [
            runner.submit(score_share, {**shared, "start": start}) for start in range(step)
        ]
        for future in as_completed(futures):
            future.result()
