"""Candidates of one policy for some splits: key, children, shards, artifact.

The generate stage uses it on the training prompts, the evaluate stage on the held-out ones; the
store knows the result by what was asked, so a base policy is evaluated once, whatever is trained.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from typing import Any

import pyarrow.parquet as pq

from perpo_core.environment import build_child_env
from perpo_core.generate.child import describe_shard, part_name
from perpo_core.generate.devices import assign_gpus, count_engines, find_gpus
from perpo_core.generate.prompts import iter_prompt_shards
from perpo_core.keys import compute_digest, compute_key
from perpo_core.process import run_child
from perpo_core.stage import StageContext, as_parents, describe_producer, utc_now
from perpo_core.store import Workspace
from schemas.artifact import CandidateSet, Counts, FileRef, SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, SamplingJob, SamplingRequest

KIND = "candidates"
VERSION = 1
CHILD = "perpo_core.generate.child"


def compute_candidates_key(request: SamplingRequest, policy: PolicyRef, samples: SampleSet) -> str:
    """Samples, policy and request; how many processes or threads work on it does not matter."""
    config = {"policy_digest": policy.digest, **request.model_dump(mode="json")}
    return compute_key("generate", VERSION, as_parents(samples), config)


def make_candidates(
    context: StageContext, key: str, request: SamplingRequest, policy: PolicyRef, samples: SampleSet
) -> CandidateSet:
    """Sample what is missing of the shards and describe the whole; uncommitted."""
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    samples_file = context.store.path(samples, "samples.parquet")
    shards = [
        (part_name(number), describe_shard(key, prompts), len(prompts))
        for number, prompts in enumerate(
            iter_prompt_shards(samples_file, request.splits, request.shard_prompts)
        )
    ]
    num_prompts = sum(num for _, _, num in shards)
    if not shards:
        raise ValueError(f"no prompts in split {', '.join(request.splits)}; nothing to sample")
    missing = [name for name, made_of, _ in shards if not workspace.find_part(name, made_of)]
    if len(missing) < len(shards):
        context.log(f"{len(shards) - len(missing)} of {len(shards)} shards are there already")
    if missing:
        jobs = _build_jobs(context.config, request, policy, samples_file, workspace, len(missing))
        _run_jobs(context, jobs, num_prompts)
    files = [_expect_part(workspace, name, made_of) for name, made_of, _ in shards]
    num_rows = sum(file.num_rows or 0 for file in files)
    return CandidateSet(
        stage="generate",
        key=key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(num_in=num_prompts, num_kept=num_prompts),
        parents=as_parents(samples),
        producer=describe_producer(
            request.seed,
            context.config.generate.threads,
            "cuda" if find_gpus() else "cpu",
            request.engine,
        ),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        policy_digest=policy.digest,
        num_prompts=num_prompts,
        num_candidates=num_rows,
        num_tokens=sum(_count_tokens(workspace, file) for file in files),
    )


def _build_jobs(
    config: RefreshConfig,
    request: SamplingRequest,
    policy: PolicyRef,
    samples_file: Any,
    workspace: Workspace,
    num_missing: int,
) -> list[SamplingJob]:
    generate = config.generate
    engines = count_engines(generate.processes, generate.tensor_parallel, find_gpus())
    world = min(engines, num_missing)
    return [
        SamplingJob(
            request=request,
            policy=policy,
            samples_file=samples_file,
            key=workspace.key,
            attempt=workspace.attempt,
            folder=workspace.folder,
            rank=rank,
            world=world,
            threads=config.generate.threads,
            kv_cache_gb=config.generate.kv_cache_gb,
            gpu_memory_utilization=config.generate.gpu_memory_utilization,
            tensor_parallel=config.generate.tensor_parallel,
        )
        for rank in range(world)
    ]


def _run_jobs(context: StageContext, jobs: list[SamplingJob], num_prompts: int) -> None:
    """Run the children side by side; the first failure or Ctrl-C ends all, their shards stay."""
    done = 0
    counting = threading.Lock()
    stop = threading.Event()

    def on_event(event: dict[str, Any]) -> None:
        nonlocal done
        if event["event"] == "shard":
            with counting:  # also around the report, so that it never runs backwards
                done += event["num_prompts"]
                context.progress(done, num_prompts, "prompts")

    def run(job: SamplingJob) -> None:
        run_child(
            CHILD,
            job,
            on_event=on_event,
            log=context.log,
            progress_timeout_s=context.config.generate.progress_timeout_s,
            env=build_child_env(
                job.threads, assign_gpus(job.rank, job.world, job.tensor_parallel, find_gpus())
            ),
            log_path=job.folder / f"engine-{job.rank}.log",
            stop=stop,
        )

    with ThreadPoolExecutor(len(jobs)) as pool:
        try:
            # Each thread gets the caller's context variables, which log and progress may need.
            futures = [pool.submit(copy_context().run, run, job) for job in jobs]
            for future in as_completed(futures):
                future.result()
        finally:
            stop.set()  # before the pool waits for its threads


def _expect_part(workspace: Workspace, name: str, made_of: object) -> FileRef:
    part = workspace.find_part(name, made_of)
    assert part is not None, f"the engine ended well without writing {name}"
    return part


def _count_tokens(workspace: Workspace, file: FileRef) -> int:
    column = pq.read_table(workspace.folder / file.path, columns=["token_ids"]).column(0)
    return sum(len(ids) for ids in column.to_pylist())
