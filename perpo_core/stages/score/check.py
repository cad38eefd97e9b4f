"""Whether samples and candidates belong together: within a shard, and over all shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from perpo_core.stages.samples import ScorableSamples
from perpo_core.store.row_reader import read_columns
from schemas.artifact import CandidateSet, FileRef


def list_shards(candidates: CandidateSet) -> list[FileRef]:
    """The candidate shards in order; `start` and `step` of a share count in this list."""
    return [file for file in candidates.files if file.path.startswith("part-")]


def read_prompts(path: Path) -> pa.DictionaryArray:
    """The prompt of every candidate of a shard, in its order."""
    return read_columns(path, ["prompt_id"], encoded=["prompt_id"])["prompt_id"].combine_chunks()


def check_indices(path: Path, prompts_N: pa.DictionaryArray, index_N: pa.ChunkedArray) -> None:
    """No candidate is in a shard twice, or ValueError."""
    # 32 bits each: as one number they are sorted many times as fast as they are grouped.
    pairs_N = prompts_N.indices.to_numpy().astype(np.int64) << 32 | index_N.to_numpy()
    numbers, counts = np.unique(pairs_N, return_counts=True)
    for place in np.flatnonzero(counts > 1):
        prompt, index = divmod(int(numbers[place]), 1 << 32)
        raise ValueError(
            f"candidate {index} of prompt {prompts_N.dictionary[prompt]} is in {path} "
            f"{counts[place]} times; remove the candidates' folder and generate again"
        )


def check_prompts(
    samples: ScorableSamples, by_shard: Iterable[Sequence[str]], refused: Iterable[str]
) -> None:
    """Every sample has candidates and no prompt has them in two shards, or ValueError.

    `by_shard`: the prompts of each. Samples of prompts that the policy refused have none.
    """
    sample_ids = samples.list_ids()
    if len(set(sample_ids)) < len(sample_ids):
        raise ValueError(f"the samples hold {_find_double(sample_ids)} twice; collect them once")
    prompt_ids = list(chain(refused, *by_shard))
    settled = set(prompt_ids)
    if len(settled) < len(prompt_ids):
        raise ValueError(
            f"candidates of prompt {_find_double(prompt_ids)} are in two shards; remove the "
            "candidates' folder and generate again"
        )
    without = samples.list_ids(each for each in samples.prompt_ids if each not in settled)
    if without:
        raise ValueError(
            f"{len(without)} of {len(sample_ids)} {samples.split} samples have no candidates, the "
            f"first is {min(without)}; generate the candidates again"
        )


def _find_double(ids: Iterable[str]) -> str:
    return min(each for each, num in Counter(ids).items() if num > 1)
