"""How far a policy went: KL and likelihood of truths, against one forward pass an answer."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from perpo_core.evidence.drift import build_own_request, measure_drift
from perpo_core.evidence.drift.numbers import compute_intervals, compute_task
from perpo_core.evidence.drift.rows import find_end
from perpo_core.perception.frames import build_framer
from perpo_core.perception.tasks import TASKS
from perpo_core.policy.encoding import encode_prompt
from perpo_core.policy.loading import load_policy
from perpo_core.policy.prompts import read_prompt
from perpo_core.stages import collect
from perpo_core.stages.evaluate import build_request
from perpo_core.stages.samples import list_sample_files, read_samples
from perpo_core.stages.stage import find_or_make
from perpo_core.store.packs import Images
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.evaluate.test_evaluate import commit_checkpoint

SOURCE = {
    "kind": "digits",
    "train": {"grounding": 1},
    "selection": {},
    "validation": {},
    "test": {"grounding": 4, "counting": 2},
}


def build_setting(root: Path, policy: Any, **sections: Any) -> Any:
    context = build_context(
        root,
        source=SOURCE,
        generate={"engine": "transformers", "max_tokens": 8, "processes": 1, "temperature": 0.7},
        evaluate={"num_samples": 3, "bootstrap_resamples": 100},
        train={"threads": 1, "adapter": "full"},
        **sections,
    )
    context = replace(context, policy=policy)
    return context, find_or_make(context, collect).artifact


@torch.no_grad()
def compute_logp(model: Any, processor: Any, prompt: Any, token_ids: list[int]) -> float:
    """Of one answer, by the formula: the sum of log softmax at its tokens."""
    prefix_ids, vision = encode_prompt(processor, prompt)
    ids = torch.tensor([[*prefix_ids, *token_ids]])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **vision).logits[0].double()
    logps = torch.log_softmax(logits, -1)[len(prefix_ids) - 1 : -1]
    return float(logps.gather(1, torch.tensor(token_ids)[:, None]).sum())


def test_drift_is_that_of_one_forward_pass_an_answer(tmp_path, policy, other_policy):
    context, samples = build_setting(tmp_path, policy)
    checkpoint = commit_checkpoint(context, other_policy.folder, "trained")
    report = measure_drift(context, samples, checkpoint)
    assert report.policy_digest == checkpoint.policy_digest
    assert {name: task.num_answers for name, task in report.tasks.items()} == {
        "grounding": 12, "counting": 6,
    }  # fmt: skip

    models = [load_policy(p.folder, "float32") for p in (policy, other_policy)]
    images = Images(list_sample_files(context.store, samples).packs)
    paths = [context.store.path(report, f"part-0000{number}.parquet") for number in range(2)]
    answers, truths = (pq.read_table(path).to_pylist() for path in paths)
    assert len(answers) == 6 and all(len(row["responses"]) == 3 for row in answers)

    def ask(row: Any) -> np.ndarray:
        """[2, G] log-probabilities under start and trained."""
        prompt = read_prompt(row, images)
        return np.array([
            [compute_logp(*model, prompt, each["token_ids"]) for each in row["responses"]]
            for model in models
        ])  # fmt: skip

    for task in ("grounding", "counting"):
        own = [(ask(row), row) for row in answers if row["task"] == task]
        kl_P = [(logps[1] - logps[0]).mean() for logps, _ in own]
        tokens = [len(each["token_ids"]) for _, row in own for each in row["responses"]]
        drift = report.tasks[task]
        assert drift.kl_nats.value == pytest.approx(np.mean(kl_P), abs=1e-4)
        assert drift.kl_nats_per_token.value == pytest.approx(
            np.mean(kl_P) / np.mean(tokens), abs=1e-5
        )
        assert drift.kl_nats.low <= drift.kl_nats.value <= drift.kl_nats.high
        said = np.array([ask(row)[:, 0] for row in truths if row["task"] == task])
        if drift.truth_logp is not None:
            start, trained = said.mean(axis=0)
            assert drift.truth_logp.base == pytest.approx(start, abs=1e-4)
            assert drift.truth_logp.delta == pytest.approx(trained - start, abs=1e-4)
    assert measure_drift(context, samples, checkpoint) == report, "from the store"


def test_truths_are_written_as_the_policy_writes_and_end_as_its_answers_do(
    tmp_path, policy, processor
):
    context, samples = build_setting(tmp_path, policy)
    checkpoint = commit_checkpoint(context, policy.folder, "trained")
    report = measure_drift(context, samples, checkpoint)
    for drift in report.tasks.values():
        assert (drift.kl_nats.value, drift.kl_nats.low, drift.kl_nats.high) == (0, 0, 0)
        assert drift.truth_logp is not None and drift.truth_logp.delta == 0
    truths = pq.read_table(context.store.path(report, "part-00001.parquet")).to_pylist()
    columns = ["sample_id", "task", "target", "width", "height"]
    rows = read_samples(context.store, samples, columns, ["test"]).to_pylist()
    wanted = {row["sample_id"]: row for row in rows}
    assert len(truths) == len(wanted)
    build_frame = build_framer("norm1", policy.folder, context.config.policy.pixel_limits)
    for row in truths:
        [response], sample = row["responses"], wanted[row["sample_id"]]
        frame = build_frame(sample["width"], sample["height"])
        text = TASKS[row["task"]].write_truth(sample["target"], "norm1", frame).text
        assert response["text"] == text
        assert processor.tokenizer.decode(response["token_ids"][:-1]) == text
        assert response["token_ids"][-1] == processor.tokenizer.eos_token_id


def test_answers_that_an_evaluation_sampled_at_temperature_1_are_taken(tmp_path, policy):
    context, _ = build_setting(tmp_path, policy)
    own = build_own_request(context.config, "test")
    assert (own.temperature, own.top_p, own.splits, own.greedy) == (1.0, 1.0, ["test"], False)
    plain = context.config.generate.model_copy(update={"temperature": 1.0})
    config = context.config.model_copy(update={"generate": plain})
    assert build_own_request(config, "test") == build_request(config)
    assert build_own_request(config, "train") != build_request(config)


def test_the_mean_log_ratio_of_samples_is_the_kl():
    """p = (3/4, 1/4), q = (1/2, 1/2): of four samples as p has them the mean is KL(p || q)."""
    p, q = [0.75, 0.75, 0.75, 0.25], [0.5] * 4
    sample = {"sample_id": "a", "image_id": "i"}
    rows = [
        {"token_ids": [1, 2], "finish_reason": reason} for reason in ("stop",) * 3 + ("length",)
    ]
    answers = {"a": np.log(q).tolist()}, {"a": np.log(p).tolist()}
    drift = compute_task([(sample, rows)], answers, [], ({}, {}), 100, 0)
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert drift.kl_nats.value == pytest.approx(kl, abs=1e-15)
    assert drift.kl_nats_per_token.value == pytest.approx(kl / 2, abs=1e-15)
    assert (drift.num_answers, drift.num_cut_off, drift.truth_logp) == (4, 1, None)


def test_a_tokens_kl_is_a_ratio_of_means():
    """(1 + 3) / (1 + 6), not the mean of 1/1 and 3/6; an image is drawn with all its prompts."""
    kl, per_token = compute_intervals(
        np.array([1.0, 3.0]), np.array([1.0, 6.0]), ["a", "b"], 1000, 0
    )
    assert (kl.value, per_token.value) == (2.0, 4 / 7)
    assert kl.low < 2.0 < kl.high
    one, _ = compute_intervals(np.array([1.0, 3.0]), np.array([1.0, 6.0]), ["a", "a"], 1000, 0)
    assert (one.low, one.high) == (2.0, 2.0), "one image cannot differ from itself"


def test_what_ends_an_answer_is_what_most_finished_ones_end_with():
    rows = [([1, 9], "stop"), ([2, 9], "stop"), ([3, 8], "stop"), ([7, 7], "length")]
    assert find_end({"token_ids": ids, "finish_reason": why} for ids, why in rows) == 9
    assert find_end([{"token_ids": [1], "finish_reason": "length"}]) is None
