"""A prompt that the policy cannot take is counted and named, asked once, and ends nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from perpo_core.policy.encoding import encode_or_refuse, encode_prompt
from perpo_core.policy.prompts import Prompt
from perpo_core.policy.refusals import TOO_LONG, UNREADABLE, Refusal, load_refusals
from perpo_core.stages import evaluate, generate, materialize, score
from perpo_core.stages.collect.sources.digits import encode_png
from perpo_core.stages.generate.transformers_engine import TransformersEngine
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.stages.train.selection import SelectionReward
from perpo_core.store.keys import hash_folder
from schemas.artifact import CandidateSet, SampleSet
from schemas.run import PolicyRef, SampleFiles, SamplingJob
from tests.perpo_core.scripted import ScriptedEngine
from tests.perpo_core.small_store import (
    POLICY_DIGEST,
    build_context,
    build_sample_row,
    commit_samples,
)
from tests.perpo_core.stages.evaluate.test_evaluate import commit_checkpoint
from tests.perpo_core.stages.growing import build_setting, check_equal, count, refresh
from tests.perpo_core.tiny_processors import CHATS, build_processor

TRUTHS = [(number, 1) for number in range(7)]


def find_prompt(picture: int) -> str:
    return str(build_sample_row(picture, "counting", 1)["prompt_id"])


def refuse(monkeypatch: pytest.MonkeyPatch, *pictures: int, policy: str = POLICY_DIGEST) -> None:
    refused = {(policy, find_prompt(picture)) for picture in pictures}
    monkeypatch.setattr(ScriptedEngine, "refused", refused | set(ScriptedEngine.refused))


def read_dropped(context: StageContext, artifact: Any) -> list[dict[str, str]]:
    return pq.read_table(context.store.paths(artifact, "dropped")).to_pylist()


# What is refused


def build_prompt(size: tuple[int, int], words: int = 2) -> Prompt:
    content = [{"type": "image"}, {"type": "text", "text": "Where? " * words}]
    image = encode_png(Image.new("RGB", size, "white"))
    return Prompt("0" * 64, [{"role": "user", "content": content}], [image])


def test_a_prompt_without_room_for_an_answer_is_refused(processor):
    prompt = build_prompt((96, 96), words=5)
    length = len(encode_prompt(processor, prompt)[0])
    fits = encode_or_refuse(processor, prompt, length + 1)
    assert isinstance(fits, tuple) and len(fits[0]) == length
    for limit in (length, length - 1, 64):
        refusal = encode_or_refuse(processor, prompt, limit)
        assert refusal == Refusal(
            TOO_LONG, f"prompt and image take {length} tokens, policy.max_model_len is {limit}"
        )


@pytest.mark.parametrize(
    "chat", [chat for chat in CHATS if "qwen" in chat.family], ids=lambda chat: chat.family
)
def test_an_image_that_a_processor_refuses_is_refused_in_its_words(chat):
    processor = build_processor(chat, adds_bos=False)
    refusal = encode_or_refuse(processor, build_prompt((300, 1)), 4096)
    assert isinstance(refusal, Refusal) and refusal.reason == UNREADABLE
    assert "300x1 pixels" in refusal.detail and "smaller than 200, got 300" in refusal.detail
    assert not isinstance(encode_or_refuse(processor, build_prompt((200, 1)), 4096), Refusal)


def build_job(policy: PolicyRef, folder: Path, max_model_len: int) -> SamplingJob:
    context = build_context(folder, generate={"max_tokens": 12, "num_candidates": 2})
    changes = {"greedy": True, "max_model_len": max_model_len}
    return SamplingJob(
        request=generate.build_request(context.config).model_copy(update=changes),
        policy=policy, samples=SampleFiles(parts=[], packs=[]), key="0" * 64, attempt=0,
        folder=folder, threads=1, kv_cache_gb=1, gpu_memory_utilization=0.5, tensor_parallel=1,
    )  # fmt: skip


def test_an_engine_refuses_one_prompt_and_answers_the_others_as_without_it(
    policy, processor, tmp_path
):
    prompts = [build_prompt((96, 96), words) for words in (1, 40, 3)]
    prompts = [replace(p, prompt_id=str(n) * 64) for n, p in enumerate(prompts)]
    lengths = [len(encode_prompt(processor, prompt)[0]) for prompt in prompts]
    limit = lengths[2] + 5
    engine = TransformersEngine(build_job(policy, tmp_path, limit))
    first, refusal, last = dict(engine.sample(iter(prompts))).values()
    assert isinstance(refusal, Refusal) and refusal.reason == TOO_LONG
    others = engine.sample(iter([prompts[0], prompts[2]]))
    assert [first, last] == [outcome for _, outcome in others]
    for length, answers in zip((lengths[0], lengths[2]), (first, last), strict=True):
        assert isinstance(answers, list) and [answer.index for answer in answers] == [-1, 0, 1]
        assert all(len(answer.token_ids) <= limit - length for answer in answers)


# What becomes of it


def test_it_is_counted_and_named_and_its_rows_are_left_out(tmp_path, asked, monkeypatch):
    refuse(monkeypatch, 1, 5)
    messages: list[str] = []
    context = replace(build_setting(tmp_path), log=messages.append)
    candidates, scores = refresh(context, [*TRUTHS, (5, 2)])
    assert candidates.counts.num_in == candidates.num_prompts == 7
    assert candidates.counts.num_kept == 5 and candidates.counts.dropped == {TOO_LONG: 2}
    assert candidates.num_candidates == 20 and count(candidates) == (5, 0)
    assert [row["id"] for row in read_dropped(context, candidates)] == [
        find_prompt(1), find_prompt(5)
    ]  # fmt: skip
    assert load_refusals(context.store, candidates).keys() == {find_prompt(1), find_prompt(5)}
    assert scores.counts.num_in == 20
    assert any(m.startswith("warning: 2 of 7 prompts got no answers") for m in messages)


def test_without_refusals_there_is_no_list_of_them(tmp_path, asked):
    candidates, _ = refresh(build_setting(tmp_path), TRUTHS)
    assert [Path(file.path).suffix for file in candidates.files] == [".parquet"] * 3
    assert all(file.path.startswith("part-") for file in candidates.files)
    assert candidates.counts.dropped == {}


def test_it_is_not_asked_again_when_the_data_grows_or_the_run_resumes(tmp_path, asked, monkeypatch):
    refuse(monkeypatch, 1, 5)
    context = build_setting(tmp_path)
    refresh(context, TRUTHS)
    assert sum(map(len, asked)) == 7
    asked.clear()
    grown = refresh(context, [(9, 1), *TRUTHS])
    assert asked == [[find_prompt(9)]], "only the new prompt"
    assert grown[0].counts.dropped == {TOO_LONG: 2} and count(grown[0]) == (1, 5)
    straight = build_setting(tmp_path / "straight")
    check_equal(context, grown, straight, refresh(straight, [(9, 1), *TRUTHS]))

    asked.clear()
    corrected = refresh(context, [(5, 3), *TRUTHS[:5]])  # another truth of a refused prompt
    assert asked == [] and corrected[0].counts.dropped == {TOO_LONG: 2}

    asked.clear()
    context.store.folder("candidates", grown[0].key).joinpath("artifact.json").unlink()
    again = refresh(context, [(9, 1), *TRUTHS])
    assert asked == [] and again[0].digest == grown[0].digest, "its shards are there"


def test_another_policy_is_asked_anew(tmp_path, asked, monkeypatch):
    refuse(monkeypatch, 1)
    context = build_setting(tmp_path)
    refresh(context, TRUTHS)
    asked.clear()
    other = replace(context, policy=PolicyRef(digest="1" * 64, folder=tmp_path))
    candidates, _ = refresh(other, TRUTHS)
    assert sum(map(len, asked)) == 7 and candidates.counts.dropped == {}


def test_what_an_older_policy_refused_does_not_come_with_its_answers(tmp_path, asked, monkeypatch):
    older, newer = "1" * 64, "2" * 64
    monkeypatch.setattr(generate, "find_older_policies", lambda store, digest, age: [older])
    context = build_context(tmp_path, generate={"num_candidates": 4, "processes": 1})
    refuse(monkeypatch, 1, policy=older)
    rows = [build_sample_row(picture, "counting", 1) for picture, _ in TRUTHS]
    samples = commit_samples(context.store, rows)
    first = replace(context, policy=PolicyRef(digest=older, folder=tmp_path))
    assert find_or_make(first, generate, samples).artifact.counts.dropped == {TOO_LONG: 1}
    asked.clear()
    second = replace(context, policy=PolicyRef(digest=newer, folder=tmp_path))
    candidates = find_or_make(second, generate, samples).artifact
    assert asked == [[find_prompt(1)]], "the others' answers are taken over, this one is asked"
    assert candidates.counts.dropped == {} and candidates.counts.num_kept == 7
    assert candidates.prompts_per_policy == {older: 6, newer: 1}


def test_where_every_prompt_is_refused_the_error_says_why(tmp_path, asked, monkeypatch):
    refuse(monkeypatch, *range(7))
    context = build_setting(tmp_path)
    with pytest.raises(
        ValueError, match=r"7 of 7 prompts got no .* take 99 tokens; .*max_model_len"
    ):
        refresh(context, TRUTHS)


def test_a_shard_may_be_refused_whole(tmp_path, asked, monkeypatch):
    refuse(monkeypatch, 0, 1, 2)
    candidates, scores = refresh(build_setting(tmp_path), TRUTHS)
    assert [file.num_rows for file in candidates.files] == [0, 12, 4, 3]
    assert scores.counts.num_kept == 16


def test_its_samples_are_dropped_from_the_lists_with_the_reason(tmp_path, asked, monkeypatch):
    refuse(monkeypatch, 1)
    context = build_context(
        tmp_path, generate={"num_candidates": 4, "shard_prompts": 3},
        lists={"min_gap": {"counting": 0.0}},
    )  # fmt: skip
    samples, candidates, scores = make_scored(context, [*TRUTHS, (1, 2)])
    preferences = find_or_make(context, materialize, samples, candidates, scores).artifact
    assert preferences.counts.dropped[TOO_LONG] == 2
    assert preferences.counts.num_in == 8
    named = [row for row in read_dropped(context, preferences) if row["reason"] == TOO_LONG]
    assert len(named) == 2 and "99 tokens" in named[0]["detail"]


def make_scored(
    context: StageContext, truths: Iterable[tuple[int, int]]
) -> tuple[SampleSet, CandidateSet, Any]:
    rows = [build_sample_row(picture, "counting", truth) for picture, truth in truths]
    samples = commit_samples(context.store, rows)
    candidates = find_or_make(context, generate, samples).artifact
    return samples, candidates, find_or_make(context, score, samples, candidates).artifact


def test_what_one_policy_refuses_is_compared_for_neither(tmp_path, policy, asked, monkeypatch):
    context = build_context(tmp_path, evaluate={"num_samples": 2, "bootstrap_resamples": 100})
    context = replace(context, policy=policy)
    rows = [build_sample_row(n, "counting", 1, "test") for n in range(6)]
    rows += [build_sample_row(n, "counting", 1, "validation") for n in range(6, 9)]
    samples = commit_samples(context.store, rows)
    checkpoint = commit_checkpoint(context, policy.folder, "trained")
    refuse(monkeypatch, 1, policy=policy.digest)
    trained = hash_folder(context.store.path(checkpoint, "model"))
    refuse(monkeypatch, 4, 7, policy=trained)
    report = find_or_make(context, evaluate, samples, checkpoint).artifact
    assert report.metrics["counting"]["greedy_reward"].n == 4
    assert report.validation["counting"]["greedy_reward"].n == 2
    assert report.counts.num_kept == 6 * 2 * 3 and report.counts.dropped == {TOO_LONG: 3 * 2 * 3}
    assert {row["id"] for row in read_dropped(context, report)} == {
        rows[number]["sample_id"] for number in (1, 4, 7)
    }


def test_a_selection_prompt_that_is_too_long_chooses_nothing(trainable, processor):
    context, samples, _ = trainable
    files = list_sample_files(context.store, samples)
    short = context.config.model_copy(
        update={"policy": context.config.policy.model_copy(update={"max_model_len": 80})}
    )
    everything = SelectionReward(files, processor, context.config, context.policy.folder)
    few = SelectionReward(files, processor, short, context.policy.folder)
    assert not everything.refusals
    assert 0 < len(few.refusals) < len(everything)
    assert len(few) + len(few.refusals) == len(everything)
