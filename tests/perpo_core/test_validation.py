"""Reward on the validation split: the same answers as alone, shared out over the tasks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.generate.greedy import generate_greedily
from perpo_core.generate.prompts import iter_prompts
from perpo_core.train.data import encode_prompt
from perpo_core.train.list_policy import ListPolicy
from perpo_core.train.model import load_policy
from perpo_core.train.validation import ValidationReward, _share_out

pytestmark = pytest.mark.usefixtures("training_events")


# Validation


@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4), total=st.integers(1, 30))
def test_validation_prompts_are_shared_out_evenly(sizes, total):
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    groups = [list(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]
    picked = _share_out(groups, total)
    assert picked == sorted(set(picked))
    assert len(picked) == min(total, sum(sizes))
    shares = [[i for i in picked if i in group] for group in groups]
    for share, group in zip(shares, groups, strict=True):
        assert share == group[: len(share)]
        # A group that gets less than another by more than one has no more to give.
        assert len(share) == len(group) or len(share) >= max(map(len, shares)) - 1


def test_validation_answers_are_those_of_single_prompts(trainable, processor):
    context, samples, _ = trainable
    model, _ = load_policy(context.policy.folder, "float32")
    samples_file = context.store.path(samples, "samples.parquet")
    validation = ValidationReward(samples_file, processor, context.config, context.policy.folder)
    assert len(validation) == 6
    prompts = [encode_prompt(processor, p) for p in iter_prompts(samples_file, ["validation"])]

    def answer(some: list[Any]) -> list[str]:
        return generate_greedily(model.eval(), processor.tokenizer, some, 10, [0, 1, 2, 3])

    texts = answer(prompts)
    assert texts == [answer([prompt])[0] for prompt in prompts]
    assert len(set(texts)) > 1


def test_validation_is_the_mean_of_the_tasks_and_leaves_the_mode(trainable, processor, monkeypatch):
    context, samples, _ = trainable
    model, _ = load_policy(context.policy.folder, "float32")
    validation = ValidationReward(
        context.store.path(samples, "samples.parquet"), processor, context.config,
        context.policy.folder,
    )  # fmt: skip
    answers = {"grounding": "[0.0, 0.0, 1.0, 1.0]", "ocr": "", "counting": ""}
    texts = [answers[sample.task] for sample in validation._samples]
    texts[[s.task for s in validation._samples].index("counting")] = str(
        next(s for s in validation._samples if s.task == "counting").target["count"]
    )
    monkeypatch.setattr("perpo_core.train.validation.generate_greedily", lambda *args: texts)
    boxes: list[Any] = [s.target["box"] for s in validation._samples if s.task == "grounding"]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]  # IoU with the whole image
    policy = ListPolicy(model).train()
    reading = validation.measure(policy)
    assert policy.training and model.training
    expected = {"counting": 1.0, "grounding": sum(areas) / 3, "ocr": 0.0}
    assert reading.per_task == pytest.approx(expected)
    assert reading.mean_reward == pytest.approx(sum(expected.values()) / 3)
