"""Preferences: the file that training and TRL read, drops with reasons, and counts that add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perpo_core.stages import materialize, score
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_hash
from schemas.arrow import DROPPED, PREFERENCES
from schemas.artifact import CandidateSet, PreferenceSet, SampleSet, ScoredSet
from tests.perpo_core.small_store import (
    BOX,
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)

Parents = tuple[SampleSet, CandidateSet, ScoredSet]
TEXTS = ["1234", "1235", "12", "1234", "9999", "123"]  # similarity 1, 3/4, 1/2, again 1, 0, 3/4


def build_parents(context: StageContext, reverse: bool = False) -> Parents:
    """Three ocr prompts that make lists, one whose answers are all wrong, one held out."""
    rows = [build_sample_row(number, "ocr", "1234") for number in range(1, 4)]
    rows.append(build_sample_row(4, "grounding", BOX))
    rows.append(build_sample_row(5, "ocr", "1234", split="test"))
    texts = [TEXTS, ["1234", "1200"], ["1234", "1235", "123456789"], ["a", "b"]]
    reasons = [None, None, ["stop", "stop", "length"], None]
    shards = [
        build_candidate_rows(row["prompt_id"], of_prompt, why)
        for row, of_prompt, why in zip(rows[:4], texts, reasons, strict=True)
    ]
    if reverse:
        shards = [list(reversed(shard)) for shard in reversed(shards)]
    samples = commit_samples(context.store, rows)
    candidates = commit_candidates(context.store, samples, shards)
    return samples, candidates, find_or_make(context, score, samples, candidates).artifact


def make(context: StageContext, parents: Parents) -> PreferenceSet:
    artifact: PreferenceSet = find_or_make(context, materialize, *parents).artifact
    return artifact


def read(context: StageContext, artifact: PreferenceSet, prefix: str = "part-") -> pa.Table:
    """All parts, in order."""
    paths = context.store.paths(artifact, prefix)
    return pa.concat_tables(pq.read_table(path).replace_schema_metadata(None) for path in paths)


def test_lists_and_what_did_not_enter(tmp_path: Path) -> None:
    messages: list[str] = []
    context = build_context(tmp_path, lists={"list_size": 3})
    context = StageContext(context.store, context.config, context.policy, log=messages.append)
    parents = build_parents(context)
    artifact = make(context, parents)
    assert artifact.counts.num_in == 4 and artifact.counts.num_kept == 3
    assert artifact.counts.dropped == {"all rewards equal": 1}
    assert artifact.num_lists == {"grounding": 0, "ocr": 3}
    assert artifact.mean_list_size == pytest.approx((3 + 2 + 2) / 3)
    table = read(context, artifact)
    assert table.schema.equals(PREFERENCES)
    rows = table.to_pylist()
    first = build_sample_row(1, "ocr", "1234")
    row = next(row for row in rows if row["sample_id"] == first["sample_id"])
    # 1234 (1), 1235 and 123 (3/4), 12 (1/2), 9999 (0): five texts thinned to three.
    assert [(r["index"], r["reward"], r["rank"]) for r in row["responses"]] == [
        (0, 1.0, 0), (5, 0.75, 1), (4, 0.0, 2),
    ]  # fmt: skip
    assert row["responses"][1]["token_ids"] == [*b"123", 1000]
    assert row["responses"][1]["logp"] == -2.0
    assert row["reward_gap"] == 1.0
    for column in ("images", "prompt", "prompt_id", "task"):
        assert row[column] == first[column]
    assert row["target"] == {"boxes": None, "others": None, "image": None, **first["target"]}
    assert messages[1:] == [
        "warning: 0 of 1 grounding samples gave a list; without one: all rewards equal 1",
        "3 of 3 ocr samples gave a list; without one: none",
        "answers left out of lists: cut off by length 1, duplicate text 1, thinned to list_size 2",
    ]


def test_of_a_blank_page_the_empty_answer_is_the_best(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    sample = build_sample_row(1, "ocr", "")
    samples = commit_samples(context.store, [sample])
    shard = build_candidate_rows(sample["prompt_id"], ["Chapter 1", "", "1"])
    candidates = commit_candidates(context.store, samples, [shard])
    scores = find_or_make(context, score, samples, candidates).artifact
    artifact = make(context, (samples, candidates, scores))
    [row] = read(context, artifact).to_pylist()
    assert [(r["text"], r["reward"]) for r in row["responses"]] == [
        ("", 1.0), ("Chapter 1", 0.0), ("1", 0.0),
    ]  # fmt: skip
    assert row["target"]["text"] == ""


def test_dropped_names_samples_and_answers(tmp_path: Path) -> None:
    context = build_context(tmp_path, lists={"list_size": 3})
    artifact = make(context, build_parents(context))
    table = read(context, artifact, "dropped-")
    assert table.schema.equals(DROPPED)
    ids = [build_sample_row(n, "ocr", "1234")["sample_id"] for n in (1, 2, 3)]
    reasons = {row["id"]: row["reason"] for row in table.to_pylist()}
    assert reasons == {
        f"{ids[0]}/1": "thinned to list_size",
        f"{ids[0]}/2": "thinned to list_size",
        f"{ids[0]}/3": "duplicate text",
        f"{ids[2]}/2": "cut off by length",
        build_sample_row(4, "grounding", BOX)["sample_id"]: "all rewards equal",
    }


def test_max_lists_keeps_the_widest_gaps(tmp_path: Path) -> None:
    context = build_context(tmp_path, lists={"max_lists": 2})
    artifact = make(context, build_parents(context))
    assert artifact.counts.dropped == {"all rewards equal": 1, "beyond max_lists": 1}
    gaps = read(context, artifact)["reward_gap"].to_pylist()
    assert sorted(gaps) == [0.5, 1.0]  # 0.25 left


def test_threshold_counts_by_task(tmp_path: Path) -> None:
    context = build_context(tmp_path, lists={"min_gap": {"ocr": 0.4}})
    artifact = make(context, build_parents(context))
    assert artifact.counts.dropped == {"all rewards equal": 1, "gap below threshold": 1}


def test_order_of_candidates_does_not_matter(tmp_path: Path) -> None:
    contexts = [build_context(tmp_path / name, lists={"list_size": 3}) for name in ("a", "b")]
    made = [
        make(context, build_parents(context, reverse))
        for context, reverse in zip(contexts, (False, True), strict=True)
    ]
    first, second = (
        sorted(read(context, artifact).to_pylist(), key=lambda row: row["sample_id"])
        for context, artifact in zip(contexts, made, strict=True)
    )
    assert first == second and len(first) == 3


def test_no_list_at_all_is_one_helpful_sentence(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    row = build_sample_row(1, "grounding", BOX)
    samples = commit_samples(context.store, [row])
    rows = build_candidate_rows(row["prompt_id"], ["a", "b"])
    candidates = commit_candidates(context.store, samples, [rows])
    scores = find_or_make(context, score, samples, candidates).artifact
    with pytest.raises(
        ValueError, match=r"of 1 samples \(all rewards equal: 1\); look at generate"
    ):
        find_or_make(context, materialize, samples, candidates, scores)


def test_score_of_another_answer_is_an_error(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    samples, candidates, scores = build_parents(context)
    path = context.store.paths(scores)[0]
    table = pq.read_table(path)
    others = pa.array([compute_hash("another")] * table.num_rows)
    column = table.column_names.index("candidate_hash")
    pq.write_table(table.set_column(column, "candidate_hash", others), path)
    with pytest.raises(ValueError, match="is of another answer"):
        make(context, (samples, candidates, scores))


def test_sample_without_scores_is_an_error(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    samples, candidates, scores = build_parents(context)
    fewer = scores.model_copy(update={"files": scores.files[1:]})
    with pytest.raises(ValueError, match=r"the same shards, part-00000\.parquet is in one of them"):
        make(context, (samples, candidates, fewer))
    path = context.store.paths(scores)[0]
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(ValueError, match="1 of 4 train samples have no scores"):
        make(context, (samples, candidates, scores))


def test_key_reads_the_lists_section_only(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    parents = build_parents(context)

    def compute(**sections: Any) -> str:
        config = build_context(tmp_path, **sections).config
        return materialize.compute_key(config, context.policy, *parents)

    assert compute() == compute(score={"collapse_whitespace": False})
    assert compute() != compute(lists={"list_size": 4})
