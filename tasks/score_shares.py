"""The score stage, shared out over tasks; then the stage collects the parts.

As many tasks as workers, however many samples, so that what Prefect costs does not grow with them.
They exist only when there is work, so a reused score stage is one Cached task. Threads share the
process: reading Parquet and the edit distances release the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from perpo_core.stages.stage import Stage, StageContext
from schemas.artifact import AnyArtifact, CandidateSet, SampleSet
from tasks.modules import with_run


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
def score_share(share: Callable[[int, int], Sequence[Any]], start: int, step: int) -> Sequence[Any]:
    """Write the score parts of candidate shards start, start + step, ..."""
    return share(start, step)


def map_score(stage: Any) -> Stage:
    """The score stage with its work shared out over tasks."""

    def run(
        context: StageContext, key: str, samples: SampleSet, candidates: CandidateSet
    ) -> AnyArtifact:
        num_shards = len(stage.list_shards(candidates))
        progress = SharedProgress(context.progress, num_shards)
        scorer = stage.build_scorer(replace(context, progress=progress), key, samples, candidates)
        num_shares = min(context.config.score.workers, num_shards)
        scored = share_out(partial(stage.score_share, scorer), num_shares)
        artifact: AnyArtifact = stage.collect_shards(scorer, scored)
        return artifact

    return with_run(stage, run)


def share_out(share: Callable[[int, int], Sequence[Any]], num_shares: int) -> list[Any]:
    """What all shares return, in any order; raises what the first of them to fail raised."""
    runner: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=num_shares)
    with runner:
        futures: list[PrefectFuture[Any]] = [
            runner.submit(score_share, {"share": share, "start": start, "step": num_shares})
            for start in range(num_shares)
        ]
        return [shard for future in as_completed(futures) for shard in future.result()]
