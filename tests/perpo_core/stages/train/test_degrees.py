"""Degrees told from packed lists: where the ends are, and what the head learns there."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from perpo_core.stages.train import attention, families
from perpo_core.stages.train.data import RankedList, TokenValues, collate_lists
from perpo_core.stages.train.degree_head import DegreeHead
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.logps import compute_logps_and_ends
from perpo_core.stages.train.objectives import ListBatch
from perpo_core.stages.train.objectives.combine import compute_loss_parts
from perpo_core.stages.train.objectives.terms.degree import compute_degree_loss
from perpo_core.stages.train.packing import Branch, PackableList, pack_lists
from perpo_core.stages.train.version_tables import add_versions
from schemas.train_config import ObjectiveName, TrainConfig
from tests.perpo_core.tiny_families import FAMILIES, PAD, build_tiny, build_tiny_lists

ANSWERS = [[3, 1, 4], [2], [5, 3, 3, 1, 7]]
REWARDS = [[0.8, 0.1, 0.3], [0.5], [1.0, 0.4, 0.2, 0.9, 0.1]]
NUM_DEGREES = 3
CONFIG = TrainConfig(beta=0.5, degree_weight=2.0, degrees=NUM_DEGREES)
# Of the first list degrees 1 and 2 (its first answer is degree 0), of the second none, of the third
# all three, since its first answer is written otherwise.
VERSIONS = [
    [Branch([11, 12], degree=1), Branch([13, 9, 8, 7], degree=2)],
    [],
    [Branch([14, 15], degree=0), Branch([16], degree=1), Branch([17, 18, 19], degree=2)],
]
DEGREES = [[0, 1, 2], [-1, -1, -1], [0, 1, 2]]


@pytest.fixture
def exact(monkeypatch) -> None:
    """Vision towers rotate and normalise in float32 whatever their dtype; let them in float64."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def build_lists(name: str, model: Any, with_versions: bool = True) -> list[RankedList]:
    packables = build_tiny_lists(name, model, ANSWERS)
    if with_versions:
        pairs = zip(packables, VERSIONS, strict=True)
        packables = [add_versions(packable, versions) for packable, versions in pairs]
    rows = enumerate(zip(packables, REWARDS, strict=True))
    return [
        RankedList(str(number), packable, rewards, tokens=draw_tokens(packable, number))
        for number, (packable, rewards) in rows
    ]


def draw_tokens(packable: PackableList, seed: int) -> TokenValues:
    """What a reference and two contrastive policies might say of the answers' tokens."""
    rng = random.Random(seed)
    return TokenValues(
        *([[rng.gauss(0, 1) for _ in branch.ids] for branch in packable.branches] for _ in "rc")
    )


def build_policy(model: Any) -> ListPolicy:
    """With a head that is not zero, so that gradients come through."""
    head = DegreeHead(model.get_decoder().config.hidden_size, NUM_DEGREES).to(model.dtype)
    torch.manual_seed(5)
    torch.nn.init.normal_(head.linear.weight, std=0.3)
    torch.nn.init.normal_(head.linear.bias)
    return ListPolicy(model, degree_head=head)


# Packing


def test_versions_follow_the_answers_and_rank_with_none_of_them():
    lists = [
        add_versions(
            PackableList([5, 6], [Branch([7, 8]), Branch([9])]), [Branch([1, 2, 3], degree=1)]
        ),
        add_versions(PackableList([3], [Branch([4, 2])]), []),
    ]
    packed = pack_lists(lists, pad_id=0)
    assert packed.input_ids_N.tolist() == [5, 6, 7, 8, 9, 1, 2, 3, 3, 4, 2]
    assert [lengths.answers for lengths in packed.layout] == [(2, 1, 3), (2,)]
    assert packed.mask_BG.tolist() == [[True, True], [True, False]]
    assert packed.sources_M.tolist() == [1, 2, 1, 8, 9]
    assert packed.targets_M.tolist() == [7, 8, 9, 4, 2]
    assert packed.owners_M.tolist() == [0, 0, 1, 2, 2]
    assert packed.ends_BV is not None and packed.degrees_BV is not None
    assert packed.ends_BV.tolist() == [[3, 7], [0, 0]]  # of the best answer, and of its version
    assert packed.degrees_BV.tolist() == [[0, 1], [-1, -1]]


