"""Packed lists are exact: the same log-probabilities and gradients as separate sequences."""

from __future__ import annotations

import pytest
import torch

from perpo_core.bootstrap.model import build_model, build_processor
from perpo_core.policy.encoding import encode_prompt
from perpo_core.policy.prompts import Prompt
from perpo_core.stages.collect.sources.digits import compose_scene, encode_png
from perpo_core.stages.train.data import RankedList, collate_lists
from perpo_core.stages.train.families import build_positions
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.packing import Branch, ListLengths, PackableList, pack_lists
from tests.perpo_core.stages.train.separately import assert_same
from tests.perpo_core.tiny_families import keep_precision

ANSWERS = [
    ["[0.25, 0.50, 0.75, 1.00]", "7", "no idea what you mean by that", "[0.1, 0.2]"],
    ["3"],
    ["481\n20", "48", "4", "481\n20", "9999999999999999"],
]  # unequal lengths, unequal numbers, a repeated answer
REWARDS = [[0.8, 0.1, 0.0, 0.3], [0.5], [1.0, 0.4, 0.2, 0.9, 0.1]]


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def lists(processor) -> list[RankedList]:
    made = []
    for number, answers in enumerate(ANSWERS):
        scene = compose_scene("train", "grounding", number, seed=3)
        text = {"type": "text", "text": scene.questions[0].prompt}
        messages = [{"role": "user", "content": [{"type": "image"}, text]}]
        ids, vision = encode_prompt(processor, Prompt("", messages, [encode_png(scene.image)]))
        end = "<end_of_utterance>"
        branches = [Branch(processor.tokenizer(answer + end)["input_ids"]) for answer in answers]
        made.append(RankedList(str(number), PackableList(ids, branches, vision), REWARDS[number]))
    return made


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_packed_equals_separate(processor, lists, dtype, tolerance):
    model = keep_precision(build_model(processor, seed=1)).to(getattr(torch, dtype)).eval()
    assert_same(model, lists, tolerance)


def test_a_list_does_not_see_the_other_lists_of_its_batch(processor, lists):
    model = build_model(processor, seed=1).double().eval()
    pad_id = processor.tokenizer.pad_token_id
    together = compute_list_batch(ListPolicy(model), collate_lists(lists, pad_id)).logps_PG
    for row, ranked in enumerate(lists):
        alone = compute_list_batch(ListPolicy(model), collate_lists([ranked], pad_id)).logps_PG
        assert torch.allclose(together[row, : alone.shape[1]], alone[0], rtol=1e-12)


def test_lists_follow_each_other_without_padding():
    lists = [
        PackableList([5, 6], [Branch([7, 8]), Branch([9])]),
        PackableList([3], [Branch([4, 2])]),
    ]
    packed = pack_lists(lists, pad_id=0)
    assert packed.input_ids_N.tolist() == [5, 6, 7, 8, 9, 3, 4, 2]
    assert packed.layout == (ListLengths(2, (2, 1)), ListLengths(1, (2,)))
    assert packed.sources_M.tolist() == [1, 2, 1, 5, 6]  # a prefix's end predicts first tokens
    assert packed.targets_M.tolist() == [7, 8, 9, 4, 2]
    assert packed.owners_M.tolist() == [0, 0, 1, 2, 2]
    assert packed.mask_BG.tolist() == [[True, True], [True, False]]


def test_positions_restart_after_the_prefix(processor):
    packed = pack_lists([PackableList([5, 6], [Branch([7, 8]), Branch([9])])], pad_id=0)
    assert build_positions(build_model(processor), packed).tolist() == [[0, 1, 2, 3, 2]]


def test_unscored_tokens_carry_no_loss():
    packed = pack_lists([PackableList([5], [Branch([6, 7, 8], num_unscored=2)])], pad_id=0)
    assert packed.targets_M.tolist() == [8]
    assert packed.sources_M.tolist() == [2]


def test_what_a_processor_says_of_every_token_stays_behind():
    """It follows from the ids, and is as long as the prompt alone."""
    vision = {
        "pixel_values": torch.ones(1, 2, 3, 4, 4),
        "mm_token_type_ids": torch.zeros(1, 1),
        "token_type_ids": torch.zeros(1, 1),
    }
    packed = pack_lists([PackableList([5], [Branch([6])], vision)], pad_id=0)
    assert list(packed.vision) == ["pixel_values"]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([], "empty batch"),
        ([PackableList([], [Branch([1])])], "prompt has no tokens"),
        ([PackableList([1], [])], "without answers"),
        ([PackableList([1], [Branch([1], num_unscored=1)])], "no token to score"),
    ],
)
def test_what_cannot_be_packed_is_refused(lists, message):
    with pytest.raises(ValueError, match=message):
        pack_lists(lists, pad_id=0)
