"""What scores depend on, and what their artifact and the log say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perpo_core.stages import score
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_hash
from perpo_core.store.provenance import as_parents
from schemas.artifact import CandidateSet, SampleSet
from schemas.run import PolicyRef
from tests.perpo_core.small_store import (
    BOX,
    POLICY_DIGEST,
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)
from tests.perpo_core.stages.score.test_score import build_parents, read_rows


def build_text(
    context: StageContext, truth: str, texts: list[str]
) -> tuple[SampleSet, CandidateSet]:
    """One OCR sample and its answers."""
    row = build_sample_row(1, "ocr", truth)
    samples = commit_samples(context.store, [row])
    rows = build_candidate_rows(row["prompt_id"], texts)
    return samples, commit_candidates(context.store, samples, [rows])


# What they depend on


def test_other_samples_and_other_candidates_have_another_key(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    samples, candidates = build_parents(context)
    other = {"digest": compute_hash("other")}
    parents = [
        (samples, candidates),
        (samples.model_copy(update=other), candidates),
        (samples, candidates.model_copy(update=other)),
    ]
    keys = {score.compute_key(context.config, context.policy, *pair) for pair in parents}
    assert len(keys) == 3


def test_scores_are_taken_over_where_answers_are_judged_alike(tmp_path: Path) -> None:
    """Another policy judges alike unless its processor resizes what boxes are measured in."""

    def compute(sections: dict[str, Any], name: str = "a policy") -> str:
        policy = PolicyRef(digest=compute_hash(name), folder=tmp_path)
        return score.compute_scoring_digest(build_context(tmp_path, **sections).config, policy)

    assert compute({}) == compute({}, "another policy") == compute({"score": {"workers": 7}})
    resized = {"policy": {"box_format": "pixels_resized"}}
    assert compute(resized) != compute(resized, "another policy")
    changes: list[dict[str, Any]] = [
        {}, {"score": {"counting": "exact_match"}}, {"score": {"count_reading": "words"}},
        {"score": {"collapse_whitespace": False}}, {"score": {"on_unparsed": "drop"}},
        {"policy": {"box_format": "norm1000"}}, resized,
    ]  # fmt: skip
    assert len({compute(change) for change in changes}) == len(changes)


@pytest.mark.parametrize(("collapse", "reward"), [(True, 1.0), (False, 0.8)])
def test_white_space_counts_where_it_is_asked_for(
    tmp_path: Path, collapse: bool, reward: float
) -> None:
    context = build_context(tmp_path, score={"collapse_whitespace": collapse})
    parents = build_text(context, "12 34", ["12\n34"])
    [row] = read_rows(context, find_or_make(context, score, *parents).artifact)
    assert row["reward"] == pytest.approx(reward)


def test_the_policies_are_those_whose_answers_are_there(tmp_path: Path) -> None:
    context = build_context(tmp_path)
    _, candidates = build_parents(context)
    assert score.list_policies(candidates) == [POLICY_DIGEST]
    mixed = candidates.model_copy(update={"prompts_per_policy": {"f" * 64: 1, "0" * 64: 2}})
    assert score.list_policies(mixed) == ["0" * 64, "f" * 64]


@pytest.mark.parametrize(
    ("truth", "text", "reward"), [("13", "12", 0.5), ("12", "13", 0.5), ("13", "13", 1.0)]
)
def test_a_part_made_of_something_else_is_scored_again(
    tmp_path: Path, truth: str, text: str, reward: float
) -> None:
    """Even if somebody asks for it by the same key."""
    key = compute_hash("a key")
    first = build_context(tmp_path / "first")
    score.score_share(score.build_scorer(first, key, *build_text(first, "12", ["12"])))
    second = build_context(tmp_path / "second")
    parents = build_text(second, truth, [text])
    folder = second.open_workspace("scores", key).folder
    for path in first.open_workspace("scores", key).folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    [row] = read_rows(second, score.run(second, key, *parents))
    assert row["reward"] == pytest.approx(reward)


# What is written


def test_every_row_says_whose_score_it_is(tmp_path: Path) -> None:
    context = build_context(tmp_path, score={"on_unparsed": "drop"})
    sample = build_sample_row(1, "grounding", BOX)
    samples = commit_samples(context.store, [sample])
    answers = build_candidate_rows(sample["prompt_id"], ["[0.2, 0.2, 0.6, 0.6]", "nowhere"])
    candidates = commit_candidates(context.store, samples, [answers])
    rows = read_rows(context, find_or_make(context, score, samples, candidates).artifact)
    for row, answer in zip(rows, answers, strict=True):
        assert row["sample_id"] == sample["sample_id"] and row["task"] == "grounding"
        for name in ("prompt_id", "index", "candidate_hash"):
            assert row[name] == answer[name]
    assert [row["rewards"] for row in rows] == [[("iou", 1.0)], []]


@pytest.mark.parametrize(
    ("on_unparsed", "kept", "dropped", "mean"),
    [("zero", 2, {}, {"grounding": 0.0}), ("drop", 0, {"unreadable answer": 2}, {})],
)
def test_a_task_of_unreadable_answers(
    tmp_path: Path, on_unparsed: str, kept: int, dropped: dict[str, int], mean: dict[str, float]
) -> None:
    """A mean of nothing is not told."""
    context = build_context(tmp_path, score={"on_unparsed": on_unparsed})
    sample = build_sample_row(1, "grounding", BOX)
    samples = commit_samples(context.store, [sample])
    rows = build_candidate_rows(sample["prompt_id"], ["nowhere", "here"])
    candidates = commit_candidates(context.store, samples, [rows])
    scores = find_or_make(context, score, samples, candidates).artifact
    assert (scores.counts.num_in, scores.counts.num_kept) == (2, kept)
    assert scores.counts.dropped == dropped and scores.mean_reward == mean


def test_the_artifact_says_what_it_was_made_of(tmp_path: Path) -> None:
    said: list[str] = []
    shown: list[tuple[float, float, str]] = []
    context = replace(
        build_context(tmp_path), log=said.append, progress=lambda *step: shown.append(step)
    )
    samples, candidates = build_parents(context)
    scores = find_or_make(context, score, samples, candidates).artifact
    assert scores.parents == as_parents(samples, candidates)
    assert scores.producer.seed == context.config.generate.seed and scores.producer.threads == 1
    assert 0 <= scores.seconds < 100 and scores.attempt == 0
    assert scores.policy_digests == [POLICY_DIGEST]
    assert scores.scoring_digest == score.compute_scoring_digest(context.config, context.policy)
    assert list(scores.mean_reward) == ["counting", "grounding", "ocr"]
    assert shown == [(1, 2, "shards"), (2, 2, "shards")]
    scored = "scores of 9 answers, 1 of them unreadable answers: "
    assert f"{scored}9 made, 0 taken over from earlier sets" in said
    forced = replace(context, force=True)
    again = find_or_make(forced, score, samples, candidates).artifact
    assert again.attempt == 1 and again.counts.num_reused == 0
