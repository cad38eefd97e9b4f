"""The score stage, mapped over ranges of candidate shards; then its own run collects the parts.

Range tasks exist only when there is work, so a reused score stage is one Cached task. Threads
share the process: reading Parquet and the edit distances release the interpreter lock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from perpo_core.stage import Stage, StageContext
from schemas.artifact import AnyArtifact, CandidateSet, SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tasks.context import build_context
from tasks.modules import load_stage, with_run


@task(
    name="score-range",
    task_run_name="score shards from {start} to before {stop}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def score_range(
    config: RefreshConfig,
    policy: PolicyRef,
    force: bool,
    key: str,
    samples: SampleSet,
    candidates: CandidateSet,
    start: int,
    stop: int,
) -> int:
    """Write the score parts of candidate shards [start, stop); the number of shards."""
    context = replace(build_context("score", config, policy, force), progress=lambda *_: None)
    stage: Any = load_stage("score")
    stage.score_range(context, key, samples, candidates, start, stop)
    return stop - start


def map_score(stage: Any) -> Stage:
    """The score stage with its work spread over range tasks."""

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
    """Run the range tasks; raises what the first of them to fail raised."""
    workers = context.config.score.workers
    num_shards = len(stage.list_shards(candidates))
    shared = {
        "config": context.config, "policy": context.policy, "force": context.force,
        "key": key, "samples": samples, "candidates": candidates,
    }  # fmt: skip
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
    with runner:
        futures: list[PrefectFuture[Any]] = [
            runner.submit(score_range, {**shared, "start": start, "stop": stop})
            for start, stop in stage.split_ranges(num_shards, workers)
        ]
        num_done = 0
        for future in as_completed(futures):
            num_done += future.result()
            context.progress(num_done, num_shards, "shards")
