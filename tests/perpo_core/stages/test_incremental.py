"""A sample set that changes costs what changed, and comes out as if it were fresh."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.process.parent import ChildFailed
from perpo_core.stages import collect, evaluate, generate, score
from perpo_core.stages.generate import sampling
from perpo_core.stages.generate.identity import compute_candidates_key
from perpo_core.stages.generate.sampling import make_candidates
from perpo_core.stages.stage import find_or_make
from perpo_core.store.keys import compute_hash
from perpo_core.vision import images
from tests.perpo_core import scripted
from tests.perpo_core.cases import make_row, write_source
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.growing import (
    GENERATE,
    Truths,
    build_setting,
    check_equal,
    commit,
    count,
    read_rows,
    refresh,
)


def test_a_tenth_new_and_a_twentieth_corrected_cost_a_tenth_and_three_twentieths(tmp_path, asked):
    messages: list[str] = []
    context = replace(build_setting(tmp_path), log=messages.append)
    before = [(number, 1) for number in range(18)]
    first_candidates, first_scores = refresh(context, before)
    assert count(first_candidates) == (18, 0) and count(first_scores) == (72, 0)
    assert [len(call) for call in asked] == [18]
    asked.clear()

    now = [(18, 1), *before[:9], (9, 2), *before[10:], (19, 1)]
    candidates, scores = refresh(context, now)
    assert count(candidates) == (2, 18)  # 10% of 20 prompts
    assert count(scores) == (12, 68)  # 15% of 20 samples, 4 answers each
    assert "answers to 20 prompts: 2 sampled, 18 taken over from earlier sets" in messages
    assert messages[-1].endswith("12 made, 68 taken over from earlier sets")
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
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    context = build_setting(tmp_path)
    refresh(context, [(number, 1) for number in range(4)])
    samples = commit(context, [(number, 1) for number in range(12)])
    key = generate.compute_key(context.config, context.policy, samples)
    folder = context.store.folder("candidates", key)
    monkeypatch.setenv(scripted.KILL_AFTER, "2")  # what the second shard lacks
    with pytest.raises(ChildFailed, match="SIGKILL"):
        find_or_make(context, generate, samples)
    assert len(list(folder.glob("*.parquet"))) == 1  # sampled; the other is shared
    assert context.store.load("candidates", key) is None
    monkeypatch.delenv(scripted.KILL_AFTER)
    candidates = find_or_make(context, generate, samples).artifact
    assert count(candidates) == (8, 4)
    prompt_ids = scripted.read_asked(folder)
    assert len(prompt_ids) == len(set(prompt_ids)) == 8, "none was asked twice"
    fresh = build_setting(tmp_path / "fresh")
    straight, _ = refresh(fresh, [(number, 1) for number in range(12)])
    assert straight.digest == candidates.digest


def test_samples_of_an_earlier_version_hand_their_answers_and_scores_on(
    tmp_path, asked, monkeypatch
):
    """Splits and image ids were another; prompts and samples are known by what they were."""
    rows = [make_row(image=f"images/{n}.png", split="train" if n < 5 else None) for n in range(20)]
    source = write_source(tmp_path / "data", rows, num_images=20)
    context = build_context(tmp_path, source=source.model_dump(), generate=GENERATE)
    with monkeypatch.context() as earlier:
        earlier.setattr(collect, "VERSION", collect.VERSION - 1)
        earlier.setattr(collect, "LOOKING_VERSION", collect.LOOKING_VERSION - 1)
        earlier.setattr(images, "hash_pixels", lambda image: compute_hash(image.tobytes().hex()))
        old, _ = _collect_and_score(context)
    asked.clear()
    samples, (candidates, scores) = _collect_and_score(context)
    assert samples.key != old.key and samples.digest != old.digest
    before, now = (_read_training_prompts(context, each) for each in (old, samples))
    assert before != now and before & now
    assert count(candidates) == (len(now - before), len(now & before))
    assert count(scores) == (4 * len(now - before), 4 * len(now & before))
    assert {prompt_id for call in asked for prompt_id in call} == now - before


def _collect_and_score(context):
    samples = find_or_make(context, collect).artifact
    candidates = find_or_make(context, generate, samples).artifact
    return samples, (candidates, find_or_make(context, score, samples, candidates).artifact)


def _read_training_prompts(context, samples):
    table = pq.read_table(context.store.paths(samples), filters=[("split", "==", "train")])
    return set(table["prompt_id"].to_pylist())


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
    alone = request.model_copy(update={"splits": ["test"]})
    key = compute_candidates_key(alone, context.policy, samples)
    assert count(make_candidates(context, key, alone, context.policy, samples)) == (0, 7)
