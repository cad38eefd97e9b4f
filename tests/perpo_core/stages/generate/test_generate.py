"""Sampling: what is asked, what comes out, and that interruptions and processes do not show."""

from __future__ import annotations

import gzip
import json
import threading
from contextvars import ContextVar
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from perpo_core.policy.banned import find_banned_ids
from perpo_core.policy.encoding import encode_prompt
from perpo_core.policy.loading import load_policy
from perpo_core.policy.prompts import Prompt, iter_prompts
from perpo_core.process.parent import ChildFailed
from perpo_core.stages import collect, generate
from perpo_core.stages.generate import sampling
from perpo_core.stages.generate.identity import compute_candidates_key
from perpo_core.stages.generate.preparing import AHEAD
from perpo_core.stages.generate.sampling import make_candidates
from perpo_core.stages.generate.transformers_engine import TransformersEngine
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.stages.train.logps import compute_token_logps
from perpo_core.stages.train.packing import Branch, PackableList, pack_lists
from perpo_core.store.keys import compute_candidate_hash
from schemas.artifact import CandidateSet, SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, SampleFiles, SamplingJob, SamplingRequest
from tests.perpo_core.processes import find_children, wait_for_children
from tests.perpo_core.recording_child import (
    FINISHED,
    GREEDY,
    PROMPT_IDS_FILE,
    SAMPLED,
    TAKEN,
    read_events,
)
from tests.perpo_core.small_store import build_context

SOURCE = {
    "kind": "digits",
    "train": {"grounding": 14, "ocr": 5, "counting": 5},
    "selection": {},
    "validation": {"grounding": 2, "ocr": 1, "counting": 1},
    "test": {"grounding": 2},
}
GENERATE = {"num_candidates": 3, "max_tokens": 12, "shard_prompts": 8, "processes": 1}
NUM_PROMPTS, NUM_SHARDS = 24, 3
HALF = "\ufffd"  # bytes that make no character; at the end of an answer vLLM waits for the rest


def build_setting(root: Path, policy: PolicyRef, **settings: Any) -> tuple[StageContext, SampleSet]:
    """A context with that policy, and collected samples."""
    context = build_context(root, source=SOURCE, generate=GENERATE | settings)
    context = replace(context, policy=policy)
    return context, find_or_make(context, collect).artifact


def read_rows(context: StageContext, candidates: CandidateSet) -> list[dict[str, Any]]:
    paths = context.store.paths(candidates)
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def find_prompts(context: StageContext, samples: SampleSet) -> list[Prompt]:
    return list(iter_prompts(list_sample_files(context.store, samples), ["train"]))


def test_the_key_covers_what_is_sampled_and_not_how(tmp_path, policy):
    context, samples = build_setting(tmp_path, policy)

    def key_of(**settings: Any) -> str:
        other = build_context(tmp_path, source=SOURCE, generate=GENERATE | settings)
        return generate.compute_key(other.config, policy, samples)

    same: list[Any] = [{"processes": 4}, {"threads": 3}, {"kv_cache_gb": 2}, {"tensor_parallel": 2}]
    other: list[Any] = [{"num_candidates": 4}, {"temperature": 0.5}, {"top_p": 0.9},
                        {"max_tokens": 13}, {"seed": 1}, {"engine": "transformers"},
                        {"shard_prompts": 9}]  # fmt: skip
    base = generate.compute_key(context.config, policy, samples)
    assert {key_of(**settings) for settings in same} == {base}
    assert len({base, *(key_of(**settings) for settings in other)}) == 1 + len(other)
    moved = PolicyRef(digest=policy.digest, folder=tmp_path)
    assert generate.compute_key(context.config, moved, samples) == base


@pytest.fixture(scope="session")
def sampled(tmp_path_factory, policy):
    """One vLLM session over 24 prompts, greedy answers included: (context, samples, candidates)."""
    context, samples = build_setting(tmp_path_factory.mktemp("sampled"), policy)
    context = replace(context, profile=context.store.root / "profiles")
    request = generate.build_request(context.config).model_copy(update={"greedy": True})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "CHILD", "tests.perpo_core.recording_child")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
        key = compute_candidates_key(request, policy, samples)
        candidates = context.store.commit(make_candidates(context, key, request, policy, samples))
    return context, samples, candidates


