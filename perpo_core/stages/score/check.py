"""Whether samples and candidates belong together, looked at before any answer is scored."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.policy.refusals import load_refusals
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet, FileRef, SampleSet
from schemas.base import Split


def list_shards(candidates: CandidateSet) -> list[FileRef]:
    """The candidate shards in order; `start` and `stop` of a range count in this list."""
    return [file for file in candidates.files if file.path.startswith("part-")]


def check_candidates(
    store: Store, samples: SampleSet, candidates: CandidateSet, split: Split
) -> None:
    """Every sample of the split has candidates and no candidate is there twice, or ValueError.

    Samples of prompts that the policy refused have none.
    """
    if not list_shards(candidates):
        raise ValueError("the candidate set has no shards; generate candidates first")
    table = pq.read_table(
        store.path(samples, "samples.parquet"),
        columns=["sample_id", "prompt_id"],
        filters=[("split", "==", split)],
    )
    twice = [i for i, n in Counter(table["sample_id"].to_pylist()).items() if n > 1]
    if twice:
        raise ValueError(f"samples.parquet has sample {min(twice)} twice; collect it once")
    keys = pa.concat_tables(
        pq.read_table(store.path(candidates, shard.path), columns=["prompt_id", "index"])
        for shard in list_shards(candidates)
    )
    counted = keys.group_by(["prompt_id", "index"]).aggregate([([], "count_all")])
    twice_table = counted.filter(pc.greater(counted["count_all"], 1))
    if twice_table.num_rows:
        first = twice_table.sort_by("prompt_id").to_pylist()[0]
        raise ValueError(
            f"candidate {first['index']} of prompt {first['prompt_id']} is in the candidate shards "
            f"{first['count_all']} times; remove the folder of {candidates.key} and generate again"
        )
    settled = [*keys["prompt_id"].unique().to_pylist(), *load_refusals(store, candidates)]
    lacking = pc.invert(pc.is_in(table["prompt_id"], value_set=pa.array(settled, pa.string())))
    without = table.filter(lacking)
    if without.num_rows:
        raise ValueError(
            f"{without.num_rows} of {table.num_rows} {split} samples have no candidates, the first "
            f"is {min(without['sample_id'].to_pylist())}; generate the candidates again"
        )
