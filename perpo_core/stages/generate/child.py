"""The generation child process: start one engine, write the shards it is given, exit.

A process of its own, because an engine does not give its memory back while its process lives.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from perpo_core.policy.prompts import iter_prompts
from perpo_core.policy.refusals import Refusal, put_refusals
from perpo_core.policy.stamps import require_unchanged
from perpo_core.process.child import emit, load_job
from perpo_core.stages.generate.engine import Answer, Outcome
from perpo_core.stages.generate.engines import build_engine
from perpo_core.stages.generate.identity import KIND, list_policies
from perpo_core.stages.generate.reuse import index_candidates
from perpo_core.stages.generate.shards import Shard, list_shards
from perpo_core.store.keys import compute_candidate_hash
from perpo_core.store.row_index import RowIndex
from perpo_core.store.workspace import Workspace
from schemas.arrow import CANDIDATES
from schemas.run import SamplingJob

WAITED_SHARE = 0.1  # of the time, from which on it is said


def main() -> None:
    make_shards(load_job(SamplingJob))
    emit("result")


def make_shards(job: SamplingJob) -> None:
    """Sample what the job's shards lack, and write each as soon as its own prompts are finished."""
    listed = list_shards(job.samples, job.request, job.policy)
    shards = [listed[number] for number in job.shards]
    prompt_ids = {i for shard in shards for i in shard.prompt_ids}
    policies = list_policies(job.request, job.policy)
    reusable = index_candidates(
        job.reused_files, policies, prompt_ids, lambda message: emit("log", message=message)
    )
    new_ids = prompt_ids - reusable.file_of.keys()
    prompts = iter_prompts(job.samples, job.request.splits, new_ids)
    engine = build_engine(job)
    require_unchanged(job.policy)  # what was loaded is what was hashed; no answer before that
    workspace = Workspace(KIND, job.key, job.attempt, job.folder)
    started_s = time.monotonic()
    for shard, outcomes in gather_shards(shards, reusable, engine.sample(prompts)):
        shard.write(workspace, build_table(job.policy.digest, outcomes), reusable)
        emit("shard", number=shard.number, num_prompts=len(shard.prompt_ids))
    say_waiting(engine.waited_s, time.monotonic() - started_s)


def gather_shards(
    shards: Sequence[Shard], reusable: RowIndex, finished: Iterator[tuple[str, Outcome]]
) -> Iterator[tuple[Shard, dict[str, Outcome]]]:
    """Each shard once all that it lacked is there, with the outcomes in the order of its rows."""
    lacking = {shard.number: shard.list_unanswered(reusable.file_of) for shard in shards}
    shard_of = {prompt_id: shard for shard in shards for prompt_id in lacking[shard.number]}
    num_left = {number: len(ids) for number, ids in lacking.items()}
    outcomes: dict[str, Outcome] = {}
    for prompt_id, outcome in finished:
        outcomes[prompt_id] = outcome
        shard = shard_of[prompt_id]
        num_left[shard.number] -= 1
        if not num_left[shard.number]:
            yield shard, {i: outcomes.pop(i) for i in lacking[shard.number]}
    assert not any(num_left.values()), "the engine left prompts without an outcome"


def say_waiting(waited_s: float, total_s: float) -> None:
    """Tell who looks on that the engine had to wait for its prompts."""
    if waited_s > WAITED_SHARE * total_s:
        emit(
            "log",
            message=f"the engine waited {waited_s:.0f} of {total_s:.0f} s for images to be "
            "prepared; generate.loader_workers prepare them ahead of it",
        )


def build_table(policy_digest: str, outcomes: Mapping[str, Outcome]) -> pa.Table:
    """Answers to some prompts as rows of schemas.arrow.CANDIDATES, and the refusals of others."""
    rows: list[dict[str, Any]] = []
    refusals: dict[str, Refusal] = {}
    for prompt_id, outcome in outcomes.items():
        if isinstance(outcome, Refusal):
            refusals[prompt_id] = replace(outcome, policy_digest=policy_digest)
        else:
            rows += [build_row(policy_digest, prompt_id, answer) for answer in outcome]
    return put_refusals(pa.Table.from_pylist(rows, schema=CANDIDATES), refusals)


def build_row(policy_digest: str, prompt_id: str, answer: Answer) -> dict[str, Any]:
    """One row of schemas.arrow.CANDIDATES."""
    return {
        "prompt_id": prompt_id,
        "index": answer.index,
        "policy_digest": policy_digest,
        "candidate_hash": compute_candidate_hash(policy_digest, prompt_id, answer.token_ids),
        "text": answer.text,
        "token_ids": answer.token_ids,
        "token_logps": answer.token_logps,
        "logp": sum(answer.token_logps),
        "finish_reason": answer.finish_reason,
        "seed": answer.seed,
    }


if __name__ == "__main__":
    main()