def test_every_prompt_gets_a_greedy_answer_and_the_samples(sampled, processor, policy):
    context, samples, candidates = sampled
    rows = read_rows(context, candidates)
    prompts = [prompt.prompt_id for prompt in find_prompts(context, samples)]
    assert [(row["prompt_id"], row["index"]) for row in rows] == [
        (prompt, index) for prompt in prompts for index in (-1, 0, 1, 2)
    ]
    assert (candidates.num_prompts, candidates.num_candidates) == (NUM_PROMPTS, 4 * NUM_PROMPTS)
    assert candidates.num_tokens == sum(len(row["token_ids"]) for row in rows)
    assert len(candidates.files) == NUM_SHARDS
    banned = set(find_banned_ids(processor.tokenizer))
    for row in rows:
        assert len(row["token_ids"]) == len(row["token_logps"]) <= GENERATE["max_tokens"]
        assert row["logp"] == pytest.approx(sum(row["token_logps"]), rel=1e-6)
        assert not banned & set(row["token_ids"])
        assert (row["token_ids"][-1] == processor.tokenizer.eos_token_id) == (
            row["finish_reason"] == "stop"
        )
        ids = row["token_ids"]
        text = processor.tokenizer.decode(ids, skip_special_tokens=True)
        assert row["text"] == text.rstrip(HALF)
        assert row["candidate_hash"] == compute_candidate_hash(policy.digest, row["prompt_id"], ids)
    assert len({row["text"] for row in rows}) > NUM_PROMPTS  # the policy has something to say
    assert {row["finish_reason"] for row in rows} == {"stop", "length"}


def test_vllm_and_the_trainer_agree_on_prompt_ids(sampled, processor):
    context, samples, candidates = sampled
    folder = context.store.folder(candidates.kind, candidates.key)
    lines = (folder / PROMPT_IDS_FILE).read_text().splitlines()
    seen = {tuple(json.loads(line)) for line in lines}
    ours = {tuple(encode_prompt(processor, prompt)[0]) for prompt in find_prompts(context, samples)}
    assert seen == ours
    assert len(lines) == 2 * NUM_PROMPTS  # sampled and greedy


def test_the_next_shards_are_in_flight_before_the_last_answers_of_the_present_one(sampled):
    context, samples, candidates = sampled
    events = read_events(context.store.folder(candidates.kind, candidates.key))
    prompts = [prompt.prompt_id for prompt in find_prompts(context, samples)]
    place = {event: number for number, event in enumerate(events)}
    size = GENERATE["shard_prompts"]
    shards = [prompts[start : start + size] for start in range(0, NUM_PROMPTS, size)]
    for shard, following in pairwise(shards):
        last = max(place[FINISHED, prompt_id] for prompt_id in shard)
        assert place[SAMPLED, following[0]] < last
    assert all(place[SAMPLED, i] == place[GREEDY, i] + 1 for i in prompts), "together"
    assert [i for what, i in events if what == TAKEN] == prompts
    taken, admitted = (
        [sum(what == kind for what, _ in events[: place[SAMPLED, i]]) for i in prompts]
        for kind in (TAKEN, SAMPLED)
    )
    assert max(t - a for t, a in zip(taken, admitted, strict=True)) == AHEAD + 1, "and no more"


