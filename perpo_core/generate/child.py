"""The generation child process: start one engine, write the shards it is given, exit.

A process of its own, because an engine does not give its memory back while its process lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import pyarrow as pa

from perpo_core.child import emit, load_job
from perpo_core.generate.engine import Answer, Engine, build_engine
from perpo_core.generate.identity import KIND, list_policies
from perpo_core.generate.prompts import Prompt, iter_prompts
from perpo_core.generate.reuse import index_candidates
from perpo_core.generate.shards import Shard, list_shards
from perpo_core.inputs import require_unchanged
from perpo_core.keys import compute_candidate_hash
from perpo_core.row_index import RowIndex
from perpo_core.store import Workspace
from schemas.arrow import CANDIDATES
from schemas.run import SamplingJob


def main() -> None:
    make_units(load_job(SamplingJob))
    emit("result")


def make_units(job: SamplingJob) -> None:
    """Sample unit by unit and write every shard as soon as its unit is sampled."""
    shards = list_shards(job.samples_file, job.request, job.policy, job.key)
    units = [[shards[number] for number in unit] for unit in job.units]
    prompt_ids = {i for unit in units for shard in unit for i in shard.prompt_ids}
    policies = list_policies(job.request, job.policy)
    reusable = index_candidates(
        job.reused_files, policies, prompt_ids, lambda message: emit("log", message=message)
    )
    new_ids = prompt_ids - reusable.file_of.keys()
    prompts = iter_prompts(job.samples_file, job.request.splits, new_ids)
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
    answers_PG = engine.sample(members)
    start = 0
    for shard, ids in zip(unit, lacking, strict=True):
        mine = slice(start, start + len(ids))
        start += len(ids)
        shard.write(workspace, build_table(job, members[mine], answers_PG[mine]), reusable)
        emit("shard", number=shard.number, num_prompts=len(shard.prompt_ids))


def build_table(
    job: SamplingJob, prompts: Sequence[Prompt], answers_PG: Sequence[Sequence[Answer]]
) -> pa.Table:
    """Answers to some prompts as rows of schemas.arrow.CANDIDATES."""
    rows = [
        {
            "prompt_id": prompt.prompt_id,
            "index": answer.index,
            "policy_digest": job.policy.digest,
            "candidate_hash": compute_candidate_hash(
                job.policy.digest, prompt.prompt_id, answer.token_ids
            ),
            "text": answer.text,
            "token_ids": answer.token_ids,
            "token_logps": answer.token_logps,
            "logp": sum(answer.token_logps),
            "finish_reason": answer.finish_reason,
            "seed": answer.seed,
        }
        for prompt, answers_G in zip(prompts, answers_PG, strict=True)
        for answer in answers_G
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


if __name__ == "__main__":
    main()
