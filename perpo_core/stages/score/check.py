"""Whether samples and candidates belong together, looked at before any answer is scored."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perpo_core.policy.refusals import load_refusals
from perpo_core.stages.samples import ScorableSamples
from perpo_core.store.row_reader import read_columns
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet, FileRef


def list_shards(candidates: CandidateSet) -> list[FileRef]:
    """The candidate shards in order; `start` and `step` of a share count in this list."""
    return [file for file in candidates.files if file.path.startswith("part-")]


def list_prompts(path: Path) -> list[str]:
    """The prompts of a shard, in its order."""
    prompts = read_columns(path, ["prompt_id"], encoded=["prompt_id"])["prompt_id"]
    found: list[str] = prompts.unique().to_pylist()
    return found


def check_candidates(
    store: Store, samples: ScorableSamples, candidates: CandidateSet
) -> dict[str, list[str]]:
    """Every sample has candidates and no candidate is there twice, or ValueError.

    Samples of prompts that the policy refused have none. Shard -> what list_prompts says of it.
    """
    if not list_shards(candidates):
        raise ValueError("the candidate set has no shards; generate candidates first")
    sample_ids = samples.list_ids()
    if len(set(sample_ids)) < len(sample_ids):
        twice = [sample_id for sample_id, num in Counter(sample_ids).items() if num > 1]
        raise ValueError(f"the samples hold {min(twice)} twice; collect them once")
    settled, prompts_of = set(load_refusals(store, candidates)), {}
    for shard, path in zip(list_shards(candidates), store.paths(candidates), strict=True):
        prompts_of[shard.path] = _check_shard(path, settled, candidates.key)
        settled.update(prompts_of[shard.path])
    without = samples.list_ids(each for each in samples.prompt_ids if each not in settled)
    if without:
        raise ValueError(
            f"{len(without)} of {len(sample_ids)} {samples.split} samples have no candidates, the "
            f"first is {min(without)}; generate the candidates again"
        )
    return prompts_of


def _check_shard(path: Path, settled: set[str], key: str) -> list[str]:
    """The prompts of a shard, none of which may be in an earlier one."""
    rows = read_columns(path, ["prompt_id", "index"], encoded=["prompt_id"]).combine_chunks()
    prompts = rows["prompt_id"].combine_chunks()
    prompt_ids: list[str] = prompts.unique().to_pylist()
    if _are_distinct(prompts.indices, rows["index"]) and settled.isdisjoint(prompt_ids):
        return prompt_ids
    rows = rows.set_column(0, "prompt_id", prompts.cast(pa.string()))
    counted = rows.group_by(["prompt_id", "index"]).aggregate([([], "count_all")])
    repeated = counted.filter(pc.greater(counted["count_all"], 1)).to_pylist()
    repeated += [
        {"prompt_id": each, "index": 0, "count_all": 2} for each in settled.intersection(prompt_ids)
    ]
    first = min(repeated, key=lambda row: (row["prompt_id"], row["index"]))
    raise ValueError(
        f"candidate {first['index']} of prompt {first['prompt_id']} is in the candidate shards "
        f"{first['count_all']} times; remove the folder of {key} and generate again"
    )


def _are_distinct(prompts_N: pa.Array, index_N: pa.ChunkedArray) -> bool:
    """Whether no pair of number and index is there twice."""
    # 32 bits each: as one number they are sorted many times as fast as they are grouped.
    pairs_N = prompts_N.to_numpy().astype(np.int64) << 32 | index_N.to_numpy()
    return len(np.unique(pairs_N)) == len(pairs_N)