def test_a_profile_lies_where_it_was_asked_for_and_in_no_artifact(sampled, policy):
    context, samples, candidates = sampled
    [trace] = (context.store.root / "profiles").glob("*.pt.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert any("aten::" in event.get("name", "") for event in events)
    assert all(file.path.startswith("part-") for file in candidates.files)
    plain = replace(context, profile=None)
    asked = [generate.compute_key(each.config, policy, samples) for each in (context, plain)]
    assert asked[0] == asked[1]


def test_vllm_and_the_trainer_agree_on_log_probabilities(sampled, policy):
    """Every sampled token of every prompt, packed, float32: 1e-4 nats."""
    context, samples, candidates = sampled
    model, processor = load_policy(policy.folder, "float32")
    rows = read_rows(context, candidates)
    for prompt in find_prompts(context, samples)[::3]:
        mine = [row for row in rows if row["prompt_id"] == prompt.prompt_id]
        ids, vision = encode_prompt(processor, prompt)
        branches = [Branch(row["token_ids"]) for row in mine]
        packed = pack_lists([PackableList(ids, branches, vision)], processor.tokenizer.pad_token_id)
        with torch.no_grad():
            logps_M = compute_token_logps(model, packed)
        theirs_M = torch.tensor([logp for row in mine for logp in row["token_logps"]])
        assert theirs_M.std() > 0.5
        assert (logps_M - theirs_M).abs().max() < 1e-4


def build_job(
    request: SamplingRequest, policy: PolicyRef, files: SampleFiles, key: str, folder: Path
) -> SamplingJob:
    return SamplingJob(
        request=request, policy=policy, samples=files, key=key, attempt=0,
        folder=folder, threads=1, kv_cache_gb=1, gpu_memory_utilization=0.5, tensor_parallel=1,
    )  # fmt: skip


def test_vllm_and_transformers_agree_on_greedy_answers(sampled, policy, tmp_path):
    context, samples, candidates = sampled
    request = generate.build_request(context.config).model_copy(
        update={"greedy": True, "num_candidates": 1}
    )
    files = list_sample_files(context.store, samples)
    engine = TransformersEngine(build_job(request, policy, files, candidates.key, tmp_path))
    prompts = find_prompts(context, samples)[:6]
    theirs = {row["prompt_id"]: row for row in read_rows(context, candidates) if row["index"] == -1}
    mine = dict(engine.sample(iter(prompts)))
    assert list(mine) == [prompt.prompt_id for prompt in prompts]
    for prompt_id, answers in mine.items():
        row = theirs[prompt_id]
        assert isinstance(answers, list)
        greedy = answers[0]
        assert (greedy.index, greedy.seed) == (-1, row["seed"])
        assert greedy.token_ids == row["token_ids"]
        assert greedy.text.rstrip(HALF) == row["text"]
        assert greedy.finish_reason == row["finish_reason"]
        assert greedy.token_logps == pytest.approx(row["token_logps"], abs=1e-4)


engines = pytest.mark.parametrize(
    "engine", ["transformers", pytest.param("vllm", marks=pytest.mark.slow)]
)


@pytest.mark.slow
@engines
def test_damaged_shards_are_made_again_by_two_processes_and_come_out_the_same(
    tmp_path, policy, engine
):
    context, samples = build_setting(tmp_path, policy, engine=engine)
    first = find_or_make(context, generate, samples)
    paths = context.store.paths(first.artifact)
    whole = [path.read_bytes() for path in paths]
    times = [path.stat().st_mtime_ns for path in paths]
    paths[1].unlink()  # deleted
    paths[2].write_bytes(whole[2][:-1] + bytes([whole[2][-1] ^ 1]))  # one bit

    messages: list[str] = []
    done: list[tuple[Any, ...]] = []
    caller = ContextVar("caller", default="nobody")
    caller.set("the test")

    def progress(*args: Any) -> None:
        done.append(args)
        assert caller.get() == "the test"  # a Prefect task finds its run by such variables

    context, samples = build_setting(tmp_path, policy, engine=engine, processes=2)
    context = replace(context, log=messages.append, progress=progress)
    again = find_or_make(context, generate, samples)
    assert any("1 of 3 shards" in message for message in messages)
    assert not again.reused
    assert again.artifact.digest == first.artifact.digest
    assert [path.read_bytes() for path in paths] == whole
    assert paths[0].stat().st_mtime_ns == times[0]
    assert done == [(number, NUM_PROMPTS, "prompts") for number in (8, 16, 24)]
    assert find_or_make(context, generate, samples).reused


@pytest.mark.slow
@engines
def test_the_greedy_answer_alone_is_the_one_beside_samples(tmp_path, policy, engine):
    context, samples = build_setting(tmp_path, policy, engine=engine)

    def answer(number: int) -> list[dict[str, Any]]:
        request = generate.build_request(context.config)
        request = request.model_copy(update={"greedy": True, "num_candidates": number})
        key = generate.compute_candidates_key(request, policy, samples)
        made = make_candidates(context, key, request, policy, samples)
        assert made.num_candidates == NUM_PROMPTS * (1 + number)
        return read_rows(context, context.store.commit(made))

    beside = [row for row in answer(2) if row["index"] == -1]
    for alone, other in zip(answer(0), beside, strict=True):
        assert {**alone, "token_logps": None, "logp": None} == {
            **other, "token_logps": None, "logp": None,
        }  # fmt: skip
        assert alone["token_logps"] == pytest.approx(other["token_logps"], abs=1e-5)


def test_no_answer_is_no_request() -> None:
    request = generate.build_request(RefreshConfig())
    with pytest.raises(ValueError, match="asks for no answer"):
        SamplingRequest.model_validate(request.model_dump() | {"num_candidates": 0})


@pytest.mark.slow
def test_the_number_of_processes_does_not_show(tmp_path, policy):
    digests = set()
    for processes in (1, 2):
        context, samples = build_setting(tmp_path / str(processes), policy, processes=processes)
        digests.add(find_or_make(context, generate, samples).artifact.digest)
    assert len(digests) == 1


@pytest.mark.slow
def test_what_is_in_flight_beside_a_prompt_does_not_show(tmp_path, policy):
    """Float32 on a CPU: to the last bit, whatever shards, their order and what is there already."""
    context, samples = build_setting(tmp_path / "whole", policy)
    whole = read_rows(context, find_or_make(context, generate, samples).artifact)
    other, samples = build_setting(tmp_path / "other", policy, shard_prompts=5)
    [path] = other.store.paths(samples)
    table = pq.read_table(path)
    pq.write_table(table.take(list(reversed(range(table.num_rows)))), path)
    request = generate.build_request(other.config)
    made = make_candidates(other, "1" * 64, request, policy, samples)
    rows = [
        row
        for file in made.files
        for row in pq.read_table(other.store.folder(made.kind, made.key) / file.path).to_pylist()
    ]
    assert sorted(rows, key=find_place) == sorted(whole, key=find_place)


def find_place(row: dict[str, Any]) -> tuple[str, int]:
    return row["prompt_id"], row["index"]


@pytest.mark.slow
def test_more_candidates_keep_the_first_ones(tmp_path, policy):
    by_number = {}
    for number in (3, 5):
        context, samples = build_setting(tmp_path, policy, num_candidates=number)
        candidates = find_or_make(context, generate, samples).artifact
        by_number[number] = read_rows(context, candidates)
    kept = [row for row in by_number[5] if row["index"] < 3]
    for row, first in zip(kept, by_number[3], strict=True):
        assert row["text"] == first["text"]
        assert row["candidate_hash"] == first["candidate_hash"]
        # Batches of other sizes round differently in the last bits.
        assert row["token_logps"] == pytest.approx(first["token_logps"], abs=1e-4)


def test_when_one_engine_dies_the_others_end(tmp_path, policy):
    context, samples = build_setting(tmp_path, policy, engine="transformers", processes=2)
    killer = threading.Thread(
        target=lambda: wait_for_children(sampling.CHILD, 2)[0].kill(), daemon=True
    )
    killer.start()
    with pytest.raises(ChildFailed, match="SIGKILL"):
        find_or_make(context, generate, samples)
    assert find_children(sampling.CHILD) == []
    assert list(context.store.root.glob("candidates/**/*.parquet")) == []  # it did not run on


def test_a_split_without_prompts_is_refused(tmp_path, policy):
    context, samples = build_setting(tmp_path, policy)
    request = generate.build_request(context.config).model_copy(update={"splits": ["test"]})
    [part] = context.store.paths(samples)
    rows = pq.read_table(part)
    pq.write_table(rows.filter(pa.compute.field("split") == "train"), part)
    with pytest.raises(ValueError, match="no prompts in split test"):
        make_candidates(context, "0" * 64, request, policy, samples)
