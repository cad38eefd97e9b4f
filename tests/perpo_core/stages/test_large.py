"""Columns of more than 2 GiB over a whole set, which no Arrow array of strings holds at once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.export.lists.write import Asked, export_lists
from perpo_core.perception.boxes import Frame
from perpo_core.report.cards import Album
from perpo_core.report.changes import count_changes, load_greedy_pairs
from perpo_core.report.gallery import load_change_cards
from perpo_core.stages import evaluate, generate, materialize, score
from perpo_core.stages.evaluate.metrics import compute_metrics
from perpo_core.stages.generate.engine import Answer
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_hash
from perpo_core.store.packs import PREFIX
from perpo_core.store.provenance import as_parents, utc_now
from schemas.arrow import PREDICTIONS, SCORES
from schemas.artifact import CandidateSet, PreferenceSet, SampleSet, ScoredSet
from schemas.base import StageName
from schemas.run import PolicyRef, RunRecord, StageRecord
from tests.perpo_core import scripted
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
    common_fields,
)
from tests.perpo_core.stages.evaluate.test_evaluate import commit_checkpoint
from tests.perpo_core.stages.growing import build_setting, commit

NUM_SHARDS, TEXT_BYTES = 24, 48 << 20  # two answers of this size in each: 2.25 GiB
POOL = pa.default_memory_pool()
WATCHED_POOL = pa.proxy_memory_pool(POOL)


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
    with bounded_memory():
        scores = find_or_make(context, score, samples, candidates).artifact
    assert scores.counts.num_kept == 2 * NUM_SHARDS
    assert scores.mean_reward == {"ocr": 0.0}, "what was judged is what was written so long"
    scores = commit_scores(context, samples, candidates, rows)  # two that are equal make no list
    with bounded_memory():
        made = find_or_make(context, materialize, samples, candidates, scores).artifact
    assert made.counts.num_kept == NUM_SHARDS
    run = record(context, samples, made)
    with bounded_memory():
        tally = export_lists(context.store, run, [run], tmp_path / "out", Asked(), print)
    assert tally.lists.num_kept == NUM_SHARDS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_predictions_hold_more_text_than_one_array(
    tmp_path: Path, policy: PolicyRef, asked: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 prompts, three answers of each policy, 2.25 GiB; then what the report reads of them."""
    del asked
    length, num_test = (9 << 28) // (12 * 3 * 2), 8
    settings = {"engine": "transformers", "shard_prompts": 1, "processes": 1}
    context = build_context(tmp_path, generate=settings, evaluate={"num_samples": 2})
    context = replace(context, policy=policy)

    def answer(engine: scripted.ScriptedEngine, prompt: Any) -> list[Answer]:
        letter = "x" if engine._job.policy.digest == policy.digest else "y"  # both wrong alike
        return [Answer(n, letter * length, [1], [-0.1], "stop", 0) for n in (-1, 0, 1)]

    monkeypatch.setattr(scripted.ScriptedEngine, "_answer", answer)
    splits = ["test"] * num_test + ["validation"] * 4
    rows = [build_sample_row(n, "ocr", "1234", split) for n, split in enumerate(splits)]
    samples = commit_samples(context.store, rows)
    checkpoint = commit_checkpoint(context, policy.folder, "trained")
    assert checkpoint.policy_digest != policy.digest, "the two write different letters"
    with bounded_memory():
        report = find_or_make(context, evaluate, samples, checkpoint).artifact
    assert report.metrics["ocr"]["greedy_reward"].n == num_test

    album = Album("norm1000", Frame, max_megapixels=1.0)
    predictions, parts = (
        context.store.path(report, "predictions.parquet"),
        context.store.paths(samples),
    )
    with bounded_memory(held_by_python=6 * length):  # of 16 greedy answers
        pairs = load_greedy_pairs(predictions)
        [changes] = count_changes(pairs)
        [card] = load_change_cards(predictions, pairs, parts, 1, album)
    assert (changes.num, changes.num_changed, changes.num_better) == (num_test, num_test, 0)
    assert [answer.label for answer in card.answers] == ["base", "trained"]


@pytest.mark.slow
def test_predictions_name_more_text_than_one_array_holds() -> None:
    """Ids as long as no id is, in chunks that share them: 12 times 192 MB."""
    ids = pa.array([letter * (24 << 20) for letter in "hgfedcba"])
    columns: dict[str, list[pa.Array]] = {name: [] for name in PREDICTIONS.names}
    for policy in ("base", "trained"):
        for index in (1, -1, 0, 2, 4, 3):
            reward = index / 4 if policy == "base" else 1.0
            same = {"task": "ocr", "split": "test", "policy": policy, "index": index,
                    "image_id": "one", "reward": reward}  # fmt: skip
            for name, chunks in columns.items():
                value = pa.scalar(same.get(name), PREDICTIONS.field(name).type)
                chunks.append(ids if name == "sample_id" else pa.repeat(value, len(ids)))
    predictions = pa.table({name: pa.chunked_array(chunks) for name, chunks in columns.items()})
    with bounded_memory():
        metrics, _ = compute_metrics(predictions, "test", 100, seed=0)
    found = metrics["ocr"]
    assert (found["greedy_reward"].base, found["sampled_reward"].base) == (-0.25, 0.5)
    assert (found["best_of_n"].base, found["best_of_n"].trained) == (1.0, 1.0)


@contextmanager
def bounded_memory(held_by_python: int = 1 << 30) -> Iterator[None]:
    """Fails where Python or Arrow come to hold half of the text at one time, or what is said."""
    pa.set_memory_pool(WATCHED_POOL)
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < held_by_python
        assert WATCHED_POOL.max_memory() < 1 << 30
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(POOL)


def record(context: StageContext, samples: SampleSet, lists: PreferenceSet) -> RunRecord:
    """A run that made these."""
    stages: dict[StageName, StageRecord] = {
        each.stage: StageRecord(
            kind=kind, key=each.key, digest=each.digest, reused=False, seconds=1
        )
        for kind, each in (("samples", samples), ("preferences", lists))
    }
    return RunRecord(
        run_id="large", status="completed", config=context.config, stages=stages,
        policy_digest=context.policy.digest, policy_folder=Path(), started_at=utc_now(),
    )  # fmt: skip


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
