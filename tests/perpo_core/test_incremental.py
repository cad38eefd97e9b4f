"""A sample set that changes costs what changed, and comes out as if it were fresh."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core import evaluate, generate, materialize, score, train
from perpo_core.generate import sampling
from perpo_core.generate.identity import compute_candidates_key
from perpo_core.generate.sampling import make_candidates
from perpo_core.keys import compute_candidate_hash, compute_hash
from perpo_core.process import ChildFailed
from perpo_core.promote import Pointer
from perpo_core.stage import StageContext, find_or_make, utc_now
from perpo_core.store import write_atomic
from perpo_core.train.sampled_by import check_sampled_by
from schemas.artifact import CandidateSet, SampleSet, ScoredSet
from schemas.base import Split
from schemas.run import PolicyRef
from tests.perpo_core import scripted
from tests.perpo_core.small_store import (
    POLICY_DIGEST,
    build_context,
    build_sample_row,
    commit_samples,
)

GENERATE = {"num_candidates": 4, "shard_prompts": 3, "processes": 1}
Truths = Sequence[tuple[int, int]]
"""Picture and count of every sample; samples of one picture share their prompt."""


@pytest.fixture
def asked() -> Iterator[list[list[str]]]:
    """The prompts that engines are asked, by call."""
    with pytest.MonkeyPatch.context() as patch:
        yield scripted.sample_here(patch)


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


def test_a_tenth_new_and_a_twentieth_corrected_cost_a_tenth_and_three_twentieths(tmp_path, asked):
    messages: list[str] = []
    context = replace(build_setting(tmp_path), log=messages.append)
    before = [(number, 1) for number in range(18)]
    first_candidates, first_scores = refresh(context, before)
    assert count(first_candidates) == (18, 0) and count(first_scores) == (72, 0)
    assert [len(call) for call in asked] == [3] * 6
    asked.clear()

    now = [(18, 1), *before[:9], (9, 2), *before[10:], (19, 1)]
    candidates, scores = refresh(context, now)
    assert count(candidates) == (2, 18)  # 10% of 20 prompts
    assert count(scores) == (12, 68)  # 15% of 20 samples, 4 answers each
    assert "answers to 20 prompts: 2 sampled, 18 taken over from earlier sets" in messages
    assert [len(call) for call in asked] == [2], "new prompts of different shards go together"

    fresh = build_setting(tmp_path / "fresh")
    straight = refresh(fresh, now)
    check_equal(context, (candidates, scores), fresh, straight)
    assert count(straight[0]) == (20, 0) and count(straight[1]) == (80, 0)

    asked.clear()
    samples = commit(context, now)
    assert find_or_make(context, generate, samples).reused
    assert find_or_make(context, score, samples, candidates).reused
    assert asked == []


truths = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)), min_size=1, unique=True)


@settings(max_examples=30, deadline=None)
@given(st.lists(truths, min_size=2, max_size=5), st.integers(1, 4))
def test_after_any_changes_the_rows_are_those_of_a_fresh_store(
    rounds: list[Truths], shard_prompts: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        asked = scripted.sample_here(patch)
        context = build_setting(Path(folder) / "kept", shard_prompts=shard_prompts)
        known: set[tuple[int, int]] = set()
        for now in rounds:
            asked.clear()
            candidates, scores = refresh(context, now)
            new_pictures = {p for p, _ in now} - {p for p, _ in known}
            assert sum(len(call) for call in asked) == len(new_pictures)
            known |= set(now)
        fresh = build_setting(Path(folder) / "fresh", shard_prompts=shard_prompts)
        check_equal(context, (candidates, scores), fresh, refresh(fresh, rounds[-1]))


def test_what_changes_an_answer_or_a_score_is_not_taken_over(tmp_path, asked):
    truths = [(number, 1) for number in range(4)]
    refresh(build_setting(tmp_path), truths)
    candidates, scores = refresh(build_setting(tmp_path, shard_prompts=2), truths)
    assert count(candidates) == (0, 4) and count(scores) == (0, 16)
    for other in ({"temperature": 0.5}, {"num_candidates": 5}, {"seed": 1}, {"max_tokens": 9}):
        assert count(refresh(build_setting(tmp_path, **other), truths)[0]) == (4, 0)
    context = build_setting(tmp_path)
    sections = context.config.model_copy(
        update={"score": context.config.score.model_copy(update={"counting": "exact_match"})}
    )
    assert count(refresh(replace(context, config=sections), truths)[1]) == (16, 0)
    assert count(refresh(replace(context, force=True), truths)[0]) == (4, 0)
    assert count(refresh(replace(context, force=True), truths)[1]) == (16, 0)


def test_damaged_sets_are_not_taken_from_and_older_ones_are(tmp_path, asked):
    messages: list[str] = []
    context = replace(build_setting(tmp_path), log=messages.append)
    refresh(context, [(0, 1), (1, 1)])
    newer = refresh(context, [(number, 1) for number in range(4)])
    for artifact in newer:
        path = context.store.paths(artifact)[0]
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
    asked.clear()
    candidates, scores = refresh(context, [(number, 1) for number in range(5)])
    assert count(candidates) == (3, 2) and count(scores) == (12, 8)
    assert sum(len(call) for call in asked) == 3
    assert sum("nothing is taken from it" in message for message in messages) >= 2


def test_rows_taken_over_are_what_was_there(tmp_path, asked):
    """On a GPU the same prompt may be answered differently, so the old rows must come, whole."""
    context = build_setting(tmp_path)
    first, _ = refresh(context, [(0, 1), (1, 1)])
    [path] = context.store.paths(first)
    table = pq.read_table(path)
    logps = table["logp"].to_pylist()
    second, _ = refresh(context, [(2, 1), (1, 1), (0, 1)])
    rows = read_rows(context, second)
    by_key = {(row["prompt_id"], row["index"]): row for row in rows}
    assert len(by_key) == len(rows) == 12 and len(logps) == 8
    for row in table.to_pylist():
        assert by_key[row["prompt_id"], row["index"]] == row


def test_killed_in_the_midst_of_growing_it_resumes_with_what_it_had(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "CHILD", scripted.MODULE)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    context = build_setting(tmp_path)
    refresh(context, [(number, 1) for number in range(4)])
    samples = commit(context, [(number, 1) for number in range(12)])
    key = generate.compute_key(context.config, context.policy, samples)
    folder = context.store.folder("candidates", key)
    monkeypatch.setenv(scripted.KILL_AFTER, "1")
    with pytest.raises(ChildFailed, match="SIGKILL"):
        find_or_make(context, generate, samples)
    assert len(list(folder.glob("*.parquet"))) == 2  # one copied, one sampled
    assert context.store.load("candidates", key) is None
    monkeypatch.delenv(scripted.KILL_AFTER)
    candidates = find_or_make(context, generate, samples).artifact
    assert count(candidates) == (8, 4)
    calls = scripted.read_asked(folder)
    assert sorted(len(call) for call in calls) == [2, 3, 3]
    assert len({prompt_id for call in calls for prompt_id in call}) == 8, "none was asked twice"
    fresh = build_setting(tmp_path / "fresh")
    straight, _ = refresh(fresh, [(number, 1) for number in range(12)])
    assert straight.digest == candidates.digest


def test_held_out_prompts_are_taken_over_too(tmp_path, asked):
    context = build_setting(tmp_path)
    request = evaluate.build_request(context.config)
    for number, expected in ((5, (5, 0)), (7, (2, 5))):
        samples = commit(context, [(picture, 1) for picture in range(number)], split="test")
        key = compute_candidates_key(request, context.policy, samples)
        made = make_candidates(context, key, request, context.policy, samples)
        assert count(context.store.commit(made)) == expected
        rows = read_rows(context, made)
        assert len(rows) == number * (1 + request.num_candidates)
        assert {row["index"] for row in rows} == set(range(-1, request.num_candidates))


# Older policies


def write_history(store: Path, digests: Sequence[str]) -> None:
    """These policies were promoted, one after the other."""
    moves = [
        Pointer(policy_digest=digest, folder="", checkpoint_key=digest, promotion_key=digest,
                at=utc_now())
        for digest in digests
    ]  # fmt: skip
    lines = "".join(move.model_dump_json() + "\n" for move in moves)
    write_atomic(store / "promoted" / "history.jsonl", lines.encode())


def test_young_enough_policies_answers_keep_their_policy(tmp_path, asked):
    older, newer = (
        PolicyRef(digest=digest, folder=tmp_path) for digest in (POLICY_DIGEST, compute_hash("b"))
    )
    write_history(tmp_path / "store", [older.digest, newer.digest])
    strict, lenient = build_setting(tmp_path), build_setting(tmp_path, max_policy_age=1)
    refresh(replace(strict, policy=older), [(0, 1), (1, 1)])

    context = replace(lenient, policy=newer)
    mixed, scores = refresh(context, [(0, 1), (1, 1), (2, 1)])
    assert count(mixed) == (1, 2) and count(scores) == (4, 8)
    assert mixed.prompts_per_policy == {older.digest: 2, newer.digest: 1}
    assert scores.policy_digests == sorted([older.digest, newer.digest])
    for row in read_rows(context, mixed):
        assert row["candidate_hash"] == compute_candidate_hash(
            row["policy_digest"], row["prompt_id"], row["token_ids"]
        )

    onpolicy, _ = refresh(replace(strict, policy=newer), [(0, 1), (1, 1), (2, 1)])
    assert count(onpolicy) == (2, 1), "strictly on-policy takes its own answers of a mixed set"
    assert onpolicy.prompts_per_policy == {newer.digest: 3}
    grown, _ = refresh(context, [(number, 1) for number in range(4)])
    assert grown.prompts_per_policy == {newer.digest: 4}, "its own answers before older ones"


def test_a_policy_too_old_is_not_taken_from_and_the_key_says_which_are_young_enough(
    tmp_path, asked
):
    digests = [compute_hash(name) for name in "abc"]
    first, _, last = (PolicyRef(digest=digest, folder=tmp_path) for digest in digests)
    write_history(tmp_path / "store", digests)
    truths = [(0, 1), (1, 1)]
    refresh(replace(build_setting(tmp_path), policy=first), truths)
    by_age = {
        age: replace(build_setting(tmp_path, max_policy_age=age), policy=last) for age in (0, 1, 2)
    }
    samples = commit(by_age[0], truths)
    keys = {generate.compute_key(each.config, last, samples) for each in by_age.values()}
    assert len(keys) == 3
    assert count(refresh(by_age[2], truths)[0]) == (0, 2)
    assert count(refresh(by_age[1], truths)[0]) == (2, 0)
    assert count(refresh(by_age[0], truths)[0]) == (0, 2), "its own answers, from age 1"


def test_training_refuses_samplers_log_probabilities_of_another_policy(tmp_path, asked):
    context = build_setting(tmp_path)
    samples = commit(context, [(0, 1), (1, 1)])
    candidates = find_or_make(context, generate, samples).artifact
    scores = find_or_make(context, score, samples, candidates).artifact
    lists = {"lists": {"min_gap": {"counting": 0.0}}}
    config = build_context(tmp_path, **lists, train={"reference_logps": "sampled"}).config
    context = replace(context, config=config)
    preferences = find_or_make(context, materialize, samples, candidates, scores).artifact
    check_sampled_by(context.policy, context.store.path(preferences, "preferences.parquet"))
    other = replace(context, policy=PolicyRef(digest=compute_hash("b"), folder=tmp_path))
    with pytest.raises(ValueError, match=r"2 of 2 lists hold answers of another policy .*computed"):
        find_or_make(other, train, samples, preferences)
