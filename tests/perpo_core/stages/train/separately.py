"""Answers as sequences of their own, by a model family's plain forward: what packing must equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from perpo_core.stages.train.data import RankedList, collate_lists
from perpo_core.stages.train.list_policy import ListPolicy, compute_list_batch
from perpo_core.stages.train.objectives import ListBatch
from perpo_core.stages.train.objectives.perpo import compute_perpo_loss
from perpo_core.stages.train.packing import PackableList
from schemas.train_config import TrainConfig
from tests.perpo_core.tiny_families import PAD

CONFIG = TrainConfig(beta=0.5)


def compute_separately(model: Any, packable: PackableList) -> Tensor:
    """Log-probability of each answer from a sequence of its own, by full logits: [G]."""
    totals = []
    for branch in packable.branches:
        ids = torch.tensor([[*packable.prefix_ids, *branch.ids]], device=model.device)
        vision = {name: value.to(model.device) for name, value in packable.vision.items()}
        if "mm_token_type_ids" in vision:
            vision["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **vision).logits
        logps = logits[0, :-1].log_softmax(-1)
        start = len(packable.prefix_ids)
        totals.append(sum(logps[start + t - 1, token] for t, token in enumerate(branch.ids)))
    return torch.stack(totals)


def compute_reference(model: Any, lists: Sequence[RankedList], batch: ListBatch) -> ListBatch:
    """The batch with log-probabilities from separate sequences."""
    logps_PG = torch.zeros_like(batch.logps_PG)
    for row, ranked in enumerate(lists):
        logps_PG[row, : len(ranked.rewards_G)] = compute_separately(model, ranked.packable)
    return replace(batch, logps_PG=logps_PG)


def compute_grads(model: Any, batch: ListBatch) -> Tensor:
    model.zero_grad()
    compute_perpo_loss(batch, CONFIG).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def assert_same(model: Any, lists: Sequence[RankedList], tolerance: float) -> None:
    """Log-probabilities, loss and gradients within a relative tolerance."""
    packed = compute_list_batch(ListPolicy(model), collate_lists(lists, PAD))
    separate = compute_reference(model, lists, packed)
    assert separate.logps_PG.std() > 1
    assert torch.allclose(packed.logps_PG, separate.logps_PG, rtol=tolerance, atol=0)
    losses = [compute_perpo_loss(batch, CONFIG).sum().item() for batch in (packed, separate)]
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)
    grads, others = compute_grads(model, packed), compute_grads(model, separate)
    assert (grads - others).norm() / others.norm() < tolerance
