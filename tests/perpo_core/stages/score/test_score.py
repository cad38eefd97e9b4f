"""Scores: joins by key, parts that resume, counts that add up, errors that name the row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.perception import judging
from perpo_core.stages import score
from perpo_core.stages.stage import StageContext, find_or_make
from schemas.arrow import SCORES
from schemas.artifact import CandidateSet, SampleSet, ScoredSet
from tests.perpo_core.small_store import (
    BOX,
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)

ANSWERS = ["[0.20, 0.20, 0.60, 0.60]", "[0.20, 0.20, 0.60, 0.40]", "nowhere"]


def build_parents(context: StageContext) -> tuple[SampleSet, CandidateSet]:
    """Three tasks, two shards; the counting prompt has two samples with different truths."""
    boxes = build_sample_row(1, "grounding", BOX)
    text = build_sample_row(2, "ocr", "12\n34")
    three, four = (build_sample_row(3, "counting", count) for count in (3, 4))
    held_out = build_sample_row(4, "grounding", BOX, split="test")
    samples = commit_samples(context.store, [boxes, text, three, four, held_out])
    shards = [
        build_candidate_rows(boxes["prompt_id"], ANSWERS),
        build_candidate_rows(text["prompt_id"], ["12\n34", "12 35"])
        + build_candidate_rows(three["prompt_id"], ["3", "4"]),
    ]
    return samples, commit_candidates(context.store, samples, shards)


def read_rows(context: StageContext, scores: ScoredSet) -> list[dict[str, Any]]:
    return [row for path in context.store.paths(scores) for row in pq.read_table(path).to_pylist()]


def test_every_answer_meets_its_own_truth(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    samples, candidates = build_parents(context)
    result = find_or_make(context, score, samples, candidates)
    rows = read_rows(context, result.artifact)
    by_task = {
        task: [row["reward"] for row in rows if row["task"] == task]
        for task in ("grounding", "ocr")
    }
    assert by_task["grounding"] == pytest.approx([1.0, 0.5, 0.0])
    assert by_task["ocr"] == pytest.approx([1.0, 0.8])
    sample_of = {
        row["target"]["count"]: row["sample_id"]
        for row in pq.read_table(context.store.paths(samples)).to_pylist()
    }
    counted = {(r["sample_id"], r["index"]): r["reward"] for r in rows if r["task"] == "counting"}
    assert counted == {
        (sample_of[3], 0): 1.0,
        (sample_of[3], 1): pytest.approx(2 / 3),
        (sample_of[4], 0): 0.75,
        (sample_of[4], 1): 1.0,
    }
    assert result.artifact.mean_reward["grounding"] == pytest.approx(0.5)
    assert result.artifact.counts.num_in == len(rows) == 9
    assert find_or_make(context, score, samples, candidates).reused


def test_rows_say_what_the_parser_saw(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    scores = find_or_make(context, score, *build_parents(context)).artifact
    path = context.store.paths(scores)[0]
    assert pq.read_schema(path).equals(SCORES)
    best, _, unreadable = pq.read_table(path).to_pylist()
    assert json.loads(best["parsed"]) == BOX and best["error"] is None
    assert best["rewards"] == [("iou", 1.0)]
    assert unreadable["reward"] == 0.0 and unreadable["parsed"] is None
    assert unreadable["error"] == "no four numbers in the answer"


def test_unreadable_answers_can_be_dropped(tmp_path: Path) -> None:
    context = build_context(tmp_path, score={"on_unparsed": "drop"})
    scores = find_or_make(context, score, *build_parents(context)).artifact
    assert scores.counts.dropped == {"unreadable answer": 1}
    assert scores.counts.num_kept == 8
    assert read_rows(context, scores)[2]["reward"] is None
    assert scores.mean_reward["grounding"] == pytest.approx(0.75)


def test_shares_make_the_same_artifact_and_parts_are_kept(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    samples, candidates = build_parents(context)
    key = score.compute_key(context.config, context.policy, samples, candidates)
    scorer = score.build_scorer(context, key, samples, candidates)
    second = score.score_share(scorer, 1, 2)
    path = context.open_workspace("scores", key).folder / second[0].file.path
    written_at = path.stat().st_mtime_ns
    scores = score.run(context, key, samples, candidates)
    assert path.stat().st_mtime_ns == written_at
    assert scores.files[1] == second[0].file
    shares = score.score_share(scorer, 1, 2) + score.score_share(scorer, 0, 2)
    together = score.collect_shards(scorer, shares)
    assert (
        together.model_copy(update={"created_at": scores.created_at, "seconds": scores.seconds})
        == scores
    )
    elsewhere = build_context(tmp_path / "elsewhere")
    straight = find_or_make(elsewhere, score, *build_parents(elsewhere)).artifact
    assert straight.digest == scores.digest


def test_damaged_part_is_scored_again(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    samples, candidates = build_parents(context)
    first = find_or_make(context, score, samples, candidates).artifact
    context.store.paths(first)[0].write_bytes(b"damage")
    again = find_or_make(context, score, samples, candidates)
    assert not again.reused and again.artifact.digest == first.digest


def test_key_reads_rewards_and_box_format_but_not_workers(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    parents = build_parents(context)

    def compute(**sections: Any) -> str:
        config = build_context(tmp_path, **sections).config
        return score.compute_key(config, context.policy, *parents)

    assert compute() == compute(score={"workers": 7}, train={"beta": 0.5})
    assert compute() != compute(score={"on_unparsed": "drop"})
    assert compute() != compute(policy={"box_format": "norm1000"})
    assert compute() != compute(score={"count_reading": "words"})


def test_scores_of_an_earlier_reading_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answer may be read otherwise now; only the answers themselves are kept."""
    context = build_context(tmp_path)
    parents = build_parents(context)
    monkeypatch.setattr(judging, "READING", judging.READING - 1)
    earlier = find_or_make(context, score, *parents).artifact
    monkeypatch.undo()
    now = find_or_make(context, score, *parents)
    assert not now.reused and now.artifact.num_reused == 0
    assert now.artifact.scoring_digest != earlier.scoring_digest
    assert now.artifact.digest == earlier.digest, "where nothing is read otherwise"


