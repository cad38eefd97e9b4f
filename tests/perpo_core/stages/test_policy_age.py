"""Answers of policies that were promoted not long ago: which count, and what must not take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from perpo_core.promotion.pointer import Pointer
from perpo_core.stages import generate, materialize, score, train
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train.sampled_by import check_sampled_by
from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_candidate_hash, compute_hash
from perpo_core.store.provenance import utc_now
from schemas.run import PolicyRef
from tests.perpo_core.small_store import POLICY_DIGEST, build_context
from tests.perpo_core.stages.growing import build_setting, commit, count, read_rows, refresh


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
    check_sampled_by(context.policy, context.store.paths(preferences))
    other = replace(context, policy=PolicyRef(digest=compute_hash("b"), folder=tmp_path))
    with pytest.raises(ValueError, match=r"2 of 2 lists hold answers of another policy .*computed"):
        find_or_make(other, train, samples, preferences)
