"""Crops and further references on their way from the lists to the loss."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch

from perpo_core.policy.loading import load_policy
from perpo_core.stages import train
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.train import child
from perpo_core.stages.train.budget import count_packed, split_by_tokens
from perpo_core.stages.train.data import (
    CroppedLists,
    RankedList,
    RankedLists,
    collate_lists,
)
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.references import References
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.training import (
    NUM_LISTS,
    TRAIN,
    build_job,
    build_trainer,
    read_points,
)

pytestmark = pytest.mark.usefixtures("training_events")
LN2 = math.log(2)


@pytest.fixture(scope="module")
def lists(trainable, processor) -> RankedLists:
    context, samples, preferences = trainable
    packs = list_sample_files(context.store, samples).packs
    return RankedLists(context.store.paths(preferences), packs, processor)


# Crops


def test_a_crop_is_its_list_with_another_image_and_the_best_answer_alone(lists, processor):
    crops = CroppedLists(lists, processor, seed=0)
    assert len(crops) == len(lists) == NUM_LISTS
    for i in range(NUM_LISTS):
        whole, crop, again = lists[i], crops[i], crops[i]
        assert crop.list_id == whole.list_id
        assert crop.packable.prefix_ids == whole.packable.prefix_ids
        assert crop.packable.branches == list(whole.packable.branches[:1])
        assert crop.rewards_G == whole.rewards_G[:1]
        pixels = [ranked.packable.vision["pixel_values"] for ranked in (whole, crop, again)]
        assert pixels[0].shape == pixels[1].shape
        assert not torch.equal(pixels[0], pixels[1])
        assert torch.equal(pixels[1], pixels[2])
    other = CroppedLists(lists, processor, seed=1)[0].packable.vision["pixel_values"]
    assert not torch.equal(crops[0].packable.vision["pixel_values"], other)


def test_crops_stand_where_the_best_answers_do(lists, processor, policy):
    """The middle one in a list of three; two tied ones in a list of two."""
    model, _ = load_policy(policy.folder, "float32")
    image = CroppedLists(lists, processor, seed=0)[0].packable

    def crop(source: RankedList, which: slice, references: list[float]) -> RankedList:
        packable = replace(image, branches=source.packable.branches[which])
        return RankedList("", packable, [0.9] * len(references), references)

    crops = [crop(lists[1], slice(1, 2), [-3.0]), crop(lists[0], slice(2), [-1.0, -2.0])]
    members = [
        replace(lists[1], rewards_G=[0.1, 0.9, 0.5], crop=crops[0]),
        replace(lists[0], rewards_G=[0.9, 0.9], crop=crops[1]),
    ]
    pad_id = processor.tokenizer.pad_token_id
    start = ListPolicy(model).eval()
    batch = compute_list_batch(start, collate_lists(members, pad_id))
    (first, _), (second, third) = compute_list_batch(start, collate_lists(crops, pad_id)).logps_PG
    assert batch.crop_logps_PG is not None and batch.ref_crop_logps_PG is not None
    expected = [[0.0, first.item(), 0.0], [second.item(), third.item(), 0.0]]
    torch.testing.assert_close(batch.crop_logps_PG.detach(), torch.tensor(expected))
    assert batch.ref_crop_logps_PG.tolist() == [[0.0, -3.0, 0.0], [-1.0, -2.0, 0.0]]
    batch.crop_logps_PG.sum().backward()
    assert model.lm_head.weight.grad.abs().sum() > 0


def test_a_forward_pass_has_room_for_its_crops(lists, processor):
    ranked = replace(lists[0], crop=CroppedLists(lists, processor, seed=0)[0])
    whole, crop = lists[0].packable.lengths, ranked.crop.packable.lengths
    num_tokens = whole.total + crop.total
    for room, parts in ((whole.total, 2), (2 * num_tokens - 1, 2), (2 * num_tokens, 1)):
        assert len(split_by_tokens([ranked, ranked], room, count_packed)) == parts


@pytest.mark.parametrize(
    ("changes", "first_loss"),
    [
        ({"objective": "mdpo"}, 3 * LN2),
        ({"conditional_weight": 0.5, "anchor_weight": 0.25}, 1.75 * LN2),
    ],
)
def test_the_first_loss_with_terms(trainable, tmp_path, changes, first_loss):
    """Also over accumulation and with a last step of fewer lists."""
    trainer = build_trainer(trainable, tmp_path, epochs=4, learning_rate=3e-4, **changes)
    trainer.train()
    first, *_, last = read_points(trainer)
    assert first["loss"] == pytest.approx(first_loss, abs=1e-5)
    assert last["loss"] < first["loss"] - 0.1


def test_without_the_term_no_crop_is_made(trainable, tmp_path):
    trainer = build_trainer(trainable, tmp_path, anchor_weight=1.0)
    assert trainer.train_dataset[0].crop is None
    assert build_trainer(trainable, tmp_path, objective="sft").train_dataset.ref_logps_PG is None


# Further references


def test_further_references_reach_the_loss(trainable, other_policy, processor, tmp_path):
    config = TrainConfig(**TRAIN, objective="mrpo", extra_references=[str(other_policy.folder)])
    job = build_job(trainable, tmp_path, config)
    lists = RankedLists(job.lists, job.samples.packs, processor)
    start, _ = child.load_model(job, job.policy)
    references = References(processor.tokenizer.pad_token_id, "float32", config)
    child.attach_references(start, lists, processor, references, job)
    model, _ = load_policy(other_policy.folder, "float32")
    batch = collate_lists([lists[0], lists[1]], processor.tokenizer.pad_token_id)
    expected = compute_list_batch(ListPolicy(model).eval(), batch)
    assert expected.extra_ref_logps_KPG is not None
    assert expected.extra_ref_logps_KPG.shape == (1, *expected.logps_PG.shape)
    torch.testing.assert_close(expected.extra_ref_logps_KPG[0], expected.logps_PG.detach())


def test_mrpo_trains_with_a_further_reference(
    trainable, other_policy, tmp_path, training_events, monkeypatch
):
    config = TrainConfig(**TRAIN, objective="mrpo", extra_references=[str(other_policy.folder)])
    job = build_job(trainable, tmp_path, config)
    monkeypatch.setattr(child, "load_job", lambda kind: job)
    child.main()
    [result] = [event["result"] for event in training_events if "result" in event]
    losses = [point["loss"] for point in result["history"]]
    assert len(losses) == 4 and losses[0] != pytest.approx(LN2, abs=1e-4)
    assert losses[-1] < losses[0]


def test_the_key_holds_the_content_of_further_references(trainable, other_policy, tmp_path):
    context, samples, preferences = trainable

    def key_of(*references: Any) -> str:
        config = TrainConfig(
            **TRAIN, objective="mrpo", extra_references=[str(folder) for folder in references]
        )
        whole = context.config.model_copy(update={"train": config})
        return train.compute_key(whole, context.policy, samples, preferences)

    moved = shutil.copytree(other_policy.folder, tmp_path / "moved")
    key = key_of(other_policy.folder)
    assert key_of(moved) == key
    assert key_of("builtin") != key
    assert key_of("builtin", moved) != key_of(moved, "builtin")
    (moved / "config.json").write_text("{}")
    assert key_of(moved) != key
    with pytest.raises(ValueError, match="extra_references = '/none' is neither a folder"):
        key_of("/none")
