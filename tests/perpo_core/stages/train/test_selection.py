"""Reward on the selection split: it alone chooses, by the same answers as alone, task by task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.policy.encoding import encode_prompt
from perpo_core.policy.loading import load_policy
from perpo_core.policy.prompts import iter_prompts
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.train import child
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.greedy import generate_greedily
from perpo_core.stages.train.history import choose_step
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.references import References
from perpo_core.stages.train.selection import SelectionReward, _share_out
from schemas.arrow import SAMPLES
from schemas.artifact import RewardPoint
from schemas.base import SPLITS, Split
from schemas.config import ScoreConfig
from schemas.run import SampleFiles
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.training import NUM_STEPS, TRAIN, build_job

pytestmark = pytest.mark.usefixtures("training_events")


@pytest.fixture
def sample_files(trainable) -> SampleFiles:
    context, samples, _ = trainable
    return list_sample_files(context.store, samples)


@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4), total=st.integers(1, 30))
def test_selection_prompts_are_shared_out_evenly(sizes, total):
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


def test_answers_are_those_of_single_prompts(trainable, processor, sample_files):
    context = trainable[0]
    model, _ = load_policy(context.policy.folder, "float32")
    selection = SelectionReward(sample_files, processor, context.config, context.policy.folder)
    assert len(selection) == 6
    prompts = [encode_prompt(processor, p) for p in iter_prompts(sample_files, ["selection"])]

    def answer(some: list[Any]) -> list[str]:
        return generate_greedily(model.eval(), processor.tokenizer, some, 10, 512, [0, 1, 2, 3])

    texts = answer(prompts)
    assert texts == [answer([prompt])[0] for prompt in prompts]
    assert len(set(texts)) > 1


def test_no_answer_goes_beyond_the_model(trainable, processor, sample_files):
    model, _ = load_policy(trainable[0].policy.folder, "float32")
    prompts = [encode_prompt(processor, p) for p in iter_prompts(sample_files, ["selection"])]
    limit = max(len(ids) for ids, _ in prompts) + 2
    counting = SimpleNamespace(batch_decode=lambda ids, **_: [len(row) for row in ids])
    lengths: list[Any] = generate_greedily(model.eval(), counting, prompts, 6, limit, [0, 1, 2, 3])
    rooms = [min(6, limit - len(ids)) for ids, _ in prompts]
    assert 2 in rooms and all(n <= room for n, room in zip(lengths, rooms, strict=True))


def test_it_is_the_mean_of_the_tasks_and_leaves_the_mode(
    trainable, processor, sample_files, monkeypatch
):
    context = trainable[0]
    model, _ = load_policy(context.policy.folder, "float32")
    selection = SelectionReward(sample_files, processor, context.config, context.policy.folder)
    answers = {"grounding": "[0.0, 0.0, 1.0, 1.0]", "ocr": "", "counting": ""}
    texts = [answers[sample.task] for sample in selection._samples]
    texts[[s.task for s in selection._samples].index("counting")] = str(
        next(s for s in selection._samples if s.task == "counting").target["count"]
    )
    monkeypatch.setattr("perpo_core.stages.train.selection.generate_greedily", lambda *args: texts)
    boxes: list[Any] = [s.target["box"] for s in selection._samples if s.task == "grounding"]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]  # IoU with the whole image
    policy = ListPolicy(model).train()
    reading = selection.measure(policy)
    assert policy.training and model.training
    expected = {"counting": 1.0, "grounding": sum(areas) / 3, "ocr": 0.0}
    assert reading.per_task == pytest.approx(expected)
    assert reading.mean_reward == pytest.approx(sum(expected.values()) / 3)


@pytest.mark.parametrize("readable", [0, 1, 2])
def test_unreadable_answers_count_as_zero(
    trainable, processor, sample_files, monkeypatch, readable
):
    """Of three boxes so many are right and the others no boxes; no count is read."""
    context = trainable[0]
    model, _ = load_policy(context.policy.folder, "float32")
    selection = SelectionReward(sample_files, processor, context.config, context.policy.folder)
    texts = ["no idea" for _ in selection._samples]
    boxes = [number for number, s in enumerate(selection._samples) if s.task == "grounding"]
    for number in boxes[:readable]:
        texts[number] = str(selection._samples[number].target["box"])
    monkeypatch.setattr("perpo_core.stages.train.selection.generate_greedily", lambda *args: texts)
    reading = selection.measure(ListPolicy(model))
    expected = {"counting": 0.0, "grounding": readable / 3, "ocr": reading.per_task["ocr"]}
    assert len(boxes) == 3 and reading.per_task == pytest.approx(expected)
    assert reading.mean_reward == pytest.approx(sum(expected.values()) / 3)


def test_ones_own_reward_chooses_too(trainable, processor, sample_files, monkeypatch, tmp_path):
    context = trainable[0]
    (tmp_path / "mine.py").write_text(
        "def rate(completions, sample_id, images):\n"
        "    return [0.25 * len(shown) for shown in images]\n"
    )
    score = ScoreConfig(reward_folder=tmp_path, counting="mine:rate")
    config = context.config.model_copy(update={"score": score})
    model, _ = load_policy(context.policy.folder, "float32")
    selection = SelectionReward(sample_files, processor, config, context.policy.folder)
    texts = ["no idea" for _ in selection._samples]
    monkeypatch.setattr("perpo_core.stages.train.selection.generate_greedily", lambda *args: texts)
    assert selection.measure(ListPolicy(model)).per_task["counting"] == 0.25


# Nothing else chooses


def write_splits(
    sample_files: SampleFiles, folder: Path, truths: Mapping[Split, str]
) -> SampleFiles:
    """The OCR prompts of the selection split once in each of the splits, with its truth."""
    wanted = [("split", "==", "selection"), ("task", "==", "ocr")]
    found = pq.read_table(sample_files.parts, filters=wanted).to_pylist()
    rows = [
        {**row, "split": split, "target": {"box": None, "text": truth, "count": None}}
        for split, truth in truths.items()
        for row in found
    ]
    path = folder / "samples.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SAMPLES), path)
    return sample_files.model_copy(update={"parts": [path]})


def test_no_other_split_can_change_the_choice(
    trainable, processor, sample_files, tmp_path, monkeypatch
):
    """Step 1 answers what is right in every split but selection, step 2 what is right there."""
    context = trainable[0]
    truths: dict[Split, str] = {**dict.fromkeys(SPLITS, "111"), "selection": "222"}
    files = write_splits(sample_files, tmp_path, truths)
    selection = SelectionReward(files, processor, context.config, context.policy.folder)
    assert len(selection) == 2
    policy = ListPolicy(load_policy(context.policy.folder, "float32")[0])
    points = []
    for step, answer in enumerate(("", "111", "222")):
        monkeypatch.setattr(
            "perpo_core.stages.train.selection.generate_greedily",
            lambda model, tokenizer, prompts, *rest, answer=answer: [answer] * len(prompts),
        )
        reading = selection.measure(policy)
        points.append(RewardPoint(step=step, mean_reward=reading.mean_reward, per_task={}))
    assert [point.mean_reward for point in points] == [0, 0, 1]
    assert choose_step(points) == 2


def test_without_selection_prompts_the_last_step_is_kept(
    trainable, sample_files, tmp_path, training_events
):
    """However many validation prompts there are; and the log says so."""
    job = build_job(trainable, tmp_path, TrainConfig(**TRAIN))
    files = write_splits(sample_files, tmp_path, {"validation": "111", "test": "111"})
    job = job.model_copy(update={"samples": files})
    model, processor = child.load_model(job, job.policy)
    lists = RankedLists(job.lists, job.samples.packs, processor)
    references = References(processor.tokenizer.pad_token_id, "float32", job.config.train)
    child.attach_references(model, lists, processor, references, job)
    result = child.save_result(job, child.train(job, model, processor, lists))
    assert (result["chosen_step"], result["readings"]) == (NUM_STEPS, [])
    said = [event["log"]["message"] for event in training_events if "log" in event]
    assert "no selection prompts, so nothing to choose by: the last step is kept" in said
