"""The generation child process: start one engine, write every missing shard, exit.

A process of its own, because an engine does not give its memory back while its process lives.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from perpo_core.child import emit, load_job
from perpo_core.generate.engine import Answer, build_engine
from perpo_core.generate.prompts import Prompt, iter_prompt_shards
from perpo_core.keys import compute_candidate_hash
from perpo_core.store import Workspace
from schemas.arrow import CANDIDATES
from schemas.run import SamplingJob


def main() -> None:
    job = load_job(SamplingJob)
    workspace = Workspace("candidates", job.key, job.attempt, job.folder)
    engine = None
    for number, prompts in enumerate(
        iter_prompt_shards(job.samples_file, job.request.splits, job.request.shard_prompts)
    ):
        if number % job.world != job.rank:
            continue
        name, made_of = part_name(number), describe_shard(job.key, prompts)
        if workspace.find_part(name, made_of) is None:
            engine = engine or build_engine(job)
            workspace.write_part(name, build_table(job, prompts, engine.sample(prompts)), made_of)
        emit("shard", number=number, num_prompts=len(prompts))
    emit("result")


def part_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def describe_shard(key: str, prompts: Sequence[Prompt]) -> list[object]:
    """What a shard is made of: the request (by key) and its prompts."""
    return [key, [prompt.prompt_id for prompt in prompts]]


def build_table(
    job: SamplingJob, prompts: Sequence[Prompt], answers_PG: Sequence[Sequence[Answer]]
) -> pa.Table:
    """Answers of a shard as rows of schemas.arrow.CANDIDATES."""
    rows = [
        {
            "prompt_id": prompt.prompt_id,
            "index": answer.index,
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
