"""Candidates of one policy for some splits: what is there already, children, shards, artifact.

The generate stage uses it on the training prompts, the evaluate stage on the held-out ones; the
store knows the result by what was asked, so a base policy is evaluated once, whatever is trained.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from perpo_core.policy.prompts import count_most_images
from perpo_core.policy.refusals import (
    count_reasons,
    describe_refusals,
    read_all_refusals,
    write_dropped,
)
from perpo_core.policy.stamps import unchanged
from perpo_core.process.environment import build_child_env
from perpo_core.process.gpus import assign_gpus, count_engines, find_gpus
from perpo_core.process.parent import run_child
from perpo_core.stages.earlier import find_shared_parts
from perpo_core.stages.generate.identity import KIND, compute_sampling_digest, list_policies
from perpo_core.stages.generate.reuse import find_reusable_files, index_candidates
from perpo_core.stages.generate.shards import Shard, group_units, list_shards, name_part
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.row_reader import read_columns
from perpo_core.store.workspace import Workspace
from schemas.artifact import CandidateSet, Counts, FileRef, SampleSet
from schemas.run import PolicyRef, SampleFiles, SamplingJob, SamplingRequest

CHILD = "perpo_core.stages.generate.child"
MEMORY_ADVICE = (
    "lower generate.processes or policy.max_model_len, on a GPU generate.gpu_memory_utilization, "
    "on a CPU generate.kv_cache_gb"
)


def make_candidates(
    context: StageContext, key: str, request: SamplingRequest, policy: PolicyRef, samples: SampleSet
) -> CandidateSet:
    """Take over what earlier sets have, sample the rest, and describe the whole; uncommitted.

    Raises ValueError where the splits have no prompts or the policy can take none of them,
    ChildFailed where an engine broke.
    """
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    sample_files = list_sample_files(context.store, samples)
    shards = list_shards(sample_files, request, policy)
    if not shards:
        raise ValueError(f"no prompts in split {', '.join(request.splits)}; nothing to sample")
    with unchanged(policy):
        shared = _make_missing(context, workspace, request, policy, sample_files, shards)
    files = [shared.get(shard.name) or _expect_part(workspace, shard) for shard in shards]
    refusals = read_all_refusals(workspace.locate_file(file) for file in files)
    num_prompts, num_rows = (
        sum(len(shard.prompt_ids) for shard in shards),
        sum(file.num_rows or 0 for file in files),
    )
    num_kept = num_prompts - len(refusals)
    num_reused = sum(file.num_reused for file in files) // _count_answers(request)
    if refusals:
        said = f"{len(refusals)} of {num_prompts} prompts got no answers: "
        said += describe_refusals(refusals)
        if not num_kept:
            raise ValueError(f"{said}; look at policy.max_model_len and source.max_image_side")
        context.log(f"warning: {said}")
    context.log(
        f"answers to {num_kept} prompts: {num_kept - num_reused} sampled, "
        f"{num_reused} taken over from earlier sets"
    )
    listed = files + write_dropped(workspace, refusals, "generate")
    return CandidateSet(
        stage="generate",
        key=key,
        digest=compute_digest(listed),
        files=listed,
        counts=Counts(
            num_in=num_prompts,
            num_kept=num_kept,
            dropped=count_reasons(refusals),
            num_reused=num_reused,
        ),
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
        sampling_digest=compute_sampling_digest(request, policy.digest),
        prompts_per_policy=_count_policies(workspace, files),
        num_prompts=num_prompts,
        num_candidates=num_rows,
        num_tokens=sum(_count_tokens(workspace, file) for file in files),
    )


def _make_missing(
    context: StageContext,
    workspace: Workspace,
    request: SamplingRequest,
    policy: PolicyRef,
    sample_files: SampleFiles,
    shards: Sequence[Shard],
) -> dict[str, FileRef]:
    """Write every shard that is not there: copied if all its answers are, else by the engines.

    Returns those that an earlier set has, by name.
    """
    missing = [shard for shard in shards if not shard.find(workspace)]
    shared = _share(context, workspace, request, missing)
    missing = [shard for shard in missing if shard.name not in shared]
    if len(missing) < len(shards):
        context.log(f"{len(shards) - len(missing)} of {len(shards)} shards are there already")
    prompt_ids = {prompt_id for shard in missing for prompt_id in shard.prompt_ids}
    reused_files = find_reusable_files(context, workspace.key, request, policy, prompt_ids)
    policies = list_policies(request, policy)
    reusable = index_candidates(reused_files, policies, prompt_ids, context.log)
    to_sample = []
    for shard in missing:
        if shard.list_unanswered(reusable.file_of):
            to_sample.append(shard)
        else:
            shard.write(workspace, None, reusable)
    if to_sample:
        units = group_units(to_sample, reusable.file_of, request.shard_prompts)
        jobs = _build_jobs(context, request, policy, sample_files, workspace, units, reused_files)
        num_prompts, num_left = (
            sum(len(shard.prompt_ids) for shard in which) for which in (shards, to_sample)
        )
        _run_jobs(context, workspace, jobs, num_prompts - num_left, num_prompts)
    return shared


def _share(
    context: StageContext, workspace: Workspace, request: SamplingRequest, missing: list[Shard]
) -> dict[str, FileRef]:
    """Whole shards that an earlier set has, by name.

    None where older policies' answers are as good: each prompt is then looked up by itself, since
    the present policy may have answered it meanwhile.
    """
    if request.older_policies:
        return {}
    earlier = find_shared_parts(context, KIND, workspace.key)
    found = {shard.name: earlier.find(shard.name, shard.made_of) for shard in missing}
    return {name: file for name, file in found.items() if file is not None}


def _build_jobs(
    context: StageContext,
    request: SamplingRequest,
    policy: PolicyRef,
    sample_files: SampleFiles,
    workspace: Workspace,
    units: list[list[int]],
    reused_files: list[Path],
) -> list[SamplingJob]:
    """A job for each engine, the units dealt out in turn."""
    generate = context.config.generate
    if context.profile and request.engine != "vllm":
        context.log(f"no profile is taken of {request.engine}, which has no profiler of its own")
    engines = count_engines(generate.processes, generate.tensor_parallel, find_gpus())
    world = min(engines, len(units))
    most_images = count_most_images(sample_files)
    return [
        SamplingJob(
            request=request,
            policy=policy,
            samples=sample_files,
            key=workspace.key,
            attempt=workspace.attempt,
            folder=workspace.folder,
            shards=sorted(number for unit in units[rank::world] for number in unit),
            reused_files=reused_files,
            rank=rank,
            world=world,
            profile=context.profile,
            threads=generate.threads,
            loader_workers=generate.loader_workers,
            most_images=most_images,
            kv_cache_gb=generate.kv_cache_gb,
            gpu_memory_utilization=generate.gpu_memory_utilization,
            tensor_parallel=generate.tensor_parallel,
        )
        for rank in range(world)
    ]


def _run_jobs(
    context: StageContext,
    workspace: Workspace,
    jobs: list[SamplingJob],
    num_done: int,
    num_prompts: int,
) -> None:
    """Run the children side by side; the first failure or Ctrl-C ends all, their shards stay."""
    done = num_done
    if done:
        context.progress(done, num_prompts, "prompts")
    counting = threading.Lock()
    stop = threading.Event()

    def on_event(event: dict[str, Any]) -> None:
        nonlocal done
        if event["event"] == "shard":
            workspace.publish_part(name_part(event["number"]))
            with counting:  # also around the report, so that it never runs backwards
                done += event["num_prompts"]
                context.progress(done, num_prompts, "prompts")

    def run(job: SamplingJob) -> None:
        gpus = assign_gpus(job.rank, job.world, job.tensor_parallel, find_gpus())
        log_file = f"engine-{job.rank}.log"
        with workspace.publishing(log_file):
            run_child(
                CHILD,
                job,
                on_event=on_event,
                log=context.log,
                progress_timeout_s=context.config.generate.progress_timeout_s,
                env=build_child_env(job.threads, gpus),
                log_path=job.folder / log_file,
                stop=stop,
                memory_advice=MEMORY_ADVICE,
            )

    with ThreadPoolExecutor(len(jobs)) as pool:
        try:
            # Each thread gets the caller's context variables, which log and progress may need.
            futures = [pool.submit(copy_context().run, run, job) for job in jobs]
            for future in as_completed(futures):
                future.result()
        finally:
            stop.set()  # before the pool waits for its threads


def _expect_part(workspace: Workspace, shard: Shard) -> FileRef:
    part = shard.find(workspace)
    assert part is not None, f"the engine ended well without writing {shard.name}"
    return part


def _count_answers(request: SamplingRequest) -> int:
    """Rows of one prompt."""
    return request.num_candidates + request.greedy


def _count_policies(workspace: Workspace, files: Sequence[FileRef]) -> dict[str, int]:
    """Policy -> prompts that it answered, in order of digest."""
    prompts: Counter[str] = Counter()
    for file in files:
        columns = ["prompt_id", "policy_digest"]
        table = read_columns(workspace.locate_file(file), columns)
        pairs = table.group_by(["prompt_id", "policy_digest"]).aggregate([])
        prompts.update(pairs["policy_digest"].to_pylist())
    return dict(sorted(prompts.items()))


def _count_tokens(workspace: Workspace, file: FileRef) -> int:
    column = read_columns(workspace.locate_file(file), ["token_ids"]).column(0)
    return int(pc.sum(pc.list_value_length(column)).as_py() or 0)
