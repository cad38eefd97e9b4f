"""The generation child process: start one engine, write the shards it is given, exit.

A process of its own, because an engine does not give its memory back while its process lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow as pa

from perpo_core.policy.prompts import Prompt, iter_prompts
from perpo_core.policy.refusals import Refusal, put_refusals
from perpo_core.policy.stamps import require_unchanged
from perpo_core.process.child import emit, load_job
from perpo_core.stages.generate.engine import Answer, Engine, Outcome
from perpo_core.stages.generate.engines import build_engine
from perpo_core.stages.generate.identity import KIND, list_policies
from perpo_core.stages.generate.reuse import index_candidates
from perpo_core.stages.generate.shards import Shard, list_shards
from perpo_core.store.keys import compute_candidate_hash
from perpo_core.store.row_index import RowIndex
from perpo_core.store.workspace import Workspace
from schemas.arrow import CANDIDATES
from schemas.run import SamplingJob


def main() -> None:
    make_units(load_job(SamplingJob))
    emit("result")


def make_units(job: SamplingJob) -> None:
    """Sample unit by unit and write every shard as soon as its unit is sampled."""
    shards = list_shards(job.samples, job.request, job.policy)
    units = [[shards[number] for number in unit] for unit in job.units]
    prompt_ids = {i for unit in units for shard in unit for i in shard.prompt_ids}
    policies = list_policies(job.request, job.policy)
    reusable = index_candidates(
        job.reused_files, policies, prompt_ids, lambda message: emit("log", message=message)
    )
    new_ids = prompt_ids - reusable.file_of.keys()
    prompts = iter_prompts(job.samples, job.request.splits, new_ids)
    engine = build_engine(job)
    require_unchanged(job.policy)  # what was loaded is what was hashed; no answer before that
    for unit in units:
        make_unit(job, unit, engine, prompts, reusable)


def make_unit(
    job: SamplingJob,
    unit: Sequence[Shard],
    engine: Engine,
    prompts: Iterator[Prompt],
    reusable: RowIndex,
) -> None:
    """Sample the next prompts, those that the unit's shards lack, and write these shards."""
    workspace = Workspace(KIND, job.key, job.attempt, job.folder)
    lacking = [shard.list_unanswered(reusable.file_of) for shard in unit]
    members = list(islice(prompts, sum(len(ids) for ids in lacking)))
    assert [prompt.prompt_id for prompt in members] == [i for ids in lacking for i in ids]
    outcomes_P = engine.sample(members)
    start = 0
    for shard, ids in zip(unit, lacking, strict=True):
        mine = slice(start, start + len(ids))
        start += len(ids)
        shard.write(workspace, build_table(job, members[mine], outcomes_P[mine]), reusable)
        emit("shard", number=shard.number, num_prompts=len(shard.prompt_ids))


def build_table(
    job: SamplingJob, prompts: Sequence[Prompt], outcomes_P: Sequence[Outcome]
) -> pa.Table:
    """Answers to some prompts as rows of schemas.arrow.CANDIDATES, and the refusals of others."""
    rows: list[dict[str, Any]] = []
    refusals: dict[str, Refusal] = {}
    for prompt, outcome in zip(prompts, outcomes_P, strict=True):
        if isinstance(outcome, Refusal):
            refusals[prompt.prompt_id] = replace(outcome, policy_digest=job.policy.digest)
        else:
            rows += [build_row(job.policy.digest, prompt.prompt_id, answer) for answer in outcome]
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
