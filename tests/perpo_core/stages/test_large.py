"""Columns of more than 2 GiB over a whole set, which no Arrow array of strings holds at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.stages import generate, materialize, score
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_hash
from perpo_core.store.packs import PREFIX
from perpo_core.store.provenance import as_parents
from schemas.arrow import SCORES
from schemas.artifact import CandidateSet, SampleSet, ScoredSet
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
    common_fields,
)
from tests.perpo_core.stages.growing import build_setting, commit

NUM_SHARDS, TEXT_BYTES = 24, 48 << 20  # two answers of this size in each: 2.25 GiB


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_lists_are_made_of_more_text_than_one_array_holds(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    rows = [build_sample_row(number, "ocr", "1234") for number in range(NUM_SHARDS)]
    samples = commit_samples(context.store, rows)
    candidates = commit_candidates(
        context.store, samples, [build_candidate_rows(r["prompt_id"], ["a", "b"]) for r in rows]
    )
    candidates = lengthen(context, candidates)
    scores = commit_scores(context, samples, candidates, rows)
    made = find_or_make(context, materialize, samples, candidates, scores).artifact
    assert made.counts.num_kept == NUM_SHARDS


def lengthen(context: StageContext, candidates: CandidateSet) -> CandidateSet:
    """The same answers, each with a text of its own as long as that."""
    workspace = context.store.open_workspace("candidates", candidates.key)
    files = []
    for path in context.store.paths(candidates):
        table = pq.read_table(path)
        texts = pa.array([letter * TEXT_BYTES for letter in "ab"])
        column = table.schema.get_field_index("text")
        files.append(workspace.write_table(path.name, table.set_column(column, "text", texts)))
    return context.store.commit(candidates.model_copy(update={"files": files}))


def commit_scores(
    context: StageContext, samples: SampleSet, candidates: CandidateSet, rows: list[dict[str, Any]]
) -> ScoredSet:
    """Rewards 1 and 0."""
    workspace = context.store.open_workspace("scores", compute_hash("scores"))
    files = []
    for path, sample in zip(context.store.paths(candidates), rows, strict=True):
        answers = pq.read_table(path, columns=["prompt_id", "index", "candidate_hash"]).to_pylist()
        scored = [
            {**answer, "sample_id": sample["sample_id"], "task": "ocr",
             "reward": 1.0 - answer["index"], "rewards": [], "parsed": None, "error": None}
            for answer in answers
        ]  # fmt: skip
        files.append(workspace.write_table(path.name, pa.Table.from_pylist(scored, SCORES)))
    fields = common_fields("score", "scores", 2 * len(rows), files)
    fields |= {"key": compute_hash("scores"), "parents": as_parents(samples, candidates)}
    return context.store.commit(ScoredSet(**fields, mean_reward={"ocr": 0.5}))


def test_scoring_and_ranking_read_no_image(tmp_path: Path, asked: object) -> None:
    """Else memory would follow them; here they are gone."""
    del asked
    context = build_setting(tmp_path)
    samples = commit(context, [(number, 1) for number in range(8)])
    candidates = find_or_make(context, generate, samples).artifact
    for pack in context.store.paths(samples, PREFIX):
        pack.unlink()
    scores = find_or_make(context, score, samples, candidates).artifact
    made = find_or_make(context, materialize, samples, candidates, scores).artifact
    assert made.counts.num_kept == 8
