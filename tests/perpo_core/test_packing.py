"""Packed lists are exact: the same log-probabilities and gradients as separate sequences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from perpo_core.generate.prompts import Prompt
from perpo_core.objectives import ListBatch
from perpo_core.objectives.perpo import compute_perpo_loss
from perpo_core.policy.builtin import build_model, build_processor
from perpo_core.sources.digits import compose_scene, encode_png
from perpo_core.train.data import RankedList, collate_lists, encode_prompt
from perpo_core.train.packing import Branch, PackableList, build_packed_mask, pack_lists
from perpo_core.train.trainer import compute_list_batch
from schemas.config import TrainConfig

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


def keep_precision(model):
    """Norms of torch instead of transformers', which compute in float32 whatever the dtype."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, LlamaRMSNorm):
                norm = torch.nn.RMSNorm(child.weight.shape, eps=child.variance_epsilon)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)
    return model


def compute_separately(model, ranked: RankedList) -> Tensor:
    """Log-probability of each answer from a sequence of its own, by full logits: [G]."""
    packable = ranked.packable
    totals = []
    for branch in packable.branches:
        ids = torch.tensor([[*packable.prefix_ids, *branch.ids]])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **packable.vision).logits
        logps = logits[0, :-1].log_softmax(-1)
        start = len(packable.prefix_ids)
        totals.append(sum(logps[start + t - 1, token] for t, token in enumerate(branch.ids)))
    return torch.stack(totals)


def compute_grads(model, loss: Tensor) -> Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_packed_equals_separate(processor, lists, dtype, tolerance):
    model = keep_precision(build_model(processor, seed=1)).to(getattr(torch, dtype)).eval()
    batch = collate_lists(lists, processor.tokenizer.pad_token_id)
    packed = compute_list_batch(model, batch)
    separate = torch.zeros_like(packed.logps_PG)
    for row, ranked in enumerate(lists):
        logps_G = compute_separately(model, ranked)
        separate[row, : len(logps_G)] = logps_G
    assert torch.allclose(packed.logps_PG, separate, rtol=tolerance, atol=0)

    config = TrainConfig(beta=0.5)
    loss = compute_perpo_loss(packed, config).sum()
    other = ListBatch(separate, *list(vars(packed).values())[1:])
    other_loss = compute_perpo_loss(other, config).sum()
    assert loss.item() == pytest.approx(other_loss.item(), rel=tolerance)
    grads, other_grads = compute_grads(model, loss), compute_grads(model, other_loss)
    assert (grads - other_grads).norm() / other_grads.norm() < tolerance


def test_a_list_does_not_see_the_other_lists_of_its_batch(processor, lists):
    model = build_model(processor, seed=1).double().eval()
    pad_id = processor.tokenizer.pad_token_id
    together = compute_list_batch(model, collate_lists(lists, pad_id)).logps_PG
    for row, ranked in enumerate(lists):
        alone = compute_list_batch(model, collate_lists([ranked], pad_id)).logps_PG
        assert torch.allclose(together[row, : alone.shape[1]], alone[0], rtol=1e-12)


def test_what_padding_holds_does_not_matter(processor, lists):
    model = build_model(processor, seed=1).double().eval()
    first = compute_list_batch(model, collate_lists(lists, 0)).logps_PG
    assert torch.allclose(compute_list_batch(model, collate_lists(lists, 9)).logps_PG, first)


def test_mask_shows_prefix_and_own_answer_only():
    segments = torch.tensor([[0, 0, 1, 1, 2, -1]])
    visible = build_packed_mask(segments)[0, 0].int().tolist()
    assert visible == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


def test_positions_restart_after_the_prefix():
    packed = pack_lists([PackableList([5, 6], [Branch([7, 8]), Branch([9])])], pad_id=0)
    assert packed.input_ids_BN.tolist() == [[5, 6, 7, 8, 9]]
    assert packed.position_ids_BN.tolist() == [[0, 1, 2, 3, 2]]
    assert packed.sources_M.tolist() == [1, 2, 1]  # first tokens are predicted by the prefix's end
    assert packed.targets_M.tolist() == [7, 8, 9]


def test_unscored_tokens_carry_no_loss():
    packed = pack_lists([PackableList([5], [Branch([6, 7, 8], num_unscored=2)])], pad_id=0)
    assert packed.targets_M.tolist() == [8]
    assert packed.sources_M.tolist() == [2]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([], "empty batch"),
        ([PackableList([], [Branch([1])])], "prompt has no tokens"),
        ([PackableList([1], [Branch([1], num_unscored=1)])], "no token to score"),
    ],
)
def test_what_cannot_be_packed_is_refused(lists, message):
    with pytest.raises(ValueError, match=message):
        pack_lists(lists, pad_id=0)
