"""The judge against vLLM's own OpenAI-compatible server, with the built-in policy behind it."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from perpo_core.stages import score
from perpo_core.stages.stage import StageContext, find_or_make
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)
from tests.vllm_server import JUDGE, serve_builtin

pytestmark = pytest.mark.slow


def test_vllm_judges_and_its_replies_are_kept(tmp_path: Path) -> None:
    (tmp_path / "judge.txt").write_text("Say a number from 0 to 10.")
    row = build_sample_row(3, "counting", 4)
    with serve_builtin(tmp_path) as url:
        options = {"base_url": url, "instruction": str(tmp_path / "judge.txt"), **JUDGE}
        settings = {"counting": {"reward": "judge", "options": {"judge": options}}}
        context = build_context(tmp_path, score=settings)
        samples = commit_samples(context.store, [row])
        candidates = commit_candidates(
            context.store, samples, [build_candidate_rows(row["prompt_id"], ["4", "5"])]
        )
        first = find_or_make(context, score, samples, candidates).artifact
    rewards = pq.read_table(context.store.paths(first))["reward"].to_pylist()
    assert all(10 * reward in range(11) for reward in rewards), rewards
    again = StageContext(context.store, context.config, context.policy, force=True)
    second = find_or_make(again, score, samples, candidates).artifact  # the server is gone
    assert second.digest == first.digest