def test_a_version_of_degree_0_stands_for_the_best_answer():
    packable = add_versions(PackableList([5], [Branch([6])]), VERSIONS[2])
    assert [branch.degree for branch in packable.rows] == [None, 0, 1, 2]


def test_without_degrees_a_batch_is_what_it_was():
    packed = pack_lists([PackableList([5], [Branch([6])])], pad_id=0)
    assert packed.ends_BV is None and packed.degrees_BV is None
    assert packed.states_at is packed.sources_M


def test_lists_that_all_have_no_versions_are_asked_all_the_same():
    """So that every process of a sharded training has a gradient of the head."""
    model = build_tiny("llava")
    ranked = replace(build_lists("llava", model)[1])
    policy = build_policy(model)
    batch = compute_list_batch(policy, collate_lists([ranked], PAD))
    assert batch.degree_logits_PVD is not None and batch.degree_logits_PVD.shape == (1, 0, 3)
    compute_loss_parts(batch, CONFIG)["degree"].sum().backward()
    assert policy.degree_head is not None
    assert not policy.degree_head.linear.weight.grad.any()


def compute_apart(policy: ListPolicy, packable: PackableList) -> Tensor:
    """Logits at the end of each version from a sequence of its own: [V, D]."""
    model, logits = policy.policy, []
    for branch in packable.rows:
        if branch.degree is not None:
            ids = torch.tensor([[*packable.prefix_ids, *branch.ids]])
            vision = dict(packable.vision)
            if "mm_token_type_ids" in vision:
                vision["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
            hidden = model.model(
                input_ids=ids, attention_mask=torch.ones_like(ids), **vision
            ).last_hidden_state
            assert policy.degree_head is not None
            logits.append(policy.degree_head(hidden[0, -1]))
    return torch.stack(logits)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("known", [True, False], ids=["packed", "family unknown"])
@pytest.mark.parametrize("name", FAMILIES)
def test_degrees_are_told_as_from_sequences_of_their_own(name, known, monkeypatch):
    """Logits, loss, and the gradients of all weights."""
    model = build_tiny(name)
    policy = build_policy(model)
    lists = build_lists(name, model)
    if not known:
        monkeypatch.delitem(families.NUMBERINGS, name)
        monkeypatch.setattr(attention, "WAYS", {})
    batch = compute_list_batch(policy, collate_lists(lists, PAD))
    assert batch.degrees_PV is not None and batch.degree_logits_PVD is not None
    assert batch.degrees_PV.tolist() == DEGREES
    apart = torch.zeros_like(batch.degree_logits_PVD)
    for row in (0, 2):
        expected = compute_apart(policy, lists[row].packable)
        torch.testing.assert_close(batch.degree_logits_PVD[row], expected, rtol=1e-9, atol=1e-9)
        apart[row] = expected
    separate = replace(batch, degree_logits_PVD=apart)
    grads = [compute_grads(policy, each) for each in (batch, separate)]
    assert (grads[0] - grads[1]).norm() / grads[1].norm() < 1e-9


def compute_grads(policy: ListPolicy, batch: Any) -> Tensor:
    policy.zero_grad()
    compute_degree_loss(batch, CONFIG).sum().backward(retain_graph=True)
    return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("known", [True, False], ids=["packed", "family unknown"])
def test_versions_move_no_answer(known, monkeypatch):
    """Log-probabilities, rewards, masks and alignment losses are those without them; also of what
    looks at tokens."""
    model = build_tiny("qwen2_vl")
    if not known:
        monkeypatch.delitem(families.NUMBERINGS, "qwen2_vl")
    policy = build_policy(model)
    with_them, without = (
        compute_list_batch(policy, collate_lists(build_lists("qwen2_vl", model, each), PAD))
        for each in (True, False)
    )
    assert without.degree_logits_PVD is None
    for name in ("logps_PG", "token_logps_PGT"):
        both = getattr(with_them, name), getattr(without, name)
        torch.testing.assert_close(*both, rtol=1e-9, atol=0)
    for name in ("rewards_PG", "mask_PG", "num_tokens_PG", "ref_logps_PG", "contrast_PGT"):
        assert torch.equal(getattr(with_them, name), getattr(without, name))
    objectives: tuple[ObjectiveName, ...] = ("perpo", "tis_dpo")
    for objective in objectives:
        config = TrainConfig(objective=objective, beta=0.5)
        configs = [config.model_copy(update={"degree_weight": 2.0}), config]
        pairs = zip((with_them, without), configs, strict=True)
        alignment = [compute_loss_parts(*pair)[objective] for pair in pairs]
        torch.testing.assert_close(*alignment, rtol=1e-9, atol=0)


# The head


def test_a_new_head_finds_all_degrees_alike():
    model = build_tiny("llava")
    policy = ListPolicy(model, degree_head=DegreeHead(64, 4))
    lists = build_lists("llava", model)
    batch = compute_list_batch(policy, collate_lists(lists, PAD))
    loss_P = compute_degree_loss(batch, CONFIG)
    assert loss_P.tolist() == pytest.approx([math.log(4), 0.0, math.log(4)], abs=1e-6)
    assert loss_P[0].item() == pytest.approx(1.386294, abs=1e-6)


def test_the_policy_moves_with_a_head_that_is_not_zero():
    model = build_tiny("llava")
    for head in (DegreeHead(64, NUM_DEGREES).double(), build_policy(model).degree_head):
        policy = ListPolicy(model, degree_head=head)
        policy.zero_grad()
        batch = compute_list_batch(policy, collate_lists(build_lists("llava", model), PAD))
        compute_degree_loss(batch, CONFIG).sum().backward()
        assert head is not None and head.linear.weight.grad.abs().max() > 0
        largest = max(p.grad.abs().max() for p in model.parameters() if p.grad is not None)
        assert (largest > 0) == bool(head.linear.weight.any())


def read_ends(model: Any, is_shuffled: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """States at the ends of 24 lists' versions and their degrees: [B, V, H], [B, V].

    What stands in for degrading: the word before the end, the same one for a degree.
    """
    lists = []
    for _ in range(24):
        words = torch.randint(20, 50, (NUM_DEGREES, 3), generator=generator).tolist()
        drawn = torch.randperm(NUM_DEGREES, generator=generator).tolist()
        labels = drawn if is_shuffled else range(NUM_DEGREES)
        versions = [Branch([*words[k], 10 + k, 2], degree=labels[k]) for k in range(NUM_DEGREES)]
        lists.append(PackableList([5, 9, 7], [Branch([11, 2])], versions=versions))
    batch = pack_lists(lists, PAD)
    with torch.no_grad():
        ends_BVH = compute_logps_and_ends(model, batch)[1]
    assert ends_BVH is not None and batch.degrees_BV is not None
    return ends_BVH, batch.degrees_BV


@pytest.mark.parametrize(("is_shuffled", "least", "most"), [(False, 0.75, 1.0), (True, 0.0, 0.55)])
def test_a_head_trained_alone_tells_degrees_and_shuffled_labels_are_seen(is_shuffled, least, most):
    """Degrees that come from what was said carry over to other lists; drawn ones do not."""
    model, generator = build_tiny("llava", torch.float32), torch.Generator().manual_seed(3)
    ends_BVH, degrees_BV = read_ends(model, is_shuffled, generator)
    head = DegreeHead(ends_BVH.shape[-1], NUM_DEGREES)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.05, weight_decay=0.0)
    rewards_BG = torch.ones(len(ends_BVH), 1, dtype=torch.float64)
    batch = ListBatch(-rewards_BG, -rewards_BG, rewards_BG, rewards_BG > 0, rewards_BG.long())
    for _ in range(60):
        optimizer.zero_grad()
        told = replace(batch, degree_logits_PVD=head(ends_BVH), degrees_PV=degrees_BV)
        compute_degree_loss(told, CONFIG).mean().backward()
        optimizer.step()
    others_BVH, their_degrees_BV = read_ends(model, is_shuffled, generator)
    right_BV = head(others_BVH).argmax(-1) == their_degrees_BV
    assert least <= right_BV.float().mean() <= most