def test_candidate_without_sample_is_an_error(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    row = build_sample_row(1, "ocr", "12")
    samples = commit_samples(context.store, [row])
    rows = build_candidate_rows(row["prompt_id"], ["1"]) + build_candidate_rows("f" * 64, ["2"])
    candidates = commit_candidates(context.store, samples, [rows])
    with pytest.raises(ValueError, match=r"part-00000.parquet, row 1: no train sample .*ffff"):
        find_or_make(context, score, samples, candidates)


def test_sample_without_candidates_is_an_error(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    with_one, without = (build_sample_row(number, "ocr", "12") for number in (1, 2))
    samples = commit_samples(context.store, [with_one, without])
    rows = build_candidate_rows(with_one["prompt_id"], ["1"])
    candidates = commit_candidates(context.store, samples, [rows])
    with pytest.raises(ValueError, match=f"1 of 2 train samples .*{without['sample_id']}"):
        find_or_make(context, score, samples, candidates)


def test_candidate_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    row = build_sample_row(1, "ocr", "12")
    samples = commit_samples(context.store, [row])
    rows = build_candidate_rows(row["prompt_id"], ["1"])
    candidates = commit_candidates(context.store, samples, [rows, rows])
    with pytest.raises(ValueError, match=r"candidates of prompt .* in two shards"):
        find_or_make(context, score, samples, candidates)


def test_candidate_twice_in_a_shard_is_an_error(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    row = build_sample_row(1, "ocr", "12")
    samples = commit_samples(context.store, [row])
    rows = build_candidate_rows(row["prompt_id"], ["1", "2"])
    candidates = commit_candidates(context.store, samples, [[*rows, rows[1]]])
    with pytest.raises(ValueError, match=r"candidate 1 of prompt .*part-00000.parquet 2 times"):
        find_or_make(context, score, samples, candidates)


def test_no_candidates_at_all_is_an_error(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    samples = commit_samples(context.store, [build_sample_row(1, "ocr", "12")])
    candidates = commit_candidates(context.store, samples, [])
    with pytest.raises(ValueError, match="no shards"):
        find_or_make(context, score, samples, candidates)
