"""Every candidate of a shard with every sample of its prompt, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.stages.samples import ScorableSample, ScorableSamples
from perpo_core.stages.score.check import check_indices
from perpo_core.store.row_reader import read_columns
from schemas.arrow import SCORES

COLUMNS = ["index", "candidate_hash", "text"]


@dataclass(frozen=True)
class Pairs:
    """N pairs of M samples with the candidates of their prompts."""

    candidates: pa.Table
    """A row a pair, prompt_id and COLUMNS, each column in one chunk."""
    samples_M: Sequence[ScorableSample]
    numbers_N: NDArray[np.int64]
    """Which of the samples."""

    @cached_property
    def sample_ids(self) -> pa.StringArray:
        return self._take([sample.sample_id for sample in self.samples_M])

    @property
    def tasks(self) -> pa.StringArray:
        return self._take([sample.task for sample in self.samples_M])

    def _take(self, values_M: list[str]) -> pa.StringArray:
        return pa.array(values_M, pa.string()).take(pa.array(self.numbers_N))


def pair_shard(samples: ScorableSamples, path: Path, prompts: pa.DictionaryArray) -> Pairs:
    """In the shard's order, of one prompt by sample_id; `prompts`: its column of prompt_id.

    Raises ValueError for a candidate whose prompt has no sample and one that is there twice.
    """
    candidates = read_columns(path, COLUMNS).combine_chunks()
    check_indices(path, prompts, candidates["index"])
    candidates = candidates.add_column(0, "prompt_id", prompts.cast(pa.string()))
    prompt_ids = prompts.dictionary.to_pylist()
    unknown = next((n for n, prompt_id in enumerate(prompt_ids) if prompt_id not in samples), None)
    if unknown is not None:
        raise ValueError(
            f"{path}, row {pc.index(prompts.indices, unknown)}: no {samples.split} sample has the "
            f"prompt_id {prompt_ids[unknown]}, so samples and candidates do not belong together; "
            "generate the candidates again from these samples"
        )
    by_prompt = list(samples.build(prompt_ids).values())
    rows_N, numbers_N = _spread(prompts.indices.to_numpy(), [len(found) for found in by_prompt])
    if len(rows_N) > len(candidates):
        candidates = candidates.take(pa.array(rows_N))
    return Pairs(candidates, [sample for found in by_prompt for sample in found], numbers_N)


def _spread(
    prompts_C: NDArray[np.int32], sizes: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of C candidates by the number of their prompt: candidate and sample of every pair."""
    sizes_P = np.array(sizes, np.int64)
    sizes_C = sizes_P[prompts_C]
    rows_N = np.repeat(np.arange(len(prompts_C)), sizes_C)
    first_P, first_C = np.cumsum(sizes_P) - sizes_P, np.cumsum(sizes_C) - sizes_C
    within_N = np.arange(len(rows_N)) - first_C[rows_N]
    return rows_N, first_P[prompts_C[rows_N]] + within_N


def build_table(pairs: Pairs, judged: pa.Table) -> pa.Table:
    """Rows of SCORES from pairs and what each is worth."""
    columns = {name: pairs.candidates[name] for name in ("prompt_id", "index", "candidate_hash")}
    columns |= {"sample_id": pairs.sample_ids, "task": pairs.tasks}
    columns |= {name: judged[name] for name in judged.column_names}
    return pa.table(columns, schema=SCORES)
