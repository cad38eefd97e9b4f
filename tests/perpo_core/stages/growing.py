"""Sample sets that change from run to run in one store, and what the first stages make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from perpo_core.stages import generate, score
from perpo_core.stages.stage import StageContext, find_or_make
from schemas.artifact import CandidateSet, SampleSet, ScoredSet
from schemas.base import Split
from tests.perpo_core.small_store import build_context, build_sample_row, commit_samples

GENERATE = {"num_candidates": 4, "shard_prompts": 3, "processes": 1}
Truths = Sequence[tuple[int, int]]
"""Picture and count of every sample; samples of one picture share their prompt."""


def build_setting(root: Path, **generate: Any) -> StageContext:
    return build_context(root, store=root / "store", generate=GENERATE | generate)


def commit(context: StageContext, truths: Truths, split: Split = "train") -> SampleSet:
    rows = [build_sample_row(picture, "counting", count, split) for picture, count in truths]
    return commit_samples(context.store, rows, name=str((truths, split)))


def refresh(context: StageContext, truths: Truths) -> tuple[CandidateSet, ScoredSet]:
    samples = commit(context, truths)
    candidates = find_or_make(context, generate, samples).artifact
    return candidates, find_or_make(context, score, samples, candidates).artifact


def read_rows(context: StageContext, artifact: CandidateSet | ScoredSet) -> list[dict[str, Any]]:
    """All rows, in order of their key."""
    paths = context.store.paths(artifact)
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: (row.get("sample_id"), row["prompt_id"], row["index"]))


def count(artifact: CandidateSet | ScoredSet) -> tuple[int, int]:
    """(made anew, taken over)"""
    if isinstance(artifact, CandidateSet):
        return artifact.num_new_prompts, artifact.num_reused_prompts
    return artifact.num_new, artifact.num_reused


def check_equal(
    context: StageContext,
    made: tuple[CandidateSet, ScoredSet],
    fresh: StageContext,
    straight: tuple[CandidateSet, ScoredSet],
) -> None:
    """Row for row the same, and none is there twice; then even the files are."""
    for mine, theirs in ((made[0], straight[0]), (made[1], straight[1])):
        rows = read_rows(context, mine)
        assert rows == read_rows(fresh, theirs)
        keys = {(row.get("sample_id"), row["prompt_id"], row["index"]) for row in rows}
        assert len(keys) == len(rows)
        assert mine.digest == theirs.digest
